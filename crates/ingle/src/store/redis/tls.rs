//! TLS, with the cryptography that all of this library uses, whatever the process has set.

use std::{path::Path, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::failure::{RedisError, one_line};

/// How TLS is spoken with all servers of a store.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Trusts the certificates in this file, or those that the machine trusts. Reads files.
    pub(super) fn new(cacert: Option<&Path>) -> Result<Self, RedisError> {
        let mut roots = RootCertStore::empty();
        let wrong = |error: &dyn std::error::Error| RedisError::Cacert {
            message: one_line(&error.to_string()),
        };
        match cacert {
            Some(path) => {
                let certificates =
                    CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
                for certificate in certificates {
                    let certificate = certificate.map_err(|error| wrong(&error))?;
                    roots.add(certificate).map_err(|error| wrong(&error))?;
                }
                if roots.is_empty() {
                    return Err(RedisError::Cacert { message: "it has none".to_owned() });
                }
            }
            None => {
                // One that the library cannot read is of no use, and of no harm to the others.
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned());
        let name =
            name.map_err(|_| "the host has no name that a certificate could have".to_owned())?;
        self.0.connect(name, stream).await.map_err(|error| one_line(&error.to_string()))
    }
}
