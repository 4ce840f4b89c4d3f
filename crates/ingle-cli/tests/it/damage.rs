//! Records that cannot be read, made by the store's own client: what becomes of those who meet them.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    thread,
};

use googleapis_tonic_google_firestore_v1::google::firestore::v1::{
    CommitRequest, Document, DocumentMask, Value, Write as Rpc, firestore_client::FirestoreClient,
    value::ValueType, write::Operation,
};
use ingle::{
    clock::{Clock as _, SystemClock},
    record::Key,
};

use crate::{
    Ended,
    commands::on_each_store,
    place::{ADA, ALSO_BOB, BOB, NOBODY, Place, key},
    program, run,
};

/// Damages the record of a key behind the back of the library.
pub(crate) async fn damage(place: &Place, key: &Key) {
    let (scheme, _) = place.url.split_once(':').unwrap();
    match scheme {
        "sqlite" => {
            let file = place.folder().join("sessions/sessions.sqlite");
            let shell = rusqlite::Connection::open(file).unwrap();
            // Each commit moves the counter, so this is no edit by hand.
            let sql = "UPDATE sessions SET counter = counter + 1, data = '{' WHERE key = ?1";
            assert_eq!(shell.execute(sql, [key.as_bytes()]).unwrap(), 1);
        }
        "redis" => {
            let (server, prefix) = place.url[8..].split_once("?prefix=").unwrap();
            let name = format!("{prefix}:{{{:02x}}}:{key}", key.as_bytes()[0]);
            set(server.parse().unwrap(), &name);
        }
        "postgres" => {
            let (server, table) = place.url.rsplit_once("&table=").unwrap();
            let server = server.split('?').next().unwrap();
            let (shell, link) =
                tokio_postgres::connect(server, tokio_postgres::NoTls).await.unwrap();
            let mut links = tokio::task::JoinSet::new();
            links.spawn(link);
            let sql = format!("UPDATE {table} SET data = '{{\"n\": 1e999}}' WHERE key = $1");
            let n = shell.execute(&sql, &[&key.as_bytes().as_slice()]).await.unwrap();
            assert_eq!(n, 1);
        }
        "firestore" => {
            let server = format!("http://{}", place.environment[0].1);
            let collection = place.url.rsplit('/').next().unwrap();
            let database = "projects/ingle-test/databases/(default)".to_owned();
            let header = Value { value_type: Some(ValueType::IntegerValue(1)) };
            let document = Document {
                name: format!("{database}/documents/{collection}/{key}"),
                fields: HashMap::from([("_ingle".to_owned(), header)]),
                ..Document::default()
            };
            let write = Rpc {
                update_mask: Some(DocumentMask { field_paths: vec!["_ingle".to_owned()] }),
                operation: Some(Operation::Update(document)),
                ..Rpc::default()
            };
            let request = CommitRequest { database, writes: vec![write], ..Default::default() };
            let channel = tonic::transport::Channel::from_shared(server).unwrap().connect_lazy();
            FirestoreClient::new(channel).commit(request).await.unwrap();
        }
        other => panic!("nothing damages a record in {other}"),
    }
}

/// Writes over a text in Redis, on whichever server of a cluster it is.
fn set(server: SocketAddr, name: &str) {
    if let Err(refused) = testbed::redis::ask(server, &format!("SET {name} s3cret KEEPTTL")) {
        let refused = refused.to_string();
        let (_, moved) = refused.split_once("-MOVED ").unwrap_or_else(|| panic!("{refused}"));
        set(moved.trim().rsplit(' ').next().unwrap().parse().unwrap(), name);
    }
}

on_each_store! {
    one_that_cannot_be_read_stops_no_command_and_is_named
    one_that_cannot_be_read_is_told_by_the_code_also_where_nobody_reads_the_output
    one_that_cannot_be_read_ends_by_its_handle_with_all_and_with_its_users
    one_that_becomes_damaged_is_told_of_once_and_watched_on
    a_damaged_line_of_the_audit_log_hides_no_other
}

