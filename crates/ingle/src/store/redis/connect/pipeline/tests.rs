//! Streams that are narrow, silent or say what nobody asked, as no server is for long.

use redis::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinSet,
};

use super::*;
use crate::detach;

/// A connection, the server's end of it, and its task.
fn connected(width: usize) -> (Arc<Pipeline>, DuplexStream, JoinSet<()>) {
    let (ours, theirs) = duplex(width);
    let (pipeline, driver) = over(Box::new(ours));
    let mut task = JoinSet::new();
    task.spawn(driver.run(|| ()));
    (pipeline, theirs, task)
}

fn set(text: &str) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg("name").arg(text);
    command
}

/// Reads as many commands, and answers each with its place.
async fn serve(mut server: DuplexStream, commands: Vec<Cmd>) -> DuplexStream {
    for (place, command) in commands.iter().enumerate() {
        let expected = command.get_packed_command();
        let mut found = vec![0; expected.len()];
        server.read_exact(&mut found).await.unwrap();
        assert_eq!(found, expected, "command {place}");
        server.write_all(format!(":{place}\r\n").as_bytes()).await.unwrap();
    }
    server
}

#[tokio::test]
async fn each_call_has_its_answer_on_a_stream_that_takes_little_at_a_time() {
    let texts = ["x", &"y".repeat(100), &"z".repeat(BUFFER)];
    let commands: Vec<_> = texts.iter().cycle().take(5 * BATCH.end() + 3).map(|t| set(t)).collect();
    for width in [9, 1000, 1 << 20] {
        let (pipeline, server, _task) = connected(width);
        let mut serving = JoinSet::new();
        serving.spawn(serve(server, commands.clone()));
        let answers: Vec<_> = commands.iter().map(|command| pipeline.call(command)).collect();
        for (place, answer) in (0..).zip(answers) {
            assert_eq!(answer.await.unwrap(), Value::Int(place), "{width}");
        }
        serving.join_next().await.unwrap().unwrap();
    }
}

/// The more calls have no answer yet, the more go together, up to the most.
#[tokio::test]
async fn a_batch_that_is_complete_is_written_before_anybody_else_runs() {
    let (pipeline, mut server, _task) = connected(1 << 20);
    let (fewest, most) = (*BATCH.start(), *BATCH.end());
    let mut answers = Vec::new();
    for expected in [fewest, fewest, most, most] {
        for count in 1..=expected {
            answers.push(pipeline.call(&set("x")));
            let is_complete = count == expected;
            assert_ne!(pipeline.state().has_unwritten(), is_complete, "{count} of {expected}");
        }
    }
    server.write_all(":1\r\n".repeat(answers.len()).as_bytes()).await.unwrap();
    for answer in answers {
        assert_eq!(answer.await.unwrap(), Value::Int(1));
    }
    assert_eq!(pipeline.state().unanswered_calls, 0);
}

#[tokio::test]
async fn what_was_called_is_done_before_a_connection_that_is_left_ends() {
    let (pipeline, server, mut driver) = connected(64);
    let commands = vec![set("x"); 2];
    // Of one nobody reads the answer.
    drop(pipeline.call(&commands[0]));
    let answer = pipeline.call(&commands[1]);
    pipeline.leave();
    let mut server = serve(server, commands).await;
    assert_eq!(answer.await.unwrap(), Value::Int(1));
    driver.join_next().await.unwrap().unwrap();
    drop(pipeline);
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0, "the stream is closed");
}

#[tokio::test]
async fn a_connection_that_ends_tells_all_who_wait_and_is_closed() {
    let (pipeline, mut server, mut driver) = connected(64);
    let sent = pipeline.call(&set("x"));
    server.read_u8().await.unwrap();
    let waits = pipeline.call(&set("x"));
    driver.abort_all();
    for answer in [sent, waits] {
        assert!(matches!(answer.await, Err(Failure::Lost(_))));
    }
    assert!(matches!(pipeline.call(&set("x")).await, Err(Failure::NotSent(_))));
    while server.read(&mut [0; 64]).await.unwrap() > 0 {}
}

