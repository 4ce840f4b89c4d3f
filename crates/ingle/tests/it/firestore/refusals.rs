//! What a server refuses that is otherwise well: what is told of it, and what is tried again.

use std::sync::Mutex;

use axum::body::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use ingle::{
    record::{Loaded, Op, Record, Version},
    store::Write,
};
use tonic::Code;
use tower::ServiceExt as _;

use super::*;
use crate::batching::{begin, filled, stored, views};

/// The calls that a store makes.
const READ: &str = "/BatchGetDocuments";
const COMMIT: &str = "/Commit";

/// Stands before the server, and refuses what it is told to refuse.
struct Gate {
    scene: Scene,
    refusals: Refusals,
}

/// The next calls with these names that are refused, and how.
#[derive(Clone, Default)]
struct Refusals(Arc<Mutex<Vec<(&'static str, Code)>>>);

impl Refusals {
    fn take(&self, path: &str) -> Option<Code> {
        let mut all = self.0.lock().unwrap();
        let at = all.iter().position(|(call, _)| path.ends_with(call))?;
        Some(all.remove(at).1)
    }
}

impl Gate {
    async fn new() -> Self {
        let mut scene = Scene::new().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        scene.config.emulator = Some(listener.local_addr().unwrap().to_string());
        let server = format!("http://{}", testbed::firestore::hidane());
        let server = Channel::from_shared(server).unwrap().connect_lazy();
        let refusals = Refusals::default();
        let told = refusals.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, server.clone(), told.clone()));
            }
        });
        Self { scene, refusals }
    }

    /// A session, and a store that reaches the server through the gate.
    async fn with_session() -> (Self, Firestore, Loaded) {
        let gate = Self::new().await;
        let store = gate.scene.store().await;
        let base = filled(&store, 1).await.remove(0);
        (gate, store, base)
    }

    fn refuse(&self, call: &'static str, code: Code, times: usize) {
        self.refusals.0.lock().unwrap().extend(vec![(call, code); times]);
    }

    /// How many refusals nobody has met yet; none is left.
    fn take_left(&self) -> usize {
        self.refusals.0.lock().unwrap().drain(..).count()
    }
}

async fn pass(client: TcpStream, server: Channel, refusals: Refusals) {
    let Ok(mut connection) = h2::server::handshake(client).await else { return };
    while let Some(Ok((call, answer))) = connection.accept().await {
        let (server, refusals) = (server.clone(), refusals.clone());
        // Who gives a call up is not told how it ended.
        tokio::spawn(async move { drop(serve(call, answer, server, refusals).await) });
    }
}

async fn serve(
    call: Request<RecvStream>,
    mut answer: SendResponse<Bytes>,
    server: Channel,
    refusals: Refusals,
) -> Result<(), h2::Error> {
    let (head, mut body) = call.into_parts();
    let mut bytes = Vec::new();
    while let Some(more) = body.data().await {
        let more = more?;
        body.flow_control().release_capacity(more.len())?;
        bytes.extend_from_slice(&more);
    }
    if let Some(code) = refusals.take(head.uri.path()) {
        let refusal = Response::builder()
            .header("content-type", "application/grpc")
            .header("grpc-status", code as i32)
            .body(())
            .unwrap();
        return answer.send_response(refusal, true).map(drop);
    }
    let body = tonic::body::Body::new(Full::new(Bytes::from(bytes)));
    let passed_on = server.oneshot(Request::from_parts(head, body)).await.unwrap();
    let (head, body) = passed_on.into_parts();
    let body = body.collect().await.unwrap();
    let trailers = body.trailers().cloned();
    let mut stream = answer.send_response(Response::from_parts(head, ()), false)?;
    stream.send_data(body.to_bytes(), trailers.is_none())?;
    trailers.map_or(Ok(()), |trailers| stream.send_trailers(trailers))
}

fn failure(done: Result<Version, CommitError>) -> (ErrorKind, Applied) {
    match done {
        Err(CommitError::Failed(error)) => (error.kind(), error.applied()),
        other => panic!("{other:?}"),
    }
}

/// The record of a session, under another key.
fn under_another_key(base: &Loaded) -> Arc<Record> {
    let mut record = Record::clone(&base.record);
    let word = || Op::random().unwrap().to_bits().to_be_bytes();
    let key = [word(), word(), word(), word()].concat();
    record.header.key = Key::from_bytes(key.try_into().unwrap());
    Arc::new(record)
}

