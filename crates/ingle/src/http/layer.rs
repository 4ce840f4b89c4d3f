//! The way of a request through tower: read the cookie, run the handler, commit, write the cookie.
//!
//! [`SessionLayer`] holds the settings, and [`SessionService`] does the work through the door.

use std::{
    any::Any,
    fmt,
    num::{NonZeroU32, NonZeroUsize},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::ResponseBody,
    cookie::{self, Cookie},
    door::{Door, Finished, HeaderChange, IdSchemes, InFlight, Settings},
    named::SessionName,
    plain,
    response::is_cors,
    slots::{Slot, Slots, Told},
};
use crate::{
    clock::Clock,
    data::Limits,
    engine::{
        Engine,
        events::{Event, OnEvent},
        policy::{
            Lifetime, OnLostUpdate, OnOutage, OnServerError, OnUserLimit, OnWrongType, Policy,
            UserLimit,
        },
    },
    session::{Error, HandlerOutcome, Sessions},
    store::Store,
};

/// Far beyond any use, and near enough to be an instant.
const DEADLINE_MAX: Duration = Duration::from_secs(60 * 60);

/// A store must not be swept without a pause, and a sweep must come at all.
const SWEEP_MIN: Duration = Duration::from_secs(1);
const SWEEP_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Gives each request its [`Session`](crate::Session).
///
/// The default settings of [`new`](Self::new) are safe, and the setters are chained. Clones, and
/// the services that it makes, share one set of queues and cached records. So make one for an app
/// and use it for all its routes.
#[derive(Clone)]
#[must_use]
pub struct SessionLayer {
    store: Arc<dyn Store>,
    policy: Policy,
    namespace: String,
    settings: Settings,
    pub(super) adapter: Adapter,
    /// Made with the first service, from the settings at that time.
    door: Arc<OnceLock<Door>>,
}

/// How sessions go into requests, and errors into responses.
#[derive(Clone)]
pub(super) struct Adapter {
    pub(super) slot: Slot,
    on_error: Option<Arc<OnError>>,
}

type OnError = dyn Fn(&Error) -> Response<Bytes> + Send + Sync;

impl SessionLayer {
    /// A layer with the default settings. Each setting documents its own.
    pub fn new(store: impl Store) -> Self {
        // A store in an `Arc` needs no second pointer.
        let shared = (&store as &dyn Any).downcast_ref::<Arc<dyn Store>>().cloned();
        let store = shared.unwrap_or_else(|| Arc::new(store));
        let settings = Settings { cookie: Cookie::default(), clear_site_data: false };
        let mut layer = Self {
            store,
            policy: Policy::default(),
            namespace: String::new(),
            settings,
            adapter: Adapter { slot: Slot::unnamed(), on_error: None },
            door: Arc::default(),
        };
        plain::set_up(layer.store.info().ids, &mut layer.settings, &mut layer.policy);
        layer
    }

    /// Keeps the sessions of this app apart from those of other apps in the same store. Default
    /// empty.
    ///
    /// The same id has another key in each namespace, so the cookie of one app is worth nothing in
    /// another (the lesson of CVE-2022-46170). A change of the namespace ends all sessions.
    ///
    /// Two apps on one host also need different [cookies](Self::cookie). The browser sends a cookie to
    /// both, and a namespace does not keep one app from overwriting the other's.
    ///
    /// Users are those of the whole store: what lists and ends the sessions of a user finds those that any app
    /// has stored under this name. Where one name may be two people, give each app a store of its own, such as
    /// another database, table, collection or prefix.
    pub fn namespace(self, name: impl Into<String>) -> Self {
        self.with(|layer| layer.namespace = name.into())
    }

    /// Gives the session a name, for an app that has [more than one](crate::Named) in a request.
    /// Handlers then ask for `Named<N>`. Give each layer a [cookie](Self::cookie) and a
    /// [namespace](Self::namespace) of its own.
    pub fn named<N: SessionName>(self) -> Self {
        self.with(|layer| layer.adapter.slot = Slot::named::<N>())
    }

