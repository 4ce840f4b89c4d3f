//! How often an app turns to its server: a proxy between them counts.

use std::net::SocketAddr;

use anyhow::Result;
use testbed::proxy::Proxy;

use crate::place::Running;

/// Counts what an app asks of a server: calls where the protocol has such, trips elsewhere.
#[derive(Debug)]
pub(crate) struct Counter {
    proxy: Proxy,
    counts_calls: bool,
}

impl Counter {
    /// None where there is no server.
    pub(crate) async fn before(running: &Running) -> Result<Option<Self>> {
        let Some(server) = running.address() else { return Ok(None) };
        let proxy = Proxy::start(server).await?;
        Ok(Some(Self { proxy, counts_calls: running.place.is_firestore() }))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.proxy.address
    }

    pub(crate) fn count(&self) -> Result<u64> {
        if self.counts_calls { self.proxy.calls() } else { Ok(self.proxy.trips()) }
    }
}
