//! What is checked: who does what, what may go wrong, and which error is planted.

use stateright::{Model, Property};

use super::{
    properties,
    state::{
        Account, Actor, Call, FIRST, Phase, Place, PlaceState, Record, Session, Set, State, Task,
        Update, key_of,
    },
};

/// How many sessions the user may have at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) max: usize,
    /// Whether the oldest ends where there is no place, or a login is refused.
    pub(crate) ends_oldest: bool,
}

/// One setup. In the beginning the user has one session, with a ticket in it.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) tasks: Vec<Task>,
    pub(crate) limit: Option<Limit>,
    /// How many calls may fail.
    pub(crate) faults: u8,
    /// What must be reachable here, or the model shows less than it says.
    pub(crate) reached: &'static [&'static str],
    pub(crate) error: Option<PlantedError>,
}

/// An error in the protocol or in the store that the properties must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlantedError {
    /// A login does not look again at the generation when its session is stored.
    GenerationReadOnce,
    /// A login reads the generation anew, though it has a ticket.
    TicketNotBelieved,
    /// A renew does not look at the generation.
    RenewUnchecked,
    /// The store puts a session into the index after it has stored it.
    IndexAfterSession,
    /// All sessions are ended before the generation moves.
    EndsBeforeGeneration,
    /// An end of all reads one page of the list.
    ListsOnePage,
    /// An end of all goes through the list once, whatever it finds.
    ListsOnce,
    /// A session that is not admitted is not ended.
    LeavesItsSession,
    /// A session counts as held whatever became of its place.
    PlaceUnchecked,
    /// A login counts the sessions that are there, and reserves no place.
    LimitByCounting,
    /// A login stores its session before those have ended whose place it takes.
    EndsOldestAfter,
    /// The ticket is read, and then removed in a commit of its own.
    TicketInTwoCommits,
    /// Silence until the deadline counts as proof that nothing was done.
    SilenceIsProof,
    /// A login waits for a place that was reserved, though whoever reserved it has gone.
    ReservedForEver,
}

/// What becomes of a call that goes through to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Through,
    /// It is done, and its answer is lost.
    LosesAnswer,
    /// It is not done, and nobody is told.
    LosesRequest,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// An actor's next call is made.
    Goes(usize, Way),
    /// It fails with proof that nothing was done, and with all its retries.
    Fails(usize),
    /// The deadline passes while the actor is in doubt, or waits.
    GivesUp(usize),
    /// The actor's process ends.
    Dies(usize),
}

impl Setup {
    pub(crate) fn has(&self, error: PlantedError) -> bool {
        self.error == Some(error)
    }

    #[expect(clippy::indexing_slicing, reason = "each actor has a task")]
    pub(crate) fn task(&self, actor: usize) -> Task {
        self.tasks[actor]
    }

    fn actor(&self, number: usize, task: Task) -> Actor {
        let phase = match task {
            Task::Login | Task::LoginWithTicket => Phase::ReadsGeneration,
            Task::Renew | Task::Redeem => Phase::Loads,
            Task::EndAll if self.has(PlantedError::EndsBeforeGeneration) => Phase::first_pass(),
            Task::EndAll => Phase::Updates(Update::Advance, Call::Load),
        };
        Actor {
            phase,
            key: key_of(number),
            generation: 0,
            proved: 0,
            has_place: false,
            ended: Vec::new(),
        }
    }
}

impl Model for Setup {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let place = Place { key: FIRST, moves_to: Vec::new(), state: PlaceState::Held };
        let places = self.limit.map(|_| place).into_iter().collect();
        let actors = self.tasks.iter().enumerate();
        let mut state = State {
            account: Account { places, ..Account::default() },
            sessions: vec![Session::Missing; key_of(self.tasks.len())],
            index: Set::default(),
            actors: actors.map(|(number, task)| self.actor(number, *task)).collect(),
            faults: self.faults,
            displaced: Set::default(),
            takers: Set::default(),
        };
        let first = Record { generation: 0, proved: 0, ticket: true, ops: Set::default() };
        state.store(FIRST, first);
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (number, actor) in state.actors.iter().enumerate() {
            if actor.outcome().is_some() {
                continue;
            }
            steps.push(Step::Goes(number, Way::Through));
            if actor.phase.may_give_up() {
                steps.push(Step::GivesUp(number));
            }
            if state.faults > 0 {
                steps.extend([Step::Fails(number), Step::Dies(number)]);
                if actor.phase.writes() {
                    let lost = [Way::LosesAnswer, Way::LosesRequest];
                    steps.extend(lost.map(|way| Step::Goes(number, way)));
                }
            }
        }
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        let is_fault = !matches!(step, Step::Goes(_, Way::Through) | Step::GivesUp(_));
        state.faults -= u8::from(is_fault);
        self.step(&mut state, step);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}
