//! What is done before there are other threads: the sockets are opened with the rights that the process was
//! started with, and then it gives up those that it does not need.

use std::net::TcpListener;

use anyhow::{Context, Result};

use crate::config::Config;
use crate::{rights, sockets};

/// A server about to serve.
pub(crate) struct Started {
    pub(crate) config: Config,
    pub(crate) listeners: Vec<TcpListener>,
    /// For HTTP.
    pub(crate) http: Option<TcpListener>,
}

impl Started {
    /// Opens the sockets, and keeps all rights.
    pub(crate) fn open(config: Config) -> Result<Self> {
        Ok(Self {
            listeners: sockets::open(&config.listeners)?,
            http: bind_http(&config)?,
            config,
        })
    }

    /// Opens the sockets, becomes the server's user, and confines itself. No other thread may run.
    pub(crate) fn confined(config: Config) -> Result<Self> {
        let mut started = Self::open(config)?;
        started.config = rights::give_up(started.config)?;
        Ok(started)
    }
}

fn bind_http(config: &Config) -> Result<Option<TcpListener>> {
    let Some(address) = config.console.address else {
        return Ok(None);
    };
    let bound = net::bind(address, &[]);
    bound
        .with_context(|| sockets::cannot_listen(address, "console.address"))
        .map(Some)
}
