//! What is this store's own: the file, its owner, what people do to it by hand, and the writer's
//! groups. The laws that all stores keep are proved by `conformance`.

use std::{fs, sync::Barrier, time::Duration};

use rusqlite::{Connection, config::DbConfig, params};
use serde_json::json;
use tempfile::TempDir;
use tokio::sync::oneshot;

use super::*;
use crate::{
    clock::Timestamp,
    fuzz::{self, fuzz, spoiled_text},
    record::{Epoch, FORMAT, Header, Loaded, Op, Ops, Record, User},
    store::{ErrorKind, MARK_TIME, OpenErrorKind, mark::Mark, page},
};

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
const LATER: Timestamp = Timestamp::from_millis(1_700_000_060_000);

fn key(number: u8) -> Key {
    Key::from_bytes([number; 32])
}

fn record(number: u8, counter: u64, data: serde_json::Value) -> Arc<Record> {
    let serde_json::Value::Object(data) = data else { panic!("data is an object") };
    let header = Header {
        format: FORMAT,
        key: key(number),
        created: NOW,
        idle_deadline: NOW.after(Duration::from_secs(30)),
        absolute_deadline: NOW.after(Duration::from_secs(3600)),
        idle_timeout: None,
        user: None,
        epoch: Epoch::from_bits(7),
        counter,
        ops: Ops::from_iter([Op::from_bits(counter)]),
    };
    Arc::new(Record { header, data })
}

/// A folder with an open store, and the file in it as a person with a shell sees it.
struct Opened {
    folder: TempDir,
    store: Sqlite,
    shell: Connection,
}

async fn opened() -> Opened {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path()).await.unwrap();
    let shell = Connection::open(file_in(&folder)).unwrap();
    Opened { folder, store, shell }
}

fn file_in(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("sessions.sqlite")
}

async fn create(store: &Sqlite, record: &Arc<Record>) -> Loaded {
    let version = store.commit(Write::Create { record }, NOW).await.unwrap();
    Loaded { record: Arc::clone(record), version }
}

/// The live record under a key.
async fn found(store: &Sqlite, number: u8, now: Timestamp) -> Option<Loaded> {
    store.load(&key(number), now).await.unwrap().live()
}

fn failure<T: fmt::Debug>(result: Result<T, CommitError>) -> Error {
    match result.unwrap_err() {
        CommitError::Failed(error) => error,
        other => panic!("{other:?}"),
    }
}

fn cause(error: &Error) -> String {
    std::error::Error::source(error).unwrap().to_string()
}

#[tokio::test]
async fn everything_in_a_record_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let mut record =
        (*record(1, u64::MAX - 1, json!({ "ü": [0.10000037037036705, 1.0, -3, null, "\u{1}'"] })))
            .clone();
    record.header.idle_timeout = Some(Duration::from_millis(1500));
    record.header.user = Some(User::new("ada", u64::MAX, Timestamp::from_millis(7)));
    record.header.epoch = Epoch::from_bits(u64::MAX);
    record.header.absolute_deadline = Timestamp::MAX;
    record.header.ops = (0..20).map(|bits| Op::from_bits(u64::MAX - bits)).collect();
    let record = Arc::new(record);

    let created = create(&Sqlite::open(folder.path()).await.unwrap(), &record).await;

    let reopened = Sqlite::open(folder.path()).await.unwrap();
    assert_eq!(found(&reopened, 1, NOW).await, Some(created));
}

/// One round finds two connections that close at the same moment only now and then.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_closes_leaves_all_in_the_file_and_no_log() {
    for _ in 0..150 {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(folder.path()).await.unwrap();
        create(&store, &record(1, 1, json!({}))).await;
        let mut loads = tokio::task::JoinSet::new();
        for number in 1..=4 {
            let store = store.clone();
            loads.spawn(async move { found(&store, number, NOW).await });
        }
        loads.join_all().await;
        drop(store);
        let log = folder.path().join("sessions.sqlite-wal");
        let gone = async {
            while log.exists() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.expect("the log is still there");
    }
}

#[tokio::test]
async fn opening_makes_missing_folders() {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(folder.path().join("a/b")).await.unwrap();
    assert_eq!(store.folder(), folder.path().canonicalize().unwrap().join("a/b"));
    assert_eq!(format!("{store:?}"), format!("Sqlite {{ folder: {:?}, .. }}", store.folder()));
}

#[cfg(unix)]
#[tokio::test]
async fn what_opening_makes_is_for_this_user_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let parent = tempfile::tempdir().unwrap();
    let store = Sqlite::open(parent.path().join("sessions")).await.unwrap();
    create(&store, &record(1, 1, json!({}))).await;

    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(store.folder()), 0o700);
    for file in ["sessions.sqlite", "sessions.sqlite-wal", "sessions.sqlite-shm"] {
        assert_eq!(mode(&store.folder().join(file)), 0o600, "{file}");
    }
}

#[test]
fn many_can_open_a_new_folder_at_once() {
    for _ in 0..20 {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("sessions");
        let start = Barrier::new(8);
        std::thread::scope(|scope| {
            for number in 0..8 {
                let (folder, start) = (&folder, &start);
                scope.spawn(move || {
                    start.wait();
                    let store = Sqlite::open_blocking(folder).unwrap();
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    runtime.block_on(create(&store, &record(number, 1, json!({}))));
                });
            }
        });
        let shell = Connection::open(folder.join("sessions.sqlite")).unwrap();
        let count = shell.query_row("SELECT count(*) FROM sessions", (), |row| row.get(0));
        assert_eq!(count, Ok(8));
    }
}

