//! One connection, which has one request under way at a time.

use std::{
    error, fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    task::Poll,
};

use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request,
    body::Bytes,
    client::conn::http1::{self, SendRequest},
    header,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Answer;

/// Why there is no answer, which says whether the request may have been done.
#[derive(Debug)]
pub enum NoAnswer {
    /// Nobody took the connection, or it had ended before the first byte of the request.
    NotSent(io::Error),
    /// The request was sent, at least in part.
    Broken(io::Error),
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotSent(_) => "the request could not be sent",
            Self::Broken(_) => "the request was sent, and there is no answer",
        })
    }
}

impl error::Error for NoAnswer {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::NotSent(error) | Self::Broken(error) => Some(error),
        }
    }
}

/// A connection that hyper drives while somebody waits for an answer, and nobody else: dropped before
/// that it hangs up.
#[derive(Debug)]
pub struct Connection {
    address: SocketAddr,
    requests: SendRequest<Full<Bytes>>,
    /// None after its end.
    driver: Option<Driver>,
}

type Driver = Pin<Box<http1::Connection<TokioIo<TcpStream>, Full<Bytes>>>>;

impl Connection {
    /// # Errors
    /// Nobody takes it.
    pub async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (requests, driver) = shaken.map_err(io::Error::other)?;
        Ok(Self { address, requests, driver: Some(Box::pin(driver)) })
    }

    /// Whether another request can follow on it, as far as is known.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.driver.is_some()
    }

    /// Sends a request with the value of a `Cookie` header, or without one.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send(
        &mut self,
        method: &str,
        target: &str,
        cookie: Option<&str>,
    ) -> Result<Answer, NoAnswer> {
        self.send_form(method, target, cookie, None).await
    }

    /// The same with a form as its body, as browsers write it, or without one.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn send_form(
        &mut self,
        method: &str,
        target: &str,
        cookie: Option<&str>,
        form: Option<&str>,
    ) -> Result<Answer, NoAnswer> {
        let mut request = Request::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, self.address.to_string());
        if let Some(cookie) = cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if form.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let body = form.unwrap_or_default().to_owned();
        let request = request.body(Full::new(Bytes::from(body)));
        let request = request.map_err(|error| NoAnswer::NotSent(io::Error::other(error)))?;
        let answer = self.exchange(request).await;
        if answer.as_ref().map_or(true, Answer::closes) {
            self.driver = None;
        }
        answer
    }

    async fn exchange(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, NoAnswer> {
        let broken = |error| NoAnswer::Broken(io::Error::other(error));
        let sent = self.requests.try_send_request(request);
        let mut answer = pin!(async {
            let response = sent.await.map_err(|mut failed| {
                let was_not_sent = failed.take_message().is_some();
                let error = io::Error::other(failed.into_error());
                if was_not_sent { NoAnswer::NotSent(error) } else { NoAnswer::Broken(error) }
            })?;
            let (head, body) = response.into_parts();
            let body = body.collect().await.map_err(broken)?.to_bytes();
            let body = String::from_utf8(body.into());
            let body = body.map_err(|error| NoAnswer::Broken(io::Error::other(error)))?;
            Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
        });
        let driver = &mut self.driver;
        poll_fn(|context| {
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            // An error of the connection is the request's as well, which tells of it.
            let ended = driver.as_mut().is_some_and(|d| d.as_mut().poll(context).is_ready());
            if ended {
                *driver = None;
            }
            answer.as_mut().poll(context)
        })
        .await
    }
}
