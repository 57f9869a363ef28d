//! Who the process is and what it may do: the identity that root takes on before it writes where others may.

mod identity;

pub(crate) use identity::{take_on_for, take_on_for_file};
