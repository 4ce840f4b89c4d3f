//! The calls of Firestore's API that sessions need, each with a deadline and never made twice.

use std::{
    env,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use google_cloud_auth::credentials::{self, CacheableResource, Credentials};
use googleapis_tonic_google_firestore_v1::google::firestore::v1::{
    BatchGetDocumentsRequest, BatchWriteRequest, BatchWriteResponse, CommitRequest, Document,
    DocumentMask, RunQueryRequest, StructuredQuery, Write,
    batch_get_documents_response::Result as Got, firestore_client::FirestoreClient,
    run_query_request::QueryType,
};
use rustls::crypto::CryptoProvider;
use tokio::time::timeout;
use tonic::{
    Code, Request, Status,
    codegen::http::{Extensions, HeaderMap, HeaderValue},
    metadata::MetadataMap,
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{
    codec,
    config::{FirestoreConfig, Names},
    error::{NAME, NotSent, Server, bad_emulator, no_credentials, no_provider, no_tls, no_token},
};
use crate::{
    record::Version,
    store::{
        OpenError,
        floor::{
            provider::provider,
            pulse::Pulse,
            text::{one_line, root_cause},
            tls::system_roots,
        },
    },
};

pub(super) const GOOGLE: &str = "https://firestore.googleapis.com";
const SCOPE: &str = "https://www.googleapis.com/auth/datastore";

/// Google's servers take 100 calls at a time on one connection; a few are left for those that a
/// client gave up and the server has not noticed.
pub(super) const CALLS_PER_CONNECTION: usize = 90;
pub(super) const CONNECTIONS: usize = 12;

/// After so many calls in a row that were waited for in vain, others go over another connection for a
/// while: a connection that was cut silently looks like a slow server until the next ping.
pub(super) const UNANSWERED_MAX: usize = 3;
pub(super) const REST: Duration = Duration::from_secs(5);
/// A caller that gives up sooner did not wait for an answer, such as a visitor who hangs up.
const PATIENCE_MIN: Duration = Duration::from_millis(100);

/// No call takes longer. A session gives it far less.
pub(super) const CALL_TIME_MAX: Duration = Duration::from_secs(10);
pub(super) const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// Less than a call takes, so that the error can say that it was the token.
pub(super) const TOKEN_TIME_MAX: Duration = Duration::from_secs(5);

/// Finds connections that were cut silently, as often as Google's own clients do.
pub(super) const PING_EVERY: Duration = Duration::from_secs(30);
pub(super) const PING_TIME_MAX: Duration = Duration::from_secs(5);

/// A page of records or a batch may be larger than the 4 MiB that are the default.
const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a server may send before it is read: one document of the largest size, and several.
const STREAM_WINDOW: u32 = 2 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

pub(super) struct Client {
    pub(super) config: FirestoreConfig,
    pub(super) server: Server,
    pub(super) names: Names,
    connections: Vec<Connection>,
    endpoint: Endpoint,
    pulse: Pulse,
    since: Instant,
    /// Equal in all calls.
    headers: HeaderMap,
    /// None for an emulator.
    credentials: Option<Credentials>,
}

struct Connection {
    /// Made when the process had stood still so often.
    client: Mutex<(u64, FirestoreClient<Channel>)>,
    calls: AtomicUsize,
    /// How many calls in a row were given up without an answer.
    unanswered: AtomicUsize,
    /// Calls go over other connections meanwhile.
    rest: Rest,
}

/// Until when something is left alone after it was waited for in vain, in milliseconds after the client
/// was made.
#[derive(Default)]
pub(super) struct Rest(AtomicU64);

impl Rest {
    pub(super) fn begin(&self, client: &Client) {
        self.0.store(client.now() + REST.as_millis() as u64, Ordering::Relaxed);
    }

    pub(super) fn is_on(&self, client: &Client) -> bool {
        client.now() < self.0.load(Ordering::Relaxed)
    }
}

impl Client {
    /// Prepares connections, to an emulator if one is named. Sends nothing.
    pub(super) fn new(config: FirestoreConfig) -> Result<Self, OpenError> {
        config.check()?;
        let variable = || {
            let host = env::var_os("FIRESTORE_EMULATOR_HOST")?.to_string_lossy().trim().to_owned();
            Some(host).filter(|host| !host.is_empty())
        };
        let emulator = config.emulator.clone().or_else(variable);
        let (endpoint, credentials) = match &emulator {
            Some(host) => (emulator_at(host)?, None),
            None => (google()?, Some(credentials(&config)?)),
        };
        let connections = (0..CONNECTIONS).map(|_| Connection {
            client: Mutex::new((0, client(&endpoint))),
            calls: AtomicUsize::new(0),
            unanswered: AtomicUsize::new(0),
            rest: Rest::default(),
        });
        let names = Names::of(&config);
        let mut headers = HeaderMap::new();
        // The names are checked, so they are fit for a header.
        let mut set = |name, value: String| {
            HeaderValue::try_from(value).map(|value| headers.insert(name, value)).is_ok()
        };
        set("google-cloud-resource-prefix", names.database.clone());
        let routed = names.database.replace('(', "%28").replace(')', "%29").replace(':', "%3A");
        set("x-goog-request-params", format!("database={routed}"));
        if emulator.is_some() {
            set("authorization", "Bearer owner".to_owned());
        }
        let connections = connections.collect();
        let pulse = Pulse::start();
        let FirestoreConfig { project, database, collection, .. } = config.clone();
        let server = Server { project, database, collection, emulator, identity: OnceLock::new() };
        let since = Instant::now();
        Ok(Self {
            config,
            server,
            names,
            connections,
            endpoint,
            pulse,
            since,
            headers,
            credentials,
        })
    }

    /// The document with this name.
    pub(super) async fn get(
        &self,
        name: String,
        mask: Option<DocumentMask>,
    ) -> Result<Option<Document>, Status> {
        let request = BatchGetDocumentsRequest {
            database: self.names.database.clone(),
            documents: vec![name.clone()],
            mask,
            consistency_selector: None,
        };
        self.call(request, async |mut client, request| {
            let mut answers = client.batch_get_documents(request).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                // An answer about another document is not used.
                match answer.result {
                    Some(Got::Found(document)) if document.name == name => {
                        return Ok(Some(document));
                    }
                    Some(Got::Missing(missing)) if missing == name => return Ok(None),
                    Some(_) | None => {}
                }
            }
            // An answer that breaks off, or is of others, is not "there is none".
            Err(Status::unavailable("the answer is not complete"))
        })
        .await
    }

    /// Makes all the writes or none, and returns the version that the last one's document has then.
    pub(super) async fn commit(&self, writes: Vec<Write>) -> Result<Version, Status> {
        let database = self.names.database.clone();
        let request = CommitRequest { database, writes, transaction: Vec::new() };
        self.call(request, async |mut client, request| {
            let answer = client.commit(request).await?.into_inner();
            let last = answer.write_results.last();
            version_of(last.and_then(|result| codec::version(result.update_time)))
        })
        .await
    }

    /// Makes each write or not, and returns the version that its document has then, which is none after
    /// a delete, or why the write was not made.
    pub(super) async fn write_each(
        &self,
        writes: Vec<Write>,
    ) -> Result<Vec<Result<Option<Version>, Status>>, Status> {
        let database = self.names.database.clone();
        let request = BatchWriteRequest { database, writes, ..BatchWriteRequest::default() };
        self.call(request, async |mut client, request| {
            let BatchWriteResponse { write_results, status } =
                client.batch_write(request).await?.into_inner();
            let outcomes = status.into_iter().zip(write_results);
            Ok(outcomes
                .map(|(status, result)| match Code::from_i32(status.code) {
                    Code::Ok => Ok(codec::version(result.update_time)),
                    code => Err(Status::new(code, status.message)),
                })
                .collect())
        })
        .await
    }

    /// The documents that a query finds.
    pub(super) async fn query(&self, query: StructuredQuery) -> Result<Vec<Document>, Status> {
        let request = RunQueryRequest {
            parent: self.names.documents.clone(),
            query_type: Some(QueryType::StructuredQuery(query)),
            ..RunQueryRequest::default()
        };
        self.call(request, async |mut client, request| {
            let mut answers = client.run_query(request).await?.into_inner();
            let mut documents = Vec::new();
            while let Some(answer) = answers.message().await? {
                documents.extend(answer.document);
            }
            Ok(documents)
        })
        .await
    }

    async fn call<M, R>(
        &self,
        message: M,
        send: impl AsyncFnOnce(FirestoreClient<Channel>, Request<M>) -> Result<R, Status>,
    ) -> Result<R, Status> {
        let call = async {
            let mut request = Request::new(message);
            *request.metadata_mut() = MetadataMap::from_headers(self.authorized().await?);
            request.set_timeout(CALL_TIME_MAX);
            let call = Call::begin(self);
            let answer = send(self.client(call.connection), request).await;
            call.answered();
            answer
        };
        let late = |_| Err(Status::deadline_exceeded("it did not answer in time"));
        timeout(CALL_TIME_MAX, call).await.unwrap_or_else(late)
    }

    /// The headers of a call, with a token.
    pub(super) async fn authorized(&self) -> Result<HeaderMap, NotSent> {
        let mut headers = self.headers.clone();
        if let Some(credentials) = &self.credentials {
            let token = timeout(TOKEN_TIME_MAX, credentials.headers(Extensions::new())).await;
            let token = token.map_err(|_| NotSent(no_token("no token came in time")))?;
            match token.map_err(|error| NotSent(no_token(&root_cause(&error))))? {
                CacheableResource::New { data, .. } => headers.extend(data),
                CacheableResource::NotModified => {}
            }
        }
        Ok(headers)
    }

    /// The first connection that has room and answers, so that an app with few visitors has one; else
    /// the one with the fewest calls.
    fn connection(&self) -> &Connection {
        let calls = |connection: &&Connection| connection.calls.load(Ordering::Relaxed);
        let good = |connection: &&Connection| {
            calls(connection) < CALLS_PER_CONNECTION && !connection.rest.is_on(self)
        };
        let good = self.connections.iter().find(good);
        good.or_else(|| self.connections.iter().min_by_key(calls))
            .unwrap_or_else(|| unreachable!("there is at least one"))
    }

    /// That of a connection, which is another one after the process stood still. Calls that are under way
    /// keep the one that they have.
    fn client(&self, connection: &Connection) -> FirestoreClient<Channel> {
        let stops = self.pulse.stops();
        let mut made = connection.client.lock().unwrap_or_else(PoisonError::into_inner);
        if made.0 != stops {
            *made = (stops, client(&self.endpoint));
        }
        made.1.clone()
    }

    fn now(&self) -> u64 {
        self.since.elapsed().as_millis() as u64
    }
}

/// A call under way on a connection, until it is dropped. If that is before an answer, it was given up.
struct Call<'a> {
    client: &'a Client,
    connection: &'a Connection,
    began: Instant,
    answered: bool,
}

