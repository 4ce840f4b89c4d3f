//! A proxy between an app and its server that counts how often the app turns to the server.
//!
//! It knows no protocol. A trip begins with the first bytes that a connection sends to the server, and
//! with the first ones after bytes came back. For an app that waits for each answer these are its
//! round trips; requests that it sends together on one connection are one trip.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use anyhow::Result;
use testbed::{calls, passing};
use tokio::{net::TcpStream, task::JoinSet, try_join};

use crate::place::Running;

/// Counts what an app asks of a server: calls where the protocol has such, trips elsewhere.
#[derive(Debug)]
pub(crate) enum Counter {
    Calls(calls::Proxy),
    Trips(Proxy),
}

impl Counter {
    /// None where there is no server.
    pub(crate) async fn before(running: &Running) -> Result<Option<Self>> {
        let Some(server) = running.address() else { return Ok(None) };
        Ok(Some(if running.place.is_firestore() {
            Self::Calls(calls::Proxy::start(server).await?)
        } else {
            Self::Trips(Proxy::start(server).await?)
        }))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Calls(proxy) => proxy.address,
            Self::Trips(proxy) => proxy.address,
        }
    }

    pub(crate) fn count(&self) -> Result<u64> {
        match self {
            Self::Calls(proxy) => proxy.calls(),
            Self::Trips(proxy) => Ok(proxy.trips.load(Ordering::SeqCst)),
        }
    }
}

/// Passes on what it is sent until it is dropped.
#[derive(Debug)]
pub(crate) struct Proxy {
    address: SocketAddr,
    trips: Arc<AtomicU64>,
    _accepting: JoinSet<()>,
}

impl Proxy {
    async fn start(server: SocketAddr) -> Result<Self> {
        let (listener, address) = passing::listen().await?;
        let trips = Arc::default();
        let counted = Arc::clone(&trips);
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            let serve = |client| connect(client, server, Arc::clone(&counted));
            passing::accept(&listener, serve).await;
        });
        Ok(Self { address, trips, _accepting: accepting })
    }
}

async fn connect(
    mut client: TcpStream,
    server: SocketAddr,
    trips: Arc<AtomicU64>,
) -> io::Result<()> {
    let mut server = passing::connect(&client, server).await?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let under_way = AtomicBool::new(false);
    let there = |_: &[u8]| {
        if !under_way.swap(true, Ordering::SeqCst) {
            trips.fetch_add(1, Ordering::SeqCst);
        }
    };
    let back = |_: &[u8]| under_way.store(false, Ordering::SeqCst);
    let answers = passing::pass(from_server, to_client, back);
    try_join!(passing::pass(from_client, to_server, there), answers)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    #[tokio::test]
    async fn a_trip_is_there_and_back() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let mut byte = [0];
        for n in 1..=3 {
            client.write_all(b"?").await.unwrap();
            server.read_exact(&mut byte).await.unwrap();
            // More of the same question is no further trip.
            client.write_all(b"?").await.unwrap();
            server.read_exact(&mut byte).await.unwrap();
            assert_eq!(proxy.trips.load(Ordering::SeqCst), n);
            server.write_all(b"!").await.unwrap();
            client.read_exact(&mut byte).await.unwrap();
        }
    }
}