#[tokio::test]
async fn two_handles_on_one_folder_lose_no_increment() {
    let Opened { folder, store, .. } = opened().await;
    create(&store, &record(1, 1, json!({ "n": 0 }))).await;
    let other = Sqlite::open(folder.path()).await.unwrap();

    let increments = |store: Sqlite| async move {
        for _ in 0..50 {
            loop {
                let base = found(&store, 1, NOW).await.unwrap();
                let n = base.record.data.get("n").unwrap().as_u64().unwrap();
                let record = record(1, base.version.0 + 1, json!({ "n": n + 1 }));
                match store.commit(Write::Replace { base: &base, record: &record }, NOW).await {
                    Ok(_) => break,
                    Err(CommitError::Conflict(_)) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        }
    };
    tokio::join!(increments(store.clone()), increments(other));

    let loaded = found(&store, 1, NOW).await.unwrap();
    assert_eq!(loaded.record.data.get("n"), Some(&json!(100)));
}

#[tokio::test]
async fn a_create_takes_the_place_of_a_dead_record_and_of_no_live_one() {
    let Opened { folder: _kept, store, .. } = opened().await;
    let old = create(&store, &record(1, 1, json!({ "life": 1 }))).await;
    let mut new = (*record(1, 1, json!({ "life": 2 }))).clone();
    new.header.idle_deadline = LATER.after(Duration::from_secs(30));
    new.header.epoch = Epoch::from_bits(8);
    let new = Arc::new(new);

    let early = store.commit(Write::Create { record: &new }, NOW).await;
    assert!(matches!(early, Err(CommitError::Conflict(_))));
    store.commit(Write::Create { record: &new }, LATER).await.unwrap();

    // Same key and same counter, but another life.
    let stale = store.commit(Write::Replace { base: &old, record: &old.record }, LATER).await;
    assert!(matches!(stale, Err(CommitError::Conflict(_))));
    let loaded = found(&store, 1, LATER).await.unwrap();
    assert_eq!(loaded.record.data, new.data);
}

#[tokio::test]
async fn a_replace_that_changes_the_user_moves_the_record_in_the_list_by_user() {
    let Opened { folder: _kept, store, .. } = opened().await;
    let mut base = create(&store, &record(1, 1, json!({}))).await;
    for (counter, user) in
        [(2, None), (3, Some("ada")), (4, Some("ada")), (5, Some("bob")), (6, None)]
    {
        let mut replaced = (*record(1, counter, json!({}))).clone();
        replaced.header.user = user.map(|name| User::new(name, counter, Timestamp::from_millis(7)));
        let replaced = Arc::new(replaced);
        let write = Write::Replace { base: &base, record: &replaced };
        let version = store.commit(write, NOW).await.unwrap();
        base = Loaded { record: replaced, version };

        assert_eq!(found(&store, 1, NOW).await.as_ref(), Some(&base));
        for name in ["ada", "bob"] {
            let listed = store.list_by_user(name, None, 10, NOW).await.unwrap().records;
            let expected: Vec<_> = (user == Some(name)).then(|| base.clone()).into_iter().collect();
            assert_eq!(listed, expected);
        }
    }
}

#[tokio::test]
async fn a_renew_to_a_taken_key_changes_neither_record() {
    let Opened { folder: _kept, store, .. } = opened().await;
    let base = create(&store, &record(1, 1, json!({ "n": 1 }))).await;
    let taken = create(&store, &record(2, 1, json!({ "n": 2 }))).await;

    let record = record(2, 2, json!({ "n": 3 }));
    let renewed = store.commit(Write::Renew { base: &base, record: &record }, NOW).await;
    assert!(matches!(renewed, Err(CommitError::Conflict(_))));

    assert_eq!(found(&store, 1, NOW).await, Some(base));
    assert_eq!(found(&store, 2, NOW).await, Some(taken));
}

#[tokio::test]
async fn a_sweep_goes_on_over_its_chunks_up_to_the_limit() {
    let Opened { folder: _kept, store, shell } = opened().await;
    create(&store, &record(1, 1, json!({}))).await;
    let copies = "INSERT INTO sessions (key, inner_key, format, created, idle_deadline, \
                  absolute_deadline, epoch, counter, ops, data) \
                  SELECT randomblob(32), inner_key, format, created, idle_deadline, \
                  absolute_deadline, epoch, counter, ops, data \
                  FROM sessions, (WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n \
                  LIMIT 999) SELECT i FROM n)";
    assert_eq!(shell.execute(copies, ()), Ok(999));

    let sweep = |now, limit| store.sweep(now, limit);
    assert_eq!(sweep(NOW, 10_000).await.unwrap(), Swept { deleted: 0, more: false });
    assert_eq!(sweep(LATER, 600).await.unwrap(), Swept { deleted: 600, more: true });
    assert_eq!(sweep(LATER, 10_000).await.unwrap(), Swept { deleted: 400, more: false });
}

#[tokio::test]
async fn a_session_that_a_commit_lets_die_earlier_is_swept_when_it_dies() {
    let Opened { folder: _kept, store, .. } = opened().await;
    let base = create(&store, &record(1, 1, json!({}))).await;
    let mut next = (*record(1, 2, json!({}))).clone();
    let end = NOW.after(Duration::from_secs(10));
    next.header.idle_deadline = end;
    let write = Write::Replace { base: &base, record: &Arc::new(next) };
    store.commit(write, NOW).await.unwrap();
    assert_eq!(store.sweep(end, 10).await.unwrap(), Swept { deleted: 1, more: false });
}

#[tokio::test]
async fn an_edit_by_hand_is_a_commit() {
    let Opened { folder: _kept, store, shell } = opened().await;
    let base = create(&store, &record(1, 1, json!({ "n": 1 }))).await;

    shell.execute("UPDATE sessions SET data = json_set(data, '$.n', 5)", ()).unwrap();

    let write = record(1, 2, json!({ "n": 2 }));
    let stale = store.commit(Write::Replace { base: &base, record: &write }, NOW).await;
    assert!(matches!(stale, Err(CommitError::Conflict(_))));
    let edited = found(&store, 1, NOW).await.unwrap();
    assert_eq!(edited.record.data.get("n"), Some(&json!(5)));
    assert_eq!(edited.version, Version(2));

    let write = record(1, 3, json!({ "n": 6 }));
    store.commit(Write::Replace { base: &edited, record: &write }, NOW).await.unwrap();
    let replaced = found(&store, 1, NOW).await.unwrap();
    assert_eq!(replaced, Loaded { record: write, version: Version(3) });
}

#[tokio::test]
async fn an_edit_by_hand_that_is_no_object_is_refused() {
    let Opened { folder: _kept, store, shell } = opened().await;
    let base = create(&store, &record(1, 1, json!({ "n": 1 }))).await;
    for data in ["{", "[1]", ""] {
        let refused = shell.execute("UPDATE sessions SET data = ?1", [data]).unwrap_err();
        assert_eq!(refused.to_string(), "data must be a JSON object; nothing was changed");
    }
    assert_eq!(found(&store, 1, NOW).await, Some(base));
}

#[tokio::test]
async fn a_row_that_is_no_record_is_corrupt_and_its_content_is_not_told() {
    let Opened { folder: _kept, store, shell } = opened().await;
    let cases = [
        ("data = '{\"secret\": ,'", "`data` of a row of `sessions` is not JSON: line 1, column 12"),
        ("data = '\"secret\"'", "`data` of a row of `sessions` is not a JSON object"),
        (
            "ops = x'736563726574'",
            "`ops` of a row of `sessions` is not a list of numbers of 8 bytes",
        ),
        ("created = -1", "a row of `sessions` has a negative `created`"),
        ("format = 2", "a row of `sessions` has format 2, and this version reads up to 1"),
        (
            "inner_key = zeroblob(32)",
            "a row of `sessions` has another key than it was written under",
        ),
        ("inner_key = x'01'", "a row of `sessions` has a value of a wrong type"),
        ("mark = 'secret'", "`mark` of a row of `sessions` is neither NULL, `moved` nor `ended`"),
    ];
    for (number, (broken, expected)) in (1..).zip(cases) {
        create(&store, &record(number, 1, json!({}))).await;
        let sql = format!("UPDATE sessions SET counter = counter + 1, {broken} WHERE key = ?1");
        shell.execute(&sql, [key(number).as_bytes()]).unwrap();

        let error = store.load(&key(number), NOW).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No));
        assert!(cause(&error).starts_with(expected), "{broken}: {}", cause(&error));
        assert!(!format!("{error:?}").contains("secret"));
        let list = store.list(None, 10, NOW).await.unwrap();
        // What may be a mark is on no list.
        let named = list.damaged.iter().map(|damaged| (damaged.key, &damaged.cause));
        let may_be_mark = broken.starts_with("mark");
        let expected = (!may_be_mark).then(|| (key(number), cause(&error)));
        assert_eq!(
            named.collect::<Vec<_>>(),
            Vec::from_iter(expected.as_ref().map(|(key, cause)| (*key, cause)))
        );
        shell.execute("UPDATE sessions SET mark = NULL WHERE mark = 'secret'", ()).unwrap();
        store.destroy(&key(number), NOW).await.unwrap();
    }
}

