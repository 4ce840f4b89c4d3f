//! Each command on each store.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _},
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use ingle::{
    clock::{Clock as _, SystemClock, Timestamp},
    record::{Op, Record},
    store::Write,
};
use serde_json::{Value, json};

use crate::{
    Ended,
    place::{ADA, ALSO_BOB, BOB, NOBODY, Place, key, record},
    program, run,
};

macro_rules! on_each_store {
    ($($test:ident)*) => {
        $crate::commands::on_each_store! { sqlite; $($test)* }
        $crate::commands::on_each_store! { redis; $($test)* }
        $crate::commands::on_each_store! { redis_cluster; $($test)* }
        $crate::commands::on_each_store! { postgres; $($test)* }
        $crate::commands::on_each_store! { firestore; $($test)* }
    };
    ($store:ident; $($test:ident)*) => {
        mod $store {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$test(crate::Place::$store().filled().await).await;
            })*
        }
    };
}
pub(crate) use on_each_store;

on_each_store! {
    sessions_are_listed_as_they_fit
    a_session_is_shown_without_its_secrets
    values_are_set_and_taken_out
    nothing_is_done_to_what_is_not_there_or_not_one
    sessions_end_that_were_named_or_fit
    a_users_sessions_are_counted_and_end
    each_act_is_in_the_audit_log
    sessions_are_counted_exported_and_swept
    a_change_is_seen_by_whoever_watches
    a_long_list_has_each_session_once
    a_list_is_sorted_as_it_is_asked_for
    what_the_app_does_not_allow_is_refused_before_and_in_earnest
    a_renewal_is_told_as_one
}

async fn sessions_are_listed_as_they_fit(place: Place) {
    let list = |options: &[&str]| {
        let arguments = [&["sessions", "list", "--ndjson"], options].concat();
        run(&place, &arguments).ok().handles()
    };
    assert_eq!(list(&[]), [ADA, BOB, ALSO_BOB, NOBODY]);
    assert_eq!(list(&["--user", "bob"]), [BOB, ALSO_BOB]);
    assert_eq!(list(&["--where", "views > 100"]), [ADA, BOB]);
    assert_eq!(list(&["--where", "views > 100 and not cart exists"]), [BOB]);
    assert_eq!(list(&["--where", "cart.items[0].n = int:1", "--user", "ada"]), [ADA]);
    // Nobody guesses what is hidden by asking for it.
    for condition in
        ["password >= \"a\"", "password = \"s3cret-1\"", "cart.api_key != \"x\" and views = 1"]
    {
        assert_eq!(list(&["--where", condition]), [""; 0], "{condition}");
    }
    assert_eq!(list(&["--user", "cyd"]), [""; 0]);
    assert_eq!(list(&["--older", "1h"]).len(), 4);
    assert_eq!(list(&["--older", "3h"]).len(), 0);
    // All began two hours ago and end in one, whatever fields they have.
    for (condition, expected) in [
        ("@age > 1h and @ends < 2h", 4),
        ("@age > 3h or @ends > 2 hours", 0),
        ("@user = bob and views > 100", 1),
        ("@user = bob and not views > 100 or @user = ada", 2),
        ("not @user exists", 1),
        ("@size > 64B", 1),
        ("@size < 1KiB", 4),
        ("\"@age\" exists or age exists", 0),
    ] {
        assert_eq!(list(&["--where", condition]).len(), expected, "{condition}");
    }
    assert_eq!(list(&["--where", "@user = bob", "--user", "ada"]), [""; 0]);
    assert_eq!(list(&["--where", "@idle > 90m", "--idle-time", "3h"]).len(), 4);
    assert_eq!(list(&["--where", "@idle > 90m", "--idle-time", "2h"]).len(), 0);
    assert_eq!(list(&["--limit", "2"]).len(), 2);
    assert_eq!(list(&["--limit", "0"]).len(), 0);
    assert_eq!(list(&["--expired"]).len(), 0);
    // They end in an hour, so they were used two hours ago if they live for three.
    assert_eq!(list(&["--idle", "90m", "--idle-time", "3h"]).len(), 4);
    assert_eq!(list(&["--idle", "90m", "--idle-time", "2h"]).len(), 0);

    let all = run(&place, &["sessions", "list", "--json"]).ok().json();
    let ada = all.as_array().unwrap().iter().find(|session| session["handle"] == ADA).unwrap();
    assert_eq!((&ada["user"]["name"], &ada["commits"]), (&json!("ada"), &json!(1)));
    assert_eq!((&ada["last_seen"], &ada["expired"]), (&Value::Null, &json!(false)));
    assert!(ada.get("data").is_none());
    let none = run(&place, &["sessions", "list", "--json", "--user", "cyd"]).ok();
    assert_eq!(none.json(), json!([]));

    let table = run(&place, &["sessions", "list", "--user", "ada"]).ok().stdout;
    let [title, row] = &table.lines().collect::<Vec<_>>()[..] else { panic!("{table}") };
    assert!(title.starts_with("HANDLE            USER"), "{table}");
    assert!(row.starts_with(ADA) && row.contains("ada") && row.contains("2 hours ago"), "{table}");
}