/// As a server does that has too many clients, or is in protected mode.
#[tokio::test]
async fn a_refusal_that_comes_before_any_call_is_told_to_each() {
    let (pipeline, mut server, mut driver) = connected(64);
    server.write_all(b"-ERR max number of clients reached\r\n").await.unwrap();
    driver.join_next().await.unwrap().unwrap();
    let Err(Failure::Refused(refusal)) = pipeline.call(&set("x")).await else { unreachable!() };
    assert_eq!(refusal.details(), Some("max number of clients reached"));
}

#[tokio::test]
async fn what_nobody_asked_for_ends_a_connection() {
    for said in ["+OK\r\n", "HTTP/1.1 400 Bad Request\r\n"] {
        let (pipeline, mut server, mut driver) = connected(64);
        server.write_all(said.as_bytes()).await.unwrap();
        driver.join_next().await.unwrap().unwrap();
        assert!(matches!(pipeline.call(&set("x")).await, Err(Failure::NotSent(_))), "{said}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_a_call_may_take() {
    let (pipeline, server, mut driver) = connected(1 << 20);
    let begin = Instant::now();
    tokio::time::sleep(CALL_TIME_MAX * 3 / 2).await;
    let late = pipeline.call(&set("x"));
    detach::spawn(async move { drop(late.await) });
    driver.join_next().await.unwrap().unwrap();
    // To the millisecond, as timers are.
    assert_eq!(begin.elapsed().as_secs(), (CALL_TIME_MAX * 5 / 2).as_secs());
    drop(server);
}

#[tokio::test(start_paused = true)]
async fn an_answer_ends_a_silence_whoever_waits_for_it() {
    let (pipeline, mut server, _task) = connected(1 << 20);
    let (second, moment) = (Duration::from_secs(1), Duration::from_millis(1));
    assert_eq!(pipeline.silence(), Duration::ZERO, "nobody waits");
    drop(pipeline.call(&set("x")));
    let other = pipeline.call(&set("x"));
    tokio::time::sleep(second).await;
    assert!(pipeline.silence() >= second);
    server.write_all(b":1\r\n").await.unwrap();
    tokio::time::sleep(moment).await;
    assert!(pipeline.silence() < second, "one was answered, though it was given up");
    tokio::time::sleep(second).await;
    assert!(pipeline.silence() >= second, "the other one was not");
    server.write_all(b":2\r\n").await.unwrap();
    assert_eq!(other.await.unwrap(), Value::Int(2));
    tokio::time::sleep(second).await;
    assert_eq!(pipeline.silence(), Duration::ZERO, "nobody waits any more");
}

#[tokio::test]
async fn beyond_so_many_calls_nothing_is_sent() {
    let (pipeline, _server, _task) = connected(64);
    let waiting: Vec<_> = (0..CALLS_WAITING).map(|_| pipeline.call(&set("x"))).collect();
    let Err(Failure::NotSent(_)) = pipeline.call(&set("x")).await else { unreachable!() };
    drop(waiting);
}

/// A server that is always a little behind, so that there is never nothing to write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_not_kept_while_more_comes() {
    let (pipeline, mut server, _task) = connected(1 << 20);
    let command = set(&"y".repeat(100_000));
    let bytes = command.get_packed_command().len();
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let (pipeline, command) = (Arc::clone(&pipeline), command.clone());
        callers.spawn(async move {
            for _ in 0..10 {
                pipeline.call(&command).await.unwrap();
            }
        });
    }
    let (mut buffer, mut most) = (vec![0; bytes], 0);
    for _ in 0..64 * 10 {
        server.read_exact(&mut buffer).await.unwrap();
        server.write_all(b":1\r\n").await.unwrap();
        most = most.max(pipeline.state().bytes.len());
    }
    while callers.join_next().await.is_some() {}
    assert!(most <= 3 * 64 * bytes, "{most}");
}
