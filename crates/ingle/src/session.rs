//! What a handler holds while it serves one request.
//!
//! A session reads nothing until a handler asks, and writes nothing that makes no difference. All
//! its state is behind one accessor. So no method can forget to note that the session was looked
//! at, or what is still to be committed.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, MutexGuard, atomic::Ordering},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    data::{
        FLASH, InvalidValue, check_name, encode,
        read::{self, Mend, Place},
        shown::Shown,
        update::{self, Rules},
    },
    detach::{DetachHandle, Detachable},
    engine::{
        Engine,
        change::{Draft, Edit, Refused},
        events::EndReason,
        policy::OnLostUpdate,
        wait,
        watch::SessionEnd,
    },
    id::{Handle, Key},
    record::{Record, data_of},
};

mod audit;
mod choose;
mod close;
mod damaged;
mod error;
mod field;
mod login;
mod sessions;
mod state;
mod stored;
mod ticket;
mod touch;
mod users;
mod work;

pub use audit::{AuditAct, AuditField, AuditLine, AuditOutcome, AuditPage, Operator};
pub use close::HandlerOutcome;
pub use damaged::DamagedSession;
pub use error::Error;
pub use field::Field;
pub use login::{Label, Login, LoginTicket};
pub use sessions::{ListOptions, SessionPage, Sessions};
pub use stored::StoredSession;
pub use users::SessionInfo;
pub(crate) use {
    close::Outcome,
    state::{PendingCookie, Presented},
};
use {
    state::{Shared, Standing, State},
    work::Id,
};

const NO_LISTS: Error = Error::Unsupported("this store cannot list the sessions of a user");
const NO_USERS: Error = Error::Unsupported("a store with plain ids has no users");

/// The session of a request. A clone is the same session.
///
/// | to | call | when it is stored |
/// |---|---|---|
/// | change what depends on what is there | [`update`](Self::update) | when it returns |
/// | set, remove, count, append | [`insert`](Self::insert), [`remove`](Self::remove), [`increment`](Self::increment), [`push`](Self::push) | before the response leaves, or at [`commit`](Self::commit) |
/// | read | [`get`](Self::get), [`data`](Self::data) | |
/// | give it a new id | [`renew`](Self::renew) | when it returns |
/// | end it | [`logout`](Self::logout), [`destroy`](Self::destroy) | when it returns |
/// | log a user in, and see whom it is for | [`login`](Self::login), [`user`](Self::user) | when it returns |
/// | ask again who the user is | [`require_fresh`](Self::require_fresh), [`reauthenticate`](Self::reauthenticate) | when it returns |
/// | see and end the user's sessions | [`siblings`](Self::siblings), [`end_sibling`](Self::end_sibling), [`end_others`](Self::end_others), [`end_all`](Self::end_all) | when it returns |
/// | learn that it has ended | [`ended`](Self::ended) | |
/// | keep a value that one request gets by its text | [`issue`](Self::issue), [`redeem`](Self::redeem) | before the response leaves; when `redeem` returns |
/// | read without using it | [`skip_touch`](Self::skip_touch) | |
///
/// See the [guide](crate::guide) for an example of each.
///
/// # Cancellation
/// A visitor who hangs up drops the futures of the request, at any await. What has been begun with the
/// store goes on to its end: a commit, a renew, a login, an end. It is then stored or not as if the future had
/// been awaited, and no other request waits for longer. A call whose future was never polled has done nothing.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
}

impl Session {
    /// Opens the session of a request. It reads nothing.
    pub(crate) fn open(engine: &Arc<Engine>, presented: Presented, keeps_cookie: bool) -> Self {
        Self { shared: Arc::new(Shared::new(engine, presented, keeps_cookie)) }
    }

    /// Says that the browser may have the cookie of a session and not have sent it.
    pub(crate) fn cookie_may_be_withheld(&self) {
        self.shared.state().withheld = true;
    }

