//! The protocol as steps from state to state: what the library does in `session/{login,users,ticket}.rs`
//! and `engine/{users,places,commit}.rs`, without time.
//!
//! Each step is one call of the store. Where the model of the commit protocol has shown what a commit
//! comes to, it is shorter here: a look for the op is one step, and the op is always found.

use super::{
    account::Arrival,
    setup::{PlantedError, Setup, Step, Way},
    state::{
        Account, Call, FIRST, Key, Outcome, Pass, Phase, Place, PlaceState, Record, Said, Session,
        Set, State, Task, Update, Why, key_of, owner_of,
    },
};

/// What the store does with a write of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Made,
    Conflict,
    Gone,
}

impl Phase {
    pub(crate) fn first_pass() -> Self {
        Self::Lists(Pass { is_first: true, found: false, after: Key::MAX })
    }

    pub(crate) fn writes(&self) -> bool {
        matches!(
            self,
            Self::Updates(_, Call::Write { .. }) | Self::Writes { .. } | Self::Destroys { .. }
        )
    }

    fn is_in_doubt(&self) -> bool {
        match self {
            Self::Updates(_, Call::Look { .. }) | Self::Looks { .. } => true,
            Self::Updates(_, Call::Write { in_doubt, .. })
            | Self::Writes { in_doubt, .. }
            | Self::Destroys { in_doubt, .. } => *in_doubt,
            _ => false,
        }
    }

    pub(crate) fn may_give_up(&self) -> bool {
        self.is_in_doubt() || matches!(self, Self::WaitsForPlaces)
    }
}

impl Setup {
    pub(crate) fn step(&self, state: &mut State, step: Step) {
        let (Step::Goes(actor, _) | Step::Fails(actor) | Step::GivesUp(actor) | Step::Dies(actor)) =
            step;
        let dead = Phase::Done(Outcome::Unknown);
        let phase = std::mem::replace(&mut state.actor_mut(actor).phase, dead.clone());
        let next = match step {
            Step::Goes(_, way) => self.goes(state, actor, phase, way),
            Step::Fails(_) | Step::GivesUp(_) => self.fails(state, actor, &phase),
            Step::Dies(_) => dead,
        };
        let known = state.actor_mut(actor);
        known.phase = next;
        if known.outcome().is_some() {
            // Nobody asks for it any more, and equal states are to be equal.
            (known.key, known.generation, known.proved) = (FIRST, 0, 0);
            known.has_place = false;
            known.ended.clear();
        }
    }

    fn goes(&self, state: &mut State, actor: usize, phase: Phase, way: Way) -> Phase {
        match phase {
            Phase::ReadsGeneration => {
                let generation = state.account.generation;
                let known = state.actor_mut(actor);
                (known.generation, known.proved) = (generation, generation);
                match self.task(actor) {
                    Task::LoginWithTicket if self.has(PlantedError::TicketNotBelieved) => {
                        Phase::ReadsAgain
                    }
                    _ => self.asks_for_place(),
                }
            }
            Phase::ReadsAgain => {
                state.actor_mut(actor).generation = state.account.generation;
                self.asks_for_place()
            }
            Phase::Counts => match self.limit {
                Some(limit) if state.live().count() >= limit.max => Phase::Done(Outcome::TooMany),
                _ => Phase::first_write(),
            },
            Phase::Updates(update, call) => self.update(state, actor, update, call, way),
            Phase::LooksAtPlaces { left, oldest, gone, unknown } => {
                self.look_at_place(state, left, oldest, gone, unknown)
            }
            Phase::WaitsForPlaces => Phase::reserve(Vec::new(), None),
            Phase::Loads => self.load(state, actor),
            Phase::Writes { base, in_doubt } => self.write(state, actor, base, in_doubt, way),
            Phase::Looks { base } => self.look(state, actor, base),
            Phase::Indexes => {
                let key = state.actor(actor).key;
                state.index.add(key);
                self.confirm(state, actor)
            }
            Phase::Confirms => {
                let known = state.actor(actor);
                if state.account.generation <= known.generation {
                    Phase::Done(Outcome::Has(known.key, known.generation))
                } else {
                    self.not_admitted(known.key, Outcome::Interrupted)
                }
            }
            Phase::Destroys { key, has_followed, why, .. } => {
                self.destroy(state, actor, key, has_followed, why, way)
            }
            Phase::Lists(pass) => self.list(state, actor, pass),
            Phase::Done(_) => phase,
        }
    }

