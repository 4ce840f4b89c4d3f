//! What the doctor says of each store: nothing of one that is well, and of each that is not what mends it.

use std::{net::TcpListener, process::Command, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::{front::Front, preload, proxy::Proxy};

use crate::{Ended, place::Place, program, run};

mod app;
mod page;

/// Runs the doctor with these arguments.
fn doctor(place: &Place, url: &str, arguments: &[&str]) -> Ended {
    run(place, &[&["--store", url, "doctor", "--json"], arguments].concat())
}

/// What it found: what each is about, and the problem and the help in one line.
#[track_caller]
fn found(ended: Ended) -> Vec<(String, String)> {
    let report = ended.with(1).json();
    assert_eq!(report["good"], false);
    let text = |problem: &Value, name: &str| problem[name].as_str().unwrap().to_owned();
    let problems = report["problems"].as_array().unwrap().iter();
    problems
        .map(|problem| {
            let line = format!("{}; {}", text(problem, "problem"), text(problem, "help"));
            (text(problem, "about"), line)
        })
        .collect()
}

/// Checks that one thing was found, which says all this.
#[track_caller]
fn found_one(ended: Ended, about: &str, says: &[&str]) {
    let found = found(ended);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, about, "{found:?}");
    for says in says {
        assert!(found[0].1.contains(says), "{says}: {found:?}");
    }
}

/// Runs the commands that the doctor names, as an administrator does.
#[track_caller]
fn mend(ended: &Ended) {
    let report = ended.json();
    let problems = report["problems"].as_array().unwrap();
    let commands = problems.iter().flat_map(|problem| problem["commands"].as_array().unwrap());
    let mut n = 0;
    for command in commands {
        let mut shell = Command::new("sh");
        shell.args(["-c", command.as_str().unwrap()]).env("PGUSER", "postgres");
        Ended::of(shell.output().unwrap()).ok();
        n += 1;
    }
    assert!(n > 0, "{ended:?}");
}

#[track_caller]
fn is_good(place: &Place, url: &str) {
    let good = json!({ "good": true, "problems": [] });
    assert_eq!(doctor(place, url, &[]).ok().json(), good);
    assert_eq!(doctor(place, url, &["--write"]).ok().json(), good);
    let ended = run(place, &["--store", url, "doctor"]).ok();
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("good to go\n", ""));
}

/// The program on a machine whose clock is an hour ahead.
fn an_hour_ahead(place: &Place, folder: &TempDir) -> Command {
    const AHEAD: &str = "
        #include <time.h>
        int clock_gettime(clockid_t clock, struct timespec *now) {
            int failed = syscall(SYS_clock_gettime, clock, now);
            if (!failed && clock == CLOCK_REALTIME) now->tv_sec += 3600;
            return failed;
        }
    ";
    let mut program = program(place);
    program.env("LD_PRELOAD", preload::compile(AHEAD, folder.path()).unwrap());
    program
}

#[track_caller]
fn tells_of_the_clock(place: &Place, url: &str) {
    let folder = TempDir::new().unwrap();
    let mut ahead = an_hour_ahead(place, &folder);
    let ended = Ended::of(ahead.args(["--store", url, "doctor", "--json"]).output().unwrap());
    found_one(ended, "clock", &["seconds ahead of that of", "timedatectl set-ntp true"]);
}

#[tokio::test]
async fn a_healthy_store_is_good_to_go() {
    for place in [Place::sqlite(), Place::memcached()] {
        place.store().await;
        is_good(&place, &place.url);
    }
    let place = Place::firestore();
    is_good(&place, &place.url);
}

#[test]
fn a_healthy_redis_is_good_to_go_and_has_no_session_left_of_it() {
    let cluster = testbed::redis::start_own_cluster(3, &testbed::redis::SYNCED);
    let server = testbed::redis::start(&testbed::redis::SYNCED);
    for at in [server.address(), cluster[0].address()] {
        let (place, url) = (Place::sqlite(), format!("redis://{at}"));
        is_good(&place, &url);
        let left = run(&place, &["--store", &url, "sessions", "list", "--ndjson"]);
        assert!(left.ok().lines().is_empty());
    }
}

