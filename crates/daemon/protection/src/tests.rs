//! Where mail goes and how it is protected, against DNS, hosts and web servers of the lab.

mod country;
mod policies;
mod reported;
mod routes;
mod wishes;
