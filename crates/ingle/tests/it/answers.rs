//! What an app can say in the place of the library's own answers, and what it may ask for.

use axum::{
    Router,
    body::Bytes,
    response::{Html, IntoResponse as _, Response},
};
use http::StatusCode;
use ingle::{
    Cookie, CookieConfig, Error, Named, Session, SessionLayer, SessionName,
    adapter::{HandlerOutcome, HeaderChange},
    store::{Fault, Memory, Step, Store},
};

use crate::common::{App, Visitor, app, faulty, layer};

async fn add(session: Session) -> Result<(), Error> {
    session.increment("n", 1)
}

async fn update(session: Session) -> Result<String, Error> {
    let n = session.field("n").update(|n: &mut u64| {
        *n += 1;
        *n
    });
    Ok(n.await?.to_string())
}

fn in_json(error: &Error) -> http::Response<Bytes> {
    let body = format!("{{\"error\":\"{}\"}}", error.status().as_u16());
    let mut response = http::Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::IM_A_TEAPOT;
    response
}

#[tokio::test]
async fn the_app_can_replace_every_error_s_response() {
    let (_, store) = faulty();
    let app = app(&layer(store.clone()).on_error(in_json))
        .on("/add", add)
        .on("/update", update)
        .on("/large", async |session: Session| session.insert("x", "y".repeat(70_000)))
        .on("/own", async || (StatusCode::CONFLICT, "mine"));
    for (path, status) in [("/add", 503), ("/update", 503)] {
        store.fail_all(Some(Fault::Refuse));
        let answer = app.get(path, "").await;
        assert_eq!(answer.status, StatusCode::IM_A_TEAPOT, "{path}");
        assert_eq!(answer.body, format!("{{\"error\":\"{status}\"}}"), "{path}");
        assert_eq!(answer.header("vary"), "Cookie", "{path}");
        store.fail_all(None);
    }
    assert_eq!(app.get("/large", "").await.body, "{\"error\":\"413\"}");
    let own = app.get("/own", "").await;
    assert_eq!((own.status, own.body.as_str()), (StatusCode::CONFLICT, "mine"), "it is the app's");
}

#[tokio::test]
async fn a_change_that_the_app_refuses_changes_nothing_and_its_error_comes_back() {
    #[derive(Debug, PartialEq)]
    struct SoldOut(u64);

    async fn buy(session: Session) -> Result<String, Error> {
        let bought = session.field("stock").try_update(|stock: &mut u64| {
            let before = *stock;
            *stock = stock.wrapping_sub(1);
            if before == 0 { Err(SoldOut(before)) } else { Ok(*stock) }
        });
        Ok(format!("{:?}", bought.await?))
    }
    let (memory, store) = faulty();
    let layer = layer(store.clone());
    let app = app(&layer)
        .on("/fill", async |session: Session| session.insert("stock", 2))
        .on("/buy", buy)
        .on("/read", async |session: Session| {
            Ok::<_, Error>(format!("{:?}", session.get::<u64>("stock").await?))
        });
    assert_eq!(app.get("/buy", "").await.ok().body, "Err(SoldOut(0))");
    assert!(memory.is_empty(), "a refusal begins no session");
    let mut visitor = Visitor::default();
    visitor.get(&app, "/fill").await.ok();
    for left in [1, 0] {
        assert_eq!(visitor.get(&app, "/buy").await.ok().body, format!("Ok({left})"));
    }
    let commits = store.commits();
    assert_eq!(visitor.get(&app, "/buy").await.ok().body, "Err(SoldOut(0))");
    assert_eq!(store.commits(), commits);
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "Some(0)");

    // What this process remembers is no ground for a refusal.
    let elsewhere = self::app(&crate::common::layer(store))
        .on("/fill", async |session: Session| session.insert("stock", 1));
    visitor.get(&elsewhere, "/fill").await.ok();
    assert_eq!(visitor.get(&app, "/buy").await.ok().body, "Ok(0)");
}

#[tokio::test]
async fn edits_before_a_refused_change_are_committed_all_the_same() {
    let (_, store) = faulty();
    let app = app(&layer(store))
        .on("/", async |session: Session| {
            session.insert("seen", true)?;
            let refused: Result<(), &str> = session
                .try_update(|_: &mut std::collections::BTreeMap<String, serde_json::Value>| {
                    Err("no")
                })
                .await?;
            Ok::<_, Error>(format!("{refused:?}"))
        })
        .on("/read", async |session: Session| {
            Ok::<_, Error>(format!("{:?}", session.get::<bool>("seen").await?))
        });
    let mut visitor = Visitor::default();
    assert_eq!(visitor.get(&app, "/").await.ok().body, "Err(\"no\")");
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "Some(true)");
}