async fn a_session_is_shown_without_its_secrets(place: Place) {
    let shown = run(&place, &["sessions", "show", "3fa9"]).ok();
    for part in
        ["session    3fa9c1d2e4b5a697", "user       ada, since 2 hours ago", "\"views\": 101"]
    {
        assert!(shown.stdout.contains(part), "{part}: {shown:?}");
    }
    assert!(!shown.stdout.contains("s3cret") && shown.stderr.contains("--reveal"), "{shown:?}");
    let shown = run(&place, &["sessions", "show", ADA, "--json"]).ok().json();
    assert_eq!(shown["data"]["password"], json!({ "$hidden": "text" }));
    assert_eq!(shown["data"]["cart"]["api_key"], json!({ "$hidden": "text" }));
    assert_eq!(shown["data"]["cart"]["items"], json!([{ "n": 1 }]));
    assert!(run(&place, &["audit", "--ndjson"]).ok().lines().is_empty());

    let shown = run(&place, &["sessions", "show", ADA, "--json", "--reveal"]).ok().json();
    assert_eq!(shown["data"]["password"], "s3cret-1");
    let lines = run(&place, &["audit", "--ndjson"]).ok().lines();
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&line["act"], &line["session"]), (&json!("reveal"), &json!(ADA)));
    let fields: Vec<_> = line["fields"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["cart", "password"]);
}

async fn values_are_set_and_taken_out(place: Place) {
    let set =
        ["sessions", "set", "3fa9", "greeting=Hola Mundo", "cart.items[1]=int:7", "new.x=double:1"];
    let planned = run(&place, &[&set[..], &["--dry-run"]].concat()).ok();
    assert!(planned.stderr.contains("dry run"), "{planned:?}");
    assert_eq!(place.data(ADA).await.unwrap()["greeting"], "Hi");
    let done = run(&place, &set).ok();
    assert_eq!(done.stdout, planned.stdout);
    assert!(done.stdout.contains("greeting: text:Hi → text:Hola Mundo"), "{done:?}");
    let data = place.data(ADA).await.unwrap();
    assert_eq!(data["greeting"], "Hola Mundo");
    assert_eq!(data["cart"]["items"], json!([{ "n": 1 }, 7]));
    assert_eq!(data["new"], json!({ "x": 1.0 }));
    assert_eq!(data["cart"]["api_key"], "s3cret-2");
    let again = run(&place, &set[..4]).ok();
    assert!(again.stderr.contains("like that already"), "{again:?}");

    let secret = run(&place, &["sessions", "set", "3fa9", "password=s3cret-3", "--json"]).ok();
    assert!(!secret.stdout.contains("s3cret"), "{secret:?}");
    assert_eq!(secret.json()["changed"][0]["path"], "password");
    assert_eq!(place.data(ADA).await.unwrap()["password"], "s3cret-3");

    run(&place, &["sessions", "set", "3fa9", "cart.items[2]=8"]).ok();
    let unset = ["cart.items[0]", "cart.coupon", "cart.items[1]", "cart.items[0].n", "new", "new"];
    run(&place, &[&["sessions", "unset", "3fa9"], &unset[..]].concat()).ok();
    let data = place.data(ADA).await.unwrap();
    assert!(data["cart"].get("coupon").is_none() && data.get("new").is_none(), "{data:?}");
    assert_eq!(data["cart"]["items"], json!([8]));
    run(&place, &["sessions", "unset", "3fa9", "cart.coupon"]).with(3);
    let refused = run(&place, &["sessions", "set", "3fa9", "views.x=1"]).with(4);
    assert!(refused.stderr.contains("views is no map"), "{refused:?}");
    let refused = run(&place, &["sessions", "set", "3fa9", "__name__=1"]).with(4);
    assert!(refused.stderr.contains("nothing was changed"), "{refused:?}");
    assert_eq!(place.data(ADA).await.unwrap(), data);
}

