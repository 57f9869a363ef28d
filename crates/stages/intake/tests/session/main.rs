//! Sessions from outside: dialogues, limits, logins and properties, without sockets.

#[cfg(test)]
mod dialogs;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod messages;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod shell;
#[cfg(test)]
mod submission;