#[tokio::test]
async fn a_healthy_postgres_is_good_to_go() {
    let place = Place::postgres();
    ingle::store::migrate(&place.url).await.unwrap();
    is_good(&place, &place.url);
    tells_of_the_clock(&place, &place.url);
}

#[test]
fn a_clock_that_differs_is_told_of() {
    let place = Place::memcached();
    tells_of_the_clock(&place, &place.url);
    let server = testbed::redis::start(&testbed::redis::SYNCED);
    tells_of_the_clock(&place, &format!("redis://{}", server.address()));
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_made_by_the_command_that_is_named() {
    let place = Place::sqlite();
    let ended = doctor(&place, &place.url, &[]);
    found_one(ended, "open", &["there is no store in", "run `ingle migrate`"]);
    run(&place, &["migrate"]).ok();
    is_good(&place, &place.url);
    for (variable, name) in [("K_SERVICE", "Cloud Run"), ("GAE_SERVICE", "App Engine")] {
        let mut there = program(&place);
        let ended = there.env(variable, "shop").args(["doctor", "--json"]).output().unwrap();
        found_one(Ended::of(ended), "shared", &[name, "firestore://PROJECT/sessions"]);
    }
    let mut there = program(&place);
    let volume = there.env("KUBERNETES_SERVICE_HOST", "10.0.0.1").arg("doctor").output().unwrap();
    Ended::of(volume).ok();
}

#[test]
fn memory_is_no_place_for_sessions() {
    found_one(doctor(&Place::sqlite(), "memory:", &[]), "shared", &["one process", "`redis:`"]);
}

#[test]
fn a_redis_that_may_lose_sessions_is_mended_by_what_is_named() {
    let server =
        testbed::redis::start(&["--maxmemory-policy", "allkeys-lru", "--appendonly", "no"]);
    let (place, url) = (Place::sqlite(), format!("redis://{}", server.address()));
    let ended = doctor(&place, &url, &[]);
    mend(&ended);
    let found = found(ended);
    let about: Vec<_> = found.iter().map(|(about, _)| about.as_str()).collect();
    assert_eq!(about, ["eviction", "durability"], "{found:?}");
    is_good(&place, &url);
}

#[test]
fn a_replica_names_its_master() {
    let master = testbed::redis::start(&testbed::redis::SYNCED);
    let at = master.address();
    let replica = testbed::redis::start(&["--replicaof", &format!("127.0.0.1 {}", at.port())]);
    let place = Place::sqlite();
    let ended = doctor(&place, &format!("redis://{}", replica.address()), &[]);
    found_one(ended, "open", &["is a replica", &format!("name its master in its place, `{at}`")]);
    is_good(&place, &format!("redis://{at}"));
}

#[test]
fn a_user_who_may_not_write_is_named_only_by_a_write() {
    let server = testbed::redis::start(&testbed::redis::SYNCED);
    let at = server.address();
    // All that the opening tries, and no record.
    let rights = "ACL SETUSER reader on >s3cret ~ingle:* &ingle:* +@all -set";
    testbed::redis::ask(at, rights).unwrap();
    let (place, url) = (Place::sqlite(), format!("redis://reader:s3cret@{at}"));
    let ended = doctor(&place, &url, &["--write"]);
    assert!(!ended.stdout.contains("s3cret") && !ended.stderr.contains("s3cret"), "{ended:?}");
    let found = found(ended);
    assert!(found.iter().all(|(_, line)| line.contains("ACL SETUSER")), "{found:?}");
}

#[tokio::test]
async fn a_store_far_away_is_told_of() {
    let server = testbed::redis::start(&testbed::redis::SYNCED);
    let proxy = Proxy::start(server.address()).await.unwrap();
    proxy.set_distance(Duration::from_millis(150));
    let (place, url) = (Place::sqlite(), format!("redis://{}", proxy.address));
    let looked = tokio::task::spawn_blocking(move || {
        let ended = doctor(&place, &url, &[]);
        found_one(ended, "far", &["the fastest of 20 loads took", "run the app in the region"]);
    });
    looked.await.unwrap();
}

#[test]
fn a_store_that_is_not_there_is_told_of_with_its_address() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let (place, at) = (Place::sqlite(), gone.local_addr().unwrap());
    drop(gone);
    let port = at.port().to_string();
    for (url, says) in [
        (format!("redis://{at}"), "redis-server --port"),
        (format!("memcached://{at}"), "memcached -l"),
        (format!("postgres://u:s3cret@{at}/d"), "does not answer at"),
    ] {
        let ended = doctor(&place, &url, &[]);
        assert!(!ended.stdout.contains("s3cret"), "{ended:?}");
        found_one(ended, "open", &[says, &port]);
    }
    found_one(doctor(&place, "redsi://localhost", &[]), "open", &["did you mean `redis:`?"]);
}

