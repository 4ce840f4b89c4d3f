//! OpenID Connect: the code flow with PKCE, at a provider that says where its parts are (Discovery 1.0).

use std::{fmt, sync::Arc};

use ingle::clock::Timestamp;
use openidconnect::{
    AccessTokenHash, AdditionalProviderMetadata, AuthType, AuthorizationCode, ClientId,
    ClientSecret, CsrfToken, EndSessionUrl, EndpointMaybeSet, EndpointNotSet, EndpointSet,
    IssuerUrl, LogoutRequest, Nonce, OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier,
    PostLogoutRedirectUrl, ProviderMetadata, RedirectUrl, RequestTokenError, Scope,
    TokenResponse as _, UserInfoClaims,
    core::{
        CoreAuthDisplay, CoreAuthenticationFlow, CoreClaimName, CoreClaimType, CoreClient,
        CoreClientAuthMethod, CoreGenderClaim, CoreGrantType, CoreJsonWebKey,
        CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm,
        CoreResponseMode, CoreResponseType, CoreSubjectIdentifierType, CoreTokenResponse,
    },
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Semaphore;
use url::Url;

use super::{
    Claim, Claims, Mail, OtherClaims, Refused, Roles, Token, at,
    begun::{Begins, Begun},
    cached::{Age, Cached, PAUSE},
    grant_of, name_of, verified,
    web::{Web, chain, undiscovered},
};
use crate::access::{Grant, InvalidAccess, PublicUrl, is_loopback, is_safe};

/// Each sign-in asks the provider anew where its parts are and what its keys are, and many at once ask
/// once.
const AGE: Age = Age { fresh: PAUSE, usable: PAUSE };

/// Signatures by a key that the provider alone has. A token that is signed by the client's secret (HS256),
/// or by nothing, is refused.
const ALGORITHMS: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Where a provider sends people back to, below the console.
pub(super) const CALLBACK: &str = "/sign-in/callback";

/// Where it sends those who have signed out.
pub(super) const SIGNED_OUT: &str = "/sign-in";

/// What a provider says of itself beside what each does.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct More {
    /// Where people sign out of it (RP-Initiated Logout 1.0).
    end_session_endpoint: Option<EndSessionUrl>,
    /// Whether its answers name it (RFC 9207).
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

impl AdditionalProviderMetadata for More {}

type Metadata = ProviderMetadata<
    More,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// A client as far as a provider's own description makes it.
type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Why nobody can sign in at a provider now.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotReady {
    /// It does not answer, or not as it should, as the text says. Sign-in asks again, so that this may be over
    /// by then.
    Unreachable(String),
    /// It calls itself by this issuer, which differs by the slash at its end. Nobody can sign in before the
    /// setting says the same.
    OtherIssuer(String),
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => f.write_str(why),
            Self::OtherIssuer(issuer) => {
                write!(f, "the provider calls itself {issuer}: write it so")
            }
        }
    }
}

impl std::error::Error for NotReady {}

/// How many codes are redeemed at once.
const REDEEMS_MAX: usize = 16;

/// Sign-in by a provider of OpenID Connect, such as Google, Keycloak, Okta or Entra ID.
///
/// The console asks for the scopes `openid`, `email` and `profile`, and for a code that it redeems itself
/// (RFC 6749, with PKCE by RFC 7636). It checks the token's signature, issuer, audience, times and nonce,
/// and that it is for this client (`azp`). What the token does not tell, it asks at the provider's UserInfo
/// endpoint. It keeps no token.
///
/// ```no_run
/// use ingle_console::{Claim, InvalidAccess, Oidc, Public, Role, RoleTable, Roles};
///
/// fn access(secret: String) -> Result<Public, InvalidAccess> {
///     let table = RoleTable::new([(Role::Editor, "sre"), (Role::Viewer, "staff")])?;
///     let roles = Roles::ByClaim { claim: Claim::new("groups")?, table };
///     let oidc = Oidc::new("https://accounts.example", "console", roles)?;
///     let oidc = oidc.client_secret(secret).scope("groups");
///     Public::new("https://console.example".parse()?, oidc)
/// }
/// ```
pub struct Oidc {
    issuer: IssuerUrl,
    id: ClientId,
    secret: Option<ClientSecret>,
    scopes: Vec<String>,
    name: Option<Claim>,
    roles: Roles,
    web: Web,
    metadata: Cached<Metadata>,
    pub(super) begins: Begins,
    /// Who has begun a sign-in may send a code as often as they like.
    redeems: Semaphore,
}

