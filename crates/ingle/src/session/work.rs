//! What a session does with the store: load, commit, renew, destroy, and its end with the response.
//!
//! Each step takes the request's turn first, then looks where the session stands, and at the end
//! says where it stands now. No lock on the state is held while the store works.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::Ordering};

use tokio::{
    sync::MutexGuard as Turn,
    time::{Instant, timeout_at},
};

use super::{Known, Request, Session, Standing, State, Untold};
use crate::{
    background::Tether,
    batch::Item,
    change::{Change, Copy, Draft, Edit, Reads, Refused},
    combine::{self, Settled},
    commit::{self, Done, Failure},
    config::{Outage, ServerErrors, touch_every},
    data::Data,
    error::Error,
    id::{SessionId, Tag},
    meter,
    planted::{self, Bug},
    record::Record,
    store::{ErrorKind, Write},
};

/// What a commit does with the session's id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {
    Keep,
    Renew,
}

/// What a response must say of the session.
pub(crate) struct Ending {
    /// The session was looked at, so the response depends on the cookie.
    pub(crate) looked: bool,
    /// The id that the browser is to keep, if it is a new one.
    pub(crate) begun: Option<SessionId>,
    /// The browser is to forget its id.
    pub(crate) ended: bool,
    /// The browser is to forget other data, too.
    pub(crate) clear_site_data: bool,
    /// What could not be done, and must be said instead of the handler's response.
    pub(crate) error: Option<Error>,
}

/// What a change came to when it was last run.
struct LastRun<R> {
    /// What it returned, and what this request has read since.
    returned: Option<(R, Reads)>,
    /// Whether it was the change that was refused, and not the edits before it.
    change_refused: bool,
}

/// Nothing of the app runs while it is locked.
fn locked<R>(last: &Mutex<LastRun<R>>) -> MutexGuard<'_, LastRun<R>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// Ends the request's part of the session where nothing is left to do with the store, which is
    /// most often so.
    pub(crate) fn close_at_once(&self) -> Option<Ending> {
        let request = &self.shared;
        let Ok(_turn) = request.turn.try_lock() else { return None };
        let done = !request.looked.load(Ordering::Relaxed)
            || request.state().is_done() && !request.has_plain_id_to_leave();
        done.then(|| request.tell(None))
    }

    /// Ends the request's part of the session: commits what is recorded, or moves the idle deadline
    /// if that is due.
    pub(crate) async fn close(self, status: http::StatusCode, tether: Tether) -> Ending {
        let request = &self.shared;
        let deadline = request.core.deadline();
        // Held until all is told: another task may be at work on an id that the browser must learn.
        let turn = request.turn(deadline, Some(&tether)).await;
        let error = request.finish(status, deadline, turn.as_ref().err(), &tether).await.err();
        request.tell(error)
    }
}

