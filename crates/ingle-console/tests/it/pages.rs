//! What the pages show, and how one finds a session.

use std::{collections::BTreeSet, time::Duration};

use ingle::Lifetime;
use serde_json::json;

use crate::{
    http::form,
    on_both_stores,
    scene::{Scene, begin},
};

on_both_stores! {
    an_empty_store_says_what_to_do
    a_search_says_how_many_it_has_looked_at_and_what_is_wrong_in_it
    a_key_is_told_on_the_pages_where_it_works
    every_session_is_on_exactly_one_page
    a_session_is_found_by_its_handle_its_user_and_its_data
    the_overview_tells_of_the_store_and_of_how_many_sessions_there_are
    the_overview_tells_of_ages_sizes_and_beginnings_of_the_whole_store
    in_an_app_the_overview_shows_what_this_process_does_as_it_does_it
    a_session_is_told_in_words_and_its_data_as_a_tree
    a_session_is_live_on_its_page_until_it_ends
}

async fn a_search_says_how_many_it_has_looked_at_and_what_is_wrong_in_it(scene: Scene) {
    for n in 0..3 {
        // What comes before it in the data, and is long.
        scene.holding(json!({ "a": "x".repeat(60), "views": n })).await;
    }
    for (question, status, said) in [
        ("views > 7", 200, "No live session matches. Looked at 3 sessions."),
        ("views > 1", 200, "1 of 3 sessions match."),
        ("views > 1", 200, "<code>views: 2, "),
        ("0000", 200, "<p>No live session matches.</p>"),
        (
            "views > 1 AND views exists",
            400,
            "write <code>and</code> in the place of <code>AND</code>.",
        ),
        ("greeting = 'Hola Mundo'", 400, "put texts and names in double quotes"),
        ("grace", 400, "The sessions of a user are <code>user:grace</code>, and"),
    ] {
        let answer = scene.get(&format!("/sessions?{}", form(&[("q", question)]))).await;
        assert_eq!(answer.status, status, "{question}");
        assert!(answer.body.contains(said), "{question}: {}", answer.body);
    }
}

async fn an_empty_store_says_what_to_do(scene: Scene) {
    for (page, text) in [
        ("", "Open the app in a browser"),
        ("/sessions", "There is no session yet."),
        ("/sessions?q=views+%3E+1", "No live session matches."),
        ("/sessions?q=abc", "No live session matches."),
        ("/sessions?q=user:ada+and+views+%3E+1", "exactly this name"),
        ("/user?name=ada", "This user has no live session."),
        ("/audit", "No operator has done anything yet."),
    ] {
        let answer = scene.get(page).await;
        assert_eq!(answer.status, 200, "{page}");
        assert!(answer.body.contains(text), "{page}: {}", answer.body);
    }
}

async fn a_key_is_told_on_the_pages_where_it_works(scene: Scene) {
    for n in 0..40 {
        begin(&scene.layer, async |session| session.insert("n", n)).await;
    }
    let list = scene.get("/sessions").await.body;
    let session = format!("/sessions/{}", handles(&list)[0]);
    for (role, page, keys) in [
        ("editor", "", "/jk?"),
        ("editor", "/sessions", "/jk?"),
        ("editor", "/sessions?q=n+exists", "/jks?"),
        ("editor", &session, "/jke?"),
        ("viewer", &session, "/jk?"),
    ] {
        let body = scene.get_as(role, page).await.body;
        let told = body.split("<kbd>").skip(1).map(|part| part.split('<').next().unwrap());
        let told: String = told.filter(|key| key.len() == 1).collect();
        assert_eq!(told, keys, "{role} {page}");
    }
}

fn handles(html: &str) -> Vec<String> {
    let parts = html.split("<a class=\"handle\" data-open href=\"/console/sessions/").skip(1);
    parts.map(|part| part.split('"').next().unwrap().to_owned()).collect()
}

fn next(html: &str) -> Option<String> {
    let rest = html.split("rel=\"next\" href=\"/console").nth(1)?;
    Some(rest.split('"').next()?.replace("&#38;", "&"))
}

