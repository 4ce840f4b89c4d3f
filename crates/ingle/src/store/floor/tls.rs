//! TLS for stores on a server: whom it trusts, and who the app is.
//!
//! It reads files of certificates and makes rustls' configuration. It opens no connection.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error as RustlsError, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem, pem::PemObject as _},
};

use self::pinned::Pinned;
use super::{
    provider::{NoProvider, provider},
    text::{one_line, shown},
};
use crate::store::{OpenError, OpenErrorKind};

mod pinned;

/// Whose certificates a store takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Trust {
    /// One for the host's name, signed by an authority that the system trusts.
    System,
    /// One that is in this PEM file, or that an authority in it has signed: for the host's name, too.
    File(PathBuf),
    /// Any: what is sent is encrypted, and whom it is sent to is not checked.
    Anyone,
}

/// The app's own certificate, for servers that ask for one, and its key: two PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct ClientCertificate {
    pub(in crate::store) certificate: PathBuf,
    pub(in crate::store) key: PathBuf,
}

/// Why TLS cannot be set up on this side.
#[derive(Debug, thiserror::Error)]
pub(in crate::store) enum TlsError {
    #[error(transparent)]
    NoProvider(#[from] NoProvider),
    #[error("no CA certificates are installed, and without them no server can be trusted")]
    NoRoots,
    #[error("`{}` is of no use for TLS ({problem})", shown(file))]
    File { file: PathBuf, problem: String },
    #[error("TLS cannot be set up ({0})")]
    Config(String),
}

impl TlsError {
    /// The same for who opens a store; `option` is what names a file of authorities in its URL, if
    /// anything does.
    pub(in crate::store) fn into_open_error(
        self,
        store: &'static str,
        option: Option<&str>,
    ) -> OpenError {
        let help = match &self {
            Self::NoProvider(_) => NoProvider::HELP.to_owned(),
            Self::NoRoots => {
                let option = option.map(|option| format!(", or name a file with `{option}=FILE`"));
                format!(
                    "install the package `ca-certificates`, or copy its \
                     `/etc/ssl/certs/ca-certificates.crt` into the image{}; where SSL_CERT_FILE or \
                     SSL_CERT_DIR is set, only what that names counts",
                    option.unwrap_or_default()
                )
            }
            Self::File { .. } => "name a PEM file that the app can read".to_owned(),
            Self::Config(_) => String::new(),
        };
        OpenError::new(store, OpenErrorKind::Tls, self.to_string(), help)
    }
}

impl From<RustlsError> for TlsError {
    fn from(error: RustlsError) -> Self {
        Self::Config(one_line(&error.to_string()))
    }
}

/// What rustls is told about the connections of a store. Reads files.
pub(in crate::store) fn client_config(
    trust: &Trust,
    certificate: Option<&ClientCertificate>,
) -> Result<ClientConfig, TlsError> {
    let provider = provider()?;
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let verifier = |pinned| Arc::new(Verifier { provider: Arc::clone(&provider), pinned });
    let config = match trust {
        Trust::System => config.with_root_certificates(system_roots()?),
        Trust::File(file) => {
            let pinned = those_in(file, Arc::clone(&provider))?;
            config.dangerous().with_custom_certificate_verifier(verifier(Some(pinned)))
        }
        Trust::Anyone => config.dangerous().with_custom_certificate_verifier(verifier(None)),
    };
    let Some(ClientCertificate { certificate, key: file }) = certificate else {
        return Ok(config.with_no_client_auth());
    };
    let chain = certificates(certificate)?;
    let key = PrivateKeyDer::from_pem_file(file).map_err(|error| wrong(file, error))?;
    config.with_client_auth_cert(chain, key).map_err(|error| refused(file, &error))
}

/// Those that the system trusts.
pub(in crate::store) fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    // One that rustls cannot read is of no use, and of no harm to the others.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}

/// The certificates of a file, and what they have signed.
fn those_in(file: &Path, provider: Arc<CryptoProvider>) -> Result<Pinned, TlsError> {
    let trusted = certificates(file)?;
    let mut roots = RootCertStore::empty();
    for certificate in &trusted {
        roots.add(certificate.clone()).map_err(|error| refused(file, &error))?;
    }
    let signed = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
    let signed = signed.map_err(|error| TlsError::Config(one_line(&error.to_string())))?;
    Ok(Pinned::new(trusted, signed))
}

/// What to do about a handshake that failed, where its error says it. `option` is what names a file of
/// certificates in a URL.
pub(in crate::store) fn help(error: &RustlsError, trust: &Trust, option: &str) -> Option<String> {
    let RustlsError::InvalidCertificate(problem) = error else { return None };
    Some(match (problem, trust) {
        (
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            _,
        ) => "write the host as the server's certificate names it".to_owned(),
        (
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. },
            _,
        ) => "renew the server's certificate, or see the clock of this machine".to_owned(),
        (_, Trust::File(file)) => {
            format!(
                "`{}` has neither the server's certificate nor that of the authority that signed it; \
                 `openssl s_client -showcerts` shows what the server has",
                shown(file)
            )
        }
        (_, Trust::System) => format!(
            "name the file of the server's certificate, or of the authority that signed it, with \
             `{option}=FILE`"
        ),
        (_, Trust::Anyone) => return None,
    })
}