    /// Changes the whole data in one transaction, and returns what `change` returned.
    ///
    /// `change` gets the data as a `T`. Fields that are missing are those of `T::default()`. If
    /// another request commits first, `change` runs again on the newer data. So it must only look
    /// at its argument and change it.
    ///
    /// When this returns `Ok`, the change is stored, exactly once, and what `change` left is what
    /// the next read as a `T` gives. A change that makes no difference stores nothing, and begins
    /// no session, unless the next read would give another default.
    ///
    /// What `T` does not know stays where it is certain whose it is:
    ///
    /// | what `T` does not know of | stays |
    /// |---|---|
    /// | the data | always |
    /// | a field, a struct in a struct | always, unless something flattened in it may be another one |
    /// | the content of an `Option`, of an enum's variant, of a map's entry | while `change` changes nothing of it |
    /// | an item of a list | while `change` changes nothing of it, wherever it stands then |
    ///
    /// So `*login = Some(Login { .. })` leaves nothing of the earlier login, and a list can be
    /// sorted. But a struct is a place: `*login = Login { .. }` sets the fields that `Login` has,
    /// and leaves the others. So does an `untagged` enum, as long as it has fields of the same
    /// names, and `T::default()` has fields there. [`insert`](Self::insert) replaces all of a field. A type with
    /// `#[serde(flatten)] rest: ingle::data::Data` knows all, and takes it along. The
    /// [guide](crate::guide#a-transaction) names the exceptions.
    ///
    /// Edits that were recorded before are committed together with it, all or none. If the commit
    /// refuses `change` itself, they stay recorded.
    ///
    /// # Errors
    /// Nothing was stored, except that [`Error::OutcomeUnknown`] leaves it open. A `T` that does not
    /// read what it writes is [`Error::InvalidValue`] with
    /// [`Reason::NotReadBack`](crate::Reason::NotReadBack).
    ///
    /// # Panics
    /// If `change` panics. Nothing was stored then.
    pub async fn update<T, R, F>(&self, mut change: F) -> Result<R, Error>
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send + 'static,
        F: FnMut(&mut T) -> R + Send + 'static,
    {
        let done = self.try_update(move |view: &mut T| Ok::<R, Infallible>(change(view))).await?;
        done.map_err(|never| match never {})
    }

