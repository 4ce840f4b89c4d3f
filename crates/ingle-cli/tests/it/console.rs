//! The console, begun by the command.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    process::{Child, ChildStderr, Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
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
        (&["console", "--idle-time", "30m", "--role", "viewer", "--role", "editor"], 2, "one role"),
        (&["console", "--idle-time", "30m", "--role", "editor=ada"], 2, "--public-url"),
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

/// Arguments of a console for others, after those that each needs.
const FOR_OTHERS: [&str; 7] = [
    "console",
    "--idle-time",
    "30m",
    "--listen",
    "127.0.0.1:0",
    "--public-url",
    "https://console.example",
];

#[tokio::test]
async fn a_console_for_others_begins_only_if_it_is_told_how_they_are_known() {
    let place = Place::sqlite().filled().await;
    let proxy = ["--proxy-header", "X-Email", "--proxy-from", "127.0.0.1"];
    let ada = ["--role", "editor=ada@example.com"];
    let with = |parts: &[&[&'static str]]| [&FOR_OTHERS[..], &parts.concat()].concat();
    let issuer = "https://accounts.example";
    for (arguments, said) in [
        (with(&[]), "--iap-audience"),
        (with(&[&ada]), "--iap-audience"),
        (with(&[&proxy]), "nobody has a role"),
        (with(&[&proxy, &["--role", "editor"]]), "ROLE=NAME"),
        (with(&[&proxy, &["--role", "viewer=ada", "--role", "editor=ada"]]), "two roles"),
        (with(&[&proxy, &ada, &["--role-claim", "groups"]]), "--role-claim"),
        (with(&[&proxy[..2], &ada]), "--proxy-from"),
        (with(&[&["--proxy-header", "Host", "--proxy-from", "10.0.0.1"], &ada]), "host"),
        (with(&[&["--proxy-header", "X-Email", "--proxy-from", "0.0.0.0/0"], &ada]), "strangers"),
        (with(&[&proxy, &["--iap-audience", "/projects/1"], &ada]), "--iap-audience"),
        (with(&[&["--iap-audience", "console"], &ada]), "/projects/"),
        (with(&[&["--oidc-issuer", issuer], &ada]), "--oidc-client-id"),
        (
            with(&[&["--oidc-issuer", "http://accounts.example", "--oidc-client-id", "a"], &ada]),
            "issuer",
        ),
        (
            with(&[
                &["--oidc-issuer", issuer, "--oidc-client-id", "a"],
                &["--oidc-client-secret-file", "/nothing/there"],
                &ada,
            ]),
            "/nothing/there",
        ),
        (
            with(&[
                &["--oidc-issuer", issuer, "--oidc-client-id", "a"],
                &["--oidc-client-secret-file", "/dev/null"],
                &ada,
            ]),
            "secret is empty",
        ),
        ([&["console", "--idle-time", "30m"][..], &proxy, &ada].concat(), "--public-url"),
        (
            [
                &["console", "--idle-time", "30m", "--public-url", "https://a.example"][..],
                &proxy,
                &ada,
            ]
            .concat(),
            "--listen",
        ),
        (
            [&["console", "--idle-time", "30m", "--listen", "127.0.0.1:0"][..], &proxy, &ada]
                .into_iter()
                .chain([&["--public-url", "http://console.example"][..]])
                .flatten()
                .copied()
                .collect(),
            "https",
        ),
    ] {
        let ended = run(&place, &arguments).with(2);
        assert!(ended.stderr.contains(said), "{arguments:?}: {ended:?}");
        assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1), "{ended:?}");
    }
}

