//! Requests of other origins. What passes is what the guide's table says, which is read here.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, body::Body, routing::any};
use http::{Method, Request, StatusCode, Version};
use ingle::{NotAnOrigin, SameOriginLayer, SessionLayer, store::Memory};
use tower::ServiceExt as _;

use crate::common::{Answer, App};

const GUIDE: &str = include_str!("../../docs/guide.md");

/// The app's host, and an origin that it trusts.
pub(crate) const HOST: &str = "app.example:8443";
const TRUSTED: &str = "https://accounts.example";

pub(crate) const SAFE: [&str; 3] = ["GET", "HEAD", "OPTIONS"];
pub(crate) const UNSAFE: [&str; 6] = ["POST", "PUT", "PATCH", "DELETE", "TRACE", "PURGE"];

pub(crate) fn same_origin() -> SameOriginLayer {
    SameOriginLayer::new().trust(TRUSTED).unwrap()
}

/// One cell of the table.
#[derive(Debug)]
pub(crate) struct Cell {
    pub(crate) site: Option<&'static str>,
    pub(crate) origin: Option<&'static str>,
    pub(crate) passes: bool,
}

/// The headers that a heading of the table stands for.
fn site(heading: &str) -> Vec<Option<&'static str>> {
    match heading {
        "none sent" => vec![None, Some("")],
        "`same-origin`" => vec![Some("same-origin")],
        "`none`" => vec![Some("none")],
        "`same-site`" => vec![Some("same-site")],
        "`cross-site`" => vec![Some("cross-site")],
        "anything else" => vec![Some("Same-Origin"), Some("same-origin, none"), Some("elsewhere")],
        other => panic!("the table has a row `{other}`, which no test knows"),
    }
}

fn origin(heading: &str) -> Vec<Option<&'static str>> {
    match heading {
        "no `Origin`" => vec![None, Some("")],
        "the app's" => vec![Some("https://app.example:8443")],
        "`null`" => vec![Some("null")],
        "another scheme" => vec![Some("http://app.example:8443")],
        "another port" => vec![Some("https://app.example"), Some("https://app.example:8444")],
        "another host" => vec![Some("https://www.app.example:8443"), Some("https://evil.example")],
        "a trusted one" => vec![Some(TRUSTED)],
        other => panic!("the table has a column `{other}`, which no test knows"),
    }
}

/// All cells of the guide's table.
pub(crate) fn table() -> Vec<Cell> {
    let row = |line: &'static str| line.trim_matches('|').split('|').map(str::trim);
    let mut lines = GUIDE.lines().skip_while(|line| !line.starts_with("| `Sec-Fetch-Site` |"));
    let headings: Vec<_> = row(lines.next().unwrap()).skip(1).collect();
    let mut cells = Vec::new();
    for line in lines.skip(1).take_while(|line| line.starts_with('|')) {
        let mut row = row(line);
        let sites = site(row.next().unwrap());
        let verdicts: Vec<_> = row.collect();
        assert_eq!(verdicts.len(), headings.len(), "{line}");
        for (heading, verdict) in headings.iter().zip(verdicts) {
            let passes = match verdict {
                "passes" => true,
                "403" => false,
                other => panic!("a cell of the table says `{other}`"),
            };
            let pairs =
                sites.iter().flat_map(|site| origin(heading).into_iter().map(|o| (*site, o)));
            cells.extend(pairs.map(|(site, origin)| Cell { site, origin, passes }));
        }
    }
    // 9 values of one header, 10 of the other.
    assert_eq!(cells.len(), 90, "the table has all cells");
    cells
}

/// An app behind the layer, and how often its handler ran.
fn app(layer: SameOriginLayer) -> (App, Arc<AtomicUsize>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&runs);
    let handler = any(async move || {
        count.fetch_add(1, Ordering::Relaxed);
        "done"
    });
    (App::with(Router::new().route("/", handler).layer(layer)), runs)
}

