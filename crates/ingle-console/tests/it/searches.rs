//! What one can ask of a session beside its data, and how a search goes on part by part.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};

use crate::{
    http::{Answer, form},
    on_both_stores,
    scene::Scene,
};

on_both_stores! {
    sessions_are_found_by_age_use_end_size_and_user
    what_cannot_be_asked_says_why_and_how_one_asks
    a_search_goes_on_part_by_part_and_finds_each_once
    a_part_tells_what_a_page_tells_and_writes_nothing
    those_that_match_end_and_what_does_not_any_more_lives_on
}

fn question(path: &str, question: &str) -> String {
    format!("{path}?{}", form(&[("q", question)]))
}

fn told(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

fn handles(lines: &Value) -> Vec<String> {
    let lines = lines.as_array().unwrap();
    lines.iter().map(|line| line["handle"].as_str().unwrap().to_owned()).collect()
}

async fn sessions_are_found_by_age_use_end_size_and_user(scene: Scene) {
    let old = scene.begin(async |session| {
        session.login("ada smith").await?;
        session.insert("text", "x".repeat(9000))
    });
    let old = old.await.to_string();
    scene.clock.advance(Duration::from_secs(20 * 60));
    let new = scene.holding(json!({ "age": "of the app", "@size": 3 })).await.to_string();
    scene.clock.advance(Duration::from_secs(60));
    let (old, new) = (&*old, &*new);
    for (text, expected) in [
        ("@age > 20m", vec![old]),
        ("@age <= 1m", vec![new]),
        ("@age > 30 seconds", vec![old, new]),
        ("@idle < 10m", vec![new]),
        ("@idle >= 21m and @age < 1d", vec![old]),
        ("@ends < 10m", vec![old]),
        ("not (@ends < 10m)", vec![new]),
        ("@size > 8KiB", vec![old]),
        ("@size < 1.5 KiB and @size > 10", vec![new]),
        ("@user exists", vec![old]),
        ("not @user exists", vec![new]),
        ("@user = \"ada smith\" and @size > 8KiB", vec![old]),
        ("@user = \"ada smith\" and @size < 8KiB", vec![]),
        ("@user = \"ada smith\" or @size < 8KiB", vec![old, new]),
        // Fields of the app are in no way of them.
        ("age = \"of the app\"", vec![new]),
        ("\"@size\" = 3", vec![new]),
        ("size exists or user exists", vec![]),
    ] {
        let expected: BTreeSet<&str> = expected.into_iter().collect();
        let body = scene.get(&question("/sessions", text)).await.body;
        for handle in [old, new] {
            let link = format!("href=\"/console/sessions/{handle}\"");
            assert_eq!(body.contains(&link), expected.contains(handle), "{text}: {body}");
        }
        let told = told(&scene.get(&question("/api/v1/sessions", text)).await);
        let found = handles(&told["sessions"]);
        assert_eq!(found.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected, "{text}");
        // Of a user's sessions, the store looks up these alone.
        let searched = if text.starts_with("@user = \"ada smith\" and") { 1 } else { 2 };
        assert_eq!(told["searched"], searched, "{text}");
    }
}

async fn what_cannot_be_asked_says_why_and_how_one_asks(scene: Scene) {
    for (text, says) in [
        ("@age > 2", "a duration is a number and its unit, such as 90s"),
        ("@size > 8kB", "one of B, KiB, MiB or GiB"),
        ("@age = 2h", "changes as time passes"),
        ("@bytes > 8", "there is no `@bytes`"),
        ("@<script>alert(1)</script> > 8", "there is no `@`"),
    ] {
        let page = scene.get(&question("/sessions", text)).await;
        let problem = scene.get(&question("/api/v1/sessions", text)).await;
        let part = scene.get(&question("/sessions/part", text)).await;
        assert_eq!((page.status, problem.status, part.status), (400, 400, 400), "{text}");
        // Words of the language are code on the page.
        let shown = page.body.replace("<code>", "`").replace("</code>", "`");
        assert!(shown.contains(says), "{text}: {}", page.body);
        assert!(told(&problem)["detail"].as_str().unwrap().contains(says), "{text}: {problem:?}");
        assert!(!page.body.contains("<script>alert"), "{text}");
    }
    let body = scene.get("/sessions").await.body;
    for text in
        ["@age &gt; 2h", "@idle &gt; 10m", "@ends &lt; 1h", "@size &gt; 8KiB", "@user exists"]
    {
        assert!(body.contains(&format!("<code>{text}</code>")), "{text}: {body}");
    }
}

/// The parts of a search behind the first page, one after the other.
async fn parts(scene: &Scene, text: &str) -> (String, Vec<Value>) {
    let page = scene.get(&question("/sessions", text)).await.body;
    let mut after = page.split("data-after=\"").nth(1).map(|rest| rest.split('"').next().unwrap());
    let (mut parts, mut last): (Vec<Value>, String);
    parts = Vec::new();
    while let Some(cursor) = after {
        let path = format!("/sessions/part?{}", form(&[("q", text), ("after", cursor)]));
        let answer = scene.get_as("viewer", &path).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
        parts.push(told(&answer));
        last = parts.last().and_then(|part| part["after"].as_str()).unwrap_or_default().to_owned();
        after = Some(&*last).filter(|after| !after.is_empty());
    }
    (page, parts)
}

async fn a_search_goes_on_part_by_part_and_finds_each_once(scene: Scene) {
    let mut expected = BTreeSet::new();
    for n in 0..230 {
        let handle = scene.holding(json!({ "n": n })).await;
        if n >= 30 {
            expected.insert(handle.to_string());
        }
    }
    let (page, parts) = parts(&scene, "n >= 30").await;
    let of_page = page.split("<a class=\"handle\" data-open href=\"/console/sessions/").skip(1);
    let mut seen: Vec<String> =
        of_page.map(|part| part.split('"').next().unwrap().to_owned()).collect();
    assert_eq!(seen.len(), 30);
    let (mut searched, mut to) = (0, 0.0);
    for part in &parts {
        let found = handles(&part["lines"]);
        assert!(found.len() <= 30, "{part}");
        seen.extend(found);
        searched += part["searched"].as_u64().unwrap();
        // Both stores list in the order of keys, so it is known how far one is, but for the last few.
        if let Some(now) = part["to"].as_f64() {
            assert!(now > to && now <= 1.0 && part["from"].as_f64().unwrap() < now, "{part}");
            to = now;
        }
    }
    assert!(parts.len() >= 4 && to > 0.5, "{parts:?}");
    assert_eq!(seen.len(), 200);
    assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), expected);
    let of_page = page.split("data-searched=\"").nth(1).unwrap().split('"').next().unwrap();
    assert_eq!(searched + of_page.parse::<u64>().unwrap(), 230);
}