/// A call of gRPC that fails has the HTTP status 200.
#[tokio::test]
async fn the_edits_of_a_failed_grpc_call_are_discarded() {
    let call = |status: &'static str| {
        move |session: Session| async move {
            session.increment("n", 1)?;
            Ok::<_, Error>(([("grpc-status", status)], ""))
        }
    };
    let app = app(&layer(Memory::new()))
        .on("/fails", call("13"))
        .on("/succeeds", call("0"))
        .on("/read", async |session: Session| {
            Ok::<_, Error>(format!("{:?}", session.get::<u64>("n").await?))
        });
    let mut visitor = Visitor::default();
    for (path, n) in [("/fails", "None"), ("/succeeds", "Some(1)"), ("/fails", "Some(1)")] {
        visitor.get(&app, path).await.ok();
        assert_eq!(visitor.get(&app, "/read").await.ok().body, n, "{path}");
    }
}

#[tokio::test]
async fn a_handler_can_do_without_a_layer() {
    async fn page(session: Option<Session>) -> Html<&'static str> {
        Html(if session.is_some() { "with" } else { "without" })
    }
    let layer = layer(Memory::new());
    assert_eq!(app(&layer).on("/", page).get("/", "").await.ok().body, "with");
    let bare = Router::new().route("/", axum::routing::get(page));
    let request = http::Request::get("/").body(axum::body::Body::empty()).unwrap();
    let response: Response =
        tower::ServiceExt::oneshot(bare, request).await.unwrap().into_response();
    let body = axum::body::to_bytes(response.into_body(), 100).await.unwrap();
    assert_eq!(body, "without");
}

#[test]
fn a_layer_takes_a_store_in_any_form() {
    let shared: std::sync::Arc<dyn Store> = std::sync::Arc::new(Memory::new());
    drop(SessionLayer::new(Memory::new()));
    drop(SessionLayer::new(std::sync::Arc::new(Memory::new())));
    drop(SessionLayer::new(std::sync::Arc::clone(&shared)));
    drop(SessionLayer::new(std::sync::Arc::new(shared)));
}

struct Admin;
impl SessionName for Admin {}

fn admin_cookie() -> Cookie {
    Cookie::new(CookieConfig { name: "__Host-admin".into(), ..CookieConfig::default() }).unwrap()
}

#[tokio::test]
async fn two_sessions_of_one_request_are_apart() {
    let store = Memory::new();
    let visitors = layer(store.clone());
    let admins = layer(store.clone()).named::<Admin>().cookie(admin_cookie()).namespace("admin");
    let page = async |visitor: Session, admin: Named<Admin>| {
        visitor.increment("views", 1)?;
        Ok::<_, Error>(format!("{:?}", admin.get::<String>("name").await?))
    };
    let enter = async |admin: Named<Admin>| admin.insert("name", "ada");
    let leave = async |admin: Named<Admin>| admin.into_inner().logout().await;
    let app = App::with(
        Router::new()
            .route("/", axum::routing::get(page))
            .route("/enter", axum::routing::get(enter))
            .route("/leave", axum::routing::get(leave))
            .layer(visitors)
            .layer(admins),
    );
    let first = app.get("/", "").await.ok();
    assert!(first.set_cookie().starts_with("__Host-id="), "{first:?}");
    let visitor = first.set_cookie().split(';').next().unwrap().to_owned();
    let entered = app.get("/enter", &visitor).await.ok();
    assert!(entered.set_cookie().starts_with("__Host-admin="), "{entered:?}");
    let both = format!("{visitor}; {}", entered.set_cookie().split(';').next().unwrap());
    assert_eq!(app.get("/", &both).await.ok().body, "Some(\"ada\")");
    // The id of one is nobody in the other.
    let swapped = both.replace("__Host-id", "__Host-x").replace("admin", "id");
    assert_eq!(app.get("/", &swapped).await.ok().body, "None");
    let left = app.get("/leave", &both).await.ok();
    assert!(left.set_cookie().starts_with("__Host-admin=;"), "{left:?}");
    assert_eq!(store.len(), 2, "the visitor's session, and the one that the swapped id began");
}

#[tokio::test]
async fn two_layers_that_would_share_a_name_or_a_cookie_are_refused() {
    let named = || layer(Memory::new()).named::<Admin>();
    let default = || layer(Memory::new());
    let cases = [
        (default(), default().cookie(admin_cookie())),
        (default(), named()),
        (named(), named().cookie(admin_cookie())),
    ];
    for (place, (inner, outer)) in cases.into_iter().enumerate() {
        let page = async || "never";
        let app =
            App::with(Router::new().route("/", axum::routing::get(page)).layer(inner).layer(outer));
        let answer = app.get("/", "").await;
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{place}: {answer:?}");
    }
}

