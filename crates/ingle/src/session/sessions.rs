//! The sessions of an app, without a request: for its jobs and operators.

use std::{
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    change_view,
    error::Error,
    login::{LoginTicket, ticket},
    users::{self, SessionInfo},
};
use crate::{
    data::read::{self, Mend, Place, Shown},
    detach::Detachable,
    engine::{
        Engine,
        batch::Item,
        change::Draft,
        coalesce, commit,
        events::{Cause, EndReason, EndedBy},
    },
    id::{Handle, Key},
    store::{Cursor, Lookup},
};

/// The sessions of an app, for what happens outside of its requests: a password that was reset by
/// mail, an account that was closed, a job. [`SessionLayer::sessions`](crate::SessionLayer::sessions)
/// makes it. Clones share everything.
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
}

impl Sessions {
    pub(crate) fn new(engine: &Arc<Engine>) -> Self {
        Self { engine: Arc::clone(engine) }
    }

    /// The sessions of a user, the one that was used last first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the store cannot list by user. Otherwise the store gave no answer.
    pub async fn of_user(&self, user: &str) -> Result<Vec<SessionInfo>, Error> {
        users::list(&self.engine, user).await
    }

    /// A page of all live sessions, in an order of the store's. `after` is the end of the page before.
    ///
    /// A session that lives during the whole listing is on exactly one page.
    ///
    /// # Errors
    /// As [`of_user`](Self::of_user).
    pub async fn list(&self, after: Option<&Cursor>) -> Result<SessionPage, Error> {
        let context = users::with_lists(&self.engine)?;
        let page = context.client.list(None, after, context.policy.deadline()).await?;
        let records = page.records.iter().map(|loaded| &loaded.record);
        let records = records.filter(|record| !record.header.key.is_of_user());
        let sessions = records.map(|record| users::info(&self.engine, record)).collect();
        Ok(SessionPage { sessions, next: page.next })
    }

    /// The live session that logs and people call by this handle.
    ///
    /// # Errors
    /// As [`of_user`](Self::of_user).
    pub async fn find(&self, handle: &Handle) -> Result<Option<StoredSession>, Error> {
        let context = users::with_lists(&self.engine)?;
        let found = context.client.find(handle, context.policy.deadline()).await?;
        let found = found.filter(|loaded| !loaded.record.header.key.is_of_user());
        Ok(found.map(|loaded| StoredSession {
            engine: Arc::clone(&self.engine),
            key: loaded.record.header.key,
            info: users::info(&self.engine, &loaded.record),
        }))
    }

    /// Ends all sessions of a user, on every instance, and returns how many there were. See
    /// [`Session::end_all`](crate::Session::end_all).
    ///
    /// When this returns, none of them lives, and no login that was under way before can succeed. On a
    /// store that cannot list by user, each ends when it is next used, and the count is 0.
    ///
    /// # Errors
    /// Some sessions may live on. Call it again.
    pub async fn end_all_of(&self, user: &str) -> Result<usize, Error> {
        let (engine, user) = (Arc::clone(&self.engine), user.to_owned());
        let end = |handle| async move {
            users::end_all_of(&engine, &user, &EndedBy::Operator, &handle).await
        };
        Detachable::new(end).await
    }

    /// See [`Session::login_ticket`](crate::Session::login_ticket).
    ///
    /// # Errors
    /// The store gave no answer.
    pub async fn login_ticket(&self, user: &str) -> Result<LoginTicket, Error> {
        ticket(&self.engine, user).await
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

/// A part of the list of all sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionPage {
    /// The sessions of this page. There may be none, and yet more pages.
    pub sessions: Vec<SessionInfo>,
    /// Where the next page begins; `None` behind the last one.
    pub next: Option<Cursor>,
}

/// A session that was found by its handle, for operators and jobs. It may have moved on or ended since.
///
/// ```
/// # async fn mend(layer: ingle::SessionLayer, handle: &str) -> Result<(), Box<dyn std::error::Error>> {
/// if let Some(session) = layer.sessions().find(&handle.parse()?).await? {
///     session.update(|data: &mut ingle::data::Data| data.remove("cart")).await?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StoredSession {
    engine: Arc<Engine>,
    key: Key,
    info: SessionInfo,
}

impl StoredSession {
    /// What it was when it was found.
    #[must_use]
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// Reads the data as a `T`, as it is now. To read is no use of the session. See
    /// [`Session::data`](crate::Session::data).
    ///
    /// # Errors
    /// [`Error::Interrupted`] if it has moved or ended. Otherwise as
    /// [`Session::data`](crate::Session::data).
    pub async fn data<T>(&self) -> Result<T, Error>
    where
        T: Serialize + DeserializeOwned + Default,
    {
        let context = self.engine.context();
        let found = context.client.load(&self.key, context.policy.deadline()).await?;
        let Lookup::Live(loaded) = found else { return Err(Error::Interrupted) };
        let mend = Mend { aliases: true, anew: context.policy.rules().anew };
        Ok(read::read(Place::Whole, Shown::of(&loaded.record.data), mend)?.view)
    }

    /// Changes the data in one transaction, beside what requests change at the same time. It is no use of
    /// the session, so no deadline moves. See [`Session::update`](crate::Session::update).
    ///
    /// # Errors
    /// [`Error::Interrupted`] if it has moved or ended: nothing was stored. Otherwise as
    /// [`Session::update`](crate::Session::update).
    ///
    /// # Panics
    /// If `change` panics. Nothing was stored then.
    pub async fn update<T, R, F>(&self, mut change: F) -> Result<R, Error>
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send + 'static,
        F: FnMut(&mut T) -> R + Send + 'static,
    {
        let (engine, key) = (Arc::clone(&self.engine), self.key);
        let returned = Arc::new(Mutex::new(None));
        let last = Arc::clone(&returned);
        let rules = engine.context().policy.rules();
        let run = move |draft: &mut Draft<'_>| {
            let change = |view: &mut T| Ok::<R, Infallible>(change(view));
            let done = change_view(draft, Place::Whole, &rules, change)?;
            *last.lock().unwrap_or_else(PoisonError::into_inner) = done.ok();
            Ok(())
        };
        let item = Item { is_use: false, ..Item::new(Box::new(run), None) };
        let outcome = Detachable::new(|handle| async move {
            let deadline = engine.context().policy.deadline();
            coalesce::submit(&engine.coalescer, key, item, deadline, &handle).await
        });
        let outcome = outcome.await;
        outcome.result?;
        outcome.item.verdict?;
        let done = returned.lock().unwrap_or_else(PoisonError::into_inner).take();
        done.ok_or(Error::OutcomeUnknown)
    }

    /// Ends the session for good, also where it has moved since.
    ///
    /// # Errors
    /// It may live on. Do not say that it has ended.
    pub async fn end(&self) -> Result<(), Error> {
        let (engine, key) = (Arc::clone(&self.engine), self.key);
        let user = self.info.user.as_ref().map(|user| &*user.name);
        let cause = Cause::new(EndReason::PickedOut, EndedBy::Operator, user);
        let end = |_| async move {
            let context = engine.context();
            commit::destroy(context, &key, cause, context.policy.deadline()).await
        };
        Ok(Detachable::new(end).await?)
    }
}

impl fmt::Debug for StoredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession").field("info", &self.info).finish_non_exhaustive()
    }
}