async fn one_that_cannot_be_read_stops_no_command_and_is_named(place: Place) {
    damage(&place, &key(ADA)).await;
    let named = format!("the session {ADA} cannot be read: ");
    let file = place.folder().join("all.ndjson");
    for (command, handles) in [
        (&["sessions", "list", "--ndjson"][..], &[BOB, ALSO_BOB, NOBODY][..]),
        (&["sessions", "list", "--ndjson", "--user", "ada"], &[]),
        (&["sessions", "list", "--ndjson", "--where", "views > 100"], &[BOB]),
        (&["export"], &[BOB, ALSO_BOB, NOBODY]),
        (&["sessions", "end", "--where", "views = 3", "--yes", "--ndjson"], &[ALSO_BOB]),
        (&["sessions", "end", "--older", "1h", "--dry-run", "--ndjson"], &[BOB, NOBODY]),
    ] {
        let ended = run(&place, command).with(1);
        assert_eq!(ended.handles(), handles, "{command:?}: {ended:?}");
        assert_eq!(ended.stderr.matches(&named).count(), 1, "{command:?}: {ended:?}");
        assert!(ended.stderr.contains("1 session cannot be read, so"), "{command:?}: {ended:?}");
    }
    let export = run(&place, &["export", "--output", file.to_str().unwrap()]).with(1);
    assert!(export.stderr.contains("2 sessions written"), "{export:?}");
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 2);
    let stats = run(&place, &["stats", "--json"]).with(1).json();
    assert_eq!((&stats["live"], &stats["damaged"]), (&2.into(), &1.into()));
    let users = run(&place, &["users", "list", "--ndjson"]).with(1).lines();
    assert_eq!(users, [serde_json::json!({ "user": "bob", "sessions": 1 })]);
    let watch = ["sessions", "watch", "--for", "100ms", "--every", "50ms"];
    let watched = run(&place, &watch).ok();
    assert!(watched.stderr.contains(&format!("{ADA} cannot be read")), "{watched:?}");
    run(&place, &["sweep"]).ok();
    for command in [
        &["sessions", "show", "3fa9"][..],
        &["sessions", "show", ADA, "--json", "--reveal"],
        &["sessions", "set", ADA, "views=1"],
        &["sessions", "unset", ADA, "views"],
        &["sessions", "watch", ADA],
    ] {
        let told = run(&place, command).with(1);
        assert_eq!(told.stderr.lines().count(), 1, "{told:?}");
        assert!(told.stderr.contains(&named) && told.stderr.contains("look at it"), "{told:?}");
        assert!(!told.stderr.contains("s3cret") && told.stdout.is_empty(), "{told:?}");
    }
    // The command to look at it asks the store that was meant.
    let told = run(&place, &["sessions", "show", ADA]).with(1);
    let (_, look) = told.stderr.split_once("look at it with: ").unwrap();
    let (look, _) = look.split_once("; `ingle").unwrap();
    if look.starts_with("sqlite3 ") {
        let folder = place.folder().canonicalize().unwrap();
        assert!(look.contains(folder.to_str().unwrap()), "{look}");
    } else if look.starts_with("redis-cli ") {
        let seen = Ended::of(Command::new("sh").args(["-c", look]).output().unwrap()).ok();
        assert!(!seen.stdout.trim().is_empty(), "{look}: {seen:?}");
    }
}

/// Runs the program where nobody reads what it prints.
fn unread(place: &Place, arguments: &[&str]) -> Ended {
    let mut program = program(place);
    program.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = program.spawn().unwrap();
    drop(running.stdout.take());
    Ended::of(running.wait_with_output().unwrap())
}

async fn one_that_cannot_be_read_is_told_by_the_code_also_where_nobody_reads_the_output(
    place: Place,
) {
    damage(&place, &key(ADA)).await;
    for command in [
        &["sessions", "list"][..],
        &["sessions", "list", "--sort", "size", "--limit", "3", "--json"],
        &["sessions", "end", "--where", "views = 3", "--yes"],
        &["users", "list"],
        &["stats"],
        &["export"],
    ] {
        let ended = unread(&place, command).with(1);
        assert!(ended.stderr.contains("1 session cannot be read, so"), "{command:?}: {ended:?}");
        assert!(!ended.stderr.contains("could not write"), "{command:?}: {ended:?}");
    }
    assert!(place.data(ALSO_BOB).await.is_none(), "it has ended");
}