#[test]
fn a_memcached_with_small_items_is_told_of() {
    let server = testbed::memcached::start(&["-I", "64k", "-o", "slab_chunk_max=32768"]);
    let (place, url) = (Place::sqlite(), format!("memcached://{}", server.address()));
    found_one(doctor(&place, &url, &[]), "size", &["65536", "`-I 2m`"]);
    let found = found(doctor(&place, &url, &["--write"]));
    let about: Vec<_> = found.iter().map(|(about, _)| about.as_str()).collect();
    assert_eq!(about, ["size", "write"], "{found:?}");
    let larger = testbed::memcached::start(&["-I", "2m"]);
    is_good(&place, &format!("memcached://{}", larger.address()));
}

/// Runs a statement as the administrator of the PostgreSQL that tests share.
fn psql(statement: &str) {
    let server = testbed::postgres::shared();
    let mut psql = Command::new("psql");
    psql.args([
        "-h",
        "127.0.0.1",
        "-p",
        &server.port().to_string(),
        "-U",
        "postgres",
        "-c",
        statement,
    ]);
    Ended::of(psql.output().unwrap()).ok();
}

#[test]
fn a_postgres_without_a_table_or_durability_is_mended_by_what_is_named() {
    let name = format!("t{:032x}", fastrand::u128(..));
    psql(&format!("CREATE DATABASE {name}"));
    let url = format!("postgres://postgres@{}/{name}", testbed::postgres::shared());
    let place = Place::sqlite();
    found_one(
        doctor(&place, &url, &[]),
        "open",
        &["has no table `ingle_sessions`", "run `ingle migrate`"],
    );
    run(&place, &["--store", &url, "migrate"]).ok();
    is_good(&place, &url);
    psql(&format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let ended = doctor(&place, &url, &[]);
    mend(&ended);
    found_one(ended, "durability", &["synchronous_commit = off", "ALTER DATABASE"]);
    is_good(&place, &url);
    let user = format!("u{name}");
    psql(&format!("CREATE ROLE {user} LOGIN SUPERUSER"));
    psql(&format!("ALTER ROLE {user} SET synchronous_commit = off"));
    let url = url.replace("postgres@", &format!("{user}@"));
    let ended = doctor(&place, &url, &[]);
    mend(&ended);
    found_one(ended, "durability", &["ALTER ROLE"]);
    is_good(&place, &url);
    let by_url = format!("{url}?options=-c%20synchronous_commit=off");
    found_one(doctor(&place, &by_url, &[]), "durability", &["out of the URL's `options`"]);
    psql(&format!("DROP DATABASE {name}"));
    psql(&format!("DROP ROLE {user}"));
}

#[test]
fn a_postgres_whose_server_is_set_so_is_set_back_by_what_is_named() {
    let server = testbed::postgres::Postgres::start(&["fsync=off"]);
    let (place, at) = (Place::sqlite(), server.address());
    let url = format!("postgres://postgres@{at}/postgres");
    run(&place, &["--store", &url, "migrate"]).ok();
    let ended = doctor(&place, &url, &[]);
    found_one(ended, "durability", &["`fsync = off`", "out of the command that starts the server"]);
}

#[test]
fn a_pooler_pgbouncer_that_is_not_named_is_told_of_with_its_option() {
    let url = format!("postgres://postgres@{}/postgres", testbed::postgres::shared_pooler());
    let table = format!("t{:032x}", fastrand::u128(..));
    let (place, plain) = (Place::sqlite(), format!("{url}?table={table}"));
    found_one(doctor(&place, &plain, &[]), "open", &["there is a pooler", "`pooler=transaction`"]);
    let named = format!("{plain}&pooler=transaction");
    run(&place, &["--store", &named, "migrate"]).ok();
    is_good(&place, &named);
    psql(&format!("DROP TABLE {table}"));
}

#[test]
fn an_emulator_that_is_missing_mistyped_or_in_production_is_told_of() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let (place, at) = (Place::firestore(), gone.local_addr().unwrap().to_string());
    drop(gone);
    let with = |variables: &[(&str, &str)]| {
        let mut program = program(&place);
        program.envs(variables.iter().copied()).args(["doctor", "--json"]);
        Ended::of(program.output().unwrap())
    };
    let start = format!("gcloud emulators firestore start --host-port={at}");
    found_one(with(&[("FIRESTORE_EMULATOR_HOST", &at)]), "open", &[&start]);
    let mistyped = with(&[("FIRESTORE_EMULATOR_HOST", "localhost")]);
    found_one(mistyped, "open", &["which is no host and port", "export FIRESTORE_EMULATOR_HOST"]);
    let production = with(&[("K_SERVICE", "shop")]);
    found_one(production, "emulator", &["on Cloud Run", "`unset FIRESTORE_EMULATOR_HOST`"]);
}

