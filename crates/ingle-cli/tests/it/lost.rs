//! What is said and done where the store's answer to an act is lost for good.

use std::{
    io::{BufRead as _, BufReader, Lines, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStderr, ChildStdout, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use serde_json::json;

use crate::{
    Ended,
    place::{ADA, Place, key},
    program, run,
};

/// Passes on what a client and a Redis server say, until the client changes the record of this key. That
/// is passed on as well, and no answer after it.
fn loses_answers_to_changes_of(handle: &str, server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (name, is_lost) = (key(handle).to_string(), Arc::new(AtomicBool::new(false)));
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, is_lost, name) = (client.unwrap(), Arc::clone(&is_lost), name.clone());
            let server = TcpStream::connect(server).unwrap();
            let (mut from, mut to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            let answers_are_lost = Arc::clone(&is_lost);
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(n @ 1..) = from.read(&mut bytes) {
                    if !answers_are_lost.load(Ordering::SeqCst) {
                        to.write_all(&bytes[..n]).unwrap();
                    }
                }
            });
            thread::spawn(move || {
                let (mut client, mut server) = (client, server);
                let mut bytes = vec![0; 64 * 1024];
                while let Ok(n @ 1..) = client.read(&mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..n]);
                    let changes =
                        ["EVALSHA", "EVAL", "SET\r\n"].iter().any(|verb| text.contains(verb));
                    if changes && text.contains(&name) {
                        is_lost.store(true, Ordering::SeqCst);
                    }
                    server.write_all(&bytes[..n]).unwrap();
                }
            });
        }
    });
    address
}

