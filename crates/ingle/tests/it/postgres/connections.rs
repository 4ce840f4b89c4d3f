//! Connections as the app wants them: tokens that expire, its own certificate, streams and pool.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use ingle::{
    clock::{Clock as _, SystemClock},
    store::{
        Applied, BoxError, ErrorKind, OpenErrorKind, Postgres, PostgresConfig, PostgresTls,
        Store as _,
    },
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use testbed::postgres::Postgres as Server;
use tokio::{
    io::{copy, copy_bidirectional, duplex, split},
    net::TcpStream,
    time::{sleep, timeout},
};

use super::{Scene, create, key, offers_tls, record, replace, views};
use crate::common::LONG;

#[cfg(feature = "deadpool-postgres")]
mod lent;

/// Ends the store's connections, and waits until none is left.
async fn end_connections(scene: &Scene) {
    let ours = "FROM pg_stat_activity WHERE application_name = 'ingle'";
    scene.sql(&format!("SELECT pg_terminate_backend(pid) {ours}")).await;
    while scene.text(&format!("SELECT count(*) {ours}")).await != "0" {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_token_can_change_between_connections() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    scene.sql("CREATE ROLE with_password LOGIN SUPERUSER PASSWORD 'one'").await;
    let token = Arc::new(Mutex::new("one"));
    let asked = Arc::new(AtomicUsize::new(0));
    let mut config = scene.config("&pool=1");
    config.user = "with_password".to_owned();
    let (current, count) = (Arc::clone(&token), Arc::clone(&asked));
    let config = config.with_passwords(move || {
        count.fetch_add(1, Ordering::Relaxed);
        let token = *current.lock().unwrap();
        async move { if token.is_empty() { Err("s3cret".into()) } else { Ok(token.to_owned()) } }
    });
    let store = Postgres::open(config.clone()).await.unwrap();
    let base = create(&store, &record(key(1), SystemClock.now(), views(1))).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1, "once for each connection");

    scene.sql("ALTER ROLE with_password PASSWORD 'two'").await;
    let base = replace(&store, &base, views(2)).await;
    *token.lock().unwrap() = "two";
    end_connections(&scene).await;
    recovers(&store).await;
    replace(&store, &base, views(3)).await;
    let after = asked.load(Ordering::Relaxed);
    assert!(after >= 2, "the next connection asks anew: {after}");

    *token.lock().unwrap() = "three";
    let error = Postgres::open(config.clone()).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Denied);
    *token.lock().unwrap() = "two\n";
    let error = Postgres::open(config.clone()).await.unwrap_err();
    assert!(error.to_string().contains("ends in a line end"), "{error}");
    *token.lock().unwrap() = "";
    let error = Postgres::open(config).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Unreachable);
    assert!(error.to_string().contains("the app gave no password"), "{error}");
}

/// Until the connections that the server has ended are seen to be.
async fn recovers(store: &Postgres) {
    while store.ping().await.is_err() {
        tokio::task::yield_now().await;
    }
}

