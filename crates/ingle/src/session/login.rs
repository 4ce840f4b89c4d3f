//! Who a session is logged in for: login, reauthentication, and how fresh either is.
//!
//! Each moves the session to a new id, in the commit that changes its rights. So nothing can change
//! whom a key's record is for, and what a request has once read of it holds as long as the key does.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{
    NO_USERS, Session,
    error::Error,
    state::{Shared, Standing},
    work::{Id, nothing_happened},
};
use crate::{
    clock::Timestamp,
    data::{InvalidValue, Reason},
    detach::{DetachHandle, Detachable},
    engine::{
        Engine,
        account::Account,
        batch::{Grant, Proof},
        change::Reads,
        commit,
        events::{Cause, EndReason, EndedBy, EventKind, Refusal},
        failure::Failure,
        places::{self, Arrival, NoPlace, Reservation},
        policy::{LONGEST_USE, Lifetime},
        users,
    },
    id::{Key, SessionId},
    record::{Header, Record, User},
    store::Lookup,
};

/// How long the name of a user may be, in bytes. Every store can look up such a name.
const NAME_MAX: usize = 256;

/// How long a label may be, in characters.
const LABEL_MAX: usize = 64;

/// How long somebody acts in another's name: better-auth's hour, and half as long as a session may be
/// idle otherwise.
const IMPERSONATION: (Duration, Duration) =
    (Duration::from_secs(15 * 60), Duration::from_secs(60 * 60));

/// What a login makes of a session: for whom it is, and how long it lives.
///
/// ```
/// use std::time::Duration;
/// use ingle::{Label, Login};
///
/// let user_agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
/// let login = Login::new("ada")
///     .remember(Duration::from_secs(30 * 24 * 60 * 60))
///     .label(Label::coarse(user_agent));
/// ```
#[derive(Clone, Debug)]
#[must_use = "only `Session::login` logs anybody in"]
pub struct Login {
    user: String,
    lifetime: Option<Lifetime>,
    is_remembered: bool,
    label: Option<Label>,
    actor: Option<String>,
    ticket: Option<LoginTicket>,
}

impl Login {
    /// Of the user whom the app knows by this name. It has 1 to 256 bytes, and should be one that
    /// never changes, such as a number of the app's: sessions are found by it.
    pub fn new(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            lifetime: None,
            is_remembered: false,
            label: None,
            actor: None,
            ticket: None,
        }
    }

    /// "Remember me": the browser keeps the cookie when it closes, and the session lives as long as its
    /// user comes back within this time. It ends after 400 days, when browsers forget a cookie.
    ///
    /// NIST SP 800-63B-4 asks for a new login every 30 days, at the lowest of its levels. A
    /// [`lifetime`](Self::lifetime) beside it sets that, such as [`Lifetime::AAL1`]. A time below a
    /// second counts as one.
    pub fn remember(self, time: Duration) -> Self {
        let time = time.clamp(Duration::from_secs(1), LONGEST_USE);
        let lifetime = self.lifetime.or_else(|| Lifetime::new(time, LONGEST_USE).ok());
        Self { lifetime, is_remembered: true, ..self }
    }

    /// How long the session lives. Default as the layer says, or [`remember`](Self::remember).
    pub fn lifetime(self, lifetime: Lifetime) -> Self {
        Self { lifetime: Some(lifetime), ..self }
    }

    /// What the user is to know the session by, on a page that lists their sessions. Default none.
    pub fn label(self, label: Label) -> Self {
        Self { label: Some(label), ..self }
    }

    /// The ticket that was taken before the password was checked. See
    /// [`Session::login_ticket`].
    pub fn ticket(self, ticket: LoginTicket) -> Self {
        Self { ticket: Some(ticket), ..self }
    }
}

impl From<&str> for Login {
    fn from(user: &str) -> Self {
        Self::new(user)
    }
}

impl From<String> for Login {
    fn from(user: String) -> Self {
        Self::new(user)
    }
}

/// What a user is to know a session by, such as `Firefox on Windows`. It says nothing that would single
/// out a device or a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label(String);