#[tokio::test]
async fn rows_without_a_key_cut_no_list_short() {
    let Opened { folder: _kept, store, shell } = opened().await;
    let mut expected = Vec::new();
    for number in [1, 9] {
        let mut record = (*record(number, 1, json!({}))).clone();
        record.header.user = Some(User::new("ada", 1, NOW));
        expected.push(create(&store, &Arc::new(record)).await);
    }
    // In between, and more than a page of them.
    let others = "inner_key, format, created, idle_deadline, absolute_deadline, user, login, \
                  epoch, counter, ops, data, sweep_at";
    let sql = format!(
        "INSERT INTO sessions (key, {others}) SELECT ?1, {others} FROM sessions WHERE key = ?2"
    );
    for number in 2..7_u8 {
        shell.execute(&sql, params![[number], key(1).as_bytes()]).unwrap();
    }
    for user in [None, Some("ada")] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = match user {
                None => store.list(after.as_ref(), 1, NOW).await.unwrap(),
                Some(user) => store.list_by_user(user, after.as_ref(), 1, NOW).await.unwrap(),
            };
            assert!(page.damaged.is_empty(), "{:?}", page.damaged);
            found.extend(page.records);
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{user:?}");
    }
}

/// As a disk does it, which knows no triggers.
async fn damaged(change: &str) -> (Opened, Loaded) {
    let opened = opened().await;
    let mut whole = (*record(1, 1, json!({ "n": 1 }))).clone();
    whole.header.user = Some(User::new("ada", 1, Timestamp::from_millis(7)));
    whole.header.idle_timeout = Some(Duration::from_secs(30));
    let created = create(&opened.store, &Arc::new(whole)).await;
    let triggers = "DROP TRIGGER an_edit_by_hand_is_a_commit;
                    DROP TRIGGER a_deadline_set_by_hand_is_no_damage;";
    opened.shell.execute_batch(triggers).unwrap();
    assert_eq!(found(&opened.store, 1, NOW).await.as_ref(), Some(&created));
    opened.shell.execute(&format!("UPDATE sessions SET {change}"), ()).unwrap();
    (opened, created)
}

