//! Bytes that no client should send, as an attacker or a broken proxy does.

use std::{io, net::SocketAddr, time::Duration};

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    select,
    time::sleep,
};

use super::{Answer, wire};

/// A connection that takes any bytes.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Raw {
    /// # Errors
    /// Nobody takes it.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    /// # Errors
    /// The server has closed the connection.
    pub async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads the next answer.
    ///
    /// # Errors
    /// There is none.
    pub async fn read(&mut self) -> io::Result<Answer> {
        let received = wire::receive(&mut self.stream, &mut self.received, |headers| {
            let headers = headers.iter().map(|header| {
                let name = HeaderName::from_bytes(header.name.as_bytes()).ok()?;
                Some((name, HeaderValue::from_bytes(header.value).ok()?))
            });
            headers.collect::<Option<HeaderMap>>()
        });
        let received = received.await?;
        let headers = received.of_headers.ok_or(io::ErrorKind::InvalidData)?;
        let body = self.received.get(received.body.clone()).unwrap_or_default().to_vec();
        // What follows is the beginning of the next answer.
        self.received.drain(..received.body.end);
        let body = String::from_utf8(body).map_err(io::Error::other)?;
        Ok(Answer { status: received.status, headers, body })
    }

    /// Sends one byte again and again, with pauses, until the server has closed the connection. What it
    /// answers before that is thrown away.
    pub async fn drip(&mut self, byte: u8, pause: Duration) {
        let (mut answers, mut bytes) = self.stream.split();
        let closed = async {
            let mut answer = [0; 1024];
            while answers.read(&mut answer).await.is_ok_and(|n| n > 0) {}
        };
        let drip = async {
            while bytes.write_all(&[byte]).await.is_ok() {
                sleep(pause).await;
            }
            // That it cannot be written to is no end: what is read says when it is closed.
            std::future::pending::<()>().await;
        };
        select! {
            () = closed => {}
            () = drip => {}
        }
    }

    /// Whether the server has closed this connection without another answer, waiting until it does.
    pub async fn is_closed(&mut self) -> bool {
        let read = self.stream.read_to_end(&mut self.received).await;
        read.is_err() || self.received.is_empty()
    }
}

/// Sends one GET on a connection of its own; `lines` are whole header lines.
///
/// # Panics
///
/// If there is no answer.
pub async fn get(address: SocketAddr, target: &str, lines: &[&[u8]]) -> Answer {
    let mut request = format!("GET {target} HTTP/1.1\r\nHost: test\r\n").into_bytes();
    for line in lines {
        request.extend_from_slice(line);
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    match answered(address, &request).await {
        Ok(answer) => answer,
        Err(error) => panic!("GET {target}: {error}"),
    }
}

async fn answered(address: SocketAddr, request: &[u8]) -> io::Result<Answer> {
    let mut connection = Raw::open(address).await?;
    // The server may answer and close before it has read everything.
    let _ = connection.write(request).await;
    connection.read().await
}
