//! What looks secret is in no answer until somebody asks for it, and then it is in the audit log.

use serde_json::json;

use crate::{on_both_stores, scene::Scene};

on_both_stores! {
    what_looks_secret_is_nowhere_until_it_is_revealed
    a_hidden_value_is_edited_once_it_was_seen
    a_hidden_value_cannot_be_guessed_by_what_is_found_or_by_its_hash
    no_answer_has_an_id_or_a_cookie
}

const SECRET: &str = "s3cr3t-value";

fn secrets() -> serde_json::Value {
    json!({
        "password": SECRET,
        "api_key": { "inner": SECRET },
        "a": { "b": { "token": [SECRET] } },
        "list": [{ "client_secret": SECRET, "n": 1 }],
        "body": format!("{{\"user\":\"ada\",\"password\":\"{SECRET}\"}}"),
        "views": 3,
    })
}

async fn what_looks_secret_is_nowhere_until_it_is_revealed(scene: Scene) {
    let handle = scene.holding(secrets()).await;
    let of = |action: &str| format!("/sessions/{handle}{action}");
    let mut pages =
        vec!["".to_owned(), "/sessions".to_owned(), of(""), of("/json"), "/audit".to_owned()];
    pages.push("/sessions?q=views%20%3D%203".to_owned());
    for path in
        ["password", "api_key", "api_key.inner", "a", "a.b.token", "list", "list%5B0%5D.n", "body"]
    {
        pages.push(of(&format!("/edit?path={path}")));
    }
    pages.extend(["list", "a"].map(|path| of(&format!("/add?in={path}"))));
    for page in &pages {
        let answer = scene.get(page).await;
        assert_eq!(answer.status, 200, "{page}");
        assert!(!answer.body.contains(SECRET), "{page}: {}", answer.body);
    }
    // A conflict shows nothing more, of the present or of what the form had.
    let fields = [("path", "password"), ("before", "\"x\""), ("kind", "text"), ("value", "y")];
    let conflict = scene.post(&of("/edit"), &fields).await;
    assert_eq!(conflict.status, 409);
    assert!(!conflict.body.contains(SECRET), "{}", conflict.body);
    assert!(
        scene
            .sessions()
            .audit_log(None)
            .await
            .unwrap()
            .lines
            .iter()
            .all(|line| { line.act != ingle::AuditAct::Reveal })
    );
    // The newest line is the first one, and these have a time each.
    scene.clock.advance(std::time::Duration::from_secs(1));
    let revealed = scene.post(&of("/reveal"), &[]).await;
    assert_eq!(revealed.body.matches(SECRET).count(), 5, "{}", revealed.body);
    let lines = scene.sessions().audit_log(None).await.unwrap().lines;
    assert_eq!(lines[0].act, ingle::AuditAct::Reveal);
    let fields: Vec<&str> = lines[0].fields.keys().map(String::as_str).collect();
    assert_eq!(fields, ["a", "api_key", "body", "list", "password"]);
    assert_eq!(lines.len(), 2, "one act is one line");
    let audit = scene.get("/audit").await.body;
    assert!(audit.contains("reveal") && !audit.contains(SECRET), "{audit}");
}

async fn a_hidden_value_is_edited_once_it_was_seen(scene: Scene) {
    let handle = scene.holding(secrets()).await;
    let of = |action: &str| format!("/sessions/{handle}{action}");
    let form = scene.get(&of("/edit?path=password")).await;
    assert!(form.body.contains("Reveal and edit"), "{}", form.body);
    let fields = [("then", "edit"), ("path", "password")];
    let form = scene.post(&of("/reveal"), &fields).await;
    assert_eq!(form.hidden("before"), format!("\"{SECRET}\""));
    let line = &scene.sessions().audit_log(None).await.unwrap().lines[0];
    assert_eq!(line.fields.keys().collect::<Vec<_>>(), ["password"]);
    let before = form.hidden("before");
    let fields = [("path", "password"), ("before", &*before), ("kind", "text"), ("value", "new")];
    assert_eq!(scene.post(&of("/edit"), &fields).await.status, 200);
    assert_eq!(scene.data(&handle).await["password"], "new");
    // As JSON, what is hidden stays as it is, and cannot be changed unseen.
    let before = scene.get(&of("/json")).await.hidden("before");
    let wanted = before.replace("\"views\":3", "\"views\":4");
    let saved = scene.post(&of("/json"), &[("before", &before), ("value", &wanted)]).await;
    assert_eq!(saved.status, 200, "{saved:?}");
    let data = scene.data(&handle).await;
    assert_eq!(
        (&data["views"], &data["password"], &data["list"][0]["client_secret"]),
        (&json!(4), &json!("new"), &json!(SECRET))
    );
    for wanted in [
        before.replace("\"password\":{\"$hidden\":\"text\"}", "\"password\":\"z\""),
        before.replace(",\"password\":{\"$hidden\":\"text\"}", ""),
        before.replace("\"n\":1", "\"n\":2"),
    ] {
        assert_ne!(wanted, before);
        let refused = scene.post(&of("/json"), &[("before", &before), ("value", &wanted)]).await;
        assert_eq!(refused.status, 422, "{wanted}");
        assert!(refused.body.contains("reveal the values"), "{}", refused.body);
    }
    assert_eq!(scene.data(&handle).await, data);
    let form = scene.post(&of("/reveal"), &[("then", "json")]).await;
    assert!(form.hidden("before").contains(SECRET));
}

