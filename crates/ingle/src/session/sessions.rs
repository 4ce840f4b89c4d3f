//! The sessions of an app, without a request: for its jobs and operators.

use std::{fmt, sync::Arc};

use super::{
    audit::{self, Act, Audit, AuditAct, AuditOutcome, AuditPage, Operator},
    damaged::DamagedSession,
    error::Error,
    login::{LoginTicket, check_name, ticket},
    stored::StoredSession,
    users::{self, SessionInfo},
};
use crate::{
    clock::Timestamp,
    detach::Detachable,
    engine::{
        Engine,
        client::{Listing, Of, PAGE_MAX},
        users::end_begun,
    },
    id::{Handle, HandlePrefix, Key},
    meter::activity::Activity,
    store::{Cursor, Info},
};

/// The sessions of an app, for what happens outside of its requests: a password that was reset by
/// mail, an account that was closed, a job. [`SessionLayer::sessions`](crate::SessionLayer::sessions)
/// makes it. Clones share everything.
///
/// To begin a session without a request, see
/// [`SessionLayer::create_session`](crate::SessionLayer::create_session).
///
/// ```
/// # async fn reset(layer: ingle::SessionLayer) -> Result<(), ingle::Error> {
/// let sessions = layer.sessions();
/// let ended = sessions.end_all_of("ada").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Sessions {
    engine: Arc<Engine>,
    audit: Audit,
}

