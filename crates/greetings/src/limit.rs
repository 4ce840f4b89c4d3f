//! What one request may take of this process: a place, a time, and a body of a size.
//!
//! It is one layer, since each costs every request something, and it knows nothing of sessions.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, HttpBody as _},
    extract::Request,
    http::{StatusCode, header::RETRY_AFTER},
    response::{IntoResponse as _, Response},
};
use http_body_util::Limited;
use pin_project_lite::pin_project;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Timeout, timeout},
};
use tower::{Layer, Service};

pub(crate) const BODY_BYTES_MAX: usize = 256 * 1024;

/// What a request is told whose time is over.
pub(crate) const TOO_LONG: &str = "the request took too long and was stopped; a part of it may be done, \
                                   so load the page again before you repeat it\n";

/// Lets so many requests in at once, each for so long and with so large a body.
#[derive(Clone, Debug)]
pub(crate) struct Limit {
    permits: Arc<Semaphore>,
    time: Duration,
}

impl Limit {
    pub(crate) fn new(in_flight: usize, time: Duration) -> Self {
        Self { permits: Arc::new(Semaphore::new(in_flight)), time }
    }
}

impl<S> Layer<S> for Limit {
    type Service = Within<S>;

    fn layer(&self, inner: S) -> Within<S> {
        Within { permits: Arc::clone(&self.permits), time: self.time, inner }
    }
}

/// A service within the limits.
#[derive(Clone, Debug)]
pub(crate) struct Within<S> {
    permits: Arc<Semaphore>,
    time: Duration,
    inner: S,
}

impl<S> Service<Request> for Within<S>
where
    S: Service<Request, Response = Response, Error = Infallible>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answer<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        if request.body().size_hint().lower() > BODY_BYTES_MAX as u64 {
            let large = (StatusCode::PAYLOAD_TOO_LARGE, "a body may have 256 KiB\n");
            return Answer::Refused { response: Some(large.into_response()) };
        }
        // In a queue all would only be late.
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            let busy = (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, "1")], "busy, try again\n");
            return Answer::Refused { response: Some(busy.into_response()) };
        };
        let request = if request.body().is_end_stream() { request } else { request.map(bounded) };
        let answer = timeout(self.time, self.inner.call(request));
        Answer::Worked { answer, permit: Some(permit) }
    }
}

pin_project! {
    /// The future of [`Within`].
    #[project = Step]
    pub(crate) enum Answer<F> {
        Refused { response: Option<Response> },
        Worked {
            #[pin]
            answer: Timeout<F>,
            permit: Option<OwnedSemaphorePermit>,
        },
    }
}

impl<F: Future<Output = Result<Response, Infallible>>> Future for Answer<F> {
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            // Nobody polls it again when it is done.
            Step::Refused { response } => {
                response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)))
            }
            Step::Worked { answer, permit } => {
                let answer = ready!(answer.poll(context));
                drop(permit.take());
                let late = (StatusCode::SERVICE_UNAVAILABLE, TOO_LONG);
                Poll::Ready(answer.unwrap_or_else(|_| Ok(late.into_response())))
            }
        }
    }
}

/// A body that ends with an error where it becomes too large, which its length did not tell.
fn bounded(body: Body) -> Body {
    Body::new(Limited::new(body, BODY_BYTES_MAX))
}