const DAMAGES: [&str; 13] = [
    "created = created + 1",
    "idle_deadline = idle_deadline + 1",
    "idle_deadline = 1",
    "absolute_deadline = absolute_deadline + 1",
    "absolute_deadline = 1",
    "idle_timeout = NULL",
    "user = 'bob'",
    "login = '{\"generation\":2}'",
    "epoch = epoch + 1",
    "counter = counter + 1",
    "ops = x''",
    "sum = sum + 1",
    "data = '{\"n\":3}'",
];

#[tokio::test]
async fn a_row_that_is_not_as_it_was_written_is_an_error() {
    for change in DAMAGES {
        let (Opened { folder: _kept, store, .. }, _) = damaged(change).await;
        let error = store.load(&key(1), NOW).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No), "{change}");
        assert!(cause(&error).contains("is not as it was written"), "{change}: {}", cause(&error));
    }
}

#[tokio::test]
async fn a_touch_hides_no_damage() {
    for change in DAMAGES.into_iter().filter(|change| !change.ends_with("deadline = 1")) {
        let (Opened { folder: _kept, store, .. }, _) = damaged(change).await;
        for seconds in [31, 20, 4000] {
            let idle_deadline = NOW.after(Duration::from_secs(seconds));
            store.touch(&key(1), idle_deadline, NOW).await.unwrap();
            let error = store.load(&key(1), NOW).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{change}, {seconds}");
        }
    }
}

#[tokio::test]
async fn a_commit_mends_what_was_damaged_since_the_load() {
    let (Opened { folder: _kept, store, .. }, base) = damaged("data = '{\"n\":3}'").await;
    let mut next = (*base.record).clone();
    next.header.counter += 1;
    let record = Arc::new(next);
    store.commit(Write::Replace { base: &base, record: &record }, NOW).await.unwrap();
    assert_eq!(found(&store, 1, NOW).await.unwrap().record, record);
}

#[tokio::test]
async fn a_deadline_set_by_hand_is_no_damage() {
    let Opened { folder: _kept, store, shell } = opened().await;
    create(&store, &record(1, 1, json!({}))).await;
    for (deadline, is_live) in [(LATER, true), (NOW, false), (LATER, true)] {
        let sql = "UPDATE sessions SET idle_deadline = ?1";
        shell.execute(sql, [i64::try_from(deadline.as_millis()).unwrap()]).unwrap();
        assert_eq!(found(&store, 1, NOW).await.is_some(), is_live);
    }
}