    /// A call fails, or the deadline passes.
    fn fails(&self, state: &mut State, actor: usize, phase: &Phase) -> Phase {
        let unknown = phase.is_in_doubt() && !self.has(PlantedError::SilenceIsProof);
        let outcome = if unknown { Outcome::Unknown } else { Outcome::Refused };
        let known = state.actor(actor);
        match phase {
            Phase::Updates(Update::Hold, _) | Phase::Confirms => {
                self.not_admitted(known.key, Outcome::Unknown)
            }
            Phase::Updates(Update::Leave(outcome), _)
            | Phase::Destroys { why: Why::NotAdmitted(outcome), .. } => Phase::Done(*outcome),
            // Some may have ended.
            Phase::Lists(_) | Phase::Destroys { why: Why::Listed(_), .. } => {
                Phase::Done(Outcome::Unknown)
            }
            Phase::Loads | Phase::Writes { .. } if known.has_place && !unknown => {
                Phase::leave(outcome)
            }
            // The session is stored.
            Phase::Indexes => self.confirm(state, actor),
            _ => Phase::Done(outcome),
        }
    }

    /// A login knows the generation.
    fn asks_for_place(&self) -> Phase {
        match self.limit {
            None => Phase::first_write(),
            Some(_) if self.has(PlantedError::LimitByCounting) => Phase::Counts,
            Some(_) => Phase::reserve(Vec::new(), None),
        }
    }

    /// `users::update`.
    fn update(
        &self,
        state: &mut State,
        actor: usize,
        update: Update,
        call: Call,
        way: Way,
    ) -> Phase {
        match call {
            Call::Load => {
                let mut account = state.account.clone();
                let said = self.change(state, actor, &update, &mut account);
                if account == state.account {
                    return self.said(state, actor, &update, said);
                }
                Phase::Updates(update, Call::Write { is_newest: true, in_doubt: false })
            }
            Call::Write { is_newest, in_doubt } => {
                let is_made = way != Way::LosesRequest && is_newest;
                let said = is_made.then(|| self.commit_update(state, actor, &update));
                match (way, said) {
                    (Way::Through, Some(said)) => self.said(state, actor, &update, said),
                    (Way::Through, None) if !in_doubt => Phase::Updates(update, Call::Load),
                    (_, said) => Phase::Updates(update, Call::Look { is_newest, said }),
                }
            }
            Call::Look { said: Some(said), .. } => self.said(state, actor, &update, said),
            Call::Look { is_newest: true, said: None } => {
                Phase::Updates(update, Call::Write { is_newest: true, in_doubt: true })
            }
            Call::Look { .. } => Phase::Updates(update, Call::Load),
        }
    }

    fn change(&self, state: &State, actor: usize, update: &Update, account: &mut Account) -> Said {
        let known = state.actor(actor);
        match (update, self.limit) {
            (Update::Reserve { gone, oldest }, Some(limit)) => {
                let from = (self.task(actor) == Task::Renew).then_some(FIRST);
                let arrival = Arrival { key: known.key, from };
                account.reserve(arrival, limit, gone, oldest.as_ref())
            }
            (Update::Reserve { .. }, None) => Said::Reserved(Vec::new()),
            (Update::Hold, _) => {
                let is_admitted = account.generation <= known.generation;
                let holds = is_admitted && account.hold_place(known.key, &known.ended);
                Said::IsHeld(holds || is_admitted && self.has(PlantedError::PlaceUnchecked))
            }
            (Update::Leave(_), _) => {
                account.leave_place(known.key);
                Said::IsLeft
            }
            (Update::Advance, _) => Said::Advanced(account.advance()),
        }
    }

