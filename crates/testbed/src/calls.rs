//! A proxy between an app and its server that counts the calls.
//!
//! A call is a gRPC stream, which begins with one frame of HTTP/2. Calls are counted before they are
//! passed on, so whoever has an answer finds the calls that it took in the count.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use anyhow::{Result, ensure};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    try_join,
};

mod frames;

use frames::Frames;

use crate::passing;

/// Passes on what it is sent until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Seen>,
    _accepting: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Seen {
    calls: AtomicU64,
    /// Whether something was passed on in which calls cannot be counted.
    foreign: AtomicBool,
}

impl Proxy {
    /// Listens on a free port, and passes on what comes there to the server.
    ///
    /// # Errors
    /// It could not listen.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let (listener, address) = passing::listen().await?;
        let seen = Arc::new(Seen::default());
        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, server, Arc::clone(&seen)));
        Ok(Self { address, seen, _accepting: accepting })
    }

    /// How many calls there were until now.
    ///
    /// # Errors
    /// Something else than HTTP/2 was passed on, in which calls cannot be counted.
    pub fn calls(&self) -> Result<u64> {
        let foreign = self.seen.foreign.load(Ordering::Relaxed);
        ensure!(!foreign, "the app speaks something else than HTTP/2 with its server");
        Ok(self.seen.calls.load(Ordering::Relaxed))
    }
}

async fn accept(listener: TcpListener, server: SocketAddr, seen: Arc<Seen>) {
    let serve = |client| {
        let seen = Arc::clone(&seen);
        async move { connect(client, server, &seen).await }
    };
    passing::accept(&listener, serve).await;
}

/// Serves one connection.
async fn connect(mut client: TcpStream, server: SocketAddr, seen: &Seen) -> io::Result<()> {
    let mut server = passing::connect(&client, server).await?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let mut frames = Frames::default();
    let count = |bytes: &[u8]| match frames.calls_in(bytes) {
        Ok(n) => _ = seen.calls.fetch_add(n, Ordering::Relaxed),
        Err(frames::NotHttp2) => seen.foreign.store(true, Ordering::Relaxed),
    };
    let answers = passing::pass(from_server, to_client, |_| ());
    try_join!(passing::pass(from_client, to_server, count), answers)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn what_is_sent_is_counted_and_arrives() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();

        let sent = frames::tests::connection(&[1, 3]);
        client.write_all(&sent).await.unwrap();
        let mut received = vec![0; sent.len()];
        server.read_exact(&mut received).await.unwrap();
        assert_eq!(received, sent);
        assert_eq!(proxy.calls().unwrap(), 2);

        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    }

    #[tokio::test]
    async fn what_cannot_be_counted_is_an_error() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(proxy.address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        let sent = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
        client.write_all(sent).await.unwrap();
        server.read_exact(&mut [0; 30]).await.unwrap();
        assert!(proxy.calls().is_err());
    }
}