    /// Like [`update`](Self::update), with a `change` that can refuse. Where it returns `Err`, it
    /// changes nothing, and this returns `Ok` with that error.
    ///
    /// Edits that were recorded before are committed all the same.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    ///
    /// # Panics
    /// As [`update`](Self::update).
    pub async fn try_update<T, R, E, F>(&self, change: F) -> Result<Result<R, E>, Error>
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut T) -> Result<R, E> + Send + 'static,
    {
        self.transact_on(None, change).await
    }

    /// Runs a closure on the data, or on one field of it, in one transaction.
    async fn transact_on<T, R, E, F>(
        &self,
        field: Option<String>,
        mut change: F,
    ) -> Result<Result<R, E>, Error>
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut T) -> Result<R, E> + Send + 'static,
    {
        let rules = self.shared.policy().rules();
        self.transact(
            move |draft| {
                let place = field.as_deref().map_or(Place::Whole, Place::Field);
                change_view(draft, place, &rules, &mut change)
            },
            Id::Keep,
        )
        .await
    }

    /// One top-level field, to read or change it as its own type.
    pub fn field(&self, name: impl Into<String>) -> Field<'_> {
        Field { session: self, name: name.into() }
    }

    /// Reads a top-level field. `None` if there is no such field.
    ///
    /// The first read of a request loads the record from the store. Later reads see the same record
    /// and this request's own edits.
    ///
    /// A field that this request read and then inserts or removes is compared at the commit. If
    /// another request changed it meanwhile, that is a lost update.
    ///
    /// # Errors
    /// The store gave no answer, the session was interrupted or cannot be read ([`Error::Damaged`]), the
    /// field is not a `T`, or an edit that this request recorded cannot be applied.
    pub async fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let (_turn, record) = self.load().await?;
        let data = data_of(record.as_deref());
        let mut state = self.state();
        if !state.overwrites(name) {
            state.reads.note(name, data.get(name));
        }
        let mut draft = Draft::new(data);
        state.replay(&mut draft, &self.shared.policy().rules())?;
        drop(state);
        let read = |value| read::read_value(name, value, self.mend());
        Ok(draft.get(name).map(read).transpose()?.flatten())
    }

    /// Reads the whole data as a `T`. Fields that are missing are those of `T::default()`, whatever
    /// else is stored. In a struct within, serde fills in what it can by itself.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn data<T>(&self) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let (_turn, record) = self.load().await?;
        let mut state = self.state();
        state.reads.note_whole(record.as_ref());
        let mut draft = Draft::new(data_of(record.as_deref()));
        state.replay(&mut draft, &self.shared.policy().rules())?;
        drop(state);
        let data = draft.data();
        Ok(read::read(Place::Whole, Shown::of(&data), self.mend())?.view)
    }

    /// Sets a top-level field. It reads nothing, and is stored before the response leaves.
    ///
    /// # Errors
    /// A session cannot hold the value. Nothing was recorded.
    pub fn insert<T: Serialize>(&self, name: impl Into<String>, value: T) -> Result<(), Error> {
        let field = checked(name.into())?;
        let value = self.encode(&field, &value)?;
        let mut state = self.state();
        let read = self.seen(&state, &field);
        state.edits.push(Edit::Insert { field, value, read });
        Ok(())
    }

    /// Removes a top-level field. It reads nothing, and is stored before the response leaves.
    ///
    /// # Errors
    /// A field cannot have this name. Nothing was recorded.
    pub fn remove(&self, name: impl Into<String>) -> Result<(), Error> {
        let field = checked(name.into())?;
        let mut state = self.state();
        let read = self.seen(&state, &field);
        state.edits.push(Edit::Remove { field, read });
        Ok(())
    }

    /// Adds to a number. A field that is not there counts as 0. It reads nothing, and is stored
    /// before the response leaves. What other requests add meanwhile counts, too.
    ///
    /// If the stored field is no number, the next read or commit fails with [`Error::WrongType`], and the
    /// commit drops all recorded edits, unless [`OnWrongType`](crate::OnWrongType) says otherwise. A sum
    /// beyond an `i64` fails so with [`Error::InvalidValue`].
    ///
    /// # Errors
    /// A field cannot have this name. Nothing was recorded.
    pub fn increment(&self, name: impl Into<String>, by: i64) -> Result<(), Error> {
        let field = checked(name.into())?;
        self.state().edits.push(Edit::Increment { field, by });
        Ok(())
    }

    /// Appends to an array. A field that is not there counts as empty. It reads nothing, and is
    /// stored before the response leaves, behind what other requests append meanwhile.
    ///
    /// If the stored field is no array, the next read or commit fails with [`Error::WrongType`], and the
    /// commit drops all recorded edits, unless [`OnWrongType`](crate::OnWrongType) says otherwise.
    ///
    /// # Errors
    /// A session cannot hold the value. Nothing was recorded.
    pub fn push<T: Serialize>(&self, name: impl Into<String>, value: T) -> Result<(), Error> {
        self.record_push(checked(name.into())?, &value)
    }

    fn record_push<T: Serialize>(&self, field: String, value: &T) -> Result<(), Error> {
        let value = encode::item(value, &self.shared.policy().limits)
            .map_err(|error| error.under(&field))?;
        self.state().edits.push(Edit::Push { field, value });
        Ok(())
    }

    /// Leaves a message for a later request. Exactly one request [takes](Self::take_flashes) it.
    ///
    /// Messages are kept beside the app's fields, in a reserved field that no app can name. If nobody
    /// takes them, the newest 32 are kept, up to a quarter of the [bytes](crate::Limits::bytes_max).
    /// Where a change needs the room, the oldest give way.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn push_flash<T: Serialize>(&self, message: T) -> Result<(), Error> {
        self.record_push(FLASH.to_owned(), &message)
    }

    /// Takes all messages that [`push_flash`](Self::push_flash) left, in order.
    ///
    /// When several requests take at the same time, each message goes to exactly one of them.
    ///
    /// # Errors
    /// As [`update`](Self::update).
    pub async fn take_flashes<T: DeserializeOwned + Send + 'static>(
        &self,
    ) -> Result<Vec<T>, Error> {
        let mend = self.mend();
        self.transact(
            move |draft| {
                let messages = match draft.get(FLASH) {
                    None => return Ok(Vec::new()),
                    // Each message begins and ends for itself.
                    Some(Value::Array(messages)) => {
                        let read = |message| read::read_value(FLASH, message, mend).transpose();
                        messages.iter().filter_map(read).collect::<Result<_, _>>()?
                    }
                    Some(other) => read::read_value(FLASH, other, mend)?.unwrap_or_default(),
                };
                draft.set(FLASH.to_owned(), None);
                Ok(messages)
            },
            Id::Keep,
        )
        .await
    }

    /// Commits the recorded edits now, instead of before the response leaves.
    ///
    /// For handlers that go on after their response, such as WebSocket and SSE.
    ///
    /// # Errors
    /// As [`update`](Self::update). After [`Error::Unavailable`], [`Error::TooManyNewSessions`],
    /// [`Error::NoRandomness`] and [`Error::ResponseSent`] the edits stay recorded. After any other error
    /// they are dropped.
    pub async fn commit(&self) -> Result<(), Error> {
        if self.state().edits.is_empty() {
            return Ok(());
        }
        self.transact(|_| Ok(()), Id::Keep).await
    }

    /// Moves the session to a new id, in one step with the recorded edits. The old id is dead then.
    ///
    /// Call it whenever the rights of the visitor change, such as at a login. An id that an
    /// attacker knew before is then worthless. The source is the OWASP Session Management Cheat
    /// Sheet, *Renew the Session ID After Any Privilege Level Change*. A session in which nothing
    /// was stored has no id to renew.
    ///
    /// It also lets a session begin with a request from another site ([`Error::CookieWithheld`]).
    ///
    /// # Errors
    /// After [`Error::Interrupted`] the session has ended, or has an id of another request's. After
    /// [`Error::OutcomeUnknown`] it may have either id, or have ended. After any other error it has its
    /// old id.
    pub async fn renew(&self) -> Result<(), Error> {
        self.transact(|_| Ok(()), Id::Renew).await
    }

    /// Ends the session and tells the browser to forget its cookie. The browser also forgets other
    /// data of this site if [`SessionLayer::clear_site_data`](crate::SessionLayer::clear_site_data)
    /// says so.
    ///
    /// # Errors
    /// As [`destroy`](Self::destroy).
    pub async fn logout(&self) -> Result<(), Error> {
        self.end(EndReason::Logout).await?;
        if let PendingCookie::Ended { by_logout } = &mut self.state().pending {
            *by_logout = true;
        }
        Ok(())
    }

    /// Ends the session: deletes its record and drops the recorded edits. No request under way can
    /// bring it back. What is stored after this begins a new session.
    ///
    /// If another request has renewed the session less than a minute ago, it ends under its new id. If the browser
    /// sent the cookie more than once, every session that it names ends.
    ///
    /// # Errors
    /// The session may live on. Tell the visitor, and do not answer "logged out".
    pub async fn destroy(&self) -> Result<(), Error> {
        self.end(EndReason::Destroyed).await
    }

    async fn end(&self, why: EndReason) -> Result<(), Error> {
        let shared = Arc::clone(&self.shared);
        self.looked();
        Detachable::new(|handle| async move { shared.destroy(why, &handle).await }).await
    }

    /// Waits until the session ends, and says how: for WebSockets, event streams and long polls, which
    /// must not outlive it.
    ///
    /// An end in this process is told at once. One in another process is told within a second on Redis,
    /// SQLite, and PostgreSQL without a pooler or a pool of the app's, and within 6 seconds on any store, as
    /// long as the store answers. A deadline that passes, and on PostgreSQL a renew, is told within
    /// 6 seconds. There is no gap: a session that ended before the call is found ended. Waiting does not
    /// count as use of the session. Where the browser brought no id and the handler began no session, this waits
    /// for ever.
    ///
    /// ```
    /// # async fn socket(session: ingle::Session, mut next: impl AsyncFnMut() -> Option<String>) {
    /// let ended = session.ended();
    /// tokio::pin!(ended);
    /// loop {
    ///     tokio::select! {
    ///         _end = &mut ended => break,
    ///         message = next() => if message.is_none() { break },
    ///     }
    /// }
    /// # }
    /// ```
    pub fn ended(&self) -> impl Future<Output = SessionEnd> + Send + 'static {
        let session = self.clone();
        // What this request does to the session after the call is an end of it, too.
        let mut key = self.key();
        async move {
            // Which of several ids it is takes a look.
            while session.shared.is_undecided() && session.load().await.is_err() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            key = key.or_else(|| session.key());
            let coalescer = Arc::clone(&session.shared.engine.coalescer);
            // The session itself may go.
            drop(session);
            match key {
                Some(key) => wait::ended(coalescer, key).await,
                None => std::future::pending().await,
            }
        }
    }

    /// Lets the reads of this request not count as use of the session: they do not move its idle deadline.
    /// Changes move it all the same.
    ///
    /// For what asks by itself, such as a page that polls, a health check or an export. Without this,
    /// a page that polls keeps a session alive that its visitor has left.
    pub fn skip_touch(&self) {
        self.state().skips_touch = true;
    }

    /// What logs call this session. Before the first read or commit it is the handle of the id that the
    /// browser sent, whether or not there is such a session. `None` if the browser sent no id, or several
    /// that were not looked at yet, or if another request ended the session.
    #[must_use]
    pub fn handle(&self) -> Option<Handle> {
        match &self.state().standing {
            Standing::Presented(id) | Standing::Live(id) => Some(id.handle()),
            Standing::None | Standing::Several(_) | Standing::Interrupted(_) => None,
        }
    }

    /// Ends the request's part of the session if there is nothing left to do with the store, which
    /// is the usual case.
    pub(crate) fn close_at_once(&self) -> Option<Outcome> {
        self.shared.close_at_once()
    }

    /// Ends the request's part of the session: commits what is recorded, or moves the idle deadline
    /// if that is due.
    pub(crate) async fn close(self, handler: HandlerOutcome, handle: DetachHandle) -> Outcome {
        self.shared.close(handler, handle).await
    }

    /// The record as this request sees it, if there is one, and the turn.
    async fn load(&self) -> Result<(tokio::sync::MutexGuard<'_, ()>, Option<Arc<Record>>), Error> {
        self.looked();
        self.shared.load().await
    }

    /// The key of the session, if there is one.
    fn key(&self) -> Option<Key> {
        match &self.state().standing {
            Standing::Presented(id) | Standing::Live(id) | Standing::Interrupted(id) => {
                Some(id.key())
            }
            Standing::None | Standing::Several(_) => None,
        }
    }

    /// Runs one change, with the recorded edits before it, in one commit.
    async fn transact<R, F>(&self, change: F, id: Id) -> Result<R, Error>
    where
        R: Send + 'static,
        F: FnMut(&mut Draft<'_>) -> Result<R, Refused> + Send + 'static,
    {
        let shared = Arc::clone(&self.shared);
        self.looked();
        Detachable::new(|handle| async move { shared.transact(change, id, &handle).await }).await
    }

    /// How this request reads data.
    fn mend(&self) -> Mend {
        Mend { aliases: true, anew: self.shared.policy().rules().anew }
    }

    fn encode<T: Serialize>(&self, field: &str, value: &T) -> Result<Value, InvalidValue> {
        encode::value(value, &self.shared.policy().limits).map_err(|error| error.under(field))
    }

    /// What a write of this field must still find in the store.
    fn seen(&self, state: &State, field: &str) -> Option<Option<Value>> {
        match self.shared.policy().on_lost_update {
            // The first of two writes compares the field already, or the request never read it.
            OnLostUpdate::Refuse if state.overwrites(field) => None,
            OnLostUpdate::Refuse => state.reads.seen(field),
            OnLostUpdate::LastWriteWins => None,
        }
    }

    /// The only way from a handler's call to the state.
    fn state(&self) -> MutexGuard<'_, State> {
        self.looked();
        self.shared.state()
    }

    fn looked(&self) {
        self.shared.looked.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let standing = match self.shared.state().standing {
            Standing::None => "none",
            Standing::Presented(_) => "presented",
            Standing::Several(_) => "several",
            Standing::Live(_) => "live",
            Standing::Interrupted(_) => "interrupted",
        };
        f.debug_struct("Session").field("standing", &standing).finish_non_exhaustive()
    }
}

/// Runs a closure on the data of a draft or a field of it, as a `T`, and sets what it changed.
fn change_view<T, R, E>(
    draft: &mut Draft<'_>,
    place: Place<'_>,
    rules: &Rules,
    change: impl FnOnce(&mut T) -> Result<R, E>,
) -> Result<Result<R, E>, Refused>
where
    T: Serialize + DeserializeOwned + Default,
{
    let stored = draft.data();
    let (result, patch) = update::update::<T, R, E, Refused>(place, &stored, rules, change)?;
    draft.apply(patch);
    Ok(result)
}

fn checked(name: String) -> Result<String, InvalidValue> {
    check_name(&name).map(|()| name)
}
