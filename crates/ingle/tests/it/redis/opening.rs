//! How a store is opened, and what is said where it cannot be.

use ingle::store::{Applied, ErrorKind, OpenErrorKind, open};
use testbed::redis::{SYNCED, ask, start, start_with_tls};

use super::*;

/// A server with a password, users, and a replica's role to take.
const PASSWORD: [&str; 2] = ["--requirepass", "hunter2"];

pub(super) async fn refused(url: &str) -> String {
    let error = open(url).await.expect_err(url);
    assert!(matches!(error.store(), "redis" | "session"), "{url}");
    let error = error.to_string();
    assert!(!error.contains('\n') && !error.contains("hunter2"), "{url}: {error}");
    error
}

/// Checks that a store works: what it says comes back.
pub(super) async fn works(url: &str) {
    let store = open(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    keeps_what_it_is_given(&*store).await;
}

pub(super) async fn keeps_what_it_is_given(store: &dyn Store) {
    store.ping().await.unwrap();
    let record = record(random_key(), Some("mary"));
    store.commit(Write::Create { record: &record }, now()).await.unwrap();
    let found = store.load(&record.header.key, now()).await.unwrap();
    assert_eq!(found.live().map(|found| found.record), Some(record));
    let lists = store.as_list().unwrap();
    assert!(!lists.list_by_user("mary", None, 10, now()).await.unwrap().records.is_empty());
    assert!(!lists.list(None, 10, now()).await.unwrap().records.is_empty());
}

#[tokio::test]
async fn what_is_wrong_is_told_in_one_line() {
    let (open_server, locked) = (start(&[]), start(&PASSWORD));
    let (plain, with) = (open_server.address(), locked.address());
    let (tls_server, cacert) = start_with_tls();
    let (tls, cacert) = (tls_server.address().port(), cacert.display());
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = empty.path().display();
    let mut gone = start(&[]);
    gone.kill();
    let gone = gone.address();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    for (url, expected) in [
        (format!("redis://{gone}"), "can be reached"),
        ("redis://nowhere.invalid:1".to_owned(), "can be reached"),
        (format!("rediss://{gone}"), "can be reached"),
        (format!("redis://{silent}"), "does not answer in time"),
        (format!("redis://{with}"), "wants a password, and none is given"),
        (format!("redis://:wrong@{with}"), "does not accept this user and password"),
        (format!("redis://default:wrong@{with}"), "does not accept this user and password"),
        (format!("redis://nobody:hunter2@{with}"), "does not accept this user and password"),
        (format!("redis://:hunter2@{plain}"), "does not accept this user and password"),
        (format!("redis://{plain}/16"), "has no database 16"),
        (format!("redis://{plain}/4000000000"), "has no database 4000000000"),
        (format!("redis://{plain},{with}"), "is not part of a cluster"),
        (format!("rediss://{plain}"), "no TLS connection"),
        (format!("redis://127.0.0.1:{tls}"), "`rediss:` for `redis:`"),
        (format!("rediss://127.0.0.1:{tls}"), "with `?cacert=FILE`"),
        (format!("rediss://127.0.0.1:{tls}?cacert=/nowhere.pem"), "is of no use for TLS"),
        (format!("rediss://127.0.0.1:{tls}?cacert={empty}"), "is of no use for TLS"),
        (format!("rediss://127.0.0.1:{tls}?cacert={cacert}"), "no TLS connection"),
        (format!("redis:{plain}"), "must look like redis://"),
        (format!("redis://hunter2@{plain}"), "without a password"),
        (format!("redis://{plain}/name"), "by its number"),
        (format!("redis://{plain}?ids=plain"), "has these options"),
        (format!("redis://{plain}?prefx=a"), "did you mean `prefix`?"),
        (format!("redis://{plain}?ca_cert=a"), "did you mean `cacert`?"),
        (format!("redis://{plain}?prefix=a&prefix=a"), "has the option `prefix` twice"),
        (format!("rediss://{plain}/0#insecure"), "`?verify=none`"),
        (format!("rediss://{plain}?verify=full"), "which is `none`"),
        (format!("redis://{plain}?verify=none"), "has no TLS"),
        (format!("redis://:hunter2%0A@{plain}"), "ends in a line end"),
        (format!("redi://:hunter2@{plain}"), "did you mean `redis:`?"),
        (format!("REDISS://:hunter2@{plain}"), "did you mean `rediss:`?"),
        ("redis://127.0.0.1:65536".to_owned(), "is not a number from 1 to 65535"),
        ("redis://127.0.0.1:0".to_owned(), "is not a number from 1 to 65535"),
        ("redis://:hunter2@:6379".to_owned(), "names no host"),
        ("redis:///0".to_owned(), "names no host"),
        ("redis://::1:6379".to_owned(), "between `[` and `]`"),
        ("unix:///nowhere/redis.sock".to_owned(), "compare the path with `unixsocket`"),
        ("unix:///redis.sock?db=one".to_owned(), "by its number"),
    ] {
        let error = refused(&url).await;
        assert!(error.contains(expected), "{url}: {error}");
    }
}

#[tokio::test]
async fn what_is_not_redis_is_told_so() {
    let http = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = http.local_addr().unwrap();
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        while let Ok((mut stream, _)) = http.accept() {
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let error = refused(&format!("redis://{address}")).await;
    assert!(error.contains("does not answer as a Redis server"), "{error}");
}

#[tokio::test]
async fn a_server_is_found_by_its_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let path = socket.to_str().unwrap();
    let server = start(&["--unixsocket", path, "--requirepass", "hunter2"]);
    works(&format!("redis+unix://:hunter2@{path}")).await;
    works(&format!("valkey+unix://{path}?pass=hunter2&db=3")).await;
    works(&format!("unix:{path}?pass=hunter2")).await;
    assert!(refused(&format!("unix://{path}")).await.contains("wants a password"));
    let keys = testbed::redis::ask(server.address(), "PING").unwrap_err().to_string();
    assert!(keys.contains("NOAUTH"), "the server is the one that was started: {keys}");
}

#[tokio::test]
async fn a_url_may_have_any_sign_and_blanks_around_it() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("a b%é.sock");
    let settings = ["--unixsocket", socket.to_str().unwrap(), "--bind", "127.0.0.1", "::1"];
    let server = start(&settings);
    let at = server.address();
    let rights = "~* +@all";
    ask(at, &format!("ACL SETUSER us:er@ on >p@ss:w/rd?#&%,é {rights}")).unwrap();
    let login = "us%3Aer%40:p%40ss%3Aw%2Frd%3F%23%26%25%2C%C3%A9";
    let path = socket.to_str().unwrap().replace('%', "%25").replace(' ', "%20");
    let port = at.port();
    for url in [
        format!("redis://{login}@{at}/1"),
        format!("valkey://{login}@localhost:{port}"),
        format!("redis://{login}@[::1]:{port}"),
        format!("redis+unix://{login}@{path}?db=2"),
        format!("valkey+unix://{path}?user=us%3Aer%40&pass={}", &login[11..]),
        format!("unix:{path}"),
    ] {
        works(&url).await;
        works(&format!(" \t{url}\r\n")).await;
    }
}

