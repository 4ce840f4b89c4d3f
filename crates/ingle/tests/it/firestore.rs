//! Firestore as people use it beside the app: documents that someone reads, edits, writes and sweeps.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use googleapis_tonic_google_firestore_v1::google::{
    firestore::v1::{
        BatchGetDocumentsRequest, CommitRequest, Document, DocumentMask, Value, Write as Rpc,
        batch_get_documents_response::Result as Got, firestore_client::FirestoreClient,
        value::ValueType, write::Operation,
    },
    r#type::LatLng,
};
use http::StatusCode;
use ingle::{
    Error, Session, SessionLayer,
    clock::{Clock as _, ManualClock, SystemClock},
    record::Key,
    store::{
        self, Applied, CommitError, Destroyed, ErrorKind, Firestore, FirestoreConfig, Ids,
        List as _, Lookup, OpenErrorKind, Store as _,
    },
};
use prost_types::Timestamp;
use serde_json::{Value as Json, json};
use testbed::proxy::Proxy;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Handle,
    sync::watch,
    task::block_in_place,
};
use tonic::transport::Channel;

use crate::common::{Answer, App, Intercept, Visitor, app};

mod batches;
mod plain;
mod refusals;

const UUID: &str = "0b2f6c1e-7a3d-4c55-9d0a-5e1f2a3b4c5d";

/// Longer than anything takes, however busy the machine is.
const LONG: Duration = Duration::from_secs(120);

/// A collection of its own on an emulator, seen by apps and by the console.
#[derive(Clone)]
struct Scene {
    config: FirestoreConfig,
    console: FirestoreClient<Channel>,
}

impl Scene {
    async fn new() -> Self {
        let address = testbed::firestore::hidane();
        let random = ingle::record::Op::random().unwrap().to_bits();
        let mut config = FirestoreConfig::new("ingle-test", format!("c{random:016x}"));
        config.emulator = Some(address.to_string());
        config.batch_timeout = LONG;
        let channel = Channel::from_shared(format!("http://{address}")).unwrap().connect_lazy();
        let console = FirestoreClient::new(channel);
        Self { config, console }
    }

    fn with(mut self, ids: Ids) -> Self {
        self.config.ids = ids;
        self
    }

    async fn store(&self) -> Firestore {
        Firestore::open(self.config.clone()).await.unwrap()
    }

    async fn layer(&self) -> SessionLayer {
        SessionLayer::new(self.store().await).sweep_every(None).deadline(LONG)
    }

    async fn app(&self) -> App {
        app_on(&self.layer().await)
    }

    fn name(&self, id: &str) -> String {
        let FirestoreConfig { project, database, collection, .. } = &self.config;
        format!("projects/{project}/databases/{database}/documents/{collection}/{id}")
    }

    fn database(&self) -> String {
        format!("projects/{}/databases/{}", self.config.project, self.config.database)
    }

    /// The document as the console shows it.
    async fn document(&self, id: &str) -> Option<Document> {
        let request = BatchGetDocumentsRequest {
            database: self.database(),
            documents: vec![self.name(id)],
            ..BatchGetDocumentsRequest::default()
        };
        let mut answers =
            self.console.clone().batch_get_documents(request).await.unwrap().into_inner();
        match answers.message().await.unwrap()?.result? {
            Got::Found(document) => Some(document),
            Got::Missing(_) => None,
        }
    }

    /// Writes fields as a person does in the console: these, and no other.
    async fn edit(&self, id: &str, fields: impl IntoIterator<Item = (&str, ValueType)>) {
        let value = |value_type| Value { value_type: Some(value_type) };
        let fields: HashMap<String, Value> =
            fields.into_iter().map(|(name, of)| (name.to_owned(), value(of))).collect();
        let field_paths = fields.keys().cloned().collect();
        self.write(id, fields, Some(DocumentMask { field_paths })).await;
    }

    /// Writes a whole document, as an app does that follows the tutorial.
    async fn set(&self, id: &str, fields: HashMap<String, Value>) {
        self.write(id, fields, None).await;
    }