#[tokio::test]
async fn a_sweep_does_not_believe_the_index_alone() {
    let Opened { folder: _kept, store, shell } = opened().await;
    let created = create(&store, &record(1, 1, json!({}))).await;
    // The index says what the row does not.
    let sql = "PRAGMA writable_schema = ON;
               UPDATE sqlite_schema SET sql = replace(sql, '(sweep_at)', '(created - created)');
               PRAGMA writable_schema = RESET;
               REINDEX to_sweep;
               PRAGMA writable_schema = ON;
               UPDATE sqlite_schema SET sql = replace(sql, '(created - created)', '(sweep_at)');
               PRAGMA writable_schema = RESET;";
    shell.execute_batch(sql).unwrap();
    assert_eq!(store.sweep(NOW, 10).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(found(&store, 1, NOW).await, Some(created));
}

/// An ended session under key 1, and one that moved from key 2 to key 3.
async fn marked() -> Opened {
    let opened = opened().await;
    let mut user = (*record(1, 1, json!({ "secret": "s3cret" }))).clone();
    user.header.user = Some(User::new("ada", 1, Timestamp::from_millis(7)));
    user.header.idle_timeout = Some(Duration::from_secs(30));
    create(&opened.store, &Arc::new(user)).await;
    assert_eq!(opened.store.destroy(&key(1), NOW).await.unwrap(), Destroyed::Ended);
    let base = create(&opened.store, &record(2, 1, json!({ "secret": "s3cret" }))).await;
    let moved = record(3, 2, json!({ "n": 2 }));
    let renew = Write::Renew { base: &base, record: &moved };
    opened.store.commit(renew, NOW).await.unwrap();
    opened
}

#[tokio::test]
async fn a_mark_keeps_nothing_of_its_session() {
    let Opened { folder: _kept, store, shell } = marked().await;
    let sql = "SELECT mark, created, idle_timeout, user, login, epoch, counter, ops, data
               FROM sessions WHERE mark IS NOT NULL ORDER BY key";
    let mut rows = shell.prepare(sql).unwrap();
    let rows = rows.query_map((), |row| {
        (1..9)
            .map(|column| row.get(column))
            .collect::<rusqlite::Result<Vec<rusqlite::types::Value>>>()
    });
    use rusqlite::types::Value::{Blob, Integer, Null, Text};
    let (nothing, data) = (Blob(Vec::new()), Text("{}".to_owned()));
    let empty = [Integer(0), Null, Null, Null, Integer(0), Integer(0), nothing, data];
    let rows: Vec<_> = rows.unwrap().map(Result::unwrap).collect();
    assert_eq!(rows, [empty.clone(), empty]);

    let end = NOW.after(MARK_TIME);
    assert_eq!(store.load(&key(1), NOW).await.unwrap(), Lookup::Ended);
    assert_eq!(store.load(&key(2), NOW).await.unwrap(), Lookup::Moved { to: key(3) });
    for number in [1, 2] {
        assert_eq!(store.load(&key(number), end).await.unwrap(), Lookup::Missing);
    }
    // The record under key 3 is dead by then, too.
    assert_eq!(store.sweep(end, 10).await.unwrap(), Swept { deleted: 3, more: false });
}

#[tokio::test]
async fn a_mark_that_is_not_as_it_was_written_is_an_error() {
    for change in [
        "mark = 'moved', moved_to = zeroblob(32)",
        "mark = 'moved'",
        "mark = 'gone'",
        "mark = NULL",
        "idle_deadline = idle_deadline + 1",
        "sum = sum + 1",
        "inner_key = zeroblob(32)",
    ] {
        let Opened { folder: _kept, store, shell } = marked().await;
        shell.execute_batch("DROP TRIGGER a_deadline_set_by_hand_is_no_damage").unwrap();
        let sql = format!("UPDATE sessions SET {change} WHERE mark = 'ended'");
        assert_eq!(shell.execute(&sql, ()), Ok(1));
        let error = store.load(&key(1), NOW).await.unwrap_err();
        assert_eq!((error.kind(), error.applied()), (ErrorKind::Corrupt, Applied::No), "{change}");
    }
    let Opened { folder: _kept, store, shell } = marked().await;
    let sql = "UPDATE sessions SET moved_to = zeroblob(32) WHERE mark = 'moved'";
    shell.execute(sql, ()).unwrap();
    // Nobody is sent to a session that may be another's.
    assert_eq!(store.load(&key(2), NOW).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.destroy(&key(2), NOW).await.unwrap_err().kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn no_write_takes_a_mark_for_a_record() {
    let Opened { folder: _kept, store, .. } = marked().await;
    let mut base = record(1, 0, json!({}));
    Arc::make_mut(&mut base).header.epoch = Epoch::from_bits(0);
    let base = Loaded { record: base, version: Version(0) };
    let next = record(1, 1, json!({}));
    let renewed = record(4, 1, json!({}));
    for write in [
        Write::Replace { base: &base, record: &next },
        Write::Renew { base: &base, record: &renewed },
    ] {
        let refused = store.commit(write, NOW).await;
        assert!(matches!(refused, Err(CommitError::Gone)), "{refused:?}");
    }
    let touched = store.touch(&key(1), LATER, NOW).await;
    assert!(matches!(touched, Err(CommitError::Gone)), "{touched:?}");
    assert_eq!(store.load(&key(1), NOW).await.unwrap(), Lookup::Ended);
}

#[tokio::test]
async fn a_ping_needs_no_lock() {
    let Opened { folder: _kept, store, shell } = opened().await;
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    store.ping().await.unwrap();
    shell.execute_batch("ROLLBACK").unwrap();
}

/// Elsewhere an open file cannot be moved.
#[cfg(unix)]
#[tokio::test]
async fn a_ping_says_no_when_the_file_is_no_longer_where_it_was() {
    let Opened { folder, store, .. } = opened().await;
    store.ping().await.unwrap();
    let (file, away) = (file_in(&folder), folder.path().join("away"));
    fs::rename(&file, &away).unwrap();
    let gone = store.ping().await.unwrap_err();
    assert_eq!((gone.kind(), gone.applied()), (ErrorKind::Unavailable, Applied::No));
    assert!(cause(&gone).contains("restart the process"), "{}", cause(&gone));
    fs::copy(&away, &file).unwrap();
    assert!(store.ping().await.is_err(), "another file of the same name");
    fs::rename(&away, &file).unwrap();
    store.ping().await.unwrap();
}

#[tokio::test]
async fn a_url_opens_the_folder_that_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().display());
    let store = Sqlite::open_url(&url).await.unwrap();
    assert_eq!(store.folder(), folder.path().canonicalize().unwrap());
    assert_eq!(store.info().name, "sqlite");
}

#[tokio::test]
async fn a_row_moved_to_another_key_is_not_that_keys_session() {
    let Opened { folder: _kept, store, shell } = opened().await;
    create(&store, &record(1, 1, json!({}))).await;
    shell.execute("UPDATE sessions SET key = ?1", params![key(2).as_bytes()]).unwrap();
    let error = store.load(&key(2), NOW).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
}

#[tokio::test]
async fn what_is_not_ours_is_left_as_it_is() {
    type Prepare = fn(&Path);
    fn sql(file: &Path, sql: &str) {
        Connection::open(file).unwrap().execute_batch(sql).unwrap();
    }
    use OpenErrorKind::{Failed, Foreign};
    let another = "is a database of another program";
    let no_database = "is damaged or not a database";
    let cases: [(Prepare, OpenErrorKind, &str); 6] = [
        (|file| sql(file, "CREATE TABLE t (x)"), Foreign, another),
        (|file| sql(file, "PRAGMA application_id = 5"), Foreign, another),
        (|file| sql(file, "PRAGMA user_version = 1"), Foreign, another),
        (
            |file| sql(file, "PRAGMA application_id = 1768843116; PRAGMA user_version = 2"),
            Foreign,
            "has format 2, this version of ingle reads up to 1",
        ),
        (|file| fs::write(file, "hello").unwrap(), Failed, no_database),
        (|file| fs::write(file, [b'x'; 10_000]).unwrap(), Failed, no_database),
    ];
    for (prepare, kind, expected) in cases {
        let folder = tempfile::tempdir().unwrap();
        prepare(&file_in(&folder));
        let before = fs::read(file_in(&folder)).unwrap();
        let error = Sqlite::open(folder.path()).await.unwrap_err();
        assert_eq!((error.store(), error.kind()), ("sqlite", kind), "{error}");
        let error = error.to_string();
        assert!(error.contains(expected) && error.lines().count() == 1, "{error}");
        assert_eq!(fs::read(file_in(&folder)).unwrap(), before, "{error}");
    }
}

#[tokio::test]
async fn a_folder_whose_name_nobody_means_is_not_made() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().to_str().unwrap();
    for name in ["a\n", "a\r\n", "a ", "\ta/..\t", "a\nb", "a\u{1b}b"] {
        let error = Sqlite::open(format!("{path}/{name}")).await.unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Config, "{name:?}");
        let line = error.to_string();
        assert!(line.contains("line end around it; trim it") && !line.contains('\n'), "{line}");
    }
    let error = Sqlite::open("a\n").await.unwrap_err().to_string();
    assert!(error.contains(r"`a\n`"), "one sees what is wrong: {error}");
    assert_eq!(fs::read_dir(path).unwrap().count(), 0);
    // Of a URL they are no part, which may be a mounted secret.
    let url = format!(" sqlite://{path}/a b\r\n");
    crate::store::open(&url).await.unwrap();
    crate::store::open_lazily(&url).await.unwrap();
    let wrong = crate::store::open_lazily("sqlite://host/folder").await.unwrap_err();
    assert_eq!(wrong.kind(), OpenErrorKind::Config);
    let made: Vec<_> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["a b"]);
}

