//! How a provider is asked: over HTTPS, without redirects, for a bounded answer within a bounded time.

use std::{fmt, pin::Pin, time::Duration};

use axum::http;
use openidconnect::{AsyncHttpClient, DiscoveryError, HttpRequest, HttpResponse};
use reqwest::{Client, redirect::Policy};
use rustls::crypto::CryptoProvider;
use url::Url;

use crate::access::{InvalidAccess, is_loopback};

const CONNECT_TIME: Duration = Duration::from_secs(5);
const TIME: Duration = Duration::from_secs(10);

/// No document of a provider is so long.
const BYTES_MAX: usize = 1024 * 1024;

#[derive(Clone, Debug)]
pub(super) struct Web(Client);

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum WebError {
    Failed(reqwest::Error),
    TooLong,
    Odd(http::Error),
}

impl fmt::Display for WebError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(_) => f.write_str("the provider does not answer"),
            Self::TooLong => write!(f, "the answer is longer than {BYTES_MAX} bytes"),
            Self::Odd(_) => f.write_str("the answer is none of HTTP"),
        }
    }
}

impl std::error::Error for WebError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Odd(error) => Some(error),
            Self::TooLong => None,
        }
    }
}

impl Web {
    /// What asks for this address, and those beside it.
    pub(super) fn to(url: &Url) -> Result<Self, InvalidAccess> {
        if CryptoProvider::get_default().is_none() {
            let text = "the program has no cryptography for TLS: install a provider by \
                        `rustls::crypto::CryptoProvider::install_default` first";
            return Err(InvalidAccess::new(text));
        }
        // Where to send the secret of a client is written in the settings, and in no answer.
        let client = Client::builder()
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIME)
            .timeout(TIME)
            .user_agent("ingle-console");
        // As in browsers, no proxy is asked for an address of this machine.
        let client = if is_loopback(url) { client.no_proxy() } else { client };
        let client = client.build().map_err(|error| InvalidAccess::new(chain(&error)))?;
        Ok(Self(client))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, WebError> {
        let request = request.try_into().map_err(WebError::Failed)?;
        let mut answer = self.0.execute(request).await.map_err(WebError::Failed)?;
        let mut response = http::Response::builder().status(answer.status());
        if let Some(headers) = response.headers_mut() {
            *headers = answer.headers().clone();
        }
        let mut body = Vec::new();
        while let Some(bytes) = answer.chunk().await.map_err(WebError::Failed)? {
            if body.len() + bytes.len() > BYTES_MAX {
                return Err(WebError::TooLong);
            }
            body.extend_from_slice(&bytes);
        }
        response.body(body).map_err(WebError::Odd)
    }
}

impl<'c> AsyncHttpClient<'c> for Web {
    type Error = WebError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, WebError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

/// Why there is no document of a provider, for the log and the terminal.
pub(super) fn undiscovered(error: &DiscoveryError<WebError>) -> String {
    match error {
        // What it was asked by says nothing that the cause at the end does not.
        DiscoveryError::Request(error) => root(error),
        error => chain(error),
    }
}

fn root(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// An error with its causes, for the log.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
