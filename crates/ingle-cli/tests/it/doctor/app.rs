//! What the doctor says of an app that its visitors reach by something that does wrong.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::Stdio,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use axum::{Router, response::Redirect, routing::get};
use ingle::{
    Cookie, CookieConfig, Session, SessionLayer,
    store::{Memory, Store},
};
use serde_json::{Value, json};

use super::{an_hour_ahead, found_one};
use crate::{Ended, place::Place, program};

/// An app that counts, on this address.
fn start_at(address: SocketAddr, cookie: CookieConfig) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let address = listener.local_addr().unwrap();
    listener.set_nonblocking(true).unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let count = async |session: Session| {
                session
                    .update(|views: &mut Views| (views.views += 1, views.views).1)
                    .await
                    .map(|n| n.to_string())
            };
            let layer = SessionLayer::new(Memory::new()).cookie(Cookie::new(cookie).unwrap());
            let app = Router::new()
                .route("/", get(count))
                .route("/plain", get(async || "nothing"))
                .route("/away", get(async || Redirect::to("/")))
                .route("/round", get(async || Redirect::to("/round")))
                .route(
                    "/abroad",
                    get(async || Redirect::to("https://u:s3cret@abroad.example/x?code=s3cret")),
                )
                .layer(layer);
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
    });
    address
}

#[derive(Default, Clone, serde::Serialize, serde::Deserialize)]
struct Views {
    views: u64,
}

fn start() -> SocketAddr {
    start_at("127.0.0.1:0".parse().unwrap(), CookieConfig::development())
}

/// What stands before apps: each request goes to the next of them, and what is said is changed.
#[derive(Clone, Copy)]
struct Between {
    request: fn(&str) -> String,
    /// The head of the answer.
    answer: fn(&str) -> String,
}

const NOTHING: Between = Between { request: str::to_owned, answer: str::to_owned };

fn stand_before(apps: Vec<SocketAddr>, between: Between) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for (turn, client) in listener.incoming().enumerate() {
            let mut client = client.unwrap();
            let request = (between.request)(&head_of(&mut client));
            let app = apps[turn % apps.len()];
            let mut server = TcpStream::connect(app).unwrap();
            let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
            server.write_all(request.as_bytes()).unwrap();
            let head = (between.answer)(&head_of(&mut server));
            let mut body = Vec::new();
            server.read_to_end(&mut body).unwrap();
            // Who does not want to read it has gone.
            let _ = client.write_all(&[head.as_bytes(), &body].concat());
        }
    });
    url
}

/// What comes up to the empty line.
fn head_of(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    String::from_utf8(head).unwrap()
}

/// A head without the headers whose names begin so.
fn without(head: &str, name: &str) -> String {
    let lines = head.split_inclusive("\r\n");
    lines.filter(|line| !line.to_ascii_lowercase().starts_with(name)).collect()
}

fn with(head: &str, header: &str) -> String {
    head.replacen("\r\n", &format!("\r\n{header}\r\n"), 1)
}

fn doctor(url: &str) -> Ended {
    let mut program = program(&Place::sqlite());
    program.env_remove("INGLE_STORE").args(["doctor", "--json", url]);
    Ended::of(program.output().unwrap())
}

#[track_caller]
fn is_good(url: &str) {
    assert_eq!(doctor(url).ok().json(), json!({ "good": true, "problems": [] }), "{url}");
}

#[test]
fn a_healthy_app_is_good_to_go() {
    let app = start();
    is_good(&format!("http://{app}/"));
    is_good(&format!("http://{app}/away"));
    is_good(&stand_before(vec![app], NOTHING));
}

#[test]
fn a_secure_cookie_over_plain_http_is_told_of() {
    let app = start_at("127.0.0.1:0".parse().unwrap(), CookieConfig::default());
    let url = format!("http://{app}/");
    let says = ["`__Host-id` is Secure", "https://127.0.0.1", "CookieConfig::development()"];
    found_one(doctor(&url), "cookie", &says);
}

#[test]
fn what_drops_the_cookie_on_its_way_there_or_back_is_told_of() {
    let app = start();
    let no_cookie = Between { request: |head| without(head, "cookie:"), ..NOTHING };
    let says = ["began a new session each time", "`--cookie-name __session`"];
    found_one(doctor(&stand_before(vec![app], no_cookie)), "dropped", &says);
    let no_set_cookie = Between { answer: |head| without(head, "set-cookie:"), ..NOTHING };
    found_one(
        doctor(&stand_before(vec![app], no_set_cookie)),
        "no-cookie",
        &["drops `Set-Cookie`"],
    );
    found_one(doctor(&format!("http://{app}/plain")), "no-cookie", &["name a page that stores"]);
}

#[test]
fn a_hosting_that_passes_on_one_cookie_alone_is_passed_by_its_name() {
    fn only_session(head: &str) -> String {
        let is_other = head.to_ascii_lowercase().contains("cookie: id=");
        if is_other { without(head, "cookie:") } else { head.to_owned() }
    }
    let hosting = || Between { request: only_session, ..NOTHING };
    found_one(doctor(&stand_before(vec![start()], hosting())), "dropped", &["__session"]);
    let mut cookie = CookieConfig::development();
    cookie.name = "__session".to_owned();
    let app = start_at("127.0.0.1:0".parse().unwrap(), cookie);
    is_good(&stand_before(vec![app], hosting()));
}

