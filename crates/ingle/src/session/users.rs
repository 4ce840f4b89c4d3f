//! The sessions of one user: who has which, and how they end.

use std::sync::Arc;

use tokio::time::Instant;

use super::{
    NO_LISTS, Session,
    error::Error,
    login::{again, check_name, key_of, logged_in},
    state::Shared,
};
use crate::{
    clock::Timestamp,
    data::data_len,
    detach::{DetachHandle, Detachable},
    engine::{
        Engine,
        account::{Account, Ended},
        batch::{Grant, Proof},
        client::{Listing, Of},
        commit,
        context::Context,
        events::{Cause, EndReason, EndedBy},
        users,
    },
    id::{Handle, Key},
    record::{Record, User},
};

/// What is told of a session beside its data. It holds nothing that a cookie could be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// What logs and people call it.
    pub handle: Handle,
    /// Whom it is logged in for, since when, and how.
    pub user: Option<User>,
    /// When it began.
    pub began: Timestamp,
    /// When it was last used, as far as is known. Not each use is written down, so it may be later by a
    /// minute or a tenth of the idle time, whichever is longer.
    pub last_seen: Timestamp,
    /// When it ends, used or not.
    pub ends: Timestamp,
    /// When it ends if it is not used until then.
    pub idle_deadline: Timestamp,
    /// How many commits it has had. It is 0 in a session that another program wrote.
    pub commits: u64,
    /// How many bytes its data has, as JSON without spaces.
    pub data_bytes: usize,
    /// Whether a deadline has passed, so that no request finds it any more.
    pub has_expired: bool,
    /// Whether it is the session of the request that asks.
    pub is_current: bool,
}

impl Session {
    /// The sessions of the user whom this one is logged in for, the one that was used last first: for a
    /// page that lets them end those that they do not know. What cannot be read is left out.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`] if nobody is logged in, and [`Error::Unsupported`] if the store cannot
    /// list by user. Otherwise as [`get`](Self::get).
    pub async fn siblings(&self) -> Result<Vec<SessionInfo>, Error> {
        let (user, own) = self.own().await?;
        let mut siblings = list(&self.shared.engine, &user).await?;
        siblings.iter_mut().for_each(|session| session.is_current = session.handle == own.handle());
        Ok(siblings)
    }

    /// Ends another session of the same user, or this one. False if the user has none of this handle,
    /// be it another's: nothing was changed.
    ///
    /// # Errors
    /// As [`siblings`](Self::siblings). The session may live on; do not answer that it has ended.
    pub async fn end_sibling(&self, handle: &Handle) -> Result<bool, Error> {
        let (user, own) = self.own().await?;
        if own.handle() == *handle {
            return self.end(EndReason::PickedOut).await.map(|()| true);
        }
        let engine = Arc::clone(&self.shared.engine);
        let handle = *handle;
        let by = EndedBy::Session(own.handle());
        Detachable::new(|_| async move { end_one(&engine, &user, &handle, by).await }).await
    }

    /// Ends all other sessions of the user, such as after a change of the password, and moves this one
    /// to a new id. Returns how many ended.
    ///
    /// When this returns, none of them lives, and no login that was under way before can succeed. On a
    /// store that cannot list by user, each ends when it is next used, and the count is 0.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`] if nobody is logged in, [`Error::Unsupported`] on a store with plain
    /// ids, and [`Error::ResponseSent`] after the response, since no browser would learn of the new id.
    /// After any error the others may live on; do not answer that they have ended. After
    /// [`Error::Unavailable`] call it again. After [`Error::Interrupted`] another request has renewed or
    /// ended this session: call [`Sessions::end_all_of`](crate::Sessions::end_all_of) to be sure.
    pub async fn end_others(&self) -> Result<usize, Error> {
        let shared = Arc::clone(&self.shared);
        self.looked();
        Detachable::new(|handle| async move { shared.end_others(&handle).await }).await
    }

