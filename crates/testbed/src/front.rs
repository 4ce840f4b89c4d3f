//! What stands before Firestore in production: Google's front end with TLS, the API for administrators, and
//! the metadata server of a machine. Behind it is an emulator.
//!
//! It refuses what a test tells it to refuse, as Google does. A program comes to it by
//! [`Front::variables`]: a library before the system's own leads `firestore.googleapis.com` here.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::{self, conn::http2::SendRequest},
    header,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

use crate::preload;

const HOST: &str = "firestore.googleapis.com";

/// What the library before the system's own is told the port by.
const PORT: &str = "INGLE_TEST_FRONT_PORT";

const LEAD_HERE: &str = r#"
#include <dlfcn.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

typedef int lookup(const char *, const char *, const struct addrinfo *, struct addrinfo **);

int getaddrinfo(const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **found) {
    lookup *real = (lookup *)dlsym(RTLD_NEXT, "getaddrinfo");
    int is_google = host && strcmp(host, "firestore.googleapis.com") == 0;
    return real(is_google ? "127.0.0.1" : host, port, hints, found);
}

int connect(int socket, const struct sockaddr *address, socklen_t length) {
    struct sockaddr_in to;
    const char *port = getenv("INGLE_TEST_FRONT_PORT");
    if (port && address->sa_family == AF_INET && length >= sizeof to) {
        memcpy(&to, address, sizeof to);
        if (to.sin_port == htons(443)) {
            to.sin_port = htons(atoi(port));
            return syscall(SYS_connect, socket, &to, sizeof to);
        }
    }
    return syscall(SYS_connect, socket, address, length);
}
"#;

/// What Google answers.
#[derive(Clone, Debug)]
pub struct Google {
    /// Calls that are refused: the end of the method's name, the code of gRPC, and the reason for programs.
    pub refused: Vec<(&'static str, u32, &'static str)>,
    /// Where the database is.
    pub location: &'static str,
    /// Whether the collection has a TTL policy.
    pub has_ttl_policy: bool,
    /// Whether the account may ask the API for administrators.
    pub may_administer: bool,
}

/// Google, until it is dropped.
#[derive(Debug)]
pub struct Front {
    shared: Arc<Shared>,
    address: SocketAddr,
    metadata: SocketAddr,
    folder: TempDir,
    /// Dropped to end it.
    _end: oneshot::Sender<Infallible>,
}

#[derive(Debug)]
struct Shared {
    emulator: SocketAddr,
    google: Mutex<Google>,
}

impl Front {
    /// Starts one before an emulator, with a database as `deploy/firestore/setup.sh` makes it.
    ///
    /// # Errors
    ///
    /// If it cannot listen, or `cc` cannot compile.
    pub fn start(emulator: SocketAddr) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let tls = certificates(folder.path())?;
        preload::compile(LEAD_HERE, folder.path())?;
        let google = Google {
            refused: Vec::new(),
            location: "us-west1",
            has_ttl_policy: true,
            may_administer: true,
        };
        let shared = Arc::new(Shared { emulator, google: Mutex::new(google) });
        let (end, ended) = oneshot::channel::<Infallible>();
        let listen = || -> Result<_> {
            let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
            listener.set_nonblocking(true)?;
            Ok((listener.local_addr()?, listener))
        };
        let ((address, front), (metadata, machine)) = (listen()?, listen()?);
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            runtime.block_on(async {
                let (Ok(front), Ok(machine)) =
                    (TcpListener::from_std(front), TcpListener::from_std(machine))
                else {
                    return;
                };
                tokio::select! {
                    () = serve(&front, &tls, &serving) => {}
                    () = serve_metadata(&machine) => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self { shared, address, metadata, folder, _end: end })
    }

    /// Changes what it answers from now on.
    pub fn set(&self, change: impl FnOnce(&mut Google)) {
        change(&mut self.shared.google());
    }

    /// What leads a program here, as on a machine of Compute Engine.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        vec![
            ("LD_PRELOAD", path(preload::LIBRARY)),
            (PORT, self.address.port().to_string()),
            ("SSL_CERT_FILE", path("authority.pem")),
            ("SSL_CERT_DIR", path("none")),
            ("GCE_METADATA_HOST", self.metadata.to_string()),
            // Where there is no file of credentials.
            ("HOME", path("")),
        ]
    }
}