    async fn write(
        &self,
        id: &str,
        fields: HashMap<String, Value>,
        update_mask: Option<DocumentMask>,
    ) {
        let document = Document { name: self.name(id), fields, ..Document::default() };
        let write =
            Rpc { update_mask, operation: Some(Operation::Update(document)), ..Rpc::default() };
        let request = CommitRequest {
            database: self.database(),
            writes: vec![write],
            ..CommitRequest::default()
        };
        self.console.clone().commit(request).await.unwrap();
    }

    /// The id of the only document there is.
    async fn only(&self) -> String {
        let page = self.store().await.list(None, 10, SystemClock.now()).await.unwrap();
        assert_eq!(page.records.len(), 1);
        page.records[0].record.header.key.to_string()
    }
}

/// Routes for one process.
fn app_on(layer: &SessionLayer) -> App {
    app(layer)
        .on("/add", async |session: Session| {
            let views = session.field("views").update(|views: &mut u64| {
                *views += 1;
                *views
            });
            views.await.map(|views| views.to_string())
        })
        .on("/read", async |session: Session| {
            Ok::<_, Error>(format!("{:?}", session.get::<u64>("views").await?))
        })
        .on("/all", async |session: Session| {
            session.data::<Json>().await.map(|data| data.to_string())
        })
}

fn field(document: &Document, name: &str) -> Option<ValueType> {
    document.fields.get(name)?.value_type.clone()
}

fn map(document: &Document, name: &str) -> HashMap<String, Value> {
    match field(document, name) {
        Some(ValueType::MapValue(map)) => map.fields,
        other => panic!("{name}: {other:?}"),
    }
}

fn integer(value: i64) -> ValueType {
    ValueType::IntegerValue(value)
}

fn set_cookies(answer: &Answer) -> usize {
    answer.headers.get_all("set-cookie").iter().count()
}

#[tokio::test]
async fn a_document_is_what_a_person_expects_to_see() {
    let scene = Scene::new().await;
    let app = scene.app().await.on("/fill", async |session: Session| {
        session.insert("greeting", "Hallo Welt")?;
        session.insert("whole", 3)?;
        session.insert("double", 3.0)?;
        session.insert("cart", json!({ "items": ["a", "b"] }))
    });
    Visitor::default().get(&app, "/fill").await.ok();
    let id = scene.only().await;
    let document = scene.document(&id).await.unwrap();
    assert_eq!(field(&document, "greeting"), Some(ValueType::StringValue("Hallo Welt".into())));
    assert_eq!(field(&document, "whole"), Some(integer(3)));
    assert_eq!(field(&document, "double"), Some(ValueType::DoubleValue(3.0)));
    assert!(matches!(field(&document, "cart"), Some(ValueType::MapValue(_))));
    assert!(matches!(field(&document, "_ingle_expires"), Some(ValueType::TimestampValue(_))));
    assert_eq!(document.fields.len(), 6, "four fields of the app's, the header, the deadline");
    assert_eq!(map(&document, "_ingle")["counter"].value_type, Some(integer(1)));
    assert_eq!(id.len(), 64, "the key, and nothing that a cookie can be made of");
}

#[tokio::test]
async fn what_someone_edits_is_what_the_next_request_reads() {
    let scene = Scene::new().await;
    let app = scene.app().await;
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let id = scene.only().await;
    scene.edit(&id, [("views", integer(41))]).await;
    // The cached record of this process is older.
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "42");
    assert_eq!(visitor.get(&app, "/read").await.ok().body, "Some(42)");

    scene.edit(&id, [("views", ValueType::StringValue("many".into()))]).await;
    let answer = visitor.get(&app, "/read").await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(visitor.get(&app, "/add").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    let before = scene.document(&id).await.unwrap();
    assert_eq!(
        field(&before, "views"),
        Some(ValueType::StringValue("many".into())),
        "nothing lost"
    );
    scene.edit(&id, [("views", integer(7))]).await;
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "8", "mended, and all works again");
}