#[tokio::test]
async fn what_ends_in_a_line_end_is_told_also_where_there_is_no_url() {
    let [mut host, mut password, mut cacert] = [(); 3].map(|()| RedisConfig::new("localhost", 1));
    host.servers[0].0.push('\n');
    password.password = Some("hunter2\n".to_owned());
    cacert.tls = true;
    cacert.cacert = Some("/ca.pem\n".into());
    let socket = RedisConfig::unix("/run/redis.sock\n");
    for config in [host, password, cacert, socket] {
        let error = Redis::open(config).await.unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Config);
        let line = error.to_string();
        assert!(line.contains("line end"), "{line}");
        assert!(!line.contains('\n') && !line.contains("hunter2"), "{line}");
    }
}

#[tokio::test]
async fn a_cluster_is_not_found_by_a_socket() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let path = socket.to_str().unwrap();
    let _server = start(&["--unixsocket", path, "--cluster-enabled", "yes"]);
    assert!(refused(&format!("unix://{path}")).await.contains("by host and port"));
}

#[tokio::test]
async fn the_server_of_an_apps_client_is_the_stores() {
    let server = start(&PASSWORD);
    let url = format!("redis://:hunter2@{}/3", server.address());
    let client = ::redis::Client::open(url).unwrap();
    let store = Redis::from_client(client.clone()).await.unwrap();
    keeps_what_it_is_given(&store).await;
    let mut connection = client.get_connection().unwrap();
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("ingle:{*").query(&mut connection).unwrap();
    assert_eq!(keys.len(), 1, "it is in the client's database: {keys:?}");
    let mut config = RedisConfig::from_client(&client).unwrap();
    config.prefix = "shop".to_owned();
    keeps_what_it_is_given(&Redis::open(config).await.unwrap()).await;
    let keys: Vec<String> = ::redis::cmd("KEYS").arg("shop:{*").query(&mut connection).unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
}

