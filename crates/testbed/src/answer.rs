//! How long a server is waited for that may not be there, and whether one is not.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// How long one question may take. It is asked again until the server has started.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);

/// Whether nobody listens there.
pub(crate) fn refuses(address: SocketAddr) -> bool {
    let result = TcpStream::connect_timeout(&address, PATIENCE);
    result.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}
