//! The commit protocol as steps from state to state: `crates/ingle/src/commit.rs`, without time.
//!
//! Each function here is named after the one that it stands for. What depends on time in the
//! library may happen at any time here: a call times out, a deadline passes, a request arrives.

#![expect(
    clippy::indexing_slicing,
    reason = "clients, keys and places are the model's own numbers, and one that is wrong must end it"
)]

use stateright::{Model, Property};

use super::{
    properties,
    state::{
        Answer, Attempt, Change, Client, How, KEYS, Look, Op, Outcome, Phase, RING, Record,
        SENDS_MAX, Sent, State, Task, Why, Write,
    },
};

/// What the two clients are to do, what may go wrong, and which error is planted.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    pub(crate) tasks: [Vec<Task>; 2],
    /// How many requests may arrive twice, and how many may be turned away.
    pub(crate) doubles: u8,
    pub(crate) refusals: u8,
    /// Whether all goes well between the second client and the store.
    pub(crate) steady: bool,
    /// Whether the store may go back in time, once.
    pub(crate) goes_back: bool,
    /// What must be reachable here, or the model shows less than it says.
    pub(crate) reached: &'static [&'static str],
    pub(crate) error: Option<PlantedError>,
}

/// An error in the protocol or in the store that the properties must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PlantedError {
    /// The store writes whatever the version is.
    NoVersionCheck,
    /// The store compares the counter and not the op of the last commit.
    CounterAlone,
    /// The store writes a record where there is none.
    Upsert,
    /// Nobody looks for the op.
    NoRing,
    /// What moved on beyond the ring counts as known.
    NoBoundOfTheRing,
    /// A write that is sent again gets a new op.
    NewOp,
    /// A record that is gone counts as proof that the write was not made.
    GoneIsProof,
    /// Silence until the deadline counts as proof.
    SilenceIsProof,
    /// What became of a renew is looked for under the old key alone.
    LooksBehindAlone,
}

/// One thing that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Begins(usize),
    /// The store reads the record for a client that loads.
    Reads(usize),
    /// A client gets what the store has read.
    GetsRecord(usize),
    /// A load fails, with all its retries.
    LoadFails(usize),
    /// The request at this place arrives.
    Arrives(usize),
    /// It arrives, and will arrive again.
    ArrivesTwice(usize),
    /// It is turned away with proof that nothing was done.
    IsTurnedAway(usize),
    /// A client gets this one of the answers to its write.
    GetsAnswer(usize, usize),
    /// A client waits no longer for an answer.
    TimesOut(usize),
    GoesOn(usize),
    GivesUp(usize),
    /// The store is what it was this many commits ago.
    GoesBack(usize),
}

impl Setup {
    fn has(&self, error: PlantedError) -> bool {
        self.error == Some(error)
    }

    fn task(&self, state: &State, client: usize) -> Option<Task> {
        let known = state.client(client);
        known.key.and_then(|_| self.tasks[client].get(known.outcomes.len()).copied())
    }

    /// The change that a client makes with its next task.
    pub(crate) fn change(client: usize, task: usize) -> Change {
        Change((client * 8 + task) as u8)
    }

    /// What came of which change, of all tasks that are done.
    pub(crate) fn outcomes(state: &State) -> impl Iterator<Item = (Change, Outcome)> {
        state.clients.iter().enumerate().flat_map(|(client, known)| {
            let outcomes = known.outcomes.iter().enumerate();
            outcomes.map(move |(task, outcome)| (Self::change(client, task), *outcome))
        })
    }

    pub(crate) fn is_destroy(&self, change: Change) -> bool {
        let (client, task) = (usize::from(change.0 / 8), usize::from(change.0 % 8));
        self.tasks[client].get(task) == Some(&Task::Destroy)
    }
}