impl Shared {
    fn google(&self) -> MutexGuard<'_, Google> {
        self.google.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An authority of its own, and what it vouches for.
fn certificates(folder: &Path) -> Result<TlsAcceptor> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate()?;
    fs::write(folder.join("authority.pem"), authority.self_signed(&key)?.pem())?;
    let issuer = Issuer::new(authority, key);
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(vec![HOST.to_owned()])?.signed_by(&key, &issuer)?;
    let chain = vec![CertificateDer::from(certificate.der().to_vec())];
    let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
    let provider = tokio_rustls::rustls::crypto::ring::default_provider();
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(listener: &TcpListener, tls: &TlsAcceptor, shared: &Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, shared) = (tls.clone(), Arc::clone(shared));
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let is_grpc = stream.get_ref().1.alpn_protocol() == Some(b"h2");
            let stream = TokioIo::new(stream);
            if is_grpc {
                let Ok(emulator) = TcpStream::connect(shared.emulator).await else { return };
                let shaken =
                    client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(emulator));
                let Ok((sender, emulator)) = shaken.await else { return };
                let answer = service_fn(move |request| {
                    let (shared, sender) = (Arc::clone(&shared), sender.clone());
                    async move { call(&shared, sender, request).await }
                });
                let server = http2::Builder::new(TokioExecutor::new());
                tokio::select! {
                    _ = server.serve_connection(stream, answer) => {}
                    _ = emulator => {}
                }
            } else {
                let answer = service_fn(move |request: Request<Incoming>| {
                    let answer = administer(&shared.google().clone(), request.uri().path());
                    async move { Ok::<_, Infallible>(answer) }
                });
                let _ = http1::Builder::new().serve_connection(stream, answer).await;
            }
        });
    }
}

type Body = Either<Incoming, Full<Bytes>>;

/// Refuses a call, or passes it on to the emulator.
async fn call(
    shared: &Shared,
    mut sender: SendRequest<Incoming>,
    request: Request<Incoming>,
) -> Result<Response<Body>> {
    let method = request.uri().path().to_owned();
    let refused = shared.google().refused.clone();
    if let Some((_, code, reason)) = refused.into_iter().find(|(end, ..)| method.ends_with(end)) {
        // It may not be refused before it was read.
        let _ = request.into_body().collect().await;
        return refuse(code, reason);
    }
    let (mut parts, body) = request.into_parts();
    parts.uri = Uri::builder()
        .scheme("http")
        .authority(shared.emulator.to_string())
        .path_and_query(method)
        .build()?;
    let answer = sender.send_request(Request::from_parts(parts, body)).await?;
    Ok(answer.map(Either::Left))
}

/// An answer that is an error, with the details that Google gives to programs.
fn refuse(code: u32, reason: &str) -> Result<Response<Body>> {
    let message = format!("Google says {reason}");
    // google.rpc.ErrorInfo: reason and domain.
    let info = [field(1, reason.as_bytes()), field(2, b"googleapis.com")].concat();
    let kind = field(1, b"type.googleapis.com/google.rpc.ErrorInfo");
    let details = field(3, &[kind, field(2, &info)].concat());
    // google.rpc.Status: code, message and details.
    let number = vec![1 << 3, u8::try_from(code)?];
    let status = [number, field(2, message.as_bytes()), details].concat();
    Response::builder()
        .header(header::CONTENT_TYPE, "application/grpc")
        .header("grpc-status", code.to_string())
        .header("grpc-message", message)
        .header("grpc-status-details-bin", BASE64_STANDARD.encode(status))
        .body(Either::Right(Full::default()))
        .context("an answer could not be made")
}

/// A field of protobuf that has a length, which is below 128.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).unwrap_or(u8::MAX);
    debug_assert!(length < 128, "it would take two bytes");
    [&[number << 3 | 2, length], content].concat()
}

/// What the API for administrators says of a database and of a field.
fn administer(google: &Google, path: &str) -> Response<Full<Bytes>> {
    let answer = match () {
        () if !google.may_administer => {
            return json_answer(StatusCode::FORBIDDEN, &json!({ "error": { "code": 403 } }));
        }
        () if path.ends_with("/fields/_ingle_expires") && google.has_ttl_policy => {
            json!({ "ttlConfig": { "state": "ACTIVE" } })
        }
        () if path.ends_with("/fields/_ingle_expires") => json!({ "indexConfig": {} }),
        () => json!({ "locationId": google.location, "type": "FIRESTORE_NATIVE" }),
    };
    json_answer(StatusCode::OK, &answer)
}

fn json_answer(status: StatusCode, value: &serde_json::Value) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(value.to_string()));
    *answer.status_mut() = status;
    answer
        .headers_mut()
        .insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}

/// The metadata server of a machine in Oregon.
async fn serve_metadata(listener: &TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(async move {
            let answer = service_fn(|request: Request<Incoming>| async move {
                Ok::<_, Infallible>(metadata(request.uri().path()))
            });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

fn metadata(path: &str) -> Response<Full<Bytes>> {
    let path = path.trim_start_matches("/computeMetadata/v1/");
    let text = match path {
        "instance/service-accounts/default/token" => {
            let token =
                json!({ "access_token": "owner", "expires_in": 3600, "token_type": "Bearer" });
            token.to_string()
        }
        "instance/service-accounts/default/email" => "app@shop.iam.gserviceaccount.com".to_owned(),
        "project/project-id" => "shop".to_owned(),
        "instance/zone" => "projects/1/zones/us-west1-a".to_owned(),
        "instance/name" => "vm".to_owned(),
        "universe/universe-domain" => "googleapis.com".to_owned(),
        _ => String::new(),
    };
    let is_known = !text.is_empty();
    let mut answer = Response::new(Full::from(text));
    if !is_known {
        *answer.status_mut() = StatusCode::NOT_FOUND;
    }
    let headers = answer.headers_mut();
    headers.insert("metadata-flavor", header::HeaderValue::from_static("Google"));
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    answer
}