async fn nothing_is_done_to_what_is_not_there_or_not_one(place: Place) {
    let none = run(&place, &["sessions", "show", "0123"]).with(3);
    assert_eq!(none.stderr, "ingle: there is no live session 0123\n");
    let near = "7b01000000000009";
    place.put(near, Some("bob"), json!({})).await;
    for (command, other) in [
        (&["sessions", "show", "7b"][..], ALSO_BOB),
        (&["sessions", "set", "7b", "views=0"], ALSO_BOB),
        (&["sessions", "end", "7b01"], near),
        (&["sessions", "end", ADA, "7b01"], near),
    ] {
        let many = run(&place, command).with(4);
        assert!(many.stderr.contains(BOB) && many.stderr.contains(other), "{many:?}");
        assert!(many.stdout.is_empty(), "{many:?}");
    }
    // So few digits name a session by chance.
    for few in ["c", "c00", "3fa"] {
        let refused = run(&place, &["sessions", "end", ADA, few]).with(2);
        assert!(refused.stderr.contains("takes 4 digits"), "{refused:?}");
    }
    run(&place, &["sessions", "end", ADA, "0123"]).with(3);
    assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().lines().len(), 5);
    assert_eq!(place.data(BOB).await.unwrap()["views"], 200);
    assert!(run(&place, &["audit", "--ndjson"]).ok().lines().is_empty());
}

async fn sessions_end_that_were_named_or_fit(place: Place) {
    let left = || run(&place, &["sessions", "list", "--ndjson"]).ok().handles();
    let end = |options: &[&str]| run(&place, &[&["sessions", "end", "--ndjson"], options].concat());
    for (options, code) in [
        (&["--all"][..], 4),
        (&["--where", "views > 100"], 4),
        (&["--all", "--confirm", "3"], 4),
        (&["--where", "@age > 1h and @size < 1KiB"], 4),
        (&["--where", "@age > 1h", "--confirm", "3"], 4),
        (&["--where", "@age > 3h", "--yes"], 0),
        (&["--user", "cyd"], 0),
        (&["--all", "--dry-run"], 0),
    ] {
        end(options).with(code);
        assert_eq!(left().len(), 4, "{options:?}");
    }
    assert_eq!(end(&["--all", "--dry-run"]).handles(), [ADA, BOB, ALSO_BOB, NOBODY]);
    let ended = end(&["--where", "@user = bob and @size < 14", "--dry-run"]).ok();
    assert_eq!(ended.handles(), [BOB, ALSO_BOB]);
    let ended = end(&["--user", "bob", "--where", "views > 100 and @age > 1h", "--yes"]).ok();
    assert_eq!(ended.handles(), [BOB]);
    assert!(ended.stderr.contains("1 session ended"), "{ended:?}");
    assert_eq!(end(&["c000", "3fa9", ADA]).ok().handles(), [ADA, NOBODY]);
    assert_eq!(left(), [ALSO_BOB]);

    for n in 0..11 {
        place.put(&format!("e{n:015}"), None, json!({})).await;
    }
    let refused = end(&["--all", "--yes"]).with(4);
    assert!(refused.stderr.contains("use --confirm 12"), "{refused:?}");
    assert_eq!(left().len(), 12);
    assert_eq!(end(&["--all", "--confirm", "12"]).ok().lines().len(), 12);
    assert!(left().is_empty());
}

