//! The door between HTTP and sessions, without HTTP types of any version.

use std::{borrow::Cow, fmt, sync::Arc};

use super::{
    cookie::{self, Cookie},
    fetch,
};
use crate::{
    detach::Detachable,
    engine::Engine,
    id::IdScheme,
    meter::{self, activity::Figure},
    session::{Error, HandlerOutcome, Outcome, PendingCookie, Presented, Session, Sessions},
};

/// The status of what cannot be done now.
const UNAVAILABLE: u16 = 503;

/// What a response says that depends on the session. Most say no more.
const VARY: &[HeaderChange] = &[HeaderChange::Append { name: "vary", value: "Cookie" }];

/// Gives requests their sessions, and says what to tell the browser.
/// [`SessionLayer::door`](crate::SessionLayer::door) makes it. Clones share everything.
///
/// An adapter for a web framework needs a few dozen lines on top of it:
///
/// ```
/// # async fn serve(layer: ingle::SessionLayer, cookie_headers: Vec<Vec<u8>>) -> Result<(), ingle::Error> {
/// let door = layer.door();
/// let in_flight = door.begin(cookie_headers.iter().map(Vec::as_slice));
/// // Of a real request: its method and its headers.
/// let in_flight = in_flight.fetched("POST", |_name| None);
/// // The handler works with it.
/// in_flight.session().increment("views", 1)?;
/// let finished = in_flight.finish(ingle::adapter::HandlerOutcome::Success).await;
/// if let Some(error) = finished.error() {
///     // The response is to be this one, and not the handler's.
///     let response = error.response();
///     println!("{}: {}", response.status, response.body);
/// }
/// for change in finished.headers() {
///     // Appends, replaces, or sets a cookie.
///     println!("{}", change.name());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Door(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    engine: Arc<Engine>,
    settings: Settings,
    /// Another cookie that may still bring ids, and how these are read.
    legacy: Option<(Cookie, Arc<dyn IdScheme>)>,
}

/// What a door needs beside the engine.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) cookie: Cookie,
    pub(crate) clear_site_data: bool,
}

/// How a layer makes ids, and reads them.
pub(super) struct IdSchemes {
    pub(super) own: Arc<dyn IdScheme>,
    /// Another cookie that may still bring ids, and how these are read.
    pub(super) legacy: Option<(Cookie, Arc<dyn IdScheme>)>,
}

impl Door {
    pub(crate) fn new(
        engine: Engine,
        settings: Settings,
        legacy: Option<(Cookie, Arc<dyn IdScheme>)>,
    ) -> Self {
        Self(Arc::new(Shared { engine: Arc::new(engine), settings, legacy }))
    }

    /// Gives a request its session, from the values of its Cookie headers. It reads nothing from
    /// the store.
    ///
    /// Call it within a Tokio runtime: there this process deletes dead records from time to time.
    pub fn begin<'a>(&self, cookie_headers: impl IntoIterator<Item = &'a [u8]>) -> InFlight {
        let Shared { engine, settings, legacy } = &*self.0;
        engine.start_sweeps_once();
        let (mut own, mut other) = (Presented::default(), Presented::default());
        for header in cookie_headers {
            settings.cookie.scan(header, &*engine.context().ids, &mut own);
            if let Some((cookie, ids)) = legacy {
                cookie.scan(header, &**ids, &mut other);
            }
        }
        let by_legacy = match (own.is_empty(), other.is_empty()) {
            (_, true) => Legacy::Absent,
            (false, false) => Legacy::Beside,
            (true, false) => Legacy::Alone,
        };
        let presented = match by_legacy {
            Legacy::Alone => other,
            Legacy::Absent | Legacy::Beside => own.beside(other),
        };
        if presented.too_many {
            meter::duplicate_cookie();
            tracing::info!("a request has too many session cookies; it is served as without");
        }
        let session = Session::open(engine, presented, settings.cookie.is_persistent());
        InFlight { door: self.clone(), session, by_legacy }
    }

    pub(super) fn sessions(&self) -> Sessions {
        Sessions::new(&self.0.engine)
    }

    /// The name of the cookie, which distinguishes the sessions of one request.
    #[must_use]
    pub fn cookie_name(&self) -> &str {
        self.0.settings.cookie.name()
    }
}

/// Whether a request has ids in the legacy cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Legacy {
    Absent,
    /// Beside one of our own, which counts.
    Beside,
    Alone,
}

/// A session on its way through a handler.
#[must_use = "only `finish` commits what the handler recorded"]
#[derive(Debug)]
pub struct InFlight {
    door: Door,
    session: Session,
    by_legacy: Legacy,
}

impl InFlight {
    /// The session, for the handler.
    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Says where the request comes from: its method, and a function that returns the value of the
    /// header with a name in lower case. It asks for `sec-fetch-site`, `sec-fetch-mode`, `origin` and
    /// `host` (in HTTP/2 the authority).
    ///
    /// Browsers keep a cookie with a `SameSite` limit back from what other sites begin, and yet take
    /// one from the answer. So such a request without a session begins none, except by
    /// [`Session::login`] and [`Session::renew`], and gets [`Error::CookieWithheld`]. An adapter that leaves this out lets a
    /// form of another site take the place of a visitor's session.
    pub fn fetched<'a>(
        self,
        method: &str,
        header: impl Fn(&'static str) -> Option<&'a [u8]>,
    ) -> Self {
        if fetch::may_withhold(self.door.0.settings.cookie.config.same_site, method, header) {
            self.session.cookie_may_be_withheld();
        }
        self
    }