impl Label {
    /// A text of the app's: its first 64 characters, without control characters.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(text.chars().filter(|character| !character.is_control()).take(LABEL_MAX).collect())
    }

    /// The kind of browser and of system that the value of a User-Agent header names: no version and
    /// no model, so that the label tells a user's browsers apart and is worth nothing to others.
    #[must_use]
    pub fn coarse(user_agent: &str) -> Self {
        // The first that fits: most browsers name those that they descend from, too.
        let browsers = [
            ("Edg", "Edge"),
            ("OPR/", "Opera"),
            ("SamsungBrowser", "Samsung Internet"),
            ("Firefox/", "Firefox"),
            ("FxiOS", "Firefox"),
            ("CriOS", "Chrome"),
            ("Chrome/", "Chrome"),
            ("Safari/", "Safari"),
            ("curl/", "curl"),
        ];
        let systems = [
            ("Android", "Android"),
            ("iPhone", "iPhone"),
            ("iPad", "iPad"),
            ("Windows", "Windows"),
            ("CrOS", "ChromeOS"),
            ("Mac OS X", "macOS"),
            ("Linux", "Linux"),
        ];
        let named = |list: &[(&str, &'static str)]| {
            list.iter().find(|(sign, _)| user_agent.contains(sign)).map(|(_, name)| *name)
        };
        Self(match (named(&browsers), named(&systems)) {
            (Some(browser), Some(system)) => format!("{browser} on {system}"),
            (Some(one), None) | (None, Some(one)) => one.to_owned(),
            (None, None) => "Another browser".to_owned(),
        })
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What holds a login to the instant at which it was taken: if all sessions of the user are ended
/// after that, the login fails.
///
/// It can be kept while the user types a second factor, for example in the session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoginTicket {
    user: String,
    generation: u64,
}

impl Session {
    /// Logs a user in: moves the session to a new id, and makes it the user's in the same step.
    ///
    /// The data of a visitor who was not logged in stays, such as a cart. Data of another user does
    /// not, nor do edits that this request recorded before. Of two logins at once, the one that comes
    /// later fails with [`Error::Interrupted`], so that no cart is lost. Where the session has ended, a
    /// new one begins, without the edits that were recorded before.
    ///
    /// If the browser sent several ids, the sessions of the others end first, or a later request could not
    /// tell which one counts.
    ///
    /// The absolute deadline begins anew (NIST SP 800-63B-4 5.2). A login lets a session begin that has
    /// no data, and one with a request from another site ([`Error::CookieWithheld`]).
    ///
    /// ```
    /// # async fn login(session: ingle::Session) -> Result<(), ingle::Error> {
    /// session.login("ada").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Nobody was logged in. [`Error::Interrupted`] also says that all sessions of the user were ended
    /// while this login was under way, or since its [ticket](Self::login_ticket) was taken.
    /// [`Error::TooManyCookies`] if the browser sent more ids than are looked up.
    /// [`Error::TooManySessions`] if the user has as many as they may have. [`Error::InvalidValue`] if the
    /// name has no byte, more than 256, or control characters, or if the ticket is another user's.
    /// [`Error::Unsupported`] on a store with plain ids. Of
    /// [`Error::OutcomeUnknown`] no browser gets the cookie, so the visitor must log in again.
    pub async fn login(&self, login: impl Into<Login>) -> Result<(), Error> {
        let login = login.into();
        check_name(&login.user)?;
        let shared = Arc::clone(&self.shared);
        self.looked();
        Detachable::new(|handle| async move { shared.login(login, &handle).await }).await
    }

    /// A ticket for a login, to be taken before the user's password is checked.
    ///
    /// Without it, a login counts from the call of [`login`](Self::login). A password that was right
    /// when it was checked, and was changed since by somebody who then ended all sessions, would still
    /// log in.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if the name has no byte, more than 256, or control characters.
    /// [`Error::Unsupported`] on a store with plain ids. Otherwise the store gave no answer.
    pub async fn login_ticket(&self, user: &str) -> Result<LoginTicket, Error> {
        ticket(&self.shared.engine, user).await
    }

    /// The user whom the session is logged in for.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn user(&self) -> Result<Option<User>, Error> {
        let (_turn, record) = self.load().await?;
        Ok(record.and_then(|record| record.header.user.clone()))
    }

    /// The user, if they have proved who they are no longer ago than this: for what needs more than a
    /// session, such as a change of the password (ASVS 5.0 7.5.1 and 7.5.3).
    ///
    /// # Errors
    /// [`Error::NotFresh`] if it was longer ago: ask for the password, and then call
    /// [`reauthenticate`](Self::reauthenticate). [`Error::NotLoggedIn`] if nobody is logged in.
    /// Otherwise as [`get`](Self::get).
    pub async fn require_fresh(&self, age_max: Duration) -> Result<User, Error> {
        let user = self.user().await?.ok_or(Error::NotLoggedIn)?;
        let age = self.shared.policy().now().since(user.at);
        if age > age_max { Err(Error::NotFresh) } else { Ok(user) }
    }

    /// Says that the user has proved again who they are. The session gets a new id, and its absolute
    /// deadline begins anew with the lifetime that it had at login (NIST SP 800-63B-4 5.2).
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`] if nobody is logged in. Otherwise as [`renew`](Self::renew).
    pub async fn reauthenticate(&self) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        self.looked();
        Detachable::new(|handle| async move { shared.reauthenticate(&handle).await }).await
    }

    /// Lets somebody act in the name of a user, for 15 minutes without use and an hour at most.
    /// Both names are in the session from then on, and [`user`](Self::user) tells both.
    ///
    /// Call it on a session with a cookie of its own, that of a [named](crate::Named) layer. Then the
    /// actor's own session stays what it is, and a logout of one is not one of the other.
    ///
    /// # Errors
    /// [`Error::AlreadyLoggedIn`] if this session is logged in for anybody but an actor. Otherwise as
    /// [`login`](Self::login).
    pub async fn impersonate(&self, user: impl Into<String>, actor: &User) -> Result<(), Error> {
        self.looked();
        let record = self.shared.load_surely().await?;
        let before = record.as_ref().and_then(|record| record.header.user.as_ref());
        if before.is_some_and(|user| user.actor.is_none()) {
            return Err(Error::AlreadyLoggedIn);
        }
        let (idle, absolute) = IMPERSONATION;
        // Whoever acts in the name of one who acts in another's is still who they are.
        let actor = actor.actor.clone().unwrap_or_else(|| actor.name.clone());
        let lifetime = Lifetime::new(idle, absolute).ok();
        self.login(Login { actor: Some(actor), lifetime, ..Login::new(user) }).await
    }
}

impl Shared {
    async fn login(&self, login: Login, handle: &DetachHandle) -> Result<(), Error> {
        let Login { user: name, lifetime, is_remembered, label, actor, ticket } = login;
        let deadline = self.policy().deadline();
        let _turn = self.turn(deadline, Some(handle)).await?;
        let ticket = match ticket {
            Some(ticket) if ticket.user == name => ticket,
            Some(_) => return Err(InvalidValue::new(Reason::OtherTicket).into()),
            None => self::ticket(&self.engine, &name).await?,
        };
        let record = match self.load_strictly(deadline).await {
            // No other id of the browser's can be lost to a login in its place.
            Err(Error::Interrupted) if self.has_ended(deadline).await? => None,
            loaded => loaded?,
        };
        let own = record.as_ref().map(|record| record.header.key);
        self.end_others_of_browser(own, deadline).await?;
        let before = record.as_ref().and_then(|record| record.header.user.as_ref());
        let keeps_data = before.is_none_or(|before| before.name == name && before.actor == actor);
        let (dropped, withheld) = {
            let mut state = self.state();
            let mut dropped = Vec::new();
            if !keeps_data {
                dropped = std::mem::take(&mut state.edits);
                state.reads = Reads::default();
            }
            // It is meant to take the place of another session.
            (dropped, std::mem::replace(&mut state.withheld, false))
        };
        let now = self.policy().now();
        let mut user = User::new(name, ticket.generation, now);
        user.label = label.map(|Label(text)| text);
        user.actor = actor;
        user.is_remembered = is_remembered;
        let absolute = lifetime.unwrap_or(self.policy().lifetime).absolute();
        let grant = Arc::new(Grant {
            user,
            absolute_deadline: now.after(absolute),
            idle_timeout: lifetime.map(|lifetime| lifetime.idle()),
            keeps_data,
            proof: Proof::Login,
        });
        let granted = self.grant(grant, handle).await;
        let mut state = self.state();
        if granted.as_ref().is_err_and(nothing_happened) {
            state.edits.splice(0..0, dropped);
            state.withheld = withheld;
        }
        granted
    }

    /// Ends the sessions of other ids that the browser brought. While two of them live, it would not be
    /// the login's that counts.
    async fn end_others_of_browser(
        &self,
        own: Option<Key>,
        deadline: Instant,
    ) -> Result<(), Error> {
        if self.left_out {
            return Err(Error::TooManyCookies);
        }
        let others = self.of_others(own, deadline).await?;
        self.end_each(&others, EndReason::Replaced, deadline).await?;
        self.state().others.clear();
        Ok(())
    }

    /// Whether the session was ended and not moved, so that a new one may take its place.
    async fn has_ended(&self, deadline: Instant) -> Result<bool, Error> {
        let id = match &self.state().standing {
            Standing::Interrupted(id) => id.clone(),
            _ => return Ok(false),
        };
        if !matches!(self.look_up(&id.key(), deadline).await?, Lookup::Ended) {
            return Ok(false);
        }
        let mut state = self.state();
        state.standing = Standing::None;
        state.edits.clear();
        state.reads = Reads::default();
        Ok(true)
    }

    async fn reauthenticate(&self, handle: &DetachHandle) -> Result<(), Error> {
        let deadline = self.policy().deadline();
        let _turn = self.turn(deadline, Some(handle)).await?;
        let record = self.load_strictly(deadline).await?;
        let now = self.policy().now();
        self.grant(Arc::new(again(record.as_deref(), now)?), handle).await
    }

    /// Makes the session what it is granted, under a new id, with the recorded edits.
    pub(super) async fn grant(
        &self,
        grant: Arc<Grant>,
        handle: &DetachHandle,
    ) -> Result<(), Error> {
        let deadline = self.policy().deadline();
        self.transact_in_turn(|_| Ok(()), Id::Grant(grant), deadline, handle).await
    }

    /// Whether the end of all sessions of a user reaches each by itself. Where a store cannot list them,
    /// each load looks.
    pub(super) fn ends_reach_all(&self) -> bool {
        self.engine.context().client.lists_by_user()
    }

    /// What is under a session's key.
    pub(super) async fn look_up(&self, key: &Key, deadline: Instant) -> Result<Lookup, Error> {
        Ok(users::look_up(self.engine.context(), key, deadline).await?)
    }

    /// Where an end of all is found by looks, one must come before each commit. Of a record that this
    /// process knows, the user alone is asked for: whom it is for never changes.
    pub(super) async fn look_before_commit(&self, deadline: Instant) -> Result<(), Error> {
        let id = {
            let state = self.state();
            match &state.standing {
                // This request has looked.
                Standing::Live(_) if state.snapshot.is_some() && !state.responded => return Ok(()),
                Standing::Presented(id) | Standing::Live(id) => id.clone(),
                Standing::None | Standing::Several(_) | Standing::Interrupted(_) => return Ok(()),
            }
        };
        let context = self.engine.context();
        let Some(cached) = context.cached(&id.key()) else {
            return self.load_strictly(deadline).await.map(drop);
        };
        match &cached.record.header.user {
            Some(user) if !users::is_present(context, &id.key(), user, deadline).await? => {
                commit::destroy(context, &id.key(), Cause::found(user), deadline).await?;
                Err(self.interrupted(&id))
            }
            _ => Ok(()),
        }
    }

    /// Gets a place for a session that is about to be stored under a key, where there is a limit. `from`
    /// is its present id.
    pub(super) async fn reserve_place(
        &self,
        to: Key,
        from: Option<&SessionId>,
        grant: Option<&Grant>,
        deadline: Instant,
        handle: &DetachHandle,
    ) -> Result<Option<Reservation>, Error> {
        let Some(limit) = self.policy().user_limit else { return Ok(None) };
        let record = match from {
            Some(_) => self.load_strictly(deadline).await?,
            None => None,
        };
        let before = record.as_ref().and_then(|record| record.header.user.as_ref());
        let Some(user) = grant.map(|grant| &grant.user).or(before) else { return Ok(None) };
        let is_users = before.is_some_and(|before| before.name == user.name);
        let arrival = Arrival { key: to, from: from.map(SessionId::key), is_users };
        let key = key_of(&self.engine, &user.name)?;
        let coalescer = &self.engine.coalescer;
        let by = EndedBy::Session(to.handle());
        let over_limit = Cause::new(EndReason::OverLimit, by, Some(&user.name));
        let reserved =
            places::reserve(coalescer, key, arrival, limit, &over_limit, deadline, handle).await;
        reserved.map(Some).map_err(|why| match (why, from) {
            (NoPlace::Full, from) => {
                let events = &self.engine.context().events;
                let refused = EventKind::Refused(Refusal::TooManySessions);
                match from {
                    Some(from) => events.tell(from.key(), Some(&user.name), refused),
                    None => events.tell_of_none(refused),
                }
                Error::TooManySessions
            }
            (NoPlace::Failed(Failure::Ended | Failure::Missing), Some(id)) => self.interrupted(id),
            (NoPlace::Failed(failure), _) => failure.into(),
        })
    }

    /// Gives a place back. Should that fail, it is free in a minute.
    pub(super) async fn leave_place(&self, reserved: &Reservation, handle: &DetachHandle) {
        let key = reserved.key;
        let leave = move |account: &mut Account| account.leave_place(&key);
        let (coalescer, deadline) = (&self.engine.coalescer, self.policy().deadline());
        drop(users::update(coalescer, reserved.user, deadline, handle, leave).await);
    }

    /// Looks whether all sessions of the user were ended while this one was on its way to its key, or
    /// its place was taken. If so, or if nobody can tell, it ends, and no browser ever gets its id. `from` is the key
    /// under which it was the user's before; after a login there is none.
    pub(super) async fn confirm(
        &self,
        id: &SessionId,
        from: Option<Key>,
        record: &Record,
        reserved: Option<Reservation>,
        handle: &DetachHandle,
    ) -> Result<(), Error> {
        let Some(user) = &record.header.user else { return Ok(()) };
        let (context, coalescer) = (self.engine.context(), &self.engine.coalescer);
        // The commit may have taken all of the time that there was.
        let deadline = self.policy().deadline();
        let key = id.key();
        let confirmed = match &reserved {
            None => users::admit(coalescer, user, from, key, deadline, handle).await,
            Some(Reservation { user: account, ended, .. }) => {
                let (generation, now) = (user.generation, self.policy().now());
                let ended = ended.clone();
                let hold = move |account: &mut Account| {
                    account.admits(from.as_ref(), &key, generation)
                        && account.hold_place(&key, &ended, now)
                };
                users::update(coalescer, *account, deadline, handle, hold).await
            }
        };
        let error = match confirmed {
            Ok(true) => return Ok(()),
            Ok(false) => Error::Interrupted,
            Err(_) => Error::OutcomeUnknown,
        };
        match commit::destroy(context, &id.key(), Cause::found(user), deadline).await {
            Ok(_) => {
                if let Some(reserved) = &reserved {
                    self.leave_place(reserved, handle).await;
                }
            }
            Err(_) => {
                let session = id.handle();
                tracing::warn!(%session, "a session that nobody has the cookie of was not ended");
            }
        }
        self.interrupted(id);
        Err(error)
    }
}

/// The key of what is kept of a user.
pub(super) fn key_of(engine: &Engine, user: &str) -> Result<Key, Error> {
    engine.context().ids.key_of_user(user).ok_or(NO_USERS)
}

/// The header of a session that is logged in, and for whom it is.
pub(super) fn logged_in(record: Option<&Record>) -> Result<(&Header, &User), Error> {
    let header = record.map(|record| &record.header).ok_or(Error::NotLoggedIn)?;
    Ok((header, header.user.as_ref().ok_or(Error::NotLoggedIn)?))
}

pub(super) async fn ticket(engine: &Engine, user: &str) -> Result<LoginTicket, Error> {
    check_name(user)?;
    let context = engine.context();
    let key = key_of(engine, user)?;
    let account = users::load(context, &key, context.policy.deadline()).await?;
    Ok(LoginTicket { user: user.to_owned(), generation: account.generation })
}

/// What a session is that its user has proved to be theirs once more: it lives as long as at login.
pub(super) fn again(record: Option<&Record>, now: Timestamp) -> Result<Grant, Error> {
    let (header, user) = logged_in(record)?;
    Ok(Grant {
        user: User { at: now, ..user.clone() },
        // A login and a reauthentication alone move both, and by the same time. Where it is not known when that
        // was, it was not before the session began.
        absolute_deadline: now.after(header.absolute_deadline.since(user.at.max(header.created))),
        idle_timeout: header.idle_timeout,
        keeps_data: true,
        proof: Proof::Reauthentication,
    })
}

pub(super) fn check_name(user: &str) -> Result<(), InvalidValue> {
    let fits = !user.is_empty() && user.len() <= NAME_MAX && !user.contains(char::is_control);
    if fits { Ok(()) } else { Err(InvalidValue::new(Reason::UserName)) }
}
