//! Refuses what pages of other origins would change in the visitor's name.
//!
//! The browser says where a request comes from, so no token has to be put into forms. `fetch` reads
//! what it says. This is the layer for tower; `actix` has the middleware.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::ResponseBody,
    fetch::Initiator,
    layer::header_of,
    response::{ErrorResponse, OF_ANOTHER_SITE},
};
use crate::meter;

/// Refuses requests that a page of another origin began and that may change something, with 403.
///
/// All methods but GET, HEAD and OPTIONS may change something. So may the handshake of a WebSocket,
/// which is a GET: it opens a way to change things. The rules are those of `CrossOriginProtection` in
/// Go 1.25, and stricter where a browser says both `Sec-Fetch-Site` and `Origin`: both must agree.
/// [The guide](crate::guide#requests-from-other-origins) has the whole table.
///
/// `Origin` is compared with the Host header, or with the authority in HTTP/2: host and port. The scheme
/// is not compared, because behind a proxy that terminates TLS the app does not know it. Behind a proxy
/// that changes Host, name the app's own origin by [`trust`](Self::trust).
///
/// It needs no session. Around a [`SessionLayer`](crate::SessionLayer), it refuses before the session is
/// looked at.
///
/// ```
/// # #[cfg(feature = "axum")]
/// # fn build() -> Result<axum::Router, ingle::NotAnOrigin> {
/// use axum::{Router, routing::post};
/// use ingle::SameOriginLayer;
///
/// let same_origin = SameOriginLayer::new().trust("https://accounts.example")?;
/// let app = Router::new().route("/buy", post(async || "bought")).layer(same_origin);
/// # Ok(app)
/// # }
/// ```
#[derive(Clone, Default)]
#[must_use]
pub struct SameOriginLayer {
    rules: Arc<Rules>,
}

#[derive(Clone, Default)]
struct Rules {
    /// Schemes and authorities, in lower case.
    trusted: Vec<(String, String)>,
    on_error: Option<Arc<OnError>>,
}

type OnError = dyn Fn(&CrossOrigin) -> Response<Bytes> + Send + Sync;

impl SameOriginLayer {
    /// A layer that trusts no other origin.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the pages of another origin do what the app's own may do.
    ///
    /// # Errors
    /// It is not `scheme://host` or `scheme://host:port`, with nothing before or behind it. Or it names the
    /// default port (80 for `http`, 443 for `https`), or its host is not ASCII: browsers send neither.
    pub fn trust(mut self, origin: &str) -> Result<Self, NotAnOrigin> {
        let trusted = parse(origin).ok_or(NotAnOrigin)?;
        Arc::make_mut(&mut self.rules).trusted.push(trusted);
        Ok(self)
    }

    /// Makes the responses to what is refused, instead of [`CrossOrigin::response`].
    pub fn on_error<F>(mut self, response: F) -> Self
    where
        F: Fn(&CrossOrigin) -> Response<Bytes> + Send + Sync + 'static,
    {
        Arc::make_mut(&mut self.rules).on_error = Some(Arc::new(response));
        self
    }

    /// Checks one request: its method, and a function that returns the value of the header with a name
    /// in lower case. For frameworks that have no adapter here.
    ///
    /// It asks for `sec-fetch-site`, `origin`, `upgrade`, and `host` (in HTTP/2 the authority).
    ///
    /// # Errors
    /// A page of another origin began the request, and it may change something.
    pub fn check<'a>(
        &self,
        method: &str,
        header: impl Fn(&'static str) -> Option<&'a [u8]>,
    ) -> Result<(), CrossOrigin> {
        if is_safe(method, header("upgrade")) {
            return Ok(());
        }
        let initiator = Initiator::of(&header);
        let mut trusted = self.rules.trusted.iter();
        if initiator.is_same_origin()
            || trusted.any(|(scheme, authority)| initiator.is_from((scheme, authority)))
        {
            return Ok(());
        }
        meter::cross_origin();
        // Where a proxy changes Host, the app's own pages are refused: whoever looks must see why.
        let [site, origin, host] =
            ["sec-fetch-site", "origin", "host"].map(|name| shown(header(name)));
        tracing::info!(site, origin, host, "a request from another origin was refused");
        Err(CrossOrigin)
    }

    pub(super) fn answer(&self, error: &CrossOrigin) -> Response<Bytes> {
        match &self.rules.on_error {
            Some(response) => response(error),
            None => error.response().into_http(),
        }
    }
}

impl fmt::Debug for SameOriginLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SameOriginLayer")
            .field("trusted", &self.rules.trusted)
            .finish_non_exhaustive()
    }
}

fn is_safe(method: &str, upgrade: Option<&[u8]>) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
        && !upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case(b"websocket"))
}

