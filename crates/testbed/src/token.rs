//! Signed tokens (JWT) by a key of the tests' own, and tokens that look so.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::{Value, json};

/// Signs tokens by ES256, with a key that it has made.
#[derive(Debug)]
pub struct Signer {
    key: EcdsaKeyPair,
    name: String,
}

impl Signer {
    /// One whose key has this name (`kid`).
    ///
    /// # Panics
    ///
    /// If no key can be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let random = SystemRandom::new();
        let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key is made");
        let key = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random);
        Self { key: key.expect("it reads its own key"), name: name.to_owned() }
    }

    /// The key for who checks, in the form of a list of keys (JWK).
    #[must_use]
    pub fn jwk(&self) -> Value {
        let (x, y) = self.point();
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
            "kid": self.name,
            "x": URL_SAFE_NO_PAD.encode(x),
            "y": URL_SAFE_NO_PAD.encode(y),
        })
    }

    /// The bytes of the key that everybody may know.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.key.public_key().as_ref().to_vec()
    }

    fn point(&self) -> (&[u8], &[u8]) {
        // An uncompressed point: a byte, and two numbers of 32.
        self.key.public_key().as_ref().split_at(1).1.split_at(32)
    }

    /// A token with these claims.
    #[must_use]
    pub fn sign(&self, claims: &Value) -> String {
        self.sign_as(&json!({ "alg": "ES256", "typ": "JWT", "kid": self.name }), claims)
    }

    /// One with this header.
    ///
    /// # Panics
    ///
    /// If it cannot be signed.
    #[must_use]
    pub fn sign_as(&self, header: &Value, claims: &Value) -> String {
        let text = unsigned(header, claims);
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).expect("it signs");
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A token that is signed by a shared secret (HS256), with this header.
#[must_use]
pub fn sign_by_secret(secret: &[u8], header: &Value, claims: &Value) -> String {
    let text = unsigned(header, claims);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), text.as_bytes());
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// What a signature is made of: header and claims.
#[must_use]
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}
