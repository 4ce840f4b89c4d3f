//! TLS with a real server, and whose certificates are taken.

use ingle::store;
use testbed::postgres::Postgres as Server;

use super::{
    Scene,
    errors::{line, patient},
    offers_tls,
};
use crate::{
    certificates::{SelfSigned, cases},
    log::Log,
};

/// Gives a server a certificate.
async fn show(server: &Server, scene: &Scene, made: &SelfSigned) {
    let [certificate, key] = made.pem();
    server.put("server.crt", &certificate);
    server.put("server.key", &key);
    scene.sql("ALTER SYSTEM SET ssl = on").await;
    scene.sql("SELECT pg_reload_conf()").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_what_the_url_asks_for() {
    let made = SelfSigned::by_openssl(&["-subj", "/CN=localhost"]);
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    show(&server, &scene, &made).await;
    let roles = "CREATE ROLE with_tls LOGIN SUPERUSER; \
                 CREATE ROLE with_password LOGIN SUPERUSER PASSWORD 's3cret'";
    scene.shell.batch_execute(roles).await.unwrap();
    offers_tls(&scene).await;

    let trusted = made.certificate();
    let trusted = trusted.display();
    let port = server.address().port();
    let url = |user: &str, host: &str, mode: &str| {
        patient(&format!("postgres://{user}@{host}:{port}/postgres?table={}{mode}", scene.table))
    };
    let verified = format!("&sslmode=verify-full&sslrootcert={trusted}");
    for mode in ["", "&sslmode=prefer", "&sslmode=require", &verified] {
        store::open(&url("with_tls", "localhost", mode)).await.unwrap();
        let password = url("with_password:s3cret", "localhost", mode);
        // The password is bound to the server's certificate.
        store::open(&password).await.unwrap();
        store::open(&format!("{password}&channel_binding=require")).await.unwrap();
    }
    let cases = [
        (url("with_tls", "localhost", "&sslmode=disable"), "does not let user `with_tls` in"),
        (url("with_tls", "localhost", "&sslmode=verify-full"), "with `sslrootcert=FILE`"),
        (url("with_tls", "127.0.0.1", &verified), "not valid for name"),
    ];
    for (url, expected) in cases {
        let line = line(&url).await;
        assert!(line.contains(expected), "{url}: {line}");
    }
    store::open(&url("with_tls", "127.0.0.1", "&sslmode=require")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_pinned_is_taken_in_its_time_and_for_its_names() {
    for (made, host, why_not) in cases() {
        let server = Server::start(&[]);
        let scene = Scene::on(server.address()).await;
        show(&server, &scene, &made).await;
        offers_tls(&scene).await;
        let pinned = made.certificate();
        let (port, table, pinned) = (server.address().port(), &scene.table, pinned.display());
        let url = format!("postgres://postgres@{host}:{port}/postgres?table={table}");
        let verified = format!("{url}&sslmode=verify-full&sslrootcert={pinned}");
        match why_not {
            None => _ = store::open(&verified).await.unwrap_or_else(|error| panic!("{error}")),
            Some(expected) => {
                let line = line(&verified).await;
                assert!(line.contains(expected), "{host}: {line}");
            }
        }
        assert!(line(&format!("{url}&sslmode=verify-full")).await.contains("TLS with"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_certificate_of_the_same_name_is_not_taken_for_a_pinned_one() {
    let [one, other] = [(); 2].map(|()| SelfSigned::by_openssl(&["-subj", "/CN=localhost"]));
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    show(&server, &scene, &one).await;
    offers_tls(&scene).await;
    let (port, table) = (server.address().port(), &scene.table);
    let url = |file: std::path::PathBuf| {
        format!(
            "postgres://postgres@localhost:{port}/postgres?table={table}&sslmode=verify-full\
             &sslrootcert={}",
            file.display()
        )
    };
    let told = line(&url(other.certificate())).await;
    assert!(told.contains(&format!("`{}` has neither", other.certificate().display())), "{told}");
    store::open(&url(other.bundle(&[&one]))).await.unwrap();
}

#[tokio::test]
async fn a_server_whose_certificate_is_not_checked_is_warned_of_unless_it_is_this_machine() {
    for (host, mode, is_told) in [
        ("db.invalid", "require", true),
        ("db.invalid", "prefer", true),
        ("localhost,db.invalid", "require", true),
        ("db.invalid", "verify-full", false),
        ("db.invalid", "disable", false),
        ("127.0.0.1:1", "require", false),
        ("[::1]:1", "require", false),
        ("%2Fnowhere", "prefer", false),
    ] {
        let (log, _guard) = Log::catch();
        line(&format!("postgres://u:s3cret@{host}/d?sslmode={mode}&connect_timeout=1")).await;
        let told = log.text().contains("without a check of its certificate");
        assert_eq!(told, is_told, "{host}, {mode}: {}", log.text());
    }
}