/// The door needs no request and no response: bytes in, names and values out.
#[tokio::test(start_paused = true)]
async fn a_session_goes_through_the_door_without_http() {
    let (_, store) = faulty();
    let door = layer(store.clone()).door();
    let in_flight = door.begin(std::iter::empty());
    in_flight.session().increment("n", 1).unwrap();
    let finished = in_flight.finish(HandlerOutcome::Success).await;
    assert!(finished.error().is_none());
    let names: Vec<_> = finished.headers().iter().map(HeaderChange::name).collect();
    assert_eq!(names, ["vary", "cache-control", "set-cookie"]);
    let cookie = &finished.headers()[2];
    assert!(cookie.replaces(b"__Host-id=other; Path=/") && !cookie.replaces(b"a=b"));
    assert!(!format!("{finished:?}").contains(cookie.value()), "no id is printed");
    let pair = cookie.value().split(';').next().unwrap();

    let in_flight = door.begin([b"a=b".as_slice(), pair.as_bytes()]);
    assert_eq!(in_flight.session().get::<u64>("n").await.unwrap(), Some(1));
    in_flight.session().increment("n", 1).unwrap();
    let finished = in_flight.finish(HandlerOutcome::ServerError).await;
    assert_eq!(finished.headers().len(), 1);
    let in_flight = door.begin([pair.as_bytes()]);
    assert_eq!(in_flight.session().get::<u64>("n").await.unwrap(), Some(1), "it was discarded");

    in_flight.session().increment("n", 1).unwrap();
    store.on(Step::Commit(1), Fault::HangAfter);
    store.fail_all(Some(Fault::Refuse));
    let finished = in_flight.finish(HandlerOutcome::Success).await;
    let response = finished.error().unwrap().response();
    assert_eq!((response.status, response.retry_after), (503, None));
}

#[tokio::test]
async fn what_a_500_does_not_tell_is_logged_once_whoever_makes_the_commit() {
    let app = app(&layer(Memory::new()))
        .on("/text", async |session: Session| session.insert("n", "no number"))
        .on("/end", async |session: Session| session.increment("n", 1))
        .on("/own", async |session: Session| {
            session.increment("n", 1)?;
            session.commit().await
        });
    let mut visitor = Visitor::default();
    visitor.get(&app, "/text").await.ok();
    for path in ["/end", "/own"] {
        let (log, _catching) = crate::log::Log::catch();
        assert_eq!(
            visitor.get(&app, path).await.status,
            StatusCode::INTERNAL_SERVER_ERROR,
            "{path}"
        );
        let text = log.text();
        let lines: Vec<_> = text.lines().filter(|line| line.contains("ERROR")).collect();
        assert_eq!(lines.len(), 1, "{path}: {text}");
        assert!(lines[0].contains("no session was served"), "{path}: {text}");
    }
}

/// The visitor's layer around the handler, and the operator's around that.
fn both(visitors: SessionLayer, admins: SessionLayer, page: axum::routing::MethodRouter) -> App {
    let admins = admins.named::<Admin>().cookie(admin_cookie()).namespace("admin");
    App::with(Router::new().route("/", page).layer(visitors).layer(admins))
}

/// The visitor's session moved, whatever became of the operator's; without its new id it is lost.
#[tokio::test]
async fn an_error_of_one_session_keeps_no_new_id_of_the_other_from_the_browser() {
    let (memory, (_, fails)) = (Memory::new(), faulty());
    let visitors = layer(memory.clone());
    let page = async |visitor: Session, admin: Named<Admin>| {
        visitor.insert("name", "ada")?;
        visitor.renew().await?;
        admin.insert("seen", true)
    };
    let read = async |visitor: Session| {
        Ok::<_, Error>(format!("{:?}", visitor.get::<String>("name").await?))
    };
    let app = both(visitors.clone(), layer(fails.clone()), axum::routing::get(page));
    fails.fail_all(Some(Fault::Refuse));
    let answer = app.get("/", "").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.set_cookie().starts_with("__Host-id="), "{answer:?}");
    assert_eq!(answer.header("cache-control"), "no-store");
    let pair = answer.set_cookie().split(';').next().unwrap();
    let reader = self::app(&visitors).on("/read", read);
    assert_eq!(reader.get("/read", pair).await.ok().body, "Some(\"ada\")");
}