#[tokio::test]
async fn a_wrong_type_is_told_with_its_path() {
    let scene = Scene::new().await;
    let app = scene.app().await.on("/why", async |session: Session| {
        session.get::<u64>("views").await.unwrap_err().to_string()
    });
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let moment = ValueType::TimestampValue(Timestamp { seconds: 1, nanos: 0 });
    scene.edit(&scene.only().await, [("views", moment)]).await;
    let why = visitor.get(&app, "/why").await.ok().body;
    assert!(why.contains("`views`"), "{why}");
}

#[tokio::test]
async fn what_json_cannot_say_is_left_as_it_is() {
    let scene = Scene::new().await;
    let app = scene.app().await;
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let id = scene.only().await;
    let reference = scene.name("other");
    let values = [
        ("when", ValueType::TimestampValue(Timestamp { seconds: 1_777_897_800, nanos: 1000 })),
        ("raw", ValueType::BytesValue(vec![0, 255])),
        ("where", ValueType::GeoPointValue(LatLng { latitude: 52.5, longitude: 13.4 })),
        ("who", ValueType::ReferenceValue(reference)),
        ("infinite", ValueType::DoubleValue(f64::INFINITY)),
    ];
    scene.edit(&id, values.clone()).await;
    assert_eq!(visitor.get(&app, "/add").await.ok().body, "2");
    let all: Json = serde_json::from_str(&visitor.get(&app, "/all").await.ok().body).unwrap();
    assert_eq!(all["when"], json!({ "$timestamp": "2026-05-04T12:30:00.000001Z" }));
    assert_eq!(all["raw"], json!({ "$bytes": "AP8=" }));
    let document = scene.document(&id).await.unwrap();
    for (name, value) in values {
        assert_eq!(field(&document, name), Some(value), "{name}");
    }
}

#[tokio::test]
async fn only_what_changed_is_written() {
    let scene = Scene::new().await;
    let app = scene.app().await;
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let id = scene.only().await;
    // A field with a name that means something to the library alone is hidden from the app, and
    // stays, since no mask names it.
    scene.edit(&id, [("_ingle_later", integer(1))]).await;
    visitor.get(&app, "/add").await.ok();
    visitor.get(&app, "/add").await.ok();
    let all = visitor.get(&app, "/all").await.ok().body;
    assert_eq!(all, json!({ "views": 3 }).to_string());
    let document = scene.document(&id).await.unwrap();
    assert_eq!(field(&document, "_ingle_later"), Some(integer(1)));
}

#[tokio::test]
async fn a_document_of_the_tutorials_app_is_a_session() {
    let scene = Scene::new().await.with(Ids::Plain);
    let app = scene.app().await;
    let views = |n| HashMap::from([("views".to_owned(), Value { value_type: Some(integer(n)) })]);
    scene.set(UUID, views(7)).await;
    let cookie = format!("session_id={UUID}");
    assert_eq!(app.get("/add", &cookie).await.ok().body, "8");
    let document = scene.document(UUID).await.unwrap();
    assert_eq!(map(&document, "_ingle")["counter"].value_type, Some(integer(1)));

    // It reads all fields and writes all of them again: our header stays, and does not count on.
    let mut fields = document.fields;
    fields.extend(views(9));
    scene.set(UUID, fields).await;
    assert_eq!(app.get("/add", &cookie).await.ok().body, "10");

    // Another writer may know nothing of the header, and takes it away.
    scene.set(UUID, views(20)).await;
    assert_eq!(app.get("/add", &cookie).await.ok().body, "21");
    assert_eq!(app.get("/read", &cookie).await.ok().body, "Some(21)");
    let document = scene.document(UUID).await.unwrap();
    assert_eq!(map(&document, "_ingle")["counter"].value_type, Some(integer(1)));
}