/// The scheme and the authority of an origin, in lower case. An origin has no default port, no path and
/// no name of a user, and a name in another script is written in ASCII, as browsers do.
fn parse(origin: &str) -> Option<(String, String)> {
    let (scheme, authority) = origin.split_once("://")?;
    let (host, port) = match authority.rsplit_once(':') {
        // The colons of an IPv6 address are within brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    let is_word = |text: &str, also: &[u8]| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
    };
    let is_host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_word(host, b"-._"),
    };
    let is_port = port.is_none_or(|port| {
        // Browsers leave out the default port, so with it nothing would ever be trusted.
        let is_default = matches!((scheme, port), ("http", "80") | ("https", "443"));
        port.parse::<u16>().is_ok_and(|number| number.to_string() == port) && !is_default
    });
    let is_scheme =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && is_word(scheme, b"+-.");
    (is_scheme && is_host && is_port)
        .then(|| (scheme.to_ascii_lowercase(), authority.to_ascii_lowercase()))
}

/// A header for the log: not long, and with nothing that ends a line.
fn shown(value: Option<&[u8]>) -> Option<String> {
    let value = value?;
    Some(value.get(..128).unwrap_or(value).escape_ascii().to_string())
}

/// A page of another origin began a request that may change something. It was refused, and no handler
/// ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a page of another origin began this request, so it was refused and nothing was changed; if that \
     page is the app's own, name its origin with `SameOriginLayer::trust`"
)]
#[non_exhaustive]
pub struct CrossOrigin;

impl CrossOrigin {
    /// The response to it: 403 and a short text.
    #[must_use]
    pub fn response(&self) -> ErrorResponse {
        ErrorResponse { status: 403, body: OF_ANOTHER_SITE, retry_after: None }
    }
}

/// A text is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "an origin is a scheme, a host, and a port unless it is the default one, as in \
     `https://app.example` or `http://localhost:3000`: no path, no slash at the end, nothing else"
)]
pub struct NotAnOrigin;

impl<S> Layer<S> for SameOriginLayer {
    type Service = SameOriginService<S>;

    fn layer(&self, inner: S) -> SameOriginService<S> {
        SameOriginService { layer: self.clone(), inner }
    }
}

/// The service that [`SameOriginLayer`] puts around another one.
#[derive(Clone, Debug)]
pub struct SameOriginService<S> {
    layer: SameOriginLayer,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for SameOriginService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = SameOriginFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let checked = self.layer.check(request.method().as_str(), header_of(&request));
        let state = match checked {
            Ok(()) => State::Passed { handler: self.inner.call(request) },
            Err(error) => State::Refused { response: Some(self.layer.answer(&error)) },
        };
        SameOriginFuture { state }
    }
}

pin_project! {
    /// The future of [`SameOriginService`].
    #[must_use = "futures do nothing unless polled"]
    #[derive(Debug)]
    pub struct SameOriginFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = Projected]
    enum State<F> {
        Passed { #[pin] handler: F },
        Refused { response: Option<Response<Bytes>> },
    }
}

impl<F, R, E> Future for SameOriginFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            Projected::Passed { handler } => {
                let response = ready!(handler.poll(context))?;
                Poll::Ready(Ok(response.map(ResponseBody::handler)))
            }
            // A future that is done is polled no more.
            Projected::Refused { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response.map(ResponseBody::error))),
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_a_host_and_a_port_and_nothing_else() {
        let origins = [
            ("https://app.example", "https", "app.example"),
            ("HTTPS://App.Example", "https", "app.example"),
            ("http://localhost:3000", "http", "localhost:3000"),
            ("http://app.example:443", "http", "app.example:443"),
            ("https://xn--bcher-kva.example", "https", "xn--bcher-kva.example"),
            ("http://[::1]", "http", "[::1]"),
            ("http://[2001:db8::1]:8080", "http", "[2001:db8::1]:8080"),
            ("http://127.0.0.1:1", "http", "127.0.0.1:1"),
            ("tauri://localhost", "tauri", "localhost"),
            ("chrome-extension://abcdef", "chrome-extension", "abcdef"),
        ];
        for (origin, scheme, authority) in origins {
            let expected = Some((scheme.to_owned(), authority.to_owned()));
            assert_eq!(parse(origin), expected, "{origin}");
        }
        let others = [
            "",
            "null",
            "*",
            "app.example",
            "//app.example",
            "://app.example",
            "https://",
            "https://*",
            "https://*.app.example",
            "https://app.example/",
            "https://app.example/path",
            "https://app.example?query",
            "https://app.example#part",
            "https://ada@app.example",
            "https://ada:word@app.example",
            "https://app.example:",
            "https://app.example:443",
            "http://app.example:80",
            "https://app.example:08443",
            "https://app.example:+8443",
            "https://app.example:65536",
            "https://app.example:8443:1",
            "https://:8443",
            "https://bücher.example",
            " https://app.example",
            "https://app.example ",
            "https://app.example\n",
            "https://app.example,https://other.example",
            "https://::1",
            "https://[::1",
            "https://[app.example]",
            "https://[::1]x",
            "1https://app.example",
        ];
        for text in others {
            let trusted = SameOriginLayer::new().trust(text);
            assert_eq!(trusted.err(), Some(NotAnOrigin), "{text:?}");
        }
    }

    #[test]
    fn what_is_logged_is_short_and_on_one_line() {
        let shown = shown(Some(&[b'\n'; 1000])).unwrap();
        assert_eq!(shown, "\\n".repeat(128));
    }
}
