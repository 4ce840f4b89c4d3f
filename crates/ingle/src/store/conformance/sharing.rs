//! Law 11: no matter who shares a record, and how many they are, an increment that was acknowledged
//! is there exactly once.

use std::{
    env,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    owned::OwnedWrite,
    place::PLACE_OF_PARENT,
    trial::{Outcome, Trial, next, race},
};
use crate::{id::Key, store::Shared};

/// How many processes share the record, and how often each increments.
const PROCESSES: usize = 2;
const TIMES: usize = 100;

/// After this long a process that has not ended is taken for stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where the processes find their record: in a place of its own any key will do.
const KEY: Key = Key::from_bytes([11; 32]);

/// Tasks that increment one record through two handles leave the exact sum.
pub async fn law_11_tasks_lose_no_increment(trial: Trial) {
    const TASKS: usize = 8;
    const TIMES: usize = 25;
    let key = trial.create(trial.record()).await.record.header.key;
    race((0..TASKS).map(|_| {
        let trial = trial.clone();
        async move {
            for _ in 0..TIMES {
                increment(&trial, &key, "sum").await;
            }
        }
    }))
    .await;
    let found = count(&trial, &key, "sum").await;
    let expected = (TASKS * TIMES) as u64;
    assert_eq!(found, expected, "law 11: {TASKS} tasks incremented {TIMES} times each");
}

/// Processes that increment one record leave the exact sum. Where a store promises no more than
/// [`Shared::Process`], two tasks of this process do the same work.
///
/// The processes are this very test, started again.
pub async fn law_11_two_processes_or_else_tasks_lose_no_increment(trial: Trial) {
    if trial.place.is_of_parent() {
        return take_part(trial).await;
    }
    trial.create(trial.record_under(KEY)).await;
    match trial.capabilities().shared {
        Shared::Process => _ = race((0..PROCESSES).map(|_| take_part(trial.clone()))).await,
        Shared::Processes => Processes::start(&trial).end().await,
    }
    let came = count(&trial, &KEY, "came").await;
    assert_eq!(came, PROCESSES as u64, "law 11: each must have run the test `{}`", name(&trial));
    let found = count(&trial, &KEY, "sum").await;
    let expected = (PROCESSES * TIMES) as u64;
    assert_eq!(found, expected, "law 11: {PROCESSES} processes incremented {TIMES} times each");
}

/// What each process does: it waits until all have come, so that they meet, and increments.
async fn take_part(trial: Trial) {
    increment(&trial, &KEY, "came").await;
    let all_came = async {
        while count(&trial, &KEY, "came").await < PROCESSES as u64 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE / 2, all_came).await.expect("law 11: the others never came to be seen");
    for _ in 0..TIMES {
        increment(&trial, &KEY, "sum").await;
    }
}

/// Adds 1 to a field, as often as it takes: the loop that every change of a session is.
pub(super) async fn increment(trial: &Trial, key: &Key, field: &str) {
    loop {
        let base = trial.peek(key, trial.now).await;
        let base = base.expect("law 1: the record that is incremented must be found");
        let mut data = base.record.data.clone();
        let sum = data.get(field).and_then(Value::as_u64).unwrap_or(0);
        data.insert(field.to_owned(), json!(sum + 1));
        let replace = OwnedWrite::replace(&base, next(&base, Value::Object(data)));
        match trial.commit(&replace, trial.now).await {
            Outcome::Done(_) => return,
            Outcome::Conflict => {}
            Outcome::Gone => panic!("law 5: a record that nobody ended was reported gone"),
        }
    }
}

/// What is in a field that was incremented.
pub(super) async fn count(trial: &Trial, key: &Key, field: &str) -> u64 {
    let found = trial.peek(key, trial.now).await;
    let found = found.expect("law 1: the record that is incremented must be found");
    found.record.data.get(field).and_then(Value::as_u64).unwrap_or(0)
}

/// The name of this trial's test, as the test program knows it: its path without the crate.
fn name(trial: &Trial) -> &'static str {
    trial.test.split_once("::").map_or(trial.test, |(_, name)| name)
}

/// Processes that were started, and that end with this value at the latest.
struct Processes(Vec<Child>);

impl Processes {
    fn start(trial: &Trial) -> Self {
        let program = env::current_exe().expect("law 11: this program must find itself");
        // Filled one by one, so that a process is ended when the next one cannot be started.
        let mut processes = Self(Vec::new());
        for _ in 0..PROCESSES {
            let process = Command::new(&program)
                .args([name(trial), "--exact", "--nocapture"])
                .env(PLACE_OF_PARENT, trial.place.name())
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn();
            processes.0.push(process.expect("law 11: this program must start itself again"));
        }
        processes
    }

    async fn end(mut self) {
        for process in &mut self.0 {
            let ended = timeout(PATIENCE, ended(process)).await;
            let status = ended.expect("law 11: a process did not end");
            assert!(
                status.success(),
                "law 11: a process failed with {status}; see its words above"
            );
        }
    }
}

async fn ended(process: &mut Child) -> ExitStatus {
    loop {
        let status = process.try_wait().expect("law 11: a process can be waited for");
        match status {
            Some(status) => return status,
            None => sleep(Duration::from_millis(10)).await,
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for process in &mut self.0 {
            // Of one that has ended both fail or do nothing.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}
