//! A session as an operator or a job finds it, without a request.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};

use super::{
    audit::{Act, Audit, AuditAct, AuditField, AuditOutcome, Begun, changed_fields},
    change_view,
    error::Error,
    users::{self, SessionInfo},
};
use crate::{
    data::{
        Data, is_own,
        read::{self, Mend, Place},
        shown::Shown,
    },
    detach::{DetachHandle, Detachable},
    engine::{
        Engine,
        batch::Item,
        change::{Change, Copy, Draft},
        coalesce, commit,
        events::{Cause, EndReason},
        line::Completed,
        watch::SessionEnd,
    },
    id::Key,
    record::Record,
    store::Lookup,
};

/// A session that was found by its handle or in a list, for operators and jobs. It may have moved on or
/// ended since.
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
    audit: Audit,
    record: Arc<Record>,
    info: SessionInfo,
    /// What an edit is said to be of.
    named: BTreeMap<String, AuditField>,
}

impl StoredSession {
    pub(super) fn new(engine: &Arc<Engine>, audit: &Audit, record: Arc<Record>) -> Self {
        let record = without_own_fields(record);
        let info = users::info(engine, &record);
        let (engine, audit, named) = (Arc::clone(engine), audit.clone(), BTreeMap::new());
        Self { engine, audit, record, info, named }
    }

    /// The same session, for edits that are about these top-level fields: the audit log names them also
    /// where an edit is refused or changes nothing. Otherwise a line names what was changed, and no more.
    ///
    /// Name each field that your answer to the operator reveals something about. "That is not the value"
    /// lets them test a guess, and the log must show it.
    ///
    /// ```
    /// # async fn mend(session: ingle::StoredSession) -> Result<(), ingle::Error> {
    /// let clear = |data: &mut ingle::data::Data| match data.remove("cart") {
    ///     Some(_) => Ok(()),
    ///     None => Err("there is no cart"),
    /// };
    /// let done = session.naming(["cart"]).try_update(clear).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn naming<N: Into<String>>(self, fields: impl IntoIterator<Item = N>) -> Self {
        let named = fields.into_iter().map(|name| (name.into(), AuditField::default()));
        Self { named: named.collect(), ..self }
    }

    /// What it was when it was found.
    #[must_use]
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// The data that it had when it was found, without what the library keeps there for itself.
    #[must_use]
    pub fn snapshot(&self) -> &Data {
        &self.record.data
    }

    /// The session as it is now, under its new handle if it has been renewed; or how it has ended. What
    /// happened more than a minute ago, a renew too, is told as [`SessionEnd::Expired`]. Looking does not
    /// count as use of the session.
    ///
    /// # Errors
    /// The store gave no answer, or the session cannot be read ([`Error::Damaged`]).
    pub async fn reload(&self) -> Result<Result<Self, SessionEnd>, Error> {
        let context = self.engine.context();
        let deadline = context.policy.deadline();
        let mut key = self.record.header.key;
        for _ in 0..commit::MOVES_MAX {
            match context.client.load(&key, deadline).await? {
                Lookup::Live(loaded) => {
                    let found = Self::new(&self.engine, &self.audit, loaded.record);
                    return Ok(Ok(Self { named: self.named.clone(), ..found }));
                }
                Lookup::Moved { to } => key = to,
                Lookup::Ended => return Ok(Err(SessionEnd::Ended)),
                Lookup::Missing => return Ok(Err(SessionEnd::Expired)),
            }
        }
        Err(context.client.too_late("the session was renewed again and again").into())
    }

    /// Reads the data as a `T`, as it is now. Reading does not count as use of the session. See
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
        let key = &self.record.header.key;
        let found = context.client.load(key, context.policy.deadline()).await?;
        let Lookup::Live(loaded) = found else { return Err(Error::Interrupted) };
        let mend = Mend { aliases: true, anew: context.policy.rules().anew };
        Ok(read::read(Place::Whole, Shown::of(&loaded.record.data), mend)?.view)
    }

    /// Changes the data in one transaction, beside what requests change at the same time. It does not count
    /// as use of the session, so no deadline moves. See [`Session::update`](crate::Session::update).
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
        let done = self.try_update(move |view: &mut T| Ok::<R, Infallible>(change(view))).await?;
        done.map_err(|never| match never {})
    }

    /// Like [`update`](Self::update), with a `change` that can refuse. Where it returns `Err`, nothing
    /// is stored, and this returns `Ok` with that error.
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
        let session = self.clone();
        let work = |handle| async move {
            let act = session.act(AuditAct::Edit).with_fields(session.named.clone());
            let begun = session.audit.begin(act).await?;
            let (done, fields) = session.change(change, begun.as_ref(), &handle).await;
            let outcome = match &done {
                Ok(Err(_)) => AuditOutcome::Refused,
                done => AuditOutcome::of(done),
            };
            session.audit.end(begun, outcome, |line| line.fields.extend(fields)).await;
            done
        };
        Detachable::new(work).await
    }

    /// What [`try_update`](Self::try_update) would do now, and stores nothing: it runs `change` on the data as
    /// it is, under the limits of the layer. The store may have limits of its own, which it is not asked for.
    ///
    /// # Errors
    /// As [`try_update`](Self::try_update).
    ///
    /// # Panics
    /// As [`try_update`](Self::try_update).
    pub async fn dry_run<T, R, E, F>(&self, mut change: F) -> Result<Result<R, E>, Error>
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send + 'static,
        E: Send + 'static,
        F: FnMut(&mut T) -> Result<R, E> + Send + 'static,
    {
        let context = self.engine.context();
        let key = &self.record.header.key;
        let found = context.client.load(key, context.policy.deadline()).await?;
        let Lookup::Live(loaded) = found else { return Err(Error::Interrupted) };
        let rules = context.policy.rules();
        let last_run = Arc::new(Mutex::new(None));
        let last = Arc::clone(&last_run);
        let mut run: Change = Box::new(move |draft| {
            let done = change_view(draft, Place::Whole, &rules, &mut change)?;
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
            Ok(())
        });
        Copy::of(&loaded.record.data).apply(&mut run, &context.policy.limits)?;
        let last = last_run.lock().unwrap_or_else(PoisonError::into_inner).take();
        last.ok_or(Error::OutcomeUnknown)
    }

    /// Ends the session for good. It follows a renew for one minute. False if nothing lives under the
    /// handle that it had: the session ended, or was renewed more than a minute ago. So find it again before
    /// you say that it has ended.
    ///
    /// # Errors
    /// It may live on. Do not say that it has ended.
    pub async fn end(&self) -> Result<bool, Error> {
        let user = self.info.user.as_ref().map(|user| &*user.name);
        end(&self.engine, &self.audit, self.record.header.key, user).await
    }

    /// Writes down that the operator looks at these fields, whose values are hidden otherwise. Call it
    /// before you show them. The line keeps the SHA-256 of each value as it was when the session was found.
    /// Without [`operated_by`](crate::Sessions::operated_by) it writes nothing, and returns `Ok`.
    ///
    /// # Errors
    /// The line could not be written. Do not show the values.
    pub async fn note_reveal(&self, fields: &[&str]) -> Result<(), Error> {
        let seen = |name: &&str| {
            let value = self.record.data.get(*name);
            ((*name).to_owned(), AuditField::of(value, value))
        };
        let act = self.act(AuditAct::Reveal).with_fields(fields.iter().map(seen).collect());
        self.audit.note(act).await
    }

    fn act(&self, what: AuditAct) -> Act {
        Act::on_session(what, self.info.handle)
    }

    /// Runs a change, and returns also which fields it has changed. The store completes the line with it if
    /// it can.
    async fn change<T, R, E>(
        &self,
        mut change: impl FnMut(&mut T) -> Result<R, E> + Send + 'static,
        begun: Option<&Begun>,
        handle: &DetachHandle,
    ) -> (Result<Result<R, E>, Error>, BTreeMap<String, AuditField>)
    where
        T: Serialize + DeserializeOwned + Default,
        R: Send + 'static,
        E: Send + 'static,
    {
        let engine = &self.engine;
        let rules = engine.context().policy.rules();
        let is_audited = self.audit.has_operator();
        let last_run = Arc::new(Mutex::new(None));
        let last = Arc::clone(&last_run);
        let run = move |draft: &mut Draft<'_>| {
            let done = change_view(draft, Place::Whole, &rules, &mut change)?;
            let fields = if is_audited { changed_fields(draft) } else { BTreeMap::new() };
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some((done, fields));
            Ok(())
        };
        let last = Arc::clone(&last_run);
        let line = self.audit.with_act(begun, move |line| {
            if let Some((_, fields)) = &*last.lock().unwrap_or_else(PoisonError::into_inner) {
                line.fields.extend(fields.clone());
            }
        });
        let item = Item { is_use: false, line, ..Item::new(Box::new(run), None) };
        let (key, deadline) = (self.record.header.key, engine.context().policy.deadline());
        let outcome = coalesce::submit(&engine.coalescer, key, item, deadline, handle).await;
        let last = last_run.lock().unwrap_or_else(PoisonError::into_inner).take();
        let result = outcome.result.map_err(Error::from);
        let stored = result.and_then(|_| outcome.item.verdict.map_err(Error::from));
        match (stored, last) {
            (Ok(()), Some((done, fields))) => (Ok(done), fields),
            (Ok(()), None) => (Err(Error::OutcomeUnknown), BTreeMap::new()),
            // What it would have changed, or may have.
            (Err(error), last) => (Err(error), last.map(|(_, fields)| fields).unwrap_or_default()),
        }
    }
}

