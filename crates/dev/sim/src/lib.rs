//! The simulated world that tests run in: everything a seed decides, nothing a clock or a real
//! disk does.
//!
//! [`SimDisk`] is a disk that loses, tears and refuses; [`Clock`] is time that passes only when it
//! is told to; [`Rng`] is the source of all chance.

mod clock;
mod disk;
mod rng;

pub use clock::Clock;
pub use disk::{Fault, SimDisk};
pub use rng::Rng;