impl fmt::Debug for Oidc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Oidc")
            .field("issuer", &self.issuer)
            .field("id", &self.id)
            .field("roles", &self.roles)
            .finish_non_exhaustive()
    }
}

impl Oidc {
    /// Sign-in at the provider with this issuer, as the client with this id.
    ///
    /// `issuer` is what the provider calls itself: the address before
    /// `/.well-known/openid-configuration`, such as `https://accounts.google.com`. Register
    /// `PUBLIC_URL/sign-in/callback` as a redirect address there.
    ///
    /// # Errors
    /// The issuer is no address of HTTPS, or of HTTP on this machine. The client has no id. The program has
    /// no cryptography for TLS, or the system gives no random bytes.
    pub fn new(
        issuer: &str,
        client_id: impl Into<String>,
        roles: Roles,
    ) -> Result<Self, InvalidAccess> {
        let wrong = || {
            let text = "the issuer takes the address of a provider, such as \
                        https://accounts.google.com";
            InvalidAccess::new(text)
        };
        let url = Url::parse(issuer).map_err(|_| wrong())?;
        let has_more = url.query().is_some() || url.fragment().is_some();
        if !is_safe(&url) || has_more || !url.username().is_empty() || url.password().is_some() {
            return Err(wrong());
        }
        let id = client_id.into();
        if id.is_empty() {
            return Err(InvalidAccess::new("the client has no id: the provider gives one"));
        }
        Ok(Self {
            issuer: IssuerUrl::new(issuer.to_owned()).map_err(|_| wrong())?,
            id: ClientId::new(id),
            secret: None,
            scopes: ["email", "profile"].map(str::to_owned).to_vec(),
            name: None,
            roles,
            web: Web::to(&url)?,
            metadata: Cached::default(),
            begins: Begins::new()?,
            redeems: Semaphore::new(REDEEMS_MAX),
        })
    }

    /// The client's secret. Without one it is a public client, whose codes PKCE alone protects.
    #[must_use]
    pub fn client_secret(self, secret: impl Into<String>) -> Self {
        Self { secret: Some(ClientSecret::new(secret.into())), ..self }
    }

    /// A scope to ask for beside `openid`, `email` and `profile`, such as `groups`.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// The claim that names people. Default the mail address if the provider says that it has checked it,
    /// and otherwise the subject, as `sub:SUBJECT`.
    ///
    /// Take none that people can set themselves where roles are given [by name](Roles::ByName).
    #[must_use]
    pub fn name_claim(self, claim: Claim) -> Self {
        Self { name: Some(claim), ..self }
    }

    /// Asks the provider where its parts are, such as before the console begins.
    ///
    /// # Errors
    /// It does not answer, or not as it should, or calls itself by another issuer.
    pub async fn check(&self, now: Timestamp) -> Result<(), NotReady> {
        let Err(refused) = self.discover(now).await else { return Ok(()) };
        if let Some(issuer) = self.own_issuer().await {
            return Err(NotReady::OtherIssuer(issuer));
        }
        let (Refused::Unreachable(why) | Refused::Unproven(why) | Refused::NoRole(why)) = refused;
        Err(NotReady::Unreachable(why))
    }

    /// What the provider calls itself, if that has another slash at its end. Both have to be identical
    /// (Discovery 1.0, 4.3), and both lead to the same document.
    async fn own_issuer(&self) -> Option<String> {
        let bare = self.issuer.as_str().trim_end_matches('/');
        for issuer in [bare.to_owned(), format!("{bare}/")] {
            let url = IssuerUrl::new(issuer.clone()).ok()?;
            if url != self.issuer && Metadata::discover_async(url, &self.web).await.is_ok() {
                return Some(issuer);
            }
        }
        None
    }

    /// What people call it: the host.
    pub(super) fn host(&self) -> &str {
        self.issuer.url().host_str().unwrap_or_default()
    }

    async fn discover(&self, now: Timestamp) -> Result<Arc<Metadata>, Refused> {
        let ask = async {
            let asked = Metadata::discover_async(self.issuer.clone(), &self.web).await;
            let metadata = asked.map_err(|error| undiscovered(&error))?;
            self.check_addresses(&metadata)?;
            Ok(metadata)
        };
        self.metadata.get(AGE, now, ask).await.map_err(|error: Option<String>| {
            let just_now = "it did not answer a few seconds ago".to_owned();
            Refused::Unreachable(error.unwrap_or(just_now))
        })
    }

