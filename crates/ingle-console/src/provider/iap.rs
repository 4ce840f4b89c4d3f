//! Google's Identity-Aware Proxy: a signed header in each request. The plain headers beside it, such as
//! `X-Goog-Authenticated-User-Email`, are signed by nobody and not read.

use std::{sync::Arc, time::Duration};

use axum::http::{HeaderMap, HeaderName};
use ingle::clock::Timestamp;
use openidconnect::{
    ClaimsVerificationError, ClientId, IssuerUrl, JsonWebKeySetUrl, Nonce,
    SignatureVerificationError,
    core::{CoreJsonWebKeySet, CoreJwsSigningAlgorithm},
};
use url::Url;

use super::{
    Mail, Refused, Roles, Token, Verifier, at,
    cached::{Age, Cached},
    grant_of, name_of, verified,
    web::{Web, WebError, chain, undiscovered},
};
use crate::access::{Grant, InvalidAccess, is_loopback};

const HEADER: HeaderName = HeaderName::from_static("x-goog-iap-jwt-assertion");

const ISSUER: &str = "https://cloud.google.com/iap";

const KEYS: &str = "https://www.gstatic.com/iap/verify/public_key-jwk";

/// No token of IAP is so long.
const BYTES_MAX: usize = 8 * 1024;

/// Google changes its keys after days, and has new ones in the list before it uses them.
const AGE: Age =
    Age { fresh: Duration::from_secs(60 * 60), usable: Duration::from_secs(24 * 60 * 60) };

/// Where a key is that is not known, the list is asked for again.
const NOW: Age = Age { fresh: Duration::ZERO, usable: Duration::ZERO };

/// Sign-in by Google's Identity-Aware Proxy, in front of Cloud Run, App Engine or a load balancer.
///
/// The console checks the signed header of each request (`X-Goog-IAP-JWT-Assertion`): signature (ES256),
/// issuer, audience and times. People are named by their mail address.
#[derive(Debug)]
pub struct Iap {
    audience: ClientId,
    issuer: IssuerUrl,
    roles: Roles,
    keys: IapKeys,
    web: Web,
    known: Cached<CoreJsonWebKeySet>,
}

/// Where the keys are by which IAP signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IapKeys(Url);

impl IapKeys {
    /// A list of keys that a server on this machine has, in Google's form (JWK). For tests: whoever has these
    /// keys is whom they say. Google's own are the default.
    ///
    /// # Errors
    /// It is no address of this machine.
    pub fn on_loopback(url: &str) -> Result<Self, InvalidAccess> {
        match Url::parse(url) {
            Ok(url) if is_loopback(&url) => Ok(Self(url)),
            _ => Err(InvalidAccess::new("keys for tests are on a loopback address alone")),
        }
    }
}

impl Iap {
    /// Sign-in by IAP, for this audience. Google's console shows it beside the service, such as
    /// `/projects/NUMBER/locations/REGION/services/NAME` for Cloud Run.
    ///
    /// # Errors
    /// The audience does not begin with `/projects/`. The program has no cryptography for TLS.
    pub fn new(audience: impl Into<String>, roles: Roles) -> Result<Self, InvalidAccess> {
        let audience = audience.into();
        if !audience.starts_with("/projects/") {
            let text = "the audience of IAP takes what Google shows for the service, such as \
                        /projects/NUMBER/locations/REGION/services/NAME";
            return Err(InvalidAccess::new(text));
        }
        let wrong = |error: url::ParseError| InvalidAccess::new(error.to_string());
        let keys = Url::parse(KEYS).map_err(wrong)?;
        Ok(Self {
            audience: ClientId::new(audience),
            issuer: IssuerUrl::new(ISSUER.to_owned()).map_err(wrong)?,
            roles,
            web: Web::to(&keys)?,
            keys: IapKeys(keys),
            known: Cached::default(),
        })
    }

    /// Other keys than Google's.
    ///
    /// # Errors
    /// The program has no cryptography for TLS.
    pub fn keys(self, keys: IapKeys) -> Result<Self, InvalidAccess> {
        Ok(Self { web: Web::to(&keys.0)?, keys, ..self })
    }

    /// Who asks.
    pub(crate) async fn who(&self, headers: &HeaderMap, now: Timestamp) -> Result<Grant, Refused> {
        let mut signed = headers.get_all(HEADER).iter();
        let (Some(signed), None) = (signed.next(), signed.next()) else {
            return Err(Refused::Unproven(
                "the request does not have one signed header".to_owned(),
            ));
        };
        let text = signed.to_str().ok().filter(|text| text.len() <= BYTES_MAX);
        let token = text.and_then(|text| text.parse::<Token>().ok());
        let token = token.ok_or_else(|| Refused::Unproven("the header is no token".to_owned()))?;
        let claims = match self.verify(&token, AGE, now).await {
            Err(Unverified::NoKey(_)) => match self.verify(&token, NOW, now).await {
                // It was asked for just now, perhaps by another request that found the key.
                Err(Unverified::NoKeys(_)) => self.verify(&token, AGE, now).await,
                other => other,
            },
            other => other,
        };
        let claims = claims.map_err(|unverified| match unverified {
            Unverified::NoKeys(why) => Refused::Unreachable(why),
            Unverified::NoKey(error) | Unverified::Wrong(error) => Refused::Unproven(chain(&error)),
        })?;
        let name = name_of(&claims, None, Mail::Verified)?;
        grant_of(&claims, name, &self.roles, "IAP")
    }

    async fn verify(
        &self,
        token: &Token,
        age: Age,
        now: Timestamp,
    ) -> Result<super::Claims, Unverified> {
        let keys = self.keys_of(age, now).await?;
        let (audience, issuer) = (self.audience.clone(), self.issuer.clone());
        let verifier =
            Verifier::new_public_client(audience, issuer, CoreJsonWebKeySet::clone(&keys));
        let verifier = verifier.set_allowed_algs([CoreJwsSigningAlgorithm::EcdsaP256Sha256]);
        // It is one of a request, not of a sign-in.
        let no_nonce = |_: Option<&Nonce>| Ok(());
        verified(token, &at(verifier, now), no_nonce).map_err(|error| match error {
            ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            ) => Unverified::NoKey(error),
            error => Unverified::Wrong(error),
        })
    }

    async fn keys_of(
        &self,
        age: Age,
        now: Timestamp,
    ) -> Result<Arc<CoreJsonWebKeySet>, Unverified> {
        let ask = async {
            let url = JsonWebKeySetUrl::from_url(self.keys.0.clone());
            CoreJsonWebKeySet::fetch_async(&url, &self.web).await
        };
        let keys = self.known.get(age, now, ask).await;
        keys.map_err(|error: Option<openidconnect::DiscoveryError<WebError>>| {
            let just_now = || "Google's keys were asked for a few seconds ago".to_owned();
            Unverified::NoKeys(error.map_or_else(just_now, |error| undiscovered(&error)))
        })
    }
}

/// Why a token is not believed.
enum Unverified {
    /// The keys are not known.
    NoKeys(String),
    /// No known key has the name that it is signed by.
    NoKey(ClaimsVerificationError),
    Wrong(ClaimsVerificationError),
}
