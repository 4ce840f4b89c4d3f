//! What is told of each request: a line of the log, a measurement, and a span.
//!
//! It is around all else, so it sees what the client is answered. It tells a path and never a query, a
//! cookie, an id or a user. Where neither is asked for it does nothing.

use std::{
    borrow::Cow,
    convert::Infallible,
    fmt::Write as _,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use axum::{extract::Request, http, response::Response};
use ingle::{Handle, Session};
use pin_project_lite::pin_project;
use tower::{Layer, Service};
#[cfg(feature = "actix")]
use tracing::Instrument as _;
use tracing::{Span, field::Empty};

use crate::{
    app, measure,
    otlp::{join, rename, route_of},
};

/// What filters of the log know the lines of requests by.
pub(crate) const TARGET: &str = "greetings::access";

/// What the spans of requests are known by.
pub(crate) const SPANS: &str = "greetings::request";

/// What nginx made the usual status of a client that hung up before it was answered.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// A longer path or method is cut in the log.
const BYTES_MAX: usize = 200;

/// Who is told of requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    log: bool,
    metrics: bool,
    spans: bool,
}

impl Told {
    /// As the filter of the log says, which is asked once: it does not change.
    pub(crate) fn new(metrics: bool, spans: bool) -> Self {
        Self { log: tracing::enabled!(target: TARGET, tracing::Level::INFO), metrics, spans }
    }

    /// A request that has come, if anybody is told of it.
    pub(crate) fn begin<'a>(
        self,
        method: &http::Method,
        path: &str,
        header: impl Fn(&'static str) -> Option<&'a [u8]>,
    ) -> Option<Started> {
        if !self.log && !self.metrics {
            return None;
        }
        if self.metrics {
            measure::in_flight(1.0);
        }
        let has_text = self.log || self.spans;
        let (path, trace) =
            if has_text { (path_as_told(path), Trace::of(header)) } else { (String::new(), None) };
        let span = match self.spans && !app::is_probe(&path) {
            true => span_of(method, &path),
            false => Span::none(),
        };
        Some(Started {
            told: self,
            began: Instant::now(),
            method: method.clone(),
            path,
            trace: join(&span, trace),
            span,
            answered: false,
        })
    }
}

/// A request as a span, with the names of
/// [OpenTelemetry's conventions](https://opentelemetry.io/docs/specs/semconv/http/http-spans/).
fn span_of(method: &http::Method, path: &str) -> Span {
    let label = &*label_of(method);
    // Any other method is shown as the conventions say.
    let known = if label == "other" { "_OTHER" } else { label };
    let name = if label == "other" { "HTTP" } else { label };
    tracing::info_span!(
        target: SPANS,
        "request",
        otel.name = name,
        otel.kind = "server",
        otel.status_code = Empty,
        http.request.method = known,
        http.route = Empty,
        http.response.status_code = Empty,
        url.path = path,
        session = Empty,
    )
}