    /// Commits what the handler recorded, and says what the response must tell the browser. The commit
    /// goes on to its end when this future is dropped.
    pub async fn finish(self, handler: HandlerOutcome) -> Finished {
        match self.finish_at_once() {
            Ok(finished) => finished,
            Err(in_flight) => in_flight.finish_with_store(handler).await,
        }
    }

    /// Finishes if there is nothing left to do with the store, which is the usual case.
    pub(super) fn finish_at_once(self) -> Result<Finished, Self> {
        match self.session.close_at_once() {
            Some(outcome) => Ok(self.conclude(outcome)),
            None => Err(self),
        }
    }

    pub(super) async fn finish_with_store(self, handler: HandlerOutcome) -> Finished {
        let session = self.session.clone();
        let outcome = Detachable::new(|handle| session.close(handler, handle)).await;
        self.conclude(outcome)
    }

    fn conclude(self, outcome: Outcome) -> Finished {
        let Shared { settings, legacy, .. } = &*self.door.0;
        let Outcome { looked, cookie: pending, error } = outcome;
        error.iter().for_each(Error::log);
        let mut headers = Cow::Borrowed(if looked { VARY } else { &[] });
        if let Some(value) = settings.cookie.write(&pending) {
            let headers = headers.to_mut();
            headers.push(HeaderChange::no_store());
            headers.push(HeaderChange::set_cookie(&settings.cookie, value));
            let is_out_of_use = match self.by_legacy {
                Legacy::Absent => false,
                Legacy::Beside => matches!(pending, PendingCookie::Ended { .. }),
                Legacy::Alone => true,
            };
            if is_out_of_use && let Some((cookie, _)) = legacy {
                // The id in it is of no more use.
                headers.push(HeaderChange::set_cookie(cookie, cookie.removal()));
            }
        }
        if settings.clear_site_data && matches!(pending, PendingCookie::Ended { by_logout: true }) {
            let value = "\"cookies\", \"storage\"";
            headers.to_mut().push(HeaderChange::Replace { name: "clear-site-data", value });
        }
        Finished { door: self.door, headers, error }
    }
}

/// What a response must say of its session.
#[must_use = "the browser learns of its session by these headers"]
#[derive(Debug)]
pub struct Finished {
    door: Door,
    headers: Cow<'static, [HeaderChange]>,
    error: Option<Error>,
}

impl Finished {
    /// What could not be committed. The response must be this error's, because the handler's would
    /// claim what did not happen.
    #[must_use]
    pub fn error(&self) -> Option<&Error> {
        self.error.as_ref()
    }

    /// Counts how the request was answered.
    pub(super) fn answered(&self, status: u16) {
        if status == UNAVAILABLE {
            self.door.0.engine.context().client.meter.recent.count(Figure::Unavailable);
        }
    }

    /// The headers to change, whatever the response is.
    #[must_use]
    pub fn headers(&self) -> &[HeaderChange] {
        &self.headers
    }
}

/// A change of a response's headers.
#[derive(Clone, PartialEq, Eq)]
pub enum HeaderChange {
    /// Adds a header beside others of its name.
    Append {
        /// The header's name, in lower case.
        name: &'static str,
        /// Its value: visible ASCII.
        value: &'static str,
    },
    /// Replaces all other headers of its name.
    Replace {
        /// The header's name, in lower case.
        name: &'static str,
        /// Its value: visible ASCII.
        value: &'static str,
    },
    /// Adds a Set-Cookie header and replaces those that [set the same cookie](Self::replaces). If a
    /// response sets a cookie twice, each browser decides which one counts (RFC 6265bis 4.1.1).
    SetCookie {
        /// The cookie's name.
        cookie: String,
        /// The header's value, which is a secret: visible ASCII.
        value: String,
    },
}

impl HeaderChange {
    /// A response that sets a cookie is for one visitor and for no cache, whatever the app said
    /// (the lesson of CVE-2023-30861 and CVE-2024-26144).
    fn no_store() -> Self {
        Self::Replace { name: "cache-control", value: "no-store" }
    }

    fn set_cookie(cookie: &Cookie, value: String) -> Self {
        Self::SetCookie { cookie: cookie.name().to_owned(), value }
    }

    /// The header's name, in lower case.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Append { name, .. } | Self::Replace { name, .. } => name,
            Self::SetCookie { .. } => cookie::SET_COOKIE,
        }
    }

    /// The header's value: visible ASCII.
    #[must_use]
    pub fn value(&self) -> &str {
        match self {
            Self::Append { value, .. } | Self::Replace { value, .. } => value,
            Self::SetCookie { value, .. } => value,
        }
    }

    /// Whether another header of this name, with this value, must be removed.
    #[must_use]
    pub fn replaces(&self, other: &[u8]) -> bool {
        match self {
            Self::Append { .. } => false,
            Self::Replace { .. } => true,
            Self::SetCookie { cookie, .. } => cookie::sets(other, cookie),
        }
    }

    /// Tells the app's author of a mistake, where one of the values that this takes the place of is one.
    pub(super) fn warn_of_public<'a>(&self, mut others: impl Iterator<Item = &'a [u8]>) {
        let is_public = |other: &[u8]| other.windows(6).any(|word| word == b"public");
        if *self == Self::no_store() && others.any(is_public) {
            tracing::warn!(
                "a response that sets the session cookie was marked public; it is not stored"
            );
        }
    }
}

impl fmt::Debug for HeaderChange {
    /// Leaves out the value, which may hold an id.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeaderChange({})", self.name())
    }
}
