//! What looks secret is in no answer until somebody asks for it, and then it is in the audit log.

use serde_json::json;

use crate::{
    api::edit,
    http::Answer,
    log::Log,
    on_both_stores,
    scene::{Loopback, Scene, begin_in_browser, cookie},
};

on_both_stores! {
    what_looks_secret_is_nowhere_until_it_is_revealed
    a_hidden_value_is_edited_once_it_was_seen
    an_edit_of_a_hidden_value_is_undone_and_no_page_has_the_value
    a_hidden_value_cannot_be_guessed_by_what_is_found_or_by_its_hash
    a_guess_at_a_hidden_value_is_a_line_that_names_the_field
    no_answer_and_no_line_of_the_log_has_an_id_or_a_cookie
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
            .all(|line| { line.act != ingle::operator::AuditAct::Reveal })
    );
    // The newest line is the first one, and these have a time each.
    scene.clock.advance(std::time::Duration::from_secs(1));
    let revealed = scene.post(&of("/reveal"), &[]).await;
    assert_eq!(revealed.body.matches(SECRET).count(), 5, "{}", revealed.body);
    let lines = scene.sessions().audit_log(None).await.unwrap().lines;
    assert_eq!(lines[0].act, ingle::operator::AuditAct::Reveal);
    let fields: Vec<&str> = lines[0].fields.keys().map(String::as_str).collect();
    assert_eq!(fields, ["a", "api_key", "body", "list", "password"]);
    assert_eq!(lines.len(), 2, "one act is one line");
    let audit = scene.get("/audit").await.body;
    assert!(audit.contains("reveal") && !audit.contains(SECRET), "{audit}");
    // Whatever field such a form names, all that it shows is written down.
    for fields in [&[("path", "x")][..], &[("path", "password"), ("then", "json")]] {
        scene.clock.advance(std::time::Duration::from_secs(1));
        let revealed = scene.post(&of("/reveal"), fields).await;
        assert!(revealed.body.matches(SECRET).count() >= 5, "{}", revealed.body);
        let line = &scene.sessions().audit_log(None).await.unwrap().lines[0];
        assert_eq!(line.fields.len(), 5, "{fields:?}: {line:?}");
    }
    // Whether something is within what is hidden is told to nobody.
    for path in ["api_key.inner", "api_key.other", "api_key.inner.more"] {
        for form in ["edit", "order"] {
            let answer = scene.get(&of(&format!("/{form}?path={path}"))).await;
            assert!(answer.status == 200 && answer.body.contains("is hidden"), "{answer:?}");
        }
    }
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

async fn an_edit_of_a_hidden_value_is_undone_and_no_page_has_the_value(scene: Scene) {
    let handle = scene.holding(secrets()).await;
    let other = scene.holding(secrets()).await;
    let of = |action: &str| format!("/sessions/{handle}{action}");
    let (old, new) = (format!("\"{SECRET}\""), "another-s3cret");
    let password = [("path", "password"), ("before", &*old), ("kind", "text"), ("value", new)];
    let inner = format!("[{{\"client_secret\":\"{SECRET}\",\"n\":1}}]");
    let item = [("path", "list[0].n"), ("before", &*inner), ("kind", "int"), ("value", "2")];
    let body = json!(secrets()["body"]).to_string();
    let text = [("path", "body"), ("before", &*body), ("kind", "text"), ("value", "plain")];
    for fields in [password, item, text] {
        let saved = scene.post(&of("/edit"), &fields).await;
        assert!(saved.status == 200 && saved.body.contains(">Undo<"), "{saved:?}");
        assert!(!saved.body.contains(SECRET) && !saved.body.contains(new), "{}", saved.body);
        assert_ne!(scene.data(&handle).await, secrets());
        let (kept, until) = (saved.hidden("kept"), saved.hidden("until"));
        let fields = [("kept", &*kept), ("until", &*until)];
        let elsewhere = scene.post(&format!("/sessions/{other}/apply"), &fields).await;
        assert_eq!(elsewhere.status, 410, "{elsewhere:?}");
        let undone = scene.post(&of("/apply"), &fields).await;
        assert!(undone.status == 200 && undone.body.contains("Undone."), "{undone:?}");
        assert!(!undone.body.contains(SECRET) && !undone.body.contains(new), "{}", undone.body);
        assert_eq!(scene.data(&handle).await, secrets());
    }
    // Where somebody has removed the value, what was typed is not on the page either.
    let gone = [("path", "pin"), ("before", "1"), ("kind", "text"), ("value", new)];
    let conflict = scene.post(&of("/edit"), &gone).await;
    assert!(conflict.status == 409 && !conflict.body.contains(new), "{conflict:?}");
    let kept = conflict.hidden("kept");
    assert_eq!(scene.post(&of("/apply"), &[("kept", &kept)]).await.status, 200);
    assert_eq!(scene.data(&handle).await["pin"], new);
    let saved = scene.post(&of("/edit"), &password).await;
    let (kept, until) = (saved.hidden("kept"), saved.hidden("until"));
    scene.clock.advance(std::time::Duration::from_secs(600));
    for fields in [&[("kept", &*kept)][..], &[("kept", &*kept), ("until", &*until)]] {
        assert_eq!(scene.post(&of("/apply"), fields).await.status, 410);
    }
    assert_eq!(scene.data(&handle).await["password"], new);
}