/// An authority, and what it has signed, in a folder.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        fs::write(folder.path().join("authority"), certificate.pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// The files of a certificate and its key.
    fn sign(&self, name: &str) -> [PathBuf; 2] {
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let [certificate_file, key_file] =
            ["certificate", "key"].map(|kind| self.file(&format!("{name}.{kind}")));
        fs::write(&certificate_file, certificate.pem()).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        [certificate_file, key_file]
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn read(file: impl AsRef<Path>) -> String {
    fs::read_to_string(file).unwrap()
}

/// A server that takes TLS alone, and of `with_certificate` the certificate of that name.
async fn server_with_tls(authority: &Authority) -> (Server, Scene) {
    let server = Server::start(&[]);
    let [certificate, key] = authority.sign("localhost").map(read);
    server.put("server.crt", &certificate);
    server.put("server.key", &key);
    server.put("authority.crt", &read(authority.file("authority")));
    let logins = "hostssl all with_certificate 127.0.0.1/32 cert\n\
                  host all all 127.0.0.1/32 trust\n";
    server.put("pg_hba.conf", logins);
    let scene = Scene::on(server.address()).await;
    scene.sql("CREATE ROLE with_certificate LOGIN SUPERUSER").await;
    scene.sql("ALTER SYSTEM SET ssl_ca_file = 'authority.crt'").await;
    scene.sql("ALTER SYSTEM SET ssl = on").await;
    scene.sql("SELECT pg_reload_conf()").await;
    offers_tls(&scene).await;
    (server, scene)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_lets_its_user_in() {
    let authority = Authority::new();
    let (server, scene) = server_with_tls(&authority).await;
    let [certificate, key] = authority.sign("with_certificate");
    let url = |options: &str| {
        let (port, table) = (server.address().port(), &scene.table);
        let roots = authority.file("authority");
        format!(
            "postgres://with_certificate@localhost:{port}/postgres?table={table}\
             &sslmode=verify-full&sslrootcert={}{options}",
            roots.display()
        )
    };
    let own = format!("&sslcert={}&sslkey={}", certificate.display(), key.display());
    ingle::store::open(&url(&own)).await.unwrap();
    let none = ingle::store::open(&url("")).await.unwrap_err();
    assert_eq!(none.kind(), OpenErrorKind::Denied, "{none}");
    let [other, other_key] = authority.sign("somebody");
    let of_another = format!("&sslcert={}&sslkey={}", other.display(), other_key.display());
    let error = ingle::store::open(&url(&of_another)).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Denied, "{error}");
    let half = ingle::store::open(&url(&format!("&sslcert={}", certificate.display()))).await;
    assert!(half.unwrap_err().to_string().contains("takes `sslcert` and `sslkey` together"));
    let mixed = format!("&sslcert={}&sslkey={}", certificate.display(), other_key.display());
    let error = ingle::store::open(&url(&mixed)).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Tls, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_can_be_the_apps_own() {
    let authority = Authority::new();
    let (server, scene) = server_with_tls(&authority).await;
    let address = server.address();
    let made = Arc::new(AtomicUsize::new(0));
    let tunneled = |config: PostgresConfig| {
        let made = Arc::clone(&made);
        config.with_streams(move || {
            made.fetch_add(1, Ordering::Relaxed);
            async move {
                let mut server = TcpStream::connect(address).await?;
                let (near, mut far) = duplex(4096);
                tokio::spawn(async move { copy_bidirectional(&mut far, &mut server).await });
                Ok(near)
            }
        })
    };
    // Where no host answers: what counts is the stream.
    let mut config = PostgresConfig::new("localhost", 1, "postgres", "postgres");
    config.table = scene.table.clone();
    config.tls = PostgresTls::Disable;
    let store = Postgres::open(tunneled(config.clone())).await.unwrap();
    assert_eq!(made.load(Ordering::Relaxed), 1);
    let base = create(&store, &record(key(1), SystemClock.now(), views(1))).await;
    replace(&store, &base, views(2)).await;
    store.ping().await.unwrap();

    config.tls = PostgresTls::VerifyFull { roots: Some(authority.file("authority")) };
    Postgres::open(tunneled(config.clone())).await.unwrap();
    config.hosts = vec![("elsewhere.example".to_owned(), 1)];
    let error = Postgres::open(tunneled(config)).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Tls, "{error}");
}

#[tokio::test]
async fn an_app_without_a_stream_gets_one_line() {
    let config = PostgresConfig::new("localhost", 1, "postgres", "postgres");
    let error = Postgres::open(config.with_streams(|| async {
        Err::<TcpStream, BoxError>(io::Error::other("the tunnel\nis down").into())
    }));
    let error = error.await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Unreachable);
    assert!(error.to_string().contains("the app gave no stream (the tunnel is down)"), "{error}");
}

#[tokio::test]
async fn a_stream_that_is_never_made_is_not_waited_for_without_end() {
    let mut config = PostgresConfig::new("localhost", 1, "postgres", "postgres");
    config.connect_timeout = std::time::Duration::from_millis(20);
    let never = config.with_streams(std::future::pending::<Result<TcpStream, BoxError>>);
    let error = Postgres::open(never).await.unwrap_err();
    assert!(error.to_string().contains("no connection in time"), "{error}");
}

#[tokio::test]
async fn a_configuration_by_hand_is_checked_like_a_url() {
    let valid = || PostgresConfig::new("localhost", 1, "u", "d");
    let mut cases = [valid(), valid(), valid(), valid(), valid()];
    cases[0].hosts.clear();
    cases[1].database.clear();
    cases[2].table = "a\"b".to_owned();
    cases[3].pool = 0;
    cases[4].certificate = Some("/nowhere.pem".into());
    for config in cases {
        let shown = format!("{config:?}");
        let error = Postgres::open(config).await.unwrap_err();
        assert_eq!(error.kind(), OpenErrorKind::Config, "{shown}: {error}");
    }
}

