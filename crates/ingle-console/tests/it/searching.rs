//! A search in a real browser: lines come as they are found, until somebody stops it.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
};
use ingle::{Label, Login, SessionLayer, store::Memory};
use ingle_console::{Access, Grant, Role};
use serde_json::{Value, json};
use testbed::chromium::Chromium;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};

use crate::{
    chromium::PAINTED,
    scene::{PATIENCE, begin},
};

/// Lets so many parts of searches pass as a test says.
struct Gate {
    parts: Semaphore,
    is_broken: AtomicBool,
    waiting: AtomicUsize,
    most_waiting: AtomicUsize,
}

/// A browser before a console whose searches wait at a gate.
struct Search {
    browser: Chromium,
    layer: SessionLayer,
    address: SocketAddr,
    gate: Arc<Gate>,
    _server: JoinSet<()>,
}

impl Search {
    async fn begin() -> Self {
        let layer = SessionLayer::new(Memory::new()).sweep_every(None).deadline(PATIENCE);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let access = Access::ByApp { hosts: vec![address.to_string()] };
        let gate = Arc::new(Gate {
            parts: Semaphore::new(0),
            is_broken: false.into(),
            waiting: 0.into(),
            most_waiting: 0.into(),
        });
        let console = ingle_console::router(layer.sessions(), access)
            .layer(from_fn_with_state(Arc::clone(&gate), pass));
        let app = Router::new().nest("/console", console);
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let browser = Chromium::start();
        Self { browser, layer, address, gate, _server: server }
    }

    /// Opens a page, in a window that somebody works in.
    fn open(&self, path: &str) {
        self.browser.open(&format!("http://{}/console{path}", self.address));
        self.browser.look(1440, false);
    }

    #[track_caller]
    fn wait_for(&self, condition: &str) {
        self.browser.wait_for(condition);
    }

    #[track_caller]
    fn wait_for_said(&self, text: &str) {
        self.wait_for(&format!(
            "document.querySelector('#scan .said').innerText.startsWith({})",
            json!(text)
        ));
    }

    #[track_caller]
    fn wait_for_lines(&self, n: usize) {
        self.wait_for(&format!("document.querySelectorAll('tr[data-line]').length === {n}"));
    }

    fn run(&self, expression: &str) -> Value {
        self.browser.run(&format!("return {expression}"))
    }

    fn press(&self, keys: &str) {
        self.wait_for(PAINTED);
        self.browser.press(keys);
    }

    fn click(&self, selector: &str) {
        self.browser.run(&format!("document.querySelector('{selector}').click()"));
    }
}

struct Waiting(Arc<Gate>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, SeqCst);
    }
}