async fn every_session_is_on_exactly_one_page(scene: Scene) {
    for n in 0..170 {
        let user = ["ada", "bob"][n % 2];
        scene
            .begin(async |session| {
                session.login(user).await?;
                session.insert("n", n)
            })
            .await;
    }
    for (first, expected) in [
        ("/sessions", 170),
        ("/user?name=ada", 85),
        ("/sessions?q=user:ada", 85),
        ("/sessions?q=n+%3E%3D+20", 150),
        ("/sessions?q=n+%3E%3D+20+and+%40user+%3D+bob", 75),
        ("/sessions?q=%40size+%3E+0+and+%40age+%3C+1h", 170),
    ] {
        let (mut seen, mut path) = (BTreeSet::new(), first.to_owned());
        loop {
            let answer = scene.get(&path).await;
            assert_eq!(answer.status, 200, "{path}: {answer:?}");
            let found = handles(&answer.body);
            assert!(found.len() <= 30, "{path}");
            for handle in found {
                assert!(seen.insert(handle), "{path}: twice");
            }
            match next(&answer.body) {
                Some(next) => path = next,
                None => break,
            }
        }
        assert_eq!(seen.len(), expected, "{first}");
    }
}

async fn a_session_is_found_by_its_handle_its_user_and_its_data(scene: Scene) {
    let ada = scene
        .begin(async |session| {
            session.login("ada <smith>").await?;
            session.insert("views", 101)
        })
        .await;
    let other = scene.holding(json!({ "views": 7, "cart": { "items": [1] } })).await;
    let found = |question: &str| {
        let path = crate::http::form(&[("q", question)]);
        let scene = &scene;
        async move { handles(&scene.get(&format!("/sessions?{path}")).await.body) }
    };
    let (ada, other) = (ada.to_string(), other.to_string());
    assert_eq!(found(&ada).await, [&*ada]);
    assert_eq!(found(&other.to_uppercase()[..9]).await, [&*other]);
    assert_eq!(found("user:ada <smith>").await, [&*ada]);
    assert_eq!(found("views > 100").await, [&*ada]);
    assert_eq!(found("cart.items exists and views < 100").await, [&*other]);
    assert_eq!(found("views > 1000").await, Vec::<String>::new());
    for question in ["*", "views >", "%", &"a".repeat(5000)] {
        let path = format!("/sessions?{}", crate::http::form(&[("q", question)]));
        let answer = scene.get(&path).await;
        assert_eq!(answer.status, 400, "{question}");
        assert!(answer.body.contains("role=\"alert\""), "{question}");
    }
    let user = scene.get("/user?name=ada+%3Csmith%3E").await;
    assert_eq!(handles(&user.body), [&*ada]);
}

async fn the_overview_tells_of_the_store_and_of_how_many_sessions_there_are(scene: Scene) {
    for user in ["ada", "ada", "bob"] {
        scene.begin(async |session| session.login(user).await).await;
    }
    scene.clock.advance(Duration::from_secs(300));
    scene.holding(json!({ "views": 1 })).await;
    let body = scene.get("").await.body;
    let store = scene.sessions().store_info();
    for text in [store.name, "It answers.", "4 sessions", "logged in", &store.durability] {
        assert!(body.contains(text), "{text}: {body}");
    }
    let row = |name: &str| {
        let row = body
            .split(&format!("<span class=\"name\">{name}</span> <span class=\"number\">"))
            .nth(1);
        row.unwrap_or_else(|| panic!("{name}: {body}")).split('<').next().unwrap().to_owned()
    };
    let rows = ["logged in", "anonymous", "within a minute", "1 to 60 minutes ago"].map(row);
    assert_eq!(rows, ["3", "1", "1", "3"]);
    assert!(!body.contains("in the future"), "{body}");
    // Another instance was given other times than the console.
    let lifetime = Lifetime::new(Duration::from_secs(3600), Duration::from_secs(7200)).unwrap();
    let other = scene.other_instance().lifetime(lifetime);
    begin(&other, async |session| session.insert("views", 1)).await;
    let body = scene.get("").await.body;
    assert!(body.contains("The last use of 1 of them is in the future."), "{body}");
}

/// The numbers of a card's bars, in their order.
fn bars(html: &str, title: &str) -> Vec<usize> {
    let card = html.split(&format!("<h2 id=\"{title}\">")).nth(1);
    let card =
        card.unwrap_or_else(|| panic!("{title}: {html}")).split("</section>").next().unwrap();
    let numbers = card.split("<span class=\"number\">").skip(1);
    numbers.map(|rest| rest.split('<').next().unwrap().parse().unwrap()).collect()
}

async fn the_overview_tells_of_ages_sizes_and_beginnings_of_the_whole_store(scene: Scene) {
    scene.holding(json!({ "large": "x".repeat(5000) })).await;
    scene.clock.advance(Duration::from_secs(20 * 60));
    for _ in 0..2 {
        scene.holding(json!({ "views": 1 })).await;
    }
    crate::scene::begin(&scene.other_instance(), async |session| session.insert("a", 1)).await;
    let body = scene.get("").await.body;
    assert_eq!(bars(&body, "seen-title"), [3, 1, 0, 0, 0]);
    assert_eq!(bars(&body, "began-title"), [3, 1, 0, 0, 0]);
    assert_eq!(bars(&body, "size-title"), [3, 0, 1, 0, 0]);
    let label = "aria-label=\"Begun: 4 in the last hour, at most 3 a minute, 3 in this one\"";
    assert!(body.contains(label), "{body}");
}

