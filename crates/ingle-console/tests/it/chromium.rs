//! The console in a real browser: hostile texts, by keyboard, without scripts, in light and dark.

use serde_json::{Value, json};
use testbed::chromium::Chromium;

use crate::scene::{Loopback, begin};

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
        let login = ingle::Login::of(EVIL).label(ingle::Label::new(EVIL));
        session.login(login).await?;
        session.insert(EVIL, EVIL)?;
        session.insert("map", json!({ EVIL: [EVIL] }))
    })
    .await;
    let sessions = visit.console.layer.sessions();
    let operated = sessions.operated_by(ingle::Operator::new(EVIL).from(EVIL));
    let session = operated.find(&handle).await.unwrap().unwrap();
    session
        .update(|data: &mut ingle::data::Data| data.insert(EVIL.into(), json!([EVIL])))
        .await
        .unwrap();
    let query = |name: &str, value: &str| crate::http::form(&[(name, value)]);
    let path = ingle_operator::Path::of_field(EVIL).to_string();
    let pages = [
        "/".to_owned(),
        "/sessions".to_owned(),
        format!("/sessions?{}", query("q", EVIL)),
        format!("/sessions?{}", query("q", &format!("user:{EVIL}"))),
        format!("/sessions?{}", query("q", "@user exists")),
        format!("/sessions/{handle}"),
        format!("/sessions/{handle}/edit?{}", query("path", &path)),
        format!("/sessions/{handle}/add?{}", query("in", &path)),
        format!("/sessions/{handle}/json"),
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

/// What is wrong with a page for those who do not see it well, or have a small screen.
const FAULTS: &str = r"
const faults = [];
const root = document.documentElement;
if (root.scrollWidth > root.clientWidth) faults.push('wider than the window');
if (document.querySelectorAll('h1').length !== 1) faults.push('not one h1');
if (!root.lang || !document.title) faults.push('no language or no title');
const ids = [...document.querySelectorAll('[id]')].map(e => e.id);
if (new Set(ids).size !== ids.length) faults.push('an id twice');
for (const field of document.querySelectorAll('input:not([type=hidden]), select, textarea'))
  if (!field.labels.length && !field.ariaLabel) faults.push('no label: ' + field.outerHTML);
for (const link of document.querySelectorAll('a, button'))
  if (!(link.innerText.trim() || link.ariaLabel || !link.checkVisibility())) faults.push('no name: ' + link.outerHTML);
const channels = text => text.match(/[\d.]+/g).map(Number);
const light = text => channels(text).slice(0, 3)
  .map(c => c / 255).map(c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4)
  .reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
const ground = element => {
  const color = getComputedStyle(element).backgroundColor;
  return channels(color)[3] !== 0 || !element.parentElement ? color : ground(element.parentElement);
};
const contrast = (a, b) => (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
const isSeen = element => element.checkVisibility() && !element.closest('.hidden, .skip');
for (const element of document.querySelectorAll('body *')) {
  const hasText = [...element.childNodes].some(node => node.nodeType === 3 && node.data.trim());
  if (!hasText && element.tagName !== 'INPUT' || !isSeen(element)) continue;
  const ratio = contrast(light(getComputedStyle(element).color), light(ground(element)));
  if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${element.outerHTML}`);
}
for (const element of document.querySelectorAll('main button, main input:not([type=hidden]), main select, main textarea, main summary, main a, nav a')) {
  if (!isSeen(element) || element.disabled) continue;
  const isInText = element.closest('p') && !element.classList.contains('button');
  if (element.getBoundingClientRect().height < (isInText ? 1 : 24)) faults.push('small: ' + element.outerHTML);
  element.focus({focusVisible: true});
  const outline = getComputedStyle(element);
  const around = light(ground(element.parentElement));
  if (outline.outlineStyle !== 'solid' || contrast(light(outline.outlineColor), around) < 3)
    faults.push('no focus: ' + element.outerHTML);
}
return faults;
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_can_be_read_at_any_width_in_light_and_dark_and_is_light() {
    let visit = Visit::begin().await;
    for n in 0..60 {
        let user = ["ada@example.com", "bob@example.com"][n % 2];
        begin(&visit.console.layer, async |session| {
            let label = ingle::Label::new("Chrome on Windows");
            session.login(ingle::Login::of(user).label(label)).await?;
            session.insert("greeting", "Salut le Monde")
        })
        .await;
    }
    let handle = visit
        .console
        .holding(json!({ "greeting": "Hola", "token": "s", "cart": { "items": [{ "article": "tea".repeat(60) }] } }))
        .await;
    let sessions = visit.console.layer.sessions().operated_by(ingle::Operator::new("ada"));
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
        of("/json"),
        "/user?name=ada@example.com".to_owned(),
        "/audit".to_owned(),
        "/nothing".to_owned(),
    ];
    for page in pages {
        visit.open(&page);
        for width in [320, 390, 1440] {
            for is_dark in [false, true] {
                visit.browser.look(width, is_dark);
                assert_eq!(visit.browser.run(FAULTS), json!([]), "{page} {width} {is_dark}");
            }
        }
        let bytes = "return performance.getEntriesByType('navigation').concat(\
             performance.getEntriesByType('resource').filter(e => !/\\/live$|\\/part\\?/.test(e.name)))\
             .reduce((sum, e) => sum + e.decodedBodySize, 0)";
        let bytes = visit.browser.run(bytes).as_u64().unwrap();
        assert!(bytes < 60 * 1024, "{page}: {bytes} bytes");
    }
}
