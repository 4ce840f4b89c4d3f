//! The same for programs.

use std::collections::BTreeSet;

use ingle::data::Data;
use serde_json::{Value, json};

use crate::{
    http::{Answer, form, raw},
    on_both_stores,
    scene::{Loopback, Scene},
};

on_both_stores! {
    a_session_is_read_and_edited_on_the_condition_of_what_was_read
    an_edit_that_is_in_conflict_tells_all_three_values
    sessions_are_listed_page_by_page_and_users_and_lines_too
    what_looks_secret_is_hidden_here_too
}

const DOCUMENT: &str = include_str!("../../src/openapi.json");

async fn ask(
    scene: &Scene,
    role: &str,
    method: &str,
    path: &str,
    lines: &str,
    body: &str,
) -> Answer {
    let (address, length) = (scene.address, body.len());
    let head = format!("{method} /console/api/v1{path} HTTP/1.1\r\nHost: {address}\r\n{lines}");
    let rest = format!("X-Role: {role}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    raw(address, &(head + &rest + body)).await
}

const JSON: &str = "Content-Type: application/json\r\n";

fn told(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// An edit of what a session holds in some tests.
const VIEWS: &str = r#"{"edits":[{"path":"views","before":1,"yours":2}]}"#;

pub(crate) async fn edit(scene: &Scene, handle: &str, lines: &str, edits: Value) -> Answer {
    let body = json!({ "edits": edits }).to_string();
    let lines = format!("{JSON}{lines}");
    ask(scene, "editor", "PATCH", &format!("/sessions/{handle}"), &lines, &body).await
}

async fn a_session_is_read_and_edited_on_the_condition_of_what_was_read(scene: Scene) {
    let handle = scene.holding(json!({ "views": 1, "cart": { "n": 1.0 }, "gone": null })).await;
    let handle = handle.to_string();
    let read = ask(&scene, "viewer", "GET", &format!("/sessions/{handle}"), "", "").await;
    assert_eq!((read.status, read.header("content-type")), (200, Some("application/json")));
    let session = told(&read);
    assert_eq!(session["handle"], handle);
    assert_eq!(session["data"], json!({ "views": 1, "cart": { "n": 1.0 }, "gone": null }));
    // Without what is misspelt it would be a removal.
    let misspelt = edit(&scene, &handle, "", json!([{ "path": "views", "before": 1, "your": 2 }]));
    assert_eq!(misspelt.await.status, 400);
    assert_eq!(scene.data(&handle.parse().unwrap()).await["views"], 1);
    let etag = read.header("etag").unwrap().to_owned();
    let if_match = format!("If-Match: {etag}\r\n");
    let edits = json!([
        { "path": "cart.n", "before": 1.0, "yours": 2 },
        { "path": "gone", "before": null },
        { "path": "new", "yours": { "$timestamp": "2026-05-04T12:30:00Z" } },
    ]);
    let edited = edit(&scene, &handle, &if_match, edits.clone()).await;
    assert_eq!(edited.status, 200, "{edited:?}");
    let expected =
        json!({ "views": 1, "cart": { "n": 2 }, "new": { "$timestamp": "2026-05-04T12:30:00Z" } });
    assert_eq!(told(&edited)["data"], expected);
    assert_ne!(edited.header("etag"), Some(&*etag));
    // The data is another one now.
    let views = json!([{ "path": "views", "before": 1, "yours": 2 }]);
    let again = edit(&scene, &handle, &if_match, views).await;
    assert_eq!(again.status, 412);
    let now = format!("If-Match: \"x\", {}\r\n", edited.header("etag").unwrap());
    let more = json!([{ "path": "views", "before": 1, "yours": 5 }]);
    assert_eq!(edit(&scene, &handle, &now, more).await.status, 200);
    assert_eq!(scene.data(&handle.parse().unwrap()).await["views"], 5);
    for (edits, status) in [
        (json!([{ "path": "a..b", "yours": 1 }]), 422),
        (json!([{ "path": "list[0]", "before": 1, "yours": 2 }]), 422),
        (json!([{ "path": "nothing" }]), 422),
        (json!([{ "path": "x", "yours": { "$hidden": "text" } }]), 422),
        (json!([{ "path": "x", "yours": [u64::MAX] }]), 422),
        (json!([{ "yours": 1 }]), 400),
        (json!("no list"), 400),
        (json!([]), 400),
    ] {
        let refused = edit(&scene, &handle, "", edits.clone()).await;
        assert_eq!(refused.status, status, "{edits}: {refused:?}");
        let problem = told(&refused);
        assert_eq!(refused.header("content-type"), Some("application/problem+json"));
        assert_eq!((&problem["status"], &problem["type"]), (&json!(status), &json!("about:blank")));
    }
    let lines = scene.sessions().audit_log(None).await.unwrap().lines;
    assert_eq!(lines.len(), 4, "what is no edit is no act: {lines:#?}");
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let path = format!("/sessions/{handle}");
    assert_eq!(ask(&scene, "editor", "PATCH", &path, form, "a=1").await.status, 415);
    let elsewhere = format!("{JSON}Origin: http://evil.example\r\n");
    assert_eq!(ask(&scene, "editor", "DELETE", &path, &elsewhere, "").await.status, 403);
    assert_eq!(ask(&scene, "editor", "DELETE", &path, "", "").await.status, 204);
    let gone = ask(&scene, "editor", "GET", &path, "", "").await;
    assert_eq!((gone.status, &told(&gone)["status"]), (404, &json!(404)));
}

async fn an_edit_that_is_in_conflict_tells_all_three_values(scene: Scene) {
    let handle =
        scene.holding(json!({ "greeting": "Theirs", "token": "s3cret", "views": 1 })).await;
    let edits = json!([
        { "path": "greeting", "before": "Before", "yours": "Yours" },
        { "path": "token", "before": "x", "yours": "y" },
        { "path": "views", "before": 1, "yours": 2 },
    ]);
    let answer = edit(&scene, &handle.to_string(), "", edits).await;
    assert_eq!(answer.status, 409);
    let conflicts = told(&answer)["conflicts"].clone();
    let of_greeting =
        json!({ "path": "greeting", "before": "Before", "theirs": "Theirs", "yours": "Yours" });
    assert_eq!(conflicts[0], of_greeting);
    assert_eq!(conflicts.as_array().unwrap().len(), 2);
    assert!(!answer.body.contains("s3cret"), "{}", answer.body);
    assert_eq!(scene.data(&handle).await["views"], 1);
}

async fn sessions_are_listed_page_by_page_and_users_and_lines_too(scene: Scene) {
    for n in 0..230 {
        scene
            .begin(async |session| {
                session.login("ada").await?;
                session.insert("n", n)
            })
            .await;
    }
    let (mut seen, mut after) = (BTreeSet::new(), String::new());
    loop {
        let page = ask(&scene, "viewer", "GET", &format!("/sessions?after={after}"), "", "").await;
        let page = told(&page);
        for session in page["sessions"].as_array().unwrap() {
            assert_eq!(session["user"]["name"], "ada");
            assert!(seen.insert(session["handle"].to_string()));
        }
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut after),
            None => break,
        }
    }
    assert_eq!(seen.len(), 230);
    let found = ask(&scene, "viewer", "GET", "/sessions?q=n%20%3D%207", "", "").await;
    assert_eq!(told(&found)["sessions"].as_array().unwrap().len(), 1);
    let ended = ask(&scene, "operator", "POST", "/users/end", JSON, r#"{"name":"ada"}"#).await;
    assert_eq!(told(&ended), json!({ "ended": 230 }));
    let lines = told(&ask(&scene, "viewer", "GET", "/audit", "", "").await);
    assert_eq!(lines["lines"][0]["act"], "end-all");
    assert_eq!(lines["lines"][0]["operator"], "grace");
    let store = told(&ask(&scene, "viewer", "GET", "/store", "", "").await);
    assert_eq!((&store["is_well"], &store["has_lists"]), (&json!(true), &json!(true)));
}

async fn what_looks_secret_is_hidden_here_too(scene: Scene) {
    let handle = scene.holding(json!({ "a": { "password": "s3cret" }, "views": 1 })).await;
    let path = format!("/sessions/{handle}");
    let hidden = ask(&scene, "editor", "GET", &path, "", "").await;
    assert_eq!(told(&hidden)["data"]["a"]["password"], json!({ "$hidden": "text" }));
    // The version tells nothing of it.
    let session = scene.sessions().find(&handle).await.unwrap().unwrap();
    let put = |data: &mut Data| data["a"]["password"] = "other".into();
    session.update(put).await.unwrap();
    let same = ask(&scene, "editor", "GET", &path, "", "").await;
    assert_eq!(same.header("etag"), hidden.header("etag"));
    let revealed = ask(&scene, "editor", "POST", &format!("{path}/reveal"), "", "").await;
    assert_eq!(told(&revealed)["data"]["a"]["password"], "other");
    let lines = scene.sessions().audit_log(None).await.unwrap().lines;
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0].act, ingle::operator::AuditAct::Reveal);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_has_each_route_and_what_each_answers() {
    let scene = Scene::in_memory().await;
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let routes = include_str!("../../src/api.rs").split(".route(\"").skip(1);
    let routes: BTreeSet<&str> = routes.map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!(paths.keys().map(String::as_str).collect::<BTreeSet<_>>(), routes);
    let served = ask(&scene, "viewer", "GET", "/openapi.json", "", "").await;
    assert_eq!(told(&served), document);
    for (path, operations) in paths {
        for method in ["get", "post", "put", "patch", "delete"] {
            for role in ["", "viewer", "operator", "editor"] {
                for body in ["", "{", r#"{"name":"ada"}"#, VIEWS] {
                    for kind in ["", JSON] {
                        let handle = scene.holding(json!({ "views": 1 })).await;
                        let path = path.strip_prefix("/api/v1").unwrap();
                        let path = path.replace("{handle}", &handle.to_string());
                        let answer =
                            ask(&scene, role, &method.to_uppercase(), &path, kind, body).await;
                        let case = format!("{role} {method} {path} {body}: {answer:?}");
                        let operation = &operations[method];
                        if operation.is_null() {
                            assert_eq!(answer.status, 405, "{case}");
                            continue;
                        }
                        let documented = &operation["responses"][answer.status.to_string()];
                        assert!(!documented.is_null(), "{case}");
                        assert!(answer.status != 404 && answer.status < 500, "{case}");
                        let kinds = documented["content"].as_object();
                        let kinds = kinds.map(|kinds| kinds.keys().next().unwrap().as_str());
                        assert_eq!(answer.header("content-type"), kinds, "{case}");
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_document_says_who_is_sent_away_from_each_operation() {
    let (scene, loopback) = (Scene::in_memory().await, Loopback::start().await);
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            let path = path.replace("{handle}", "00000000000000aa");
            let method = method.to_uppercase();
            let head = |base: &str| format!("{method} {base}{path} HTTP/1.1\r\nX-Role: editor\r\n");
            let end = "Connection: close\r\n\r\n";
            let own = format!("Host: {}\r\n{end}", loopback.address);
            let nobody = raw(loopback.address, &(head("") + &own)).await;
            let other = format!("Host: evil.example\r\n{end}");
            let misled = raw(scene.address, &(head("/console") + &other)).await;
            for (answer, status) in [(nobody, 401), (misled, 421)] {
                assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
                let kinds = &operation["responses"][status.to_string()]["content"];
                let kind = kinds.as_object().and_then(|kinds| kinds.keys().next());
                let told = answer.header("content-type");
                assert_eq!(kind.map(String::as_str), told, "{method} {path} {status}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_may_be_as_long_as_the_document_says() {
    let scene = Scene::in_memory().await;
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let q = &document["paths"]["/api/v1/sessions"]["get"]["parameters"][0];
    assert_eq!(q["name"], "q");
    let most = usize::try_from(q["schema"]["maxLength"].as_u64().unwrap()).unwrap();
    // JSON Schema counts characters, whichever bytes they have.
    for (n, status) in [(most, 200), (most + 1, 400)] {
        let question = format!("greeting = {}", "é".repeat(n - "greeting = ".len()));
        let path = format!("/sessions?{}", form(&[("q", &question)]));
        let answer = ask(&scene, "viewer", "GET", &path, "", "").await;
        assert_eq!(answer.status, status, "{n}: {answer:?}");
    }
}

/// The part of a page from the element with this id to the next one of its kind.
fn part<'a>(html: &'a str, id: &str) -> &'a str {
    let rest = html.split(&format!(" id=\"{id}\">")).nth(1);
    rest.unwrap_or_else(|| panic!("{id}: {html}")).split("<section").next().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_of_the_api_has_all_that_the_document_has() {
    let scene = Scene::in_memory().await;
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let moved = scene.get_as("viewer", "/api/v1").await;
    assert_eq!((moved.status, moved.header("location")), (308, Some("/console/api/v1/")));
    let page = scene.get_as("viewer", "/api/v1/").await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(scene.get_as("viewer", "").await.body.contains("<a href=\"/console/api/v1/\">"));
    // What is said, whether as code or not.
    let says = |part: &str, value: &Value| {
        let mut said = value.as_str().unwrap_or_default().replace('`', "");
        for (c, escape) in
            [("&", "&#38;"), ("<", "&#60;"), (">", "&#62;"), ("\"", "&#34;"), ("'", "&#39;")]
        {
            said = said.replace(c, escape);
        }
        let part = part.replace("<code>", "").replace("</code>", "");
        assert!(part.contains(&said), "{said}: {part}");
    };
    let has = |part: &str, text: &str| assert!(part.contains(text), "{text}: {part}");
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut operations = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if method == "parameters" {
                continue;
            }
            operations += 1;
            let part = part(&page.body, operation["operationId"].as_str().unwrap());
            let method = method.to_uppercase();
            has(part, &format!("{method}</span> <code>{path}</code>"));
            says(part, &operation["summary"]);
            has(part, "curl ");
            for parameter in list(&item["parameters"]).iter().chain(&list(&operation["parameters"]))
            {
                has(part, &format!("<code>{}</code>", parameter["name"].as_str().unwrap()));
                says(part, &parameter["description"]);
            }
            for (status, answer) in operation["responses"].as_object().unwrap() {
                has(part, &format!("<code>{status}</code>"));
                says(part, &answer["description"]);
            }
        }
    }
    assert_eq!(
        page.body.matches("<section class=\"request\" aria-labelledby=\"schema-").count(),
        document["components"]["schemas"].as_object().unwrap().len()
    );
    assert_eq!(page.body.matches("aria-label=\"Example\"").count(), operations);
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let part = part(&page.body, &format!("schema-{name}"));
        for fields in [schema, &schema["allOf"][1]] {
            for name in
                fields["properties"].as_object().into_iter().flat_map(|fields| fields.keys())
            {
                has(part, &format!("<code>{name}</code>"));
            }
        }
    }
    for id in page.body.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        has(&page.body, &format!("id=\"{id}\""));
    }
    // What is shown as an example works.
    let query = "--data-urlencode &#39;q=views &#62; 100&#39; &#34;$CONSOLE/api/v1/sessions&#34;";
    has(part(&page.body, "sessions"), query);
    let example = part(&page.body, "edit").split("--json &#39;").nth(1).unwrap();
    let example = example.split("&#39;").next().unwrap().replace("&#34;", "\"");
    let handle = scene.holding(json!({ "greeting": "Hola" })).await.to_string();
    let edits: Value = serde_json::from_str(&example).unwrap();
    assert_eq!(edit(&scene, &handle, "", edits["edits"].clone()).await.status, 200);
    assert_eq!(scene.data(&handle.parse().unwrap()).await["greeting"], "Hola Mundo");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_name_in_the_document_leads_somewhere_in_it() {
    let document: Value = serde_json::from_str(DOCUMENT).unwrap();
    let names = DOCUMENT.split("\"#/components/schemas/").skip(1);
    let names: BTreeSet<&str> = names.map(|rest| rest.split('"').next().unwrap()).collect();
    let known = document["components"]["schemas"].as_object().unwrap();
    assert_eq!(names, known.keys().map(String::as_str).collect());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_may_do_what_its_role_may() {
    let scene = Scene::in_memory().await;
    for (method, action, body, least) in [
        ("GET", "", "", 1),
        ("PATCH", "", VIEWS, 3),
        ("DELETE", "", "", 2),
        ("POST", "/reveal", "", 3),
    ] {
        for (rank, role) in ["", "viewer", "operator", "editor"].into_iter().enumerate() {
            let handle = scene.holding(json!({ "views": 1 })).await;
            let path = format!("/sessions/{handle}{action}");
            let answer = ask(&scene, role, method, &path, JSON, body).await;
            let may = rank >= least;
            assert_eq!(answer.status < 300, may, "{role} {method} {action}: {answer:?}");
            assert!(may || answer.status == 403, "{role} {method} {action}: {answer:?}");
        }
    }
    for (rank, role) in ["", "viewer", "operator", "editor"].into_iter().enumerate() {
        let answer = ask(&scene, role, "POST", "/users/end", JSON, r#"{"name":"ada"}"#).await;
        assert_eq!(answer.status, if rank >= 2 { 200 } else { 403 }, "{role}");
    }
}
