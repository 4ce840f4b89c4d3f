//! An app that uses rustls as most do, by `ClientConfig::builder()`, which panics unless exactly one
//! provider of cryptography is compiled in or the app has installed one. Beside it, a session store
//! of each kind that speaks TLS.
//!
//! It prints a line for each store that could not be opened, which is all of them as nobody listens
//! there, and then the provider that rustls has chosen for the app.

use ingle::store;
use rustls::{ClientConfig, crypto::CryptoProvider};

/// Stores that are spoken to by TLS. Nothing listens at port 1, and Google's credentials are to be
/// set to a file that is not there.
const STORES: [&str; 3] = [
    "rediss://127.0.0.1:1",
    "postgres://somebody@127.0.0.1:1/sessions?sslmode=require",
    "firestore://project/sessions",
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    // The app uses rustls last, as what a store does before could be in its way.
    for url in STORES {
        if let Err(error) = store::open(url).await {
            println!("{url}: {error}");
        }
    }
    if cfg!(any(feature = "aws-lc-rs", feature = "ring")) {
        let chosen = ClientConfig::builder().crypto_provider().key_provider;
        println!("provider: {chosen:?}");
    } else {
        let installed = CryptoProvider::get_default().map(|provider| provider.key_provider);
        println!("provider: {installed:?}");
    }
}
