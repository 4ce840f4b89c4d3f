//! A proxy between app and store whose answers come late, or where a pool would be broken: behind
//! the answer before.
//!
//! It knows no protocol. What it reads of the server in one piece it takes for one answer, or for
//! some that follow each other, which they are as long as answers are small.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use testbed::passing::{self, Reader};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpStream, tcp::WriteHalf},
    task::JoinSet,
    time::sleep,
    try_join,
};

/// What goes wrong with answers.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// One of so many comes late, by a time between these.
    Late { one_in: u32, from: Duration, to: Duration },
    /// Before one of so many the answer before comes once more, so that all that follow are taken
    /// for answers to the next question.
    Again { one_in: u32 },
}

/// Passes on what it is sent until it is dropped.
#[derive(Debug)]
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    shared: Arc<Shared>,
    _accepting: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    manner: Manner,
    is_on: AtomicBool,
    faults: AtomicU64,
    seed: u64,
}

impl Proxy {
    pub(super) async fn start(server: SocketAddr, manner: Manner, seed: u64) -> Result<Self> {
        let (listener, address) = passing::listen().await?;
        let (is_on, faults) = (AtomicBool::new(false), AtomicU64::new(0));
        let shared = Arc::new(Shared { server, manner, is_on, faults, seed });
        let mut accepting = JoinSet::new();
        let all = Arc::clone(&shared);
        accepting.spawn(async move {
            let mut number = 0;
            let serve = |client| {
                let rng = fastrand::Rng::with_seed(all.seed.wrapping_add(number));
                number += 1;
                connect(client, Arc::clone(&all), rng)
            };
            passing::accept(&listener, serve).await;
        });
        Ok(Self { address, shared, _accepting: accepting })
    }

    /// Begins to misbehave, or ends it.
    pub(super) fn set(&self, is_on: bool) {
        self.shared.is_on.store(is_on, Ordering::SeqCst);
    }

    /// How often it has.
    pub(super) fn faults(&self) -> u64 {
        self.shared.faults.load(Ordering::SeqCst)
    }
}

async fn connect(mut client: TcpStream, shared: Arc<Shared>, rng: fastrand::Rng) -> io::Result<()> {
    let mut server = passing::connect(&client, shared.server).await?;
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    let questions = passing::pass(from_client, to_server, |_| ());
    try_join!(questions, answers(Reader::new(from_server), to_client, &shared, rng))?;
    Ok(())
}

async fn answers(
    mut from: Reader<'_>,
    mut to: WriteHalf<'_>,
    shared: &Shared,
    mut rng: fastrand::Rng,
) -> io::Result<()> {
    let mut before = Vec::new();
    loop {
        let bytes = from.read().await?;
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        let one_in = match shared.manner {
            Manner::Late { one_in, .. } | Manner::Again { one_in } => one_in,
        };
        if shared.is_on.load(Ordering::SeqCst) && rng.u32(..one_in) == 0 {
            shared.faults.fetch_add(1, Ordering::SeqCst);
            match shared.manner {
                Manner::Late { from, to, .. } => {
                    let millis = rng.u64(from.as_millis() as u64..=to.as_millis() as u64);
                    sleep(Duration::from_millis(millis)).await;
                }
                Manner::Again { .. } => to.write_all(&before).await?,
            }
        }
        to.write_all(bytes).await?;
        before.clear();
        before.extend_from_slice(bytes);
    }
}
