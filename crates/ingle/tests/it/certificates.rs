//! Certificates of servers, as people make them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, date_time_ymd};
use tempfile::TempDir;

/// A certificate that its own key has signed, and the key, in PEM files.
pub(crate) struct SelfSigned {
    folder: TempDir,
}

impl SelfSigned {
    /// By `openssl req -x509`, which says `CA:TRUE` by itself, with these words besides.
    pub(crate) fn by_openssl(words: &[&str]) -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        let mut openssl = Command::new("openssl");
        openssl.args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]).args(words);
        openssl.arg("-out").arg(made.certificate()).arg("-keyout").arg(made.key());
        let output = openssl.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        made
    }

    /// The same for `localhost`, and for some years.
    pub(crate) fn between(from: i32, until: i32) -> Self {
        let made = Self { folder: tempfile::tempdir().unwrap() };
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = date_time_ymd(from, 1, 1);
        params.not_after = date_time_ymd(until, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(made.certificate(), certificate.pem()).unwrap();
        std::fs::write(made.key(), key.serialize_pem()).unwrap();
        made
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The words of the files.
    #[cfg(feature = "postgres")]
    pub(crate) fn pem(&self) -> [String; 2] {
        [self.certificate(), self.key()].map(|file| read(&file))
    }

    /// A file that has the certificates of these.
    pub(crate) fn bundle(&self, others: &[&Self]) -> PathBuf {
        let all = [self].into_iter().chain(others.iter().copied());
        let file = self.folder.path().join("bundle.pem");
        std::fs::write(&file, all.map(|made| read(&made.certificate())).collect::<String>())
            .unwrap();
        file
    }
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap()
}

/// A server's certificate, the host that it is looked for at, and what is said where it is pinned and not
/// taken.
pub(crate) type Case = (SelfSigned, &'static str, Option<&'static str>);

/// Certificates as `openssl req -x509` makes them.
pub(crate) fn cases() -> Vec<Case> {
    let openssl = SelfSigned::by_openssl;
    let san = |names: &str| format!("subjectAltName={names}");
    let both = san("DNS:localhost,IP:127.0.0.1");
    let plain = ["-subj", "/CN=localhost"];
    let other_san = san("DNS:other.example");
    let localhost_san = san("DNS:localhost");
    vec![
        (openssl(&plain), "localhost", None),
        (openssl(&["-subj", "/O=Shop/CN=LOCALHOST"]), "localhost", None),
        (openssl(&["-subj", "/CN=127.0.0.1"]), "127.0.0.1", None),
        (openssl(&["-subj", "/CN=db", "-addext", &both]), "localhost", None),
        (openssl(&["-subj", "/CN=db", "-addext", &both]), "127.0.0.1", None),
        (
            openssl(&[
                "-subj",
                "/CN=db",
                "-addext",
                &localhost_san,
                "-addext",
                "basicConstraints=CA:FALSE",
            ]),
            "localhost",
            None,
        ),
        (openssl(&plain), "127.0.0.1", Some("write the host as the server's certificate names it")),
        (
            openssl(&["-subj", "/CN=localhost", "-addext", &other_san]),
            "localhost",
            Some("write the host as the server's certificate names it"),
        ),
        (
            openssl(&["-subj", "/CN=localhost.evil.example"]),
            "localhost",
            Some("write the host as the server's certificate names it"),
        ),
        (SelfSigned::between(2020, 2021), "localhost", Some("renew the server's certificate")),
        (SelfSigned::between(2900, 3000), "localhost", Some("renew the server's certificate")),
    ]
}