async fn a_part_tells_what_a_page_tells_and_writes_nothing(scene: Scene) {
    for n in 0..60 {
        scene
            .begin(async |session| {
                let label = ingle::Label::new("Firefox on Linux");
                session.login(ingle::Login::new("ada <smith>").label(label)).await?;
                session.insert("n", n)?;
                session.insert("token", "s3cret")
            })
            .await;
    }
    scene.clock.advance(Duration::from_secs(180));
    let (_, parts) = parts(&scene, "n exists").await;
    let line = &parts[0]["lines"][0];
    assert_eq!(line["user"]["name"], "ada <smith>");
    assert_eq!(line["user"]["href"], "/console/user?name=ada+%3Csmith%3E");
    assert_eq!(
        (&line["label"], &line["last_seen"]["ago"]),
        (&json!("Firefox on Linux"), &json!("3 minutes ago"))
    );
    assert_eq!(line["href"], format!("/console/sessions/{}", line["handle"].as_str().unwrap()));
    assert!(line["preview"].as_str().unwrap().contains("token: hidden"), "{line}");
    assert!(!json!(parts).to_string().contains("s3cret"));
    assert!(scene.sessions().audit_log(None).await.unwrap().lines.is_empty());
    for (path, role, status) in [
        ("/sessions/part?q=n+exists", "", 403),
        ("/sessions/part?q=n+exists&after=%3F", "viewer", 400),
        ("/sessions/part?q=n+%7E", "viewer", 400),
    ] {
        assert_eq!(scene.get_as(role, path).await.status, status, "{path}");
    }
}

