use std::{
    iter,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    thread,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot::{self, Receiver, Sender},
    task::{JoinSet, yield_now},
};

use super::*;

/// A runtime that runs when a test says so.
fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().build().unwrap();
    while !is_told_apart(&runtime) {}
    runtime
}

/// Lets a runtime do what there is to do.
fn run(runtime: &Runtime) {
    runtime.block_on(async {
        for _ in 0..3 {
            yield_now().await;
        }
    });
}

/// How many wakes of its tasks came from outside since it ran.
fn wakes(runtime: &Runtime) -> usize {
    runtime.metrics().global_queue_depth()
}

/// Whether a task of a runtime is one whose wakes are gathered.
fn is_told_apart(runtime: &Runtime) -> bool {
    let here = poll_fn(|context| Poll::Ready(Bell::here(context.waker()).is_some()));
    runtime.block_on(runtime.spawn(here)).unwrap()
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Woken {
    fn is(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What wakes somebody who waits on a runtime, and whether they are.
fn bell(runtime: &Runtime) -> (Waker, Arc<Woken>) {
    let woken = Arc::<Woken>::default();
    let task = Waker::from(Arc::clone(&woken));
    let bell = Bell { task, runtime: runtime.handle().clone() };
    (Waker::from(Arc::new(bell)), woken)
}

fn two_bells(runtime: &Runtime) -> (Vec<Waker>, [Arc<Woken>; 2]) {
    let ((one, first), (other, second)) = (bell(runtime), bell(runtime));
    (vec![one, other], [first, second])
}

fn ring(bells: Vec<Waker>) {
    bells.into_iter().for_each(Waker::wake);
}

#[test]
fn who_waits_on_one_thread_is_woken_there() {
    let runtime = runtime();
    let (bells, woken) = two_bells(&runtime);
    together(|| ring(bells));
    assert!(woken.iter().all(|woken| !woken.is()));
    assert_eq!(wakes(&runtime), 1);
    run(&runtime);
    assert!(woken.iter().all(|woken| woken.is()));
}

#[test]
fn who_waits_alone_is_woken_at_once() {
    let (here, there) = (runtime(), runtime());
    let ((one, first), (other, second)) = (bell(&here), bell(&there));
    together(|| ring(vec![one, other]));
    assert!(first.is() && second.is());
}

#[test]
fn who_is_answered_alone_is_woken_at_once() {
    let runtime = runtime();
    let (bells, woken) = two_bells(&runtime);
    ring(bells);
    assert!(woken.iter().all(|woken| woken.is()));
}

#[test]
fn who_is_answered_on_their_own_thread_is_woken_at_once() {
    let runtime = runtime();
    let (bells, woken) = two_bells(&runtime);
    runtime.block_on(async {
        together(|| ring(bells));
        assert!(woken.iter().all(|woken| woken.is()));
    });
}

#[test]
fn no_wake_is_lost_with_a_runtime() {
    let before = runtime();
    let (bells, woken) = two_bells(&before);
    drop(before);
    together(|| ring(bells));
    assert!(woken.iter().all(|woken| woken.is()));

    let after = runtime();
    let (bells, woken) = two_bells(&after);
    together(|| ring(bells));
    drop(after);
    assert!(woken.iter().all(|woken| woken.is()));
}

#[test]
fn who_was_answered_before_a_panic_is_woken() {
    let runtime = runtime();
    let (bells, woken) = two_bells(&runtime);
    let panics = || {
        together(|| {
            ring(bells);
            panic!("of a test");
        })
    };
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    run(&runtime);
    assert!(woken.iter().all(|woken| woken.is()));
    // And nothing is gathered any more.
    let (bell, woken) = bell(&runtime);
    bell.wake();
    assert!(woken.is());
}

#[test]
fn what_answers_within_what_answers_leaves_the_rest_to_it() {
    let runtime = runtime();
    let ((inner, woken), (outer, more)) = (two_bells(&runtime), two_bells(&runtime));
    together(|| {
        ring(outer);
        together(|| ring(inner));
        run(&runtime);
        assert!(woken.iter().all(|woken| woken.is()));
        assert!(more.iter().all(|woken| !woken.is()));
    });
    run(&runtime);
    assert!(more.iter().all(|woken| woken.is()));
}

#[test]
fn only_tasks_of_a_runtime_of_one_thread_are_waited_for() {
    let one = runtime();
    assert!(is_told_apart(&one));
    let many = Builder::new_multi_thread().worker_threads(1).build().unwrap();
    assert!(!is_told_apart(&many));
    let here = || poll_fn(|context| Poll::Ready(Bell::here(context.waker()).is_some()));
    assert!(!one.block_on(here()), "it may block on a future without a task");
    // Whatever else polls a future in a task may block the thread meanwhile.
    let other = poll_fn(|_| Poll::Ready(Bell::here(Waker::noop()).is_some()));
    assert!(!one.block_on(one.spawn(other)).unwrap());
    assert!(Bell::here(Waker::noop()).is_none(), "there is no runtime");
}

fn tell(answers: impl IntoIterator<Item = Sender<u8>>) {
    answers.into_iter().for_each(|answer| _ = answer.send(7));
}

/// So many who wait.
fn channels(count: usize) -> (Vec<Sender<u8>>, Vec<Receiver<u8>>) {
    iter::repeat_with(oneshot::channel).take(count).unzip()
}

type Tasks = JoinSet<Result<u8, oneshot::error::RecvError>>;

/// Tasks of a runtime that wait for answers, and have begun to.
fn wait(runtime: &Runtime, answers: Vec<Receiver<u8>>) -> Tasks {
    let mut tasks = JoinSet::new();
    for answer in answers {
        tasks.spawn_on(gathered(answer), runtime.handle());
    }
    run(runtime);
    tasks
}

/// What all of them were told.
fn told(runtime: &Runtime, tasks: Tasks) -> Vec<u8> {
    runtime.block_on(tasks.join_all()).into_iter().flatten().collect()
}

#[test]
fn a_group_wakes_each_thread_once() {
    let runtimes = [runtime(), runtime()];
    let (answers, tasks): (Vec<_>, Vec<_>) = runtimes
        .iter()
        .map(|runtime| {
            let (answers, waiting) = channels(5);
            (answers, wait(runtime, waiting))
        })
        .unzip();
    together(|| tell(answers.into_iter().flatten()));
    for (runtime, tasks) in runtimes.iter().zip(tasks) {
        assert_eq!(wakes(runtime), 1);
        assert_eq!(told(runtime, tasks), [7; 5]);
    }
}

#[test]
fn who_has_left_takes_no_other_s_wake_along() {
    let runtime = runtime();
    let (answers, waiting) = channels(3);
    let mut tasks = wait(&runtime, waiting);
    tasks.spawn_on(async { Ok(8) }, runtime.handle());
    let (gone, left) = channels(1);
    wait(&runtime, left).abort_all();
    run(&runtime);
    together(|| tell(gone.into_iter().chain(answers)));
    assert_eq!(told(&runtime, tasks), [8, 7, 7, 7]);
}

#[test]
fn who_has_moved_is_woken_where_they_are() {
    let (before, after) = (runtime(), runtime());
    let (answers, mut waiting) = channels(2);
    let mut moves = Some(Box::pin(gathered(waiting.pop().unwrap())));
    let begun = before.spawn(poll_fn(move |context| {
        assert!(moves.as_mut().unwrap().as_mut().poll(context).is_pending());
        Poll::Ready(moves.take().unwrap())
    }));
    let moves = before.block_on(begun).unwrap();
    let mut tasks = wait(&after, waiting);
    tasks.spawn_on(moves, after.handle());
    run(&after);
    together(|| tell(answers));
    assert_eq!([&before, &after].map(wakes), [0, 1]);
    assert_eq!(told(&after, tasks), [7, 7]);
}

#[test]
fn all_answers_reach_those_who_wait_on_threads_that_run() {
    let (begun, begin) = mpsc::channel();
    let serve = |_| {
        let ((answers, waiting), begun) = (channels(5), begun.clone());
        let thread = thread::spawn(move || {
            let runtime = runtime();
            let tasks = wait(&runtime, waiting);
            begun.send(()).unwrap();
            told(&runtime, tasks)
        });
        (answers, thread)
    };
    let (answers, threads): (Vec<_>, Vec<_>) = (0..2).map(serve).unzip();
    assert_eq!(begin.iter().take(2).count(), 2);
    together(|| tell(answers.into_iter().flatten()));
    for thread in threads {
        assert_eq!(thread.join().unwrap(), [7; 5]);
    }
}