impl Model for Setup {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let client = Client { key: Some(0), hint: None, phase: Phase::Idle, outcomes: Vec::new() };
        let mut records = [const { None }; KEYS];
        records[0] = Some(Record::first());
        vec![State {
            records,
            net: Vec::new(),
            clients: [client.clone(), client],
            doubles: self.doubles,
            refusals: self.refusals,
            past: self.goes_back.then(|| vec![Record::first()]),
            made: Default::default(),
            excused: Default::default(),
            dead: [false; KEYS],
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for client in 0..state.clients.len() {
            self.steps_of(state, client, steps);
        }
        for (place, sent) in state.net.iter().enumerate() {
            if place > 0 && state.net[place - 1] == *sent {
                continue;
            }
            steps.push(Step::Arrives(place));
            if state.doubles > 0 {
                steps.push(Step::ArrivesTwice(place));
            }
            if state.refusals > 0 && sent.awaited {
                steps.push(Step::IsTurnedAway(place));
            }
        }
        let past = state.past.iter().flatten().enumerate();
        steps.extend(past.map(|(place, _)| Step::GoesBack(place)));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        match step {
            Step::Begins(client) => self.run(&mut state, client),
            Step::Reads(client) => read(&mut state, client),
            Step::GetsRecord(client) => self.gets_record(&mut state, client),
            Step::LoadFails(client) => load_fails(&mut state, client),
            Step::Arrives(place) => {
                let sent = state.net.remove(place);
                self.arrives(&mut state, sent);
            }
            Step::ArrivesTwice(place) => {
                let sent = state.net[place].clone();
                state.doubles -= 1;
                self.arrives(&mut state, sent);
            }
            Step::IsTurnedAway(place) => {
                let sent = state.net.remove(place);
                state.refusals -= 1;
                answer(&mut state, sent.client, Answer::NotDone);
            }
            Step::GetsAnswer(client, which) => self.gets_answer(&mut state, client, which),
            Step::TimesOut(client) => self.times_out(&mut state, client),
            Step::GoesOn(client) => self.goes_on(&mut state, client),
            Step::GivesUp(client) => self.gives_up(&mut state, client),
            Step::GoesBack(place) => goes_back(&mut state, place),
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::of(self)
    }
}

impl Setup {
    fn steps_of(&self, state: &State, client: usize, steps: &mut Vec<Step>) {
        let fails = client == 0 || !self.steady;
        match &state.client(client).phase {
            Phase::Idle => {
                if self.task(state, client).is_some() {
                    steps.push(Step::Begins(client));
                }
            }
            Phase::Loads(None) | Phase::Looks { answer: None, .. } => {
                steps.push(Step::Reads(client));
                steps.extend(fails.then_some(Step::LoadFails(client)));
            }
            Phase::Loads(Some(_)) | Phase::Looks { answer: Some(_), .. } => {
                steps.push(Step::GetsRecord(client));
            }
            Phase::Waits { answers, .. } | Phase::Destroys { answers, .. } => {
                steps.extend((0..answers.len()).map(|which| Step::GetsAnswer(client, which)));
                steps.extend(fails.then_some(Step::TimesOut(client)));
            }
            Phase::Moved { .. } => {
                steps.push(Step::GoesOn(client));
                steps.extend(fails.then_some(Step::GivesUp(client)));
            }
            Phase::Unmoved { attempt: Attempt { sends, .. }, .. }
            | Phase::DestroyFailed { sends, .. } => {
                steps.push(Step::GivesUp(client));
                if *sends < SENDS_MAX {
                    steps.push(Step::GoesOn(client));
                }
            }
        }
    }

    /// `commit::run` and `commit::destroy`, up to the first call of the store.
    fn run(&self, state: &mut State, client: usize) {
        let change = Self::change(client, state.client(client).outcomes.len());
        match (self.task(state, client), state.client(client).hint.clone()) {
            (Some(Task::Destroy), _) => self.send_destroy(state, client, change, false, 0),
            (_, Some(hint)) => self.send_first(state, client, hint, Op(change, 0)),
            (_, None) => state.clients[client].phase = Phase::Loads(None),
        }
    }

    /// The first sending of `commit::attempt`.
    fn send_first(&self, state: &mut State, client: usize, base: Record, op: Op) {
        let record = base.after(op);
        self.send(state, client, Attempt { base, record, op, in_doubt: false, sends: 0 });
    }

    fn send(&self, state: &mut State, client: usize, mut attempt: Attempt) {
        if attempt.sends > 0 && self.has(PlantedError::NewOp) {
            attempt.op.1 += 1;
            attempt.record = attempt.base.after(attempt.op);
        }
        attempt.sends += 1;
        let (from, to) = self.keys(state, client);
        let (base, record) = (attempt.base.clone(), attempt.record.clone());
        put_on_the_way(state, client, Write::Put { from, to, base, record });
        state.clients[client].phase = Phase::Waits { attempt, answers: Vec::new() };
    }

    fn send_destroy(
        &self,
        state: &mut State,
        client: usize,
        change: Change,
        in_doubt: bool,
        sends: u8,
    ) {
        let (key, _) = self.keys(state, client);
        put_on_the_way(state, client, Write::Destroy { key, change });
        state.clients[client].phase =
            Phase::Destroys { change, in_doubt, sends: sends + 1, answers: Vec::new() };
    }

    /// The key that a client's task begins from, and the one that it ends at.
    fn keys(&self, state: &State, client: usize) -> (usize, usize) {
        let from = state.client(client).key.unwrap_or_default();
        let renews = self.task(state, client) == Some(Task::Renew);
        (from, if renews { 1 + client } else { from })
    }

    /// What the store does with a write.
    fn arrives(&self, state: &mut State, sent: Sent) {
        let said = match sent.write {
            Write::Put { from, to, base, record } => self.put(state, from, to, &base, record),
            Write::Destroy { key, change } => {
                if state.records[key].take().is_some() {
                    state.made.add(change);
                }
                Answer::Made
            }
        };
        if sent.awaited {
            answer(state, sent.client, said);
        }
    }

    fn put(
        &self,
        state: &mut State,
        from: usize,
        to: usize,
        base: &Record,
        record: Record,
    ) -> Answer {
        match &state.records[from] {
            None if !self.has(PlantedError::Upsert) => return Answer::Gone,
            Some(now) if !self.is_base(now, base) => return Answer::Conflict(Some(now.clone())),
            _ => {}
        }
        state.records[from] = None;
        if let Some(change) = record.data.last() {
            state.made.add(*change);
        }
        if let Some(past) = &mut state.past {
            past.push(record.clone());
        }
        state.records[to] = Some(record);
        Answer::Made
    }

    /// Whether the condition of a write on `base` holds.
    fn is_base(&self, now: &Record, base: &Record) -> bool {
        if self.has(PlantedError::NoVersionCheck) {
            return true;
        }
        let same_op = self.has(PlantedError::CounterAlone) || now.ring.last() == base.ring.last();
        now.counter == base.counter && same_op
    }

    fn gets_record(&self, state: &mut State, client: usize) {
        match std::mem::replace(&mut state.clients[client].phase, Phase::Idle) {
            Phase::Loads(Some(Some(record))) => {
                let change = Self::change(client, state.client(client).outcomes.len());
                self.send_first(state, client, record, Op(change, 0));
            }
            Phase::Loads(_) => gone(state, client, Outcome::Refused),
            Phase::Looks { attempt, look, told, answer } => {
                self.look(state, client, attempt, look, told, answer.flatten());
            }
            other => state.clients[client].phase = other,
        }
    }

    /// `commit::attempt`, from an answer on.
    fn gets_answer(&self, state: &mut State, client: usize, which: usize) {
        await_no_more(state, client);
        match std::mem::replace(&mut state.clients[client].phase, Phase::Idle) {
            Phase::Waits { attempt, mut answers } => match answers.swap_remove(which) {
                Answer::Made => {
                    let doubted = attempt.in_doubt;
                    let how = if doubted { How::AnsweredAfterDoubt } else { How::Answered };
                    self.made(state, client, attempt.record, how);
                }
                Answer::Gone if !attempt.in_doubt => gone(state, client, Outcome::Refused),
                Answer::Gone => self.find_out(state, client, attempt, None),
                Answer::Conflict(told) => self.find_out(state, client, attempt, told),
                Answer::NotDone if attempt.in_doubt => self.find_out(state, client, attempt, None),
                Answer::NotDone => {
                    state.clients[client].phase = Phase::Unmoved { attempt, refused: true };
                }
            },
            Phase::Destroys { change, in_doubt, sends, mut answers } => {
                match answers.swap_remove(which) {
                    Answer::NotDone => {
                        state.clients[client].phase =
                            Phase::DestroyFailed { change, in_doubt, sends };
                    }
                    _ => {
                        let (key, _) = self.keys(state, client);
                        state.dead[key] = true;
                        gone(state, client, Outcome::Made(How::Answered));
                    }
                }
            }
            other => state.clients[client].phase = other,
        }
    }

    fn times_out(&self, state: &mut State, client: usize) {
        await_no_more(state, client);
        match std::mem::replace(&mut state.clients[client].phase, Phase::Idle) {
            Phase::Waits { mut attempt, .. } => {
                attempt.in_doubt = true;
                self.find_out(state, client, attempt, None);
            }
            Phase::Destroys { change, sends, .. } => {
                state.clients[client].phase =
                    Phase::DestroyFailed { change, in_doubt: true, sends };
            }
            other => state.clients[client].phase = other,
        }
    }

    /// The beginning of `commit::look`.
    fn find_out(&self, state: &mut State, client: usize, attempt: Attempt, told: Option<Record>) {
        let (from, to) = self.keys(state, client);
        let ahead = attempt.in_doubt && from != to && !self.has(PlantedError::LooksBehindAlone);
        match told {
            Some(_) if !ahead => self.look(state, client, attempt, Look::Behind, None, told),
            told => {
                let look = if ahead { Look::Ahead } else { Look::Behind };
                state.clients[client].phase = Phase::Looks { attempt, look, told, answer: None };
            }
        }
    }

    /// The rest of `commit::look`, and of `commit::attempt` after it.
    fn look(
        &self,
        state: &mut State,
        client: usize,
        attempt: Attempt,
        look: Look,
        told: Option<Record>,
        found: Option<Record>,
    ) {
        let (from, to) = self.keys(state, client);
        let has_op =
            |record: &Record| record.ring.contains(&attempt.op) && !self.has(PlantedError::NoRing);
        let again = |attempt, look| Phase::Looks { attempt, look, told: None, answer: None };
        match (look, found) {
            (_, Some(record)) if has_op(&record) => {
                self.made(state, client, record, How::FoundInTheRing);
            }
            (Look::Ahead, _) => match told {
                Some(_) => self.look(state, client, attempt, Look::Behind, None, told),
                None => state.clients[client].phase = again(attempt, Look::Behind),
            },
            (Look::Behind, None)
                if attempt.in_doubt && from != to && !self.has(PlantedError::LooksBehindAlone) =>
            {
                state.clients[client].phase = again(attempt, Look::AheadAgain);
            }
            (Look::Behind, None) | (Look::AheadAgain, _) => {
                let proof = !attempt.in_doubt || self.has(PlantedError::GoneIsProof);
                let outcome = if proof { Outcome::Refused } else { Outcome::Unknown(Why::Gone) };
                gone(state, client, outcome);
            }
            (Look::Behind, Some(now)) => self.compare(state, client, attempt, &now),
        }
    }

    /// What a record without the op tells of a write.
    fn compare(&self, state: &mut State, client: usize, attempt: Attempt, now: &Record) {
        let before = &attempt.base;
        let moved = Phase::Moved { newer: now.clone(), op: attempt.op };
        if now.counter < before.counter {
            if attempt.in_doubt {
                ends(state, client, Outcome::Unknown(Why::WentBack));
            } else {
                state.clients[client].phase = moved;
            }
        } else if now.counter == before.counter {
            state.clients[client].phase = Phase::Unmoved { attempt, refused: false };
        } else {
            let remembered = usize::from(now.counter - before.counter) <= RING
                || self.has(PlantedError::NoBoundOfTheRing);
            if attempt.in_doubt && !remembered {
                ends(state, client, Outcome::Unknown(Why::BeyondTheRing));
            } else {
                state.clients[client].phase = moved;
            }
        }
    }

    fn goes_on(&self, state: &mut State, client: usize) {
        match std::mem::replace(&mut state.clients[client].phase, Phase::Idle) {
            Phase::Unmoved { attempt, .. } => self.send(state, client, attempt),
            Phase::Moved { newer, op } => self.send_first(state, client, newer, op),
            Phase::DestroyFailed { change, in_doubt, sends } => {
                self.send_destroy(state, client, change, in_doubt, sends);
            }
            other => state.clients[client].phase = other,
        }
    }

    fn gives_up(&self, state: &mut State, client: usize) {
        let in_doubt = match &state.client(client).phase {
            Phase::Unmoved { attempt, .. } => attempt.in_doubt,
            Phase::DestroyFailed { in_doubt, .. } => *in_doubt,
            _ => false,
        };
        let unknown = in_doubt && !self.has(PlantedError::SilenceIsProof);
        let outcome = if unknown { Outcome::Unknown(Why::Deadline) } else { Outcome::Refused };
        ends(state, client, outcome);
    }

    fn made(&self, state: &mut State, client: usize, record: Record, how: How) {
        let (from, to) = self.keys(state, client);
        state.dead[from] |= from != to;
        let known = &mut state.clients[client];
        known.key = Some(to);
        known.hint = Some(record);
        known.phase = Phase::Idle;
        known.outcomes.push(Outcome::Made(how));
    }
}

fn put_on_the_way(state: &mut State, client: usize, write: Write) {
    let sent = Sent { client, awaited: true, write };
    let place = state.net.partition_point(|other| *other < sent);
    state.net.insert(place, sent);
}

/// What is still on its way for a client is on its way for nobody.
fn await_no_more(state: &mut State, client: usize) {
    state.net.iter_mut().filter(|sent| sent.client == client).for_each(|sent| sent.awaited = false);
    state.net.sort();
}

fn answer(state: &mut State, client: usize, said: Answer) {
    if let Phase::Waits { answers, .. } | Phase::Destroys { answers, .. } =
        &mut state.clients[client].phase
    {
        answers.push(said);
        answers.sort();
        answers.dedup();
    }
}

fn read(state: &mut State, client: usize) {
    let State { records, clients, .. } = state;
    let Client { key, phase, .. } = &mut clients[client];
    let key = key.unwrap_or_default();
    match phase {
        Phase::Loads(answer) => *answer = Some(records[key].clone()),
        Phase::Looks { look, answer, .. } => {
            let key = if *look == Look::Behind { key } else { 1 + client };
            *answer = Some(records[key].clone());
        }
        _ => {}
    }
}

fn load_fails(state: &mut State, client: usize) {
    let in_doubt = match &state.client(client).phase {
        Phase::Looks { attempt, .. } => attempt.in_doubt,
        _ => false,
    };
    let outcome = if in_doubt { Outcome::Unknown(Why::Deadline) } else { Outcome::Refused };
    ends(state, client, outcome);
}

/// A task ends without a commit, and what the client believed of the record may be wrong.
fn ends(state: &mut State, client: usize, outcome: Outcome) {
    let known = &mut state.clients[client];
    known.hint = None;
    known.phase = Phase::Idle;
    known.outcomes.push(outcome);
}

/// The same, and there is no session for the client any more.
fn gone(state: &mut State, client: usize, outcome: Outcome) {
    ends(state, client, outcome);
    state.clients[client].key = None;
}

/// A server that knows less takes over. What was on its way to the other one ends with it: a write
/// that lands after all, where its condition holds once more, no protocol could tell from a new one.
fn goes_back(state: &mut State, place: usize) {
    let Some(mut past) = state.past.take() else { return };
    state.net.clear();
    let record = past.swap_remove(place);
    let lost: Vec<Change> = state.live().flat_map(|now| now.data.clone()).collect();
    lost.into_iter().filter(|change| record.times(*change) == 0).for_each(|change| {
        state.excused.add(change);
    });
    state.records[0] = Some(record);
}