    /// The cookie. Default `__Host-id`: Secure, HttpOnly, SameSite=Lax, kept until the browser
    /// closes. On a store with [plain ids](crate::store::Ids::Plain), default `session_id`.
    ///
    /// Two apps on one host need cookies with different [names](crate::CookieConfig::name), and
    /// different [namespaces](Self::namespace).
    pub fn cookie(self, cookie: Cookie) -> Self {
        self.with(|layer| layer.settings.cookie = cookie)
    }

    /// How long sessions live. Default 30 minutes without use, and 12 hours at most.
    pub fn lifetime(self, lifetime: Lifetime) -> Self {
        self.with(|layer| layer.policy.lifetime = lifetime)
    }

    /// How much data a session may hold. Default 64 KiB, 16 levels, 1000 fields.
    ///
    /// # Panics
    /// If `depth_max` is above [`Limits::DEPTH_MAX`], because what nests deeper can be stored but not
    /// loaded.
    pub fn limits(self, limits: Limits) -> Self {
        assert!(
            limits.depth_max <= Limits::DEPTH_MAX,
            "`depth_max` is {}, but data that nests deeper than {} levels cannot be loaded",
            limits.depth_max,
            Limits::DEPTH_MAX,
        );
        self.with(|layer| layer.policy.limits = limits)
    }

    /// How many sessions a user may have at once, and what a login beyond that does. Default any number.
    ///
    /// At no time does a user have more, on any number of instances, except sessions that began before there was a
    /// limit, and those of calls that reach the store more than a minute late. A login then takes two commits more, and so does a renew of a session that is logged in.
    ///
    /// # Panics
    /// If `max` is above 100, because the places are kept in one record.
    pub fn sessions_per_user(self, max: NonZeroUsize, beyond: OnUserLimit) -> Self {
        assert!(max.get() <= 100, "a user may have 100 sessions at most, and `max` is {max}");
        self.with(|layer| layer.policy.user_limit = Some(UserLimit { max, beyond }))
    }

