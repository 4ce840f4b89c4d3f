//! Wrong calls: one clear line each, the exit code that a script can branch on, and nothing changed.

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
};

use crate::{
    Ended,
    place::{ADA, BOB, Place},
    program, run,
};

#[tokio::test]
async fn a_wrong_call_is_one_line_and_changes_nothing() {
    let place = Place::sqlite().filled().await;
    let missing = place.folder().join("missing");
    let missing_url = format!("sqlite://{}", missing.display());
    let missing_file = missing.display().to_string();
    let text = place.folder().join("text");
    fs::write(&text, "no database").unwrap();
    let foreign = place.folder().join("foreign");
    fs::create_dir(&foreign).unwrap();
    fs::write(foreign.join("sessions.sqlite"), "no database, however long one looks at it")
        .unwrap();
    let foreign_url = format!("sqlite://{}", foreign.display());
    let cases: &[(&[&str], i32, &str)] = &[
        (&[], 2, "a command is missing; see ingle --help"),
        (&["sessions"], 2, "a command is missing; see ingle sessions --help"),
        (&["--timeout", "1m", "users"], 2, "a command is missing; see ingle users --help"),
        (&["session"], 2, "'sessions'"),
        (&["sessions", "lsit"], 2, "'list'"),
        (&["sessions", "list", "--lmit", "3"], 2, "'--limit'"),
        (&["sessions", "list", "--limit", "many"], 2, "'many'"),
        (&["sessions", "list", "--limit", "-1"], 2, "-1"),
        (&["sessions", "list", "--limit"], 2, "a value is required"),
        (&["sessions", "list", "--older", "7"], 2, "such as 90s"),
        (&["sessions", "list", "--older", "7 fortnights"], 2, "such as 90s"),
        (&["sessions", "list", "--idle", "1h"], 2, "--idle-time"),
        (&["sessions", "end", "--where", "not @idle < 1h"], 2, "@idle need --idle-time"),
        (&["sessions", "list", "--where", "@age > 2"], 2, "such as 90s"),
        (&["sessions", "list", "--where", "@size > 8kB"], 2, "KiB, MiB or GiB"),
        (&["sessions", "list", "--where", "@bytes > 8"], 2, "there is no `@bytes`"),
        (&["sessions", "list", "--idle-time", "0s"], 2, "--idle-time: "),
        (&["sessions", "list", "--where", "views >"], 2, "at character 8, a value is missing"),
        (&["sessions", "list", "--where", "views ~ 1"], 2, "exists"),
        (&["sessions", "list", "--where", "(views > 1"], 2, "a closing parenthesis"),
        (&["sessions", "list", "--user", ""], 4, "a user's name must have"),
        (&["sessions", "list", "--json", "--ndjson"], 2, "cannot be used with"),
        (&["sessions", "list", "extra"], 2, "'extra'"),
        (&["sessions", "show"], 2, "<HANDLE>"),
        (&["sessions", "show", "xyz"], 2, "hexadecimal digits"),
        (&["sessions", "show", "3FA9"], 2, "hexadecimal digits"),
        (&["sessions", "show", "0123456789abcdef0"], 2, "hexadecimal digits"),
        (&["sessions", "show", ""], 2, "hexadecimal digits"),
        (&["sessions", "show", "0000"], 3, "no live session 0000"),
        (&["sessions", "set", ADA], 2, "<PATH=VALUE>"),
        (&["sessions", "set", ADA, "views"], 2, "no `=` and a value"),
        (&["sessions", "set", ADA, "=1"], 2, "a name is missing at character 1"),
        (&["sessions", "set", ADA, "views=int:3.5"], 2, "`int:` takes"),
        (&["sessions", "set", ADA, "at=timestamp:now"], 2, "`timestamp:` takes"),
        (&["sessions", "set", ADA, "views.x=1"], 4, "views is no map"),
        (&["sessions", "set", ADA, "cart.items[5]=1"], 4, "no place [5]"),
        (&["sessions", "set", ADA, "_ingle=1"], 4, "a name must have"),
        (&["sessions", "unset", ADA, "nothing"], 3, "there is no nothing"),
        (&["sessions", "unset", ADA, "a..b"], 2, "a name is missing at character 3"),
        (&["sessions", "end"], 2, "required"),
        (&["sessions", "end", "ada"], 2, "takes 4 digits of its handle or more"),
        (&["sessions", "end", "--all", "--user", "ada"], 2, "cannot be used with"),
        (&["sessions", "end", ADA, "--all"], 2, "cannot be used with"),
        (&["sessions", "end", "--all"], 4, "use --yes or --confirm 4"),
        (&["sessions", "end", "--all", "--confirm", "5"], 4, "there are 4 sessions, not 5"),
        (&["sessions", "end", "--user", "cyd", "--confirm", "5"], 4, "there are 0 sessions, not 5"),
        (&["sessions", "end", ADA, "--confirm", "5"], 4, "there is 1 session, not 5"),
        (&["users", "end", "cyd", "--confirm", "1"], 4, "there are 0 sessions, not 1"),
        (&["--json", "sessions", "list", "--ndjson"], 2, "cannot be used with"),
        (&["--store", "memory:", "stats", "--store-file", "f"], 2, "cannot be used with"),
        (&["users", "end"], 2, "<USER>"),
        (&["users", "end", "bob"], 4, "use --yes or --confirm 2"),
        (&["export", "--reveal", "--anonymise"], 2, "cannot be used with"),
        (&["export", "--output", "/missing/file"], 1, "--output"),
        (&["completions", "word"], 2, "'word'"),
        (&["man", "--output", "/missing"], 1, "the manual was not written"),
        (&["--store", "nosuch:x", "stats"], 2, "the scheme of no store"),
        (&["--store", "sqllite:x", "stats"], 2, "sqlite"),
        (&["--store", "sqlite:", "stats"], 2, "could not open the sqlite store"),
        (&["--store", &missing_url, "stats"], 6, "run `ingle migrate` with it to make one"),
        (&["--store", &foreign_url, "stats"], 1, "could not open the sqlite store"),
        (&["--store", "memory:x", "stats"], 2, "takes nothing after the colon"),
        (&["--store-file", &missing_file, "stats"], 2, "--store-file"),
        (&["--timeout", "0", "stats"], 2, "from 100ms to 1h"),
        (&["--timeout", "x", "stats"], 2, "such as 90s"),
    ];
    let before = place.data(ADA).await;
    for (arguments, code, says) in cases {
        let ended = run(&place, arguments);
        assert_eq!(ended.code, *code, "{arguments:?}: {ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{arguments:?}: {ended:?}");
        assert!(ended.stderr.starts_with("ingle: "), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(says), "{arguments:?}: {ended:?}");
        assert!(ended.stdout.is_empty() || *code == 4, "{arguments:?}: {ended:?}");
    }
    assert!(!missing.exists(), "a mistyped folder was made");
    assert_eq!(place.data(ADA).await, before);
    assert_eq!(run(&place, &["sessions", "list", "--ndjson"]).ok().lines().len(), 4);
    assert!(
        run(&place, &["audit", "--ndjson"])
            .ok()
            .lines()
            .iter()
            .all(|line| line["outcome"] == "refused")
    );
}