/// A writer that leaves our header out takes the ring of ops along. Then nobody can tell any more
/// what became of a commit whose answer was lost, and to make it again could make it twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_taken_away_while_a_commit_is_in_doubt_leaves_it_unknown() {
    let scene = Scene::new().await.with(Ids::Plain);
    let views = |n| HashMap::from([("views".to_owned(), Value { value_type: Some(integer(n)) })]);
    scene.set(UUID, views(7)).await;
    let store = scene.store().await;
    let mut lossy = Intercept::new(store.clone());
    let (other, is_first) = (scene.clone(), AtomicBool::new(true));
    lossy.commit = Arc::new(move |write| {
        if !is_first.swap(false, Ordering::SeqCst) {
            return None;
        }
        // It is made, another app writes the document at once, and the answer is lost.
        let made = async {
            store.commit(*write, SystemClock.now()).await.unwrap();
            assert_eq!(field(&other.document(UUID).await.unwrap(), "views"), Some(integer(8)));
            other.set(UUID, views(9)).await;
        };
        block_in_place(|| Handle::current().block_on(made));
        let lost = store::Error::new("test", ErrorKind::Unavailable, Applied::Unknown);
        Some(CommitError::Failed(lost))
    });
    let layer = SessionLayer::new(lossy).sweep_every(None).deadline(LONG);
    let app = app(&layer).on("/add", async |session: Session| {
        session.field("views").update(|views: &mut u64| *views += 1).await
    });
    let answer = app.get("/add", &format!("session_id={UUID}")).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.body.contains("not known"), "{answer:?}");
    let document = scene.document(UUID).await.unwrap();
    assert_eq!(field(&document, "views"), Some(integer(9)), "it was made once");
}

#[tokio::test]
async fn a_plain_id_that_was_left_is_remembered_by_all_instances() {
    let scene = Scene::new().await.with(Ids::Upgrade);
    let clock = ManualClock::new(SystemClock.now());
    let layer = scene.layer().await.clock(Arc::new(clock.clone()));
    let (one, other) = (
        scene.app().await,
        app(&layer).on("/read", async |session: Session| {
            session.get::<u64>("views").await.map(|views| format!("{views:?}"))
        }),
    );
    let views = HashMap::from([("views".to_owned(), Value { value_type: Some(integer(7)) })]);
    scene.set(UUID, views).await;
    let cookie = format!("session_id={UUID}");
    let moved = one.get("/add", &cookie).await.ok();
    assert_eq!((moved.body.as_str(), set_cookies(&moved)), ("8", 2));
    for app in [&one, &other] {
        let late = app.get("/read", &cookie).await;
        assert_eq!((late.status, set_cookies(&late)), (StatusCode::CONFLICT, 0));
    }
    let id = scene.only().await;
    assert_eq!(id.len(), 64, "lists show the session, and not what it left");
    assert!(scene.document(UUID).await.is_none(), "the tutorial's app would take it for a session");
    let mark = Key::of_plain_id(UUID).unwrap().to_string();
    let left = scene.document(&mark).await.unwrap();
    assert_eq!(left.fields.len(), 2, "nothing of the session is left: {left:?}");

    clock.advance(Duration::from_secs(90));
    let late = other.get("/read", &cookie).await.ok();
    assert_eq!(late.body, "None");
    clock.advance(Duration::from_secs(10 * 60));
    let swept = scene.store().await.sweep(clock.now(), 100).await.unwrap();
    assert_eq!(swept.deleted, 1);
    assert!(scene.document(&mark).await.is_none());
}

#[tokio::test]
async fn a_session_that_ended_or_moved_leaves_a_mark_and_no_data() {
    let scene = Scene::new().await;
    let app = scene
        .app()
        .await
        .on("/renew", async |session: Session| session.renew().await)
        .on("/logout", async |session: Session| session.logout().await);
    let mut visitor = Visitor::default();
    visitor.get(&app, "/add").await.ok();
    let old = scene.only().await;
    visitor.get(&app, "/renew").await.ok();
    let new = scene.only().await;
    visitor.get(&app, "/logout").await.ok();
    let text = |text: &str| Some(ValueType::StringValue(text.to_owned()));
    for (id, mark, moved_to) in [(&old, "moved", text(&new)), (&new, "ended", None)] {
        let document = scene.document(id).await.unwrap();
        assert_eq!(document.fields.len(), 2, "the header and the time for sweeps: {document:?}");
        let header = map(&document, "_ingle");
        assert_eq!(header["mark"].value_type, text(mark));
        assert_eq!(header.get("moved_to").and_then(|to| to.value_type.clone()), moved_to);
    }
    let page = scene.store().await.list(None, 10, SystemClock.now()).await.unwrap();
    assert!(page.records.is_empty());
    let later = SystemClock.now().after(Duration::from_secs(11 * 60));
    assert_eq!(scene.store().await.sweep(later, 100).await.unwrap().deleted, 2);
}