/// A path as a URL may have it: what is no visible sign of ASCII could deceive whoever reads the log.
fn path_as_told(path: &str) -> String {
    if path.bytes().all(|byte| byte.is_ascii_graphic()) {
        // A CONNECT has none.
        return shortened(if path.is_empty() { "-" } else { path }).into_owned();
    }
    let mut escaped = String::with_capacity(path.len());
    for byte in path.bytes().take(BYTES_MAX + 1) {
        if byte.is_ascii_graphic() {
            escaped.push(byte.into());
        } else {
            // To write to a string does not fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    shortened(&escaped).into_owned()
}

/// The first bytes of a text that is ASCII alone.
fn shortened(text: &str) -> Cow<'_, str> {
    match text.get(..BYTES_MAX) {
        Some(first) if first.len() < text.len() => format!("{first}…").into(),
        _ => text.into(),
    }
}

/// A request that is being answered. It is told of when it is answered, and when that is given up.
#[derive(Debug)]
pub(crate) struct Started {
    told: Told,
    began: Instant,
    method: http::Method,
    path: String,
    trace: Option<Trace>,
    span: Span,
    answered: bool,
}

impl Started {
    /// The route is that of the app, with names in the place of values, if it has one.
    pub(crate) fn answered(mut self, status: u16, session: Option<Handle>, route: Option<&str>) {
        if let Some(route) = route.filter(|_| !self.span.is_disabled()) {
            self.span.record("http.route", route);
            rename(&self.span, format!("{} {route}", label_of(&self.method)));
        }
        self.tell(status, session);
    }

    fn tell(&mut self, status: u16, session: Option<Handle>) {
        self.answered = true;
        let took = self.began.elapsed();
        if self.told.metrics {
            measure::in_flight(-1.0);
            measure::request(&self.method, status, took);
        }
        if !self.span.is_disabled() {
            // The conventions have it as a signed number.
            self.span.record("http.response.status_code", i64::from(status));
            self.span.record("session", session.map(tracing::field::display));
            if status >= 500 {
                self.span.record("otel.status_code", "ERROR");
            }
        }
        // Platforms ask every few seconds, and as long as all is well there is nothing to tell.
        let is_well = status == 200 && app::is_probe(&self.path);
        if self.told.log && !is_well {
            let (method, path) = (&*shortened(self.method.as_str()), self.path.as_str());
            let session = session.map(tracing::field::display);
            let line = || {
                tracing::info!(
                    target: TARGET, method, path, status, seconds = took.as_secs_f64(), session, "request"
                );
            };
            within(self.trace, line);
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if !self.answered {
            self.tell(CLIENT_CLOSED_REQUEST, None);
        }
    }
}

tokio::task_local! {
    static CURRENT: Trace;
}

/// What a request is a part of, as the platform or the caller says: a trace, and a span of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace {
    pub(crate) id: u128,
    pub(crate) span: u64,
    pub(crate) is_sampled: bool,
}

impl Trace {
    /// That of the request which this task answers.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.try_with(|trace| *trace).ok()
    }

    fn of<'a>(header: impl Fn(&'static str) -> Option<&'a [u8]>) -> Option<Self> {
        let text = |name| header(name).and_then(|value| std::str::from_utf8(value).ok());
        let standard = text("traceparent").and_then(Self::of_traceparent);
        standard.or_else(|| text("x-cloud-trace-context").and_then(Self::of_cloud))
    }

    /// `VERSION-ID-SPAN-FLAGS` in hexadecimal digits (W3C Trace Context, 3.2).
    fn of_traceparent(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, id) = (parts.next()?, parts.next()?);
        let (span, flags) = (parts.next()?, parts.next()?);
        // Later versions may say more.
        let is_known = hex(version, 2).is_some_and(|version| match version {
            0 => parts.next().is_none(),
            0xff => false,
            _ => true,
        });
        let (id, span, flags) = (hex(id, 32)?, hex(span, 16)?, hex(flags, 2)?);
        let span = u64::try_from(span).ok()?;
        let is_sampled = flags & 1 == 1;
        (is_known && id != 0 && span != 0).then_some(Self { id, span, is_sampled })
    }

    /// `ID/SPAN;o=SAMPLED`, with the span in decimal digits, as Google's front ends write it.
    fn of_cloud(text: &str) -> Option<Self> {
        let (id, rest) = text.split_once('/')?;
        let (span, options) = rest.split_once(';').unwrap_or((rest, ""));
        let is_decimal = span.bytes().all(|byte| byte.is_ascii_digit());
        let (id, span) = (hex(id, 32)?, span.parse().ok()?);
        (is_decimal && id != 0).then_some(Self { id, span, is_sampled: options == "o=1" })
    }
}

/// So many hexadecimal digits, and nothing else.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let fits = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    fits.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Runs something as a part of a trace: what it logs belongs to it.
fn within<T>(trace: Option<Trace>, work: impl FnOnce() -> T) -> T {
    match trace {
        Some(trace) => CURRENT.sync_scope(trace, work),
        None => work(),
    }
}

/// Polls a request's future as a part of its trace.
#[cfg(feature = "actix")]
pub(crate) async fn traced<F: Future>(started: &Started, work: F) -> F::Output {
    let work = work.instrument(started.span.clone());
    match started.trace {
        Some(trace) => CURRENT.scope(trace, work).await,
        None => work.await,
    }
}

/// Tells of each request to the service within.
#[derive(Clone, Debug)]
pub(crate) struct Access<S> {
    told: Told,
    inner: S,
}

impl<S> Access<S> {
    pub(crate) fn new(told: Told, inner: S) -> Self {
        Self { told, inner }
    }
}

impl<S, B> Service<http::Request<B>> for Access<S>
where
    S: Service<http::Request<B>, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let header = |name| request.headers().get(name).map(http::HeaderValue::as_bytes);
        let started = self.told.begin(request.method(), request.uri().path(), header);
        Answering { inner: self.inner.call(request), started }
    }
}

