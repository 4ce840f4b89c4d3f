//! The page that counts along, and the stream behind it, which ends with its session.

use serde_json::Value;
use testbed::{chromium::Chromium, http::Browser};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::{PASSWORD, Scene, handles, log_in};
use crate::{
    place::Place,
    process::{PATIENCE, Process},
};

/// A stream as a browser reads it.
struct Stream {
    connection: TcpStream,
    text: String,
}

impl Stream {
    async fn open(process: &Process, browser: &Browser) -> Self {
        let mut connection = TcpStream::connect(process.address).await.expect("it listens");
        let (address, cookie) = (process.address, browser.cookie.as_deref().unwrap_or("none=1"));
        let request =
            format!("GET /live/events HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n");
        connection.write_all(request.as_bytes()).await.expect("it reads");
        Self { connection, text: String::new() }
    }

    /// Reads until the stream says this. The answer that it does not is the end of the stream.
    async fn until(&mut self, said: &str) {
        while !self.text.contains(said) {
            assert!(self.read().await, "it ended without {said:?}: {}", self.text);
        }
    }

    async fn until_it_ends(&mut self) {
        while !self.text.ends_with("0\r\n\r\n") && self.read().await {}
    }

    /// Whether there was more to read.
    async fn read(&mut self) -> bool {
        let mut bytes = [0; 4096];
        let read = timeout(PATIENCE, self.connection.read(&mut bytes)).await;
        let n_bytes = read.expect("it says something, or ends").unwrap_or_default();
        self.text.push_str(&String::from_utf8_lossy(&bytes[..n_bytes]));
        n_bytes > 0
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_counts_along_and_ends_with_its_session_in_another_process() {
    let scene = Scene::start(Place::sqlite(), 2);
    let (here, there) = (scene.first(), scene.instances.last());
    let ada = scene.logged_in("ada").await;
    let mut stream = Stream::open(here, &ada).await;
    stream.until("event: views\ndata: 0\n").await;
    let mut window = ada.window(there.address);
    window.get("/").await;
    stream.until("event: views\ndata: 1\n").await;
    // Another browser of the same user, at the other process.
    let mut other = super::logged_in(there, "ada").await;
    assert_eq!(other.submit("/sessions/end-others", &[]).await.status, 303);
    stream.until("event: ended\ndata: Your session has ended.\n").await;
    stream.until_it_ends().await;
    assert_eq!(window.get("/sessions").await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_logged_in_gets_no_stream() {
    let scene = Scene::start(Place::sqlite(), 1);
    let mut visitor = scene.browser();
    for _ in 0..2 {
        let answer = visitor.get("/live/events").await;
        assert_eq!((answer.status, answer.body.as_str()), (401, ""));
        // The second time with a session that nobody is logged in with.
        visitor.get("/").await;
    }
    assert_eq!(visitor.get("/live").await.status, 303);
    let mut ada = scene.logged_in("ada").await;
    let old = ada.window(ada.address());
    ada.submit("/sessions/end-all", &[]).await;
    let mut stream = Stream::open(scene.first(), &old).await;
    stream.until("HTTP/1.1 401 ").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_streams_do_not_keep_a_process_that_is_to_stop() {
    let scene = Scene::start(Place::sqlite(), 1);
    let ada = scene.logged_in("ada").await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = Stream::open(scene.first(), &ada).await;
        stream.until("event: views").await;
        streams.push(stream);
    }
    let mut scene = scene;
    let process = scene.instances.processes.remove(0);
    process.terminate();
    for stream in &mut streams {
        stream.until_it_ends().await;
        assert!(!stream.text.contains("event: ended"), "its browser asks again: {}", stream.text);
    }
    let (code, log) = process.ended();
    assert_eq!(code, Some(0));
    assert!(!log.contains("stopped before"), "{log}");
}

/// Waits until the page shows this.
fn until_shown(browser: &Chromium, text: &str) {
    browser.wait_for(&format!("document.body.innerText.includes({})", Value::from(text)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_browser_the_page_counts_along_through_a_new_id_and_says_when_it_is_over() {
    let (browser, scene) = (Chromium::start(), Scene::start(Place::sqlite(), 1));
    let at = |path: &str| format!("http://{}{path}", scene.first().address);
    browser.open(&at("/login?next=live"));
    let fill = format!(
        "document.getElementById('name').value = 'ada';
         document.getElementById('password').value = '{PASSWORD}';
         document.querySelector('main form button').click()"
    );
    browser.run(&fill);
    assert_eq!(browser.run("return location.pathname"), "/live");
    until_shown(&browser, "counts along");
    browser.run("fetch('/')");
    until_shown(&browser, "1 view\n");
    // What a second tab would do: the session gets another id, and the page asks with that one.
    let confirm = format!(
        "fetch('/confirm', {{method: 'POST', body: new URLSearchParams({{password: '{PASSWORD}'}})}})
         .then(answer => fetch('/')).then(() => window.confirmed = true)"
    );
    browser.run(&confirm);
    browser.wait_for("window.confirmed === true");
    browser.run("fetch('/')");
    until_shown(&browser, " views\n");
    let mut other = scene.browser();
    log_in(&mut other, "ada", PASSWORD).await;
    let own = handles(&mut other).await.remove(1);
    other.submit("/sessions/end", &[("handle", &own)]).await;
    until_shown(&browser, "Your session has ended. Log in again");
    assert_eq!(browser.run("return document.querySelector('#state a').pathname"), "/login");
}
