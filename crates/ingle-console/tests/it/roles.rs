//! Who may do what.

use ingle::Session;
use serde_json::json;

use crate::scene::Scene;

/// Method, address, fields, and the least role.
pub(crate) type Act = (&'static str, String, Vec<(&'static str, String)>, &'static str);

/// Each act, and the least role that it takes. A GET needs a viewer, and forms what they are for.
pub(crate) fn acts(handle: &str) -> Vec<Act> {
    let of = |action: &str| format!("/sessions/{handle}{action}");
    let text = str::to_owned;
    let value = |value: &str| {
        vec![
            ("path", text("views")),
            ("before", text("1")),
            ("kind", text("int")),
            ("value", text(value)),
        ]
    };
    let edits = r#"[{"path":"views","before":1,"yours":2}]"#;
    vec![
        ("GET", text(""), vec![], "viewer"),
        ("GET", text("/sessions"), vec![], "viewer"),
        ("GET", text("/sessions/part?q=views+exists"), vec![], "viewer"),
        ("GET", of(""), vec![], "viewer"),
        ("GET", text("/user?name=ada"), vec![], "viewer"),
        ("GET", text("/audit"), vec![], "viewer"),
        ("GET", text("/api/v1/"), vec![], "viewer"),
        ("GET", of("/edit?path=views"), vec![], "editor"),
        ("GET", of("/order?path=list"), vec![], "editor"),
        ("GET", of("/add"), vec![], "editor"),
        ("GET", of("/json"), vec![], "editor"),
        ("POST", of("/edit"), value("2"), "editor"),
        (
            "POST",
            of("/json"),
            vec![("before", text("{}")), ("value", text(r#"{"new":1}"#))],
            "editor",
        ),
        (
            "POST",
            of("/order"),
            vec![
                ("path", text("list")),
                ("before", text("[1,2]")),
                ("order", text("1")),
                ("order", text("0")),
            ],
            "editor",
        ),
        ("POST", of("/apply"), vec![("edits", text(edits))], "editor"),
        ("POST", of("/reveal"), vec![], "editor"),
        ("POST", of("/end"), vec![], "operator"),
        (
            "POST",
            text("/sessions/end"),
            vec![("handle", text(handle)), ("confirmed", text("1"))],
            "operator",
        ),
        (
            "POST",
            text("/user/end"),
            vec![("name", text("ada")), ("confirmed", text("1"))],
            "operator",
        ),
    ]
}

/// What the acts are done on.
pub(crate) async fn fill(session: &Session) -> Result<(), ingle::Error> {
    session.login("ada").await?;
    session.insert("views", 1)?;
    session.insert("list", json!([1, 2]))?;
    session.insert("token", "s3cret")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_may_do_what_is_documented_and_nothing_else() {
    let scene = Scene::in_memory().await;
    let roles = ["", "viewer", "operator", "editor"];
    let n_acts = acts("").len();
    for n in 0..n_acts {
        for (rank, role) in roles.iter().enumerate() {
            let handle = scene.begin(fill).await;
            let (method, path, fields, least) = acts(&handle.to_string()).remove(n);
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
            let lines_before = scene.sessions().audit_log(None).await.unwrap().lines.len();
            let answer = match method {
                "GET" => scene.get_as(role, &path).await,
                _ => scene.post_as(role, &path, &fields).await,
            };
            let may = rank > 0 && roles[..=rank].contains(&least);
            assert_eq!(answer.status, if may { 200 } else { 403 }, "{role} {method} {path}");
            let lines = scene.sessions().audit_log(None).await.unwrap().lines;
            if may && method == "POST" {
                assert_eq!(lines.len(), lines_before + 1, "{role} {path}: one act is one line");
                assert_eq!(
                    (&*lines[0].operator, lines[0].from.as_deref()),
                    ("grace", Some("192.0.2.7"))
                );
            } else {
                assert_eq!(lines.len(), lines_before, "{role} {path}");
            }
            if !may {
                let data = json!({ "views": 1, "list": [1, 2], "token": "s3cret" });
                assert_eq!(scene.data(&handle).await, data, "{role} {path}");
                assert!(!answer.body.contains(&handle.to_string()), "{role} {path}");
            }
            scene.sessions().end_all_of("ada").await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_offers_only_what_one_may_do() {
    let scene = Scene::in_memory().await;
    let handle = scene.holding(json!({ "views": 1, "token": "s3cret" })).await;
    for (role, ends, edits) in
        [("viewer", false, false), ("operator", true, false), ("editor", true, true)]
    {
        let body = scene.get_as(role, &format!("/sessions/{handle}")).await.body;
        assert_eq!(body.contains("End this session"), ends, "{role}");
        assert_eq!(body.contains("Edit as JSON"), edits, "{role}");
        assert_eq!(body.contains("Reveal hidden values"), edits, "{role}");
        let body = scene.get_as(role, "/sessions").await.body;
        assert_eq!(body.contains("End selected"), ends, "{role}");
    }
}
