//! The way to a server: a stream by TCP, with TLS or without, or by a Unix socket.
//!
//! It knows nothing of what is said on it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};

use super::{
    super::error::{self, Cause},
    tls::Tls,
};
use crate::store::floor::text::root_cause;

/// How long each step of making a connection may take: to be let in, to agree on TLS, to say who is
/// there.
pub(in crate::store) const STEP_TIME_MAX: Duration = Duration::from_secs(2);

/// Finds connections that were dropped without a word, and keeps those open that nobody uses.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(5));

/// What a server is spoken to on.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Address {
    Tcp(String, u16),
    Unix(PathBuf),
}

impl Address {
    /// The host, which a server behind a socket has no need of.
    pub(super) fn host(&self) -> &str {
        match self {
            Self::Tcp(host, _) => host,
            Self::Unix(_) => "",
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Connects to a server.
pub(super) async fn dial(tls: Option<&Tls>, address: &Address) -> Result<Box<dyn Stream>, Cause> {
    let server = address.to_string();
    match address {
        Address::Tcp(host, port) => over_tcp(host, *port, &server, tls).await,
        Address::Unix(path) => over_socket(path).await,
    }
}

async fn over_tcp(
    host: &str,
    port: u16,
    server: &str,
    tls: Option<&Tls>,
) -> Result<Box<dyn Stream>, Cause> {
    let unreachable = |error: io::Error| error::unreachable(server, &root_cause(&error));
    let late = |_| Err(io::Error::other("it lets nobody in within 2 seconds"));
    let stream = timeout(STEP_TIME_MAX, TcpStream::connect((host, port))).await;
    let stream = stream.unwrap_or_else(late).map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE).map_err(unreachable)?;
    let Some(tls) = tls else { return Ok(Box::new(stream)) };
    let late = |_| Err(error::tls(server, "it says nothing that is TLS", None));
    let stream = timeout(STEP_TIME_MAX, tls.connect(host, server, stream)).await;
    Ok(Box::new(stream.unwrap_or_else(late)?))
}

#[cfg(unix)]
async fn over_socket(path: &Path) -> Result<Box<dyn Stream>, Cause> {
    let late = |_| Err(io::Error::other("it lets nobody in within 2 seconds"));
    let stream = timeout(STEP_TIME_MAX, UnixStream::connect(path)).await;
    let unreachable = |error: io::Error| error::unreachable_socket(path, &root_cause(&error));
    Ok(Box::new(stream.unwrap_or_else(late).map_err(unreachable)?))
}

#[cfg(not(unix))]
async fn over_socket(path: &Path) -> Result<Box<dyn Stream>, Cause> {
    Err(error::unreachable_socket(path, "this system has no Unix sockets for it"))
}
