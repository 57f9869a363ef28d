//! What is done before there are other threads: the sockets are opened with the rights that the process was
//! started with, and then it gives up those that it does not need.

use std::net::TcpListener;

use anyhow::Result;
use config::Config;
use reception::sockets;
use reception::sockets::{Given, HttpSocket};

/// A server about to serve.
pub struct Started {
    pub(crate) config: Config,
    pub(crate) listeners: Vec<TcpListener>,
    /// For HTTP, in the order of the configuration.
    pub(crate) http: Vec<HttpSocket>,
}

impl Started {
    /// Opens the sockets, and keeps all rights.
    pub fn open(config: Config) -> Result<Self> {
        let mut given = Given::take()?;
        let listeners = sockets::open(&config.listeners, &mut given)?;
        let http = &config.console.listeners;
        let http = sockets::open_http(http, &mut given, &config.listeners)?;
        given.is_used_up()?;
        Ok(Self {
            listeners,
            http,
            config,
        })
    }

    /// Opens the sockets, becomes the server's user, and confines itself. No other thread may run.
    pub fn confined(config: Config) -> Result<Self> {
        let mut started = Self::open(config)?;
        started.config = rights::give_up(started.config)?;
        Ok(started)
    }
}