    /// How long one load or commit may take, with all its retries. Default 1 second, and at most 1
    /// hour. On a store with [plain ids](crate::store::Ids::Plain), whose other apps may lock a
    /// record, the default is 20 seconds.
    ///
    /// The time begins when the handler calls, so a slow handler does not shorten it.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|layer| layer.policy.deadline = deadline.min(DEADLINE_MAX))
    }

    /// What reads get while the store does not answer. Default [`OnOutage::Fail`].
    pub fn on_outage(self, on_outage: OnOutage) -> Self {
        self.with(|layer| layer.policy.on_outage = on_outage)
    }

    /// What happens to a write to a field that this request read and another request changed since.
    /// Default [`OnLostUpdate::Refuse`].
    pub fn on_lost_update(self, on_lost_update: OnLostUpdate) -> Self {
        self.with(|layer| layer.policy.on_lost_update = on_lost_update)
    }

    /// What happens where stored data does not have the type that the app reads it as. Default
    /// [`OnWrongType::Fail`].
    pub fn on_wrong_type(self, on_wrong_type: OnWrongType) -> Self {
        self.with(|layer| layer.policy.on_wrong_type = on_wrong_type)
    }

    /// What happens to uncommitted edits when a handler answers with 500 or more, or with a `grpc-status`
    /// that is not `0`. Default [`OnServerError::Discard`].
    pub fn on_server_error(self, on_server_error: OnServerError) -> Self {
        self.with(|layer| layer.policy.on_server_error = on_server_error)
    }

    /// Makes the responses to errors, instead of [`Error::response`]: in JSON, as a page, or in
    /// another language.
    ///
    /// They answer what could not be committed when a handler is done, and with axum and
    /// actix-web also each [`Error`] that a handler returns. Cookies and headers of the session come on top.
    ///
    /// ```
    /// # use ingle::{SessionLayer, store::Memory};
    /// let layer = SessionLayer::new(Memory::new()).on_error(|error| {
    ///     let body = format!("{{\"error\":{}}}", error.status().as_u16());
    ///     let mut response = http::Response::new(body.into());
    ///     *response.status_mut() = error.status();
    ///     response
    /// });
    /// ```
    pub fn on_error<F>(self, response: F) -> Self
    where
        F: Fn(&Error) -> Response<Bytes> + Send + Sync + 'static,
    {
        self.with(|layer| layer.adapter.on_error = Some(Arc::new(response)))
    }

    /// Whether [`Session::logout`](crate::Session::logout) also tells the browser to clear this
    /// site's cookies and storage (`Clear-Site-Data`). Default false, because it clears the cookies
    /// of all hosts of the domain.
    pub fn clear_site_data(self, clear: bool) -> Self {
        self.with(|layer| layer.settings.clear_site_data = clear)
    }

    /// How many sessions this process begins in a second; `None` for no limit. Default `None`.
    ///
    /// Whoever sends no cookie can begin one session after the other, and each is a record that is kept
    /// until its deadline. Beyond the limit, what would begin a session is
    /// [`Error::TooManyNewSessions`](crate::Error::TooManyNewSessions), as a response 503 with
    /// Retry-After. Nothing is stored then. Sessions that there are go on, and requests that store
    /// nothing need none. The sources are CVE-2015-5143 and CVE-2026-67430: stores that were filled so.
    ///
    /// It is a token bucket that holds one second's worth: after a pause, as many begin at once. Set it
    /// well above what the app sees at its busiest, and divide what the store can take by the number of
    /// processes.
    pub fn new_sessions_per_second(self, limit: Option<NonZeroU32>) -> Self {
        self.with(|layer| layer.policy.new_sessions_per_second = limit)
    }

    /// How often this process deletes dead records, give or take half; `None` for never. Default
    /// every 60 seconds, at least 1 second and at most 1 day. Any number of processes may do so at once. It begins with the first request, so a
    /// process that has none deletes nothing.
    pub fn sweep_every(self, interval: Option<Duration>) -> Self {
        let interval = interval.map(|every| every.clamp(SWEEP_MIN, SWEEP_MAX));
        self.with(|layer| layer.policy.sweep_every = interval)
    }

    /// The source of the time. Default the system's clock.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        self.with(|layer| layer.policy.clock = clock)
    }

    /// Tells the app of each event in the life of its sessions, after it was stored: for an audit trail,
    /// a mail about a new login, or a count of who is there.
    ///
    /// The events of one session come in their order. Of what other processes do, those processes tell.
    /// What a store may have done without an answer, and what nobody could find out, is not told.
    ///
    /// `listener` runs within the request, so it must be quick and must not block: let it send the event
    /// to a channel.
    ///
    /// ```
    /// # use ingle::{SessionLayer, store::Memory};
    /// let (sender, receiver) = std::sync::mpsc::channel();
    /// let layer = SessionLayer::new(Memory::new()).on_event(move |event| {
    ///     sender.send(event.clone()).ok();
    /// });
    /// ```
    pub fn on_event<F>(self, listener: F) -> Self
    where
        F: Fn(&Event) + Send + Sync + 'static,
    {
        self.with(|layer| layer.policy.on_event = Some(OnEvent::new(listener)))
    }

    /// The sessions of the app without a request, for its jobs and operators.
    #[must_use]
    pub fn sessions(&self) -> Sessions {
        self.door().sessions()
    }

    /// The door, for a framework that is not built on tower.
    #[must_use]
    pub fn door(&self) -> Door {
        let make = || {
            let ids = self.store.info().ids;
            let IdSchemes { own, legacy } =
                plain::schemes(ids, &self.namespace, &self.settings.cookie);
            let engine = Engine::new(Arc::clone(&self.store), self.policy.clone(), own);
            Door::new(engine, self.settings.clone(), legacy)
        };
        self.door.get_or_init(make).clone()
    }

    fn with(mut self, set: impl FnOnce(&mut Self)) -> Self {
        set(&mut self);
        // A layer with other settings shares nothing with those made before.
        self.door = Arc::default();
        self
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, policy, namespace, settings, .. } = self;
        f.debug_struct("SessionLayer")
            .field("store", store)
            .field("policy", policy)
            .field("namespace", namespace)
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}

/// A handler asks for a [`Session`](crate::Session), but no [`SessionLayer`] is around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no session layer is around this handler; add `.layer(SessionLayer::new(store))` to the router"
)]
pub struct NoSessionLayer;

