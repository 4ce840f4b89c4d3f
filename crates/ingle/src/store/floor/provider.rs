//! The cryptography of TLS: the program's own choice, never this library's.
//!
//! rustls has two providers of cryptography, *ring* and aws-lc-rs, each behind a feature of rustls.
//! An app that says nothing else gets the one that is compiled in, and panics if both are. So no
//! dependency of this library turns on either, and a store asks [`provider`] for the one that the
//! program has.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// A store needs TLS, and the program has no cryptography for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the program has no cryptography for TLS")]
pub(in crate::store) struct NoProvider;

impl NoProvider {
    /// What to do about it.
    pub(in crate::store) const HELP: &'static str = "add it by `cargo add rustls@0.23`, or install a provider by \
         `rustls::crypto::CryptoProvider::install_default` before the store is opened";
}

/// The provider that the program has installed. Where it has installed none, the one that is compiled
/// in; of two, that which rustls has by default.
pub(in crate::store) fn provider() -> Result<Arc<CryptoProvider>, NoProvider> {
    match CryptoProvider::get_default() {
        Some(installed) => Ok(Arc::clone(installed)),
        None => compiled_in().map(Arc::new).ok_or(NoProvider),
    }
}

/// A crate cannot ask which features of a dependency are on. But a name is looked up from the
/// inside out: where rustls has the module, its name comes from the glob import, and else from
/// the stand-in outside of it.
#[allow(
    dead_code,
    unused_imports,
    clippy::useless_conversion,
    reason = "which of these lints finds something depends on the features of rustls"
)]
fn compiled_in() -> Option<CryptoProvider> {
    mod aws_lc_rs {
        pub(super) fn default_provider() -> Option<super::CryptoProvider> {
            None
        }
    }
    mod ring {
        pub(super) fn default_provider() -> Option<super::CryptoProvider> {
            None
        }
    }
    {
        use rustls::crypto::*;
        let by_default: Option<CryptoProvider> = aws_lc_rs::default_provider().into();
        by_default.or_else(|| ring::default_provider().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_that_is_compiled_in_is_found() {
        // The tests of this library turn on rustls' `ring`.
        let found = compiled_in().expect("one is compiled in");
        let ring = rustls::crypto::ring::default_provider();
        assert_eq!(format!("{:?}", found.key_provider), format!("{:?}", ring.key_provider));
    }
}