#[tokio::test]
async fn a_file_is_no_folder() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Sqlite::open(file.path()).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Config);
    assert!(error.to_string().ends_with("in which the store keeps its file `sessions.sqlite`"));
    let error = Sqlite::open(file.path().join("below")).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Failed);
    assert!(error.to_string().contains("/below` could not be created: "), "{error}");
}

#[tokio::test]
async fn each_list_has_an_index_that_gives_its_order() {
    let Opened { folder: _kept, shell, .. } = opened().await;
    let cases = [
        (
            "WHERE key > x'' AND dead_at > 1 AND mark IS NULL ORDER BY key",
            "sqlite_autoindex_sessions_1 (key>?)",
        ),
        (
            "WHERE user = 'ada' AND key > x'' AND dead_at > 1 ORDER BY key",
            "by_user (user=? AND key>?)",
        ),
        ("WHERE sweep_at <= 1", "to_sweep (sweep_at<?)"),
    ];
    for (query, index) in cases {
        let sql = format!("EXPLAIN QUERY PLAN SELECT data FROM sessions {query}");
        let mut plan = shell.prepare(&sql).unwrap();
        let steps = plan.query_map((), |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<_> = steps.map(Result::unwrap).collect();
        assert_eq!(steps, [format!("SEARCH sessions USING INDEX {index}")]);
    }
    let mut plan = shell.prepare(&format!("EXPLAIN QUERY PLAN {}", list::MARKS)).unwrap();
    let step = plan.query_row([1], |row| row.get::<_, String>(3)).unwrap();
    assert_eq!(step, "SEARCH sessions USING COVERING INDEX marks (sweep_at>?)");
}

#[tokio::test]
async fn who_listens_hears_of_each_end_once_in_whatever_order_they_come() {
    let Opened { folder, store, .. } = opened().await;
    let other = Sqlite::open(folder.path()).await.unwrap();
    for number in 1..=5 {
        create(&other, &record(number, 1, json!({}))).await;
    }
    let second = Duration::from_secs(1);
    other.destroy(&key(1), NOW).await.unwrap();
    let mut listener = store.listen().await.unwrap().unwrap();
    other.destroy(&key(2), NOW.after(20 * second)).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), key(2));
    // It read the clock before, and had to wait for the lock.
    other.destroy(&key(3), NOW.after(15 * second)).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), key(3));
    let base = found(&other, 4, NOW).await.unwrap();
    let moved = record(6, 2, json!({}));
    let renew = Write::Renew { base: &base, record: &moved };
    other.commit(renew, NOW.after(21 * second)).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), key(4));
    // Whoever gave up to listen in between misses nothing.
    let nothing = tokio::time::timeout(Duration::from_millis(1), listener.next()).await;
    assert!(nothing.is_err(), "{nothing:?}");
    other.destroy(&key(5), NOW.after(21 * second)).await.unwrap();
    assert_eq!(listener.next().await.unwrap(), key(5));
}

type Outcome = oneshot::Receiver<Result<Version, CommitError>>;

/// A group as the writer meets it, of one create per record, and where its answers come.
fn group(records: &[Arc<Record>]) -> (Vec<Box<dyn writer::Change>>, Vec<Outcome>) {
    let create = |record| {
        let write = write::OwnedWrite::of(Write::Create { record }).unwrap();
        let (reply, outcome) = oneshot::channel();
        let change = writer::change(move |transaction| write.run(transaction, NOW), reply);
        (change, outcome)
    };
    records.iter().map(create).unzip()
}

