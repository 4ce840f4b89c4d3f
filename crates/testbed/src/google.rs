//! A fake of the APIs of Google Cloud that `gcloud` calls to deploy an app, with one empty project.
//!
//! It is an HTTP proxy that ends TLS itself, so `gcloud` asks for what it asks for of Google.
//! [`Google::variables`] sends all of its calls here, for an account of nobody. `project.rs` answers them. A
//! call that it does not know is refused, and [kept](Google::unknown) for the test to see, so that a call
//! which `gcloud` would forgive is not passed over. `production.rs` is what the app itself finds there.

use std::{
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue, LOCATION},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::tls::Authority;

mod production;
mod project;

pub use production::{FIRESTORE, Production};
pub use project::PROJECT;
use project::{Answer, Call, Project};

/// The fake, until it is dropped.
#[derive(Debug)]
pub struct Google {
    address: SocketAddr,
    project: Arc<Mutex<Project>>,
    authority: Authority,
    /// Dropped to end it.
    _end: oneshot::Sender<Infallible>,
}

impl Google {
    /// # Errors
    ///
    /// If it cannot listen.
    pub fn start() -> Result<Self> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = runtime
            .block_on(TcpListener::bind("127.0.0.1:0"))
            .context("could not listen for gcloud")?;
        let address = listener.local_addr()?;
        let authority = Authority::new()?;
        let tls = authority.acceptor("*.googleapis.com", &["http/1.1"])?;
        let project = Arc::default();
        let (end, ended) = oneshot::channel();
        let serve = serve(listener, tls, Arc::clone(&project));
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = serve => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self { address, project, authority, _end: end })
    }

    /// What to set for `gcloud`, which keeps what it learns in the folder.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written.
    pub fn variables(&self, folder: &Path) -> Result<Vec<(&'static str, String)>> {
        let (token, roots) = (folder.join("token"), folder.join("roots.pem"));
        fs::write(&token, "a token of nobody").context("could not write a token")?;
        fs::write(&roots, self.authority.certificate()).context("could not write a root")?;
        Ok(vec![
            ("CLOUDSDK_CONFIG", folder.display().to_string()),
            ("CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", token.display().to_string()),
            ("CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK", "1".to_owned()),
            ("CLOUDSDK_CORE_ACCOUNT", "owner@example.com".to_owned()),
            ("CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE", roots.display().to_string()),
            ("CLOUDSDK_CORE_DISABLE_USAGE_REPORTING", "1".to_owned()),
            ("CLOUDSDK_CORE_PROJECT", PROJECT.to_owned()),
            ("CLOUDSDK_PROXY_TYPE", "http".to_owned()),
            ("CLOUDSDK_PROXY_ADDRESS", self.address.ip().to_string()),
            ("CLOUDSDK_PROXY_PORT", self.address.port().to_string()),
        ])
    }

    /// What is in the project, by names like Google's. The APIs that are enabled are not part of it.
    #[must_use]
    pub fn contents(&self) -> Value {
        self.project().contents()
    }

    /// Puts something into the project, as somebody else would have made it.
    pub fn put(&self, name: &str, resource: Value) {
        self.project().put(name, resource);
    }

    /// From now on, all calls of this API are refused for want of a permission. Or one call, as method and
    /// name: `GET appengine/apps/demo/services`.
    pub fn refuse(&self, what: &str) {
        self.project().refused = Some(what.to_owned());
    }

    /// From now on, no call is refused.
    pub fn allow(&self) {
        self.project().refused = None;
    }

    /// The calls that it did not know. Each is a gap in the fake, or a mistake in what made it.
    #[must_use]
    pub fn unknown(&self) -> Vec<String> {
        self.project().unknown.clone()
    }

    /// All calls that change something, as method and name.
    #[must_use]
    pub fn changes(&self) -> Vec<String> {
        self.project().changes.clone()
    }

    fn project(&self) -> MutexGuard<'_, Project> {
        self.project.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, project: Arc<Mutex<Project>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, project) = (tls.clone(), Arc::clone(&project));
        connections.spawn(async move {
            // What is wrong with a connection is for the client to say.
            let _ = passed_on(stream, &tls, &project).await;
        });
    }
}

/// The first request of a connection names the host. What follows is between the client and that host.
async fn passed_on(
    mut stream: TcpStream,
    tls: &TlsAcceptor,
    project: &Mutex<Project>,
) -> Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head)?;
    let host = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(':').next());
    let host = host.context("it does not ask for a host")?;
    stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    let stream = TokioIo::new(tls.accept(stream).await?);
    let service = service_fn(|request| answer(project, host, request));
    http1::Builder::new().serve_connection(stream, service).await?;
    Ok(())
}

async fn answer(
    project: &Mutex<Project>,
    host: &str,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let call = Call::new(&head.method, host, &head.uri, kind.unwrap_or_default(), &body);
    let Answer { status, body, location } =
        project.lock().unwrap_or_else(PoisonError::into_inner).answer(&call);
    let mut response = Response::new(Full::new(body.to_string().into()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    if let Some(location) = location.and_then(|location| location.parse().ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}