    fn commit_update(&self, state: &mut State, actor: usize, update: &Update) -> Said {
        let mut account = state.account.clone();
        let said = self.change(state, actor, update, &mut account);
        let before = std::mem::replace(&mut state.account, account);
        for place in before.places.iter().filter(|place| place.state == PlaceState::Held) {
            let ends = |now: &Place| now.key == place.key && now.state == PlaceState::Ending;
            if state.account.places.iter().any(ends) {
                state.displaced.add(place.key);
            }
        }
        for other in &mut state.actors {
            if let Phase::Updates(_, Call::Write { is_newest, .. } | Call::Look { is_newest, .. }) =
                &mut other.phase
            {
                *is_newest = false;
            }
        }
        said
    }

    /// What follows when an update is done.
    fn said(&self, state: &mut State, actor: usize, update: &Update, said: Said) -> Phase {
        let known = state.actor_mut(actor);
        match said {
            Said::Reserved(ending) => {
                known.has_place = true;
                known.ended = ending.iter().map(|place| place.key).collect();
                let keys = ending.iter().flat_map(Place::keys).collect();
                if self.has(PlantedError::EndsOldestAfter) {
                    return Phase::first_write();
                }
                self.make_room(actor, keys)
            }
            Said::Full(mut taken) => {
                let is_held = |place: &&Place| place.state == PlaceState::Held;
                let oldest = taken.iter().find(is_held).cloned();
                taken.retain(|place| !self.is_under_way(state, place));
                self.look_further(taken, oldest, Vec::new(), None)
            }
            Said::IsHeld(true) => Phase::Done(Outcome::Has(known.key, known.generation)),
            Said::IsHeld(false) => self.not_admitted(known.key, Outcome::Interrupted),
            Said::IsLeft => match update {
                Update::Leave(outcome) => Phase::Done(*outcome),
                _ => Phase::Done(Outcome::Refused),
            },
            Said::Advanced(generation) if self.has(PlantedError::EndsBeforeGeneration) => {
                Phase::Done(Outcome::EndedAll(generation))
            }
            Said::Advanced(generation) => {
                known.generation = generation;
                Phase::first_pass()
            }
        }
    }

    /// `places::fate` of one place.
    fn look_at_place(
        &self,
        state: &State,
        mut left: Vec<Place>,
        oldest: Option<Place>,
        mut gone: Vec<Place>,
        mut unknown: Option<Place>,
    ) -> Phase {
        if let Some(place) = left.pop() {
            match fate(state, &place) {
                Fate::Taken => {}
                Fate::Unknown => unknown = Some(place),
                Fate::Ended => gone.push(place),
            }
        }
        self.look_further(left, oldest, gone, unknown)
    }

    /// The rest of `places::reserve`, where all places are taken.
    fn look_further(
        &self,
        left: Vec<Place>,
        oldest: Option<Place>,
        gone: Vec<Place>,
        unknown: Option<Place>,
    ) -> Phase {
        if !left.is_empty() {
            return Phase::LooksAtPlaces { left, oldest, gone, unknown };
        }
        if !gone.is_empty() {
            return Phase::reserve(gone, None);
        }
        let ends_oldest = self.limit.is_none_or(|limit| limit.ends_oldest);
        match unknown.or(oldest.filter(|_| ends_oldest)) {
            None if ends_oldest => Phase::WaitsForPlaces,
            None => Phase::Done(Outcome::TooMany),
            ends => Phase::reserve(Vec::new(), ends),
        }
    }

    /// A place stays reserved for longer than a login has time, so one that is under way has its place.
    fn is_under_way(&self, state: &State, place: &Place) -> bool {
        let has_gone =
            owner_of(place.key).is_none_or(|owner| state.actor(owner).outcome().is_some());
        let is_free = has_gone && !self.has(PlantedError::ReservedForEver);
        place.state == PlaceState::Reserved && !is_free
    }

    /// Ends the sessions whose place is taken, one after the other, and goes on then.
    fn make_room(&self, actor: usize, mut keys: Vec<Key>) -> Phase {
        match keys.pop() {
            Some(key) => Phase::destroy(key, Why::OverLimit(keys)),
            None if self.task(actor) == Task::Renew => Phase::Loads,
            None => Phase::first_write(),
        }
    }