    /// Ends all sessions of the user, this one too, and returns how many there were.
    ///
    /// When this returns, none of them lives, and no login that was under way before can succeed. On a
    /// store that cannot list by user, each ends when it is next used, and the count is 0.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`] if nobody is logged in, and [`Error::Unsupported`] on a store with plain
    /// ids. After any error some sessions may live on, and this one may have ended: call
    /// [`Sessions::end_all_of`](crate::Sessions::end_all_of) to be sure.
    pub async fn end_all(&self) -> Result<usize, Error> {
        let (user, own) = self.own().await?;
        let shared = Arc::clone(&self.shared);
        Detachable::new(|handle| async move {
            let by = EndedBy::Session(own.handle());
            let ended = end_all_of(&shared.engine, &user, &by, &handle).await?;
            // The browser is to forget its cookie, too.
            shared.destroy(EndReason::AllOfUser, &handle).await.map(|()| ended)
        })
        .await
    }

    /// The user of this session, and its key.
    async fn own(&self) -> Result<(String, Key), Error> {
        self.looked();
        let record = self.shared.load_surely().await?;
        let (header, user) = logged_in(record.as_deref())?;
        Ok((user.name.clone(), header.key))
    }
}

impl Shared {
    /// The record as this request sees it, where nobody may be served as if there were no session.
    pub(super) async fn load_surely(&self) -> Result<Option<Arc<Record>>, Error> {
        let deadline = self.policy().deadline();
        let _turn = self.turn(deadline, None).await?;
        let record = self.load_strictly(deadline).await?;
        self.touch_after_response(deadline).await;
        Ok(record)
    }

    async fn end_others(&self, handle: &DetachHandle) -> Result<usize, Error> {
        let deadline = self.policy().deadline();
        let _turn = self.turn(deadline, Some(handle)).await?;
        if self.state().responded {
            return Err(Error::ResponseSent);
        }
        let record = self.load_strictly(deadline).await?;
        let again = again(record.as_deref(), self.policy().now())?;
        let (header, before) = logged_in(record.as_deref())?;
        let name = before.name.clone();
        let (own, generation, now) = (header.key, before.generation, self.policy().now());
        let by = EndedBy::Session(own.handle());
        let advance = move |account: &mut Account| account.advance_for(own, generation, now);
        let (coalescer, key) = (&self.engine.coalescer, key_of(&self.engine, &name)?);
        let generation = match users::update(coalescer, key, deadline, handle, advance).await? {
            Ok(generation) => generation,
            // Somebody else has ended all, or is about to.
            Err(ended) => {
                end_older(&self.engine, &name, ended, &by).await?;
                return Err(Error::Interrupted);
            }
        };
        // It proves nothing anew, so it lives as long as it would have.
        let user = User { generation, ..before.clone() };
        let absolute_deadline = header.absolute_deadline;
        let grant = Arc::new(Grant { user, absolute_deadline, proof: Proof::None, ..again });
        let granted = self.grant(grant, handle).await;
        match &granted {
            Ok(()) => {}
            // Another request has renewed or ended this session, or may have: it ends with the others.
            Err(Error::Interrupted | Error::OutcomeUnknown) => {
                spare_nobody(&self.engine, &name, generation, handle).await?;
            }
            // It lives, and so do the others. It can be tried again.
            Err(_) => return granted.map(|()| 0),
        }
        let ended = end_older(&self.engine, &name, Ended { generation, spared: None }, &by).await?;
        granted.map(|()| ended)
    }
}

/// Moves a user to a new generation.
async fn advance(
    engine: &Engine,
    user: &str,
    deadline: Instant,
    handle: &DetachHandle,
) -> Result<u64, Error> {
    let context = engine.context();
    let key = key_of(engine, user)?;
    let now = context.policy.now();
    let change = move |account: &mut Account| account.advance(now);
    Ok(users::update(&engine.coalescer, key, deadline, handle, change).await?)
}

