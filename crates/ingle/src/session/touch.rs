//! What counts as use of a session: it moves the idle deadline, and in time the browser gets a cookie
//! again that it would forget.
//!
//! Both need a record that this request saw alive. Neither fails a request.

use std::time::Duration;

use tokio::time::Instant;

use super::state::{PendingCookie, Shared, Standing};
use crate::{
    clock::Timestamp,
    engine::policy::LONGEST_USE,
    id::SessionId,
    record::{Header, Record},
    store::CommitError,
};

impl Shared {
    /// Moves the idle deadline, if this request read a live record and the move is worth a write.
    ///
    /// A failure ends no request: the session lives on as long as it would have.
    pub(super) async fn touch(&self, deadline: Instant) {
        let client = &self.engine.context().client;
        let (id, idle_deadline) = {
            let state = self.state();
            let (Standing::Live(id), Some(record)) = (&state.standing, &state.snapshot) else {
                return;
            };
            // After the response there are commits and reads for hours.
            if state.skips_touch || state.committed && !state.responded {
                return;
            }
            match self.policy().touch(&record.header) {
                Some(idle_deadline) => (id.clone(), idle_deadline),
                None => return client.meter.touch_skipped(),
            }
        };
        drop(self.touch_until(&id, idle_deadline, deadline).await);
    }

    /// Moves the idle deadline where the response has left: no end of a request does it.
    pub(super) async fn touch_after_response(&self, deadline: Instant) {
        if self.state().responded {
            self.touch(deadline).await;
        }
    }

    async fn touch_until(
        &self,
        id: &SessionId,
        idle_deadline: Timestamp,
        deadline: Instant,
    ) -> Result<(), CommitError> {
        let client = &self.engine.context().client;
        let touched = client.touch(&id.key(), idle_deadline, deadline).await;
        match &touched {
            Ok(()) => client.meter.touch(),
            Err(error) => tracing::debug!(%error, "a session was not touched"),
        }
        touched
    }

    /// Whether the browser is to get the session's cookie again: a tenth of the time that it keeps it
    /// is gone, and this response has to do with the session anyway.
    pub(super) fn cookie_is_due(&self) -> bool {
        self.due_cookie().is_some()
    }

    fn due_cookie(&self) -> Option<(SessionId, Timestamp)> {
        let state = self.state();
        let (Standing::Live(id), Some(record)) = (&state.standing, &state.snapshot) else {
            return None;
        };
        let has_news = !matches!(state.pending, PendingCookie::Nothing);
        if !self.is_kept(record) || has_news || state.skips_touch || state.responded {
            return None;
        }
        let (header, now) = (&record.header, self.policy().now());
        let is_due = is_due(header, state.last_use?, now, LONGEST_USE);
        is_due.then(|| (id.clone(), self.policy().idle_deadline(header)))
    }

    /// Sends the cookie again, if that is due. False if it is not.
    ///
    /// Another request may have renewed the session since this one saw it, and the browser would take
    /// the old id in the place of the new one. So a touch comes first, and fails where that is so.
    pub(super) async fn send_cookie_again(&self, deadline: Instant) -> bool {
        let Some((id, idle_deadline)) = self.due_cookie() else { return false };
        if self.touch_until(&id, idle_deadline, deadline).await.is_ok() {
            let mut state = self.state();
            let kept_for = state.snapshot.as_deref().and_then(|record| self.kept_for(record));
            state.pending = PendingCookie::Id { id, kept_for };
        }
        true
    }

    /// How long the browser is to keep the cookie: as long as the session can live from now on. None
    /// for until it closes.
    pub(super) fn kept_for(&self, record: &Record) -> Option<Duration> {
        let until = record.header.absolute_deadline;
        self.is_kept(record).then(|| until.since(self.policy().now()))
    }

    /// Whether the browser is to keep the cookie when it closes.
    fn is_kept(&self, record: &Record) -> bool {
        let user = record.header.user.as_ref();
        self.keeps_cookie || user.is_some_and(|user| user.is_remembered)
    }
}

/// Whether `now` is the first use of the session in a later tenth of the time that browsers keep its
/// cookie than the last use was. The request of that use sent the cookie in its tenth.
fn is_due(header: &Header, last_use: Timestamp, now: Timestamp, max: Duration) -> bool {
    let age = header.absolute_deadline.since(header.created).min(max);
    let tenth = (age / 10).as_millis().max(1);
    let number = |at: Timestamp| at.since(header.created).as_millis() / tenth;
    if number(now) <= number(last_use) {
        return false;
    }
    // An idle deadline that is at its end moves no more, and so does not tell the last use. Then it is
    // enough that the cookie of the tenth that it tells lasts until the end.
    let sent = number(last_use).saturating_mul(tenth);
    let lasts =
        sent + age.as_millis() >= header.absolute_deadline.since(header.created).as_millis();
    !(lasts && header.idle_deadline >= header.absolute_deadline)
}
