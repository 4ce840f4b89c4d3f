//! The console in a real browser: hostile texts, by keyboard, without scripts, in light and dark.

use serde_json::{Value, json};
use testbed::chromium::Chromium;

use crate::scene::{Loopback, Scene, begin};

/// A browser that has signed in.
struct Visit {
    browser: Chromium,
    console: Loopback,
}

impl Visit {
    async fn begin() -> Self {
        let console = Loopback::start().await;
        let browser = Chromium::start();
        browser.open(&console.first());
        let visit = Self { browser, console };
        // Keys reach a page only where it has the focus.
        visit.browser.look(1440, false);
        visit.wait_for("document.querySelector('h1')?.innerText === 'Overview'");
        visit
    }

    fn open(&self, path: &str) {
        self.browser.open(&format!("http://{}{path}", self.console.address));
    }

    /// Waits until this holds in the page, or in the one that it leads to.
    #[track_caller]
    fn wait_for(&self, condition: &str) {
        self.browser.wait_for(condition);
    }

    fn text_of(&self, selector: &str) -> String {
        let text =
            self.browser.run(&format!("return document.querySelector('{selector}')?.innerText"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Presses keys, one after the other, wherever the focus is. A browser drops those that come before it
    /// has painted a page.
    fn press(&self, keys: &str) {
        self.wait_for(PAINTED);
        self.browser.press(keys);
    }
}

pub(crate) const PAINTED: &str = "document.hasFocus() \
    && performance.getEntriesByName('first-contentful-paint').length > 0";

const EVIL: &str = "\"'><img src=x onerror=window.__x=1><script>window.__x=1</script></textarea>\
                    <svg onload=window.__x=1>javascript:window.__x=1//\u{202e}{{7*7}}${7*7}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_texts_are_texts_on_every_page() {
    let visit = Visit::begin().await;
    let handle = begin(&visit.console.layer, async |session| {
        let login = ingle::Login::new(EVIL).label(ingle::Label::new(EVIL));
        session.login(login).await?;
        session.insert(EVIL, EVIL)?;
        session.insert("map", json!({ EVIL: [EVIL, { EVIL: EVIL }] }))
    })
    .await;
    let sessions = visit.console.layer.sessions();
    let operated = sessions.operated_by(ingle::operator::Operator::new(EVIL).at(EVIL));
    let session = operated.find(&handle).await.unwrap().unwrap();
    session
        .update(|data: &mut ingle::data::Data| data.insert(EVIL.into(), json!([EVIL])))
        .await
        .unwrap();
    let query = |name: &str, value: &str| crate::http::form(&[(name, value)]);
    let path = ingle_operator::Path::of_field(EVIL).to_string();
    let list = format!("map.{path}");
    let pages = [
        "/".to_owned(),
        "/sessions".to_owned(),
        format!("/sessions?{}", query("q", EVIL)),
        format!("/sessions?{}", query("q", &format!("user:{EVIL}"))),
        format!("/sessions?{}", query("q", "@user exists")),
        format!("/sessions/{handle}"),
        format!("/sessions/{handle}/edit?{}", query("path", &path)),
        format!("/sessions/{handle}/add?{}", query("in", &path)),
        format!("/sessions/{handle}/order?{}", query("path", &list)),
        format!("/sessions/{handle}/json"),
        "/api/v1/".to_owned(),
        format!("/user?{}", query("name", EVIL)),
        "/audit".to_owned(),
        format!("/nothing/{}", query("x", EVIL)),
    ];
    for page in pages {
        visit.open(&page);
        // What the policy refuses is told to the page, also before this is run.
        let script = "return new Promise(done => { const told = []; \
             new ReportingObserver(reports => told.push(...reports.map(r => JSON.stringify(r.body)))\
             , {buffered: true}).observe(); setTimeout(() => done(told), 60); })";
        assert_eq!(visit.browser.run(script), json!([]), "{page}");
        assert_eq!(visit.browser.run("return window.__x ?? null"), Value::Null, "{page}");
        assert_eq!(
            visit.browser.run(
                "return document.querySelectorAll('main img, main svg[onload], main script').length"
            ),
            json!(0),
            "{page}"
        );
        let elsewhere = "return performance.getEntriesByType('resource').map(e => e.name)\
             .filter(name => new URL(name).origin !== location.origin)";
        assert_eq!(visit.browser.run(elsewhere), json!([]), "{page}");
    }
    // What comes by an event is a text as well.
    visit.open(&format!("/sessions/{handle}"));
    session
        .update(|data: &mut ingle::data::Data| data.insert(format!("new{EVIL}"), EVIL.into()))
        .await
        .unwrap();
    visit.wait_for(
        "[...document.querySelectorAll('#tree th')].some(th => th.innerText.startsWith('new'))",
    );
    assert_eq!(visit.browser.run("return window.__x ?? null"), Value::Null);
    assert_eq!(
        visit.browser.run("return document.querySelectorAll('#tree img, #tree svg').length"),
        json!(0)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_app_changes_moves_and_what_is_typed_stays() {
    let visit = Visit::begin().await;
    let handle = visit.console.holding(json!({ "views": 1, "greeting": "Hola" })).await;
    let session = visit.console.layer.sessions().find(&handle).await.unwrap().unwrap();
    let put = async |name: &'static str, value: Value| {
        let put = move |data: &mut ingle::data::Data| data.insert(name.to_owned(), value.clone());
        session.update(put).await.unwrap();
    };
    visit.open(&format!("/sessions/{handle}"));
    put("views", json!(2)).await;
    put("added", json!({ "x": [1] })).await;
    let row =
        |path: &str| format!("document.querySelector('[data-path=\"{path}\"] .value')?.innerText");
    visit.wait_for(&format!("{} === '2' && {} === '1'", row("views"), row("added.x[0]")));
    session.update(|data: &mut ingle::data::Data| data.remove("added")).await.unwrap();
    visit.wait_for("document.querySelectorAll('#tree tbody tr').length === 2");
    visit.open(&format!("/sessions/{handle}/edit?path=greeting"));
    visit.wait_for("performance.getEntriesByName(document.querySelector('[data-live]').dataset.live) && document.activeElement.id === 'value'");
    visit.browser.run("document.getElementById('value').value = 'typed'");
    // The first event is what was there when the page was opened.
    visit.wait_for("document.getElementById('live-note').dataset.first !== undefined");
    put("greeting", json!("Theirs")).await;
    visit.wait_for("document.getElementById('live-note').innerText.includes('Theirs')");
    assert_eq!(visit.browser.run("return document.getElementById('value').value"), "typed");
    visit.browser.run("document.querySelector('button[value=save]').click()");
    visit.wait_for("document.querySelector('h1').innerText.startsWith('Somebody')");
    session.end().await.unwrap();
    visit.open(&format!("/sessions/{handle}"));
    assert_eq!(visit.text_of("h1"), "This session is not there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_done_by_keyboard_alone() {
    let visit = Visit::begin().await;
    let handle = visit.console.holding(json!({ "greeting": "Hola", "views": 101 })).await;
    visit.console.holding(json!({ "views": 1 })).await;
    visit.open("/sessions");
    visit.press("?");
    visit.wait_for("document.getElementById('help').open");
    visit.press("\u{e00c}");
    visit.wait_for("!document.getElementById('help').open");
    visit.press("/");
    visit.wait_for("document.activeElement.id === 'q'");
    visit.press("views > 100\u{e007}");
    visit.wait_for(
        "document.querySelectorAll('tr[data-line] a[data-open]').length === 1 && location.search",
    );
    visit.press("j");
    visit.wait_for(&format!("document.activeElement.innerText === '{handle}'"));
    visit.press("\u{e007}");
    visit.wait_for("document.querySelector('#tree')");
    visit.press("j");
    visit.wait_for("document.querySelector('tr.current')");
    visit.press("e");
    visit.wait_for("document.activeElement.id === 'value'");
    // Select all, type, and go on to the button.
    visit.press("\u{e009}a");
    visit.press("Hello\u{e004}\u{e007}");
    visit.wait_for("document.querySelector('.said')?.innerText.includes('Saved')");
    let data = || async {
        visit.console.layer.sessions().find(&handle).await.unwrap().unwrap().snapshot().clone()
    };
    assert_eq!(data().await["greeting"], "Hello");
    visit.browser.run("document.querySelector('.said button').focus()");
    visit.press("\u{e007}");
    visit.wait_for("document.querySelector('.said')?.innerText.includes('Undone')");
    assert_eq!(data().await["greeting"], "Hola");
    visit.browser.run("document.querySelector('summary').focus()");
    visit.press("\u{e007}\u{e004}\u{e007}");
    visit.wait_for("document.querySelector('h1').innerText === 'Done'");
    assert!(visit.console.layer.sessions().find(&handle).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_without_scripts() {
    let visit = Visit::begin().await;
    let handle = visit.console.holding(json!({ "greeting": "Hola" })).await;
    visit.browser.without_scripts();
    visit.open("/sessions?q=greeting+exists");
    let click = |selector: &str| visit.browser.click(selector);
    click("a.handle[data-open]");
    visit.browser.see("h1", &handle.to_string());
    click("[data-path=greeting] [data-edit]");
    // The key End, and then the text.
    visit.browser.type_into("#value", "\u{e010} Mundo");
    click("button[value=save]");
    visit.browser.see("div", "Saved.");
    let session = visit.console.layer.sessions().find(&handle).await.unwrap().unwrap();
    assert_eq!(session.snapshot()["greeting"], "Hola Mundo");
    click(".said button");
    visit.browser.see("div", "Undone.");
    click("summary");
    click("details button");
    visit.browser.see("h1", "Done");
    assert!(visit.console.layer.sessions().find(&handle).await.unwrap().is_none());
    click(".brand");
    visit.browser.see("h1", "Overview");
}

/// In an app, where the browser is somebody of this role.
struct InApp {
    browser: Chromium,
    scene: Scene,
}

impl InApp {
    async fn begin(role: &str) -> Self {
        let visit = Self { browser: Chromium::start(), scene: Scene::in_memory().await };
        visit.open("");
        visit.browser.run(&format!("document.cookie = 'role={role}; path=/'"));
        visit
    }

    fn open(&self, path: &str) {
        self.browser.open(&format!("http://{}/console{path}", self.scene.address));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_charts_of_this_process_move_while_one_looks() {
    let visit = InApp::begin("viewer").await;
    visit.scene.holding(json!({ "views": 1 })).await;
    visit.open("");
    let shows = |n: usize| {
        format!(
            "(card => card.querySelector('[data-total]').innerText === '{n}' \
             && card.querySelector('svg').ariaLabel.startsWith('Begun: {n} in the last hour') \
             && card.querySelector('.now').getBBox().height === 40 \
             && document.querySelector('#process tbody td').textContent === '{n}')\
             (document.querySelector('[data-chart]'))"
        )
    };
    visit.browser.wait_for(&shows(1));
    for _ in 0..2 {
        visit.scene.holding(json!({ "views": 1 })).await;
    }
    visit.browser.wait_for(&shows(3));
    // A minute later they stand one place to the left.
    visit.scene.clock.advance(std::time::Duration::from_secs(60));
    visit.browser.wait_for(
        "(card => card.querySelector('.now').getAttribute('d') === '' \
         && card.querySelector('.over').getBBox().x === 232)(document.querySelector('[data-chart]'))",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_put_into_another_order_by_keyboard_with_scripts_and_without() {
    for has_scripts in [true, false] {
        let visit = Visit::begin().await;
        let handle = visit.console.holding(json!({ "items": ["a", "b", "c"] })).await;
        if !has_scripts {
            visit.browser.without_scripts();
        }
        visit.open(&format!("/sessions/{handle}"));
        visit.browser.click("[data-path=items] a[href*=order]");
        visit.browser.see("h1", "Order of items");
        // Down to the end with one button, and then up with the other.
        visit.browser.click("li:first-child [value^=down]");
        visit.browser.see("li[2]", "[0]");
        visit.press("\u{e007}");
        visit.browser.see("li[3]", "[0]");
        visit.press("\u{e007}");
        visit.browser.see("li[2]", "[0]");
        // Nothing is stored yet.
        let data = || async {
            let session = visit.console.layer.sessions().find(&handle).await.unwrap().unwrap();
            session.snapshot()["items"].clone()
        };
        assert_eq!(data().await, json!(["a", "b", "c"]));
        visit.browser.click("button[value=save]");
        visit.browser.see("div", "Saved.");
        assert_eq!(data().await, json!(["b", "a", "c"]));
        visit.browser.click(".said button");
        visit.browser.see("div", "Undone.");
        assert_eq!(data().await, json!(["a", "b", "c"]));
    }
}

/// What a page loads in all, without what is live on it.
const BYTES: &str = "return performance.getEntriesByType('navigation').concat(\
     performance.getEntriesByType('resource').filter(e => !/\\/live$|\\/part\\?/.test(e.name)))\
     .reduce((sum, e) => sum + e.decodedBodySize, 0)";

/// Looks at a page as it is on phones and on desks, in light and in dark.
#[track_caller]
fn check(browser: &Chromium, page: &str) {
    let bytes = browser.run(BYTES).as_u64().unwrap();
    assert!(bytes < 60 * 1024, "{page}: {bytes} bytes");
    for width in [390, 1440] {
        for is_dark in [false, true] {
            browser.look(width, is_dark);
            let faults = browser.faults();
            assert!(faults.is_empty(), "{page} {width} {is_dark}: {faults:#?}");
        }
    }
    browser.look(320, false);
    let is_wide =
        "return document.documentElement.scrollWidth > document.documentElement.clientWidth";
    assert_eq!(browser.run(is_wide), json!(false), "{page}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_wrong_with_the_charts_in_an_app() {
    let visit = InApp::begin("editor").await;
    let app = visit.scene.layer.sessions();
    visit.open("");
    check(&visit.browser, "an empty overview in an app");
    for minute in 0..65_u64 {
        for n in 0..=minute % 7 {
            let handle = visit.scene.holding(json!({ "n": n, "text": "x".repeat(1 << n) })).await;
            if n % 3 == 2 {
                app.find(&handle).await.unwrap().unwrap().end().await.unwrap();
            }
        }
        visit.scene.clock.advance(std::time::Duration::from_secs(55));
    }
    visit.open("");
    visit.browser.run("document.querySelector('.figures').open = true");
    check(&visit.browser, "an overview in an app");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_wrong_with_any_page_and_each_is_light() {
    let visit = Visit::begin().await;
    for n in 0..60 {
        let user = ["ada@example.com", "bob@example.com"][n % 2];
        begin(&visit.console.layer, async |session| {
            let label = ingle::Label::new("Chrome on Windows");
            session.login(ingle::Login::new(user).label(label)).await?;
            session.insert("greeting", "Salut le Monde")
        })
        .await;
    }
    let handle = visit
        .console
        .holding(json!({ "greeting": "Hola", "token": "s", "cart": { "items": [{ "article": "tea".repeat(60) }, "cup", 1.0] } }))
        .await;
    let sessions =
        visit.console.layer.sessions().operated_by(ingle::operator::Operator::new("ada"));
    let session = sessions.find(&handle).await.unwrap().unwrap();
    session.update(|data: &mut ingle::data::Data| data.insert("a".into(), 1.into())).await.unwrap();
    let of = |action: &str| format!("/sessions/{handle}{action}");
    let pages = [
        "/".to_owned(),
        "/sessions".to_owned(),
        "/sessions?q=x".to_owned(),
        "/sessions?q=%40age+%3C+1d".to_owned(),
        of(""),
        of("/edit?path=greeting"),
        of("/edit?path=token"),
        of("/add"),
        of("/order?path=cart.items"),
        of("/json"),
        "/user?name=ada@example.com".to_owned(),
        "/audit".to_owned(),
        "/nothing".to_owned(),
        "/api/v1/".to_owned(),
    ];
    for page in pages {
        visit.open(&page);
        check(&visit.browser, &page);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_wrong_with_what_answers_a_form() {
    let visit = Visit::begin().await;
    begin(&visit.console.layer, async |session| session.login("ada").await).await;
    let handle = visit.console.holding(json!({ "greeting": "Hola" })).await;
    let of = |action: &str| format!("/sessions/{handle}{action}");
    // Opens a page, runs a script that sends a form, and looks at the page that has this then.
    let submit = |path: &str, script: &str, shown: &str| {
        visit.open(path);
        visit.browser.run(script);
        visit.wait_for(&format!("document.querySelector('{shown}')"));
        check(&visit.browser, shown);
    };
    let save = "document.querySelector('button[value=save]').click()";
    let fill =
        |id: &str, text: &str| format!("document.getElementById('{id}').value = '{text}'; {save}");
    let edit = of("/edit?path=greeting");
    submit(&edit, &fill("kind", "int"), "#wrong");
    let other =
        format!("document.querySelector('[name=before]').value = '1'; {}", fill("value", "Hi"));
    submit(&edit, &other, ".conflict");
    submit(&edit, &fill("value", "Hello"), ".said");
    let end = "document.querySelector('form.aside button').click()";
    submit("/user?name=ada", end, "[name=confirmed]");
    submit(
        &of(""),
        "document.querySelector('details form').submit()",
        "p[role=status] + p .button",
    );
    submit("/", "document.querySelector('form[action$=sign-out] button').click()", "#sign-in");
}
