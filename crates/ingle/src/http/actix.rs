//! The layer as middleware of actix-web, the session as an argument of its handlers, and errors as its
//! responses.
//!
//! ```no_run
//! # async fn serve() -> std::io::Result<()> {
//! use actix_web::{App, HttpServer, web};
//! use ingle::{Error, Session, SessionLayer, store::Memory};
//!
//! async fn home(session: Session) -> Result<String, Error> {
//!     let views = session.field("views").update(|views: &mut u64| {
//!         *views += 1;
//!         *views
//!     });
//!     Ok(format!("{} views", views.await?))
//! }
//!
//! // Made once: each worker makes its own app, and the clones of a layer share what they know.
//! let sessions = SessionLayer::new(Memory::new());
//! let app = move || App::new().route("/", web::get().to(home)).wrap(sessions.clone());
//! HttpServer::new(app).bind(("127.0.0.1", 8080))?.run().await
//! # }
//! ```

use std::{
    fmt,
    future::{Ready, ready},
    pin::Pin,
    rc::Rc,
};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    error::InternalError,
    http::{
        StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};

use super::{
    cookie,
    door::{Door, Finished, HeaderChange},
    layer::{Adapter, SessionLayer},
    named::{Named, SessionName},
    response::{ErrorResponse, is_cors},
    slots::{Slot, Slots, Told},
};
use crate::{
    record::User,
    session::{Error, HandlerOutcome, Session},
};

mod same_origin;

pub use same_origin::SameOriginMiddleware;

impl<S, B> Transform<S, ServiceRequest> for SessionLayer
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Transform = SessionMiddleware<S>;
    type InitError = ();
    type Future = Ready<Result<SessionMiddleware<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        let (door, adapter) = (self.door(), self.adapter.clone());
        ready(Ok(SessionMiddleware { door, adapter, inner: Rc::new(inner) }))
    }
}

/// The middleware that [`SessionLayer`] puts around an app of actix-web, by `App::wrap`.
pub struct SessionMiddleware<S> {
    door: Door,
    adapter: Adapter,
    inner: Rc<S>,
}

impl<S> fmt::Debug for SessionMiddleware<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionMiddleware").field("door", &self.door).finish_non_exhaustive()
    }
}

impl<S, B> Service<ServiceRequest> for SessionMiddleware<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, actix_web::Error>>>>;

    forward_ready!(inner);

    /// The way of a request, as through tower: `open`, the handler, `close`.
    fn call(&self, request: ServiceRequest) -> Self::Future {
        let headers = request.headers().get_all(cookie::COOKIE).map(HeaderValue::as_bytes);
        let in_flight = self.door.begin(headers);
        let in_flight = in_flight.fetched(request.method().as_str(), header_of(&request));
        let (is_free, has_outer) = {
            let mut extensions = request.extensions_mut();
            let mut slots = extensions.remove::<Slots>().unwrap_or_default();
            let session = in_flight.session();
            let is_free = slots.put(self.adapter.slot, &self.door, session);
            let has_outer = slots.has_outer();
            extensions.insert(slots);
            (is_free, has_outer)
        };
        if !is_free {
            let response = response(Slots::refuse());
            return Box::pin(ready(Ok(request.into_response(response).map_into_right_body())));
        }
        let (inner, adapter) = (Rc::clone(&self.inner), self.adapter.clone());
        Box::pin(async move {
            let handled = inner.call(request).await;
            let finished = in_flight.finish(outcome(&handled)).await;
            match handled {
                Ok(done) => Ok(conclude(&adapter, &finished, has_outer, done)),
                Err(error) => Err(conclude_error(&adapter, finished, has_outer, error)),
            }
        })
    }
}