    /// A renew or a redeem loads the session.
    fn load(&self, state: &mut State, actor: usize) -> Phase {
        let (session, known) = (state.session(FIRST), state.actor_mut(actor));
        let Session::Live(record) = session else {
            let has_place = known.has_place;
            return if has_place {
                Phase::leave(Outcome::Interrupted)
            } else {
                Phase::Done(Outcome::Interrupted)
            };
        };
        let write = Phase::Writes { base: record.ops, in_doubt: false };
        match self.task(actor) {
            Task::Redeem if !record.ticket => Phase::Done(Outcome::NoTicket),
            Task::Redeem => write,
            _ => {
                known.generation = record.generation;
                let needs_place = self.limit.is_some() && !known.has_place;
                if needs_place { Phase::reserve(Vec::new(), None) } else { write }
            }
        }
    }

    fn write(&self, state: &mut State, actor: usize, base: Set, in_doubt: bool, way: Way) -> Phase {
        let written = match way {
            Way::LosesRequest => None,
            Way::Through | Way::LosesAnswer => Some(self.commit(state, actor, base)),
        };
        match written {
            Some(Written::Made) if way == Way::Through => self.made(state, actor),
            Some(written) if way == Way::Through && !in_doubt => match written {
                Written::Conflict => Phase::Loads,
                _ if state.actor(actor).has_place => Phase::leave(Outcome::Interrupted),
                _ => Phase::Done(Outcome::Interrupted),
            },
            _ => Phase::Looks { base },
        }
    }

    /// What the store does with the write of a session.
    fn commit(&self, state: &mut State, actor: usize, base: Set) -> Written {
        let task = self.task(actor);
        let known = state.actor(actor);
        let (key, mut record) = match (task, state.session(FIRST)) {
            (Task::Login | Task::LoginWithTicket, _) => {
                let (generation, proved) = (known.generation, known.proved);
                (known.key, Record { generation, proved, ticket: false, ops: Set::default() })
            }
            (_, Session::Live(record)) => {
                let two = task == Task::Redeem && self.has(PlantedError::TicketInTwoCommits);
                if record.ops != base && !two {
                    return Written::Conflict;
                }
                (if task == Task::Redeem { FIRST } else { known.key }, record)
            }
            _ => return Written::Gone,
        };
        record.ops.add(actor);
        match task {
            Task::Redeem => {
                if record.ticket {
                    state.takers.add(actor);
                }
                record.ticket = false;
                state.set(key, Session::Live(record));
                return Written::Made;
            }
            Task::Renew => state.set(FIRST, Session::Moved(key)),
            _ => {}
        }
        if self.has(PlantedError::IndexAfterSession) {
            state.set(key, Session::Live(record));
        } else {
            state.store(key, record);
        }
        Written::Made
    }

    /// What became of a write.
    fn look(&self, state: &mut State, actor: usize, base: Set) -> Phase {
        let task = self.task(actor);
        let known = state.actor_mut(actor);
        let (key, has_place) = (known.key, known.has_place);
        let of = if task == Task::Redeem { FIRST } else { key };
        if state.session(of).live().is_some_and(|record| record.ops.has(actor)) {
            // A session that is found was stored; that it is in the index, nobody has found.
            return match task {
                Task::Redeem => Phase::Done(Outcome::Redeemed),
                _ => self.confirm(state, actor),
            };
        }
        if task.is_login() {
            if has_place || key != key_of(actor) {
                return Phase::Done(Outcome::Unknown);
            }
            // Each attempt has a key of its own.
            state.actor_mut(actor).key += 1;
            return Phase::first_write();
        }
        match state.session(FIRST) {
            Session::Live(record) if record.ops == base => Phase::Writes { base, in_doubt: true },
            Session::Live(_) => Phase::Loads,
            _ => Phase::Done(Outcome::Unknown),
        }
    }

    fn made(&self, state: &mut State, actor: usize) -> Phase {
        match self.task(actor) {
            Task::Redeem => Phase::Done(Outcome::Redeemed),
            _ if self.has(PlantedError::IndexAfterSession) => Phase::Indexes,
            _ => self.confirm(state, actor),
        }
    }