#[test]
fn google_in_datastore_mode_is_told_by_its_emulator() {
    let server = testbed::firestore::start_google_in_datastore_mode();
    let place = Place::sqlite();
    let mut there = program(&place);
    there.env("FIRESTORE_EMULATOR_HOST", server.address().to_string());
    let ended = there.args(["--store", "firestore://shop/sessions", "doctor", "--json"]).output();
    let says = ["not in native mode", "firestore://shop/sessions/sessions"];
    found_one(Ended::of(ended.unwrap()), "open", &says);
}

/// The program on a machine of Google's, which looks at the sessions of this URL.
fn at_google(place: &Place, front: &Front, url: &str) -> Ended {
    let mut program = program(place);
    program.envs(front.variables()).args(["--store", url, "doctor", "--json"]);
    Ended::of(program.output().unwrap())
}

const URL: &str = "firestore://shop/sessions";

#[test]
fn a_firestore_as_it_is_set_up_is_good_to_go_behind_tls_and_the_metadata_server() {
    let front = Front::start(testbed::firestore::hidane()).unwrap();
    let place = Place::sqlite();
    at_google(&place, &front, URL).ok();
    let mut program = program(&place);
    program.envs(front.variables()).args(["--store", URL, "doctor", "--write"]);
    assert_eq!(Ended::of(program.output().unwrap()).ok().stdout, "good to go\n");
    // What may not be asked is not told.
    front.set(|google| google.may_administer = false);
    at_google(&place, &front, URL).ok();
}

