//! The way of a request: read the cookie, run the handler, commit, write the cookie.
//!
//! [`SessionLayer`] configures, [`SessionService`] does it. This is the only module, with `error`
//! and `extract`, that knows HTTP responses; it knows no store.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
    time::Duration,
};

use http::{
    HeaderMap, HeaderValue, Request, Response, StatusCode,
    header::{CACHE_CONTROL, VARY},
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    background::Underway,
    clock::Clock,
    config::{Config, Lifetime, LostUpdates, Outage, ServerErrors},
    cookie::{Cookie, News, Presented},
    core::Core,
    data::Limits,
    id::{Form, Ids, LogKey, SessionId},
    meter,
    planted::Bug,
    session::{Ending, Session},
    store::Store,
    sweep,
};

/// Far beyond any use, and near enough to be an instant.
const DEADLINE_MAX: Duration = Duration::from_secs(60 * 60);

/// Where another app locks the records that it shares with this one. Firestore ends transactions that
/// wait for each other after some 2 to 15 seconds, and who comes behind them waits as long.
const DEADLINE_BESIDE_LOCKS: Duration = Duration::from_secs(20);

/// Gives each request its [`Session`].
///
/// Safe as [`new`](Self::new) makes it; the settings are chained. Clones, and the services that it
/// makes, share one set of queues and hints, so make one for an app and use it for all its routes.
#[derive(Clone)]
#[must_use]
pub struct SessionLayer {
    store: Arc<dyn Store>,
    config: Config,
    /// Made when the first service is, of the settings as they are then.
    core: Arc<OnceLock<Arc<Core>>>,
}

impl SessionLayer {
    /// A layer with the default settings: see each setting's own documentation.
    pub fn new(store: Arc<dyn Store>) -> Self {
        let mut config = Config::default();
        if store.ids() == Ids::Plain {
            config.cookie = config.cookie.tutorial();
            config.deadline = DEADLINE_BESIDE_LOCKS;
        }
        Self { store, config, core: Arc::default() }
    }

    /// Keeps the sessions of this app apart from those of others in the same store. Default empty.
    ///
    /// The same id has another key in each namespace, so the cookie of one app is nobody in the
    /// other (the lesson of CVE-2022-46170). To change it ends all sessions.
    pub fn namespace(self, name: impl Into<String>) -> Self {
        self.with(|config| config.namespace = name.into())
    }

    /// The cookie. Default `__Host-id`: Secure, HttpOnly, SameSite=Lax, until the browser closes; and
    /// `session_id` on a store with [plain ids](crate::Ids::Plain).
    pub fn cookie(self, cookie: Cookie) -> Self {
        self.with(|config| config.cookie = cookie)
    }

    /// How long sessions live. Default 30 minutes without use, and 12 hours at most.
    pub fn lifetime(self, lifetime: Lifetime) -> Self {
        self.with(|config| config.lifetime = lifetime)
    }

    /// How much data a session may hold. Default 64 KiB, 16 levels, 1000 fields.
    pub fn limits(self, limits: Limits) -> Self {
        self.with(|config| config.limits = limits)
    }

    /// How long one load or commit may take, with all its retries. Default 1 second, and 20 seconds on
    /// a store with [plain ids](crate::Ids::Plain), whose other apps may lock a record; at most 1 hour.
    ///
    /// It begins when the handler asks, so a slow handler takes nothing from it.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.with(|config| config.deadline = deadline.min(DEADLINE_MAX))
    }

    /// What reads get while the store does not answer. Default [`Outage::Closed`].
    pub fn on_outage(self, outage: Outage) -> Self {
        self.with(|config| config.outage = outage)
    }

    /// What becomes of a write to a field that was read and then changed by another request.
    /// Default [`LostUpdates::Refuse`].
    pub fn on_lost_update(self, lost_updates: LostUpdates) -> Self {
        self.with(|config| config.lost_updates = lost_updates)
    }

    /// What becomes of uncommitted edits when a handler answers 500 or more. Default
    /// [`ServerErrors::DropEdits`].
    pub fn on_server_error(self, server_errors: ServerErrors) -> Self {
        self.with(|config| config.server_errors = server_errors)
    }

    /// Whether [`Session::logout`] also tells the browser to clear this site's cookies and storage
    /// (`Clear-Site-Data`). Default false, since that clears the cookies of all hosts of the domain.
    pub fn clear_site_data(self, clear: bool) -> Self {
        self.with(|config| config.clear_site_data = clear)
    }

    /// How often this process looks for dead records to delete, give or take half; `None` for
    /// never. Default every 60 seconds. Any number of processes may do it.
    pub fn sweep_every(self, interval: Option<Duration>) -> Self {
        self.with(|config| config.sweep_every = interval)
    }

    /// Where the time comes from. Default the system's clock.
    pub fn clock(self, clock: Arc<dyn Clock>) -> Self {
        self.with(|config| config.clock = clock)
    }

    /// The secret behind the tags that logs show. Default one that follows from the namespace.
    ///
    /// With a secret of its own, whoever learns an id still cannot find it in the logs.
    pub fn log_key(self, secret: &[u8; 32]) -> Self {
        let log_key = LogKey::new(secret);
        self.with(|config| config.log_key = Some(log_key))
    }

    fn with(mut self, set: impl FnOnce(&mut Config)) -> Self {
        set(&mut self.config);
        // A layer with other settings shares nothing with those made before.
        self.core = Arc::default();
        self
    }

    fn core(&self) -> &Arc<Core> {
        self.core.get_or_init(|| Arc::new(Core::new(Arc::clone(&self.store), self.config.clone())))
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { store, config, core: _ } = self;
        f.debug_struct("SessionLayer").field("store", store).field("config", config).finish()
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> SessionService<S> {
        SessionService { core: Arc::clone(self.core()), inner }
    }
}