/// Ends the session under a key, and writes down who did.
pub(super) async fn end(
    engine: &Arc<Engine>,
    audit: &Audit,
    key: Key,
    user: Option<&str>,
) -> Result<bool, Error> {
    let (engine, audit, user) = (Arc::clone(engine), audit.clone(), user.map(str::to_owned));
    let end = |_| async move {
        let begun = audit.begin(Act::on_session(AuditAct::End, key.handle())).await?;
        let context = engine.context();
        let cause = Cause::new(EndReason::PickedOut, audit.ended_by(), user.as_deref());
        let line = audit.with_act(begun.as_ref(), |_| {}).map(|line| line());
        let line = line.as_ref().map(Completed::write);
        let deadline = context.policy.deadline();
        let ended = commit::destroy_with(context, &key, cause, line, deadline).await;
        let ended = ended.map_err(Error::from);
        let outcome = match &ended {
            Ok(false) => AuditOutcome::Refused,
            ended => AuditOutcome::of(ended),
        };
        audit.end(begun, outcome, |_| {}).await;
        ended
    };
    Detachable::new(end).await
}

impl fmt::Debug for StoredSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredSession").field("info", &self.info).finish_non_exhaustive()
    }
}

fn without_own_fields(mut record: Arc<Record>) -> Arc<Record> {
    if record.data.keys().any(|name| is_own(name)) {
        Arc::make_mut(&mut record).data.retain(|name, _| !is_own(name));
    }
    record
}