#[tokio::test]
async fn a_store_is_named_by_an_option_a_variable_or_a_file() {
    let place = Place::sqlite().filled().await;
    let mut nowhere = program(&place);
    nowhere.env_remove("INGLE_STORE").arg("stats");
    let ended = Ended::of(nowhere.output().unwrap()).with(2);
    assert!(ended.stderr.contains("INGLE_STORE or --store-file"), "{ended:?}");
    let file = place.folder().join("secret");
    // Mounted secrets end in line ends.
    fs::write(&file, format!("{}\n", place.url)).unwrap();
    for variable in [None, Some(""), Some("memory:")] {
        let mut by_file = program(&place);
        by_file.env_remove("INGLE_STORE");
        by_file.envs(variable.map(|value| ("INGLE_STORE", value)));
        by_file.arg("--store-file").arg(&file).args(["stats", "--json"]);
        assert_eq!(Ended::of(by_file.output().unwrap()).ok().json()["live"], 4);
    }
    let other = Place::sqlite();
    let by_option = run(&other, &["--store", &place.url, "stats", "--json"]).ok();
    assert_eq!(by_option.json()["live"], 4);
}

#[tokio::test]
async fn a_store_in_a_folder_is_made_by_migrate_alone() {
    let place = Place::sqlite();
    let missing = run(&place, &["stats"]).with(6);
    assert!(missing.stderr.contains("run `ingle migrate` with it to make one"), "{missing:?}");
    run(&place, &["migrate"]).ok();
    assert_eq!(run(&place, &["stats", "--json"]).ok().json()["live"], 0);
}

#[tokio::test]
async fn a_user_is_looked_up_in_the_namespace() {
    let place = Place::sqlite().filled().await;
    // The record that tells of the end of all is another one in each.
    run(&place, &["users", "end", "bob", "--yes", "--namespace", "shop"]).ok();
    assert_eq!(run(&place, &["users", "list", "--ndjson"]).ok().lines().len(), 1);
}