impl<'a> Call<'a> {
    fn begin(client: &'a Client) -> Self {
        let connection = client.connection();
        connection.calls.fetch_add(1, Ordering::Relaxed);
        Self { client, connection, began: Instant::now(), answered: false }
    }

    /// Whatever the answer was, the connection works, or knows that it does not.
    fn answered(mut self) {
        self.answered = true;
        self.connection.unanswered.store(0, Ordering::Relaxed);
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let Connection { calls, unanswered, rest, .. } = self.connection;
        calls.fetch_sub(1, Ordering::Relaxed);
        if self.answered || self.began.elapsed() < PATIENCE_MIN {
            return;
        }
        if unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED_MAX {
            unanswered.store(0, Ordering::Relaxed);
            rest.begin(self.client);
        }
    }
}

/// Connects at its first call.
fn client(endpoint: &Endpoint) -> FirestoreClient<Channel> {
    FirestoreClient::new(endpoint.connect_lazy()).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

fn limited(endpoint: Endpoint) -> Endpoint {
    endpoint
        .connect_timeout(CONNECT_TIME_MAX)
        .tcp_nodelay(true)
        .tcp_keepalive(Some(PING_EVERY))
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIME_MAX)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
}

/// The version after a write. Every write that changes something has a time of its change.
pub(super) fn version_of(version: Option<Version>) -> Result<Version, Status> {
    version.ok_or_else(|| Status::internal("the answer has no time of the change"))
}