async fn send(app: &App, method: &str, headers: &[(&str, Option<&str>)]) -> Answer {
    let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).unwrap());
    for (name, value) in headers {
        if let Some(value) = value {
            request = request.header(*name, *value);
        }
    }
    app.serve(request.uri("/").body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn exactly_the_cells_of_the_guide_s_table_pass() {
    let (app, runs) = app(same_origin());
    for cell in table() {
        let headers =
            [("host", Some(HOST)), ("sec-fetch-site", cell.site), ("origin", cell.origin)];
        let websocket: Vec<_> =
            headers.into_iter().chain([("upgrade", Some("WebSocket"))]).collect();
        let requests = SAFE
            .map(|method| (method, &headers[..], true))
            .into_iter()
            .chain(UNSAFE.map(|method| (method, &headers[..], cell.passes)))
            .chain([("GET", &websocket[..], cell.passes)]);
        for (method, headers, passes) in requests {
            let before = runs.load(Ordering::Relaxed);
            let answer = send(&app, method, headers).await;
            let expected = if passes { StatusCode::OK } else { StatusCode::FORBIDDEN };
            assert_eq!(answer.status, expected, "{method} {headers:?}");
            let ran = runs.load(Ordering::Relaxed) - before;
            assert_eq!(ran, usize::from(passes), "{method} {headers:?}");
        }
    }
}

#[tokio::test]
async fn in_http_2_the_authority_is_the_host() {
    let (app, _) = app(same_origin());
    let ask = async |origin: &str| {
        let request = Request::post("https://app.example:8443/").version(Version::HTTP_2);
        app.serve(request.header("origin", origin).body(Body::empty()).unwrap()).await.status
    };
    assert_eq!(ask("https://app.example:8443").await, StatusCode::OK);
    assert_eq!(ask("https://app.example").await, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn no_header_of_a_proxy_is_taken_for_the_host() {
    let (app, _) = app(same_origin());
    let origin = [("origin", Some("https://evil.example"))];
    for forged in ["x-forwarded-host", "forwarded", "x-original-host"] {
        for host in [Some(HOST), None] {
            let value = Some("evil.example").filter(|_| forged != "forwarded");
            let value = value.or(Some("host=evil.example"));
            let headers = [("host", host), (forged, value), origin[0]];
            let answer = send(&app, "POST", &headers).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn a_refusal_is_a_short_text_or_the_app_s_own_answer() {
    let headers = [("sec-fetch-site", Some("cross-site"))];
    let (plain, _) = app(same_origin());
    let answer = send(&plain, "POST", &headers).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.body, "This came from another site. Please try again on this one.\n");

    let (own, _) = app(same_origin().on_error(|error| {
        let mut response = http::Response::new("{}".into());
        *response.status_mut() = StatusCode::from_u16(error.response().status + 1).unwrap();
        response
    }));
    let answer = send(&own, "POST", &headers).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (404, "{}"));
}

#[tokio::test]
async fn a_refused_request_costs_the_session_nothing() {
    let memory = Memory::new();
    let handler = any(async |session: ingle::Session| session.insert("n", 1));
    let router = Router::new()
        .route("/", handler)
        .layer(SessionLayer::new(memory.clone()).sweep_every(None))
        .layer(same_origin());
    let app = App::with(router);
    let answer = send(&app, "POST", &[("sec-fetch-site", Some("same-site"))]).await;
    assert_eq!((answer.status, answer.set_cookie()), (StatusCode::FORBIDDEN, ""));
    assert_eq!(answer.header("vary"), "", "nobody looked at the session");
    assert!(memory.is_empty());
    let answer = send(&app, "POST", &[("sec-fetch-site", Some("same-origin"))]).await.ok();
    assert!(!answer.set_cookie().is_empty());
}

/// A framework without an adapter asks by itself.
#[test]
fn one_request_can_be_checked_alone() -> Result<(), NotAnOrigin> {
    let own = SameOriginLayer::new();
    // Behind a proxy that changes Host, the app names its own origin.
    let behind_a_proxy = SameOriginLayer::new().trust("https://app.example")?;
    let header = |name: &str| match name {
        "host" => Some("127.0.0.1:3000".as_bytes()),
        "origin" => Some("https://app.example".as_bytes()),
        "sec-fetch-site" => Some("same-origin".as_bytes()),
        _ => None,
    };
    assert_eq!(own.check("POST", header).unwrap_err().response().status, 403);
    assert!(behind_a_proxy.check("POST", header).is_ok());
    assert!(own.check("GET", header).is_ok());
    Ok(())
}

#[tokio::test]
async fn an_error_of_the_handler_passes_as_it_is() {
    let service =
        tower::service_fn(async |_: Request<Body>| Err::<http::Response<Body>, _>("broken"));
    let service = tower::ServiceBuilder::new().layer(same_origin()).service(service);
    let answer = service.oneshot(Request::new(Body::empty())).await;
    assert_eq!(answer.err(), Some("broken"));
}
