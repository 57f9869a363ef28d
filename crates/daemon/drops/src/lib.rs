//! The drop directory: mail of programs on this computer that waits to be taken by the server.
//!
//! The queue's log has one writer, the server. So `sendmail` writes each mail as a file into a
//! directory that any permitted user may write and nobody but the server may read; the server
//! takes it from there, at once when it runs, at its next start when it does not. `sendmail` ends
//! with 0 only when the file and its name are synced: from then on nothing may be lost.
//!
//! The directory is made with mode 3733, which differs from Postfix's `maildrop` (1730, written by
//! a program that is setgid): write and search without read lets everybody put a file there and
//! nobody list what is there; *sticky* lets nobody rename or remove another's file; *setgid* gives
//! every file the directory's group, so that a file of mode 0640 can be read by the server and by
//! nobody else, without a privileged program. Names hold 128 random bits, so that none is found by
//! guessing. To permit only some users, give the directory to a group that they and the server are
//! in, with mode 3730.
//!
//! | name | what it is |
//! |---|---|
//! | `ID.drop` | a whole mail, by `rename` from the next |
//! | `taking-ID.drop` | one that is being taken; it is taken again after a crash, and known by its token |
//! | `ID.tmp` | a mail being written; removed a day after its writer died |
//! | `refused/` | what could neither be taken nor given back to its sender, readable by the server only |
//!
//! Who handed a mail in is the owner of its file, never what the file says. A drop's id goes into
//! the message's record as its token, in the same commit as the message: a crash between that and
//! the removal of the file makes no second message.

pub mod content;
mod deposit;
mod directory;
mod form;
mod line;
mod owner;
mod submit;
mod watch;

pub use deposit::{DepositError, deposit, new_id};
pub use directory::{CLAIMED, Directory, Taken, Unread, make};
pub use form::{Asked, Drop, Sender, To};
pub use line::{Line, Waiting, plain};
pub use owner::{full_name_of_caller, name_of};
pub use submit::{Submit, check, submit};
pub use watch::{Seen, Watch};

/// The way in of what is taken from here.
pub const VIA: &str = "sendmail";
/// The ending of a whole drop's name.
pub const WHOLE: &str = ".drop";
/// The ending of the name of a drop that is being written.
const UNFINISHED: &str = ".tmp";