/// The service that [`SessionLayer`] puts around another one.
#[derive(Clone, Debug)]
pub struct SessionService<S> {
    core: Arc<Core>,
    inner: S,
}

/// The future of [`SessionService`].
pub type ResponseFuture<R, E> = Pin<Box<dyn Future<Output = Result<Response<R>, E>> + Send>>;

impl<S, B, R> Service<Request<B>> for SessionService<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Error: 'static,
    S::Future: Send + 'static,
    R: From<&'static str> + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = ResponseFuture<R, S::Error>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    /// The way of a request: `open`, the handler, `close`.
    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        sweep::start_once(&self.core);
        match open(&self.core, &mut request) {
            Some(opened) => Box::pin(close(opened, self.inner.call(request))),
            None => Box::pin(async { Ok(nested()) }),
        }
    }
}

/// A session on its way through a handler.
struct Opened {
    session: Session,
    /// The id came in the cookie of plain ids, while sessions move to safe ones.
    came_plain: bool,
}

/// Reads the cookie, and gives the request its session. None if it has one already.
fn open<B>(core: &Arc<Core>, request: &mut Request<B>) -> Option<Opened> {
    if request.extensions().get::<Session>().is_some() {
        return None;
    }
    let cookies = core.config.cookie.read(core.ids.form(), request.headers());
    let nothing = matches!(cookies, Presented::Nothing);
    let id = presented(cookies);
    let plain_cookie = core.plain_cookie.as_ref().filter(|_| nothing);
    let plain_id =
        plain_cookie.and_then(|cookie| presented(cookie.read(Form::Plain, request.headers())));
    let came_plain = plain_id.is_some();
    let session = Session::open(core, id.or(plain_id));
    request.extensions_mut().insert(session.clone());
    Some(Opened { session, came_plain })
}

/// Waits for the handler, commits, and writes the cookie.
async fn close<R, E>(
    opened: Opened,
    handler: impl Future<Output = Result<Response<R>, E>>,
) -> Result<Response<R>, E>
where
    R: From<&'static str>,
{
    let response = handler.await?;
    let Opened { session, came_plain } = opened;
    let ending = match session.close_at_once() {
        Some(ending) => ending,
        None => {
            let (session, status) = (session.clone(), response.status());
            Underway::new(|tether| session.close(status, tether)).await
        }
    };
    Ok(conclude(session.core(), &ending, came_plain, response))
}

/// The id that a request has, if it has one that can be one of ours.
fn presented(cookies: Presented) -> Option<SessionId> {
    match cookies {
        Presented::Id(id) => Some(id),
        Presented::Nothing => None,
        Presented::Ambiguous => {
            meter::duplicate_cookie();
            tracing::info!("a request has two different session cookies; it is served as without");
            None
        }
    }
}

/// Makes the response say what became of the session.
fn conclude<R: From<&'static str>>(
    core: &Core,
    ending: &Ending,
    came_plain: bool,
    mut response: Response<R>,
) -> Response<R> {
    if let Some(error) = &ending.error {
        tracing::debug!(%error, "a session's changes could not be committed");
        response = error.to_response();
    }
    let headers = response.headers_mut();
    let sets_cookie = ending.begun.is_some() || ending.ended;
    if ending.looked && (sets_cookie || !Bug::VaryOnWriteOnly.is_planted()) {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
    let news = match &ending.begun {
        Some(id) => News::Begun(id),
        None if ending.ended => News::Ended,
        None => News::Nothing,
    };
    if !matches!(news, News::Nothing) {
        keep_out_of_caches(headers);
        if came_plain && let Some(cookie) = &core.plain_cookie {
            // The id in it is of no use any more.
            cookie.write(News::Ended, Duration::ZERO, headers);
        }
    }
    core.config.cookie.write(news, core.config.lifetime.absolute(), headers);
    if ending.clear_site_data && core.config.clear_site_data {
        headers.insert("clear-site-data", HeaderValue::from_static("\"cookies\", \"storage\""));
    }
    response
}

/// A response that sets a cookie belongs to one visitor and to no cache, whatever the app said: the
/// lesson of CVE-2023-30861 and CVE-2024-26144.
fn keep_out_of_caches(headers: &mut HeaderMap) {
    let no_store = HeaderValue::from_static("no-store");
    if let Some(other) = headers.insert(CACHE_CONTROL, no_store)
        && other.as_bytes().windows(6).any(|word| word == b"public")
    {
        tracing::warn!(
            "a response that sets the session cookie was marked public; it is not stored"
        );
    }
}

/// The answer where two layers are around one handler: which of their sessions would it get?
fn nested<R: From<&'static str>>() -> Response<R> {
    tracing::error!("two session layers are around one handler; remove one of them");
    let mut response = Response::new(R::from("This session cannot be served.\n"));
    *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    response
}