#[tokio::test]
async fn a_ping_says_that_the_table_is_gone() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    store.ping().await.unwrap();
    scene.sql("alter table TABLE RENAME TO TABLE_moved").await;
    let error = store.ping().await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Refused, Applied::No));
    scene.sql("alter table TABLE_moved RENAME TO TABLE").await;
    store.ping().await.unwrap();
}

/// With these a statement waits for a lock as long as it takes.
const NO_LIMITS: &str = "&pool=1&options=-c%20lock_timeout=0%20-c%20statement_timeout=0";

/// The server may go on with the statement for as long as it likes.
#[tokio::test]
async fn a_connection_on_which_no_answer_comes_is_closed_before_there_is_one() {
    let scene = Scene::new().await;
    let address = scene.server;
    let [made, closed] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let counts = [&made, &closed].map(Arc::clone);
    let mut config = scene.config(NO_LIMITS);
    config.tls = PostgresTls::Disable;
    let config = config.with_streams(move || {
        let [made, closed] = counts.clone();
        async move {
            let (mut answers, mut questions) = TcpStream::connect(address).await?.into_split();
            made.fetch_add(1, Ordering::Relaxed);
            let (near, far) = duplex(4096);
            let (mut asked, mut answered) = split(far);
            tokio::spawn(async move { copy(&mut answers, &mut answered).await });
            tokio::spawn(async move {
                let _ = copy(&mut asked, &mut questions).await;
                closed.fetch_add(1, Ordering::Relaxed);
            });
            Ok(near)
        }
    });
    let store = Postgres::open(config).await.unwrap();
    let now = SystemClock.now();
    let base = create(&store, &record(key(1), now, views(1))).await;
    scene.sql("BEGIN").await;
    scene.sql("LOCK TABLE IN ACCESS EXCLUSIVE MODE").await;
    let error = store.load(&key(1), now).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::No));
    let all_are_closed = async {
        while closed.load(Ordering::Relaxed) < made.load(Ordering::Relaxed) {
            sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    timeout(LONG, all_are_closed).await.expect("it is closed while the server is still at it");
    scene.sql("ROLLBACK").await;
    let found = store.load(&key(1), now).await.unwrap();
    assert_eq!(found.live().as_ref(), Some(&base), "on another one");
}

/// The look at the server and its table is no statement on a session, and its connection is no other.
#[tokio::test]
async fn nobody_waits_behind_a_check_that_had_no_answer() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let store = Postgres::open(scene.config(NO_LIMITS)).await.unwrap();
    let now = SystemClock.now();
    let base = create(&store, &record(key(1), now, views(1))).await;
    // Where the comment of the table is.
    scene.sql("BEGIN").await;
    scene.sql("LOCK pg_catalog.pg_description IN ACCESS EXCLUSIVE MODE").await;
    let error = store.check(now).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::No));
    let found = store.load(&key(1), now).await.unwrap();
    assert_eq!(found.live().as_ref(), Some(&base));
    scene.sql("ROLLBACK").await;
    store.check(now).await.unwrap();
}

#[tokio::test]
async fn beyond_the_calls_that_may_wait_for_a_connection_the_next_one_fails_at_once() {
    let scene = Scene::new().await;
    let store = Postgres::open(scene.config("&pool=1&options=-c%20lock_timeout=0")).await.unwrap();
    let now = SystemClock.now();
    let base = create(&store, &record(key(1), now, views(1))).await;
    // Who has the table locked keeps the only connection at work.
    scene.sql("BEGIN").await;
    scene.sql("LOCK TABLE IN ACCESS EXCLUSIVE MODE").await;
    let mut waiting = Vec::new();
    let refused = loop {
        let mut load = Box::pin(store.load(&base.record.header.key, now));
        match std::future::poll_fn(|context| std::task::Poll::Ready(load.as_mut().poll(context)))
            .await
        {
            std::task::Poll::Ready(answer) => break answer.unwrap_err(),
            std::task::Poll::Pending => waiting.push(load),
        }
    };
    assert!((2048..=2050).contains(&waiting.len()), "{}", waiting.len());
    assert_eq!((refused.kind(), refused.applied()), (ErrorKind::Unavailable, Applied::No));
    drop(waiting);
    scene.sql("ROLLBACK").await;
    let found = store.load(&base.record.header.key, now).await.unwrap();
    assert_eq!(found.live().as_ref(), Some(&base), "all is well again");
}