async fn in_an_app_the_overview_shows_what_this_process_does_as_it_does_it(scene: Scene) {
    let handle = scene.holding(json!({ "views": 1 })).await;
    crate::scene::begin(&scene.other_instance(), async |session| session.insert("a", 1)).await;
    let body = scene.get_as("viewer", "").await.body;
    for text in [
        &*format!("Process {}", std::process::id()),
        "Other instances of the app are not in it.",
        "aria-label=\"Begun: 1 in the last hour, at most 1 a minute, 1 in this one\"",
        "aria-label=\"503: 0 in the last hour, at most 0 a minute, 0 in this one\"",
        "<tr><th scope=\"row\">the last 5 minutes</th><td class=\"number\">1</td>",
        "data-live=\"/console/live\"",
    ] {
        assert!(body.contains(text), "{text}: {body}");
    }
    let (address, role) = (scene.address, "X-Role: viewer\r\nConnection: close\r\n\r\n");
    let request = format!("GET /console/live HTTP/1.1\r\nHost: {address}\r\n{role}");
    let mut live = crate::http::Stream::open(address, &request).await;
    let ended =
        |n: u64| format!("Ended: {n} in the last hour, at most {n} a minute, {n} in this one");
    let first = live.until(&ended(0)).await;
    assert!(first.contains("content-type: text/event-stream"), "{first}");
    scene.sessions().find(&handle).await.unwrap().unwrap().end().await.unwrap();
    live.until(&ended(1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_itself_the_console_shows_nothing_of_a_process() {
    let console = crate::scene::Loopback::start().await;
    let first = console.first();
    let cookie = crate::scene::cookie(&console.sign_in(&first).await);
    console.holding(json!({ "views": 1 })).await;
    let home = console.get("/", &cookie).await;
    assert!(home.status == 200 && home.body.contains("1 session<"), "{home:?}");
    assert!(!home.body.contains("This instance") && !home.body.contains("data-live"), "{home:?}");
    assert_eq!(console.get("/live", &cookie).await.status, 404);
}

async fn a_session_is_told_in_words_and_its_data_as_a_tree(scene: Scene) {
    let handle = scene
        .begin(async |session| {
            session
                .login(ingle::Login::new("ada").label(ingle::Label::new("Firefox on Linux")))
                .await?;
            session.insert("at", json!({ "$timestamp": "2026-05-04T12:30:00Z" }))?;
            session.insert("cart", json!({ "items": [{ "n": 1.0 }] }))
        })
        .await;
    scene.clock.advance(Duration::from_secs(180));
    let body = scene.get(&format!("/sessions/{handle}")).await.body;
    for text in [
        "3 minutes ago",
        "on Firefox on Linux.",
        "in 27 minutes",
        "data-path=\"cart.items[0].n\"",
        "<td class=\"kind\">timestamp</td>",
        "<td class=\"kind\">double</td>",
        ">2026-05-04T12:30:00Z</td>",
        ">1.0</td>",
        "1 item",
    ] {
        assert!(body.contains(text), "{text}: {body}");
    }
    let exact = body.split("title=\"20").count() - 1;
    assert!(exact >= 5, "each time is there exactly: {body}");
}

async fn a_session_is_live_on_its_page_until_it_ends(scene: Scene) {
    let handle = scene.holding(json!({ "views": 41, "token": "s3cret" })).await;
    let session = scene.sessions().find(&handle).await.unwrap().unwrap();
    let path = format!("/sessions/{handle}/live");
    let (address, role) = (scene.address, "X-Role: viewer\r\nConnection: close\r\n\r\n");
    let request = format!("GET /console{path} HTTP/1.1\r\nHost: {address}\r\n{role}");
    let mut live = crate::http::Stream::open(address, &request).await;
    let first = live.until("\"text\":\"41\"").await;
    assert!(first.contains("content-type: text/event-stream"), "{first}");
    let put = |data: &mut ingle::data::Data| data.insert("views".into(), 42.into());
    session.update(put).await.unwrap();
    let second = live.until("\"text\":\"42\"").await;
    session.end().await.unwrap();
    let last = live.until("event: ended").await;
    for part in [first, second, last] {
        assert!(!part.contains("s3cret"), "{part}");
    }
    assert_eq!(scene.get(&path).await.status, 404);
}