#[tokio::test]
async fn a_store_that_answers_pings_and_one_without_a_server_says_what_to_do() {
    let mut scene = Scene::new().await;
    let store = scene.store().await;
    store.ping().await.unwrap();
    let info = store.info();
    assert_eq!((info.name, info.ids), ("firestore", Ids::Hashed));
    assert!(info.durability.contains("FIRESTORE_EMULATOR_HOST"), "{info:?}");

    // A port that was free a moment ago.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    scene.config.emulator = Some(nobody.to_string());
    let error = Firestore::open(scene.config.clone()).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Unreachable);
    assert!(error.help().contains("gcloud emulators firestore start"), "{error}");
    scene.config.emulator = Some("http://127.0.0.1".to_owned());
    let error = Firestore::open(scene.config).await.unwrap_err();
    assert_eq!(error.kind(), OpenErrorKind::Config, "{error}");
}

#[tokio::test]
async fn a_document_that_is_no_readable_record_can_be_ended() {
    let scene = Scene::new().await;
    let app = scene.app().await;
    Visitor::default().get(&app, "/add").await.ok();
    let id = scene.only().await;
    scene.edit(&id, [("_ingle", integer(1))]).await;
    let (store, key, now) = (scene.store().await, id.parse().unwrap(), SystemClock.now());
    assert_eq!(store.load(&key, now).await.unwrap_err().kind(), ErrorKind::Corrupt);
    assert_eq!(store.destroy(&key, now).await.unwrap(), Destroyed::Ended);
    assert_eq!(store.load(&key, now).await.unwrap(), Lookup::Ended);
}

#[tokio::test]
async fn many_instances_sweep_each_document_once() {
    let scene = Scene::new().await;
    let app = scene.app().await;
    for _ in 0..120 {
        Visitor::default().get(&app, "/add").await.ok();
    }
    let now = SystemClock.now().after(Duration::from_secs(60 * 60));
    let sweeps: Vec<_> = (0..4)
        .map(|_| {
            let config = scene.config.clone();
            tokio::spawn(async move {
                let store = Firestore::open(config).await.unwrap();
                let mut deleted = 0;
                loop {
                    let swept = store.sweep(now, 25).await.unwrap();
                    deleted += swept.deleted;
                    if !swept.more {
                        return deleted;
                    }
                }
            })
        })
        .collect();
    let mut deleted = 0;
    for sweep in sweeps {
        deleted += sweep.await.unwrap();
    }
    // One that found only what others were deleting has ended early.
    deleted += scene.store().await.sweep(now, 500).await.unwrap().deleted;
    assert_eq!(deleted, 120, "each is deleted by exactly one");
    let page = scene.store().await.list(None, 10, SystemClock.now()).await.unwrap();
    assert!(page.records.is_empty());
}

#[tokio::test]
async fn an_expired_document_still_reads_and_is_dead() {
    let scene = Scene::new().await;
    let store = scene.store().await;
    let app = scene.app().await;
    Visitor::default().get(&app, "/add").await.ok();
    let id = scene.only().await;
    let key: Key = id.parse().unwrap();
    let later = SystemClock.now().after(Duration::from_secs(30 * 60 + 1));
    assert_eq!(store.load(&key, later).await.unwrap(), Lookup::Missing);
    assert!(scene.document(&id).await.is_some());
}