fn emulator_at(host: &str) -> Result<Endpoint, OpenError> {
    let wrong = || bad_emulator(host);
    let (name, port) = host.rsplit_once(':').ok_or_else(wrong)?;
    // A scheme, a path or a login would be taken for a part of another URL.
    let in_name = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if name.is_empty()
        || !name.chars().all(in_name)
        || !port.parse().is_ok_and(|port: u16| port != 0)
    {
        return Err(wrong());
    }
    let endpoint = Endpoint::from_shared(format!("http://{host}")).map_err(|_| wrong())?;
    Ok(limited(endpoint))
}

fn google() -> Result<Endpoint, OpenError> {
    // Before tonic asks for a provider itself, which panics where there is none.
    let provider = provider().map_err(no_provider)?;
    if CryptoProvider::get_default().is_none() {
        // Google's client of credentials takes that of the process alone, and rustls installs it so at
        // its first use. If another thread was faster, its choice stands.
        let _ = CryptoProvider::clone(&provider).install_default();
    }
    // Not by tonic, which finds out at the first call that there are none.
    let roots = system_roots().map_err(|error| error.into_open_error(NAME, None))?;
    let tls = ClientTlsConfig::new().trust_anchors(roots.roots);
    let endpoint = Endpoint::from_static(GOOGLE)
        .tls_config(tls)
        .map_err(|error| no_tls(&root_cause(&error)))?;
    Ok(limited(endpoint))
}

/// The app's own credentials, or else the application default ones: the metadata server, a service
/// account, a workload identity or a user.
fn credentials(config: &FirestoreConfig) -> Result<Credentials, OpenError> {
    if let Some(credentials) = &config.credentials {
        return Ok(credentials.clone());
    }
    let credentials = credentials::Builder::default().with_scopes([SCOPE]).build();
    // Its own words name the file, and its causes do not.
    Ok(credentials.map_err(|error| no_credentials(&one_line(&error.to_string())))?)
}
