//! How a store is opened, and what is said where it cannot be.

use ingle::store::{Applied, ErrorKind, OpenErrorKind, open};
use testbed::redis::{SYNCED, ask, start, start_with_tls, start_with_tls_for_known_clients};

use super::*;

/// A server with a password, users, and a replica's role to take.
const PASSWORD: [&str; 2] = ["--requirepass", "hunter2"];

async fn refused(url: &str) -> String {
    let error = open(url).await.expect_err(url);
    assert_eq!(error.store(), "redis", "{url}");
    let error = error.to_string();
    assert!(!error.contains('\n') && !error.contains("hunter2"), "{url}: {error}");
    error
}

/// Checks that a store works: what it says comes back.
async fn works(url: &str) {
    let store = open(url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
    keeps_what_it_is_given(&*store).await;
}

async fn keeps_what_it_is_given(store: &dyn Store) {
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
async fn a_user_with_few_rights_a_database_and_a_prefix_will_do() {
    let server = start(&[]);
    let at = server.address();
    let rights = "~shop:* +@hash +@sortedset +del +pexpire +scan +eval +evalsha +select \
                  +asking +cluster|slots +config|get";
    ask(at, &format!("ACL SETUSER app on >p@ss:w/rd {rights}")).unwrap();
    works(&format!("redis://app:p%40ss%3Aw%2Frd@{at}/3?prefix=shop")).await;
    works(&format!("redis://app:p%40ss%3Aw%2Frd@{at}?prefix=shop:sub")).await;
    let error = refused(&format!("redis://app:p%40ss%3Aw%2Frd@{at}")).await;
    assert!(error.contains("may not do this") && error.contains("~ingle:*"), "{error}");
    assert!(ask(at, "INFO keyspace").unwrap().contains("db3:keys="), "in its database");
    for right in
        ["hset", "hget", "hdel", "hmget", "pexpire", "zadd", "zrem", "scan", "evalsha", "del"]
    {
        ask(at, &format!("ACL SETUSER app -{right}")).unwrap();
        let error = refused(&format!("redis://app:p%40ss%3Aw%2Frd@{at}?prefix=shop")).await;
        assert!(error.contains("ACL SETUSER"), "{right}: {error}");
        ask(at, &format!("ACL SETUSER app +{right}")).unwrap();
    }
    // What only makes the words about durability better is not needed.
    ask(at, "ACL SETUSER app -config|get").unwrap();
    let store = open(&format!("redis://app:p%40ss%3Aw%2Frd@{at}?prefix=shop")).await.unwrap();
    let durability = store.info().durability;
    assert!(durability.contains("may not be asked"), "{durability}");
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
        (format!("rediss://127.0.0.1:{tls}"), "needs `?cacert=FILE`"),
        (format!("rediss://127.0.0.1:{tls}?cacert=/nowhere.pem"), "is of no use for TLS"),
        (format!("rediss://127.0.0.1:{tls}?cacert={empty}"), "is of no use for TLS"),
        (format!("rediss://127.0.0.1:{tls}?cacert={cacert}"), "no TLS connection"),
        (format!("redis:{plain}"), "must look like redis://"),
        (format!("redis://hunter2@{plain}"), "without a password"),
        (format!("redis://{plain}/name"), "by its number"),
        (format!("redis://{plain}?ids=plain"), "has these options"),
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
    assert!(error.contains("is not a Redis server"), "{error}");
}

#[tokio::test]
async fn tls_is_spoken_and_the_certificate_looked_at() {
    let (server, cacert) = start_with_tls();
    let port = server.address().port();
    let cacert = cacert.display();
    works(&format!("rediss://localhost:{port}?cacert={cacert}")).await;
    works(&format!("valkeys://localhost:{port}?cacert={cacert}")).await;
    // A name that is not in the certificate, and nobody who would vouch for it.
    works(&format!("rediss://127.0.0.1:{port}?verify=none")).await;
}

#[tokio::test]
async fn a_server_that_knows_its_clients_by_their_certificates_is_shown_one() {
    let (server, cert) = start_with_tls_for_known_clients();
    let key = cert.with_file_name("key.pem");
    let (port, cert, key) = (server.address().port(), cert.display(), key.display());
    let url = format!("rediss://localhost:{port}?cacert={cert}");
    assert!(!refused(&url).await.contains("cacert names"));
    works(&format!("{url}&cert={cert}&key={key}")).await;
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
