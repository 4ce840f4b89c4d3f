//! TLS with a real server, and whose certificates are taken.

use testbed::redis::{start_with_certificate, start_with_tls, start_with_tls_for_known_clients};

use super::opening::{refused, works};
use crate::certificates::{SelfSigned, cases};

#[tokio::test]
async fn tls_is_spoken_and_the_certificate_looked_at() {
    let (server, cacert) = start_with_tls();
    let port = server.address().port();
    let cacert = cacert.display();
    works(&format!("rediss://localhost:{port}?cacert={cacert}")).await;
    works(&format!("valkeys://localhost:{port}?cacert={cacert}")).await;
    // A name that is not in the certificate, and nobody who would vouch for it.
    let (log, _guard) = crate::log::Log::catch();
    works(&format!("rediss://127.0.0.1:{port}?verify=none")).await;
    assert!(
        log.text().contains("WARN") && log.text().contains("without a check of its certificate")
    );
}

#[tokio::test]
async fn a_server_that_knows_its_clients_by_their_certificates_is_shown_one() {
    let (server, cert) = start_with_tls_for_known_clients();
    let key = cert.with_file_name("key.pem");
    let (port, cert, key) = (server.address().port(), cert.display(), key.display());
    let url = format!("rediss://localhost:{port}?cacert={cert}");
    assert!(!refused(&url).await.contains("cacert names"));
    works(&format!("{url}&cert={cert}&key={key}")).await;
}

#[tokio::test]
async fn a_certificate_that_is_pinned_is_taken_in_its_time_and_for_its_names() {
    for (made, host, why_not) in cases() {
        let server = start_with_certificate(&made.certificate(), &made.key());
        let pinned = made.certificate();
        let (port, pinned) = (server.address().port(), pinned.display());
        let url = format!("rediss://{host}:{port}?cacert={pinned}");
        match why_not {
            None => works(&url).await,
            Some(expected) => {
                let error = refused(&url).await;
                assert!(error.contains(expected), "{host}: {error}");
            }
        }
        // Nobody else would take it.
        assert!(refused(&format!("rediss://{host}:{port}")).await.contains("no TLS connection"));
    }
}

#[tokio::test]
async fn another_certificate_of_the_same_name_is_not_taken_for_a_pinned_one() {
    let [one, other] = [(); 2].map(|()| SelfSigned::by_openssl(&["-subj", "/CN=localhost"]));
    let server = start_with_certificate(&one.certificate(), &one.key());
    let port = server.address().port();
    let pinned = other.certificate();
    let error = refused(&format!("rediss://localhost:{port}?cacert={}", pinned.display())).await;
    assert!(error.contains("no TLS connection"), "{error}");
    assert!(error.contains(&format!("`{}` has neither", pinned.display())), "{error}");
    // In a file of several, any may be the server's.
    let bundle = other.bundle(&[&one]);
    works(&format!("rediss://localhost:{port}?cacert={}", bundle.display())).await;
}
