//! The server as a whole: started, read anew, stopped. The only place that composes all rooms.

mod alive;
mod forgetting;
mod reload;
mod run;
mod service;
mod shared;
mod started;
mod welcome;

pub use run::serve;
pub use started::Started;