    /// Whatever a provider says of itself, secrets are sent over HTTPS alone.
    fn check_addresses(&self, metadata: &Metadata) -> Result<(), String> {
        let here = is_loopback(self.issuer.url());
        let parts = [
            Some(metadata.authorization_endpoint().url()),
            metadata.token_endpoint().map(|part| part.url()),
            metadata.userinfo_endpoint().map(|part| part.url()),
            metadata.additional_metadata().end_session_endpoint.as_ref().map(|part| part.url()),
            Some(metadata.jwks_uri().url()),
        ];
        for part in parts.into_iter().flatten() {
            let is_safe = part.scheme() == "https" || here && is_safe(part);
            if !is_safe {
                return Err(format!("the provider names {part}, which is no address of HTTPS"));
            }
        }
        Ok(())
    }

    fn client(&self, metadata: &Metadata, url: &PublicUrl) -> Result<Client, Refused> {
        let redirect = RedirectUrl::new(url.to(CALLBACK));
        let redirect = redirect.map_err(|error| Refused::Unproven(chain(&error)))?;
        let (id, secret) = (self.id.clone(), self.secret.clone());
        let client = CoreClient::from_provider_metadata(metadata.clone(), id, secret);
        let client = client.set_redirect_uri(redirect);
        // A provider that does not say takes the secret in a header.
        let takes = metadata.token_endpoint_auth_methods_supported();
        let takes_header =
            takes.is_none_or(|takes| takes.contains(&CoreClientAuthMethod::ClientSecretBasic));
        let auth = if takes_header { AuthType::BasicAuth } else { AuthType::RequestBody };
        Ok(client.set_auth_type(auth))
    }

    /// Where somebody signs in.
    pub(super) async fn begin(
        &self,
        url: &PublicUrl,
        now: Timestamp,
        begun: &Begun,
    ) -> Result<Url, Refused> {
        let metadata = self.discover(now).await?;
        let client = self.client(&metadata, url)?;
        let (state, secrets) = (begun.state.clone(), self.begins.secrets(begun));
        let verifier = PkceCodeVerifier::new(secrets.verifier);
        let flow = CoreAuthenticationFlow::AuthorizationCode;
        let request = client
            .authorize_url(flow, || CsrfToken::new(state), || Nonce::new(secrets.nonce))
            .set_pkce_challenge(PkceCodeChallenge::from_code_verifier_sha256(&verifier))
            .add_scopes(self.scopes.iter().cloned().map(Scope::new));
        let (url, ..) = request.url();
        Ok(url)
    }

    /// Whose code it is. `issuer` is who sent the answer, if it says so.
    pub(super) async fn redeem(
        &self,
        url: &PublicUrl,
        now: Timestamp,
        begun: &Begun,
        (code, issuer): (&str, Option<&str>),
    ) -> Result<Grant, Refused> {
        let place = self.redeems.try_acquire();
        let many = |_| Refused::Unreachable("too many codes are being redeemed".to_owned());
        let _place = place.map_err(many)?;
        let metadata = self.discover(now).await?;
        let is_named =
            metadata.additional_metadata().authorization_response_iss_parameter_supported;
        if issuer.map_or(is_named, |issuer| issuer != self.issuer.as_str()) {
            return Err(Refused::Unproven("the answer is not from this provider".to_owned()));
        }
        let client = self.client(&metadata, url)?;
        let secrets = self.begins.secrets(begun);
        let request = client
            .exchange_code(AuthorizationCode::new(code.to_owned()))
            .map_err(|error| Refused::Unreachable(chain(&error)))?
            .set_pkce_verifier(PkceCodeVerifier::new(secrets.verifier));
        let answer = request.request_async(&self.web).await.map_err(|error| match &error {
            // The provider knows the code, and refuses it or this client.
            RequestTokenError::ServerResponse(_) => Refused::Unproven(chain(&error)),
            _ => Refused::Unreachable(chain(&error)),
        })?;
        let mut claims = self.claims(&client, &answer, &Nonce::new(secrets.nonce), now)?;
        if !self.is_enough(&claims) && metadata.userinfo_endpoint().is_some() {
            let more = self.more(&client, &answer, &claims).await?;
            merge(&mut claims, more);
        }
        let name = name_of(&claims, self.name.as_ref(), Mail::IfVerified)?;
        grant_of(&claims, name, &self.roles, format!("OpenID Connect, {}", self.host()))
    }

