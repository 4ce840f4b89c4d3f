//! Requests that come from other sites, for which the browser keeps a Lax or a Strict cookie back. That
//! there is no cookie does not say that there is no session, so nothing takes the place of the browser's.

use axum::{Router, body::Body, routing::any};
use http::{Request, StatusCode};
use ingle::{Cookie, CookieConfig, Error, SameSite, Session, SessionLayer, store::Memory};

use crate::common::{Answer, App, Visitor, layer};

fn cookie(same_site: SameSite) -> Cookie {
    Cookie::new(CookieConfig { same_site, ..CookieConfig::default() }).unwrap()
}

fn routes(layer: &SessionLayer) -> App {
    let router = Router::new()
        .route("/flash", any(async |session: Session| session.push_flash("welcome")))
        .route("/insert", any(async |session: Session| session.insert("n", 1)))
        .route(
            "/update",
            any(async |session: Session| session.field("n").update(|n: &mut u64| *n += 1).await),
        )
        .route(
            "/commit",
            any(async |session: Session| {
                session.insert("n", 1)?;
                match session.commit().await {
                    Err(Error::CookieWithheld) => Ok("withheld"),
                    other => other.map(|()| "stored"),
                }
            }),
        )
        .route(
            "/read",
            any(async |session: Session| {
                Ok::<_, Error>(format!("{:?}", session.get::<u64>("n").await?))
            }),
        )
        .route(
            "/nothing",
            any(async |session: Session| {
                session.field("n").update(|_: &mut u64| ()).await?;
                session.renew().await
            }),
        )
        .route(
            "/login",
            any(async |session: Session| {
                session.insert("user", "ada")?;
                session.renew().await
            }),
        )
        .route(
            "/renew-first",
            any(async |session: Session| {
                session.renew().await?;
                session.field("n").update(|n: &mut u64| *n += 1).await
            }),
        )
        .route("/logout", any(async |session: Session| session.logout().await));
    App::with(router.layer(layer.clone()))
}

const STORES: [&str; 3] = ["/flash", "/insert", "/update"];

/// The headers of a request, and its method.
type Sent<'a> = (&'a str, &'a [(&'a str, &'a str)]);

async fn send(app: &App, path: &str, (method, headers): Sent<'_>, cookie: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !cookie.is_empty() {
        request = request.header("cookie", cookie);
    }
    app.serve(request.body(Body::empty()).unwrap()).await
}

/// What Chromium sends where a form of another site is posted.
const FORM_POST: Sent<'_> = (
    "POST",
    &[
        ("host", "app.example"),
        ("origin", "https://accounts.example"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-dest", "document"),
    ],
);

/// Other forms of the same: a privacy setting hides the origin, and older browsers say less.
const ALIKE: [Sent<'_>; 6] = [
    FORM_POST,
    (
        "POST",
        &[("origin", "null"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")],
    ),
    ("POST", &[("sec-fetch-site", "cross-site")]),
    ("PUT", &[("sec-fetch-site", "cross-site")]),
    ("POST", &[("host", "app.example"), ("origin", "https://accounts.test")]),
    ("POST", &[("host", "app.example:8443"), ("origin", "https://evil.example.org")]),
];

/// In none of these did the browser keep a Lax cookie back: there is none.
const OTHERS: [Sent<'_>; 12] = [
    ("GET", &[]),
    ("POST", &[]),
    ("POST", &[("sec-fetch-site", "same-origin"), ("origin", "https://app.example")]),
    ("POST", &[("sec-fetch-site", "same-site"), ("origin", "https://www.app.example")]),
    ("POST", &[("sec-fetch-site", "none")]),
    // As it is written: what nobody knows is no reason to refuse.
    ("POST", &[("sec-fetch-site", "elsewhere")]),
    ("GET", &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
    ("HEAD", &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]),
    // The cookie of an answer to a fetch from another site is not taken either.
    ("POST", &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "cors")]),
    ("POST", &[("host", "app.example"), ("origin", "https://app.example")]),
    ("POST", &[("host", "app.example:8443"), ("origin", "http://www.app.example")]),
    ("POST", &[("host", "app.example"), ("origin", "null")]),
];