/// Lets the session end with the others that was spared in this generation.
async fn spare_nobody(
    engine: &Engine,
    user: &str,
    generation: u64,
    handle: &DetachHandle,
) -> Result<(), Error> {
    let deadline = engine.context().policy.deadline();
    let change = move |account: &mut Account| account.spare_nobody(generation);
    Ok(users::update(&engine.coalescer, key_of(engine, user)?, deadline, handle, change).await?)
}

/// Ends all sessions of a user, and those of the logins under way, and returns how many there were.
pub(super) async fn end_all_of(
    engine: &Engine,
    user: &str,
    by: &EndedBy,
    handle: &DetachHandle,
) -> Result<usize, Error> {
    check_name(user)?;
    let deadline = engine.context().policy.deadline();
    let generation = advance(engine, user, deadline, handle).await?;
    end_older(engine, user, Ended { generation, spared: None }, by).await
}

/// Where the store has no lists, each session ends when it is next loaded, and nobody can count them.
async fn end_older(
    engine: &Engine,
    user: &str,
    ended: Ended,
    by: &EndedBy,
) -> Result<usize, Error> {
    if !engine.context().client.lists_by_user() {
        return Ok(0);
    }
    Ok(users::end_older(&engine.coalescer, user, ended, by).await?)
}

/// The sessions of a user, the one that was used last first.
pub(super) async fn list(engine: &Engine, user: &str) -> Result<Vec<SessionInfo>, Error> {
    let mut sessions = Vec::new();
    let show =
        |_, record: Option<&Record>| sessions.extend(record.map(|record| info(engine, record)));
    for_each(engine, user, show).await?;
    sessions.sort_by_key(|session: &SessionInfo| std::cmp::Reverse(session.last_seen));
    Ok(sessions)
}

/// The way to a store that has lists.
pub(super) fn with_lists(engine: &Engine) -> Result<&Context, Error> {
    let context = engine.context();
    if context.client.lists_by_user() { Ok(context) } else { Err(NO_LISTS) }
}

/// Calls `see` with each key of a user's live sessions, and its record where that can be read.
async fn for_each(
    engine: &Engine,
    user: &str,
    mut see: impl FnMut(Key, Option<&Record>) + Send,
) -> Result<(), Error> {
    check_name(user)?;
    let Context { client, policy, .. } = with_lists(engine)?;
    let mut after = None;
    loop {
        let listing = Listing::new(Of::User(user)).after(after.as_ref());
        let page = client.list(&listing, policy.deadline()).await?;
        // Those that an end of all has left over, too: where it was an error, they live.
        for loaded in &page.records {
            see(loaded.record.header.key, Some(&loaded.record));
        }
        page.damaged.iter().for_each(|damaged| see(damaged.key, None));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}

pub(super) fn info(engine: &Engine, record: &Record) -> SessionInfo {
    let header = &record.header;
    SessionInfo {
        handle: header.key.handle(),
        user: header.user.clone(),
        began: header.created,
        last_seen: engine.context().policy.last_use(header),
        ends: header.absolute_deadline,
        idle_deadline: header.idle_deadline,
        commits: header.counter,
        data_bytes: data_len(&record.data),
        has_expired: record.is_dead(engine.context().policy.now()),
        is_current: false,
    }
}

/// Ends the session of a user that has this handle. False if there is none.
async fn end_one(engine: &Engine, user: &str, handle: &Handle, by: EndedBy) -> Result<bool, Error> {
    let mut found = None;
    for_each(engine, user, |key, _| {
        found = found.or(Some(key).filter(|key| key.is_of_session() && key.handle() == *handle));
    })
    .await?;
    let Some(key) = found else { return Ok(false) };
    let context = engine.context();
    let cause = Cause::new(EndReason::PickedOut, by, Some(user));
    Ok(commit::destroy(context, &key, cause, context.policy.deadline()).await?)
}
