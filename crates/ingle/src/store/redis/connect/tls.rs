//! TLS with the servers of a store.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::{net::TcpStream, task::spawn_blocking};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::super::{
    config::RedisConfig,
    error::{self, Cause, NAME},
};
use crate::store::{
    OpenError,
    floor::{
        text::root_cause,
        tls::{ClientCertificate, Trust, client_config, help},
    },
};

/// How TLS is spoken with all servers of a store.
#[derive(Clone)]
pub(super) struct Tls {
    connector: TlsConnector,
    trust: Trust,
}

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
        let trusted = trust.clone();
        let made = spawn_blocking(move || client_config(&trusted, own.as_ref())).await;
        let made = made.map_err(|error| error::not_now(&error.to_string()))?;
        let made = made.map_err(|error| error.into_open_error(NAME, Some("cacert")))?;
        Ok(Some(Self { connector: TlsConnector::from(Arc::new(made)), trust }))
    }

    /// Speaks TLS with a host, which messages call `server`.
    pub(super) async fn connect(
        &self,
        host: &str,
        server: &str,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, Cause> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| {
            error::tls(server, "the host has no name that a certificate could have", None)
        })?;
        self.connector.connect(name, stream).await.map_err(|error| {
            let of_tls = error.get_ref().and_then(|inner| inner.downcast_ref());
            let help = of_tls.and_then(|error| help(error, &self.trust, "?cacert"));
            error::tls(server, &root_cause(&error), help)
        })
    }
}
