//! Certificates that are trusted as they are.
//!
//! A file of trusted certificates may hold the server's own. `openssl req -x509` makes such a one, with
//! `CA:TRUE` in it, and WebPKI takes no certificate of an authority from a server. OpenSSL does where it is
//! itself trusted, and so do `redis-cli` and libpq.
//!
//! It weakens nothing. A certificate in the file is a trust anchor (RFC 5280, 6.1.1 d): who has its key could
//! sign another certificate for any name, and be believed. To be taken as it is, a server must have that same
//! key, which each handshake proves. Only the very same bytes count: another certificate of the same name, or
//! for the same key, goes the usual way. Also a pinned one is refused outside of its time, and for a host
//! that it does not name. RFC 6125 (6.6.2) and RFC 7671 (5.1) would allow both; this library does not, since a
//! file may hold the certificates of several servers, and none of them may stand in for another.

use std::{sync::Arc, time::Duration};

use rustls::{
    CertificateError, Error as RustlsError,
    client::{
        WebPkiServerVerifier,
        danger::{ServerCertVerified, ServerCertVerifier as _},
        verify_server_name,
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
};
use x509_cert::{
    Certificate,
    attr::AttributeTypeAndValue,
    der::{
        Decode as _,
        asn1::{ObjectIdentifier, PrintableStringRef, Utf8StringRef},
    },
};

/// The name of a certificate that has no other names (RFC 5280, A.1).
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// All names that are meant for hosts and the like (RFC 5280, 4.2.1.6).
const ALTERNATIVE_NAMES: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");

/// Takes the trusted certificates themselves, and else what one of them has signed.
#[derive(Debug)]
pub(super) struct Pinned {
    trusted: Vec<CertificateDer<'static>>,
    signed: Arc<WebPkiServerVerifier>,
}

impl Pinned {
    pub(super) fn new(
        trusted: Vec<CertificateDer<'static>>,
        signed: Arc<WebPkiServerVerifier>,
    ) -> Self {
        Self { trusted, signed }
    }

    /// Whether this certificate is trusted for this host now.
    pub(super) fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        if !self.trusted.contains(end_entity) {
            let signed = &self.signed;
            return signed.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        }
        let certificate = Certificate::from_der(end_entity)
            .map_err(|_| RustlsError::InvalidCertificate(CertificateError::BadEncoding))?;
        in_time(&certificate, now)?;
        for_host(&certificate, end_entity, name)?;
        Ok(ServerCertVerified::assertion())
    }
}

/// Whether its time has come and is not over.
fn in_time(certificate: &Certificate, now: UnixTime) -> Result<(), RustlsError> {
    let validity = &certificate.tbs_certificate.validity;
    let [from, until] =
        [validity.not_before, validity.not_after].map(|time| time.to_unix_duration());
    let at = UnixTime::since_unix_epoch;
    let is = Duration::from_secs(now.as_secs());
    let error = if is < from {
        CertificateError::NotValidYetContext { time: now, not_before: at(from) }
    } else if is > until {
        CertificateError::ExpiredContext { time: now, not_after: at(until) }
    } else {
        return Ok(());
    };
    Err(error.into())
}

/// Whether it names the host. One without names for hosts may do so by its common name, as for libpq (RFC
/// 6125, 6.4.4).
fn for_host(
    certificate: &Certificate,
    der: &CertificateDer<'_>,
    name: &ServerName<'_>,
) -> Result<(), RustlsError> {
    let tbs = &certificate.tbs_certificate;
    let mut extensions = tbs.extensions.iter().flatten();
    let has_names = extensions.any(|extension| extension.extn_id == ALTERNATIVE_NAMES);
    let mut parts = tbs.subject.0.iter().flat_map(|part| part.0.iter());
    let common = parts.find(|part| part.oid == COMMON_NAME).and_then(text);
    match common {
        Some(common) if !has_names && common.eq_ignore_ascii_case(&name.to_str()) => Ok(()),
        _ => verify_server_name(&ParsedCertificate::try_from(der)?, name),
    }
}

fn text(part: &AttributeTypeAndValue) -> Option<&str> {
    let utf8 = part.value.decode_as::<Utf8StringRef<'_>>();
    let utf8 = utf8.map(|text| text.as_str());
    let printable = part.value.decode_as::<PrintableStringRef<'_>>();
    utf8.or_else(|_| printable.map(|text| text.as_str())).ok()
}
