//! What is wrong with a URL, a server or a table: one line each, with what mends it, and no secret.

use ingle::store::{self, OpenErrorKind, Postgres, PostgresConfig, Store as _};
use testbed::postgres::Postgres as Server;

use super::{Scene, shell};

const SECRET: &str = "s3cret";

pub(super) async fn line(url: &str) -> String {
    let error = store::open(url).await.err().unwrap_or_else(|| panic!("{url} was opened"));
    let line = error.to_string();
    assert!(!line.contains('\n') && line.len() < 700, "{url}: {line}");
    assert!(!line.contains(SECRET) && !format!("{error:?}").contains(SECRET), "{url}: {line}");
    line
}

/// The same for a server that answers, but may be slow to let anybody in.
pub(super) fn patient(url: &str) -> String {
    let sign = if url.contains('?') { '&' } else { '?' };
    format!("{url}{sign}connect_timeout=120")
}

#[tokio::test]
async fn a_wrong_url_is_told_in_one_line() {
    let form = "takes postgres://USER[:PASSWORD]@HOST[:PORT]/DATABASE";
    let options = "takes, after `?`, `table`, `pool`";
    let cases = [
        ("postgres:", form),
        ("postgres:/u@h/d", form),
        ("postgres://", form),
        ("postgres:///d", form),
        ("postgre://u:s3cret@h/d", "did you mean `postgres:`?"),
        ("POSTGRES://u:s3cret@h/d", "did you mean `postgres:`?"),
        ("postgres://h/d", form),
        ("postgres://u@/d", form),
        ("postgres://@h/d", form),
        ("postgres://u:s3cret@x@h/d", form),
        ("postgres://u:s3cret@h/d#x", form),
        ("postgres://u:s3cret@h:port/d", "has a port that is not a number from 1 to 65535"),
        ("postgres://u:s3cret@h:99999/d", "has a port that is not a number from 1 to 65535"),
        ("postgres://u:s3cret@h:0/d", "has a port that is not a number from 1 to 65535"),
        ("postgres://u:s3cret@h/d?port=0", "takes `port` as a number from 1 to 65535"),
        ("postgres://u:s3cret@::1/d", "write an IPv6 address between `[` and `]`"),
        ("postgres://u:s3cret@/d", form),
        ("postgres://u:s3cret@:5432/d", form),
        ("postgres://u:s3cret%0A@h/d", "ends in a line end"),
        ("postgres://u@h/d?password=s3cret%0A", "ends in a line end"),
        ("postgres://u@h/d%0A", "a blank or a line end around it"),
        ("postgres://u@h/d?sslmode=verify-full&sslrootcert=/ca.pem%0A", "line end around its path"),
        ("postgres://u:s3cret@h", "names a database"),
        ("postgres://u:s3cret@h/", "names a database"),
        ("postgresql://u:s3cret@h/", "names a database"),
        ("postgres://u@h/d?table=", "takes `table` as TABLE or SCHEMA.TABLE"),
        ("postgres://u@h/d?table=a;b", "takes `table` as TABLE or SCHEMA.TABLE"),
        ("postgres://u@h/d?table=A", "takes `table` as TABLE or SCHEMA.TABLE"),
        ("postgres://u@h/d?table=1a", "takes `table` as TABLE or SCHEMA.TABLE"),
        ("postgres://u@h/d?table=a.b.c", "takes `table` as TABLE or SCHEMA.TABLE"),
        ("postgres://u@h/d?table=%22a%22", "takes `table` as TABLE or SCHEMA.TABLE"),
        ("postgres://u@h/d?pool=0", "as a number from 1 to 128"),
        ("postgres://u@h/d?pool=129", "as a number from 1 to 128"),
        ("postgres://u@h/d?pool=-1", "as a number from 1 to 128"),
        ("postgres://u@h/d?pool=many", "as a number from 1 to 128"),
        ("postgres://u@h/d?pooler=session", "takes `pooler=transaction`"),
        ("postgres://u@h/d?sslmode=on", "takes `sslmode` as `disable`, `prefer` (the default)"),
        ("postgres://u@h/d?sslmode=verify-ca", "takes `sslmode`"),
        ("postgres://u@h/d?sslmode=require&sslrootcert=x", "with `sslmode=verify-full` alone"),
        ("postgres://u@h/d?sslrootcert=x", "with `sslmode=verify-full` alone"),
        ("postgres://u@h/d?target_session_attrs=read-only", "takes no `target_session_attrs`"),
        ("postgres://u@h/d?tables=a", "did you mean `table`?"),
        ("postgres://u@h/d?ssl_mode=require", "did you mean `sslmode`?"),
        ("postgres://u@h/d?sslrootcerts=x", "did you mean `sslrootcert`?"),
        ("postgres://u@h/d?table=a&table=b", "has the option `table` twice"),
        ("postgres://u@h/d?sslmode=require&sslmode=disable", "has the option `sslmode` twice"),
        ("postgres://u@h/d?s3cret=a", options),
        ("postgres://u@h/d?connect_timeout=soon", "a value of `connect_timeout` that libpq"),
        ("postgres://u@h/d?keepalives", "a value of `keepalives` that libpq"),
        ("postgres://u:s3cret?x@h/d", "has a port that is not a number"),
        ("postgres://u@h/d?sslmode=verify-full&sslrootcert=/nowhere.pem", "`/nowhere.pem`"),
    ];
    for (url, expected) in cases {
        let line = line(url).await;
        assert!(line.contains(expected), "{url}: {line}");
    }
}

