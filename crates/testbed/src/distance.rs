//! A distance between an app and its server: a proxy that passes on the answers some time later, as a
//! network does.
//!
//! What follows is as late as what went before, and does not wait for it: a thousand requests that are
//! sent at once are answered after the same time as one.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, tcp::WriteHalf},
    sync::mpsc,
    task::JoinSet,
    time::{Instant, sleep_until},
    try_join,
};

use crate::passing::{self, Reader};

/// How many answers may be on their way on one connection.
const ANSWERS_MAX: usize = 4096;

/// Passes on until it is dropped.
#[derive(Debug)]
pub struct Distance {
    /// Where it listens.
    pub address: SocketAddr,
    micros: Arc<AtomicU64>,
    _serving: JoinSet<()>,
}

impl Distance {
    /// Listens on a free port. Until [`set`](Self::set) says more, nothing comes later.
    ///
    /// # Errors
    /// It could not listen.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let (listener, address) = passing::listen().await?;
        let micros = Arc::new(AtomicU64::new(0));
        let later = Arc::clone(&micros);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            passing::accept(&listener, |client| serve(client, server, Arc::clone(&later))).await;
        });
        Ok(Self { address, micros, _serving: serving })
    }

    /// How much later answers come from now on.
    pub fn set(&self, later: Duration) {
        self.micros.store(later.as_micros() as u64, Ordering::SeqCst);
    }
}

async fn serve(
    mut client: TcpStream,
    server: SocketAddr,
    micros: Arc<AtomicU64>,
) -> io::Result<()> {
    let mut server = passing::connect(&client, server).await?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let questions = passing::pass(from_client, to_server, |_| ());
    let (late, on_time) = mpsc::channel(ANSWERS_MAX);
    try_join!(
        questions,
        leave(Reader::new(from_server), late, &micros),
        arrive(on_time, to_client)
    )?;
    Ok(())
}

async fn leave(
    mut from: Reader<'_>,
    late: mpsc::Sender<(Instant, Vec<u8>)>,
    micros: &AtomicU64,
) -> io::Result<()> {
    loop {
        let answer = from.read().await?.to_vec();
        let is_end = answer.is_empty();
        let until = Instant::now() + Duration::from_micros(micros.load(Ordering::SeqCst));
        // Nobody receives any more once what arrives cannot be written.
        if late.send((until, answer)).await.is_err() || is_end {
            return Ok(());
        }
    }
}

async fn arrive(
    mut on_time: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: WriteHalf<'_>,
) -> io::Result<()> {
    while let Some((until, answer)) = on_time.recv().await {
        // The runtime's timer would make a millisecond of nothing.
        if until > Instant::now() {
            sleep_until(until).await;
        }
        to.write_all(&answer).await?;
    }
    to.shutdown().await
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncReadExt as _, net::TcpListener};

    use super::*;

    #[tokio::test]
    async fn answers_come_later_and_in_their_order() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let distance = Distance::start(listener.local_addr().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(distance.address).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        client.write_all(b"question").await.unwrap();
        let mut question = [0; 8];
        server.read_exact(&mut question).await.unwrap();
        assert_eq!(&question, b"question");

        let later = Duration::from_millis(20);
        distance.set(later);
        let begin = std::time::Instant::now();
        for piece in [b"one ", b"two ", b"end."] {
            server.write_all(piece).await.unwrap();
        }
        let mut answer = [0; 12];
        client.read_exact(&mut answer).await.unwrap();
        assert!(begin.elapsed() >= later);
        assert_eq!(&answer, b"one two end.");

        // The end of either is passed on as an end.
        client.shutdown().await.unwrap();
        assert_eq!(server.read(&mut question).await.unwrap(), 0);
        drop(server);
        assert_eq!(client.read(&mut answer).await.unwrap(), 0);
    }
}
