//! What a real browser does with the cookie: when it sends it, when it keeps two, and when it takes one.
//!
//! `localhost` stands for a site with TLS: Chromium takes a Secure cookie from it. Cookies do not tell
//! ports apart, so two apps on one host are two ports here.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    response::{Html, IntoResponse as _, Redirect},
    routing::{any, get},
};
use http::header;
use ingle::{
    Cookie, CookieConfig, Error, SameSite, Session, SessionLayer,
    clock::{Clock as _, ManualClock, SystemClock},
    store::{Fault, Memory},
};
use testbed::chromium::Chromium;
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;

use crate::common::{faulty, layer, layer_as_it_comes};

/// Serves an app for as long as the test runs, and returns its port.
async fn serve(app: Router) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, app).await });
    port
}

async fn count(session: Session) -> Result<String, Error> {
    let n = session.field("n").update(|n: &mut u64| {
        *n += 1;
        *n
    });
    Ok(n.await?.to_string())
}

fn routes() -> Router {
    Router::new()
        .route("/", any(count))
        .route("/flash", any(async |session: Session| session.push_flash("welcome")))
        .route("/renew", get(async |session: Session| session.renew().await.map(|()| "renewed")))
        .route("/logout", get(async |session: Session| session.logout().await.map(|()| "bye")))
}

fn named(name: &str, set: impl FnOnce(&mut CookieConfig)) -> Cookie {
    let mut config = CookieConfig { name: name.into(), ..CookieConfig::development() };
    set(&mut config);
    Cookie::new(config).unwrap()
}

