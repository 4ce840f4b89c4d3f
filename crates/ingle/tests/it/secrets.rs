//! No id ever reaches a log, a store or a message.

use ingle::{
    Error, Session,
    clock::{Clock as _, SystemClock},
    store::List as _,
};

use crate::{
    common::{Visitor, app, faulty, layer},
    log::Log,
};

#[tokio::test]
async fn neither_logs_nor_records_nor_debug_output_hold_an_id() {
    let (log, _guard) = Log::catch();
    let (memory, store) = faulty();
    let app = app(&layer(store))
        .on("/", async |session: Session| {
            session.insert("a", 1)?;
            tracing::info!(?session, handle = ?session.handle(), "in the handler");
            Ok::<_, Error>(())
        })
        .on("/renew", async |session: Session| session.renew().await)
        .on("/broken", async |session: Session| session.get::<String>("a").await.map(|_| ()))
        .on("/logout", async |session: Session| session.logout().await);
    let mut visitor = Visitor::default();
    let mut cookies = Vec::new();
    let mut answers = String::new();
    for path in ["/", "/", "/renew", "/broken", "/"] {
        let mut answer = visitor.get(&app, path).await;
        answer.headers.remove("set-cookie");
        answers.push_str(&format!("{answer:?}"));
        cookies.push(visitor.cookie.clone());
        let forged = format!("{0}; {0}x", visitor.cookie);
        app.get("/", &forged).await;
        let mut other = Visitor::default();
        other.get(&app, "/").await;
        let both = format!("{}; {}", visitor.cookie, other.cookie);
        app.get("/", &both).await;
        cookies.push(other.cookie);
    }
    let unknown = format!("__Host-id={}", "A".repeat(43));
    app.get("/broken", &unknown).await;
    cookies.push(unknown);
    let records = memory.list(None, 100, SystemClock.now()).await.unwrap();
    let records = format!("{:?} {:?}", records.records, memory);
    visitor.get(&app, "/logout").await.ok();
    let log = log.text();
    for told in [
        "in the handler",
        "a session began",
        "a session was renewed",
        "a session was ended",
        "there is no session under an id that was presented",
        "a request has the ids of two live sessions",
    ] {
        assert!(log.contains(told), "{told}: {log}");
    }
    for cookie in cookies {
        let id = cookie.strip_prefix("__Host-id=").unwrap();
        assert_eq!(id.len(), 43);
        assert!(!log.contains(id), "{log}");
        assert!(!records.contains(id));
        assert!(!answers.contains(id), "{answers}");
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn no_id_is_in_the_files_of_the_sqlite_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = ingle::store::Sqlite::open(folder.path()).await.unwrap();
    let app = app(&layer(store))
        .on("/", async |session: Session| session.insert("a", "a value that is there"))
        .on("/renew", async |session: Session| session.renew().await);
    let mut visitor = Visitor::default();
    let mut ids = Vec::new();
    for path in ["/", "/renew"] {
        visitor.get(&app, path).await.ok();
        ids.push(visitor.cookie.strip_prefix("__Host-id=").unwrap().to_owned());
    }
    let mut stored = Vec::new();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        stored.extend(std::fs::read(file.unwrap().path()).unwrap());
    }
    let holds = |bytes: &[u8]| stored.windows(bytes.len()).any(|window| window == bytes);
    assert!(holds(b"a value that is there"));
    for id in ids {
        let bytes = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, &id).unwrap();
        assert!(!holds(id.as_bytes()) && !holds(&bytes));
    }
}

#[tokio::test]
async fn no_name_of_a_field_writes_a_line_of_its_own() {
    let name = "a\r\n2026-01-01 INFO somebody logged in \u{1b}[31m";
    let (_, store) = faulty();
    let app = app(&layer(store)).on("/", async move |session: Session| {
        let mut messages = Vec::new();
        messages.push(session.insert(name, f64::NAN).unwrap_err().to_string());
        session.insert(name, "text")?;
        messages.push(session.get::<u64>(name).await.unwrap_err().to_string());
        let wrong = session.field(name).update(|n: &mut u64| *n += 1).await;
        messages.push(wrong.unwrap_err().to_string());
        messages.push(Error::LostUpdate { field: name.to_owned() }.to_string());
        Ok::<_, Error>(serde_json::to_string(&messages).unwrap())
    });
    let messages = app.get("/", "").await.ok().body;
    let messages: Vec<String> = serde_json::from_str(&messages).unwrap();
    assert_eq!(messages.len(), 4);
    for message in messages {
        assert!(message.contains("somebody logged in"), "{message}");
        assert!(!message.contains(char::is_control), "{message:?}");
    }
}
