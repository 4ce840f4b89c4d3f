//! Makes requests of one kind ready, and sends some of them: `bench-requests KIND READY SENT`. Without
//! arguments it names the kinds, each with how many requests of it are sent at once.
//!
//! It is run by a profiler that counts instructions (`cargo xtask budget`): of two runs that make the same
//! number ready, the one that sends more has more by just what it takes to send those.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that talks to people")]

use std::{env, hint::black_box, mem, process::ExitCode};

use bench_requests::{Kind, Subject};

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if args.is_empty() {
        Kind::ALL.iter().for_each(|kind| println!("{kind} {}", kind.n_at_once()));
        return ExitCode::SUCCESS;
    }
    let Some((kind, n_ready, n_sent)) = asked(&args) else {
        eprintln!("Usage: bench-requests [KIND READY SENT]");
        return ExitCode::from(2);
    };
    // What a handler draws by chance is the same in each run.
    fastrand::seed(1);
    let mut subject = Subject::new(kind);
    for n in 0..n_ready {
        let ready = black_box(subject.ready());
        if n < n_sent {
            // What is left is not of the request.
            mem::forget(subject.send(ready));
        } else {
            // To drop it is part of sending it.
            mem::forget(ready);
        }
    }
    ExitCode::SUCCESS
}

fn asked(args: &[String]) -> Option<(Kind, usize, usize)> {
    let [kind, n_ready, n_sent] = args else { return None };
    Some((Kind::named(kind)?, n_ready.parse().ok()?, n_sent.parse().ok()?))
}
