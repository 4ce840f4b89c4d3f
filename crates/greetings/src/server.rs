//! Serves an app over HTTP/1.1 within limits, and stops without losing a request.
//!
//! It knows nothing of sessions. `axum::serve` would do but for three things: it waits forever for a
//! header, and for a client that does not read, and it has no bound on connections. The limits follow
//! one rule: whatever the clients do, memory stays bounded, and what is refused is refused at once.

use std::{
    collections::HashMap,
    convert::Infallible,
    error::Error,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{http::Request, response::Response};
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::sleep,
};
use tokio_io_timeout::TimeoutWriter;
use tower::Service;

use crate::workers::Workers;

/// Further connections wait in the backlog of the operating system until one ends.
pub(crate) const CONNECTIONS_MAX: usize = 4096;

/// One client must not take all connections. This machine may: it is trusted.
const CONNECTIONS_PER_CLIENT_MAX: usize = 256;

/// Beyond it the answer is 431. hyper has a bound of its own on the number of lines, 100.
const HEADER_BYTES_MAX: usize = 16 * 1024;

/// How long to wait before the next accept when there was no file left for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The limits that can be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Requests that are worked on at once; further ones are answered 503.
    pub(crate) in_flight: usize,
    /// How long a client may take to send a header, and how long an idle connection is kept.
    pub(crate) header_time: Duration,
    /// How long a request may take, and how long its client may read nothing of the answer.
    pub(crate) request_time: Duration,
    /// How long the requests that are worked on may take after a signal. Platforms kill a process 10 s
    /// after they asked it to stop, if not told otherwise.
    pub(crate) drain_time: Duration,
    /// Whether one client may take only [`CONNECTIONS_PER_CLIENT_MAX`] connections. Not where all
    /// come from a proxy.
    pub(crate) per_client: bool,
}

/// How serving came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// Every request that had begun was answered.
    Drained,
    /// So many connections or requests were still busy after [`Limits::drain_time`].
    Overdue(usize),
    /// A second signal, of this number, came while requests were being finished.
    AtOnce(u8),
}

/// Serves on these threads until a signal comes, then finishes what runs. `on_stop` hears how many
/// connections there are, and ends what would not end by itself.
pub(crate) async fn serve<A>(
    listener: TcpListener,
    app: A,
    limits: Limits,
    workers: Workers,
    mut signals: Signals,
    on_stop: impl FnOnce(usize),
) -> Ended
where
    A: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    A::Future: Send + 'static,
{
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_header_size(HEADER_BYTES_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    let service = TowerToHyperService::new(app);
    let clients = Clients::default();
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let (stream, peer) = select! {
            accepted = accept(&listener), if connections.len() < CONNECTIONS_MAX => accepted,
            Some(_) = connections.join_next() => continue,
            _ = signals.next() => break,
        };
        let counted = limits.per_client && !peer.ip().to_canonical().is_loopback();
        let place = if counted { clients.enter(peer.ip()) } else { Some(Place::default()) };
        let Some(place) = place else {
            tracing::debug!("refused a connection: its client has too many");
            continue;
        };
        // From here on it is the business of its worker's runtime.
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "lost a connection");
                continue;
            }
        };
        let seat = workers.seat();
        let (http, service, watcher) = (http.clone(), service.clone(), graceful.watcher());
        let serve = async move {
            let served = async {
                let mut stream = TimeoutWriter::new(TcpStream::from_std(stream)?);
                // From the last byte that the client took, so a stream of events may go on for days.
                stream.set_timeout(Some(limits.request_time));
                let stream = TokioIo::new(Box::pin(stream));
                watcher.watch(http.serve_connection(stream, service)).await?;
                Ok::<_, Box<dyn Error + Send + Sync>>(())
            };
            if let Err(error) = served.await {
                tracing::debug!(%error, "a connection broke off");
            }
            drop((place, seat.taken));
        };
        connections.spawn_on(serve, &seat.runtime);
    }
    drop(listener);
    on_stop(graceful.count());
    select! {
        () = graceful.shutdown() => Ended::Drained,
        number = signals.next() => Ended::AtOnce(number),
        () = sleep(limits.drain_time) => {
            while connections.try_join_next().is_some() {}
            Ended::Overdue(connections.len())
        }
    }
}

/// The next connection, whatever happens to the ones before it.
async fn accept(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let mut is_told = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Answers are small and complete; waiting for more to send only delays them.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "could not set TCP_NODELAY");
                }
                return (stream, peer);
            }
            // The client was gone before it was its turn.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                // Once, and not twenty times a second.
                if !is_told {
                    tracing::error!(%error, "could not accept a connection");
                }
                is_told = true;
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// How many connections each client has.
#[derive(Clone, Debug, Default)]
struct Clients(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// The place of one connection among those of its client, or one that nobody counts.
#[derive(Debug, Default)]
struct Place(Option<(Clients, IpAddr)>);

impl Clients {
    fn enter(&self, address: IpAddr) -> Option<Place> {
        let client = client_of(address);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(client).or_default();
        if *count >= CONNECTIONS_PER_CLIENT_MAX {
            return None;
        }
        *count += 1;
        Some(Place(Some((self.clone(), client))))
    }

    fn leave(&self, client: IpAddr) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&client);
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some((clients, client)) = self.0.take() {
            clients.leave(client);
        }
    }
}

/// A client is an IPv4 address, or a /64 of IPv6: one machine has as many addresses of it as it
/// likes.
fn client_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & (!0 << 64)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// SIGINT and SIGTERM, from the moment this is made.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        let interrupt = signal(SignalKind::interrupt())?;
        Ok(Self { interrupt, terminate: signal(SignalKind::terminate())? })
    }

    /// The number of the next signal.
    pub(crate) async fn next(&mut self) -> u8 {
        select! {
            _ = self.interrupt.recv() => 2,
            _ = self.terminate.recv() => 15,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_its_connections_back_when_they_end() {
        let clients = Clients::default();
        let (one, other): (IpAddr, IpAddr) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
        let enter = || clients.enter(one).expect("there is a place");
        let places: Vec<_> = (0..CONNECTIONS_PER_CLIENT_MAX).map(|_| enter()).collect();
        assert!(clients.enter(one).is_none());
        assert!(clients.enter(other).is_some());
        drop(places);
        assert!(clients.enter(one).is_some());
        assert!(clients.0.lock().unwrap().is_empty());
    }

    #[test]
    fn the_addresses_of_one_ipv6_network_are_one_client() {
        let client = |text: &str| client_of(text.parse().unwrap());
        assert_eq!(client("2001:db8:1:2::1"), client("2001:db8:1:2:ffff::9"));
        assert_ne!(client("2001:db8:1:2::1"), client("2001:db8:1:3::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
    }
}
