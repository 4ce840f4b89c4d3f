//! A proxy in front that names people in a header.

use std::net::SocketAddr;

use axum::Router;
use ingle::{SessionLayer, store::Memory};
use ingle_console::{Proxy, Public, Role, RoleTable};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    http::{Answer, form, raw, raw_from},
    people::Opened,
};

const PROXY: &str = "127.0.0.2";

fn public(url: &str) -> Public {
    let rows = [
        (Role::Viewer, "alan@example.com"),
        (Role::Operator, "grace@example.com"),
        (Role::Editor, "ada@example.com"),
    ];
    let proxy = Proxy::new("X-Auth-Request-Email", [PROXY], RoleTable::new(rows).unwrap());
    Public::new(url.parse().unwrap(), proxy.unwrap()).unwrap()
}

async fn opened() -> Opened {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Opened::serve(listener, public("https://console.example"))
}

async fn send(console: &Opened, from: &str, head: &str, lines: &str, body: &str) -> Answer {
    let length = format!("Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
    let head = format!("{head} HTTP/1.1\r\nHost: console.example\r\n{lines}");
    raw_from(from.parse().unwrap(), console.address, &(head + &length)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_header_counts_from_the_proxy_and_from_nowhere_else() {
    let console = opened().await;
    let named = "X-Auth-Request-Email: ada@example.com\r\n";
    let forwarded = format!("{named}X-Forwarded-For: {PROXY}\r\nForwarded: for={PROXY}\r\n");
    let answer = send(&console, PROXY, "GET /", named, "").await;
    assert!(answer.status == 200 && answer.body.contains("ada@example.com, editor"), "{answer:?}");
    // The host is the console's, and its address begins with `https:`.
    assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"));
    for (from, lines) in [("127.0.0.1", named), ("127.0.0.3", named), ("127.0.0.1", &forwarded)] {
        for path in ["/", "/sessions", "/api/v1/sessions", "/sign-in"] {
            let refused = send(&console, from, &format!("GET {path}"), lines, "").await;
            let status = if path == "/sign-in" { 404 } else { 403 };
            assert_eq!(refused.status, status, "{from} {path}");
            assert!(!refused.body.contains("ada@example.com"), "{refused:?}");
        }
    }
    for lines in ["", "X-Auth-Request-Email:\r\n", "X-Auth-Request-User: ada@example.com\r\n"] {
        assert_eq!(send(&console, PROXY, "GET /", lines, "").await.status, 403, "{lines}");
    }
    for other in [named, "x-auth-request-email: eve@example.com\r\n"] {
        let twice = format!("{named}{other}");
        assert_eq!(send(&console, PROXY, "GET /", &twice, "").await.status, 403, "{other}");
    }
    let eve = "X-Auth-Request-Email: eve@example.com\r\n";
    let refused = send(&console, PROXY, "GET /", eve, "").await;
    assert!(
        refused.status == 403 && refused.body.contains("You are eve@example.com"),
        "{refused:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_has_its_role_and_the_log_has_the_name() {
    let console = opened().await;
    for (name, ends, edits) in [("alan", false, false), ("grace", true, false), ("ada", true, true)]
    {
        let handle = console.holding(json!({ "views": 1 })).await;
        let lines = format!(
            "X-Auth-Request-Email: {name}@example.com\r\nOrigin: https://console.example\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n"
        );
        let edit = form(&[("path", "views"), ("before", "1"), ("kind", "int"), ("value", "2")]);
        for (act, body, may) in [("edit", &*edit, edits), ("end", "", ends)] {
            let head = format!("POST /sessions/{handle}/{act}");
            let answer = send(&console, PROXY, &head, &lines, body).await;
            assert_eq!(answer.status, if may { 200 } else { 403 }, "{name} {act}");
        }
        assert_eq!(console.lives(&handle).await, !ends, "{name}");
    }
    let log = console.layer.sessions().audit_log(None).await.unwrap().lines;
    let who: Vec<_> = log.iter().map(|line| (&*line.operator, line.from.as_deref())).collect();
    let [ada, grace] =
        ["ada@example.com", "grace@example.com"].map(|name| (name, Some("proxy 127.0.0.2")));
    assert_eq!(who, [ada, ada, grace]);
}

/// An app with the console below `/console`.
async fn mounted(url: &str, with_peers: bool) -> (SocketAddr, JoinSet<()>) {
    let sessions = SessionLayer::new(Memory::new()).sessions();
    let app = Router::new().nest("/console", ingle_console::router(sessions, public(url)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut server = JoinSet::new();
    server.spawn(async move {
        match with_peers {
            true => {
                let app = app.into_make_service_with_connect_info::<SocketAddr>();
                axum::serve(listener, app).await.unwrap();
            }
            false => axum::serve(listener, app).await.unwrap(),
        }
    });
    (address, server)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_may_mount_it_where_its_public_url_says_and_nowhere_else() {
    let request = "GET /console HTTP/1.1\r\nHost: app.example\r\nConnection: close\r\n\
                   X-Auth-Request-Email: ada@example.com\r\n\r\n";
    let from = PROXY.parse().unwrap();
    for (url, with_peers, status) in [
        ("https://app.example/console", true, 200),
        ("https://app.example/console/", true, 200),
        ("https://app.example", true, 500),
        ("https://app.example/admin", true, 500),
        ("https://other.example/console", true, 421),
        // Who asks is not seen, so nobody is let in.
        ("https://app.example/console", false, 500),
    ] {
        let (address, _server) = mounted(url, with_peers).await;
        let answer = raw_from(from, address, request).await;
        assert_eq!(answer.status, status, "{url} {with_peers}: {answer:?}");
        if status == 200 {
            assert!(answer.body.contains("href=\"/console/audit\""), "{}", answer.body);
        }
        assert!(matches!(raw(address, request).await.status, 403 | 421 | 500), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_itself_it_is_below_the_path_of_its_public_url() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let console = Opened::serve(listener, public("https://console.example/ops/console"));
    let named = "X-Auth-Request-Email: ada@example.com\r\n";
    let answer = send(&console, PROXY, "GET /ops/console", named, "").await;
    assert!(answer.status == 200 && answer.body.contains("/ops/console/sessions"), "{answer:?}");
    assert_eq!(send(&console, PROXY, "GET /", named, "").await.status, 404);
}