pin_project! {
    /// A request on its way, whose answer is told of.
    pub(crate) struct Answering<F> {
        #[pin]
        inner: F,
        started: Option<Started>,
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answering<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let started = this.started.as_ref();
        let trace = started.and_then(|started| started.trace);
        let entered = started.map(|started| started.span.enter());
        let inner = this.inner;
        let Ok(mut response) = ready!(within(trace, || inner.poll(context)));
        drop(entered);
        if let Some(started) = this.started.take() {
            let Noted { session, route } = response.extensions_mut().remove().unwrap_or_default();
            let session = session.and_then(|session| session.handle());
            started.answered(response.status().as_u16(), session, route.as_deref());
        }
        Poll::Ready(Ok(response))
    }
}

/// What is known of a request inside of the app alone.
#[derive(Clone, Debug, Default)]
struct Noted {
    session: Option<Session>,
    route: Option<String>,
}

/// Notes the session and the route of each request. It is within the layer of sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoteSession(pub(crate) Told);

impl<S> Layer<S> for NoteSession {
    type Service = Noting<S>;

    fn layer(&self, inner: S) -> Noting<S> {
        Noting { told: self.0, inner }
    }
}

/// The service of [`NoteSession`].
#[derive(Clone, Debug)]
pub(crate) struct Noting<S> {
    told: Told,
    inner: S,
}

impl<S, R> Service<Request> for Noting<S>
where
    S: Service<Request, Response = http::Response<R>, Error = Infallible>,
{
    type Response = http::Response<R>;
    type Error = Infallible;
    type Future = NotingFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Told { log, spans, .. } = self.told;
        let extensions = request.extensions();
        let noted = (log || spans).then(|| Noted {
            session: extensions.get().cloned(),
            route: spans.then(|| route_of(extensions)).flatten(),
        });
        NotingFuture { inner: self.inner.call(request), noted }
    }
}

pin_project! {
    /// The future of [`Noting`].
    pub(crate) struct NotingFuture<F> {
        #[pin]
        inner: F,
        noted: Option<Noted>,
    }
}

impl<F, R> Future for NotingFuture<F>
where
    F: Future<Output = Result<http::Response<R>, Infallible>>,
{
    type Output = Result<http::Response<R>, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(mut response) = ready!(this.inner.poll(context));
        if let Some(noted) = this.noted.take() {
            response.extensions_mut().insert(noted);
        }
        Poll::Ready(Ok(response))
    }
}

/// What a metric's label says of a method. Clients may make up any number of others.
pub(crate) fn label_of(method: &http::Method) -> Cow<'static, str> {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("other").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &'static str, value: &str) -> Option<Trace> {
        Trace::of(|asked| (asked == name).then_some(value.as_bytes()))
    }

    #[test]
    fn a_trace_is_read_as_the_standard_and_as_google_write_it() {
        let id = 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736;
        let standard = |text| of("traceparent", text);
        let sampled = Some(Trace { id, span: 0x00f0_67aa_0ba9_02b7, is_sampled: true });
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(standard(text), sampled);
        let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-later";
        assert_eq!(standard(later), sampled);
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e47-00f067aa0ba902b7-01",
        ] {
            assert_eq!(standard(wrong), None, "{wrong}");
        }
        let google = |text| of("x-cloud-trace-context", text);
        let not = Some(Trace { id, span: 1, is_sampled: false });
        assert_eq!(google("4bf92f3577b34da6a3ce929d0e0e4736/1;o=0"), not);
        assert_eq!(google("4bf92f3577b34da6a3ce929d0e0e4736/1"), not);
        for wrong in ["", "/", "4bf9/1", "4bf92f3577b34da6a3ce929d0e0e4736/+1;o=1"] {
            assert_eq!(google(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_path_is_told_as_short_text_that_a_url_may_have() {
        for (path, told) in [
            ("/a\"b\\c%0a", "/a\"b\\c%0a"),
            ("", "-"),
            ("/é\u{202e}\u{9b}2J\n", "/%C3%A9%E2%80%AE%C2%9B2J%0A"),
        ] {
            assert_eq!(path_as_told(path), told);
        }
        for path in ["a".repeat(BYTES_MAX + 1), "é".repeat(BYTES_MAX)] {
            let told = path_as_told(&path);
            assert_eq!(told.chars().count(), BYTES_MAX + 1, "{told}");
            assert!(told.ends_with('…'), "{told}");
        }
        let most = "a".repeat(BYTES_MAX);
        assert_eq!(path_as_told(&most), most);
    }
}
