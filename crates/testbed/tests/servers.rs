//! Real servers are started, paused, killed and stopped.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use testbed::{Program, Server, firestore, http, tutorial};

/// Nothing that is waited for takes so long on any machine, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(600);

/// The status of a server's first page.
fn home(server: SocketAddr) -> Option<u16> {
    http::status(server, "/", PATIENCE)
}

/// Whether a server answers, sooner or later. A busy machine may be slow to let it.
fn answers(server: &Server) -> bool {
    let begin = Instant::now();
    while !server.answers() {
        if begin.elapsed() > PATIENCE {
            return false;
        }
        sleep(Duration::from_millis(10));
    }
    true
}

fn refused(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_err()
}

#[test]
fn a_paused_server_is_silent_until_it_is_resumed() {
    let server = firestore::start_hidane();
    server.pause();
    // The kernel still accepts for it.
    assert!(!refused(server.address()));
    assert!(!server.answers());
    server.resume();
    assert!(answers(&server));
}

#[test]
fn a_killed_server_refuses_until_it_is_restarted_at_the_same_address() {
    let mut server = firestore::start_hidane();
    let address = server.address();
    for _ in 0..5 {
        server.kill();
        assert!(refused(address));
        server.restart();
        assert_eq!(server.address(), address);
        assert!(answers(&server));
    }
}

#[test]
fn a_paused_server_can_be_killed_and_restarted() {
    let mut server = firestore::start_hidane();
    server.pause();
    server.kill();
    assert!(refused(server.address()));
    server.restart();
    assert!(answers(&server));
}

#[test]
fn a_server_is_restarted_without_being_killed_first() {
    let mut server = firestore::start_hidane();
    server.restart();
    assert!(answers(&server));
}

#[test]
fn a_dropped_server_is_stopped_even_if_it_is_paused() {
    for paused in [false, true] {
        let server = firestore::start_hidane();
        let address = server.address();
        if paused {
            server.pause();
        }
        drop(server);
        assert!(refused(address));
    }
}

#[test]
fn servers_at_the_same_time_have_an_address_each() {
    let servers = [firestore::start_hidane(), firestore::start_hidane()];
    assert_ne!(servers[0].address(), servers[1].address());
    assert!(servers.iter().all(answers));
}

#[test]
fn a_program_that_ends_at_once_is_an_error_with_what_it_printed() {
    let script = |_| {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no disk >&2; exit 7"]);
        command
    };
    let error = Server::start(Program::new("broken", script, |_| false)).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("broken on 127.0.0.1:"), "{text}");
    assert!(text.contains("exit status: 7"), "{text}");
    assert!(text.ends_with("no disk"), "{text}");
}

#[test]
fn a_program_that_does_not_exist_is_an_error_with_its_name() {
    let missing = |_| Command::new("no-such-program-anywhere");
    let error = Server::start(Program::new("missing", missing, |_| false)).unwrap_err();
    assert!(format!("{error:#}").contains("no-such-program-anywhere"), "{error:#}");
}

#[test]
fn the_google_emulator_starts_pauses_and_restarts() {
    let mut server = firestore::start_google();
    server.pause();
    assert!(!server.answers());
    server.kill();
    assert!(refused(server.address()));
    server.restart();
    assert!(answers(&server));
}

#[test]
fn the_shared_hidane_answers() {
    assert_eq!(home(firestore::hidane()), Some(200));
}

#[test]
fn the_shared_emulator_of_google_answers() {
    assert_eq!(home(firestore::google()), Some(200));
}

#[test]
fn the_tutorial_stores_its_sessions_in_firestore() {
    let firestore = firestore::start_hidane();
    let app = tutorial::start(firestore.address(), "a-project", "sessions", 2, 2);
    assert_eq!(documents(firestore.address(), "a-project", "sessions"), 0);
    assert_eq!(home(app.address()), Some(200));
    assert_eq!(documents(firestore.address(), "a-project", "sessions"), 1);
}

#[test]
fn the_tutorial_is_killed_and_restarted_with_all_its_processes() {
    let firestore = firestore::start_hidane();
    let mut app = tutorial::start(firestore.address(), "a-project", "others", 2, 2);
    app.kill();
    assert!(refused(app.address()));
    app.restart();
    assert_eq!(home(app.address()), Some(200));
    assert_eq!(documents(firestore.address(), "a-project", "others"), 1);
}

#[test]
fn the_tutorial_runs_on_the_google_emulator() {
    let app = tutorial::start(firestore::google(), "testbed", "sessions", 1, 4);
    assert_eq!(home(app.address()), Some(200));
}

/// How many documents a collection has.
fn documents(firestore: SocketAddr, project: &str, collection: &str) -> usize {
    let path = format!("/v1/projects/{project}/databases/(default)/documents/{collection}");
    let answer = http::get_blocking(firestore, &path, PATIENCE).expect("it answers");
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body.matches("createTime").count()
}