async fn one_that_cannot_be_read_ends_by_its_handle_with_all_and_with_its_users(place: Place) {
    for handle in [ADA, ALSO_BOB] {
        damage(&place, &key(handle)).await;
    }
    let many = run(&place, &["sessions", "show", "7b", "--ndjson"]).with(4);
    assert!(many.stderr.contains(BOB) && many.stderr.contains(ALSO_BOB), "{many:?}");
    let all = run(&place, &["sessions", "end", "--all", "--dry-run", "--ndjson"]).ok();
    assert_eq!(all.handles(), [ADA, BOB, ALSO_BOB, NOBODY]);
    let one = run(&place, &["sessions", "end", "3fa9", "--ndjson"]).ok();
    assert_eq!(one.handles(), [ADA]);
    run(&place, &["sessions", "show", ADA]).with(3);
    run(&place, &["users", "end", "bob", "--confirm", "1"]).with(4);
    let ended = run(&place, &["users", "end", "bob", "--confirm", "2"]).ok();
    assert!(ended.stderr.contains("2 sessions ended"), "{ended:?}");
    damage(&place, &key(NOBODY)).await;
    let ended = run(&place, &["sessions", "end", "--all", "--confirm", "1"]).ok();
    assert!(ended.stdout.contains("(cannot be read)"), "{ended:?}");
    assert!(run(&place, &["sessions", "list", "--ndjson"]).ok().lines().is_empty());
    let acts = run(&place, &["audit", "--ndjson"]).ok().lines();
    assert!(acts.iter().all(|act| act["outcome"] == "done") && acts.len() == 3, "{acts:?}");
}

async fn one_that_becomes_damaged_is_told_of_once_and_watched_on(place: Place) {
    let mut watch = program(&place);
    watch.args(["sessions", "watch", ADA, "--every", "50ms", "--ndjson"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let first = thread::spawn(move || (lines.next().unwrap().unwrap(), lines));
    // It may begin after any of these.
    let mut n = 200;
    while !first.is_finished() {
        n += 1;
        run(&place, &["sessions", "set", ADA, &format!("views={n}")]).ok();
    }
    let (_, lines) = first.join().unwrap();
    damage(&place, &key(ADA)).await;
    let mut events = lines.map(|line| {
        let event: serde_json::Value = serde_json::from_str(&line.unwrap()).unwrap();
        event["event"].as_str().unwrap().to_owned()
    });
    assert!(events.any(|event| event == "damaged"), "it ended");
    run(&place, &["sessions", "end", ADA]).ok();
    assert_eq!(events.collect::<Vec<_>>(), ["ended"]);
    assert!(watch.wait().unwrap().success());
}

async fn a_damaged_line_of_the_audit_log_hides_no_other(place: Place) {
    for n in 0..3 {
        run(&place, &["sessions", "set", BOB, &format!("views={n}")]).ok();
    }
    let store = place.store().await;
    let lines = store.as_list().unwrap();
    let lines = lines.list_by_user("\u{1}audit", None, 10, SystemClock.now()).await.unwrap();
    damage(&place, &lines.records[1].record.header.key).await;
    let told = run(&place, &["audit", "--ndjson"]).with(1);
    assert_eq!(told.lines().len(), 2, "{told:?}");
    assert!(told.stderr.contains("1 line of the audit log cannot be read"), "{told:?}");
    assert_eq!(unread(&place, &["audit"]).with(1).stderr, told.stderr);
    run(&place, &["sessions", "list"]).ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_type_in_redis_ends_by_its_handle() {
    let place = Place::redis().filled().await;
    let (server, prefix) = place.url[8..].split_once("?prefix=").unwrap();
    let server = server.parse().unwrap();
    let key = key(ADA);
    let name = format!("{prefix}:{{{:02x}}}:{key}", key.as_bytes()[0]);
    testbed::redis::ask(server, &format!("DEL {name}")).unwrap();
    testbed::redis::ask(server, &format!("RPUSH {name} x")).unwrap();
    let shown = run(&place, &["sessions", "show", ADA]).with(1);
    assert!(shown.stderr.contains(&format!("`ingle sessions end {ADA}` ends it")), "{shown:?}");
    let ended = run(&place, &["sessions", "end", ADA]).ok();
    assert!(ended.stderr.contains("1 session ended"), "{ended:?}");
    assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().lines().len(), 3);
    run(&place, &["sessions", "show", ADA]).with(3);
}
