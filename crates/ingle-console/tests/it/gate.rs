//! What every request passes and every answer carries, whatever the route.

use crate::{
    http::{Answer, form, raw},
    scene::Scene,
};

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

/// Each route, and one that is none.
fn routes(handle: &str) -> Vec<String> {
    let mut routes: Vec<String> =
        ["", "/sessions", "/sessions/end", "/user", "/user/end", "/audit", "/assets/x", "/nothing"]
            .map(str::to_owned)
            .to_vec();
    routes.extend(["/api/v1/sessions", "/api/v1/users/end", "/api/nothing"].map(str::to_owned));
    routes.push(format!("/api/v1/sessions/{handle}"));
    routes.extend(["/live", "/api/v1", "/api/v1/"].map(str::to_owned));
    for action in ["", "/live", "/edit", "/add", "/order", "/json", "/apply", "/reveal", "/end"] {
        routes.push(format!("/sessions/{handle}{action}"));
    }
    routes
}

async fn with_hosts(scene: &Scene, method: &str, path: &str, hosts: &[&str]) -> Answer {
    let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
    let head = format!("{method} /console{path} HTTP/1.1\r\n{hosts}X-Role: editor\r\n");
    let origin = "Sec-Fetch-Site: same-origin\r\nConnection: close\r\n\r\n";
    raw(scene.address, &(head + origin)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_for_another_host_is_refused_on_every_route_and_method() {
    let scene = Scene::in_memory().await;
    let handle = scene.holding(serde_json::json!({ "views": 1 })).await.to_string();
    let own = scene.address.to_string();
    let port = scene.address.port();
    let other_port = format!("127.0.0.1:{}", port ^ 1);
    let lengthened = format!("127.0.0.1.evil:{port}");
    for path in routes(&handle) {
        for method in METHODS {
            for host in ["evil", "evil.example", &lengthened, &other_port, "[::1]", ""] {
                let answer = with_hosts(&scene, method, &path, &[host]).await;
                assert_eq!(answer.status, 421, "{method} {path} {host}");
                check_headers(&answer);
            }
            for hosts in [&[][..], &[&*own, &*own], &[&*own, "evil"]] {
                let answer = with_hosts(&scene, method, &path, hosts).await;
                assert_eq!(answer.status, 400, "{method} {path} {hosts:?}");
            }
        }
    }
    // An address that names a host must name the same one.
    let line =
        format!("GET http://evil/console HTTP/1.1\r\nHost: {own}\r\nConnection: close\r\n\r\n");
    assert_eq!(raw(scene.address, &line).await.status, 400);
    let forwarded = format!(
        "GET /console HTTP/1.1\r\nHost: evil\r\nX-Forwarded-Host: {own}\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(raw(scene.address, &forwarded).await.status, 421);
    assert_eq!(scene.get("").await.status, 200);
    assert!(scene.sessions().find(&handle.parse().unwrap()).await.unwrap().is_some());
}

#[track_caller]
fn check_headers(answer: &Answer) {
    let policy = answer.header("content-security-policy").unwrap_or_default();
    for part in [
        "default-src 'none'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ] {
        assert!(policy.contains(part), "{answer:?}");
    }
    assert!(!policy.contains("unsafe"), "{answer:?}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{answer:?}");
    }
    assert_eq!(answer.header("strict-transport-security"), None, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_has_the_headers_and_what_goes_wrong_is_a_page() {
    let scene = Scene::in_memory().await;
    let handle = scene.holding(serde_json::json!({ "views": 1 })).await.to_string();
    for path in routes(&handle).into_iter().filter(|path| !path.ends_with("/live")) {
        for method in ["GET", "POST", "PUT", "DELETE"] {
            let answer = with_hosts(&scene, method, &path, &[&scene.address.to_string()]).await;
            check_headers(&answer);
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
            if answer.status >= 400 {
                let what = if path.starts_with("/api/") { "\"detail\":" } else { "<h1>" };
                assert!(answer.body.contains(what), "{method} {path}: {answer:?}");
            }
        }
    }
    for (path, status) in [
        ("/nothing", 404),
        ("/assets/console.css", 404),
        ("/assets/..%2f..%2fetc%2fpasswd", 404),
        ("/sessions/xyz", 400),
        ("/sessions/0000000000000000", 404),
        ("/sessions?after=%21", 400),
    ] {
        assert_eq!(scene.get(path).await.status, status, "{path}");
    }
    let home = scene.get("").await;
    let style = home.body.split("rel=\"stylesheet\" href=\"").nth(1).unwrap();
    let style = style.split('"').next().unwrap().strip_prefix("/console").unwrap();
    let style = scene.get(style).await;
    assert_eq!(
        (style.status, style.header("content-type")),
        (200, Some("text/css; charset=utf-8"))
    );
    assert!(style.header("cache-control").unwrap().contains("immutable"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_form_that_another_site_sends_changes_nothing() {
    let scene = Scene::in_memory().await;
    let own = format!("http://{}", scene.address);
    let other_port = format!("http://127.0.0.1:{}", scene.address.port() ^ 1);
    let cases = [
        (Some("same-origin"), Some(&*own), true),
        (Some("same-origin"), None, true),
        (None, Some(&*own), true),
        (None, None, false),
        (None, Some("null"), false),
        (None, Some("http://evil.example"), false),
        (None, Some(&*other_port), false),
        (Some("same-origin"), Some("http://evil.example"), false),
        (Some("same-site"), None, false),
        (Some("same-site"), Some(&*own), false),
        (Some("cross-site"), None, false),
        (Some("cross-site"), Some("null"), false),
        (Some("surprise"), None, false),
    ];
    for (site, origin, passes) in cases {
        let handle = scene.holding(serde_json::json!({ "views": 1 })).await;
        let mut lines = "X-Role: editor\r\n".to_owned();
        for (name, value) in [("Sec-Fetch-Site", site), ("Origin", origin)] {
            if let Some(value) = value {
                lines.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let answer = scene.post_with(&lines, &format!("/sessions/{handle}/end"), "").await;
        assert_eq!(answer.status, if passes { 200 } else { 403 }, "{site:?} {origin:?}");
        let lives = scene.sessions().find(&handle).await.unwrap().is_some();
        assert_eq!(lives, !passes, "{site:?} {origin:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_is_no_form_or_too_large_is_refused() {
    let scene = Scene::in_memory().await;
    let handle = scene.holding(serde_json::json!({ "views": 1 })).await;
    let own = scene.address;
    for kind in ["text/plain", "application/json", "multipart/form-data; boundary=x", ""] {
        let path = format!("/console/sessions/{handle}/edit");
        let head = format!("POST {path} HTTP/1.1\r\nHost: {own}\r\nX-Role: editor\r\n");
        let rest = format!("Sec-Fetch-Site: same-origin\r\nContent-Type: {kind}\r\n");
        let body = form(&[("path", "views"), ("kind", "int"), ("value", "2"), ("before", "1")]);
        let end = format!("Content-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
        assert_eq!(raw(own, &(head + &rest + &end)).await.status, 415, "{kind}");
    }
    let long = "a".repeat(1024 * 1024 + 1);
    let lines = "Sec-Fetch-Site: same-origin\r\nX-Role: editor\r\n";
    let path = format!("/sessions/{handle}/edit");
    assert_eq!(scene.post_with(lines, &path, &long).await.status, 413);
    assert_eq!(scene.data(&handle).await, serde_json::json!({ "views": 1 }));
}
