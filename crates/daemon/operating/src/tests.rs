//! Verbs, as administrators ask them: the right answers, and each kind of refusal.

mod doors;
mod explained;
mod later;
mod log;
mod office;
mod queue;
mod replies;
mod steering;
mod tools;
mod watched;