#[tokio::test]
async fn a_post_from_another_site_does_not_take_the_place_of_the_browser_s_session() {
    let memory = Memory::new();
    let app = routes(&layer(memory.clone()));
    for sent in ALIKE {
        for path in STORES {
            let answer = send(&app, path, sent, "").await;
            assert_eq!(answer.set_cookie(), "", "{path} {sent:?}: {answer:?}");
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path} {sent:?}");
        }
        assert_eq!(send(&app, "/commit", sent, "").await.ok().body, "withheld", "{sent:?}");
    }
    assert!(memory.is_empty(), "and nothing is stored where nobody finds it");
}

#[tokio::test]
async fn what_stores_nothing_is_served() {
    let memory = Memory::new();
    let app = routes(&layer(memory.clone()));
    for path in ["/read", "/nothing", "/logout"] {
        let answer = send(&app, path, FORM_POST, "").await.ok();
        assert_eq!(answer.set_cookie(), "", "{path}");
        assert_eq!(answer.header("vary"), "Cookie", "{path}");
    }
    assert!(memory.is_empty());
}

#[tokio::test]
async fn where_the_cookie_came_nothing_is_withheld() {
    let app = routes(&layer(Memory::new()));
    let mut visitor = Visitor::default();
    visitor.get(&app, "/insert").await.ok();
    for path in STORES {
        let answer = send(&app, path, FORM_POST, &visitor.cookie).await.ok();
        assert_eq!(answer.set_cookie(), "", "{path}");
    }
}

#[tokio::test]
async fn every_other_request_without_a_cookie_begins_a_session() {
    for sent in OTHERS {
        let app = routes(&layer(Memory::new()));
        for path in STORES {
            let answer = send(&app, path, sent, "").await.ok();
            assert!(answer.set_cookie().starts_with("__Host-id="), "{path} {sent:?}: {answer:?}");
        }
    }
}

/// SAML and some providers of OAuth log a visitor in by such a request: that is meant to begin a session.
#[tokio::test]
async fn a_login_in_such_a_request_begins_the_session() {
    let app = routes(&layer(Memory::new()));
    for path in ["/login", "/renew-first"] {
        let answer = send(&app, path, FORM_POST, "").await.ok();
        assert!(answer.set_cookie().starts_with("__Host-id="), "{path}: {answer:?}");
    }
}

#[tokio::test]
async fn a_strict_cookie_is_kept_back_from_links_as_well() {
    let strict = routes(&layer(Memory::new()).cookie(cookie(SameSite::Strict)));
    let link = [
        ("GET", &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")][..]),
        ("GET", &[("sec-fetch-site", "cross-site")][..]),
    ];
    for sent in link.into_iter().chain(ALIKE) {
        let answer = send(&strict, "/flash", sent, "").await;
        assert_eq!((answer.status, answer.set_cookie()), (StatusCode::FORBIDDEN, ""), "{sent:?}");
    }
    for sent in [("GET", &[][..]), ("GET", &[("sec-fetch-site", "none")]), OTHERS[2]] {
        assert!(!send(&strict, "/flash", sent, "").await.ok().set_cookie().is_empty(), "{sent:?}");
    }
}

/// What was withheld then was no cookie of this kind.
#[tokio::test]
async fn a_cookie_without_same_site_limits_is_never_kept_back() {
    let open = routes(&layer(Memory::new()).cookie(cookie(SameSite::None)));
    for sent in ALIKE {
        assert!(!send(&open, "/flash", sent, "").await.ok().set_cookie().is_empty(), "{sent:?}");
    }
}

/// Another host of the domain can set a cookie that browsers do send then. It does not say that the
/// visitor has no other.
#[tokio::test]
async fn a_cookie_that_names_no_session_is_as_good_as_none() {
    let memory = Memory::new();
    let app = routes(&layer(memory.clone()));
    for cookie in ["__Host-id=5".to_owned(), format!("__Host-id={}", "A".repeat(43))] {
        let answer = send(&app, "/flash", FORM_POST, &cookie).await;
        assert_eq!((answer.status, answer.set_cookie()), (StatusCode::FORBIDDEN, ""), "{cookie}");
    }
    assert!(memory.is_empty());
}