/// What becomes of three creates in one group, the second of which SQLite ends by this, and whose records there
/// are then.
async fn group_with_a_bad_one(end: &str) -> (Vec<Result<Version, CommitError>>, Vec<Key>) {
    let Opened { folder, store, shell } = opened().await;
    let trigger = "CREATE TRIGGER bad BEFORE INSERT ON sessions WHEN NEW.data LIKE '%bad%'";
    shell.execute_batch(&format!("{trigger} BEGIN SELECT RAISE({end}, 'bad'); END")).unwrap();
    let connection = schema::prepare(&file_in(&folder)).unwrap();
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, true).unwrap();
    let bad = record(2, 1, json!({ "bad": 1 }));
    let (mut commits, answers) = group(&[record(1, 1, json!({})), bad, record(3, 1, json!({}))]);
    writer::Writer::new(connection).commit(&mut commits);
    let mut outcomes = Vec::new();
    for answer in answers {
        outcomes.push(answer.await.unwrap());
    }
    let page = store.list(None, 10, NOW).await.unwrap();
    (outcomes, page.records.iter().map(|loaded| loaded.record.header.key).collect())
}

#[tokio::test]
async fn a_write_that_fails_leaves_the_others_of_its_group_alone() {
    let (outcomes, records) = group_with_a_bad_one("ABORT").await;
    let [first, second, third] = outcomes.try_into().unwrap();
    assert_eq!([first, third].map(Result::unwrap), [Version(1), Version(1)]);
    assert_eq!(failure(second).applied(), Applied::No);
    assert_eq!(records, [key(1), key(3)]);
}

#[tokio::test]
async fn a_transaction_that_is_taken_back_did_nothing_for_any_of_its_group() {
    let (outcomes, records) = group_with_a_bad_one("ROLLBACK").await;
    for outcome in outcomes {
        assert_eq!(failure(outcome).applied(), Applied::No);
    }
    assert_eq!(records, []);
}

#[tokio::test]
async fn what_was_queued_is_done_though_all_who_asked_are_gone() {
    let Opened { folder, store, .. } = opened().await;
    let writer = writer::Writer::new(schema::prepare(&file_in(&folder)).unwrap());
    let (sender, queue) = mpsc::channel(8);
    let (commits, answers) = group(&[record(1, 1, json!({})), record(2, 1, json!({}))]);
    for commit in commits {
        sender.try_send(writer::Job::Change(commit)).ok().unwrap();
    }
    drop((sender, answers));

    tokio::task::spawn_blocking(move || writer.serve(queue)).await.unwrap();

    assert_eq!(store.list(None, 10, NOW).await.unwrap().records.len(), 2);
}

#[tokio::test]
async fn beyond_the_bound_of_the_queue_a_commit_fails_at_once() {
    let Opened { folder: _kept, store, shell } = opened().await;
    shell.execute_batch("BEGIN IMMEDIATE").unwrap();
    let destroy = || store.destroy(&KEY, NOW);
    static KEY: Key = Key::from_bytes([1; 32]);

    // The first poll queues; a caller who leaves then does not take the job with it. The writer can
    // have taken one group from the queue before it met the lock.
    let refused = loop {
        tokio::select! {
            biased;
            answer = destroy() => break answer.unwrap_err(),
            () = std::future::ready(()) => {}
        }
    };
    assert_eq!((refused.kind(), refused.applied()), (ErrorKind::Unavailable, Applied::No));
    assert_eq!(cause(&refused), "too many calls wait already; this one was not queued");

    shell.execute_batch("ROLLBACK").unwrap();
}

/// A file size limit makes a write fail in the middle of a `COMMIT`, as a broken disk does. The
/// limit is the whole process's, so the test runs itself once more under one.
#[cfg(target_os = "linux")]
#[test]
fn a_commit_that_the_disk_failed_is_the_last_one_and_loads_go_on() {
    const LIMITED: &str = "INGLE_TEST_WITH_A_FILE_SIZE_LIMIT";
    if std::env::var_os(LIMITED).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        return runtime.block_on(commit_until_the_disk_fails());
    }
    // 2000 blocks of 512 bytes; without the trap the signal would end the process.
    let script = "trap '' XFSZ; ulimit -f 2000; exec \"$0\" --exact --nocapture \"$1\"";
    let name = std::thread::current().name().unwrap().to_owned();
    let limited = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .arg(name)
        .env(LIMITED, "1")
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&limited.stdout);
    assert!(limited.status.success() && output.contains("1 passed"), "{output}");
}

#[cfg(target_os = "linux")]
async fn commit_until_the_disk_fails() {
    let Opened { folder: _kept, store, .. } = opened().await;
    let first = create(&store, &record(0, 1, json!({}))).await;
    let large = json!({ "text": "x".repeat(20_000) });
    let mut number = 0;
    let lost = loop {
        number += 1;
        let record = record(number, 1, large.clone());
        if let Err(error) = store.commit(Write::Create { record: &record }, NOW).await {
            break failure::<()>(Err(error));
        }
    };
    assert_eq!((lost.kind(), lost.applied()), (ErrorKind::Unavailable, Applied::Unknown));

    let small = store.destroy(&key(0), NOW).await.unwrap_err();
    let sweep = store.sweep(LATER, 10).await.unwrap_err();
    let ping = store.ping().await.unwrap_err();
    for refused in [small, sweep, ping] {
        assert_eq!((refused.kind(), refused.applied()), (ErrorKind::Unavailable, Applied::No));
        assert!(cause(&refused).contains("restart the process"));
    }
    assert_eq!(found(&store, 0, NOW).await, Some(first));
    let acknowledged = store.list(None, 1000, NOW).await.unwrap().records.len();
    assert_eq!(acknowledged, usize::from(number));
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
const BROKEN_DISK: &str = r#"
    static int sync_or_fail(long call, int file) {
        if (!fails()) return syscall(call, file);
        errno = EIO;
        return -1;
    }
    int fsync(int file) { return sync_or_fail(SYS_fsync, file); }
    int fdatasync(int file) { return sync_or_fail(SYS_fdatasync, file); }
"#;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn no_commit_is_acknowledged_that_was_not_synced() {
    testbed::preload::with(BROKEN_DISK, |broken| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let Opened { folder: _kept, store, .. } = opened().await;
            let first = create(&store, &record(0, 1, json!({}))).await;
            broken.on();
            let second = record(1, 1, json!({}));
            let lost = failure(store.commit(Write::Create { record: &second }, NOW).await);
            assert_eq!((lost.kind(), lost.applied()), (ErrorKind::Unavailable, Applied::Unknown));

            // It syncs again, but not what it has dropped.
            broken.off();
            let refused = store.destroy(&key(0), NOW).await.unwrap_err();
            assert_eq!((refused.kind(), refused.applied()), (ErrorKind::Unavailable, Applied::No));
            assert!(cause(&refused).contains("restart the process"));
            assert_eq!(found(&store, 0, NOW).await, Some(first));
        });
    });
}