#[tokio::test]
async fn an_error_that_a_handler_returns_is_the_app_s_also_where_only_the_outer_layer_knows_how() {
    let page = async |visitor: Session| {
        visitor.increment("n", 1)?;
        visitor.commit().await?;
        visitor.insert("x", "y".repeat(70_000))
    };
    let (visitors, admins) = (layer(Memory::new()), layer(Memory::new()));
    let app = both(visitors, admins.on_error(in_json), axum::routing::get(page));
    let answer = app.get("/", "").await;
    assert_eq!(answer.body, "{\"error\":\"413\"}");
    assert!(answer.set_cookie().starts_with("__Host-id="), "{answer:?}");
}

/// What the handler said of its body says nothing of the error's.
#[tokio::test]
async fn an_error_in_the_place_of_a_response_keeps_none_of_its_headers() {
    let (_, store) = faulty();
    let page = async |session: Session| {
        session.increment("n", 1)?;
        let headers =
            [("content-length", "12345"), ("content-encoding", "gzip"), ("etag", "\"x\"")];
        Ok::<_, Error>((headers, Bytes::from(vec![b'x'; 12345])))
    };
    let app = app(&layer(store.clone())).on("/", page);
    store.fail_all(Some(Fault::Refuse));
    for method in ["GET", "HEAD"] {
        let request = http::Request::builder().method(method).uri("/");
        let answer = app.serve(request.body(axum::body::Body::empty()).unwrap()).await;
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!((answer.header("content-encoding"), answer.header("etag")), ("", ""));
        let length = answer.header("content-length");
        assert!(length.is_empty() || length != "12345", "{answer:?}");
        assert!(method == "GET" || answer.body.is_empty(), "{answer:?}");
    }
}

/// An answer of the app's own, with a cookie of its own, does not hide that the session has a new id.
#[tokio::test]
async fn a_session_s_cookie_comes_on_top_of_the_app_s_answer_to_an_error() {
    let own = |error: &Error| {
        let mut response = in_json(error);
        let headers = response.headers_mut();
        headers.append("set-cookie", "theme=dark".parse().unwrap());
        headers.append("cache-control", "public, max-age=60".parse().unwrap());
        response
    };
    let page = async |session: Session| {
        session.increment("n", 1)?;
        session.renew().await?;
        session.insert("x", "y".repeat(70_000))
    };
    let app = app(&layer(Memory::new()).on_error(own)).on("/", page);
    let answer = app.get("/", "").await;
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies.len(), 2, "{cookies:?}");
    assert!(cookies.iter().any(|cookie| *cookie == "theme=dark"));
    assert_eq!(answer.header("cache-control"), "no-store");
}

#[tokio::test]
async fn messages_for_a_later_request_are_out_of_every_type_s_way() {
    use std::collections::BTreeMap;
    #[derive(serde::Serialize, serde::Deserialize, Default)]
    #[serde(deny_unknown_fields)]
    struct Strict {
        n: u64,
    }
    type Map = BTreeMap<String, serde_json::Value>;
    let layer = layer(Memory::new());
    let mut visitor = Visitor::default();
    let app = app(&layer)
        .on("/leave", async |session: Session| {
            session.push_flash("hello")?;
            session.increment("n", 1)?;
            // Also where the message is not committed yet.
            let n = session.data::<Strict>().await?.n;
            session.update(|map: &mut Map| map.len()).await.map(|len| format!("{n} {len}"))
        })
        .on("/clear", async |session: Session| session.update(|map: &mut Map| map.clear()).await)
        .on("/strict", async |session: Session| {
            session.update(|data: &mut Strict| data.n += 1).await?;
            Ok::<_, Error>(format!("{}", session.data::<Strict>().await?.n))
        })
        .on("/forge", async |session: Session| {
            session.update(|map: &mut Map| drop(map.insert("_flash".into(), 1.into()))).await
        })
        .on("/take", async |session: Session| {
            Ok::<_, Error>(format!("{:?}", session.take_flashes::<String>().await?))
        });
    assert_eq!(visitor.get(&app, "/leave").await.ok().body, "1 1");
    assert_eq!(visitor.get(&app, "/strict").await.ok().body, "2");
    visitor.get(&app, "/clear").await.ok();
    let forged = visitor.get(&app, "/forge").await;
    assert_eq!(forged.status, StatusCode::INTERNAL_SERVER_ERROR, "no app can have that field");
    assert_eq!(visitor.get(&app, "/take").await.ok().body, "[\"hello\"]");
    assert_eq!(visitor.get(&app, "/take").await.ok().body, "[]");
}
