//! A store that answers from a script, for tests of what the engine makes of its answers.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::{
    clock::Timestamp,
    id::Key,
    record::Version,
    store::{
        Applied, CommitError, Cursor, Destroyed, Error, ErrorKind, Info, List, Listener, Lookup,
        Page, Store, Swept, Write,
    },
};

const NAME: &str = "scripted";

/// What it answers, the next first. A call that is not in the script fails the test.
#[derive(Debug, Default)]
pub(super) struct Scripted(Mutex<Script>);

#[derive(Debug, Default)]
struct Script {
    loads: VecDeque<Result<Lookup, Error>>,
    commits: VecDeque<Result<Version, CommitError>>,
    pages: VecDeque<Page>,
    /// How long each listener holds.
    listeners: VecDeque<Duration>,
    /// When each call was made.
    calls: Vec<(Call, Instant)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Load,
    Commit,
    Destroy,
    Sweep,
    List,
    Listen,
}

impl Scripted {
    fn script<R>(&self, work: impl FnOnce(&mut Script) -> R) -> R {
        work(&mut self.0.lock().unwrap())
    }

    pub(super) fn loads(&self, found: Result<Lookup, Error>) -> &Self {
        self.script(|script| script.loads.push_back(found));
        self
    }

    pub(super) fn commits(&self, done: Result<Version, CommitError>) -> &Self {
        self.script(|script| script.commits.push_back(done));
        self
    }

    pub(super) fn lists(&self, page: Page) -> &Self {
        self.script(|script| script.pages.push_back(page));
        self
    }

    /// Lets one listen for so long. Behind the last one, the store tells of no ends.
    pub(super) fn listens(&self, holds: Duration) -> &Self {
        self.script(|script| script.listeners.push_back(holds));
        self
    }

    /// Checks that everything in the script was asked for.
    pub(super) fn is_done(&self) {
        self.script(|Script { loads, commits, pages, listeners, .. }| {
            let left = (loads.len(), commits.len(), pages.len(), listeners.len());
            assert_eq!(left, (0, 0, 0, 0), "loads, commits, pages and listeners are left");
        });
    }

    /// The times between the calls of this kind.
    pub(super) fn pauses(&self, call: Call) -> Vec<Duration> {
        let calls = self.script(|script| script.calls.clone());
        let calls: Vec<_> = calls.iter().filter(|(other, _)| *other == call).collect();
        calls.windows(2).map(|two| two[1].1 - two[0].1).collect()
    }

    fn next<T>(&self, call: Call, answers: impl FnOnce(&mut Script) -> &mut VecDeque<T>) -> T {
        let next = self.script(|script| {
            script.calls.push((call, Instant::now()));
            answers(script).pop_front()
        });
        next.unwrap_or_else(|| panic!("this {call:?} is not in the script"))
    }
}

/// A failure of this kind.
pub(super) fn failed<E: From<Error>>(kind: ErrorKind, applied: Applied) -> E {
    Error::new(NAME, kind, applied).into()
}

#[async_trait]
impl Store for Scripted {
    fn info(&self) -> Info {
        Info::new(NAME, "nothing")
    }

    async fn load(&self, _: &Key, _: Timestamp) -> Result<Lookup, Error> {
        self.next(Call::Load, |script| &mut script.loads)
    }

    async fn commit(&self, _: Write<'_>, _: Timestamp) -> Result<Version, CommitError> {
        self.next(Call::Commit, |script| &mut script.commits)
    }

    async fn touch(&self, _: &Key, _: Timestamp, _: Timestamp) -> Result<(), CommitError> {
        panic!("no touch is in a script")
    }

    async fn destroy(&self, _: &Key, _: Timestamp) -> Result<Destroyed, Error> {
        self.script(|script| script.calls.push((Call::Destroy, Instant::now())));
        Ok(Destroyed::Ended)
    }

    async fn sweep(&self, _: Timestamp, _: usize) -> Result<Swept, Error> {
        self.script(|script| script.calls.push((Call::Sweep, Instant::now())));
        Ok(Swept::default())
    }

    async fn ping(&self) -> Result<(), Error> {
        panic!("no ping is in a script")
    }

    fn as_list(&self) -> Option<&dyn List> {
        Some(self)
    }

    async fn listen(&self) -> Result<Option<Box<dyn Listener>>, Error> {
        let holds = self.script(|script| {
            script.calls.push((Call::Listen, Instant::now()));
            script.listeners.pop_front()
        });
        Ok(holds.map(|holds| Box::new(Breaks(holds)) as Box<dyn Listener>))
    }
}

#[async_trait]
impl List for Scripted {
    async fn list(&self, _: Option<&Cursor>, _: usize, _: Timestamp) -> Result<Page, Error> {
        Ok(self.next(Call::List, |script| &mut script.pages))
    }

    async fn list_by_user(
        &self,
        _: &str,
        after: Option<&Cursor>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Page, Error> {
        self.list(after, limit, now).await
    }
}

/// Hears nothing, and breaks after this time.
struct Breaks(Duration);

#[async_trait]
impl Listener for Breaks {
    async fn next(&mut self) -> Result<Key, Error> {
        sleep(self.0).await;
        Err(failed(ErrorKind::Unavailable, Applied::No))
    }
}