#[tokio::test]
async fn a_replica_is_refused_and_a_master_that_becomes_one_takes_no_commit() {
    let (master, other) = (start(&[]), start(&[]));
    let url = format!("redis://{}", master.address());
    let scene = Scene::on(master.address());
    let store = scene.store().await;
    let base = create(&store, &record(random_key(), None)).await;
    let place = other.address();
    ask(master.address(), &format!("REPLICAOF {} {}", place.ip(), place.port())).unwrap();
    let error = refused(&url).await;
    assert!(error.contains("is a replica"), "{error}");
    let error = store.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "a replica is not ready");
    for _ in 0..3 {
        let Err(CommitError::Failed(error)) = replace(&store, &base, |_| {}).await else {
            panic!("a replica took a commit")
        };
        assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::No));
    }
    ask(master.address(), "REPLICAOF NO ONE").unwrap();
    finds_its_server(&store).await;
    create(&store, &record(random_key(), None)).await;
}

#[tokio::test]
async fn what_a_commit_survives_is_as_the_server_is_set() {
    let server = start(&SYNCED);
    let survives = async || {
        let store = open(&format!("redis://{}", server.address())).await.unwrap();
        store.info().durability.into_owned()
    };
    assert!(survives().await.starts_with("a crash and a power loss"));
    for (setting, expected) in [
        ("appendfsync everysec", "but for the last two seconds"),
        ("appendfsync no", "had not written yet"),
        ("appendonly no", "nothing since the server's last snapshot"),
    ] {
        ask(server.address(), &format!("CONFIG SET {setting}")).unwrap();
        assert!(survives().await.contains(expected), "{setting}");
    }
}

#[tokio::test]
async fn a_store_says_which_server_it_is_on_and_how_it_commits() {
    let server = start(&[]);
    let said = ask(server.address(), "INFO server").unwrap();
    let version = |name| said.lines().find_map(|line| line.strip_prefix(name));
    let (name, version) = match version("valkey_version:") {
        Some(version) => ("Valkey", version),
        None => ("Redis", version("redis_version:").unwrap()),
    };
    let knows = ask(server.address(), "SET none 1 IFEQ 2").is_ok();
    let way = if knows { "`SET … IFEQ`" } else { "a script" };
    let store = Scene::on(server.address()).store().await;
    let expected = format!("{name} {version}, each commit is {way}");
    assert_eq!(store.info().server.as_deref(), Some(expected.as_str()));
}

#[tokio::test]
async fn a_program_can_decide_by_the_kind_of_an_error() {
    let server = start(&PASSWORD);
    let at = server.address();
    for (url, expected) in [
        ("redis://127.0.0.1:1".to_owned(), OpenErrorKind::Unreachable),
        (format!("redis://{at}"), OpenErrorKind::Denied),
        (format!("redis://:hunter2@{at}/99"), OpenErrorKind::Config),
        (format!("rediss://{at}"), OpenErrorKind::Tls),
        (format!("rediss://{at}?cacert=/nowhere"), OpenErrorKind::Tls),
        (format!("redis://{at}?prefix="), OpenErrorKind::Config),
    ] {
        assert_eq!(open(&url).await.unwrap_err().kind(), expected, "{url}");
    }
    let mut config = RedisConfig::new("h", 1);
    config.socket = Some("/redis.sock".into());
    assert_eq!(Redis::open(config).await.unwrap_err().kind(), OpenErrorKind::Config);
}
