//! The console, begun by the command.

use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use testbed::http::{Answer, Browser, raw};

use crate::{
    commands::on_each_store,
    damage::damage,
    place::{ADA, BOB, Place, key},
    program, run,
};

/// A console that runs, and the address that it announced.
struct Console {
    child: Child,
    announced: String,
}

impl Console {
    fn start(place: &Place, arguments: &[&str]) -> Self {
        let mut child = program(place)
            .arg("console")
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut announced = String::new();
        let stdout = child.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut announced).expect("an address");
        Self { child, announced: announced.trim_end().to_owned() }
    }

    fn address(&self) -> SocketAddr {
        let rest = self.announced.strip_prefix("http://").expect("an address of HTTP");
        rest.split('/').next().expect("a host").parse().expect("an address")
    }

    fn code(&self) -> &str {
        self.announced.split_once("#code=").expect("a code").1
    }

    /// Sends the form, as a browser does.
    async fn sign_in(&self) -> Answer {
        let (address, body) = (self.address(), format!("code={}", self.code()));
        let mut connection = raw::Raw::open(address).await.expect("it listens");
        let request = format!(
            "POST /sign-in HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\nsec-fetch-site: same-origin\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        connection.write(request.as_bytes()).await.expect("it reads");
        connection.read().await.expect("an answer")
    }

    fn interrupt(mut self) -> Option<i32> {
        let id = Pid::from_child(&self.child);
        kill_process(id, Signal::INT).expect("it runs");
        self.child.wait().expect("it ends").code()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_address_on_stdout_signs_in_once_and_shows_the_sessions() {
    let place = Place::sqlite().filled().await;
    let console = Console::start(&place, &["--idle-time", "30m"]);
    let mut browser = Browser::new(console.address());
    assert_eq!(browser.get("/sessions").await.status, 303);
    let signed_in = console.sign_in().await;
    assert_eq!(signed_in.status, 303, "{signed_in:?}");
    browser.cookie =
        signed_in.set_cookie().map(|cookie| cookie.split(';').next().unwrap().to_owned());
    let sessions = browser.get("/sessions").await;
    assert_eq!(sessions.status, 200);
    assert!(sessions.body.contains(crate::place::ADA), "{}", sessions.body);
    assert_eq!(console.sign_in().await.status, 403);
    assert_eq!(console.interrupt(), Some(0));
}

on_each_store! {
    one_that_cannot_be_read_is_named_below_the_list
}

async fn one_that_cannot_be_read_is_named_below_the_list(place: Place) {
    run(&place, &["sessions", "set", BOB, "views=1"]).ok();
    damage(&place, &key(ADA)).await;
    let console = Console::start(&place, &["--idle-time", "30m"]);
    let mut browser = Browser::new(console.address());
    let signed_in = console.sign_in().await;
    browser.cookie =
        signed_in.set_cookie().map(|cookie| cookie.split(';').next().unwrap().to_owned());
    let named = format!("1 session cannot be read: {ADA}.");
    for page in ["/sessions", "/sessions?q=views+%3D+1", "/user?name=ada"] {
        let shown = browser.get(page).await;
        assert!(shown.status == 200 && shown.body.contains(&named), "{page}: {}", shown.body);
        assert_eq!(shown.body.contains(BOB), !page.starts_with("/user"), "{page}: {}", shown.body);
    }
    assert!(browser.get("/").await.body.contains("1 more cannot be read"));
    let page = browser.get(&format!("/sessions/{ADA}")).await.body;
    assert!(page.contains("This session cannot be read") && !page.contains("s3cret"), "{page}");
    let told = browser.get("/api/v1/sessions").await.json();
    assert_eq!(told["damaged"], serde_json::json!([ADA]), "{told}");
    assert_eq!(browser.get("/api/v1/audit").await.json()["damaged"], 0);
}

#[tokio::test]
async fn what_a_console_cannot_begin_with_is_told_in_one_line() {
    let place = Place::sqlite().filled().await;
    for (arguments, code, said) in [
        (&["console"][..], 2, "--idle-time"),
        (&["console", "--idle-time", "30m", "--listen", "0.0.0.0:0"], 2, "loopback"),
        (&["console", "--idle-time", "30m", "--role", "owner"], 2, "owner"),
        (&["console", "--idle-time", "30m", "--listen", "192.0.2.1:1"], 1, "could not listen"),
    ] {
        let ended = run(&place, arguments).with(code);
        assert!(ended.stderr.contains(said), "{ended:?}");
        assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1), "{ended:?}");
    }
    let without_lists = Place::memcached();
    let ended = run(&without_lists, &["console", "--idle-time", "30m"]).with(4);
    assert!(ended.stderr.contains("cannot list"), "{ended:?}");
}

/// Starts an example of the help, and stops it.
pub(crate) fn starts_as_printed(place: &Place, example: &str) {
    let arguments: Vec<&str> = example.split(' ').skip(2).collect();
    let console = Console::start(place, &arguments);
    assert!(!console.code().is_empty());
    assert_eq!(console.interrupt(), Some(0), "{example}");
}
