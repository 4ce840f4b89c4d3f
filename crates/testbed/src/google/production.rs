//! What stands before Firestore in production, and beside an app on Google Cloud: TLS that speaks HTTP/2
//! alone, and the metadata server, which gives a token of access.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use anyhow::{Context as _, Result};
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::HeaderValue,
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime,
    sync::oneshot,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;

use crate::tls::Authority;

/// The name that clients ask for, on port 443.
pub const FIRESTORE: &str = "firestore.googleapis.com";

/// A loopback address of Linux that others hardly listen on, unlike 127.0.0.1.
const FRONT: &str = "127.0.4.43:443";

const FLAVOR: &str = "Metadata-Flavor";

/// What an app finds, until this is dropped.
#[derive(Debug)]
pub struct Production {
    authority: Authority,
    front: SocketAddr,
    metadata: SocketAddr,
    tokens: Arc<AtomicU64>,
    /// Dropped to end it.
    _end: oneshot::Sender<Infallible>,
}

impl Production {
    /// Puts TLS before an emulator, on port 443 of an address of this machine.
    ///
    /// # Errors
    ///
    /// If it cannot listen there: whoever is not root may not on most systems.
    pub fn start(emulator: SocketAddr) -> Result<Self> {
        let authority = Authority::new()?;
        let tls = authority.acceptor(FIRESTORE, &["h2"])?;
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let bind = |address: &'static str| {
            let listener = runtime.block_on(TcpListener::bind(address));
            listener.with_context(|| format!("could not listen on {address}"))
        };
        let (front, metadata) = (bind(FRONT)?, bind("127.0.0.1:0")?);
        let [at, metadata_at] = [front.local_addr()?, metadata.local_addr()?];
        let tokens = Arc::default();
        let (end, ended) = oneshot::channel();
        let given = Arc::clone(&tokens);
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = pass_on(front, tls, emulator) => {}
                    () = serve_metadata(metadata, given) => {}
                    _ = ended => {}
                }
            });
        });
        Ok(Self { authority, front: at, metadata: metadata_at, tokens, _end: end })
    }

    /// The certificate of the authority that vouches for it, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        self.authority.certificate()
    }

    /// What the name [`FIRESTORE`] must mean for an app.
    #[must_use]
    pub fn firestore(&self) -> SocketAddr {
        self.front
    }

    /// What `GCE_METADATA_HOST` is set to.
    #[must_use]
    pub fn metadata(&self) -> SocketAddr {
        self.metadata
    }

    /// How many tokens it has given.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }
}

async fn pass_on(listener: TcpListener, tls: TlsAcceptor, emulator: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        connections.spawn(async move {
            let mut client = tls.accept(stream).await?;
            let mut server = TcpStream::connect(emulator).await?;
            copy_bidirectional(&mut client, &mut server).await
        });
    }
}

async fn serve_metadata(listener: TcpListener, tokens: Arc<AtomicU64>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let tokens = Arc::clone(&tokens);
        let service = service_fn(move |request| {
            let answer = metadata(&request, &tokens);
            async { Ok::<_, Infallible>(answer) }
        });
        connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

/// Only who says that they mean it is answered, as Google's does.
fn metadata(request: &Request<Incoming>, tokens: &AtomicU64) -> Response<Full<Bytes>> {
    let text = match request.uri().path().strip_prefix("/computeMetadata/v1/") {
        _ if !request.headers().contains_key(FLAVOR) => None,
        Some("project/project-id") => Some("demo"),
        Some("universe/universe-domain") => Some("googleapis.com"),
        // The token of an owner, which emulators know.
        Some(path) if path.ends_with("/token") => {
            tokens.fetch_add(1, Ordering::Relaxed);
            Some(r#"{"access_token":"owner","expires_in":3600,"token_type":"Bearer"}"#)
        }
        _ => None,
    };
    let mut response = Response::new(Full::from(text.unwrap_or_default()));
    if text.is_none() {
        *response.status_mut() = StatusCode::FORBIDDEN;
    }
    response.headers_mut().insert(FLAVOR, HeaderValue::from_static("Google"));
    response
}
