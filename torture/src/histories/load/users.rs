//! What a worker does that logs in as a user: it looks whose session it has, moves it to new ids, and ends
//! all sessions of the user.
//!
//! Several of them are the same user, and each has one session at a time. A login has a ticket from a
//! request before it, so an end of all can come between the two.

use std::mem;

use super::{Act, Held, Outcome, User, Worker, lock};

/// As how many users the workers log in.
const USERS: u64 = 2;

/// The turns of one worker.
pub(super) struct UserTurns {
    user: User,
    held: Held,
    is_logged_in: bool,
}

impl UserTurns {
    pub(super) fn new(worker: &Worker) -> Self {
        let user = worker.number % USERS;
        Self { user, held: another(user, worker), is_logged_in: false }
    }

    /// The session that is logged in.
    pub(super) fn into_held(self) -> Option<Held> {
        self.is_logged_in.then_some(self.held)
    }

    /// Does one thing. False if it was not answered.
    pub(super) async fn step(&mut self, worker: &mut Worker) -> bool {
        let act = match worker.rng.u8(0..100) {
            _ if self.held.cookie.is_none() => Act::Ticket(self.user),
            _ if !self.is_logged_in => Act::Login(self.user),
            0..6 => Act::EndAll(self.user),
            6..20 => Act::Renew,
            _ => Act::Look(self.user),
        };
        let asked = worker.ask(&self.held, act.clone(), false).await;
        match (act, &asked.outcome) {
            (Act::Ticket(_), Outcome::Done) => self.held.cookie = asked.begun.clone(),
            (Act::Login(_) | Act::Renew, Outcome::Done) => {
                let cookie = asked.begun.clone();
                let moved = Held { id: worker.number_next(), cookie, ..self.held.clone() };
                bury(mem::replace(&mut self.held, moved), worker);
                self.is_logged_in = true;
            }
            (Act::EndAll(_), Outcome::Done)
            | (
                Act::Renew | Act::Look(_) | Act::EndAll(_),
                Outcome::Anonymous | Outcome::Interrupted,
            ) => {
                bury(mem::replace(self, Self::new(worker)).held, worker);
            }
            // Who could not log in takes another ticket, and an id that nobody knows is left alone.
            (Act::Ticket(_) | Act::Login(_), _) | (Act::Renew, Outcome::Unknown) => {
                *self = Self::new(worker);
            }
            _ => {}
        }
        asked.was_served()
    }
}

/// Lets all try an id that is dead. Of some, since each is looked at once more at the end.
fn bury(dead: Held, worker: &mut Worker) {
    if worker.rng.u8(0..4) == 0 {
        lock(&worker.shared.dead).push(dead);
    }
}

/// A session that is to begin.
fn another(user: User, worker: &Worker) -> Held {
    let (session, id) = (worker.number_next(), worker.number_next());
    Held { session, id, cookie: None, user: Some(user) }
}