async fn a_users_sessions_are_counted_and_end(place: Place) {
    let users = run(&place, &["users", "list", "--ndjson"]).ok().lines();
    let expected =
        [json!({ "user": "ada", "sessions": 1 }), json!({ "user": "bob", "sessions": 2 })];
    assert_eq!(users, expected);
    run(&place, &["users", "end", "bob"]).with(4);
    let dry = run(&place, &["users", "end", "bob", "--dry-run"]).ok();
    assert!(dry.stderr.contains("2 sessions would end"), "{dry:?}");
    assert_eq!(run(&place, &["users", "list", "--ndjson"]).ok().lines().len(), 2);
    let ended = run(&place, &["users", "end", "bob", "--confirm", "2", "--json"]).ok();
    assert_eq!(ended.json(), json!({ "user": "bob", "ended": 2, "dry_run": false }));
    assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().handles(), [ADA, NOBODY]);
    run(&place, &["users", "end", "a\nb", "--yes"]).with(4);
}

async fn each_act_is_in_the_audit_log(place: Place) {
    run(&place, &["sessions", "set", ADA, "views=102"]).ok();
    run(&place, &["sessions", "end", NOBODY, "--operator", "eve@example.com"]).ok();
    run(&place, &["users", "end", "bob", "--yes"]).ok();
    let lines = run(&place, &["audit", "--ndjson"]).ok().lines();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
            [text("act"), text("operator"), text("outcome"), text("session"), text("user")]
        })
        .collect();
    let expected = [
        ["end-all", "ada", "done", "-", "bob"],
        ["end", "eve@example.com", "done", NOBODY, "-"],
        ["edit", "ada", "done", ADA, "-"],
    ];
    assert_eq!(told, expected);
    assert!(lines[0]["from"].as_str().unwrap().starts_with("ingle on "), "{lines:?}");
    // Whoever guesses a value could tell it by its hash.
    assert_eq!(lines[2]["fields"], json!({ "views": {} }));
    assert_eq!(run(&place, &["audit", "--ndjson", "--limit", "1"]).ok().lines().len(), 1);
    let lines = run(&place, &["audit", "--ndjson", "--reveal"]).ok().lines();
    assert_eq!((lines.len(), &lines[0]["act"]), (4, &json!("reveal")), "{lines:?}");
    assert_eq!(lines[3]["fields"]["views"]["before"].as_str().unwrap().len(), 64);
    let table = run(&place, &["audit"]).ok().stdout;
    assert_eq!(table.lines().count(), 5, "{table}");
    assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().handles(), [ADA]);
}

/// A session that has expired, and that a store keeps until it is swept.
fn expired(handle: &str) -> Arc<Record> {
    let mut record = Arc::unwrap_or_clone(record(handle, Some("ada"), json!({ "old": true })));
    let now = record.header.created;
    record.header.idle_deadline = Timestamp::from_millis(now.as_millis() + 1000);
    record.into()
}