async fn a_guess_at_a_hidden_value_is_a_line_that_names_the_field(scene: Scene) {
    let handle = scene.holding(secrets()).await;
    let at = format!("/sessions/{handle}/edit");
    let guess = async |before: &str| {
        // The newest line is the first one, and these have a time each.
        scene.clock.advance(std::time::Duration::from_secs(1));
        let edits = json!([{ "path": "password", "before": before, "yours": before }]);
        let api = edit(&scene, &handle.to_string(), "", edits).await.status;
        scene.clock.advance(std::time::Duration::from_secs(1));
        let before = json!(before).to_string();
        let fields = [("path", "password"), ("before", &*before), ("do", "remove")];
        (api, scene.post(&at, &fields).await.status)
    };
    assert_eq!(guess("x").await, (409, 409));
    assert_eq!(guess(SECRET).await, (200, 200));
    let lines = scene.sessions().audit_log(None).await.unwrap().lines;
    let told: Vec<_> = lines.iter().map(|line| (line.outcome, line.fields.len())).collect();
    let (done, refused) =
        (ingle::operator::AuditOutcome::Done, ingle::operator::AuditOutcome::Refused);
    assert_eq!(told, [(done, 1), (done, 1), (refused, 1), (refused, 1)], "{lines:#?}");
    let hashes: Vec<_> =
        lines.iter().map(|line| line.fields["password"].before.is_some()).collect();
    assert_eq!(hashes, [true, false, false, false], "{lines:#?}");
    let audit = scene.get("/audit").await.body;
    assert_eq!(audit.matches("not changed").count(), 3, "{audit}");
    assert!(!audit.contains(SECRET), "{audit}");
}