#[tokio::test]
async fn a_mark_that_cannot_be_read_is_not_ended() {
    let (gate, store, base) = Gate::with_session().await;
    let (key, now, record) = (base.record.header.key, SystemClock.now(), under_another_key(&base));
    store.commit(Write::Renew { base: &base, record: &record }, now).await.unwrap();
    gate.refuse(READ, Code::Unavailable, 1);
    let error = store.destroy(&key, now).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), (ErrorKind::Unavailable, Applied::No));
    let moved = Lookup::Moved { to: record.header.key };
    assert_eq!(store.load(&key, now).await.unwrap(), moved);
}

#[tokio::test]
async fn what_may_have_been_made_is_not_made_again() {
    let (gate, store, base) = Gate::with_session().await;
    let now = SystemClock.now();
    let unknown = (ErrorKind::Unavailable, Applied::Unknown);
    gate.refuse(COMMIT, Code::Unavailable, 1);
    let error = store.destroy(&base.record.header.key, now).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), unknown);
    let record = under_another_key(&base);
    for write in [Write::Create { record: &record }, Write::Renew { base: &base, record: &record }]
    {
        gate.refuse(COMMIT, Code::Unavailable, 1);
        assert_eq!(failure(store.commit(write, now).await), unknown);
    }
    gate.refuse(COMMIT, Code::Unavailable, 1);
    let replaced = begin(&store, &base, &json!({ "views": 7 })).await.unwrap();
    assert_eq!(failure(replaced), unknown);
    assert_eq!(stored(&store, &base).await, base);
}

/// As for a document that Firestore does not take for a reason of its own.
#[tokio::test]
async fn what_is_refused_though_nothing_has_changed_is_no_conflict() {
    let (gate, store, base) = Gate::with_session().await;
    let now = SystemClock.now();
    for (code, expected) in [
        (Code::InvalidArgument, (ErrorKind::Refused, Applied::Unknown)),
        (Code::FailedPrecondition, (ErrorKind::Contended, Applied::No)),
    ] {
        gate.refuse(COMMIT, code, 1);
        let replaced = begin(&store, &base, &json!({ "views": 7 })).await.unwrap();
        assert_eq!(failure(replaced), expected, "{code:?}");
    }
    let record = under_another_key(&base);
    let create = Write::Create { record: &record };
    gate.refuse(COMMIT, Code::InvalidArgument, 1);
    let refused = (ErrorKind::Refused, Applied::Unknown);
    assert_eq!(failure(store.commit(create, now).await), refused);
    // What had the key is gone when the store looks.
    gate.refuse(COMMIT, Code::AlreadyExists, 1);
    let version = store.commit(create, now).await.unwrap();
    let created = Loaded { record, version };
    assert_eq!(views(&stored(&store, &created).await), 0);
    // What has it is dead, and makes way.
    let later = created.record.header.absolute_deadline;
    gate.refuse(COMMIT, Code::InvalidArgument, 1);
    store.commit(Write::Create { record: &created.record }, later).await.unwrap();
}

#[tokio::test]
async fn who_cannot_look_after_a_refusal_knows_what_the_refusal_proves() {
    let (gate, store, base) = Gate::with_session().await;
    for (code, applied) in
        [(Code::InvalidArgument, Applied::Unknown), (Code::FailedPrecondition, Applied::No)]
    {
        gate.refuse(COMMIT, code, 1);
        gate.refuse(READ, Code::Unavailable, 1);
        let replaced = begin(&store, &base, &json!({ "views": 7 })).await.unwrap();
        assert_eq!(failure(replaced), (ErrorKind::Unavailable, applied), "{code:?}");
    }
}

#[tokio::test]
async fn who_is_always_refused_does_not_try_for_ever() {
    let (gate, store, base) = Gate::with_session().await;
    let (key, now) = (base.record.header.key, SystemClock.now());
    let contended = (ErrorKind::Contended, Applied::No);
    let record = under_another_key(&base);
    for write in [Write::Create { record: &record }, Write::Renew { base: &base, record: &record }]
    {
        gate.refuse(COMMIT, Code::FailedPrecondition, 10);
        assert_eq!(failure(store.commit(write, now).await), contended);
        assert_eq!(gate.take_left(), 6, "as the page on Firestore says");
    }
    gate.refuse(COMMIT, Code::FailedPrecondition, 10);
    let later = base.record.header.absolute_deadline;
    let touched = store.touch(&key, later, now).await;
    assert_eq!(failure(touched.map(|()| base.version)), contended);
    assert_eq!(gate.take_left(), 6);
    gate.refuse(COMMIT, Code::FailedPrecondition, 10);
    let error = store.destroy(&key, now).await.unwrap_err();
    assert_eq!((error.kind(), error.applied()), contended);
    assert_eq!(gate.take_left(), 6);
}