/// Why a handler that asks for a [`User`](crate::User) was not called.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UserRejection {
    /// No layer is around the handler.
    #[error(transparent)]
    NoSessionLayer(#[from] NoSessionLayer),
    /// Nobody is logged in, or the session could not be read.
    #[error(transparent)]
    Session(#[from] Error),
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { door: self.door(), adapter: self.adapter.clone(), inner }
    }
}

/// The service that [`SessionLayer`] puts around another one.
#[derive(Clone)]
pub struct SessionService<S> {
    door: Door,
    adapter: Adapter,
    inner: S,
}

impl<S: fmt::Debug> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { door, adapter: _, inner } = self;
        f.debug_struct("SessionService").field("door", door).field("inner", inner).finish()
    }
}

/// The future of [`SessionService`].
#[must_use = "futures do nothing unless polled"]
pub struct ResponseFuture<R, E>(BoxFuture<Result<Response<ResponseBody<R>>, E>>);

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<R, E> Future for ResponseFuture<R, E> {
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<R, E> fmt::Debug for ResponseFuture<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResponseFuture")
    }
}

impl<S, B, R> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    S::Future: Send + 'static,
    R: Send + 'static,
{
    type Response = Response<ResponseBody<R>>;
    type Error = S::Error;
    type Future = ResponseFuture<R, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    /// The way of a request: `open`, the handler, its reply.
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        ResponseFuture(match open(&self.door, &self.adapter, &mut request) {
            Some(opened) => {
                let handler = self.inner.call(request);
                Box::pin(Answering::Handler { handler, opened: Some(opened) })
            }
            None => Box::pin(async { Ok(nested()) }),
        })
    }
}

pin_project! {
    /// The handler, and in its place what follows it. An `async` block would hold the handler twice: as
    /// what it was given, and as what it awaits.
    #[project = Step]
    enum Answering<F, R> {
        Handler {
            #[pin]
            handler: F,
            // There until the handler is done.
            opened: Option<Opened>,
        },
        Closing { closing: Pin<Box<dyn Future<Output = Response<ResponseBody<R>>> + Send>> },
    }
}

impl<F, R, E> Future for Answering<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: Send + 'static,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (opened, response) = match self.as_mut().project() {
            Step::Handler { handler, opened } => {
                let response = ready!(handler.poll(context))?;
                (opened.take(), response)
            }
            Step::Closing { closing } => return closing.as_mut().poll(context).map(Ok),
        };
        // Nobody polls it again when it is done.
        let Some(Opened { in_flight, reply }) = opened else { return Poll::Pending };
        match in_flight.finish_at_once() {
            Ok(finished) => Poll::Ready(Ok(reply.of(&finished, response))),
            Err(in_flight) => {
                let closing = Box::pin(async move {
                    let finished = in_flight.finish_with_store(outcome(&response)).await;
                    reply.of(&finished, response)
                });
                self.set(Self::Closing { closing });
                self.poll(context)
            }
        }
    }
}

/// A session on its way through a handler.
struct Opened {
    in_flight: InFlight,
    reply: Reply,
}

/// How this layer replies when the session is done.
struct Reply {
    adapter: Adapter,
    /// Whether another layer is around this one.
    has_outer: bool,
}

/// Reads the cookie, and gives the request its session. None if it has one of this name already.
fn open<B>(door: &Door, adapter: &Adapter, request: &mut Request<B>) -> Option<Opened> {
    let headers = request.headers().get_all(cookie::COOKIE).iter().map(HeaderValue::as_bytes);
    let in_flight = door.begin(headers).fetched(request.method().as_str(), header_of(request));
    let extensions = request.extensions_mut();
    let slots: &mut Slots = extensions.get_or_insert_default();
    let is_free = slots.put(adapter.slot, door, in_flight.session());
    let has_outer = slots.has_outer();
    if is_free && adapter.slot == Slot::unnamed() {
        // Also for handlers that ask for it by its type.
        extensions.insert(in_flight.session().clone());
    }
    let reply = Reply { adapter: adapter.clone(), has_outer };
    is_free.then_some(Opened { in_flight, reply })
}