async fn sessions_are_counted_exported_and_swept(place: Place) {
    let keeps_dead = !place.url.starts_with("redis");
    if keeps_dead {
        place.put_record(&expired("0e00000000000000")).await;
        let listed = run(&place, &["sessions", "list", "--expired", "--ndjson"]).ok();
        assert_eq!(listed.handles(), ["0e00000000000000"]);
        assert_eq!(listed.lines()[0]["expired"], true);
    }
    let stats = run(&place, &["stats", "--json"]).ok().json();
    assert_eq!((&stats["live"], &stats["users"]), (&json!(4), &json!(2)));
    assert_eq!(stats["expired"], usize::from(keeps_dead));
    assert_eq!(stats["top_users"][0], json!({ "user": "bob", "sessions": 2 }));
    assert_eq!(stats["age_seconds"][1], json!({ "from": 3600, "sessions": 4 }));
    let text = run(&place, &["stats"]).ok().stdout;
    assert!(text.contains("live       4") && text.contains('█'), "{text}");

    let export = run(&place, &["export"]).ok();
    assert_eq!(export.handles(), [ADA, BOB, ALSO_BOB, NOBODY]);
    assert!(!export.stdout.contains("s3cret"), "{export:?}");
    let one = run(&place, &["export", "--json"]).ok().json();
    assert_eq!(one.as_array().unwrap().len(), 4, "{one}");
    assert_eq!(run(&place, &["export", "--json", "--user", "cyd"]).ok().json(), json!([]));
    let file = place.folder().join("all.ndjson");
    let output = ["export", "--reveal", "--output", file.to_str().unwrap()];
    let export = run(&place, &output).ok();
    assert!(export.stdout.is_empty() && export.stderr.contains("4 sessions written"), "{export:?}");
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(written.lines().count(), 4);
    assert!(written.contains("s3cret-1") && written.contains("s3cret-2"), "{written}");
    assert_eq!(run(&place, &["audit", "--ndjson"]).ok().lines()[0]["act"], "reveal");
    run(&place, &output).with(1);
    let export = run(&place, &["export", "--anonymise", "--user", "ada"]).ok();
    for told in ["\"ada\"", "Hi", "s3cret", ADA] {
        assert!(!export.stdout.contains(told), "{told}: {export:?}");
    }
    assert_eq!(export.lines()[0]["data"]["views"], 101);

    let swept = run(&place, &["sweep", "--json"]).ok().json();
    assert_eq!(swept["deleted"], usize::from(keeps_dead), "{swept}");
    assert_eq!(run(&place, &["stats", "--json"]).ok().json()["expired"], 0);
    run(&place, &["migrate"]).ok();
}