#[test]
fn what_changes_the_cookie_is_told_of() {
    let app = start();
    let stripped = Between { answer: |head| head.replace("; HttpOnly", ""), ..NOTHING };
    found_one(doctor(&stand_before(vec![app], stripped)), "cookie", &["came without HttpOnly"]);
    let elsewhere = Between { answer: |head| head.replace("Path=/", "Path=/app"), ..NOTHING };
    found_one(
        doctor(&stand_before(vec![app], elsewhere)),
        "cookie",
        &["it is for the path `/app`"],
    );
}

#[test]
fn a_cache_is_told_of_by_what_two_visitors_get() {
    let app = start();
    const ID: &str = "0123456789abcdefghijABCDEFGHIJ-_0123456789x";
    fn same_session(head: &str) -> String {
        with(
            &without(head, "set-cookie:"),
            &format!("set-cookie: id={ID}; HttpOnly; SameSite=Lax; Path=/"),
        )
    }
    let kept = Between { answer: same_session, ..NOTHING };
    found_one(
        doctor(&stand_before(vec![app], kept)),
        "cache",
        &["two visitors got the same session"],
    );
    let aged = Between { answer: |head| with(head, "Age: 7"), ..NOTHING };
    found_one(doctor(&stand_before(vec![app], aged)), "cache", &["Age: 7"]);
    let hit = Between { answer: |head| with(head, "X-Cache: HIT from edge"), ..NOTHING };
    found_one(doctor(&stand_before(vec![app], hit)), "cache", &["x-cache: HIT from edge"]);
    let public = Between {
        answer: |head| with(&without(head, "cache-control:"), "Cache-Control: public, max-age=60"),
        ..NOTHING
    };
    found_one(doctor(&stand_before(vec![app], public)), "cache", &["public, max-age=60"]);
}

#[test]
fn a_cache_that_had_to_ask_the_app_is_good() {
    let miss = Between { answer: |head| with(head, "age: 0\r\nx-cache: MISS, MISS"), ..NOTHING };
    is_good(&stand_before(vec![start()], miss));
    let hit = Between { answer: |head| with(head, "age: 0\r\nx-cache: MISS, HIT"), ..NOTHING };
    let says = ["x-cache: MISS, HIT", "--cache-mode"];
    found_one(doctor(&stand_before(vec![start()], hit)), "cache", &says);
}

#[test]
fn another_cookie_that_looks_like_an_id_is_not_taken_for_the_sessions() {
    fn token(head: &str) -> String {
        static N: AtomicUsize = AtomicUsize::new(0);
        let n = N.fetch_add(1, Ordering::SeqCst);
        with(head, &format!("set-cookie: csrf={n:043}; Path=/"))
    }
    is_good(&stand_before(vec![start()], Between { answer: token, ..NOTHING }));
    // The same one for everybody, which scripts may read.
    let same = Between {
        answer: |head| with(head, &format!("set-cookie: version={:043}; Path=/", 1)),
        ..NOTHING
    };
    is_good(&stand_before(vec![start()], same));
    // Where the session is not known, it is told all the same.
    let drops = Between { request: |head| without(head, "cookie:"), answer: token };
    found_one(doctor(&stand_before(vec![start()], drops)), "dropped", &["the cookie `id`"]);
}

#[test]
fn a_page_that_leads_elsewhere_is_told_of_with_where() {
    let app = start();
    let says = ["on and on, at last from", "/round`", "`Location`"];
    found_one(doctor(&format!("http://{app}/round")), "status", &says);
    let ended = doctor(&format!("http://{app}/abroad"));
    assert!(!ended.stdout.contains("s3cret"), "{ended:?}");
    found_one(
        ended,
        "status",
        &["303 See Other", "`https://abroad.example/x`", "name a page there"],
    );
}

#[test]
fn no_password_of_a_url_is_told() {
    let app = start();
    let secure = start_at("127.0.0.1:0".parse().unwrap(), CookieConfig::default());
    for (at, about) in [(format!("{app}/plain"), "no-cookie"), (format!("{secure}/"), "cookie")] {
        let ended = doctor(&format!("http://u:s3cret@{at}?token=s3cret"));
        assert!(!ended.stdout.contains("s3cret"), "{ended:?}");
        found_one(ended, about, &[&at]);
    }
}

/// What answers so, and keeps the connection.
fn say(answer: fn(&str) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let mut open = Vec::new();
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let request = head_of(&mut client);
            client.write_all(answer(&request).as_bytes()).unwrap();
            open.push(client);
        }
    });
    address
}

#[test]
fn a_page_that_does_not_end_is_good() {
    let endless = say(|request| {
        static N: AtomicUsize = AtomicUsize::new(0);
        let (n, has_one) = (N.fetch_add(1, Ordering::SeqCst), request.contains("cookie: id="));
        let begins = format!("set-cookie: id={n:043}; Path=/; HttpOnly; SameSite=Lax\r\n");
        let cookie = if has_one { "" } else { &begins };
        format!("HTTP/1.1 200 OK\r\ncache-control: no-store\r\n{cookie}\r\nand on, and ")
    });
    is_good(&format!("http://{endless}/"));
}

