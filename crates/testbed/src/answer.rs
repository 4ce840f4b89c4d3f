//! Asks a server whether it answers.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long one question may take. It is asked again until the server has started.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// The HTTP status of a GET, or none if there is no answer in time.
#[must_use]
pub fn http_status(address: SocketAddr, path: &str, patience: Duration) -> Option<u16> {
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).ok()?;
    stream.set_write_timeout(Some(patience)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut start = [0; "HTTP/1.1 200".len()];
    stream.read_exact(&mut start).ok()?;
    std::str::from_utf8(&start).ok()?.strip_prefix("HTTP/1.1 ")?.parse().ok()
}

/// Whether nobody listens there.
pub(crate) fn refuses(address: SocketAddr) -> bool {
    let result = TcpStream::connect_timeout(&address, PATIENCE);
    result.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
