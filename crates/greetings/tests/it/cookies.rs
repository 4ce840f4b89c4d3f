//! The bytes of the cookie, out and in. In: what a browser, a proxy or an attacker may send.

use std::net::SocketAddr;

use testbed::http::{Answer, Browser, raw};

use crate::{
    place::Place,
    process::{Process, patient},
};

/// 365 days, the default of `--absolute`.
const MAX_AGE: u64 = 31_536_000;

/// What a browser is told when its session begins and when it ends, with the id replaced by `ID`.
async fn begun_and_ended(process: &Process) -> (String, String) {
    let mut browser = process.browser();
    let first = browser.get("/").await;
    let begun = first.set_cookie().expect("a cookie").to_owned();
    let id = begun.split(['=', ';']).nth(1).expect("an id");
    assert_eq!(id.len(), 43, "{id}");
    assert!(id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)), "{id}");
    assert_eq!(first.header("cache-control"), Some("no-store"));
    assert_eq!(first.header("vary"), Some("Cookie"));
    let last = browser.post("/logout").await;
    assert_eq!(last.header("cache-control"), Some("no-store"));
    (begun.replace(id, "ID"), last.set_cookie().expect("a cookie").to_owned())
}

#[tokio::test]
async fn on_loopback_the_cookie_is_for_plain_http() {
    let place = Place::sqlite();
    let process = Process::start(&place, &[]);
    let (begun, ended) = begun_and_ended(&process).await;
    assert_eq!(begun, format!("id=ID; Path=/; HttpOnly; SameSite=Lax; Max-Age={MAX_AGE}"));
    assert_eq!(ended, "id=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
    assert!(process.banner.contains("plain HTTP on this machine only"), "{}", process.banner);
}

#[tokio::test]
async fn on_all_interfaces_the_cookie_is_for_https_only() {
    let place = Place::sqlite();
    let mut platform = patient();
    platform.env("PORT", "0").env("INGLE_STORE", &place.url);
    let process = Process::spawn(platform);
    let (begun, ended) = begun_and_ended(&process).await;
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(begun, format!("__Host-id=ID; {attributes}; Max-Age={MAX_AGE}"));
    assert_eq!(ended, format!("__Host-id=; {attributes}; Max-Age=0"));
    assert!(process.banner.contains("speaks HTTPS"), "{}", process.banner);
}

#[tokio::test]
async fn plain_http_over_a_network_is_asked_for_and_warned_of() {
    let place = Place::sqlite();
    let options = ["--listen", "0.0.0.0:0", "--insecure-http", "--absolute", "60d"];
    let process = Process::start(&place, &options);
    let (begun, _) = begun_and_ended(&process).await;
    assert_eq!(begun, "id=ID; Path=/; HttpOnly; SameSite=Lax; Max-Age=5184000");
    assert!(process.banner.contains("WARNING: INSECURE!"), "{}", process.banner);
}

#[tokio::test]
async fn a_cookie_can_have_the_one_name_that_firebase_passes_on() {
    let place = Place::sqlite();
    let options = ["--behind-https", "--cookie-name", "__session", "--namespace", "shop"];
    let process = Process::start(&place, &options);
    let (begun, _) = begun_and_ended(&process).await;
    let attributes = "Path=/; Secure; HttpOnly; SameSite=Lax";
    assert_eq!(begun, format!("__session=ID; {attributes}; Max-Age={MAX_AGE}"));
    let costs = "; without the prefix __Host-, other hosts of its domain can set it\n";
    assert!(process.banner.contains(costs), "{}", process.banner);
}

#[tokio::test]
async fn no_browser_keeps_a_cookie_beyond_400_days() {
    let place = Place::sqlite();
    let process = Process::start(&place, &["--absolute", "3650d"]);
    let (begun, _) = begun_and_ended(&process).await;
    assert!(begun.ends_with("; Max-Age=34560000"), "{begun}");
}

/// A server whose cookie is `__Host-id`, and the ids of two sessions that it issued.
pub(crate) struct Issued {
    process: Process,
    v: String,
    w: String,
    _place: Place,
}

impl Issued {
    pub(crate) async fn new() -> Self {
        let place = Place::sqlite();
        let process = Process::start(&place, &["--behind-https"]);
        let (v, w) = (issue(process.browser()).await, issue(process.browser()).await);
        Self { process, v, w, _place: place }
    }

    /// A header line in which `<V>` and `<W>` stand for the ids.
    pub(crate) fn line(&self, line: &str) -> Vec<u8> {
        line.replace("<V>", &self.v).replace("<W>", &self.w).into()
    }

    pub(crate) async fn ask(&self, lines: &[Vec<u8>]) -> Answer {
        let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
        raw::get(self.process.address, "/lab/data", &lines).await
    }
}

async fn issue(mut browser: Browser) -> String {
    browser.get("/").await;
    browser.cookie.expect("a cookie").split_once('=').expect("a pair").1.to_owned()
}

fn is_anonymous(answer: &Answer) -> bool {
    answer.status == 200 && answer.body == "{}" && answer.set_cookie().is_none()
}

pub(crate) fn is_known(answer: &Answer) -> bool {
    answer.status == 200 && answer.json()["views"] == 1 && answer.set_cookie().is_none()
}

#[tokio::test]
async fn only_our_name_and_a_whole_id_are_a_session() {
    let issued = Issued::new().await;
    let long = format!("Cookie: __Host-id={}", "A".repeat(8 * 1024));
    let anonymous: &[&[&str]] = &[
        &[],
        &["Cookie:"],
        &["Cookie: ;;; ;"],
        &["Cookie: __Host-id="],
        &["Cookie: __Host-id"],
        &["Cookie: =__Host-id=<V>"],
        &["Cookie: __host-id=<V>"],
        &["Cookie: __HOST-ID=<V>"],
        &["Cookie: id=<V>"],
        &["Cookie: %5F%5FHost-id=<V>"],
        &["Cookie: __%48ost-id=<V>"],
        &["Cookie: \u{2000}__Host-id=<V>"],
        &["Cookie: \u{a0}__Host-id=<V>"],
        &["Cookie: \u{3000}__Host-id=<V>"],
        &["Cookie: \u{feff}__Host-id=<V>"],
        &["Cookie: \u{85}__Host-id=<V>"],
        &["Cookie: __Host-id\u{2000}=<V>"],
        &["Cookie: __Host-id=<V>\u{2000}"],
        &["Cookie: __Host-id=\u{a0}=<V>"],
        &["Cookie: __Host-id=\"<V>\""],
        &["Cookie: __Host-id=<V>A"],
        &["Cookie: __Host-id=<V>="],
        &["Cookie: __Host-id=<V>; __Host-id=<W>"],
        &["Cookie: __Host-id=<W>; __Host-id=<V>"],
        &["Cookie: __Host-id=<V>", "Cookie: __Host-id=<W>"],
        &["Cookie: __Host-id=../../etc/passwd"],
        &["Cookie: __Host-id=' OR 1=1--"],
        &[&long],
        &["Cookie2: __Host-id=<V>"],
        &["Set-Cookie: __Host-id=<V>"],
        &["X-Session-Id: <V>", "Authorization: Bearer <V>"],
    ];
    for lines in anonymous {
        let sent: Vec<_> = lines.iter().map(|line| issued.line(line)).collect();
        let answer = issued.ask(&sent).await;
        assert!(is_anonymous(&answer), "{lines:?}: {answer:?}");
    }
}

#[tokio::test]
async fn whatever_stands_beside_our_cookie_does_no_harm() {
    let issued = Issued::new().await;
    let many: String = (0..50).map(|n| format!("x{n}={}; ", "y".repeat(290))).collect();
    let many = format!("Cookie: {many}__Host-id=<V>");
    assert!(many.len() > 14 * 1024);
    let known: &[&[&str]] = &[
        &["Cookie: __Host-id=<V>"],
        &["Cookie: a=b;__Host-id=<V>;c=d"],
        &["Cookie: \t __Host-id=<V> \t"],
        &["Cookie: __Host-id =<V>"],
        &["Cookie: __Host-id=<V>; __Host-id=<V>"],
        &["Cookie: __Host-id=<V>; __Host-id="],
        &["Cookie: __Host-id=5; __Host-id=<V>"],
        &["Cookie: __Host-id=<W>A; __Host-id=<V>", "Cookie: __Host-id="],
        &["Cookie: __Host-id=<V>", "Cookie: __Host-id=<V>"],
        &["Cookie: a=b", "Cookie: __Host-id=<V>", "Cookie: c=d"],
        &["Cookie: x=é世界; __Host-id=<V>"],
        &["Cookie: x=\"a;b\"; __Host-id=<V>"],
        &["Cookie: $Version=1; __Host-id=<V>"],
        &["Cookie: =; __Host-id=<V>; =x"],
        &["cOOKIE: __Host-id=<V>"],
        &[&many],
    ];
    for lines in known {
        let sent: Vec<_> = lines.iter().map(|line| issued.line(line)).collect();
        let answer = issued.ask(&sent).await;
        assert!(is_known(&answer), "{lines:?}: {answer:?}");
    }
    let invalid_utf8 = [b"Cookie: x=\xff\xfe; ".as_slice(), &issued.line("__Host-id=<V>")].concat();
    assert!(is_known(&issued.ask(&[invalid_utf8]).await));
}

#[tokio::test]
async fn control_characters_never_reach_a_session() {
    let issued = Issued::new().await;
    for control in ["\0", "\x01", "\x0b", "\x0c", "\x1b", "\x7f"] {
        for line in [
            format!("Cookie: {control}__Host-id=<V>"),
            format!("Cookie: __Host-id{control}=<V>"),
            format!("Cookie: __Host-id=<V>{control}"),
        ] {
            let answer = issued.ask(&[issued.line(&line)]).await;
            assert!(answer.status == 400 || is_anonymous(&answer), "{line:?}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn an_id_that_differs_in_one_character_is_nobodys() {
    let issued = Issued::new().await;
    for at in 0..issued.v.len() {
        let mut other = issued.v.clone().into_bytes();
        other[at] = if other[at] == b'A' { b'Q' } else { b'A' };
        let line = [b"Cookie: __Host-id=".as_slice(), &other].concat();
        assert!(is_anonymous(&issued.ask(&[line]).await), "character {at}");
    }
}

#[tokio::test]
async fn an_id_counts_in_the_cookie_alone() {
    let issued = Issued::new().await;
    let target = format!("/lab/data?id={0}&__Host-id={0};id={0}", issued.v);
    assert!(is_anonymous(&raw::get(issued.process.address, &target, &[]).await));
}

#[tokio::test]
async fn the_cookie_is_secure_whatever_the_request_says_of_its_scheme() {
    let issued = Issued::new().await;
    let address: SocketAddr = issued.process.address;
    for line in [b"X-Forwarded-Proto: http".as_slice(), b"X-Forwarded-Proto: https"] {
        let answer = raw::get(address, "/", &[line]).await;
        assert!(answer.set_cookie().expect("a cookie").contains("; Secure;"), "{answer:?}");
    }
}
