//! Whoever vouches for people by signed tokens: a provider of OpenID Connect, or Google's Identity-Aware
//! Proxy. Both sign a list of claims, which `openidconnect` checks; what the claims mean is here.

mod begun;
mod cached;
mod iap;
mod oidc;
pub(crate) mod pages;
mod web;

use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use ingle::clock::Timestamp;
use ingle_operator::inert;
use openidconnect::{
    AdditionalClaims, ClaimsVerificationError, IdToken, IdTokenVerifier, NonceVerifier,
    core::{
        CoreGenderClaim, CoreJsonWebKey, CoreJweContentEncryptionAlgorithm, CoreJwsSigningAlgorithm,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub use iap::{Iap, IapKeys};
pub use oidc::{NotReady, Oidc};

use crate::{
    access::{Grant, InvalidAccess, Role, RoleTable, is_name},
    problem::Problem,
};

/// How far the clock of whoever signs may be from ours, in seconds.
const SKEW_SECONDS: i64 = 60;

/// What is signed, by name.
type Claims = Map<String, Value>;

/// Every claim that is none of OpenID Connect's own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
struct OtherClaims(Claims);

impl AdditionalClaims for OtherClaims {}

type Token = IdToken<
    OtherClaims,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;

type Verifier<'a> = IdTokenVerifier<'a, CoreJsonWebKey>;

/// Compares the times of a token with the app's clock. A clock that is a minute off is no reason to refuse.
fn at<'a>(verifier: Verifier<'a>, now: Timestamp) -> Verifier<'a> {
    let millis = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    let time = DateTime::<Utc>::from_timestamp_millis(millis).unwrap_or_default();
    let skew = chrono::TimeDelta::seconds(SKEW_SECONDS);
    verifier.set_time_fn(move || time - skew).set_issue_time_verifier_fn(move |issued| match issued
        <= time + skew
    {
        true => Ok(()),
        false => Err("it was issued in the future".to_owned()),
    })
}

/// The claims of a token that is whole, signed, of now and meant for us.
fn verified(
    token: &Token,
    verifier: &Verifier<'_>,
    nonce: impl NonceVerifier,
) -> Result<Claims, ClaimsVerificationError> {
    let claims = token.claims(verifier, nonce)?;
    match serde_json::to_value(claims) {
        Ok(Value::Object(claims)) => Ok(claims),
        _ => Err(ClaimsVerificationError::Other("its claims are no map".to_owned())),
    }
}

/// A claim: something that a provider says of somebody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim(String);

impl Claim {
    /// The claim of this name, such as `groups`. A name that begins with a slash is a JSON pointer
    /// (RFC 6901), for claims inside of others: `/realm_access/roles`.
    ///
    /// # Errors
    /// The name is empty.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidAccess> {
        let name = name.into();
        match name.is_empty() {
            true => Err(InvalidAccess::new("a claim has a name, such as groups")),
            false => Ok(Self(name)),
        }
    }

    fn find<'a>(&self, claims: &'a Claims) -> Option<&'a Value> {
        let Some(pointer) = self.0.strip_prefix('/') else { return claims.get(&self.0) };
        let mut parts = pointer.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
        let first = claims.get(&parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(&part))
    }

    /// The texts that it has: itself, or those of a list. Numbers and the like are no names of anything.
    fn texts<'a>(&self, claims: &'a Claims) -> Vec<&'a str> {
        match self.find(claims) {
            Some(Value::String(text)) => vec![text],
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// What gives people their roles. It is one of the two, so that nobody gets the role of a group by a name
/// that is spelled like it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roles {
    /// Their names, as the audit log has them.
    ByName(RoleTable),
    /// What a claim says of them, such as their groups.
    ByClaim {
        /// The claim: a text or a list of texts.
        claim: Claim,
        /// What each of its values means.
        table: RoleTable,
    },
}

impl Roles {
    fn of(&self, name: &str, claims: &Claims) -> Option<Role> {
        match self {
            Self::ByName(table) => table.role([name]),
            Self::ByClaim { claim, table } => table.role(claim.texts(claims)),
        }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Whoever vouches for people does not answer, or not as it should. The text is for the log.
    Unreachable(String),
    /// What it says cannot be believed. The text is for the log.
    Unproven(String),
    /// It is known who they are, and they have no role.
    NoRole(String),
}

impl Refused {
    /// What whoever asks is told. Why it is so is for the log.
    pub(crate) fn problem(self) -> Problem {
        match self {
            Self::Unreachable(why) => {
                tracing::warn!(why = %inert(&why), "nobody can be let in: who vouches for people does not answer");
                let text = "Whoever vouches for people here does not answer, so nobody can be let in. \
                            Nothing was changed. Try again in a moment.";
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "It is not known who you are", text)
            }
            Self::Unproven(why) => {
                tracing::warn!(why = %inert(&why), "somebody was refused whose name is not proved");
                let text = "What says who you are is missing, old, or not meant for this console. \
                            Nothing was changed.";
                Problem::new(StatusCode::FORBIDDEN, "It is not proved who you are", text)
            }
            Self::NoRole(name) => Problem::no_role(&name),
        }
    }
}