impl Request {
    /// The right to load or commit for this request, which one task has at a time. `tether` is that of
    /// the work which has it from now on.
    async fn turn(
        &self,
        deadline: Instant,
        tether: Option<&Tether>,
    ) -> Result<Turn<'_, ()>, Error> {
        let turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(_) => {
                // Whoever has it may be polled by nobody.
                let underway = {
                    let mut state = self.state();
                    state.turn_is_wanted = true;
                    state.underway.take()
                };
                underway.iter().for_each(Tether::cut);
                let turn = timeout_at(deadline, self.turn.lock()).await;
                turn.map_err(|_| self.core.too_late("other tasks of this request were not done"))?
            }
        };
        if let Some(tether) = tether {
            let mut state = self.state();
            if state.turn_is_wanted {
                drop(state);
                tether.cut();
            } else {
                state.underway = Some(tether.clone());
            }
        }
        Ok(turn)
    }

    /// Commits what is recorded or touches, unless the turn did not come, for this reason.
    async fn finish(
        &self,
        status: http::StatusCode,
        deadline: Instant,
        no_turn: Option<&Error>,
        tether: &Tether,
    ) -> Result<(), Error> {
        let drop_edits =
            status.is_server_error() && self.core.config.server_errors == ServerErrors::DropEdits;
        let edits = {
            let mut state = self.state();
            if drop_edits {
                state.edits.clear();
            }
            !state.edits.is_empty()
        };
        match no_turn {
            Some(error) if edits => Err(error.clone()),
            Some(_) => Ok(()),
            None => {
                if edits {
                    self.transact_in_turn(|_| Ok(()), Id::Keep, deadline, tether).await?;
                }
                if self.has_plain_id_to_leave() {
                    self.leave_plain_id(deadline, tether).await;
                } else {
                    self.touch(deadline).await;
                }
                Ok(())
            }
        }
    }

    /// Whether this request saw a session that still has a plain id, where safe ones are to be had.
    pub(super) fn has_plain_id_to_leave(&self) -> bool {
        match &self.state().standing {
            Standing::Live(known) => known.id.form() != self.core.ids.form(),
            Standing::None | Standing::Presented(_) | Standing::Interrupted => false,
        }
    }

    /// Moves the session to a safe id, at the very end: a handler that was cut off before would have
    /// kept the new id from the browser.
    ///
    /// That it fails ends no request: the session has its id as long as it would have.
    async fn leave_plain_id(&self, deadline: Instant, tether: &Tether) {
        let moved = self.transact_in_turn(|_| Ok(()), Id::Renew, deadline, tether).await;
        if let Err(error) = moved {
            tracing::warn!(%error, "a session did not move to a safe id");
        }
    }

    /// What the response must say, and that from now on it is too late to say more.
    fn tell(&self, error: Option<Error>) -> Ending {
        let mut state = self.state();
        state.responded = true;
        if error.is_some() {
            // They were refused, and the response says so.
            state.edits.clear();
        }
        let (begun, ended) = match std::mem::replace(&mut state.untold, Untold::Nothing) {
            Untold::Nothing => (None, false),
            Untold::Begun(id) => (Some(id), false),
            Untold::Ended => (None, true),
        };
        let looked = self.looked.load(Ordering::Relaxed);
        Ending { looked, begun, ended, clear_site_data: state.clear_site_data, error }
    }

    /// The record as this request sees it, if there is one, and the turn, which the caller keeps
    /// until it has noted what it read.
    pub(super) async fn load(&self) -> Result<(Turn<'_, ()>, Option<Arc<Record>>), Error> {
        let deadline = self.core.deadline();
        let turn = self.turn(deadline, None).await?;
        Ok((turn, self.load_in_turn(deadline).await?))
    }

    /// The first call loads the record; others find it.
    async fn load_in_turn(&self, deadline: Instant) -> Result<Option<Arc<Record>>, Error> {
        let (known, was_live) = {
            let state = self.state();
            match (&state.standing, &state.snapshot) {
                (Standing::Interrupted, _) => return Err(Error::Interrupted),
                (Standing::None, _) => return Ok(None),
                (Standing::Live(_), Some(snapshot)) if !state.responded => {
                    return Ok(Some(Arc::clone(snapshot)));
                }
                (Standing::Live(known), _) => (known.clone(), true),
                (Standing::Presented(known), _) => (known.clone(), false),
            }
        };
        let loaded = match planted::stale(&self.core, &known.key) {
            Some(stale) => Ok(Some(stale)),
            None => self.core.load_patiently(&known.key, deadline).await,
        };
        match loaded {
            Ok(Some(loaded)) => {
                self.core.hints.offer(&known.key, &loaded);
                let record = Arc::clone(&loaded.record);
                let mut state = self.state();
                state.standing = Standing::Live(known);
                state.snapshot = Some(loaded.record);
                Ok(Some(record))
            }
            Ok(None) => {
                self.gone(&known, was_live)?;
                Ok(None)
            }
            Err(Failure::Store(error))
                if self.core.config.outage == Outage::Anonymous
                    && !matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Moved) =>
            {
                tracing::warn!(%error, "a session is served as if there were none");
                Ok(None)
            }
            Err(failure) => Err(failure.into()),
        }
    }

    /// What logs call a session (ASVS 5.0 16.3: its beginning and its end are logged).
    pub(super) fn tag(&self, known: &Known) -> Tag {
        known.id.tag(&self.core.log_key)
    }

    /// The record of this session is not there. Either another request ended it under this one, or
    /// there was none to begin with, and then the visitor is one without a session.
    fn gone(&self, known: &Known, was_live: bool) -> Result<(), Error> {
        let mut state = self.state();
        state.snapshot = None;
        if was_live || self.core.ended_since(&known.key, self.began) {
            meter::interrupted();
            tracing::info!(tag = %self.tag(known), "a session ended under a request");
            state.standing = Standing::Interrupted;
            return Err(Error::Interrupted);
        }
        meter::unknown_id();
        tracing::info!(tag = %self.tag(known), "there is no session under an id that was presented");
        state.standing = Standing::None;
        state.reads = Reads::default();
        Ok(())
    }

    /// Runs one change, with the recorded edits before it, in one commit.
    pub(super) async fn transact<R, F>(
        &self,
        change: F,
        id: Id,
        tether: &Tether,
    ) -> Result<R, Error>
    where
        R: Send + 'static,
        F: FnMut(&mut Draft<'_>) -> Result<R, Refused> + Send + 'static,
    {
        let deadline = self.core.deadline();
        let _turn = self.turn(deadline, Some(tether)).await?;
        self.transact_in_turn(change, id, deadline, tether).await
    }

    async fn transact_in_turn<R, F>(
        &self,
        mut change: F,
        id: Id,
        deadline: Instant,
        tether: &Tether,
    ) -> Result<R, Error>
    where
        R: Send + 'static,
        F: FnMut(&mut Draft<'_>) -> Result<R, Refused> + Send + 'static,
    {
        let last = Arc::new(Mutex::new(LastRun { returned: None, change_refused: false }));
        let (edits, reads) = self.recorded();
        let n_edits = edits.len();
        let run = Arc::clone(&last);
        let whole = move |draft: &mut Draft<'_>| {
            locked(&run).change_refused = false;
            edits.iter().try_for_each(|edit| edit.apply(draft))?;
            let returned = change(draft).inspect_err(|_| locked(&run).change_refused = true)?;
            let mut reads = reads.clone();
            if !reads.is_empty() {
                reads.follow(draft);
            }
            let before = locked(&run).returned.replace((returned, reads));
            drop(before);
            Ok(())
        };
        let applied = self.apply(Box::new(whole), id, deadline, tether).await;
        let LastRun { returned, change_refused } = &mut *locked(&last);
        if let Err(error) = applied {
            // What became of an unknown outcome's last run says nothing of the one that was sent.
            let kept =
                *change_refused && !matches!(error, Error::OutcomeUnknown | Error::Interrupted);
            let n_dropped = if kept { 0 } else { n_edits };
            self.refused(&error, n_dropped);
            return Err(error);
        }
        // The commit is made, so the change ran and was not refused.
        let (returned, reads) = returned.take().ok_or(Error::OutcomeUnknown)?;
        let mut state = self.state();
        state.forget_edits(n_edits);
        state.reads = reads;
        Ok(returned)
    }

    /// Drops the edits of a commit that was refused, so that the handler may begin again from its
    /// reads, and those whose outcome is unknown, since to commit them again could make them twice.
    /// While the store is away, nothing has happened and they stay.
    fn refused(&self, error: &Error, n_edits: usize) {
        let nothing_happened =
            matches!(error, Error::Unavailable(_) | Error::NoRandomness(_) | Error::ResponseSent);
        if !nothing_happened {
            let mut state = self.state();
            state.forget_edits(n_edits);
            state.reads = Reads::default();
            if matches!(error, Error::OutcomeUnknown) {
                // Whoever looks what became of it must see the store's record, not the one before.
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
        id: Id,
        deadline: Instant,
        tether: &Tether,
    ) -> Result<(), Error> {
        let (known, was_live) = {
            let state = self.state();
            match &state.standing {
                Standing::Interrupted => return Err(Error::Interrupted),
                Standing::None => (None, false),
                _ if id == Id::Renew && state.responded => return Err(Error::ResponseSent),
                Standing::Presented(known) => (Some(known.clone()), false),
                Standing::Live(known) => (Some(known.clone()), true),
            }
        };
        let Some(known) = known else { return Box::pin(self.begin(change, deadline)).await };
        let renew = match id {
            Id::Keep => None,
            Id::Renew => Some(self.core.draw_id_to_renew(&known.key)?),
        };
        let item = Item::new(change, renew);
        let Settled { item, result } =
            combine::submit(&self.core, known.key, item, deadline, tether).await;
        match result {
            Ok(done) => {
                if let Err(Refused::LostUpdate { .. }) = item.verdict {
                    meter::lost_update();
                }
                let renewed = item.renew.filter(|_| item.verdict.is_ok());
                self.committed(known, renewed, done);
                Ok(item.verdict?)
            }
            Err(Failure::Gone) => {
                self.gone(&known, was_live)?;
                Box::pin(self.begin(item.change, deadline)).await
            }
            Err(failure) => Err(failure.into()),
        }
    }

    fn committed(&self, known: Known, renewed: Option<SessionId>, done: Done) {
        let Done { loaded, written } = done;
        let mut state = self.state();
        state.committed |= written;
        let known = match renewed {
            None => known,
            Some(id) => {
                let renewed = Known { key: loaded.record.header.key, id };
                if renewed.key == known.key {
                    tracing::info!(tag = %self.tag(&renewed), "a session began");
                } else {
                    let (old, tag) = (self.tag(&known), self.tag(&renewed));
                    tracing::info!(%old, %tag, "a session was renewed");
                    planted::end_late(&self.core, known.key);
                }
                state.untold = Untold::Begun(renewed.id.clone());
                renewed
            }
        };
        state.standing = Standing::Live(known);
        state.snapshot = Some(loaded.record);
    }

    /// Begins a session, if the change leaves anything to store.
    async fn begin(&self, mut change: Change, deadline: Instant) -> Result<(), Error> {
        let empty = Data::new();
        let mut copy = Copy::of(&empty);
        copy.run(&mut change, &self.core.config.limits)?;
        let Some(data) = copy.into_changed() else { return Ok(()) };
        if self.state().responded {
            return Err(Error::ResponseSent);
        }
        let record = self.core.first_record(data)?;
        let (id, loaded) = commit::create(&self.core, record, deadline).await?;
        self.core.guard.meter.commit(1);
        let key = loaded.record.header.key;
        self.core.hints.offer(&key, &loaded);
        let done = Done { loaded, written: true };
        self.committed(Known { id: id.clone(), key }, Some(id), done);
        Ok(())
    }

    pub(super) async fn destroy(&self, tether: &Tether) -> Result<(), Error> {
        let deadline = self.core.deadline();
        let _turn = self.turn(deadline, Some(tether)).await?;
        let known = match &self.state().standing {
            Standing::Presented(known) | Standing::Live(known) => Some(known.clone()),
            Standing::None => None,
            // It may live on under a new id, and then nobody is logged out.
            Standing::Interrupted => return Err(Error::Interrupted),
        };
        if let Some(known) = known {
            if let Err(failure) = commit::destroy(&self.core, &known.key, deadline).await {
                // It may have ended all the same, which a later read must find out.
                self.state().snapshot = None;
                return Err(failure.into());
            }
            self.core.forget(&known.key);
            tracing::info!(tag = %self.tag(&known), "a session was destroyed");
        }
        let mut state = self.state();
        let State { standing, untold, edits, reads, snapshot, .. } = &mut *state;
        *standing = Standing::None;
        *untold = if self.presented { Untold::Ended } else { Untold::Nothing };
        edits.clear();
        *reads = Reads::default();
        *snapshot = None;
        Ok(())
    }

    /// Moves the idle deadline, if this request read a live record and the move is worth a write.
    ///
    /// That it fails ends no request: the session lives on as long as it would have.
    async fn touch(&self, deadline: Instant) {
        let (key, idle_deadline) = {
            let state = self.state();
            let (Standing::Live(known), Some(record)) = (&state.standing, &state.snapshot) else {
                return;
            };
            if state.committed {
                return;
            }
            let header = &record.header;
            let idle = header.idle_timeout.unwrap_or_else(|| self.core.config.lifetime.idle());
            let idle_deadline = self.core.idle_deadline(header);
            if idle_deadline.since(header.idle_deadline) < touch_every(idle) {
                self.core.guard.meter.touch_skipped();
                return;
            }
            (known.key, idle_deadline)
        };
        if Bug::TouchWritesAll.is_planted() {
            let seen = self.state().snapshot.clone();
            return planted::touch_all(&self.core, seen, idle_deadline).await;
        }
        let write = Write::Touch { key: &key, idle_deadline };
        match self.core.guard.commit(write, self.core.clock.now(), deadline).await {
            Ok(_) => self.core.guard.meter.touch(),
            Err(error) => tracing::debug!(%error, "a session was not touched"),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Gone => Self::Interrupted,
            Failure::Store(error) => error.into(),
            Failure::Unknown => Self::OutcomeUnknown,
            Failure::NoRandomness(error) => Self::NoRandomness(error),
        }
    }
}