    /// `Shared::confirm`.
    fn confirm(&self, state: &State, actor: usize) -> Phase {
        let (task, known) = (self.task(actor), state.actor(actor));
        let is_unchecked = match task {
            Task::Renew => self.has(PlantedError::RenewUnchecked),
            _ => self.has(PlantedError::GenerationReadOnce),
        };
        if is_unchecked || self.has(PlantedError::LimitByCounting) {
            return Phase::Done(Outcome::Has(known.key, known.generation));
        }
        if known.has_place { Phase::Updates(Update::Hold, Call::Load) } else { Phase::Confirms }
    }

    fn not_admitted(&self, key: Key, outcome: Outcome) -> Phase {
        if self.has(PlantedError::LeavesItsSession) {
            return Phase::Done(outcome);
        }
        Phase::destroy(key, Why::NotAdmitted(outcome))
    }

    /// `commit::destroy`.
    fn destroy(
        &self,
        state: &mut State,
        actor: usize,
        key: Key,
        has_followed: bool,
        why: Why,
        way: Way,
    ) -> Phase {
        let found = state.session(key);
        if found.live().is_some() && way != Way::LosesRequest {
            state.set(key, Session::Ended);
        }
        if way != Way::Through {
            return Phase::Destroys { key, in_doubt: true, has_followed, why };
        }
        if let Session::Moved(key) = found {
            return Phase::Destroys { key, in_doubt: false, has_followed: true, why };
        }
        match why {
            Why::OverLimit(keys) => self.make_room(actor, keys),
            Why::NotAdmitted(outcome) if state.actor(actor).has_place => Phase::leave(outcome),
            Why::NotAdmitted(outcome) => Phase::Done(outcome),
            Why::Listed(pass) => Phase::Lists(pass),
        }
    }

    /// One page of the list, which has one session.
    fn list(&self, state: &State, actor: usize, pass: Pass) -> Phase {
        let one_page = self.has(PlantedError::ListsOnePage) && pass.after != Key::MAX;
        let is_next = |key: Key| key < pass.after && state.index.has(key) && !one_page;
        let listed = state.live().filter(|(key, _)| is_next(*key)).last();
        let known = state.actor(actor);
        let Some((key, record)) = listed else {
            if self.has(PlantedError::EndsBeforeGeneration) {
                return Phase::Updates(Update::Advance, Call::Load);
            }
            let again = pass.found && !one_page && !self.has(PlantedError::ListsOnce);
            return match again {
                true => Phase::Lists(Pass { is_first: false, found: false, after: Key::MAX }),
                false => Phase::Done(Outcome::EndedAll(known.generation)),
            };
        };
        let is_older =
            record.generation < known.generation || self.has(PlantedError::EndsBeforeGeneration);
        let pass = Pass { after: key, found: pass.found || is_older, ..pass };
        if is_older { Phase::destroy(key, Why::Listed(pass)) } else { Phase::Lists(pass) }
    }
}

fn fate(state: &State, place: &Place) -> Fate {
    for from in place.keys() {
        let mut key = from;
        while let Session::Moved(to) = state.session(key) {
            key = to;
        }
        if state.session(key).live().is_some() {
            let is_unknown = place.state == PlaceState::Reserved || from != place.key;
            return if is_unknown { Fate::Unknown } else { Fate::Taken };
        }
    }
    Fate::Ended
}

/// What became of the session of a place.
enum Fate {
    Taken,
    /// It lives, and no browser knows its id.
    Unknown,
    Ended,
}

impl Phase {
    fn first_write() -> Self {
        Self::Writes { base: Set::default(), in_doubt: false }
    }

    fn reserve(gone: Vec<Place>, oldest: Option<Place>) -> Self {
        Self::Updates(Update::Reserve { gone, oldest }, Call::Load)
    }

    fn leave(outcome: Outcome) -> Self {
        Self::Updates(Update::Leave(outcome), Call::Load)
    }

    fn destroy(key: Key, why: Why) -> Self {
        Self::Destroys { key, in_doubt: false, has_followed: false, why }
    }
}
