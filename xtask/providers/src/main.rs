//! An app that uses rustls as most do, by `ClientConfig::builder()`, which panics unless exactly one
//! provider of cryptography is compiled in or the app has installed one. Beside it, a session store
//! of each kind that speaks TLS.
//!
//! It makes a TLS connection of its own with a server of its own, opens the stores, and makes another
//! one: what a store does must be in the way of neither. With the argument `install-ring` or
//! `install-aws-lc-rs` it first installs that provider, as an app must in which both are compiled.
//!
//! It prints a line for each store that could not be opened, which is all of them: nobody listens there, or
//! what answers is no Redis. For each connection of its own it prints a line that names the provider.

use std::{
    env,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::Arc,
    thread,
};

use ingle::store;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer},
};

/// What the app's server says to everybody.
const GREETING: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";

/// The server's certificate, for `localhost`.
struct Identity {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    pem: String,
}

#[tokio::main]
async fn main() {
    install(env::args().nth(1).as_deref());
    if !cfg!(any(feature = "aws-lc-rs", feature = "ring")) {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
        open_stores(nowhere, "").await;
        let installed = CryptoProvider::get_default().map(|provider| provider.key_provider);
        println!("provider: {installed:?}");
        return;
    }
    let identity = identity();
    let server = serve(&identity);
    speak(server, &identity);
    // A file of its own for each run; whoever runs it says where.
    let file = env::var_os("CERTIFICATE").map(PathBuf::from).expect("CERTIFICATE names a file");
    std::fs::write(&file, &identity.pem).expect("the certificate's file can be written");
    open_stores(server, &format!("?cacert={}", file.display())).await;
    speak(server, &identity);
}

fn install(choice: Option<&str>) {
    let provider: Option<CryptoProvider> = match choice {
        #[cfg(feature = "ring")]
        Some("install-ring") => Some(rustls::crypto::ring::default_provider()),
        #[cfg(feature = "aws-lc-rs")]
        Some("install-aws-lc-rs") => Some(rustls::crypto::aws_lc_rs::default_provider()),
        None => None,
        Some(other) => panic!("there is no choice {other}"),
    };
    if let Some(provider) = provider {
        provider.install_default().expect("nobody was faster");
    }
}

/// Google's credentials are to be set to a file that is not there.
async fn open_stores(server: SocketAddr, options: &str) {
    let urls = [
        format!("rediss://localhost:{}{options}", server.port()),
        "rediss://127.0.0.1:1".to_owned(),
        "postgres://somebody@127.0.0.1:1/sessions?sslmode=require".to_owned(),
        "firestore://project/sessions".to_owned(),
    ];
    for url in urls {
        if let Err(error) = store::open(&url).await {
            println!("{url}: {error}");
        }
    }
}

fn identity() -> Identity {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]);
    let made = made.expect("a certificate can be made");
    Identity {
        certificate: made.cert.der().clone(),
        pem: made.cert.pem(),
        key: PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into()),
    }
}

/// A TLS server by rustls' default provider.
fn serve(identity: &Identity) -> SocketAddr {
    let config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate.clone()], identity.key.clone_key())
        .expect("the key is the certificate's");
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut tcp in listener.incoming().flatten() {
            let config = Arc::clone(&config);
            thread::spawn(move || {
                let mut tls = ServerConnection::new(config).expect("a connection");
                let mut stream = Stream::new(&mut tls, &mut tcp);
                // Whoever goes away before the end does so.
                let _ = stream.read(&mut [0; 100]).and_then(|_| stream.write_all(GREETING));
                tls.send_close_notify();
                let _ = tls.complete_io(&mut tcp);
            });
        }
    });
    address
}

/// A TLS client by rustls' default provider.
fn speak(server: SocketAddr, identity: &Identity) {
    let mut roots = RootCertStore::empty();
    roots.add(identity.certificate.clone()).expect("the certificate is one");
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let chosen = config.crypto_provider().key_provider;
    let name = "localhost".try_into().expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), name).expect("a connection");
    let mut tcp = TcpStream::connect(server).expect("the server listens");
    let mut stream = Stream::new(&mut tls, &mut tcp);
    stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("the handshake is done");
    let mut answer = vec![0; GREETING.len()];
    stream.read_exact(&mut answer).expect("the server answers");
    assert_eq!(answer, GREETING);
    println!("provider: {chosen:?}");
}