/// Whether the mail address among the claims is that of whoever signed in, and not one that they typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mail {
    /// Only if a claim says so.
    IfVerified,
    /// Always: whoever signs has no others.
    Verified,
}

/// The name of somebody for the audit log. One that is not a mail address says that it is the provider's
/// subject, so that no subject is taken for a mail address.
fn name_of(claims: &Claims, named: Option<&Claim>, mail: Mail) -> Result<String, Refused> {
    let text = |claim: &str| claims.get(claim).and_then(Value::as_str);
    let is_verified = mail == Mail::Verified || claims.get("email_verified") == Some(&true.into());
    let name = match named {
        Some(claim) => claim.texts(claims).first().map(|name| (*name).to_owned()),
        None => match text("email").filter(|email| is_verified && !email.is_empty()) {
            Some(email) => Some(email.to_owned()),
            None => text("sub").map(|sub| format!("sub:{sub}")),
        },
    };
    name.filter(|name| is_name(name)).ok_or_else(|| {
        let claim = named.map_or("sub", |claim| &claim.0);
        Refused::Unproven(format!("the claim {claim:?} has no name in it"))
    })
}

/// Who the claims are of, with the role that they give.
fn grant_of(
    claims: &Claims,
    name: String,
    roles: &Roles,
    from: impl Into<String>,
) -> Result<Grant, Refused> {
    match roles.of(&name, claims) {
        Some(role) => Ok(Grant::new(name, role).at(from)),
        None => Err(Refused::NoRole(name)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn claims(value: &Value) -> Claims {
        value.as_object().unwrap().clone()
    }

    fn claim(name: &str) -> Claim {
        Claim::new(name).unwrap()
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_inside_of_others() {
        let claims = claims(&json!({
            "groups": ["sre", 7, null, ["x"], "staff"],
            "role": "sre",
            "https://example.com/groups": ["a"],
            "realm_access": { "roles": ["b"] },
            "a/b": { "c~d": "e" },
            "n": 7,
        }));
        for (name, texts) in [
            ("groups", &["sre", "staff"][..]),
            ("role", &["sre"]),
            ("https://example.com/groups", &["a"]),
            ("/realm_access/roles", &["b"]),
            ("/a~1b/c~0d", &["e"]),
            ("/role", &["sre"]),
            ("realm_access", &[]),
            ("realm_access.roles", &[]),
            ("/groups/0", &[]),
            ("/", &[]),
            ("n", &[]),
            ("nothing", &[]),
        ] {
            assert_eq!(claim(name).texts(&claims), texts, "{name}");
        }
        assert!(Claim::new("").is_err());
    }

    #[test]
    fn a_mail_address_is_a_name_only_if_it_is_proved_to_be_theirs() {
        let name = |value: &Value, named: Option<&str>, mail| {
            name_of(&claims(value), named.map(claim).as_ref(), mail).ok()
        };
        let ada = "ada@example.com";
        let verified = json!({ "sub": "1", "email": ada, "email_verified": true });
        assert_eq!(name(&verified, None, Mail::IfVerified).as_deref(), Some(ada));
        for said in [json!(false), json!(null), json!("true"), json!(1)] {
            let claims = json!({ "sub": "1", "email": ada, "email_verified": said });
            assert_eq!(name(&claims, None, Mail::IfVerified).as_deref(), Some("sub:1"), "{said}");
        }
        // A subject that is spelled like a mail address is none.
        let sub = json!({ "sub": ada, "email": ada });
        assert_eq!(name(&sub, None, Mail::IfVerified), Some(format!("sub:{ada}")));
        assert_eq!(name(&sub, None, Mail::Verified).as_deref(), Some(ada));
        let named = json!({ "sub": "1", "email": ada, "user": "ada" });
        assert_eq!(name(&named, Some("user"), Mail::IfVerified).as_deref(), Some("ada"));
        assert_eq!(name(&named, Some("nothing"), Mail::IfVerified), None);
        for bad in ["", "a\nb", "\u{0}", &"a".repeat(256)] {
            assert_eq!(
                name(&json!({ "user": bad }), Some("user"), Mail::Verified),
                None,
                "{bad:?}"
            );
        }
    }

    #[test]
    fn a_name_that_is_spelled_like_a_group_gives_no_role() {
        let table = || RoleTable::new([(Role::Editor, "sre")]).unwrap();
        let by_claim = Roles::ByClaim { claim: claim("groups"), table: table() };
        assert_eq!(by_claim.of("sre", &claims(&json!({ "groups": ["staff"] }))), None);
        assert_eq!(by_claim.of("ada", &claims(&json!({ "groups": "sre" }))), Some(Role::Editor));
        let by_name = Roles::ByName(table());
        assert_eq!(by_name.of("ada", &claims(&json!({ "groups": ["sre"] }))), None);
        assert_eq!(by_name.of("sre", &Claims::new()), Some(Role::Editor));
    }
}