/// Finds the headers of a request by their names. In HTTP/2 the authority is its Host.
fn header_of<'a>(request: &'a ServiceRequest) -> impl Fn(&'static str) -> Option<&'a [u8]> {
    move |name| {
        let value = request.headers().get(name).map(HeaderValue::as_bytes);
        let authority = || request.uri().authority().map(|host| host.as_str().as_bytes());
        value.or_else(|| authority().filter(|_| name == "host"))
    }
}

/// An error that a middleware returns is a response to the browser, as much as one that a handler
/// returns.
fn outcome<B>(handled: &Result<ServiceResponse<B>, actix_web::Error>) -> HandlerOutcome {
    let status = match handled {
        Ok(done) => done.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    match status.is_server_error() {
        true => HandlerOutcome::ServerError,
        false => HandlerOutcome::Success,
    }
}

/// Makes the response say what became of the session.
fn conclude<B>(
    adapter: &Adapter,
    finished: &Finished,
    has_outer: bool,
    mut done: ServiceResponse<B>,
) -> ServiceResponse<EitherBody<B>> {
    let told = done.response_mut().extensions_mut().remove::<Told>();
    let Told(mut told) = told.unwrap_or_default();
    let returned = done.response().error().and_then(own_error);
    let returned = adapter.returned(returned, has_outer);
    let mut done = match finished.error().or(returned) {
        Some(error) => {
            let mut response = of_http(adapter.error(error));
            keep_cors(done.headers(), response.headers_mut());
            let mut done = done.into_response(response).map_into_right_body();
            told.iter().for_each(|change| apply(change, done.headers_mut()));
            done
        }
        None => done.map_into_left_body(),
    };
    for change in finished.headers() {
        apply(change, done.headers_mut());
    }
    finished.answered(done.status().as_u16());
    if has_outer {
        told.extend_from_slice(finished.headers());
        done.response_mut().extensions_mut().insert(Told(told));
    }
    done
}

/// The same where a middleware below returned an error: the response is made of it later, by the server
/// or by a middleware around this one.
fn conclude_error(
    adapter: &Adapter,
    finished: Finished,
    has_outer: bool,
    error: actix_web::Error,
) -> actix_web::Error {
    let returned = adapter.returned(own_error(&error), has_outer);
    let error = match finished.error().or(returned) {
        Some(ours) => {
            let mut response = of_http(adapter.error(ours));
            if let Some(inner) = error.as_error::<Concluded>() {
                inner.apply(response.headers_mut());
            }
            InternalError::from_response(ours.clone(), response).into()
        }
        None => error,
    };
    finished.answered(error.as_response_error().status_code().as_u16());
    match finished.headers().is_empty() {
        true => error,
        false => Concluded { error, finished }.into(),
    }
}

/// An error whose response says what became of the session: a middleware may return one after a handler
/// has renewed it.
#[derive(Debug)]
struct Concluded {
    error: actix_web::Error,
    finished: Finished,
}

impl fmt::Display for Concluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Concluded {
    /// Says what became of the session, and of those of the layers within.
    fn apply(&self, headers: &mut HeaderMap) {
        if let Some(inner) = self.error.as_error::<Self>() {
            inner.apply(headers);
        }
        self.finished.headers().iter().for_each(|change| apply(change, headers));
    }
}

impl ResponseError for Concluded {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.error.error_response();
        for change in self.finished.headers() {
            apply(change, response.headers_mut());
        }
        response
    }
}

/// The library's own error in one that a middleware returned, also where layers within have concluded it.
fn own_error(error: &actix_web::Error) -> Option<&Error> {
    let within = || own_error(&error.as_error::<Concluded>()?.error);
    error.as_error::<Error>().or_else(within)
}

/// Keeps what lets a page of another origin read the answer: CORS within may have decided that already.
fn keep_cors(from: &HeaderMap, to: &mut HeaderMap) {
    let has: Vec<HeaderName> = to.keys().filter(|name| is_cors(name.as_str())).cloned().collect();
    for (name, value) in from {
        if is_cors(name.as_str()) && !has.contains(name) || *name == header::VARY {
            to.append(name.clone(), value.clone());
        }
    }
}

fn apply(change: &HeaderChange, headers: &mut HeaderMap) {
    let name = HeaderName::from_static(change.name());
    let value = match change {
        HeaderChange::Append { value, .. } => {
            headers.append(name, HeaderValue::from_static(value));
            return;
        }
        HeaderChange::Replace { value, .. } => HeaderValue::from_static(value),
        HeaderChange::SetCookie { value, .. } => {
            // Every part was checked when the cookie was made, so this cannot fail.
            let Ok(mut value) = HeaderValue::from_str(value) else { return };
            value.set_sensitive(true);
            value
        }
    };
    change.warn_of_public(headers.get_all(&name).map(HeaderValue::as_bytes));
    let others = headers.get_all(&name).filter(|other| !change.replaces(other.as_bytes()));
    let others: Vec<HeaderValue> = others.cloned().collect();
    headers.insert(name.clone(), value);
    for other in others {
        headers.append(name.clone(), other);
    }
}

fn response(error: ErrorResponse) -> HttpResponse {
    of_http(error.into_http())
}

/// A response of the newer `http` as one of the older, which actix-web has.
fn of_http(response: http::Response<bytes::Bytes>) -> HttpResponse {
    let (parts, body) = response.into_parts();
    let status = StatusCode::from_u16(parts.status.as_u16());
    let mut response = HttpResponse::build(status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR));
    for (name, value) in &parts.headers {
        response.append_header((name.as_str(), value.as_bytes()));
    }
    response.body(body)
}

/// A handler asks for a [`Session`], and no [`SessionLayer`] is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no session layer is around this handler; add `.wrap(SessionLayer::new(store))` to the app"
)]
pub struct NoSessionMiddleware;

impl ResponseError for NoSessionMiddleware {}

fn session(request: &HttpRequest, slot: Slot) -> Result<Session, NoSessionMiddleware> {
    let extensions = request.extensions();
    let session = extensions.get::<Slots>().and_then(|slots| slots.get(slot).cloned());
    session.ok_or(NoSessionMiddleware)
}

impl FromRequest for Session {
    type Error = NoSessionMiddleware;
    type Future = Ready<Result<Self, NoSessionMiddleware>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(session(request, Slot::unnamed()))
    }
}

impl<N: SessionName> FromRequest for Named<N> {
    type Error = NoSessionMiddleware;
    type Future = Ready<Result<Self, NoSessionMiddleware>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(session(request, Slot::named::<N>()).map(Self::new))
    }
}

impl FromRequest for User {
    type Error = actix_web::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, actix_web::Error>>>>;

    /// The user whom the session is logged in for, or [`Error::NotLoggedIn`].
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let session = session(request, Slot::unnamed());
        Box::pin(async move { Ok(session?.user().await?.ok_or(Error::NotLoggedIn)?) })
    }
}

impl ResponseError for Error {
    fn status_code(&self) -> StatusCode {
        let status = StatusCode::from_u16(self.response().status);
        status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// [`Error::response`], which the layer replaces by that of
    /// [`on_error`](SessionLayer::on_error).
    fn error_response(&self) -> HttpResponse {
        response(self.response())
    }
}