/// A page of another site with a form that is sent to `to`, a link to it, and a frame with it.
fn other_site(to: &str) -> Router {
    let form = format!("<form method=post action={to}><input name=code value=1></form>");
    let link = format!("<a href={to}>there</a>");
    let frame = format!("<iframe src={to}></iframe>");
    let page = |html: String| get(async move || Html(html));
    Router::new().route("/form", page(form)).route("/link", page(link)).route("/frame", page(frame))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_takes_the_cookie_from_the_browser() {
    let cases: [(&str, &str, Cookie); 4] = [
        ("localhost", "__Host-id", Cookie::default()),
        ("localhost", "id", named("id", |_| ())),
        ("www.shop.test", "sid", named("sid", |config| config.domain = Some("shop.test".into()))),
        (
            "localhost",
            "kept",
            named("kept", |config| {
                (config.persistent, config.secure) = (true, true);
                config.same_site = SameSite::Strict;
            }),
        ),
    ];
    let browser = Chromium::start();
    for (host, name, cookie) in cases {
        let port = serve(routes().layer(layer(Memory::new()).cookie(cookie))).await;
        let site = format!("http://{host}:{port}");
        browser.open(&site);
        assert_eq!(browser.text(), "1", "{name}");
        assert_eq!(browser.values(name).len(), 1, "{name}: {:?}", browser.cookies());
        let seen = browser.run("return document.cookie");
        assert_eq!(seen, "", "no script sees it");
        browser.open(&site);
        assert_eq!(browser.text(), "2", "{name}");
        browser.open(&format!("{site}/logout"));
        assert_eq!((browser.text(), browser.values(name).len()), ("bye".into(), 0), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_that_is_changed_to_a_domain_locks_nobody_out() {
    let (store, clock) = (Memory::new(), ManualClock::new(SystemClock.now()));
    let release = async |domain: Option<&str>| {
        let cookie = named("sid", |config| config.domain = domain.map(str::to_owned));
        let layer = layer(store.clone()).cookie(cookie).clock(Arc::new(clock.clone()));
        format!("http://www.shop.test:{}", serve(routes().layer(layer)).await)
    };
    let (before, after) = (release(None).await, release(Some("shop.test")).await);
    let browser = Chromium::start();
    browser.open(&before);
    browser.open(&format!("{after}/renew"));
    assert_eq!(browser.text(), "renewed");
    assert_eq!(browser.values("sid").len(), 2, "{:?}", browser.cookies());
    for expected in ["2", "3"] {
        browser.open(&after);
        assert_eq!(browser.text(), expected);
        // Nobody remembers any more that the one in the narrower cookie was renewed.
        clock.advance(Duration::from_secs(61));
    }
    browser.open(&format!("{after}/logout"));
    assert_eq!((browser.text(), store.len()), ("bye".into(), 0));
    for expected in ["1", "2"] {
        browser.open(&after);
        assert_eq!(browser.text(), expected, "the next session, beside what is left of the first");
    }
}

/// An app on another host of the domain sets the cookie for all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cookie_from_another_host_of_the_domain_gives_nobody_its_session() {
    let store = Memory::new();
    let app = || routes().layer(layer(store.clone()).cookie(named("sid", |_| ())));
    let site = format!("http://www.shop.test:{}", serve(app()).await);
    let attacker = Chromium::start();
    for _ in 0..10 {
        attacker.open(&site);
    }
    let planted = attacker.values("sid").remove(0);
    let evil = get(async move |axum::extract::Path(value): axum::extract::Path<String>| {
        [(header::SET_COOKIE, format!("sid={value}; Domain=shop.test; Path=/"))]
    });
    let evil = serve(Router::new().route("/set/{value}", evil)).await;

    let browser = Chromium::start();
    browser.open(&site);
    browser.open(&format!("http://evil.shop.test:{evil}/set/5"));
    browser.open(&site);
    assert_eq!(browser.values("sid").len(), 2, "{:?}", browser.cookies());
    assert_eq!(browser.text(), "2", "a value that is no id changes nothing");
    browser.open(&format!("http://evil.shop.test:{evil}/set/{planted}"));
    browser.open(&site);
    assert_eq!(browser.text(), "1", "it is neither the visitor's nor the attacker's");
    assert_eq!(browser.values("sid").len(), 2, "{:?}", browser.cookies());
    browser.open(&format!("{site}/logout"));
    // The first one is left: the browser took the new session's cookie in its place.
    assert_eq!((browser.text(), store.len()), ("bye".into(), 1));
    browser.open(&format!("http://evil.shop.test:{evil}/set/5"));
    browser.open(&site);
    assert_eq!(browser.text(), "1", "and a logout ended the planted one");
    attacker.open(&site);
    assert!(attacker.text().contains("ended by another request"), "{}", attacker.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_of_another_site_does_not_take_the_place_of_the_session() {
    let port = serve(routes().layer(layer(Memory::new()))).await;
    let site = format!("http://localhost:{port}");
    let other = serve(other_site(&format!("{site}/flash"))).await;
    let other = format!("http://accounts.test:{other}");
    let browser = Chromium::start();
    browser.open(&site);
    let before = browser.values("__Host-id");
    browser.open(&format!("{other}/form"));
    browser.submit();
    assert!(browser.text().contains("This came from another site."), "{}", browser.text());
    assert_eq!(browser.values("__Host-id"), before);
    browser.open(&site);
    assert_eq!(browser.text(), "2");
    // A link brings a Lax cookie with it.
    browser.open(&format!("{other}/link"));
    browser.follow();
    assert_eq!((browser.text(), browser.values("__Host-id")), (String::new(), before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_of_another_site_does_not_take_the_place_of_a_strict_session() {
    let cookie = CookieConfig { same_site: SameSite::Strict, ..CookieConfig::default() };
    let layer = layer(Memory::new()).cookie(Cookie::new(cookie).unwrap());
    let site = format!("http://localhost:{}", serve(routes().layer(layer)).await);
    let other = serve(other_site(&site)).await;
    let browser = Chromium::start();
    browser.open(&site);
    let before = browser.values("__Host-id");
    browser.open(&format!("http://accounts.test:{other}/link"));
    browser.follow();
    assert!(browser.text().contains("This came from another site."), "{}", browser.text());
    browser.open(&site);
    assert_eq!((browser.text(), browser.values("__Host-id")), ("2".into(), before));
}

/// The guide's way to take a `form_post`: send the browser on to the same host by GET.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_after_a_form_of_another_site_brings_the_lax_cookie() {
    let begin = async |session: Session| session.insert("state", "1");
    let posted = async |form: String| Redirect::to(&format!("/callback?{form}")).into_response();
    let callback = async |session: Session, uri: http::Uri| {
        let state: Option<String> = session.get("state").await?;
        let expected = format!("code={}", state.unwrap_or_default());
        session.renew().await?;
        session.push_flash("welcome")?;
        Ok::<_, Error>(format!("{}", uri.query() == Some(&*expected)))
    };
    let app = Router::new()
        .route("/begin", get(begin))
        .route("/callback", get(callback).post(posted))
        .layer(layer(Memory::new()));
    let site = format!("http://localhost:{}", serve(app).await);
    let other = serve(other_site(&format!("{site}/callback"))).await;
    let browser = Chromium::start();
    browser.open(&format!("{site}/begin"));
    let before = browser.values("__Host-id");
    browser.open(&format!("http://accounts.test:{other}/form"));
    browser.submit();
    assert_eq!(browser.text(), "true");
    let after = browser.values("__Host-id");
    assert_eq!(after.len(), 1);
    assert_ne!(after, before, "the login renewed it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embedded_page_has_a_partitioned_session_on_each_site_that_embeds_it() {
    let partitioned = CookieConfig {
        name: "__Host-embedded".into(),
        same_site: SameSite::None,
        partitioned: true,
        ..CookieConfig::default()
    };
    let store = Memory::new();
    let layer = layer(store.clone()).cookie(Cookie::new(partitioned).unwrap());
    let port = serve(routes().layer(layer)).await;
    let site = format!("http://localhost:{port}");
    let one = serve(other_site(&site)).await;
    let logout = serve(other_site(&format!("{site}/logout"))).await;
    let browser = Chromium::start();
    let in_frame = |host: &str, port: u16| {
        browser.open(&format!("http://{host}:{port}/frame"));
        browser.text_of_frame()
    };
    assert_eq!(in_frame("one.test", one), "1");
    assert_eq!(in_frame("one.test", one), "2");
    assert_eq!(in_frame("other.test", one), "1", "another site has another");
    browser.open(&site);
    assert_eq!(browser.text(), "1", "and so has the page itself");
    assert_eq!(store.len(), 3);
    assert_eq!(in_frame("one.test", logout), "bye");
    assert_eq!(store.len(), 2);
    assert_eq!(in_frame("one.test", one), "1", "the cookie of this site alone is gone");
    assert_eq!(in_frame("other.test", one), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_of_another_origin_can_read_the_session_s_own_errors() {
    let (_, store) = faulty();
    let page = serve(other_site("/")).await;
    let origin = format!("http://page.test:{page}");
    let cors = CorsLayer::new().allow_origin([origin.parse().unwrap()]).allow_credentials(true);
    let sessions: SessionLayer = layer_as_it_comes(store.clone());
    let inside = serve(routes().layer(cors.clone()).layer(sessions.clone())).await;
    let outside = serve(routes().layer(sessions).layer(cors)).await;
    store.fail_all(Some(Fault::Refuse));
    let browser = Chromium::start();
    browser.open(&format!("{origin}/link"));
    for (port, order) in [(inside, "inside"), (outside, "outside")] {
        let fetch = format!("fetch('http://localhost:{port}/flash', {{credentials: 'include'}})");
        let script = format!("return {fetch}.then(answer => answer.status, String)");
        assert_eq!(browser.run(&script), 503, "{order}");
    }
}