#[tokio::test]
async fn a_console_does_not_begin_with_an_issuer_that_has_a_slash_too_much() {
    let place = Place::sqlite().filled().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let own = format!("http://{}", listener.local_addr().unwrap());
    let metadata = json!({
        "issuer": own,
        "authorization_endpoint": format!("{own}/auth"),
        "token_endpoint": format!("{own}/token"),
        "jwks_uri": format!("{own}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    // It is there as long as the process of the test.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut lines = stream.by_ref().lines().map(Result::unwrap);
            let is_of_keys = lines.next().is_some_and(|line| line.contains("/keys"));
            lines.find(String::is_empty);
            let body =
                if is_of_keys { json!({ "keys": [] }) } else { metadata.clone() }.to_string();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    });
    let wrong = format!("{own}/");
    let arguments = [
        &FOR_OTHERS[..],
        &["--oidc-issuer", &wrong, "--oidc-client-id", "a", "--role", "editor=ada@example.com"],
    ];
    let ended = run(&place, &arguments.concat()).with(2);
    assert!(ended.stderr.ends_with(&format!("write --oidc-issuer {own}\n")), "{ended:?}");
    assert_eq!((ended.stdout.as_str(), ended.stderr.lines().count()), ("", 1), "{ended:?}");
}

/// A console for others that runs.
struct ForOthers {
    child: Child,
    stderr: BufReader<ChildStderr>,
    address: SocketAddr,
}

impl ForOthers {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let address = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut console = Self { child, stderr, address };
        while console.address.port() == 0 {
            let line = console.line();
            let said = line.strip_prefix("ingle: the console listens on ");
            if let Some(address) = said.and_then(|rest| rest.split(',').next()) {
                console.address = address.parse().unwrap();
            }
        }
        console
    }

    /// The next line on stderr.
    fn line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.stderr.read_line(&mut line).unwrap(), 0, "it ended");
        line
    }

    /// Its exit code after Ctrl-C, and what it wrote to stdout.
    fn interrupt(mut self) -> (Option<i32>, String) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let mut stdout = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
        (self.child.wait().unwrap().code(), stdout)
    }
}

impl Drop for ForOthers {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_behind_a_proxy_shows_the_sessions_to_whom_it_names_and_logs_who_is_refused() {
    let place = Place::sqlite().filled().await;
    let mut command = program(&place);
    command.args(FOR_OTHERS).args(["--proxy-header", "X-Email", "--proxy-from", "127.0.0.1"]);
    command.args(["--role", "editor=ada@example.com", "--role", "viewer=grace@example.com"]);
    let mut console = ForOthers::start(&mut command);
    for (name, status) in [("ada@example.com", 200), ("grace@example.com", 200), ("eve", 403)] {
        let mut connection = raw::Raw::open(console.address).await.unwrap();
        let head =
            format!("GET /sessions HTTP/1.1\r\nHost: console.example\r\nX-Email: {name}\r\n\r\n");
        connection.write(head.as_bytes()).await.unwrap();
        let answer = connection.read().await.unwrap();
        assert_eq!(answer.status, status, "{name}");
        assert_eq!(answer.body.contains(ADA), status == 200, "{name}");
    }
    let line = console.line();
    assert!(line.contains("WARN") && line.contains("eve"), "{line}");
    assert_eq!(console.interrupt(), (Some(0), "https://console.example\n".to_owned()));
}

#[tokio::test]
async fn the_commands_of_the_page_about_the_console_begin_one() {
    let place = Place::sqlite().filled().await;
    let secret = place.folder().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let page = include_str!("../../../../docs/console.md").replace("\\\n", " ");
    let commands = page
        .lines()
        .filter_map(|line| line.strip_prefix("ingle console --idle-time 30m --listen "));
    let mut n = 0;
    for command in commands {
        let mut arguments: Vec<_> = command.split_whitespace().collect();
        // What the machine of the page has, and this one has not.
        arguments[0] = "127.0.0.1:0";
        let secret = secret.to_str().unwrap();
        arguments
            .iter_mut()
            .filter(|one| **one == "/run/secrets/console")
            .for_each(|one| *one = secret);
        let mut program = program(&place);
        program.args(["console", "--idle-time", "30m", "--listen"]).args(&arguments);
        let (code, stdout) = ForOthers::start(&mut program).interrupt();
        assert!(code == Some(0) && stdout.starts_with("https://console"), "{command}: {stdout}");
        n += 1;
    }
    assert_eq!(n, 4);
}

/// Starts an example of the help, and stops it.
pub(crate) fn starts_as_printed(place: &Place, example: &str) {
    let arguments: Vec<&str> = example.split(' ').skip(2).collect();
    let console = Console::start(place, &arguments);
    assert!(!console.code().is_empty());
    assert_eq!(console.interrupt(), Some(0), "{example}");
}