/// The app's own login lets everybody in, and parts wait.
async fn pass(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(Grant::new("grace", Role::Editor));
    if request.uri().path().ends_with("/sessions/part") {
        let n = gate.waiting.fetch_add(1, SeqCst) + 1;
        let _waiting = Waiting(Arc::clone(&gate));
        gate.most_waiting.fetch_max(n, SeqCst);
        if gate.is_broken.load(SeqCst) {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        gate.parts.acquire().await.unwrap().forget();
        return next.run(request).await;
    }
    next.run(request).await
}

const STOP: &str = "#scan button";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_come_while_one_works_and_are_selected_and_ended() {
    let search = Search::begin().await;
    for n in 0..170 {
        begin(&search.layer, async |session| session.insert("n", n)).await;
    }
    search.open("/sessions?q=n+exists+and+%40age+%3C+1d");
    search.wait_for_said("Looked at 30 sessions, found 30.");
    assert_eq!(search.run("document.querySelector('#scan button').innerText"), "Stop");
    // One works in what is there already.
    search.press("jjj");
    search.run("document.querySelectorAll('input[name=handle]')[2].focus()");
    search.press(" ");
    search.wait_for("document.querySelector('[data-needs-pick]').innerText === 'End 1 selected'");
    search.gate.parts.add_permits(1);
    search.wait_for_lines(60);
    let focus = "document.activeElement === document.querySelectorAll('input[name=handle]')[2]";
    assert_eq!(search.run(focus), true);
    assert_eq!(search.run("document.querySelectorAll('input[name=handle]:checked').length"), 1);
    assert_eq!(
        search.run(
            "[...document.querySelectorAll('tr')].indexOf(document.querySelector('tr.current'))"
        ),
        3
    );
    search.wait_for("document.querySelector('[data-needs-pick]').innerText === 'End 1 selected'");
    assert_eq!(search.gate.most_waiting.load(SeqCst), 1, "one request at a time");
    // It is stopped while a request is under way, which adds nothing then.
    search.press("s");
    search.wait_for_said("Stopped. Looked at 60 sessions, found 60.");
    search.wait_for_lines(60);
    search.gate.parts.add_permits(1000);
    // By keyboard, and the focus stays in sight when there is nothing to stop any more.
    search.run("document.querySelector('#scan button').focus()");
    search.press("\u{e007}");
    search.wait_for_said("Looked at all 170 sessions, found 170.");
    search.wait_for_lines(170);
    assert_eq!(search.run("document.activeElement.id"), "scan");
    assert_eq!(search.run("document.querySelector('progress').value"), 1);
    assert_eq!(
        search.run("document.querySelector('#scan [role=status]').innerText"),
        search.run("document.querySelector('.said').innerText")
    );
    let handles =
        "new Set([...document.querySelectorAll('tr .handle')].map(e => e.innerText)).size";
    assert_eq!(search.run(handles), 170);
    // Those that came later are selected and ended like the first.
    search.click("#pick-all");
    search.wait_for("document.querySelector('[data-needs-pick]').innerText === 'End 170 selected'");
    search.click("[data-needs-pick]");
    search.wait_for("document.querySelector('h1').innerText === 'End 170 sessions?'");
    search.press("170\u{e007}");
    search.wait_for("document.querySelector('h1').innerText === 'Done'");
    assert!(
        search.browser.text().contains("170 sessions have ended."),
        "{}",
        search.browser.text()
    );
}

const EVIL: &str =
    "\"'><img src=x onerror=window.__x=1><script>window.__x=1</script>\u{202e}{{7*7}}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_waits_when_there_is_enough_to_look_at_and_goes_on_after_an_outage() {
    let search = Search::begin().await;
    for n in 0..260 {
        begin(&search.layer, async |session| {
            session.login(Login::new(EVIL).label(Label::new(EVIL))).await?;
            session.insert("n", n)?;
            session.insert(EVIL, EVIL)
        })
        .await;
    }
    search.gate.parts.add_permits(1000);
    search.open("/sessions?q=n+exists");
    search.wait_for("document.querySelector('.said').innerText.includes('Paused')");
    search.wait_for_lines(240);
    assert_eq!(search.run("document.querySelector('#scan button').innerText"), "Go on");
    assert_eq!(search.run("/^Looked at 240 of about [0-9]+ sessions, found 240/.test(document.querySelector('.said').innerText)"), true);
    search.gate.is_broken.store(true, SeqCst);
    search.click(STOP);
    search.wait_for_said("The store does not answer. Looked at 240");
    search.wait_for_lines(240);
    search.gate.is_broken.store(false, SeqCst);
    // The link at the end goes on in the same page.
    search.run("document.querySelector('#next a').focus()");
    search.press("\u{e007}");
    search.wait_for_said("Looked at all 260 sessions, found 260.");
    search.wait_for_lines(260);
    assert_eq!(search.run("document.activeElement.id"), "scan");
    search.wait_for("document.getElementById('next').hidden");
    assert_eq!(search.run("document.querySelectorAll('main img, main tbody script').length"), 0);
    assert_eq!(search.run("window.__x ?? null"), Value::Null);
    let user = "document.querySelectorAll('tbody tr')[255].querySelector('.user a')";
    assert_eq!(search.run(&format!("new URL({user}.href).searchParams.get('name')")), EVIL);
    let script = "new Promise(done => { const told = []; \
         new ReportingObserver(reports => told.push(...reports.map(r => JSON.stringify(r.body)))\
         , {buffered: true}).observe(); setTimeout(() => done(told), 60); })";
    assert_eq!(search.run(script), json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_holds_a_thousand_lines_at_most_and_a_link_leads_to_the_next() {
    let search = Search::begin().await;
    for n in 0..1060 {
        begin(&search.layer, async |session| session.insert("n", n)).await;
    }
    search.gate.parts.add_permits(1000);
    search.open("/sessions?q=n+exists");
    for n in [240, 450, 660, 870] {
        search.wait_for_lines(n);
        search.wait_for("document.querySelector('.said').innerText.includes('Paused')");
        search.click(STOP);
    }
    search.wait_for("document.querySelector('.said').innerText.includes('holds no more')");
    search.wait_for_lines(990);
    let handles = "[...document.querySelectorAll('tr .handle')].map(e => e.innerText)";
    let mut seen = search.run(handles).as_array().unwrap().clone();
    search.click("#next a");
    search.wait_for_said("Looked at 70 sessions, found 70.");
    seen.extend(search.run(handles).as_array().unwrap().clone());
    let seen: BTreeSet<String> = seen.iter().map(Value::to_string).collect();
    assert_eq!(seen.len(), 1060);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_scripts_a_link_searches_on() {
    let search = Search::begin().await;
    for n in 0..40 {
        begin(&search.layer, async |session| session.insert("n", n)).await;
    }
    search.browser.without_scripts();
    search.open("/sessions?q=n+exists");
    search.browser.see("p", "30 of 30 sessions match in this part.");
    search.browser.click("#next a");
    search.browser.see("p", "10 of 10 sessions match.");
    assert_eq!(search.gate.most_waiting.load(SeqCst), 0);
}
