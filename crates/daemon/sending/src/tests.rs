//! Workers against scripted hosts of the lab: what is said to them, and what is reported of them.

mod changed;
mod from;
mod hosts;
mod relays;
mod secured;
mod transactions;
mod yard;