/// What each kind of request costs, in calls of Firestore's API: see the page on Firestore.
#[tokio::test]
async fn each_kind_of_request_costs_the_calls_that_it_must() {
    let mut scene = Scene::new().await;
    let wire = Proxy::start(testbed::firestore::hidane()).await.unwrap();
    scene.config.emulator = Some(wire.address.to_string());
    let routes = |app: App| {
        app.on("/untouched", async |_: Session| "hello")
            .on("/renew", async |session: Session| session.renew().await)
            .on("/logout", async |session: Session| session.logout().await)
    };
    let (app, other) = (routes(scene.app().await), routes(scene.app().await));
    let mut visitor = Visitor::default();
    let mut costs = async |app: &App, path: &str| {
        let before = wire.calls().unwrap();
        visitor.get(app, path).await.ok();
        wire.calls().unwrap() - before
    };
    assert_eq!(costs(&app, "/untouched").await, 0);
    assert_eq!(costs(&app, "/read").await, 0, "without a cookie there is nothing to read");
    assert_eq!(costs(&app, "/add").await, 1, "a session begins");
    assert_eq!(costs(&app, "/add").await, 1, "a warm update");
    assert_eq!(costs(&app, "/read").await, 1);
    assert_eq!(costs(&other, "/add").await, 2, "a cold update");
    assert_eq!(costs(&app, "/add").await, 3, "an update on an old record: commit, look, commit");
    assert_eq!(costs(&app, "/renew").await, 1);
    assert_eq!(costs(&app, "/untouched").await, 0);
    assert_eq!(costs(&app, "/logout").await, 2, "a look, and the mark");
}

/// Passes connections on to the server, until it cuts all of them silently.
struct Wire {
    address: SocketAddr,
    dead_before: watch::Sender<usize>,
    n_connections: Arc<AtomicUsize>,
    n_dead: Arc<AtomicUsize>,
}

impl Wire {
    async fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (dead_before, dead) = watch::channel(0);
        let (n_connections, n_dead) = <(Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (n, n_died) = (Arc::clone(&n_connections), Arc::clone(&n_dead));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let number = n.fetch_add(1, Ordering::SeqCst);
                let (mut dead, n_died) = (dead.clone(), Arc::clone(&n_died));
                tokio::spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    let (mut client, mut server) = (client, server);
                    let cut = async { drop(dead.wait_for(|before| number < *before).await) };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut client, &mut server) => {}
                        // Neither end is told.
                        () = cut => {}
                    }
                    n_died.fetch_add(1, Ordering::SeqCst);
                    std::future::pending::<()>().await;
                });
            }
        });
        Self { address, dead_before, n_connections, n_dead }
    }

    async fn kill_silently(&self) {
        let n = self.n_connections.load(Ordering::SeqCst);
        self.dead_before.send_replace(n);
        while self.n_dead.load(Ordering::SeqCst) < n {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_was_cut_silently_costs_a_few_calls_only() {
    let mut scene = Scene::new().await;
    let wire = Wire::to(testbed::firestore::hidane()).await;
    scene.config.emulator = Some(wire.address.to_string());
    let store = scene.store().await;
    let waits = |deadline| {
        let layer = SessionLayer::new(store.clone()).sweep_every(None);
        app_on(&layer.deadline(deadline))
    };
    // Three calls that are not answered make the store leave the connection.
    let (patient, app) = (waits(LONG), waits(Duration::from_secs(4)));
    let mut visitor = Visitor::default();
    visitor.get(&patient, "/add").await.ok();
    wire.kill_silently().await;
    let mut n_failed = 0;
    while visitor.get(&app, "/read").await.status != StatusCode::OK {
        n_failed += 1;
        assert!(n_failed <= 5, "it goes on without the connection");
    }
    assert_eq!(wire.n_connections.load(Ordering::SeqCst), 2, "over another one");
    assert_eq!(visitor.get(&patient, "/add").await.ok().body, "2");
}

/// 12 connections carry 90 calls each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_the_connections_carry_wait_and_are_all_answered() {
    let store = Scene::new().await.store().await;
    let calls = (0..1200_u64).map(|number| {
        let store = store.clone();
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&number.to_be_bytes());
        tokio::spawn(async move { store.load(&Key::from_bytes(bytes), SystemClock.now()).await })
    });
    for call in calls.collect::<Vec<_>>() {
        assert_eq!(call.await.unwrap().unwrap(), Lookup::Missing);
    }
}