async fn those_that_match_end_and_what_does_not_any_more_lives_on(scene: Scene) {
    let mut small = Vec::new();
    for n in 0..12 {
        small.push(scene.holding(json!({ "n": n })).await);
    }
    let large = scene.holding(json!({ "text": "x".repeat(9000) })).await;
    let text = "@size < 8KiB and @age < 1h";
    let matching = [("q", text), ("matching", "1")];
    for (role, status) in [("", 403), ("viewer", 403), ("operator", 200), ("editor", 200)] {
        assert_eq!(scene.post_as(role, "/sessions/end", &matching).await.status, status, "{role}");
    }
    let asked = scene.post("/sessions/end", &matching).await;
    assert!(asked.body.contains("End 12 sessions?"), "{}", asked.body);
    assert!(asked.body.contains("type their number: 12"), "{}", asked.body);
    // Those that were selected in the search end on the same condition.
    let grow =
        |data: &mut ingle::data::Data| data.insert("text".to_owned(), "x".repeat(9000).into());
    let session = scene.sessions().find(&small[3]).await.unwrap().unwrap();
    session.update(grow).await.unwrap();
    let handles: Vec<String> = small.iter().map(ToString::to_string).collect();
    let mut fields = vec![("q", text), ("confirmed", "1"), ("count", "11")];
    fields.extend(handles.iter().map(|handle| ("handle", &**handle)));
    let refused = scene.post("/sessions/end", &fields).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    fields[2] = ("count", "12");
    let body = scene.post_as("operator", "/sessions/end", &fields).await.body;
    assert!(body.contains("11 sessions have ended. 1 session did not match any more"), "{body}");
    for (n, handle) in small.iter().enumerate() {
        assert_eq!(scene.sessions().find(handle).await.unwrap().is_some(), n == 3, "{n}");
    }
    assert!(scene.sessions().find(&large).await.unwrap().is_some());
    let none = scene.post("/sessions/end", &matching).await;
    assert!(none.body.contains("No session matches, so none has ended."), "{}", none.body);
    // The page that leads there says what was asked for.
    let page = scene.get(&question("/sessions", "@size > 8KiB")).await;
    assert_eq!(page.hidden("q"), "@size > 8KiB");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_end_at_a_time_and_it_is_said_that_there_may_be_more() {
    let scene = Scene::in_memory().await;
    for n in 0..1040 {
        scene.holding(json!({ "n": n })).await;
    }
    let asked = scene.post("/sessions/end", &[("q", "@age < 1h"), ("matching", "1")]).await;
    assert!(asked.body.contains("End 1,000 sessions?"), "{}", asked.body);
    assert!(asked.body.contains("type their number: 1,000"), "{}", asked.body);
    assert!(asked.body.contains("and 980 more"), "{}", asked.body);
    assert!(asked.body.contains("there may be more"), "{}", asked.body);
    assert_eq!(asked.body.matches("name=\"handle\"").count(), 1000);
    let all = scene.post("/sessions/end", &[("q", "n > 38"), ("matching", "1")]).await;
    assert!(all.body.contains("there may be more"), "{}", all.body);
    let all = scene.post("/sessions/end", &[("q", "n > 39"), ("matching", "1")]).await;
    assert!(!all.body.contains("there may be more"), "{}", all.body);
    // Every page writes a number in the same way, and takes it as it is written.
    let home = scene.get("").await.body;
    let n = home.matches("<span class=\"number\">1,040</span>").count();
    assert!(home.contains("1,040 sessions") && n == 4 && !home.contains("1040"), "{n}: {home}");
    let none = scene.get(&question("/sessions", "n < 0")).await.body;
    assert!(none.contains("Looked at 1,040 sessions."), "{none}");
    let handles: Vec<&str> = asked.body.split("name=\"handle\" value=\"").skip(1).collect();
    let handles = handles.iter().map(|rest| ("handle", &rest[..16]));
    let mut fields = vec![("confirmed", "1"), ("count", "1,000")];
    fields.extend(handles);
    let ended = scene.post("/sessions/end", &fields).await;
    assert!(ended.body.contains("1,000 sessions have ended."), "{}", ended.body);
}