async fn no_answer_has_an_id_or_a_cookie(scene: Scene) {
    let mut ids = Vec::new();
    for n in 0..60 {
        let in_flight = scene.layer.door().begin([]);
        let session = in_flight.session().clone();
        session.login("ada").await.unwrap();
        session.insert("n", n).unwrap();
        let finished = in_flight.finish(ingle::HandlerOutcome::Success).await;
        let set = finished.headers().iter().find_map(|change| match change {
            ingle::HeaderChange::SetCookie { value, .. } => value.split(';').next(),
            _ => None,
        });
        ids.push(set.unwrap().split_once('=').unwrap().1.to_owned());
    }
    let handle = scene.sessions().of_user("ada").await.unwrap()[0].handle;
    let mut pages = vec!["".to_owned(), "/audit".to_owned(), format!("/sessions/{handle}")];
    pages.extend(["store", "sessions", "audit"].map(|name| format!("/api/v1/{name}")));
    pages.push(format!("/api/v1/sessions/{handle}"));
    for first in ["/sessions", "/user?name=ada", "/sessions?q=n%20%3E%200"] {
        pages.push(first.to_owned());
        let body = scene.get(first).await.body;
        if let Some(next) = body.split("rel=\"next\" href=\"/console").nth(1) {
            pages.push(next.split('"').next().unwrap().replace("&#38;", "&"));
        }
    }
    assert!(pages.len() > 10, "there were further pages: {pages:?}");
    for page in pages {
        let answer = scene.get(&page).await;
        assert_eq!(answer.status, 200, "{page}");
        for id in &ids {
            assert!(!answer.body.contains(id) && !answer.head.contains(id), "{page}");
        }
        assert_eq!(answer.header("set-cookie"), None);
    }
}

async fn a_hidden_value_cannot_be_guessed_by_what_is_found_or_by_its_hash(scene: Scene) {
    let handle =
        scene.holding(json!({ "pin": "1234", "list": [{ "token": 7 }], "views": 1 })).await;
    let handle = handle.to_string();
    for (question, is_found) in [
        ("views = 1", true),
        ("pin exists", true),
        ("pin = \"1234\"", false),
        ("pin > \"1\"", false),
        ("pin != \"1\"", true),
        ("pin != \"1234\"", true),
        ("list[0].token = 7", false),
        ("list = [{\"token\":7}]", false),
    ] {
        let query = crate::http::form(&[("q", question)]);
        let page = scene.get_as("viewer", &format!("/sessions?{query}")).await;
        assert_eq!(page.status, 200, "{question}");
        assert_eq!(page.body.contains(&handle), is_found, "{question}");
        let told = scene.get_as("viewer", &format!("/api/v1/sessions?{query}")).await;
        assert_eq!(told.body.contains(&handle), is_found, "{question}");
    }
    let fields = [("path", "pin"), ("before", "\"1234\""), ("kind", "text"), ("value", "5678")];
    assert_eq!(scene.post(&format!("/sessions/{handle}/edit"), &fields).await.status, 200);
    let lines = scene.sessions().audit_log(None).await.unwrap().lines;
    let hash = lines[0].fields["pin"].after.clone().unwrap();
    for (role, sees) in [("viewer", false), ("operator", false), ("editor", true)] {
        for page in ["/audit", "/api/v1/audit"] {
            let answer = scene.get_as(role, page).await;
            assert!(answer.body.contains("pin"), "{role} {page}");
            assert_eq!(answer.body.contains(&hash), sees, "{role} {page}");
        }
    }
}