#[test]
fn each_refusal_of_firestore_is_told_with_the_account_the_project_and_the_database() {
    let front = Front::start(testbed::firestore::hidane()).unwrap();
    let place = Place::sqlite();
    for (code, reason, says) in [
        (7, "SERVICE_DISABLED", "gcloud services enable firestore.googleapis.com --project=shop"),
        (
            9,
            "",
            "gcloud firestore databases create --project=shop --database=sessions --location=us-west1",
        ),
        (5, "", "gcloud firestore databases create --project=shop --database='(default)'"),
        (7, "CONSUMER_INVALID", "gcloud projects list"),
        (
            7,
            "IAM_PERMISSION_DENIED",
            "gcloud projects add-iam-policy-binding shop --condition=None \
             --member=serviceAccount:app@shop.iam.gserviceaccount.com",
        ),
        (
            7,
            "ACCESS_TOKEN_SCOPE_INSUFFICIENT",
            "gcloud compute instances set-service-account vm --zone=us-west1-a --scopes=cloud-platform",
        ),
        (16, "", "gcloud auth application-default login"),
        (8, "", "gcloud billing projects link shop"),
    ] {
        front.set(|google| google.refused = vec![("", code, reason)]);
        found_one(at_google(&place, &front, URL), "open", &[says]);
    }
    front.set(|google| google.refused = vec![("", 7, "CONSUMER_INVALID")]);
    let other = at_google(&place, &front, "firestore://shpo/sessions");
    found_one(
        other,
        "open",
        &["no project `shpo`", "they belong to project `shop`", "`firestore://shop/sessions`"],
    );
}

#[test]
fn what_a_firestore_lacks_is_told_although_it_works() {
    let front = Front::start(testbed::firestore::hidane()).unwrap();
    let place = Place::sqlite();
    // One of the two is enough.
    front.set(|google| google.refused = vec![("/RunQuery", 9, "")]);
    at_google(&place, &front, URL).ok();
    front.set(|google| (google.refused, google.has_ttl_policy) = (Vec::new(), false));
    at_google(&place, &front, URL).ok();
    front.set(|google| {
        (google.refused, google.may_administer) = (vec![("/RunQuery", 9, "")], false);
    });
    let index = "gcloud firestore indexes composite create --project=shop --database='(default)' \
                 --collection-group=sessions";
    found_one(at_google(&place, &front, URL), "index", &[index]);
    front.set(|google| google.may_administer = true);
    assert_eq!(found(at_google(&place, &front, URL)).len(), 2);
    front.set(|google| google.refused = Vec::new());
    let policy =
        "gcloud firestore fields ttls update _ingle_expires --project=shop --database='(default)'";
    let mut frozen = program(&place);
    frozen.envs(front.variables()).env("K_SERVICE", "shop");
    let ended = frozen.args(["--store", URL, "doctor", "--json"]).output().unwrap();
    found_one(Ended::of(ended), "ttl", &[policy]);
    front.set(|google| (google.location, google.has_ttl_policy) = ("europe-west1", true));
    let says = ["is in europe-west1 and this program in us-west1", "--region=europe-west1"];
    found_one(at_google(&place, &front, URL), "region", &says);
}

#[test]
fn an_account_that_may_only_read_firestore_is_told_by_a_write() {
    let front = Front::start(testbed::firestore::hidane()).unwrap();
    let place = Place::sqlite();
    front.set(|google| google.refused = vec![("/Commit", 7, "IAM_PERMISSION_DENIED")]);
    at_google(&place, &front, URL).ok();
    let mut program = program(&place);
    program.envs(front.variables()).args(["--store", URL, "doctor", "--json", "--write"]);
    let ended = Ended::of(program.output().unwrap());
    let member = "--member=serviceAccount:app@shop.iam.gserviceaccount.com";
    found_one(ended, "write", &["no session can be kept", member]);
}