#[test]
fn a_config_shows_no_password() {
    let config = PostgresConfig::parse("postgres://u:s3cret@h,[::1]:5433/d?pool=3").unwrap();
    let shown = format!("{config:?}");
    assert!(!shown.contains(SECRET), "{shown}");
    assert!(shown.contains(r#"hosts: "h:5432,[::1]:5433""#), "{shown}");
}

#[tokio::test]
async fn what_is_wrong_with_the_server_is_told_in_one_line() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let address = scene.server;
    for role in [
        "CREATE ROLE with_password LOGIN PASSWORD 's3cret'",
        "CREATE ROLE with_tls LOGIN",
        "CREATE ROLE TABLE_reader LOGIN",
        "CREATE DATABASE TABLE_latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0",
        "GRANT SELECT ON TABLE TO TABLE_reader",
    ] {
        scene.sql(role).await;
    }
    scene.sql("CREATE VIEW TABLE_view AS SELECT 1 AS key").await;
    let table = &scene.table;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let cases = [
        (format!("postgres://u:s3cret@{closed}/d"), "PostgreSQL does not answer at `127.0.0.1:"),
        ("postgres://u:s3cret@no.such.host.invalid/d".to_owned(), "PostgreSQL does not answer at"),
        ("postgres://u:s3cret@%2Fnowhere/d".to_owned(), "PostgreSQL does not answer at `/nowhere`"),
        (
            format!("postgres://postgres@{address}/none"),
            "no database `none`; run `createdb -h 127.0.0.1 -p",
        ),
        (format!("postgres://nobody@{address}/postgres"), "does not let user `nobody` in"),
        (
            format!("postgres://with_password:{SECRET}x@{address}/postgres"),
            "does not let user `with_password` in",
        ),
        (
            format!("postgres://with_password@{address}/postgres"),
            "the server asks user `with_password` for a password, and there is none",
        ),
        (
            format!("postgres://with_tls@{address}/postgres?sslmode=disable"),
            "does not let user `with_tls` in",
        ),
        (format!("postgres://postgres@{address}/postgres?sslmode=require"), "offers no TLS"),
        (format!("postgres://postgres@{address}/postgres?sslmode=verify-full"), "offers no TLS"),
        (
            format!("postgres://postgres@{address}/postgres?table=none"),
            "has no table `none`; run `ingle migrate` with the same URL",
        ),
        (
            format!("postgres://postgres@{address}/postgres?table=none.none"),
            "has no table `none.none`",
        ),
        (
            format!("postgres://postgres@{address}/postgres?table={table}_view"),
            "is another program's, and was left as it is",
        ),
        (
            format!("postgres://{table}_reader@{address}/postgres?table={table}"),
            "lacks a right (it may not INSERT, UPDATE, DELETE); as the owner of the table run `GRANT",
        ),
        (
            format!("postgres://postgres@{address}/{table}_latin"),
            "has the encoding LATIN1, which cannot hold every text",
        ),
    ];
    for (url, expected) in cases {
        let line = line(&patient(&url)).await;
        assert!(line.contains(expected), "{url}: {line}");
    }
    let reader = format!("postgres://{table}_reader@{address}/postgres?table=mine");
    let error = store::migrate(&reader).await.unwrap_err().to_string();
    assert!(error.contains("may not make the table `mine`"), "{error}");
    let nowhere = format!("postgres://postgres@{address}/postgres?table=nowhere.mine");
    let error = store::migrate(&nowhere).await.unwrap_err().to_string();
    assert!(error.contains("there is no such schema"), "{error}");
}

#[tokio::test]
async fn each_right_that_is_missing_is_told_with_the_grant_that_gives_it() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let (address, table) = (scene.server, &scene.table);
    for sql in [
        "CREATE ROLE app LOGIN",
        "GRANT SELECT, INSERT, UPDATE, DELETE ON TABLE TO app",
        "CREATE DATABASE closed",
        "REVOKE CONNECT ON DATABASE closed FROM PUBLIC",
        "CREATE SCHEMA hidden",
    ] {
        scene.sql(sql).await;
    }
    let url = format!("postgres://app@{address}/postgres?table={table}");
    store::open(&url).await.unwrap();
    for right in ["SELECT", "INSERT", "UPDATE", "DELETE"] {
        scene.sql(&format!("REVOKE {right} ON TABLE FROM app")).await;
        let told = line(&url).await;
        assert!(
            told.contains(&format!("it may not {right});")) && told.contains("GRANT"),
            "{told}"
        );
        scene.sql(&format!("GRANT {right} ON TABLE TO app")).await;
    }
    let told = line(&format!("postgres://app@{address}/closed")).await;
    assert!(told.contains("run `GRANT CONNECT ON DATABASE closed TO app`"), "{told}");
    let hidden = format!("postgres://app@{address}/postgres?table=hidden.{table}");
    let owner = format!("postgres://postgres@{address}/postgres?table=hidden.{table}");
    store::migrate(&owner).await.unwrap();
    let told = line(&hidden).await;
    assert!(told.contains("`GRANT USAGE ON SCHEMA … TO app`"), "{told}");
    // What a person copies has the names as SQL and a shell take them.
    let told = line(&format!("postgres://postgres@{address}/no%20ne")).await;
    assert!(told.contains(" 'no ne'`, or name another one"), "{told}");
    scene.sql("CREATE ROLE \"my app\" LOGIN").await;
    let told = line(&format!("postgres://my%20app@{address}/postgres?table={table}")).await;
    assert!(told.contains(&format!("DELETE ON {table} TO \"my app\"`")), "{told}");
    scene.sql("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    let error = store::migrate(&format!("{url}_new")).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Denied);
    assert!(error.to_string().contains("`GRANT CREATE ON SCHEMA … TO app`"), "{error}");

    // A database, or a user, that only reads.
    scene.sql("ALTER ROLE app SET default_transaction_read_only = on").await;
    let told = line(&url).await;
    assert!(
        told.contains("only reads") && told.contains("default_transaction_read_only"),
        "{told}"
    );
}

#[tokio::test]
async fn a_url_may_have_any_sign_and_blanks_around_it() {
    let server = Server::start(&["listen_addresses=127.0.0.1,::1"]);
    server.put("pg_hba.conf", "local all all scram-sha-256\nhost all postgres all trust\nhost all all all scram-sha-256\n");
    let scene = Scene::on(server.address()).await;
    scene.sql("SELECT pg_reload_conf()").await;
    scene.sql("CREATE ROLE \"us:er@\" LOGIN SUPERUSER PASSWORD 'p@ss:w/rd?#&%,é'").await;
    let (port, table) = (server.address().port(), &scene.table);
    let password = "p%40ss%3Aw%2Frd%3F%23%26%25%2C%C3%A9";
    let folder = server.folder().display().to_string();
    for url in [
        format!("postgres://us%3Aer%40:{password}@127.0.0.1:{port}/postgres?table={table}"),
        format!("postgresql://us%3Aer%40:{password}@[::1]:{port}/postgres?table={table}"),
        format!(
            "postgres:///postgres?host=::1&port={port}&user=us:er@&password={password}&table={table}"
        ),
        format!(
            "postgres:///postgres?host={folder}&port={port}&user=us:er@&password={password}&table={table}"
        ),
    ] {
        let url = patient(&url);
        store::open(&url).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        store::open(&format!(" \t{url}\r\n")).await.unwrap();
        store::migrate(&format!("\n{url}\n")).await.unwrap();
        store::open_lazily(&format!("{url}\n")).await.unwrap();
    }
}

#[tokio::test]
async fn a_pgbouncer_that_the_url_does_not_tell_of_is_told_in_one_line() {
    let scene = Scene::new().await;
    let pooler = testbed::postgres::shared_pooler();
    let url = format!("postgres://postgres@{pooler}/postgres?table={}", scene.table);
    let told = line(&url).await;
    assert!(told.contains("add `pooler=transaction`"), "{told}");
    store::open(&format!("{url}&pooler=transaction")).await.unwrap();
    let none = format!("postgres://postgres@{pooler}/none?pooler=transaction");
    let told = line(&none).await;
    assert!(told.contains("no database `none`"), "{told}");
}

#[tokio::test]
async fn more_connections_than_the_server_has_are_told_in_one_line() {
    let server = Server::start(&["max_connections=5", "superuser_reserved_connections=0"]);
    let address = server.address();
    let mut shells = Vec::new();
    for _ in 0..5 {
        shells.push(shell(address).await);
    }
    let line = line(&format!("postgres://postgres@{address}/postgres")).await;
    assert!(line.contains("has no connection left"), "{line}");
}

#[tokio::test]
async fn what_a_commit_survives_is_said_as_the_server_is_set() {
    let server = Server::start(&["fsync=off"]);
    let scene = Scene::on(server.address()).await;
    assert!(scene.store().await.info().durability.contains("`fsync = off`"));
    let scene = Scene::new().await;
    assert_eq!(scene.store().await.info().durability, "a crash and a power loss");
    let asynchronous = scene.config("&options=-c%20synchronous_commit=off");
    let store = Postgres::open(asynchronous).await.unwrap();
    assert!(store.info().durability.contains("`synchronous_commit = off`"));
    let server = Server::start(&["full_page_writes=off"]);
    let scene = Scene::on(server.address()).await;
    assert!(scene.store().await.info().durability.contains("`full_page_writes = off`"));
}

#[tokio::test]
async fn a_socket_in_a_folder_is_a_host_as_well() {
    let server = Server::start(&[]);
    let scene = Scene::on(server.address()).await;
    let folder = server.folder().display().to_string().replace('/', "%2F");
    let port = server.address().port();
    let url = format!("postgres://postgres@{folder}:{port}/postgres?table={}", scene.table);
    store::open(&url).await.unwrap();
}
