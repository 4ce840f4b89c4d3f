//! The end of a request's part of its session: what is still to be stored, and what the response must
//! say.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::{
    error::Error,
    state::{PendingCookie, Shared, Standing},
    work::Id,
};
use crate::{detach::DetachHandle, engine::policy::OnServerError};

/// How a handler answered, as far as its session is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandlerOutcome {
    /// With a response that is no server error: its edits are committed.
    Success,
    /// With a status of 500 or more: [`OnServerError`](crate::OnServerError) says whether its edits
    /// are discarded.
    ServerError,
}

/// What a response must say of the session.
pub(crate) struct Outcome {
    /// The session was looked at, so the response depends on the cookie.
    pub(crate) looked: bool,
    pub(crate) cookie: PendingCookie,
    /// What could not be done, which the response must say instead of the handler's.
    pub(crate) error: Option<Error>,
}

impl Shared {
    /// See [`Session::close_at_once`](super::Session::close_at_once).
    pub(super) fn close_at_once(&self) -> Option<Outcome> {
        let Ok(_turn) = self.turn.try_lock() else { return None };
        let done = !self.looked.load(Ordering::Relaxed)
            || self.state().is_done() && !self.has_outdated_id() && !self.cookie_is_due();
        done.then(|| self.tell(None))
    }

    /// See [`Session::close`](super::Session::close).
    pub(super) async fn close(&self, handler: HandlerOutcome, handle: DetachHandle) -> Outcome {
        let deadline = self.policy().deadline();
        // Held to the end: another task may be at work on an id that the browser must learn.
        let turn = self.turn(deadline, Some(&handle)).await;
        let error = self.finish(handler, deadline, turn.as_ref().err(), &handle).await.err();
        self.tell(error)
    }

    /// Commits what is recorded, or touches. Does neither if the turn did not come, for this
    /// reason.
    async fn finish(
        &self,
        handler: HandlerOutcome,
        deadline: Instant,
        no_turn: Option<&Error>,
        handle: &DetachHandle,
    ) -> Result<(), Error> {
        let discard = handler == HandlerOutcome::ServerError
            && self.policy().on_server_error == OnServerError::Discard;
        let edits = {
            let mut state = self.state();
            if discard {
                state.edits.clear();
            }
            !state.edits.is_empty()
        };
        match no_turn {
            Some(error) if edits => Err(error.clone()),
            Some(_) => Ok(()),
            None => {
                if edits {
                    self.transact_in_turn(|_| Ok(()), Id::Keep, deadline, handle).await?;
                }
                if self.has_outdated_id() {
                    self.replace_outdated_id(deadline, handle).await;
                } else if !self.send_cookie_again(deadline).await {
                    self.touch(deadline).await;
                }
                Ok(())
            }
        }
    }

    /// Whether this request saw a session whose id is of a kind that the layer makes no longer.
    pub(super) fn has_outdated_id(&self) -> bool {
        matches!(&self.state().standing, Standing::Live(id) if id.is_outdated())
    }

    /// Moves the session to a new id, at the very end. A handler that was cut off earlier would
    /// have kept the new id from the browser.
    ///
    /// A failure ends no request: the session keeps its id as long as it would have.
    async fn replace_outdated_id(&self, deadline: Instant, handle: &DetachHandle) {
        let moved = self.transact_in_turn(|_| Ok(()), Id::Renew, deadline, handle).await;
        if let Err(error) = moved {
            tracing::warn!(%error, "a session did not move to a safe id");
        }
    }

    /// Returns what the response must say. From now on it is too late to say more.
    fn tell(&self, error: Option<Error>) -> Outcome {
        let mut state = self.state();
        state.responded = true;
        if error.is_some() {
            // The commit refused them, and the response says so.
            state.edits.clear();
        }
        let cookie = std::mem::replace(&mut state.pending, PendingCookie::Nothing);
        Outcome { looked: self.looked.load(Ordering::Relaxed), cookie, error }
    }
}