/// The same place, where the answers to changes of ada's session are lost.
fn lossy(place: &Place) -> String {
    let relay = loses_answers_to_changes_of(ADA, testbed::redis::server());
    let server = testbed::redis::server().to_string();
    place.url.replace(&server, &relay.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_whose_answer_is_lost_is_told_as_unknown_and_done_once() {
    let place = Place::redis().filled().await;
    let url = lossy(&place);
    let options = ["--store", &url, "--timeout", "3s"];
    let lost =
        run(&place, &[&options[..], &["sessions", "set", ADA, "views=102"]].concat()).with(7);
    assert!(lost.stderr.contains("look with `ingle sessions show`"), "{lost:?}");
    assert!(lost.stdout.is_empty(), "{lost:?}");
    assert_eq!(place.data(ADA).await.unwrap()["views"], 102);
    let shown = run(&place, &["sessions", "show", ADA, "--json"]).ok().json();
    assert_eq!(shown["commits"], 2, "it was done once");
    let lines = run(&place, &["audit", "--ndjson"]).ok().lines();
    assert_eq!((lines.len(), &lines[0]["outcome"]), (1, &json!("begun")), "{lines:?}");

    let url = lossy(&place);
    let options = ["--store", &url, "--timeout", "3s"];
    let lost = run(&place, &[&options[..], &["sessions", "end", ADA]].concat()).with(7);
    assert!(lost.stderr.contains("0 of 1 session ended"), "{lost:?}");
    run(&place, &["sessions", "end", ADA]).with(3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_lost_after_some_were_ended_is_told_as_a_part() {
    let place = Place::redis().filled().await;
    let mut handles: Vec<_> = (0..40).map(|n| format!("e{n:015}")).collect();
    for handle in &handles {
        place.put(handle, None, json!({})).await;
    }
    handles.push(ADA.to_owned());
    let url = lossy(&place);
    let mut end = program(&place);
    end.args(["--store", &url, "--timeout", "3s", "sessions", "end", "--confirm", "41"]);
    let lost = Ended::of(end.args(&handles).output().unwrap()).with(1);
    assert!(lost.stderr.contains(" of 41 sessions ended"), "{lost:?}");
    assert!(!lost.stderr.contains("nothing was changed"), "{lost:?}");
}

/// A watch that runs, what it prints and says from now on, and the number that the session was given last.
struct Watching {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
    said: Lines<BufReader<ChildStderr>>,
    n: usize,
}

impl Watching {
    fn begun(place: &Place, handle: Option<&str>) -> Self {
        let mut watch = program(place);
        watch.args(["--timeout", "3s", "sessions", "watch", "--every", "50ms", "--ndjson"]);
        watch.args(handle).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = watch.spawn().unwrap();
        let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
        let said = BufReader::new(child.stderr.take().unwrap()).lines();
        let first = thread::spawn(move || (events.next().unwrap().unwrap(), events));
        // It may begin after any of these.
        let mut n = 200;
        while !first.is_finished() {
            n += 1;
            run(place, &["sessions", "set", ADA, &format!("views={n}")]).ok();
        }
        let (_, events) = first.join().unwrap();
        Self { child, events, said, n }
    }

    fn says(&mut self) -> String {
        self.said.next().unwrap().unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_outlasts_a_store_that_does_not_answer() {
    let server = testbed::redis::start(&[]);
    let mut place = Place::redis();
    place.url = format!("redis://{}", server.address());
    let place = place.filled().await;
    for handle in [None, Some(ADA)] {
        let mut watch = Watching::begun(&place, handle);
        server.pause();
        let line = watch.says();
        assert!(line.contains("not available") && line.contains("goes on"), "{line}");
        server.resume();
        assert_eq!(watch.says(), "ingle: the store answers again");
        let n = watch.n + 1;
        run(&place, &["sessions", "set", ADA, &format!("views={n}")]).ok();
        let wanted = format!("\"after\":{n}");
        assert!(watch.events.any(|event| event.unwrap().contains(&wanted)));
        watch.child.kill().unwrap();
        watch.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_store_refuses_is_no_outage_and_ends_a_watch() {
    let server = testbed::redis::start(&[]);
    let at = server.address();
    let mut place = Place::redis();
    place.url = format!("redis://{at}");
    let place = place.filled().await;
    testbed::redis::ask(at, "ACL SETUSER reader on >s3cret ~* &* +@all -scan").unwrap();
    let url = format!("redis://reader:s3cret@{at}");
    for command in ["list", "watch"] {
        let ended = run(&place, &["--store", &url, "sessions", command]).with(4);
        assert!(ended.stderr.contains("does not allow it"), "{ended:?}");
        assert!(ended.stderr.contains("+scan") && !ended.stderr.contains("s3cret"), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
    for (handle, right) in [(None, "scan"), (Some(ADA), "get")] {
        let mut watch = Watching::begun(&place, handle);
        testbed::redis::ask(at, &format!("ACL SETUSER default -{right}")).unwrap();
        let line = watch.says();
        assert!(line.contains("does not allow it") && !line.contains("goes on"), "{line}");
        assert_eq!(watch.child.wait().unwrap().code(), Some(4));
        testbed::redis::ask(at, &format!("ACL SETUSER default +{right}")).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_locked_is_waited_for_as_long_as_the_option_says() {
    let place = Place::sqlite().filled().await;
    let file = place.folder().join("sessions/sessions.sqlite");
    let shell = rusqlite::Connection::open(file).unwrap();
    shell.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let ended = run(&place, &["--timeout", "100ms", "stats"]).with(6);
    assert!(ended.stderr.contains("within 100ms (--timeout)"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_is_told_and_nothing_is_done() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = gone.local_addr().unwrap();
    drop(gone);
    let place = Place::redis().filled().await;
    for url in [
        format!("redis://:s3cret@{address}"),
        format!("postgres://u:s3cret@{address}/d"),
        format!("memcached://{address}"),
    ] {
        for command in [&["sessions", "list"][..], &["sessions", "end", "--all", "--confirm", "4"]]
        {
            let ended = run(&place, &[&["--store", &url][..], command].concat()).with(6);
            assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
            assert!(!ended.stderr.contains("s3cret"), "{ended:?}");
        }
    }
    assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().lines().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lets_nobody_in_is_told_without_the_password() {
    let server = testbed::redis::start(&[]);
    let at = server.address();
    testbed::redis::ask(at, "ACL SETUSER reader on >s3cret ~* +get").unwrap();
    let place = Place::redis().filled().await;
    for url in [format!("redis://reader:s3cret@{at}"), format!("redis://reader:s3cret-not@{at}")] {
        for command in [&["stats"][..], &["sessions", "end", "--all", "--confirm", "4"]] {
            let ended = run(&place, &[&["--store", &url][..], command].concat()).with(4);
            assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
            assert!(!ended.stderr.contains("s3cret"), "{ended:?}");
        }
    }
}