impl Sessions {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self { engine: Arc::clone(engine), audit: Audit::of_nobody(engine) }
    }

    /// The sessions of a user, the one that was used last first. What cannot be read is left out.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store cannot list by user. Otherwise the store gave no answer.
    pub async fn of_user(&self, user: &str) -> Result<Vec<SessionInfo>, Error> {
        users::list(&self.engine, user).await
    }

    /// A page of sessions, as they are at this moment, in an order of the store's. `after` is the end of
    /// the page before.
    ///
    /// A session that lives during the whole listing, and is not renewed meanwhile, is on exactly one page.
    ///
    /// ```
    /// # async fn count(layer: ingle::SessionLayer) -> Result<(), ingle::Error> {
    /// use ingle::ListOptions;
    ///
    /// let sessions = layer.sessions();
    /// let (mut n, mut after) = (0, None);
    /// loop {
    ///     let page = sessions.list(&ListOptions::new().of_user("ada"), after.as_ref()).await?;
    ///     n += page.sessions.len();
    ///     after = page.next;
    ///     if after.is_none() {
    ///         break;
    ///     }
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`of_user`](Self::of_user).
    pub async fn list(
        &self,
        options: &ListOptions,
        after: Option<&Cursor>,
    ) -> Result<SessionPage, Error> {
        let ListOptions { user, prefix, with_expired, limit } = options;
        user.as_deref().map(check_name).transpose()?;
        let of = match (user, prefix) {
            (Some(user), _) => Of::User(user),
            (None, Some(prefix)) => Of::Handle(prefix),
            (None, None) => Of::All,
        };
        let mut listing = Listing::new(of).after(after);
        listing.limit = limit.unwrap_or(listing.limit);
        listing.with_dead = *with_expired;
        let context = users::with_lists(&self.engine)?;
        let page = context.client.list(&listing, context.policy.deadline()).await?;
        let fits = |key: &Key| {
            key.is_of_session() && prefix.is_none_or(|prefix| prefix.is_of(&key.handle()))
        };
        let found = page.records.into_iter().filter(|loaded| fits(&loaded.record.header.key));
        let sessions = found
            .map(|loaded| StoredSession::new(&self.engine, &self.audit, loaded.record))
            .collect();
        let damaged = page.damaged.into_iter().filter(|damaged| fits(&damaged.key));
        let damaged = damaged
            .map(|damaged| DamagedSession::new(&self.engine, &self.audit, damaged))
            .collect();
        Ok(SessionPage { sessions, damaged, next: page.next })
    }

    /// The live session that logs and people call by this handle.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be read. Otherwise as [`of_user`](Self::of_user).
    pub async fn find(&self, handle: &Handle) -> Result<Option<StoredSession>, Error> {
        let found = self.find_by_prefix(&(*handle).into(), 1).await?;
        match found.damaged.first() {
            Some(damaged) if found.sessions.is_empty() => Err(damaged.error()),
            _ => Ok(found.sessions.into_iter().next()),
        }
    }

    /// The live sessions whose handles begin so, as one page: people shorten a handle to what is unique.
    /// Where there are more than `max`, some are left out.
    ///
    /// # Errors
    /// As [`of_user`](Self::of_user).
    pub async fn find_by_prefix(
        &self,
        prefix: &HandlePrefix,
        max: usize,
    ) -> Result<SessionPage, Error> {
        let options = ListOptions::new().of_handle(*prefix);
        let mut found = self.list(&options, None).await?;
        while found.sessions.len() + found.damaged.len() < max
            && let Some(after) = found.next.take()
        {
            let page = self.list(&options, Some(&after)).await?;
            found.sessions.extend(page.sessions);
            found.damaged.extend(page.damaged);
            found.next = page.next;
        }
        found.sessions.truncate(max);
        found.damaged.truncate(max - found.sessions.len());
        Ok(found)
    }

    /// Ends all sessions of a user, on every instance, and returns how many there were. See
    /// [`Session::end_all`](crate::Session::end_all).
    ///
    /// When this returns, none of them lives, and no login that was under way before can succeed. What of
    /// them cannot be read ends, too. On a
    /// store that cannot list by user, each ends when it is next used, and the count is 0.
    ///
    /// # Errors
    /// [`Error::InvalidValue`] if the name has no byte, more than 256, or control characters, and
    /// [`Error::Unsupported`] on a store with plain ids. After any other error some sessions may live on:
    /// call it again.
    pub async fn end_all_of(&self, user: &str) -> Result<usize, Error> {
        check_name(user)?;
        let (sessions, user) = (self.clone(), user.to_owned());
        let end = |handle| async move {
            let by = sessions.audit.ended_by();
            let end = users::end_all_of(&sessions.engine, &user, &by, &handle);
            sessions.end_several(Some(&user), end).await
        };
        Detachable::new(end).await
    }

    /// Ends all sessions that had begun when this was called, on every instance, and returns how many
    /// there were. Sessions may begin meanwhile. Where several apps share a store, those of all end: a
    /// store knows no namespaces.
    ///
    /// A session that a request renews at the same time may be missed: call it until it returns 0. What
    /// cannot be read ends, whenever it began.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store has no lists. Otherwise some sessions may live on. Call it
    /// again.
    pub async fn end_all(&self) -> Result<usize, Error> {
        let sessions = self.clone();
        let end = |_| async move {
            let until = users::with_lists(&sessions.engine)?.policy.now();
            let (coalescer, by) = (&sessions.engine.coalescer, sessions.audit.ended_by());
            let end = async { Ok(end_begun(coalescer, until, by).await?) };
            sessions.end_several(None, end).await
        };
        Detachable::new(end).await
    }

    /// Ends several sessions, and writes down how many.
    async fn end_several(
        &self,
        user: Option<&str>,
        end: impl Future<Output = Result<usize, Error>> + Send,
    ) -> Result<usize, Error> {
        let begun = self.audit.begin(Act::on_user(AuditAct::EndAll, user)).await?;
        let ended = end.await;
        let (outcome, count) = (AuditOutcome::of(&ended), ended.as_ref().ok().copied());
        self.audit.end(begun, outcome, |line| line.ended = count).await;
        ended
    }

    /// The same sessions, for an operator: what they do is written down.
    ///
    /// Each act is one line of the audit log, in the same store. It is begun before the act, and nothing
    /// is done where it cannot be written. An edit, or the end of one session, completes it in the same
    /// transaction where the store has [`Transactions`](crate::store::Transactions) (SQLite, PostgreSQL):
    /// both are stored or neither is. Otherwise it is completed after the act. It is kept for 400 days. In
    /// addition both are events of `tracing` at the level of information. On a store without lists
    /// (memcached) the events are all.
    ///
    /// ```
    /// # async fn end(layer: ingle::SessionLayer) -> Result<(), ingle::Error> {
    /// use ingle::operator::Operator;
    ///
    /// let ada = Operator::new("ada@example.com").at("192.0.2.7");
    /// let sessions = layer.sessions().operated_by(ada);
    /// sessions.end_all_of("mallory").await?;
    /// let newest = sessions.audit_log(None).await?.lines;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn operated_by(&self, operator: Operator) -> Self {
        Self { engine: Arc::clone(&self.engine), audit: Audit::of(&self.engine, operator) }
    }

    /// What the store says of itself: its kind, what it promises, and what it cannot do.
    #[must_use]
    pub fn store_info(&self) -> Info {
        self.engine.context().client.info()
    }

    /// Asks whether the store answers and would take commits, as far as it can tell without a write.
    ///
    /// # Errors
    /// It does not.
    pub async fn ping_store(&self) -> Result<(), Error> {
        let context = self.engine.context();
        Ok(context.client.ping(context.policy.deadline()).await?)
    }

    /// What the layer has done in this process in the last hour, by minute. It asks no store.
    ///
    /// ```
    /// # fn show(layer: ingle::SessionLayer) {
    /// let activity = layer.sessions().activity();
    /// let commits: u64 = activity.minutes.iter().map(|minute| minute.commits).sum();
    /// println!("{commits} commits in {} minutes", activity.minutes.len());
    /// # }
    /// ```
    #[must_use]
    pub fn activity(&self) -> Activity {
        let context = self.engine.context();
        context.client.meter.recent.told(context.policy.now())
    }

    /// The time by which the layer decides deadlines.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.engine.context().policy.now()
    }

    /// A page of the audit log, the newest line first. `after` is the end of the page before.
    ///
    /// # Errors
    /// As [`of_user`](Self::of_user).
    pub async fn audit_log(&self, after: Option<&Cursor>) -> Result<AuditPage, Error> {
        audit::page(users::with_lists(&self.engine)?, after).await
    }

    /// Writes down that the operator looks at hidden values of several sessions: those of a user, or
    /// of all. Call it before you show them. Without [`operated_by`](Self::operated_by) it writes nothing,
    /// and returns `Ok`.
    ///
    /// # Errors
    /// The line could not be written. Do not show the values.
    pub async fn note_reveal(&self, user: Option<&str>) -> Result<(), Error> {
        self.audit.note(Act::on_user(AuditAct::Reveal, user)).await
    }

    /// See [`Session::login_ticket`](crate::Session::login_ticket).
    ///
    /// # Errors
    /// As [`Session::login_ticket`](crate::Session::login_ticket).
    pub async fn login_ticket(&self, user: &str) -> Result<LoginTicket, Error> {
        ticket(&self.engine, user).await
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

/// Which sessions [`Sessions::list`] lists, and how many at a time. Without more, all that live.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    user: Option<String>,
    prefix: Option<HandlePrefix>,
    with_expired: bool,
    limit: Option<usize>,
}

impl ListOptions {
    /// All live sessions.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of this user.
    #[must_use]
    pub fn of_user(self, user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    /// Those whose handles begin so.
    #[must_use]
    pub fn of_handle(self, prefix: HandlePrefix) -> Self {
        Self { prefix: Some(prefix), ..self }
    }

    /// Also those that have expired, as long as the store has them. No request finds them any more.
    #[must_use]
    pub fn with_expired(self, with_expired: bool) -> Self {
        Self { with_expired, ..self }
    }

    /// How many a page has at most: 1 to 500. Default 100.
    #[must_use]
    pub fn limit(self, limit: usize) -> Self {
        Self { limit: Some(limit.clamp(1, PAGE_MAX)), ..self }
    }
}

/// A part of the list of sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionPage {
    /// The sessions of this page. There may be none, and yet more pages.
    pub sessions: Vec<StoredSession>,
    /// Those among them that cannot be read.
    pub damaged: Vec<DamagedSession>,
    /// Where the next page begins; `None` behind the last one.
    pub next: Option<Cursor>,
}
