//! A real-socket world on loopback: a DNS server, MX hosts with scripted behaviour, a CA, and the
//! server itself as a child process with a raw client.
//!
//! Used by `sendoff demo`, by tests and by the bench. It shares no code with the server, so that
//! it can judge it. All of it is driven by plain blocking calls; the servers run on a runtime of
//! the lab's own ([`runtime`]), so it works in tests with and without a runtime.
//!
//! A world owns a network 127.x.y.0/24 that no other world on the machine has, and one SMTP port,
//! because the port of outgoing mail is one setting for all hosts.

mod auth;
mod behaviour;
mod blackhole;
mod ca;
mod child;
mod client;
mod config;
mod demo;
mod dns;
mod dns_server;
mod entry;
mod host;
mod params;
mod port;
mod record;
mod runtime;
mod scram;
mod scratch;
mod session;
mod shared;
mod signed;
mod web;
mod wire;
mod world;
mod zone;

pub use behaviour::{Behaviour, Rule, Stage, StartTls, Verb};
pub use blackhole::Blackhole;
pub use ca::{Ca, Identity, VERSION_1};
pub use child::Sendoff;
pub use client::{Client, Reply};
pub use config::{Config, Value};
pub use demo::{DemoMail, DemoWorld, demo_world};
pub use dns::Dns;
pub use host::MxHost;
pub use port::free_address;
pub use record::{Chunk, Connection, Line, Login, Received, Recipient};
pub use runtime::runtime;
pub use scratch::Scratch;
pub use web::{WebAnswer, WebHost, WebRequest};
pub use world::World;
pub use zone::EdnsTrouble;