#[test]
fn fuzz_a_row() {
    use rusqlite::types::Value as Cell;
    let questions = ["?"; 16].join(", ");
    let connection = Connection::open_in_memory().unwrap();
    let mut select = connection.prepare(&format!("SELECT {questions}")).unwrap();
    let mut read = |cells: &[Cell]| {
        select.query_one(rusqlite::params_from_iter(cells), |row| Ok(codec::read(row))).unwrap()
    };
    let words = ["{", "[]", "1e400", "\\ud800", "ffffffffffffffff ", "-", " ", "é", "\0", "moved"];
    fuzz("a row of SQLite", |u| {
        let record = fuzz::record(u)?;
        let moved_to = u.arbitrary::<bool>()?.then(|| key(7));
        let until = Timestamp::from_millis(u.int_in_range(0..=u64::from(u32::MAX))?);
        let mark = Mark { moved_to, until };
        let own = record.header.key;
        let is_mark = u.ratio(1, 3)?;
        let mut cells = if is_mark { cells_of_mark(&own, mark) } else { cells_of_record(&record) };
        match read(&cells).unwrap() {
            codec::Entry::Record(loaded) => assert_eq!(*loaded.record, record),
            codec::Entry::Mark(found) => assert!(is_mark && found == mark),
        }
        for _ in 0..u.int_in_range(1..=3)? {
            let column = u.choose_index(cells.len())?;
            cells[column] = match &cells[column] {
                Cell::Text(text) if u.ratio(3, 4)? => Cell::Text(spoiled_text(u, &[text], &words)?),
                Cell::Integer(_) if u.ratio(3, 4)? => {
                    Cell::Integer(*u.choose(&[i64::MIN, -1, 0, 1, i64::MAX])?)
                }
                _ => u.choose(&[Cell::Null, Cell::Real(f64::NAN), Cell::Blob(vec![7; 3])])?.clone(),
            };
        }
        match read(&cells) {
            Ok(codec::Entry::Record(found)) => {
                let again = read(&cells_of_record(&found.record)).unwrap();
                let codec::Entry::Record(again) = again else { panic!("a record became a mark") };
                assert_eq!(*again.record, *found.record);
            }
            Ok(codec::Entry::Mark(_)) => {}
            Err(error) => fuzz::tells_no_secret(&error),
        }
        Ok(())
    });
}

/// The columns of a record's row, in the order in which a row is read.
fn cells_of_record(record: &Record) -> Vec<rusqlite::types::Value> {
    let row = codec::Row::of(&Arc::new(record.clone())).unwrap();
    let mut cells: Vec<_> = row.parameters().into_iter().map(cell).collect();
    // The key is what the row is found by, and what the header says. A record has no mark.
    cells.insert(1, cells[0].clone());
    cells.extend([rusqlite::types::Value::Null, rusqlite::types::Value::Null]);
    cells
}

fn cells_of_mark(key: &Key, mark: Mark) -> Vec<rusqlite::types::Value> {
    use rusqlite::types::Value::{Blob, Integer, Null, Text};
    let row = codec::MarkRow::of(key, mark);
    let [key, format, word, moved_to, until, sum] = row.parameters().map(cell);
    let (nothing, data) = (Blob(Vec::new()), Text("{}".to_owned()));
    let header = [key.clone(), key, format, Integer(0), until.clone(), until, Null, Null, Null];
    let rest = [Integer(0), Integer(0), nothing, data, sum, word, moved_to];
    header.into_iter().chain(rest).collect()
}

fn cell(parameter: rusqlite::types::ToSqlOutput<'_>) -> rusqlite::types::Value {
    match parameter {
        rusqlite::types::ToSqlOutput::Owned(cell) => cell,
        rusqlite::types::ToSqlOutput::Borrowed(cell) => cell.try_into().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_page_says_the_bounds_of_the_code() {
    let own = [
        ("commits that wait, in one process", queue::QUEUE_MAX.to_string()),
        ("loads and lists that wait, in one process", queue::QUEUE_MAX.to_string()),
        ("threads that read, beside the one that writes", reader::READERS.to_string()),
        ("commits in one transaction", writer::GROUP_MAX.to_string()),
        ("rows that a sweep deletes in one transaction", SWEEP_CHUNK.to_string()),
        ("the wait for another process's lock", page::time(connect::LOCK_WAIT_MAX)),
    ];
    page::check(include_str!("../../../docs/sqlite.md"), &own);
}
