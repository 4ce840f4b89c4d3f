//! TLS with the servers of a store.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, task::spawn_blocking};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::super::{
    config::RedisConfig,
    error::{self, NAME},
};
use crate::store::{
    OpenError,
    floor::{
        text::root_cause,
        tls::{ClientCertificate, Trust, client_config},
    },
};

/// How TLS is spoken with all servers of a store.
#[derive(Clone)]
pub(super) struct Tls(TlsConnector);

impl Tls {
    /// Reads the certificates of a configuration, if it has TLS at all.
    pub(super) async fn of(config: &RedisConfig) -> Result<Option<Self>, OpenError> {
        if !config.tls {
            return Ok(None);
        }
        let trust = match &config.cacert {
            _ if !config.verify => {
                tracing::warn!(
                    "Redis is spoken to without a check of its certificate, so whoever is between this \
                     process and the server can read and change every session; `cacert` names \
                     certificates to check it by"
                );
                Trust::Anyone
            }
            Some(file) => Trust::File(file.clone()),
            None => Trust::System,
        };
        let own = config.cert.clone().zip(config.key.clone());
        let own = own.map(|(certificate, key)| ClientCertificate { certificate, key });
        let made = spawn_blocking(move || client_config(&trust, own.as_ref())).await;
        let made = made.map_err(|error| error::not_now(&error.to_string()))?;
        let made = made.map_err(|error| error.into_open_error(NAME, "cacert"))?;
        Ok(Some(Self(TlsConnector::from(Arc::new(made)))))
    }

    pub(super) async fn connect(
        &self,
        host: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, String> {
        let name = ServerName::try_from(host.to_owned());
        let name =
            name.map_err(|_| "the host has no name that a certificate could have".to_owned())?;
        self.0.connect(name, stream).await.map_err(|error| root_cause(&error))
    }
}
