//! What proxies between an app and its server share: connections are accepted, connected to the
//! server, and read. What is done with the bytes is the business of each proxy.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use anyhow::{Context as _, Result};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    task::JoinSet,
};

const BUFFER_BYTES: usize = 64 * 1024;

/// Listens on a free port of this machine.
///
/// # Errors
/// It could not listen.
pub async fn listen() -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.context("could not listen between app and server")?;
    let address = listener.local_addr().context("could not see where the proxy listens")?;
    Ok((listener, address))
}

/// Serves each connection that comes, until this is dropped.
pub async fn accept<F>(listener: &TcpListener, mut serve: impl FnMut(TcpStream) -> F)
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        // A client that is gone before its turn is nobody's loss.
        if let Ok((client, _)) = listener.accept().await {
            let served = serve(client);
            // An error on one side is seen on the other as its end.
            connections.spawn(async move { drop(served.await) });
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Connects to the server for a client, so that on both sides nothing waits for more to be sent with
/// it.
///
/// # Errors
/// The server is not there.
pub async fn connect(client: &TcpStream, server: SocketAddr) -> io::Result<TcpStream> {
    let server = TcpStream::connect(server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    Ok(server)
}

/// Passes on all that one end sends, and has it looked at before that.
///
/// # Errors
/// One of the ends is gone.
pub async fn pass(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut look: impl FnMut(&[u8]),
) -> io::Result<()> {
    let mut from = Reader::new(from);
    loop {
        let bytes = from.read().await?;
        if bytes.is_empty() {
            return to.shutdown().await;
        }
        look(bytes);
        to.write_all(bytes).await?;
    }
}

/// What one end sends, as it comes.
#[derive(Debug)]
pub struct Reader<'a> {
    from: ReadHalf<'a>,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    #[must_use]
    pub fn new(from: ReadHalf<'a>) -> Self {
        Self { from, buffer: vec![0; BUFFER_BYTES] }
    }

    /// What was sent in one go. Nothing, when nothing more will come.
    ///
    /// # Errors
    /// This end is gone.
    pub async fn read(&mut self) -> io::Result<&[u8]> {
        let n = self.from.read(&mut self.buffer).await?;
        Ok(self.buffer.get(..n).unwrap_or_default())
    }

    /// Makes the end of this connection a reset.
    ///
    /// # Errors
    /// This end is gone.
    pub fn reset_at_end(&self) -> io::Result<()> {
        self.from.as_ref().set_zero_linger()
    }
}