#[test]
fn credentials_for_firestore_that_are_missing_or_broken_are_told_of() {
    let place = Place::sqlite();
    let gone = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = gone.local_addr().unwrap().to_string();
    drop(gone);
    let with = |variable: &str, value: &str| {
        let mut program = program(&place);
        program.env("HOME", place.folder()).env("GCE_METADATA_HOST", &at).env(variable, value);
        program.args(["--store", URL, "doctor", "--json"]);
        Ended::of(program.output().unwrap())
    };
    let says = ["no usable Google credentials", "gcloud auth application-default login"];
    found_one(with("NO_COLOR", ""), "open", &says);
    let file = place.folder().join("key.json");
    std::fs::write(&file, r#"{ "type": "service_account", "client_email": "a@b" }"#).unwrap();
    let file = file.display().to_string();
    let broken = with("GOOGLE_APPLICATION_CREDENTIALS", &file);
    found_one(broken, "open", &["no usable Google credentials", "private_key"]);
}

#[test]
fn a_machine_without_certificates_is_told_at_firestore() {
    let front = Front::start(testbed::firestore::hidane()).unwrap();
    let place = Place::sqlite();
    let empty = place.folder().join("empty.pem");
    std::fs::write(&empty, "").unwrap();
    let mut program = program(&place);
    program.envs(front.variables()).env("SSL_CERT_FILE", empty);
    program.args(["--store", URL, "doctor", "--json"]);
    let ended = Ended::of(program.output().unwrap());
    found_one(ended, "open", &["ca-certificates"]);
}

#[test]
fn a_clock_that_differs_from_that_of_firestore_is_told_of() {
    let front = Front::start(testbed::firestore::hidane()).unwrap();
    let (place, folder) = (Place::sqlite(), TempDir::new().unwrap());
    let mut ahead = an_hour_ahead(&place, &folder);
    let clock = folder.path().join(preload::LIBRARY).display().to_string();
    for (name, value) in front.variables() {
        let value = if name == "LD_PRELOAD" { format!("{value}:{clock}") } else { value };
        ahead.env(name, value);
    }
    ahead.args(["--store", URL, "doctor", "--json"]);
    let says = ["seconds ahead of that of Google", "timedatectl"];
    found_one(Ended::of(ahead.output().unwrap()), "clock", &says);
}

#[test]
fn the_report_for_people_has_one_title_for_each_part_and_ends_with_the_count() {
    let server =
        testbed::redis::start(&["--maxmemory-policy", "allkeys-lru", "--appendonly", "no"]);
    let url = format!("redis://{}", server.address());
    let ended = run(&Place::sqlite(), &["--store", &url, "doctor"]).with(1);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{ended:?}");
    assert_eq!((lines[0], lines[5]), ("✗ the store", "2 problems"));
    assert!(lines[1].starts_with("  Redis at ") && lines[2].starts_with("    → run `redis-cli"));
    assert!(ended.stderr.is_empty(), "{ended:?}");
}

#[test]
fn what_is_to_be_looked_at_must_be_named() {
    let place = Place::sqlite();
    let mut nothing = program(&place);
    nothing.env_remove("INGLE_STORE").arg("doctor");
    let ended = Ended::of(nothing.output().unwrap()).with(2);
    assert!(ended.stderr.contains("INGLE_STORE, or the app by its URL"), "{ended:?}");
    let mut nothing = program(&place);
    nothing.env_remove("INGLE_STORE").args(["doctor", "--write", "http://localhost"]);
    let ended = Ended::of(nothing.output().unwrap()).with(2);
    assert!(ended.stderr.contains("--write needs a store"), "{ended:?}");
    let ended = run(&place, &["doctor", "localhost:8080"]).with(2);
    assert!(ended.stderr.contains("begins with `https://`"), "{ended:?}");
}

#[tokio::test]
async fn a_store_may_take_as_long_as_is_said_and_no_longer() {
    // It takes connections, and never answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", silent.local_addr().unwrap());
    let ended = doctor(&Place::sqlite(), &url, &["--timeout", "150ms"]);
    found_one(ended, "open", &["did not answer within 150ms (--timeout)", "firewall"]);
}