#[test]
fn what_speaks_no_http_is_no_app_that_is_to_be_started() {
    let ssh = say(|_| "SSH-2.0-OpenSSH_9.9\r\n".to_owned());
    let says = ["does not answer as HTTP does", "write `https:` for `http:`"];
    found_one(doctor(&format!("http://{ssh}/")), "answer", &says);
    let unknown = doctor("http://no.such.host.invalid/");
    found_one(unknown, "answer", &["the name `no.such.host.invalid` is not known", "DNS"]);
}

#[test]
fn a_page_of_this_machine_is_asked_for_without_a_proxy_and_another_names_it() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let by_proxy = |url: &str| {
        let mut program = program(&Place::sqlite());
        program.env_remove("INGLE_STORE").env("HTTP_PROXY", format!("http://{gone}"));
        Ended::of(program.args(["doctor", "--json", url]).output().unwrap())
    };
    let ended = by_proxy(&format!("http://{}/", start())).ok();
    assert_eq!(ended.json()["good"], true);
    let says = ["the proxy that `HTTP_PROXY` names", "NO_PROXY"];
    found_one(by_proxy("http://192.0.2.1/"), "proxy", &says);
}

#[test]
fn the_code_tells_of_problems_also_where_nobody_reads_them() {
    let mut program = program(&Place::sqlite());
    let url = format!("http://{}/plain", start());
    program.env_remove("INGLE_STORE").args(["doctor", &url]).stdout(Stdio::piped());
    let mut child = program.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn instances_that_share_no_store_are_told_of() {
    let url = stand_before(vec![start(), start()], NOTHING);
    found_one(doctor(&url), "shared", &["did not know the session", "the same store"]);
}

#[test]
fn an_app_that_answers_otherwise_is_told_of() {
    let app = start();
    let missing = doctor(&format!("http://{app}/missing"));
    found_one(missing, "status", &["404 Not Found", "name a page"]);
    let down = Between {
        answer: |head| {
            without(&head.replacen("200 OK", "503 Service Unavailable", 1), "set-cookie:")
        },
        ..NOTHING
    };
    let says = ["503 Service Unavailable", "run `ingle doctor` with the app's store"];
    found_one(doctor(&stand_before(vec![app], down)), "status", &says);
}

#[test]
fn an_app_that_is_not_there_or_speaks_no_tls_is_told_of() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = gone.local_addr().unwrap();
    drop(gone);
    let start_it = format!("PORT={}", at.port());
    found_one(doctor(&format!("http://{at}/")), "answer", &["nothing answers at", &start_it]);
    let app = start();
    let says = ["TLS with", "openssl s_client -connect", "`http:` instead of `https:`"];
    found_one(doctor(&format!("https://{app}/")), "tls", &says);
}

/// This machine's address besides loopback, if it has one. Nothing is sent.
fn outside() -> Option<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified())
}

#[test]
fn an_app_on_loopback_alone_is_told_of_from_outside() {
    let app = start();
    // A machine without a network has no outside.
    let Some(outside) = outside() else { return };
    let ended = doctor(&format!("http://{outside}:{}/", app.port()));
    found_one(ended, "listen", &["alone", &format!("--listen 0.0.0.0:{}", app.port())]);
    let everywhere = start_at("0.0.0.0:0".parse().unwrap(), CookieConfig::development());
    is_good(&format!("http://{outside}:{}/", everywhere.port()));
}

#[test]
fn the_clock_of_an_app_that_differs_is_told_of() {
    let (app, folder) = (start(), tempfile::TempDir::new().unwrap());
    let mut ahead = an_hour_ahead(&Place::sqlite(), &folder);
    let url = format!("http://{app}/");
    ahead.env_remove("INGLE_STORE").args(["doctor", "--json", &url]);
    let says = ["ahead of that of the app", "timedatectl set-ntp true"];
    found_one(Ended::of(ahead.output().unwrap()), "clock", &says);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_and_app_are_told_of_in_one_report() {
    let (place, app) = (Place::sqlite(), start());
    let url = format!("http://{app}/plain");
    let ended = crate::run(&place, &["doctor", &url]).with(1);
    let titles: Vec<_> = ended.stdout.lines().filter(|line| line.starts_with('✗')).collect();
    assert_eq!(titles, ["✗ the store", "✗ the app"], "{ended:?}");
    assert!(ended.stdout.ends_with("\n2 problems\n"), "{ended:?}");
    let parts = crate::run(&place, &["doctor", "--json", &url]).with(1).json();
    let parts: Vec<_> =
        parts["problems"].as_array().unwrap().iter().map(|one| &one["part"]).collect();
    assert_eq!(parts, [&Value::from("store"), &Value::from("app")]);
    let store: std::sync::Arc<dyn Store> = place.store().await;
    assert_eq!(store.info().name, "sqlite", "the doctor made nothing before");
}
