//! A certificate authority of the tests' own, and servers that it vouches for.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tokio_rustls::TlsAcceptor;

/// Signs certificates. Its own is what clients are told to trust.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// # Errors
    ///
    /// If no key can be made.
    pub fn new() -> Result<Self> {
        let key = KeyPair::generate().context("could not make a key")?;
        let mut params = CertificateParams::default();
        // Not the name of what it signs, which would then look as if it had signed itself.
        params.distinguished_name.push(DnType::CommonName, "authority of the tests");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).context("could not make a certificate")?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Its certificate, as PEM.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// For a server of this name, which speaks these protocols.
    ///
    /// # Errors
    ///
    /// If no certificate can be made.
    pub fn acceptor(&self, name: &str, protocols: &[&str]) -> Result<TlsAcceptor> {
        let key = KeyPair::generate().context("could not make a key")?;
        let params = CertificateParams::new([name.to_owned()]).context("the name is wrong")?;
        let signed = params.signed_by(&key, &self.issuer).context("could not sign")?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth();
        let mut config = config.with_single_cert(vec![signed.der().clone()], key)?;
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}
