//! A port that is free, and stays free for the server that is to have it.

use std::net::{Ipv4Addr, SocketAddr};
#[cfg(target_os = "linux")]
use std::os::fd::OwnedFd;

use anyhow::{Context as _, Result};

/// A port of the loopback address that nobody else is given.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) address: SocketAddr,
    /// On Linux a socket that is bound and does not listen keeps the kernel from giving the port
    /// to anybody who asks for a free one, also while the server is killed and not yet restarted.
    /// It does not hinder a server, which asks for this very port and allows for its reuse.
    /// Elsewhere it would hinder it, so there the port is only likely to stay free.
    #[cfg(target_os = "linux")]
    _held: OwnedFd,
}

impl Port {
    #[cfg(target_os = "linux")]
    pub(crate) fn free() -> Result<Self> {
        use rustix::net;
        let held = || -> rustix::io::Result<_> {
            let flags = net::SocketFlags::CLOEXEC;
            let held =
                net::socket_with(net::AddressFamily::INET, net::SocketType::STREAM, flags, None)?;
            net::sockopt::set_socket_reuseaddr(&held, true)?;
            net::bind(&held, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            let address = net::getsockname(&held)?;
            Ok((SocketAddr::try_from(address)?, held))
        };
        let (address, held) = held().context("could not find a free port")?;
        Ok(Self { address, _held: held })
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn free() -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let address = listener.and_then(|listener| listener.local_addr());
        Ok(Self { address: address.context("could not find a free port")? })
    }
}