/// Finds the headers of a request by their names. In HTTP/2 the authority is its Host.
pub(super) fn header_of<'a, B>(
    request: &'a Request<B>,
) -> impl Fn(&'static str) -> Option<&'a [u8]> {
    move |name| {
        let value = request.headers().get(name).map(HeaderValue::as_bytes);
        let authority = || request.uri().authority().map(|host| host.as_str().as_bytes());
        value.or_else(|| authority().filter(|_| name == "host"))
    }
}

/// How a handler answered. A failed call of gRPC has status 200, and its own status in a header.
fn outcome<R>(response: &Response<R>) -> HandlerOutcome {
    let grpc = response.headers().get("grpc-status");
    if response.status().is_server_error() || grpc.is_some_and(|status| status != "0") {
        HandlerOutcome::ServerError
    } else {
        HandlerOutcome::Success
    }
}

impl Reply {
    /// Makes the response say what became of the session.
    fn of<R>(&self, finished: &Finished, mut response: Response<R>) -> Response<ResponseBody<R>> {
        let Self { adapter, has_outer } = self;
        let extensions = response.extensions_mut();
        let Told(mut told) = extensions.remove().unwrap_or_default();
        // Where this layer leaves it as it is, one around it may not.
        let is_ours = adapter.replaces_errors() || !has_outer;
        let returned = is_ours.then(|| extensions.remove::<Error>()).flatten();
        let returned = adapter.returned(returned.as_ref(), *has_outer);
        let mut response = match finished.error().or(returned) {
            Some(error) => {
                let mut answer = adapter.error(error).map(ResponseBody::error);
                keep_cors(response.headers(), answer.headers_mut());
                told.iter().for_each(|change| apply(change, answer.headers_mut()));
                answer
            }
            None => response.map(ResponseBody::handler),
        };
        for change in finished.headers() {
            apply(change, response.headers_mut());
        }
        finished.answered(response.status().as_u16());
        if *has_outer {
            told.extend_from_slice(finished.headers());
            response.extensions_mut().insert(Told(told));
        }
        response
    }
}

impl Adapter {
    /// Whether the app replaces the responses to errors, including those that a handler returned.
    pub(super) fn replaces_errors(&self) -> bool {
        self.on_error.is_some()
    }

    /// The error that a handler returned, if this layer is to answer it. The layer that answers it, or the
    /// outermost one, logs what the response does not tell.
    pub(super) fn returned<'a>(
        &self,
        error: Option<&'a Error>,
        has_outer: bool,
    ) -> Option<&'a Error> {
        if self.replaces_errors() || !has_outer {
            error.inspect(|error| error.log());
        }
        error.filter(|_| self.replaces_errors())
    }

    pub(super) fn error(&self, error: &Error) -> Response<Bytes> {
        match &self.on_error {
            Some(response) => response(error),
            None => error.response().into_http(),
        }
    }
}

/// Keeps what lets a page of another origin read the answer: a CORS layer within may have decided that
/// already. All else that the handler's response said is of that response.
fn keep_cors(from: &HeaderMap, to: &mut HeaderMap) {
    let has: Vec<HeaderName> = to.keys().filter(|name| is_cors(name.as_str())).cloned().collect();
    for (name, value) in from {
        if is_cors(name.as_str()) && !has.contains(name) || *name == header::VARY {
            to.append(name.clone(), value.clone());
        }
    }
}

fn apply(change: &HeaderChange, headers: &mut HeaderMap) {
    // By their constants these need not be read each time.
    let name = match change.name() {
        "vary" => header::VARY,
        "cache-control" => header::CACHE_CONTROL,
        "set-cookie" => header::SET_COOKIE,
        other => HeaderName::from_static(other),
    };
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
    change.warn_of_public(headers.get_all(&name).iter().map(HeaderValue::as_bytes));
    let others = headers.get_all(&name).iter().filter(|other| !change.replaces(other.as_bytes()));
    let others: Vec<HeaderValue> = others.cloned().collect();
    headers.insert(name.clone(), value);
    for other in others {
        headers.append(name.clone(), other);
    }
}

/// The answer where two layers of one name are around one handler.
fn nested<R>() -> Response<ResponseBody<R>> {
    Slots::refuse().into_http().map(ResponseBody::error)
}