#[tokio::test]
async fn a_user_ends_in_no_namespace_that_nobody_named() {
    for (place, all) in [(Place::sqlite().filled().await, 4), (Place::memcached(), 0)] {
        let end = |options: &[&str], variable: Option<&str>| {
            let mut end = program(&place);
            end.env_remove("INGLE_NAMESPACE").args(["users", "end", "bob", "--yes"]).args(options);
            end.envs(variable.map(|name| ("INGLE_NAMESPACE", name)));
            Ended::of(end.output().unwrap())
        };
        let unsaid = end(&[], None).with(2);
        assert!(unsaid.stderr.contains("--namespace shop"), "{unsaid:?}");
        assert_eq!((unsaid.stdout.as_str(), unsaid.stderr.lines().count()), ("", 1), "{unsaid:?}");
        if all > 0 {
            let left = run(&place, &["sessions", "list", "--ndjson"]).ok();
            assert_eq!(left.lines().len(), all);
        }
        for (options, variable) in [
            (&["--namespace", "greetings"][..], None),
            (&["--namespace", ""], None),
            (&[], Some("greetings")),
            (&[], Some("")),
        ] {
            end(options, variable).ok();
        }
    }
}

#[tokio::test]
async fn a_message_repeats_no_value_and_no_password() {
    let place = Place::sqlite().filled().await;
    const URL: &str = "redis://:s3cret@host";
    for arguments in [
        &["sessions", "set", ADA, "token=int:s3cret"][..],
        &["sessions", "set", ADA, "token:s3cret"],
        &["sessions", "set", ADA, URL],
        &["sessions", "set", ADA, "[=s3cret"],
        &["--store-file", URL, "stats"],
        &["--timeout", URL, "stats"],
        &["sessions", "show", URL],
        &[URL, "stats"],
        &["stats", URL],
    ] {
        let ended = run(&place, arguments).with(2);
        assert!(!ended.stderr.contains("s3cret"), "{arguments:?}: {ended:?}");
    }
    let ended = run(&place, &["sessions", "set", ADA, "token=int:s3cret"]).with(2);
    assert!(ended.stderr.contains("token=…") && ended.stderr.contains("`int:` takes"), "{ended:?}");
}

#[tokio::test]
async fn an_option_holds_wherever_it_stands() {
    let place = Place::sqlite().filled().await;
    let before = ["--idle-time", "3h", "sessions", "list", "--idle", "90m", "--ndjson"];
    assert_eq!(run(&place, &before).ok().lines().len(), 4);
}

#[tokio::test]
async fn an_empty_operator_is_none() {
    let place = Place::sqlite().filled().await;
    run(&place, &["sessions", "end", ADA, "--operator", ""]).ok();
    let mut end = program(&place);
    Ended::of(end.env("INGLE_OPERATOR", "").args(["sessions", "end", BOB]).output().unwrap()).ok();
    let lines = run(&place, &["audit", "--ndjson"]).ok().lines();
    assert!(lines.len() == 2 && lines.iter().all(|line| line["operator"] == "ada"), "{lines:?}");
}

#[tokio::test]
async fn an_empty_time_is_the_one_of_nobody_who_says_it() {
    let place = Place::sqlite().filled().await;
    let mut stats = program(&place);
    Ended::of(stats.env("INGLE_TIMEOUT", "").arg("stats").output().unwrap()).ok();
}

#[tokio::test]
async fn whoever_has_no_name_is_in_the_audit_log_by_their_number() {
    let place = Place::sqlite().filled().await;
    let mut end = program(&place);
    end.env_remove("USER").env_remove("LOGNAME").args(["sessions", "end", ADA]);
    Ended::of(end.output().unwrap()).ok();
    let lines = run(&place, &["audit", "--ndjson"]).ok().lines();
    let own = format!("uid {}", rustix::process::getuid().as_raw());
    assert_eq!(lines[0]["operator"], own, "{lines:?}");
}

#[tokio::test]
async fn a_folder_that_may_not_be_read_is_told_as_such() {
    let place = Place::sqlite().filled().await;
    let closed = place.folder().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    let url = format!("sqlite://{}", closed.join("sessions").display());
    let mut stats = program(&place);
    if rustix::process::geteuid().is_root() {
        // Root may read everything.
        stats.uid(65534);
    }
    let ended = Ended::of(stats.args(["--store", &url, "stats"]).output().unwrap()).with(4);
    assert!(ended.stderr.contains("denied"), "{ended:?}");
}
