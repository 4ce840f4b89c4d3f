//! The layer as middleware of actix-web, the session as an argument of its handlers, and errors as its
//! responses.

use std::{
    future::{Ready, ready},
    pin::Pin,
    rc::Rc,
};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest, HttpResponse, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    http::{
        StatusCode,
        header::{HeaderMap, HeaderName, HeaderValue},
    },
};

use super::{
    cookie,
    door::{Door, Finished, HeaderChange},
    layer::{Adapter, SessionLayer},
    named::{Named, SessionName},
    response::ErrorResponse,
    slots::{Slot, Slots, Told},
};
use crate::session::{Error, HandlerOutcome, Session};

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
        let (door, adapter) = (self.door(), self.adapter());
        ready(Ok(SessionMiddleware { door, adapter, inner: Rc::new(inner) }))
    }
}

/// The middleware that [`SessionLayer`] puts around an app of actix-web, by `App::wrap`.
pub struct SessionMiddleware<S> {
    door: Door,
    adapter: Adapter,
    inner: Rc<S>,
}

impl<S> std::fmt::Debug for SessionMiddleware<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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
        let (is_free, has_outer) = {
            let mut extensions = request.extensions_mut();
            let mut slots = extensions.remove::<Slots>().unwrap_or_default();
            let session = in_flight.session();
            let is_free = slots.put(self.adapter.slot, self.door.cookie_name(), session);
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
            let done = inner.call(request).await?;
            let handler = match done.status().is_server_error() {
                true => HandlerOutcome::ServerError,
                false => HandlerOutcome::Success,
            };
            let finished = in_flight.finish(handler).await;
            Ok(conclude(&adapter, &finished, has_outer, done))
        })
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
    let returned = done.response().error().and_then(|error| error.as_error::<Error>());
    let returned = returned.filter(|_| adapter.replaces_errors());
    let mut done = match finished.error().or(returned) {
        Some(error) => {
            let response = of_http(adapter.error(error));
            let mut done = done.into_response(response).map_into_right_body();
            told.iter().for_each(|change| apply(change, done.headers_mut()));
            done
        }
        None => done.map_into_left_body(),
    };
    for change in finished.headers() {
        apply(change, done.headers_mut());
    }
    if has_outer {
        told.extend_from_slice(finished.headers());
        done.response_mut().extensions_mut().insert(Told(told));
    }
    done
}

fn apply(change: &HeaderChange, headers: &mut HeaderMap) {
    let name = HeaderName::from_static(change.name());
    // Every part was checked when the cookie was made, so this cannot fail.
    let Ok(value) = HeaderValue::from_str(change.value()) else { return };
    if matches!(change, HeaderChange::Append { .. }) {
        headers.append(name, value);
        return;
    }
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