async fn no_answer_and_no_line_of_the_log_has_an_id_or_a_cookie(scene: Scene) {
    let log = Log::catch();
    let (mut cookies, mut handles) = (Vec::new(), Vec::new());
    for n in 0..60 {
        let (handle, cookie) = begin_in_browser(&scene.layer, async |session| {
            session.login("ada").await?;
            session.insert("list", [1, 2])?;
            session.insert("n", n)
        })
        .await;
        cookies.push(cookie);
        handles.push(handle.to_string());
    }
    // The visitors come again: one is renewed, one counts, and one logs out.
    for n in 0..3 {
        let in_flight = scene.layer.door().begin([cookies[n].as_bytes()]);
        let session = in_flight.session().clone();
        match n {
            0 => session.renew().await.unwrap(),
            1 => session.increment("n", 1).unwrap(),
            _ => session.logout().await.unwrap(),
        }
        let finished = in_flight.finish(ingle::adapter::HandlerOutcome::Success).await;
        let set = finished.headers().iter().filter(|change| change.name() == "set-cookie");
        cookies.extend(set.map(|change| change.value().split(';').next().unwrap().to_owned()));
    }
    let mut dump = String::new();
    let mut note = |what: &str, answer: Answer| {
        assert_eq!(answer.header("set-cookie"), None, "{what}");
        dump.push_str(&format!("{what}\n{}\n{}\n", answer.head, answer.body));
    };
    let handle = &handles[10];
    let of = |action: &str| format!("/sessions/{handle}{action}");
    let mut pages: Vec<String> =
        ["", "/audit", "/nothing", "/sessions/x", "/api/v1/", "/api/v1/nothing"]
            .map(str::to_owned)
            .to_vec();
    pages.extend(
        ["openapi.json", "store", "sessions", "audit"].map(|name| format!("/api/v1/{name}")),
    );
    let forms = ["", "/edit?path=n", "/edit?path=x", "/add", "/order?path=list", "/json"];
    pages.extend(forms.map(of));
    pages.extend([format!("/api/v1{}", of("")), format!("/sessions/{}", handles[2])]);
    let edit = [("path", "n"), ("before", "10"), ("kind", "int"), ("value", "11")];
    let wrong = [("path", "n"), ("before", "10"), ("kind", "int"), ("value", "x")];
    let order = [("path", "list"), ("before", "[1,2]"), ("order", "1"), ("order", "0")];
    let picked = [("handle", &*handles[11]), ("handle", &handles[12])];
    let confirmed = [picked.as_slice(), &[("confirmed", "1")]].concat();
    let user = [("name", "ada")];
    let posts: [(String, &[(&str, &str)]); 12] = [
        (of("/edit"), &edit),
        (of("/edit"), &edit),
        (of("/edit"), &wrong),
        (of("/edit"), &[("path", "n"), ("before", "1"), ("kind", "int"), ("value", "3")]),
        (of("/order"), &[order.as_slice(), &[("move", "up:1")]].concat()),
        (of("/order"), &order),
        (of("/json"), &[("before", "{\"n\":11}"), ("value", "{\"n\":12}")]),
        (of("/apply"), &[("edits", "[{\"path\":\"n\",\"before\":1,\"yours\":2}]")]),
        (of("/reveal"), &[]),
        (of("/end"), &[]),
        ("/sessions/end".to_owned(), &picked),
        ("/sessions/end".to_owned(), &confirmed),
    ];
    for first in ["/sessions", "/user?name=ada", "/sessions?q=n%20%3E%200"] {
        pages.push(first.to_owned());
        let body = scene.get(first).await.body;
        if let Some(next) = body.split("rel=\"next\" href=\"/console").nth(1) {
            pages.push(next.split('"').next().unwrap().replace("&#38;", "&"));
        }
    }
    assert!(
        pages.iter().any(|page| page.contains("after=")),
        "there were further pages: {pages:?}"
    );
    let address = scene.address;
    let ask = async |path: &str| {
        let head = format!("GET /console{path} HTTP/1.1\r\nHost: {address}\r\nX-Role: editor\r\n");
        crate::http::Stream::open(address, &(head + "Connection: close\r\n\r\n")).await
    };
    let mut live = String::new();
    for path in ["/live".to_owned(), of("/live")] {
        live.push_str(&ask(&path).await.until("event: shown").await);
    }
    for page in &pages {
        note(page, scene.get(page).await);
    }
    for (path, fields) in &posts {
        note(path, scene.post(path, fields).await);
    }
    note("/user/end", scene.post("/user/end", &user).await);
    note("/audit", scene.get("/audit").await);
    // All of it was there to be seen.
    for told in [&*handles[11], "Saved.", "Somebody changed this meanwhile", "Cookie: …", "reveal"]
    {
        assert!(dump.contains(told), "{told}");
    }
    let log = log.text();
    for told in [&*handles[0], "a session began", "a session was renewed", "DEBUG", "ingle_store"] {
        assert!(log.contains(told), "{told}");
    }
    assert!(cookies.len() > 60, "one was renewed");
    for cookie in cookies {
        let (_, id) = cookie.split_once('=').unwrap();
        if id.is_empty() {
            continue;
        }
        for (what, text) in [("answers", &dump), ("events", &live), ("log", &log)] {
            if let Some(at) = text.find(id) {
                panic!("{what}: {}", &text[at.saturating_sub(200)..at]);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_s_own_cookie_and_code_are_in_no_page_and_no_line_of_the_log() {
    let log = Log::catch();
    let console = Loopback::start().await;
    let announced = console.first();
    let signed_in = console.sign_in(&announced).await;
    let cookie = cookie(&signed_in);
    let handle = console.holding(json!({ "views": 1 })).await;
    let session = format!("/sessions/{handle}");
    let mut dump = signed_in.body;
    for path in ["/", "/sessions", &session, "/audit", "/api/v1/", "/api/v1/sessions", "/nothing"] {
        let answer = console.get(path, &cookie).await;
        dump.push_str(&format!("{path}: {} {}\n", answer.head, answer.body));
    }
    let out = console.post("/sign-out", &cookie, &[]).await;
    dump.push_str(&out.body);
    dump.push_str(&console.get("/sign-in", &cookie).await.body);
    for told in [&*handle.to_string(), "Sign out", "<h1>Sign in</h1>"] {
        assert!(dump.contains(told), "{told}");
    }
    let (log, (_, id)) = (log.text(), cookie.split_once('=').unwrap());
    let (_, code) = announced.split_once("#code=").unwrap();
    assert!(log.contains("a session began"), "{log}");
    for secret in [id, code] {
        assert!(secret.len() > 20 && !dump.contains(secret) && !log.contains(secret));
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