/// The certificates of a PEM file, at least one.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => Err(wrong(file, pem::Error::NoItemsFound)),
        Ok(found) => Ok(found),
        Err(error) => Err(wrong(file, error)),
    }
}

fn wrong(file: &Path, error: pem::Error) -> TlsError {
    let problem = match error {
        pem::Error::Io(error) => one_line(&error.to_string()),
        pem::Error::NoItemsFound => "it has nothing of the kind in PEM form".to_owned(),
        // Its words quote the line, which may be a part of a key.
        _ => "it is not in PEM form".to_owned(),
    };
    TlsError::File { file: file.to_owned(), problem }
}

fn refused(file: &Path, error: &RustlsError) -> TlsError {
    TlsError::File { file: file.to_owned(), problem: one_line(&error.to_string()) }
}

/// Checks that the server has the key of its certificate, and whose certificate that is.
#[derive(Debug)]
struct Verifier {
    provider: Arc<CryptoProvider>,
    /// Whose certificates are taken. Anyone's, if there is none.
    pinned: Option<Pinned>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RustlsError> {
        match &self.pinned {
            Some(pinned) => pinned.verify(end_entity, intermediates, name, ocsp_response, now),
            None => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RustlsError> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    /// A folder with `certificate.pem` and `key.pem`, which belong together.
    fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.path().join("certificate.pem"), made.cert.pem()).unwrap();
        fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        folder
    }

    fn of(folder: &TempDir, certificate: &str, key: &str) -> ClientCertificate {
        let [certificate, key] = [certificate, key].map(|name| folder.path().join(name));
        ClientCertificate { certificate, key }
    }

    #[test]
    fn each_way_to_trust_makes_a_configuration() {
        let folder = folder();
        let file = Trust::File(folder.path().join("certificate.pem"));
        let own = of(&folder, "certificate.pem", "key.pem");
        for trust in [file, Trust::Anyone] {
            let config = client_config(&trust, None).unwrap();
            assert!(!config.client_auth_cert_resolver.has_certs());
            let config = client_config(&trust, Some(&own)).unwrap();
            assert!(config.client_auth_cert_resolver.has_certs());
        }
    }

    #[test]
    fn a_file_that_is_of_no_use_is_named_and_not_quoted() {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        let secret = "s3cret";
        fs::write(path("empty.pem"), "").unwrap();
        fs::write(path("broken.pem"), format!("-----BEGIN {secret}\n{secret}\n")).unwrap();
        let text = fs::read_to_string(path("certificate.pem")).unwrap();
        fs::write(path("half.pem"), &text[..text.len() / 2]).unwrap();
        let cases = [
            ("nowhere.pem", "No such file"),
            ("empty.pem", "nothing of the kind"),
            ("key.pem", "nothing of the kind"),
            ("broken.pem", "not in PEM form"),
            ("half.pem", "not in PEM form"),
        ];
        let own = of(&folder, "certificate.pem", "key.pem");
        for (name, problem) in cases {
            let as_root = client_config(&Trust::File(path(name)), None).unwrap_err();
            let certificate = ClientCertificate { certificate: path(name), ..own.clone() };
            let as_certificate = client_config(&Trust::Anyone, Some(&certificate)).unwrap_err();
            for error in [as_root, as_certificate] {
                let line = error.into_open_error("test", Some("roots")).to_string();
                assert!(line.contains(name) && line.contains(problem), "{line}");
                assert!(!line.contains(secret) && !line.contains('\n'), "{line}");
            }
        }
        let no_key = of(&folder, "certificate.pem", "certificate.pem");
        let error = client_config(&Trust::Anyone, Some(&no_key)).unwrap_err();
        assert!(error.to_string().contains("nothing of the kind"), "{error}");
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, other) = (folder(), folder());
        let mut mixed = of(&one, "certificate.pem", "key.pem");
        mixed.key = other.path().join("key.pem");
        let error = client_config(&Trust::Anyone, Some(&mixed)).unwrap_err();
        let file = mixed.key.display().to_string();
        assert!(matches!(&error, TlsError::File { .. }) && error.to_string().contains(&file));
    }

    #[test]
    fn each_error_says_what_to_do() {
        let help = |error: TlsError| {
            let error = error.into_open_error("test", Some("sslrootcert"));
            assert_eq!((error.store(), error.kind()), ("test", OpenErrorKind::Tls));
            error.to_string()
        };
        assert!(help(NoProvider.into()).contains("cargo add rustls"));
        assert!(help(TlsError::NoRoots).contains("`sslrootcert=FILE`"));
        let none = TlsError::NoRoots.into_open_error("test", None).to_string();
        assert!(none.contains("`ca-certificates`") && !none.contains("=FILE"), "{none}");
    }
}
