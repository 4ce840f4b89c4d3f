//! What a session does with the store: load, commit, renew, destroy.
//!
//! Each step takes the request's turn, reads the state, does its work, and writes the new state. No
//! lock on the state is held while the store works.

use std::{
    slice,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{
    sync::MutexGuard as Turn,
    time::{Instant, timeout_at},
};

use super::{
    error::Error,
    state::{PendingCookie, Shared, Standing, State},
};
use crate::{
    data::Data,
    detach::DetachHandle,
    engine::{
        batch::{Grant, Item, Proof, Renewal},
        change::{Change, Copy, Draft, Edit, Reads, Refused},
        coalesce::{self, Outcome},
        commit::{self, Done},
        events::{Cause, EndReason, EndedBy, EventKind, Opening, Refusal},
        failure::Failure,
        policy::OnOutage,
    },
    id::SessionId,
    meter,
    record::{Loaded, Record},
    store::Lookup,
};

/// What a commit does with the session's id.
#[derive(Clone)]
pub(super) enum Id {
    Keep,
    Renew,
    /// A new id for other rights.
    Grant(Arc<Grant>),
}

impl Id {
    fn is_kept(&self) -> bool {
        matches!(self, Self::Keep)
    }

    fn grant(&self) -> Option<&Arc<Grant>> {
        match self {
            Self::Keep | Self::Renew => None,
            Self::Grant(grant) => Some(grant),
        }
    }
}

/// What the last run of a change came to.
struct LastRun<R> {
    /// What it returned, and what this request has read since.
    returned: Option<(R, Reads)>,
    /// Whether the change itself was refused, and not the edits before it.
    change_refused: bool,
}

/// No code of the app runs while this is locked.
fn locked<R>(last: &Mutex<LastRun<R>>) -> MutexGuard<'_, LastRun<R>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether everything is as it was before what has failed with this error, so that it can be tried again.
pub(super) fn nothing_happened(error: &Error) -> bool {
    matches!(
        error,
        Error::Unavailable(_)
            | Error::NoRandomness(_)
            | Error::ResponseSent
            | Error::TooManyNewSessions
            | Error::TooManySessions
    )
}

impl Shared {
    /// The right to load or commit for this request. One task has it at a time. `handle` is that of
    /// the work that gets it.
    pub(super) async fn turn(
        &self,
        deadline: Instant,
        handle: Option<&DetachHandle>,
    ) -> Result<Turn<'_, ()>, Error> {
        let turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                // Nobody may be polling the task that has it.
                let working = {
                    let mut state = self.state();
                    state.turn_is_wanted = true;
                    state.working.take()
                };
                working.iter().for_each(DetachHandle::detach);
                let turn = timeout_at(deadline, self.turn.lock()).await;
                turn.map_err(|_| {
                    self.engine
                        .context()
                        .client
                        .too_late("other tasks of this request were not done")
                })?
            }
        };
        if let Some(handle) = handle {
            let mut state = self.state();
            if state.turn_is_wanted {
                drop(state);
                handle.detach();
            } else {
                state.working = Some(handle.clone());
            }
        }
        Ok(turn)
    }

    /// The record as this request sees it, if there is one, and the turn. The caller keeps the turn
    /// until it has noted what it read.
    pub(super) async fn load(&self) -> Result<(Turn<'_, ()>, Option<Arc<Record>>), Error> {
        let deadline = self.policy().deadline();
        let turn = self.turn(deadline, None).await?;
        let record = self.load_in_turn(deadline).await?;
        self.touch_after_response(deadline).await;
        Ok((turn, record))
    }

    /// The first call loads the record. Later calls find it.
    async fn load_in_turn(&self, deadline: Instant) -> Result<Option<Arc<Record>>, Error> {
        self.load_strictly(deadline).await.or_else(|error| self.without_store(error))
    }

    /// The same, where nobody may be served as if there were no session.
    pub(super) async fn load_strictly(
        &self,
        deadline: Instant,
    ) -> Result<Option<Arc<Record>>, Error> {
        if let Some(ids) = self.several() {
            return Box::pin(self.choose(ids, deadline)).await;
        }
        let (id, was_live) = {
            let state = self.state();
            match (&state.standing, &state.snapshot) {
                (Standing::Interrupted(_), _) => return Err(Error::Interrupted),
                (Standing::None | Standing::Several(_), _) => return Ok(None),
                (Standing::Live(_), Some(snapshot)) if !state.responded => {
                    return Ok(Some(Arc::clone(snapshot)));
                }
                (Standing::Live(id), _) => (id.clone(), true),
                (Standing::Presented(id), _) => (id.clone(), false),
            }
        };
        match self.look_up(&id.key(), deadline).await? {
            Lookup::Live(loaded) => Ok(Some(self.found(id, loaded))),
            Lookup::Moved { .. } | Lookup::Ended => Err(self.interrupted(&id)),
            Lookup::Missing => {
                self.missing(&id, was_live)?;
                Ok(None)
            }
        }
    }

    /// Whether nobody has looked yet which of several ids is live.
    pub(super) fn is_undecided(&self) -> bool {
        self.several().is_some()
    }

    /// The ids of which nobody has looked yet which one is live.
    fn several(&self) -> Option<Vec<SessionId>> {
        match &self.state().standing {
            Standing::Several(ids) => Some(ids.clone()),
            _ => None,
        }
    }

    /// What a read finds where the store gave no answer.
    fn without_store(&self, error: Error) -> Result<Option<Arc<Record>>, Error> {
        match error {
            Error::Unavailable(error) if self.policy().on_outage == OnOutage::Anonymous => {
                tracing::warn!(%error, "a session is served as if there were none");
                Ok(None)
            }
            error => Err(error),
        }
    }

    /// The record of this id is live, and its session is the request's.
    pub(super) fn found(&self, id: SessionId, loaded: Loaded) -> Arc<Record> {
        self.engine.context().cache.offer(&id.key(), &loaded);
        let record = Arc::clone(&loaded.record);
        let mut state = self.state();
        state.standing = Standing::Live(id);
        state.last_use.get_or_insert(self.policy().last_use(&record.header));
        state.snapshot = Some(loaded.record);
        record
    }

    /// Another request ended the session while this one was working on it.
    pub(super) fn interrupted(&self, id: &SessionId) -> Error {
        meter::interrupted();
        let mut state = self.state();
        state.snapshot = None;
        state.standing = Standing::Interrupted(id.clone());
        drop(state);
        let refused = EventKind::Refused(Refusal::Interrupted);
        self.engine.context().events.tell(id.key(), None, refused);
        Error::Interrupted
    }

    /// There is no record. Either it expired during this request, or the id never had one, and then
    /// the visitor has no session.
    pub(super) fn missing(&self, id: &SessionId, was_live: bool) -> Result<(), Error> {
        if was_live {
            return Err(self.interrupted(id));
        }
        meter::unknown_id();
        self.engine.context().tell_missing(&id.key());
        let mut state = self.state();
        state.snapshot = None;
        state.standing = Standing::None;
        state.reads = Reads::default();
        Ok(())
    }

    /// Runs one change, with the recorded edits before it, in one commit.
    pub(super) async fn transact<R, F>(
        &self,
        change: F,
        id: Id,
        handle: &DetachHandle,
    ) -> Result<R, Error>
    where
        R: Send + 'static,
        F: FnMut(&mut Draft<'_>) -> Result<R, Refused> + Send + 'static,
    {
        let deadline = self.policy().deadline();
        let _turn = self.turn(deadline, Some(handle)).await?;
        if !id.is_kept() {
            // A renew at a login is meant to take the place of another session.
            self.state().withheld = false;
        }
        let returned = self.transact_in_turn(change, id, deadline, handle).await?;
        self.touch_after_response(deadline).await;
        Ok(returned)
    }

    pub(super) async fn transact_in_turn<R, F>(
        &self,
        mut change: F,
        id: Id,
        deadline: Instant,
        handle: &DetachHandle,
    ) -> Result<R, Error>
    where
        R: Send + 'static,
        F: FnMut(&mut Draft<'_>) -> Result<R, Refused> + Send + 'static,
    {
        let last = Arc::new(Mutex::new(LastRun { returned: None, change_refused: false }));
        let (edits, reads) = self.recorded();
        let n_edits = edits.len();
        let rules = self.policy().rules();
        let run = Arc::clone(&last);
        let whole = move |draft: &mut Draft<'_>| {
            locked(&run).change_refused = false;
            edits.iter().try_for_each(|edit| edit.apply(draft, &rules))?;
            let returned = change(draft).inspect_err(|_| locked(&run).change_refused = true)?;
            let mut reads = reads.clone();
            reads.follow(draft);
            let before = locked(&run).returned.replace((returned, reads));
            drop(before);
            Ok(())
        };
        let applied = self.apply(Box::new(whole), id, deadline, handle).await;
        let LastRun { returned, change_refused } = &mut *locked(&last);
        if let Err(error) = applied {
            // The last run of a change with an unknown outcome says nothing of the one that was
            // sent.
            let kept =
                *change_refused && !matches!(error, Error::OutcomeUnknown | Error::Interrupted);
            if !kept {
                self.refused(&error, n_edits);
            } else if matches!(error, Error::LostUpdate { .. }) {
                // The handler reads again what it goes by.
                self.state().reads = Reads::default();
            }
            return Err(error);
        }
        // The commit is made, so the change ran and was not refused.
        let (returned, reads) = returned.take().ok_or(Error::OutcomeUnknown)?;
        let mut state = self.state();
        state.forget_edits(n_edits);
        state.reads = reads;
        Ok(returned)
    }

    /// Drops the edits of a commit that was refused, so that the handler can begin again from its
    /// reads. Drops those with an unknown outcome, too: committing them again could make them
    /// twice. While the store does not answer, nothing has happened and they stay.
    fn refused(&self, error: &Error, n_edits: usize) {
        if !nothing_happened(error) {
            let mut state = self.state();
            state.forget_edits(n_edits);
            state.reads = Reads::default();
            if matches!(error, Error::OutcomeUnknown) {
                // A look at what became of it must see the store's record, not the one before.
                state.snapshot = None;
            }
        }
    }

    fn recorded(&self) -> (Vec<Edit>, Reads) {
        let state = self.state();
        (state.edits.clone(), state.reads.clone())
    }

    /// Commits a change to the session's record, or begins a session with it.
    async fn apply(
        &self,
        change: Change,
        renew: Id,
        deadline: Instant,
        handle: &DetachHandle,
    ) -> Result<(), Error> {
        if let Some(ids) = self.several() {
            Box::pin(self.choose(ids, deadline)).await?;
        } else if !self.ends_reach_all() {
            Box::pin(self.look_before_commit(deadline)).await?;
        }
        let (id, was_live) = {
            let state = self.state();
            match &state.standing {
                Standing::Interrupted(_) => return Err(Error::Interrupted),
                Standing::None | Standing::Several(_) => (None, false),
                _ if !renew.is_kept() && state.responded => return Err(Error::ResponseSent),
                Standing::Presented(id) => (Some(id.clone()), false),
                Standing::Live(id) => (Some(id.clone()), true),
            }
        };
        let grant = renew.grant().cloned();
        let Some(id) = id else {
            return Box::pin(self.begin(change, grant, deadline, handle)).await;
        };
        let Outcome { item, result } = if renew.is_kept() {
            let item = Item::new(change, None);
            coalesce::submit(&self.engine.coalescer, id.key(), item, deadline, handle).await
        } else {
            Box::pin(self.submit_renewal(&id, change, grant.as_ref(), deadline, handle)).await?
        };
        match result {
            Ok(done) => {
                if let Err(Refused::LostUpdate { .. }) = item.verdict {
                    meter::lost_update();
                }
                let renewed = item.renew.filter(|_| item.verdict.is_ok());
                self.committed(id, renewed.map(|renewal| renewal.id), done);
                Ok(item.verdict?)
            }
            Err(Failure::Ended) => Err(self.interrupted(&id)),
            Err(Failure::Missing) => {
                self.missing(&id, was_live)?;
                Box::pin(self.begin(item.change, grant, deadline, handle)).await
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// Commits a change that moves the session to a new id.
    async fn submit_renewal(
        &self,
        id: &SessionId,
        change: Change,
        grant: Option<&Arc<Grant>>,
        deadline: Instant,
        handle: &DetachHandle,
    ) -> Result<Outcome, Error> {
        let context = self.engine.context();
        let new = context.id_to_renew(&id.key())?;
        let mut told = Some(context.events.open_move(id.key(), new.key()));
        let rights = grant.map(|grant| &**grant);
        let reserved = self.reserve_place(new.key(), Some(id), rights, deadline, handle).await?;
        let renewal = Box::new(Renewal { id: new, grant: grant.cloned() });
        let item = Item::new(change, Some(renewal));
        let outcome =
            coalesce::submit(&self.engine.coalescer, id.key(), item, deadline, handle).await;
        let Outcome { item, result } = &outcome;
        match (result, &item.verdict, &item.renew) {
            (Ok(done), Ok(()), Some(renewal)) => {
                let record = &done.loaded.record;
                note(&mut told, record, EventKind::Renewed { before: id.handle() });
                let from = rights.is_none_or(Grant::goes_on).then(|| id.key());
                self.confirm(&renewal.id, from, record, reserved, handle).await?;
                note_proof(&mut told, record, rights);
            }
            (Err(Failure::Unknown), Ok(()), _) => {}
            _ => {
                if let Some(reserved) = &reserved {
                    self.leave_place(reserved, handle).await;
                }
            }
        }
        Ok(outcome)
    }

    fn committed(&self, id: SessionId, renewed: Option<SessionId>, done: Done) {
        let Done { loaded, written, last_use } = done;
        let mut state = self.state();
        state.last_use.get_or_insert(last_use);
        state.committed |= written;
        let id = match renewed {
            None => id,
            Some(renewed) => {
                let kept_for = self.kept_for(&loaded.record);
                state.pending = PendingCookie::Id { id: renewed.clone(), kept_for };
                renewed
            }
        };
        state.standing = Standing::Live(id);
        state.snapshot = Some(loaded.record);
    }

    /// Begins a session, if the change leaves anything to store or somebody logs in.
    async fn begin(
        &self,
        mut change: Change,
        grant: Option<Arc<Grant>>,
        deadline: Instant,
        handle: &DetachHandle,
    ) -> Result<(), Error> {
        let context = self.engine.context();
        let empty = Data::new();
        let mut copy = Copy::of(&empty);
        copy.apply(&mut change, &context.policy.limits)?;
        let data = match copy.into_changed() {
            None if grant.is_none() => return Ok(()),
            data => data.unwrap_or_default(),
        };
        {
            let state = self.state();
            if state.responded {
                return Err(Error::ResponseSent);
            }
            if state.withheld {
                return Err(Error::CookieWithheld);
            }
        }
        if !context.may_begin() {
            return Err(Error::TooManyNewSessions);
        }
        let mut record = context.policy.first_record(data)?;
        if let Some(grant) = &grant {
            grant.apply(&mut record.header);
            record.header.idle_deadline = context.policy.idle_deadline(&record.header);
        }
        let first = context.ids.generate()?;
        let mut told = Some(context.events.open(first.key()));
        let reserve = self.reserve_place(first.key(), None, grant.as_deref(), deadline, handle);
        let reserved = reserve.await?;
        let has_place = reserved.is_some();
        let created = commit::create(context, record, first, has_place, deadline).await;
        if let (Err(failure), Some(reserved)) = (&created, &reserved)
            && !matches!(failure, Failure::Unknown)
        {
            self.leave_place(reserved, handle).await;
        }
        let (id, loaded) = created?;
        context.client.meter.commit(1);
        context.cache.offer(&id.key(), &loaded);
        note(&mut told, &loaded.record, EventKind::Began);
        self.confirm(&id, None, &loaded.record, reserved, handle).await?;
        note_proof(&mut told, &loaded.record, grant.as_deref());
        let kept_for = self.kept_for(&loaded.record);
        let mut state = self.state();
        state.committed = true;
        state.pending = PendingCookie::Id { id: id.clone(), kept_for };
        state.standing = Standing::Live(id);
        state.snapshot = Some(loaded.record);
        Ok(())
    }

    /// Ends the sessions of these ids, which the browser brought.
    pub(super) async fn end_each(
        &self,
        ids: &[SessionId],
        why: EndReason,
        deadline: Instant,
    ) -> Result<(), Failure> {
        let mut failed = None;
        for id in ids {
            let cause = Cause::new(why, EndedBy::Itself, None);
            let ended = commit::destroy(self.engine.context(), &id.key(), cause, deadline).await;
            // The others end all the same.
            failed = failed.or(ended.err());
        }
        failed.map_or(Ok(()), Err)
    }

    pub(super) async fn destroy(&self, why: EndReason, handle: &DetachHandle) -> Result<(), Error> {
        let deadline = self.policy().deadline();
        let _turn = self.turn(deadline, Some(handle)).await?;
        if self.left_out {
            return Err(Error::TooManyCookies);
        }
        let ids: Vec<SessionId> = {
            let state = self.state();
            let own = match &state.standing {
                // A session that another request has moved ends where it went.
                Standing::Presented(id) | Standing::Live(id) | Standing::Interrupted(id) => {
                    slice::from_ref(id)
                }
                Standing::Several(ids) => ids,
                Standing::None => &[],
            };
            own.iter().chain(&state.others).cloned().collect()
        };
        if let Err(failure) = self.end_each(&ids, why, deadline).await {
            // It may have ended all the same, which a later read must find out.
            self.state().snapshot = None;
            return Err(failure.into());
        }
        let mut state = self.state();
        let State { standing, others, pending, edits, reads, snapshot, .. } = &mut *state;
        *standing = Standing::None;
        others.clear();
        *pending = match self.presented {
            true => PendingCookie::Ended { by_logout: false },
            false => PendingCookie::Nothing,
        };
        edits.clear();
        *reads = Reads::default();
        *snapshot = None;
        Ok(())
    }
}

/// Notes what happened to the session that a record is of.
fn note(told: &mut Option<Opening<'_>>, record: &Record, kind: EventKind) {
    if let Some(told) = told {
        told.note(record.header.user.as_ref().map(|user| &*user.name), kind);
    }
}

/// Notes what the session's user has proved.
fn note_proof(told: &mut Option<Opening<'_>>, record: &Record, grant: Option<&Grant>) {
    let kind = match grant.map(|grant| (grant.proof, &grant.user)) {
        Some((Proof::Login, user)) => EventKind::LoggedIn(user.clone()),
        Some((Proof::Reauthentication, _)) => EventKind::Reauthenticated,
        Some((Proof::None, _)) | None => return,
    };
    note(told, record, kind);
}
