//! The proxy between an app and its server, in tests, benchmark and torture.
//!
//! It passes on what it is sent, and counts it: [calls](Proxy::calls) of gRPC, and
//! [trips](Proxy::trips) of any protocol. It can be told to stand for a [distance](Proxy::set_distance),
//! and to do wrong: see [`Fault`].
//!
//! But for the calls it knows no protocol. To it a request is what a client sends in one go, and an
//! answer is whatever the server sends after that. So on a connection that many requests share, a
//! fault that meets one of them meets those beside it, as it is with real networks.
//!
//! `fault.rs` says which request a fault meets, `connection.rs` does it to one connection, and
//! `frames.rs` finds the calls.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    task::JoinSet,
    time::sleep,
};

mod connection;
mod fault;
mod frames;

use connection::Connection;
use fault::Faults;
pub use fault::{Fault, Often};

use crate::port::Port;

/// Before a port that is not free yet is tried again.
const PAUSE: Duration = Duration::from_millis(5);

/// Passes on, rightly or wrongly, until it is dropped.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    faults: Faults,
    /// How much later answers come, in microseconds.
    distance: AtomicU64,
    trips: AtomicU64,
    calls: AtomicU64,
    /// Whether something was passed on in which calls cannot be counted.
    foreign: AtomicBool,
    /// Connections that were made before it moved on are forgotten.
    era: AtomicU64,
    /// What was sent on those.
    lost: Mutex<Vec<Vec<u8>>>,
}

impl Proxy {
    /// Listens on a free port, and passes on what comes there to the server.
    ///
    /// # Errors
    /// It could not listen.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let port = Port::free()?;
        let address = port.address;
        let listener = TcpListener::bind(address).await;
        let listener = listener.context("could not listen between app and server")?;
        let shared = Arc::new(Shared {
            server,
            faults: Faults::default(),
            distance: AtomicU64::new(0),
            trips: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            foreign: AtomicBool::new(false),
            era: AtomicU64::new(0),
            lost: Mutex::default(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(Arc::clone(&shared), listener, port));
        Ok(Self { address, shared, _serving: serving })
    }

    /// How much later answers come from now on. What follows is as late as what went before, and does
    /// not wait for it: a thousand requests that are sent at once are answered after the same time as
    /// one.
    pub fn set_distance(&self, later: Duration) {
        self.shared.distance.store(later.as_micros() as u64, Ordering::SeqCst);
    }

    /// From now on chance is the same as wherever it was given this seed.
    pub fn seed(&self, seed: u64) {
        self.shared.faults.chance().seed(seed);
    }

    /// From now on this fault meets some of the requests.
    pub fn begin(&self, fault: Fault, often: Often) {
        self.shared.faults.begin(fault, often);
    }

    /// From now on all is passed on, also what was held.
    pub fn end(&self) {
        self.shared.faults.end();
    }

    /// Forgets the connections that there are, as a NAT does: they stay open, and nothing that is sent on
    /// them arrives any more. New ones are as ever.
    pub fn forget(&self) {
        self.shared.era.fetch_add(1, Ordering::SeqCst);
    }

    /// What clients have sent on connections that were forgotten. Of HTTP/2 it is what has calls in it.
    #[must_use]
    pub fn lost(&self) -> Vec<Vec<u8>> {
        self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many requests each fault met; of [`Fault::Refuse`], how many connections it ended.
    #[must_use]
    pub fn met(&self) -> BTreeMap<&'static str, u64> {
        self.shared.faults.met.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many calls there were until now. A call is a gRPC stream, which begins with one frame of
    /// HTTP/2. Calls are counted before they are passed on, so a client that has an answer finds the calls
    /// that it took in the count.
    ///
    /// # Errors
    /// Something else than HTTP/2 was passed on, in which calls cannot be counted.
    pub fn calls(&self) -> Result<u64> {
        let foreign = self.shared.foreign.load(Ordering::SeqCst);
        ensure!(!foreign, "the app speaks something else than HTTP/2 with its server");
        Ok(self.shared.calls.load(Ordering::SeqCst))
    }

    /// How often clients turned to the server. A trip begins with the first bytes that a connection
    /// sends, and with the first ones after bytes came back. For an app that waits for each answer
    /// these are its round trips; requests that it sends together on one connection are one trip.
    #[must_use]
    pub fn trips(&self) -> u64 {
        self.shared.trips.load(Ordering::SeqCst)
    }
}

/// Serves connections, and refuses them as long as it is told to.
async fn serve(shared: Arc<Shared>, mut listener: TcpListener, port: Port) {
    let mut mode = shared.faults.mode.subscribe();
    loop {
        select! {
            () = accept(&listener, &shared) => {}
            // All connections end with what accepted them.
            _ = mode.wait_for(fault::Mode::refuses) => {}
        }
        drop(listener);
        let _ = mode.wait_for(|mode| !mode.refuses()).await;
        listener = loop {
            match TcpListener::bind(port.address).await {
                Ok(listener) => break listener,
                Err(_) => sleep(PAUSE).await,
            }
        };
    }
}

async fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        // A client that is gone before its turn is nobody's loss.
        if let Ok((client, _)) = listener.accept().await {
            let served = connect(client, Arc::clone(shared));
            // An error on one side is seen on the other as its end.
            connections.spawn(async move { drop(served.await) });
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Connects to the server for a client, so that on both sides nothing waits for more to be sent with
/// it.
async fn connect(mut client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let connection = Connection::new(shared);
    let mut server = TcpStream::connect(connection.server()).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    connection.serve(&mut client, &mut server).await
}

#[cfg(test)]
mod tests;