    /// What the id token says.
    fn claims(
        &self,
        client: &Client,
        answer: &CoreTokenResponse,
        nonce: &Nonce,
        now: Timestamp,
    ) -> Result<Claims, Refused> {
        let unproven = |error: &dyn std::error::Error| Refused::Unproven(chain(error));
        let token = answer.id_token().map(ToString::to_string);
        let token = token.ok_or_else(|| Refused::Unproven("there is no id token".to_owned()))?;
        let token: Token = token.parse().map_err(|error: serde_json::Error| unproven(&error))?;
        let verifier = at(client.id_token_verifier().set_allowed_algs(ALGORITHMS), now);
        let claims = verified(&token, &verifier, nonce).map_err(|error| unproven(&error))?;
        // The library leaves this one to us.
        if claims.get("azp").is_some_and(|party| party != self.id.as_str()) {
            return Err(Refused::Unproven("the token is for another client".to_owned()));
        }
        let told = token.claims(&verifier, nonce).map_err(|error| unproven(&error))?;
        if let Some(expected) = told.access_token_hash() {
            let algorithm = token.signing_alg().map_err(|error| unproven(&error))?;
            let key = token.signing_key(&verifier).map_err(|error| unproven(&error))?;
            let hash = AccessTokenHash::from_token(answer.access_token(), algorithm, key);
            if hash.map_err(|error| unproven(&error))? != *expected {
                let text = "the access token is another one than the id token says";
                return Err(Refused::Unproven(text.to_owned()));
            }
        }
        Ok(claims)
    }

    /// Whether the id token says all that counts. Many providers tell the rest at UserInfo alone (OpenID
    /// Connect Core 5.4).
    fn is_enough(&self, claims: &Claims) -> bool {
        let has_name = match &self.name {
            Some(claim) => claim.find(claims).is_some(),
            None => claims.contains_key("email"),
        };
        let has_role = match &self.roles {
            Roles::ByName(_) => true,
            Roles::ByClaim { claim, .. } => claim.find(claims).is_some(),
        };
        has_name && has_role
    }

    /// What the provider says at UserInfo, of the same subject.
    async fn more(
        &self,
        client: &Client,
        answer: &CoreTokenResponse,
        claims: &Claims,
    ) -> Result<Claims, Refused> {
        let subject = claims.get("sub").and_then(Value::as_str).unwrap_or_default();
        let subject = openidconnect::SubjectIdentifier::new(subject.to_owned());
        let request = client
            .user_info(answer.access_token().clone(), Some(subject))
            .map_err(|error| Refused::Unreachable(chain(&error)))?;
        let told: UserInfoClaims<OtherClaims, CoreGenderClaim> =
            request.request_async(&self.web).await.map_err(|error| match &error {
                openidconnect::UserInfoError::ClaimsVerification(_) => {
                    Refused::Unproven(chain(&error))
                }
                _ => Refused::Unreachable(chain(&error)),
            })?;
        match serde_json::to_value(&told) {
            Ok(Value::Object(told)) => Ok(told),
            _ => Err(Refused::Unproven("what UserInfo says is no map".to_owned())),
        }
    }

    /// Where somebody ends their session at the provider too, if it has such a page.
    pub(super) fn end(&self, url: &PublicUrl) -> Option<Url> {
        let metadata = self.metadata.last()?;
        let page = metadata.additional_metadata().end_session_endpoint.clone()?;
        let back = PostLogoutRedirectUrl::new(url.to(SIGNED_OUT)).ok()?;
        let request = LogoutRequest::from(page).set_client_id(self.id.clone());
        Some(request.set_post_logout_redirect_uri(back).http_get_url())
    }
}

/// Adds what was told later. A mail address and whether it is verified are told together.
fn merge(claims: &mut Claims, more: Claims) {
    if more.contains_key("email") {
        claims.remove("email");
        claims.remove("email_verified");
    }
    claims.extend(more);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_verified_address_does_not_vouch_for_another_one() {
        let map = |value: Value| value.as_object().unwrap().clone();
        let mut claims =
            map(json!({ "sub": "1", "email": "a@example.com", "email_verified": true }));
        merge(&mut claims, map(json!({ "sub": "1", "email": "b@example.com", "groups": ["x"] })));
        let wanted = json!({ "sub": "1", "email": "b@example.com", "groups": ["x"] });
        assert_eq!(Value::Object(claims), wanted);
    }
}