async fn a_change_is_seen_by_whoever_watches(place: Place) {
    let watch = |options: &[&str]| {
        let mut watch = program(&place);
        watch.args(["sessions", "watch", "--every", "50ms", "--ndjson"]).args(options);
        watch.stdout(Stdio::piped()).spawn().unwrap()
    };
    let mut one = watch(&["3fa9", "--count", "3"]);
    let mut all = watch(&["--count", "2"]);
    // Each change is another one, so that a watch which begins late misses nothing that it needs.
    let mut lines = BufReader::new(one.stdout.take().unwrap()).lines();
    let first = std::thread::spawn(move || {
        let first: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        (first, lines)
    });
    let mut n = 200;
    while !first.is_finished() {
        n += 1;
        run(
            &place,
            &["sessions", "set", ADA, &format!("views={n}"), &format!("password=s3cret-{n}")],
        )
        .ok();
    }
    let (first, _rest) = first.join().unwrap();
    assert_eq!((&first["event"], &first["handle"]), (&json!("changed"), &json!(ADA)));
    assert_eq!(first["changed"][0]["path"], "views");
    let hidden = json!({ "path": "password", "before": null, "after": null, "hidden": true });
    assert_eq!(first["changed"][1], hidden, "{first}");
    assert!(!first.to_string().contains("s3cret"), "{first}");
    run(&place, &["sessions", "end", ADA]).ok();
    assert!(one.wait().unwrap().success());
    // The other may have begun after the last change.
    while all.try_wait().unwrap().is_none() {
        place.put(&format!("f{n:015}"), None, json!({})).await;
        n += 1;
    }
    assert!(all.wait().unwrap().success());
    run(&place, &["sessions", "watch", ADA]).with(3);
    run(&place, &["sessions", "watch", BOB, "--for", "100ms", "--every", "50ms"]).ok();
    // The last look is at the end of the time.
    let mut last = program(&place);
    last.args(["sessions", "watch", "--every", "1h", "--for", "2s", "--ndjson"]);
    let mut last = last.stdout(Stdio::piped()).spawn().unwrap();
    let mut printed = last.stdout.take().unwrap();
    let lines = std::thread::spawn(move || {
        let mut lines = String::new();
        printed.read_to_string(&mut lines).map(|_| lines)
    });
    while last.try_wait().unwrap().is_none() {
        n += 1;
        place.put(&format!("d{n:015}"), None, json!({})).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(!lines.join().unwrap().unwrap().is_empty());
}

/// Also where those at the front come last.
async fn a_list_is_sorted_as_it_is_asked_for(place: Place) {
    for (n, minutes) in [(1, 30), (2, 10), (3, 20)] {
        let data = json!({ "text": "x".repeat(n * 1000) });
        let mut record = Arc::unwrap_or_clone(record(&format!("e{n:015}"), Some("eve"), data));
        let header = &mut record.header;
        header.created = Timestamp::from_millis(header.created.as_millis() + minutes * 60_000);
        header.idle_deadline = header.created.after(Duration::from_secs(3 * 60 * 60));
        place.put_record(&record.into()).await;
    }
    let sorted = |options: &[&str]| {
        let list = ["sessions", "list", "--user", "eve", "--ndjson", "--sort"];
        let lines = run(&place, &[&list, options].concat()).ok().lines();
        let nth = |line: &Value| line["handle"].as_str().unwrap()[15..].to_owned();
        lines.iter().map(nth).collect::<String>()
    };
    for (options, expected) in [
        (&["began", "--limit", "10"][..], "132"),
        (&["began", "--limit", "10", "--reverse"], "231"),
        (&["ends", "--limit", "10"], "231"),
        (&["ends", "--limit", "1", "--reverse"], "1"),
        (&["size", "--limit", "2"], "32"),
        (&["size", "--limit", "2", "--reverse"], "12"),
        (&["size", "--limit", "0"], ""),
    ] {
        assert_eq!(sorted(options), expected, "{options:?}");
    }
    let largest = ["sessions", "list", "--sort", "size", "--limit", "1", "--json"];
    assert_eq!(run(&place, &largest).ok().json()[0]["handle"], "e000000000000003");
    for (options, says) in [
        (&["--sort", "size"][..], "--limit"),
        (&["--reverse", "--limit", "1"], "--sort"),
        (&["--sort", "size", "--limit", "10001"], "10000 at most"),
        (&["--sort", "user", "--limit", "1"], "began, ends, size"),
    ] {
        let wrong = run(&place, &[&["sessions", "list"], options].concat()).with(2);
        assert!(wrong.stderr.contains(says), "{wrong:?}");
    }
}

async fn what_the_app_does_not_allow_is_refused_before_and_in_earnest(place: Place) {
    let long = format!("long={}", "x".repeat(64 * 1024));
    // Firestore takes little more.
    let deep = format!("deep={}1{}", "{\"a\":".repeat(17), "}".repeat(17));
    let before = place.data(NOBODY).await.unwrap();
    for (value, more) in [
        (&*long, &["--max-bytes", "100000"]),
        (&deep, &["--max-depth", "40"]),
        ("one=1", &["--max-fields", "2"]),
    ] {
        let few = if value == "one=1" { &["--max-fields", "1"][..] } else { &[] };
        let set = ["sessions", "set", NOBODY, value];
        for dry in [&["--dry-run"][..], &[]] {
            let refused = run(&place, &[&set[..], few, dry].concat()).with(4);
            assert!(refused.stderr.contains("nothing was changed"), "{refused:?}");
            assert_eq!(place.data(NOBODY).await.unwrap(), before);
        }
        let dry = run(&place, &[&set[..], more, &["--dry-run"]].concat()).ok();
        assert_eq!(place.data(NOBODY).await.unwrap(), before);
        assert_eq!(run(&place, &[&set[..], more].concat()).ok().stdout, dry.stdout);
        let name = value.split('=').next().unwrap();
        let unset = ["sessions", "unset", NOBODY, name];
        if value == deep {
            run(&place, &unset).with(4);
            run(&place, &[&unset[..], more].concat()).ok();
        } else {
            // What is too large already can become smaller.
            run(&place, &[&unset[..], few].concat()).ok();
        }
        assert_eq!(place.data(NOBODY).await.unwrap(), before);
    }
    let wrong = run(&place, &["sessions", "set", NOBODY, "a=1", "--max-depth", "101"]).with(2);
    assert!(wrong.stderr.contains("100 at most"), "{wrong:?}");
}

async fn a_renewal_is_told_as_one(place: Place) {
    let mut watch = program(&place);
    watch.args(["sessions", "watch", "--every", "50ms", "--ndjson"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut events = BufReader::new(watch.stdout.take().unwrap()).lines();
    let (tell, told) = std::sync::mpsc::channel::<Value>();
    std::thread::spawn(move || {
        while let Some(Ok(line)) = events.next() {
            let _ = tell.send(serde_json::from_str(&line).unwrap());
        }
    });
    // It may begin after any of these.
    let mut n = 0;
    while told.try_recv().is_err() {
        n += 1;
        place.put(&format!("e{n:015}"), None, json!({})).await;
    }
    let store = place.store().await;
    let now = SystemClock.now();
    let base = store.load(&key(ADA), now).await.unwrap().live().unwrap();
    let mut renewed = (*base.record).clone();
    // Beside the old one, so that every store can move it there.
    renewed.header.key = key("3fa9c1d2e4b5a698");
    renewed.header.counter += 1;
    renewed.header.ops.push(Op::random().unwrap());
    let write = Write::Renew { base: &base, record: &renewed.into() };
    store.commit(write, now).await.unwrap();
    let about = |handle: &str, event: &Value| event["handle"] == handle;
    let renewal = told.iter().find(|event| about(ADA, event)).unwrap();
    assert_eq!(
        (&renewal["event"], &renewal["to"]),
        (&json!("renewed"), &json!("3fa9c1d2e4b5a698"))
    );
    store.destroy(&key("3fa9c1d2e4b5a698"), now).await.unwrap();
    let mut next = told.iter().filter(|event| about("3fa9c1d2e4b5a698", event));
    assert_eq!(next.next().unwrap()["event"], "changed");
    assert_eq!(next.next().unwrap()["event"], "ended");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

/// More than some pages.
async fn a_long_list_has_each_session_once(place: Place) {
    const N: usize = 1500;
    let cyd = |n| record(&format!("{n:016x}"), Some("cyd"), json!({}));
    place.put_all((0..N).map(cyd)).await;
    for command in [&["sessions", "list", "--ndjson"][..], &["export"]] {
        let listed = run(&place, command).ok();
        let mut handles = listed.handles();
        assert_eq!(handles.len(), N + 4, "{command:?}");
        handles.dedup();
        assert_eq!(handles.len(), N + 4, "{command:?}");
    }
    let listed = run(&place, &["sessions", "list", "--ndjson", "--user", "cyd", "--limit", "777"]);
    assert_eq!(listed.ok().lines().len(), 777);
    let dry = ["sessions", "end", "--user", "cyd", "--dry-run", "--ndjson"];
    assert_eq!(run(&place, &dry).ok().lines().len(), N);
}

/// Names of users and texts that would do something to a terminal.
#[tokio::test(flavor = "multi_thread")]
async fn json_is_exact_and_only_stands_there() {
    let place = Place::sqlite().filled().await;
    let text = "a\u{9b}31m\u{61c}\u{200e}\u{202e}\u{2028}\u{2066}é👍";
    place.put("d000000000000004", Some("d\u{202e}e"), json!({ text: text })).await;
    let harmful = |c: char| "\u{9b}\u{61c}\u{200e}\u{202e}\u{2028}\u{2066}".contains(c);
    for command in [
        &["sessions", "show", "d0", "--json"][..],
        &["sessions", "show", "d0", "--ndjson"],
        &["sessions", "list", "--where", "not views exists and not note exists", "--json"],
        &["sessions", "list", "--where", "not views exists and not note exists", "--ndjson"],
        &["export", "--where", "not views exists and not note exists"],
        &["export", "--where", "not views exists and not note exists", "--json"],
    ] {
        let ended = run(&place, command).ok();
        assert!(!ended.stdout.contains(harmful), "{command:?}: {ended:?}");
        let json = ended.json();
        let session = json.get(0).unwrap_or(&json);
        assert_eq!(session["user"]["name"], "d\u{202e}e", "{command:?}");
        if command[1] == "show" || command[0] == "export" {
            assert_eq!(session["data"], json!({ text: text }), "{command:?}");
        }
    }
}

/// The command line, which others see, has nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_may_come_from_stdin() {
    let place = Place::sqlite().filled().await;
    let set = |input: &[u8], values: &[&str]| {
        let file = place.folder().join("input");
        fs::write(&file, input).unwrap();
        let mut set = program(&place);
        set.args(["sessions", "set", ADA]).args(values).stdin(File::open(&file).unwrap());
        Ended::of(set.output().unwrap())
    };
    let done = set(b"s3cret-3\n", &["password=-", "views=102"]).ok();
    assert!(!done.stdout.contains("s3cret") && done.stderr.is_empty(), "{done:?}");
    set(b"{\n  \"items\": [7]\n}\n", &["cart=-"]).ok();
    set(b"Hola", &["greeting=text:-"]).ok();
    let expected = json!({
        "views": 102, "greeting": "-", "password": "s3cret-3", "cart": { "items": [7] },
    });
    let data = place.data(ADA).await.unwrap();
    assert_eq!(Value::Object(data.clone()), expected);
    for (input, values, says) in [
        (&b""[..], &["greeting=-"][..], "nothing on stdin"),
        (b"Hola", &["greeting=-", "note=-"], "only one value can be on stdin"),
        (b"int:s3cret", &["views=-"], "`int:` takes"),
        (b"\xff", &["greeting=-"], "no text"),
    ] {
        let wrong = set(input, values).with(2);
        assert!(wrong.stderr.contains(says) && !wrong.stderr.contains("s3cret"), "{wrong:?}");
        assert_eq!(wrong.stderr.lines().count(), 1, "{wrong:?}");
    }
    assert_eq!(place.data(ADA).await.unwrap(), data);
}

/// A script reads a document, or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn json_is_nothing_or_a_document() {
    let place = Place::sqlite().filled().await;
    let failed = run(&place, &["sessions", "list", "--json", "--user", ""]).with(4);
    assert_eq!(failed.stdout, "");
    let watched =
        run(&place, &["sessions", "watch", "--json", "--for", "100ms", "--every", "50ms"]);
    assert_eq!(watched.ok().json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_may_be_for_longer_than_there_is_time() {
    let place = Place::sqlite().filled().await;
    for options in
        [["--for", "300000000000y", "--count", "0"], ["--for", "1s", "--every", "300000000000y"]]
    {
        run(&place, &[&["sessions", "watch"], &options[..]].concat()).ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memcached_says_what_it_cannot_do_and_ends_a_users_sessions() {
    let place = Place::memcached();
    for command in [
        &["sessions", "list"][..],
        &["sessions", "show", "3fa9"],
        &["sessions", "set", "3fa9", "a=1"],
        &["sessions", "end", "--all"],
        &["users", "list"],
        &["users", "end", "bob"],
        &["users", "end", "bob", "--yes", "--confirm", "1"],
        &["audit"],
        &["stats"],
        &["export"],
        &["sessions", "watch"],
    ] {
        let refused = run(&place, command).with(4);
        let what = if command.contains(&"bob") {
            "count the sessions of a user"
        } else {
            "list its sessions"
        };
        let says = format!("this store cannot {what}; ");
        assert!(refused.stderr.contains(&says), "{command:?}: {refused:?}");
        assert_eq!(refused.stdout, "", "{command:?}");
    }
    let ended = run(&place, &["users", "end", "bob", "--yes"]).ok();
    assert!(ended.stderr.contains("when it is next used"), "{ended:?}");
    run(&place, &["sweep"]).ok();
    run(&place, &["migrate"]).ok();
}
