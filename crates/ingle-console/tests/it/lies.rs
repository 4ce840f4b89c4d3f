//! What a provider may say that must not be believed. Its tokens are signed by real keys.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Bytes,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use ingle::clock::{Clock as _, SystemClock};
use ingle_console::{NotReady, Oidc, Public, Role, RoleTable, Roles};
use serde_json::{Value, json};
use testbed::token::{Signer, sign_by_secret, unsigned};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    http::{Answer, raw},
    people::{Opened, Person, location, with_cryptography},
};

const SECRET: &str = "the secret of the client";

/// Now, in seconds.
pub(crate) fn now() -> u64 {
    SystemClock.now().as_millis() / 1000
}

/// A provider that says what a test wants.
struct Liar {
    address: SocketAddr,
    says: Arc<Mutex<Says>>,
    _server: JoinSet<()>,
}

struct Says {
    signer: Signer,
    /// What is told of the provider itself, over the truth.
    metadata: Value,
    /// Makes the token of true claims.
    token: fn(&Signer, &Value) -> Value,
    /// What UserInfo tells.
    userinfo: Value,
    /// The nonce of the sign-in that was begun last.
    nonce: String,
}

type Said = State<(SocketAddr, Arc<Mutex<Says>>)>;

fn true_token(signer: &Signer, claims: &Value) -> Value {
    json!({ "access_token": "a", "token_type": "Bearer", "id_token": signer.sign(claims) })
}

impl Liar {
    async fn start() -> Self {
        with_cryptography();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let says = Arc::new(Mutex::new(Says {
            signer: Signer::new("one"),
            metadata: json!({}),
            token: true_token,
            userinfo: json!({}),
            nonce: String::new(),
        }));
        let app = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .route("/me", get(userinfo))
            .with_state((address, Arc::clone(&says)));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, says, _server: server }
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    fn client(&self) -> Oidc {
        let rows = [(Role::Editor, "ada@example.com")];
        let roles = Roles::ByName(RoleTable::new(rows).unwrap());
        Oidc::new(&self.issuer(), "console", roles).unwrap().client_secret(SECRET)
    }

    fn says(&self, change: impl FnOnce(&mut Says)) {
        change(&mut self.says.lock().unwrap());
    }

    /// A whole sign-in by the tokens of now. What the provider says in the address is `query`.
    async fn sign_in(&self, console: &Opened, person: &mut Person, query: &str) -> Answer {
        // Whatever was said before is forgotten.
        console.clock.advance(Duration::from_secs(6));
        let url = |path: &str| format!("http://{}{path}", console.address);
        let begun = person.get(&url("/sign-in/begin")).await;
        if begun.status != 303 {
            return begun;
        }
        let to = location(&begun, console.address);
        let field = |name: &str| field_of(&to, name);
        assert_eq!((&*field("response_type"), &*field("code_challenge_method")), ("code", "S256"));
        self.says(|says| says.nonce = field("nonce"));
        person.get(&url(&format!("/sign-in/callback?state={}&{query}", field("state")))).await
    }
}

/// What an address says.
fn field_of(address: &str, name: &str) -> String {
    let (_, query) = address.split_once('?').unwrap();
    let mut fields = form_urlencoded::parse(query.as_bytes());
    fields.find(|(of, _)| of == name).map(|(_, value)| value.into_owned()).unwrap()
}

async fn metadata(State((address, says)): Said) -> Json<Value> {
    let at = |path: &str| format!("http://{address}{path}");
    let mut told = json!({
        "issuer": at(""),
        "authorization_endpoint": at("/auth"),
        "token_endpoint": at("/token"),
        "userinfo_endpoint": at("/me"),
        "jwks_uri": at("/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    let over = says.lock().unwrap().metadata.clone();
    told.as_object_mut().unwrap().extend(over.as_object().unwrap().clone());
    Json(told)
}

async fn keys(State((_, says)): Said) -> Json<Value> {
    Json(json!({ "keys": [says.lock().unwrap().signer.jwk()] }))
}

async fn token(State((address, says)): Said, body: Bytes) -> Response {
    let fields: Vec<_> = form_urlencoded::parse(&body).collect();
    let field = |name: &str| fields.iter().find(|(of, _)| of == name).map(|(_, value)| &**value);
    // RFC 7636 4.1: 43 characters at least.
    if field("code") != Some("good") || field("code_verifier").is_none_or(|text| text.len() < 43) {
        return (StatusCode::BAD_REQUEST, Json(json!({ "error": "invalid_grant" })))
            .into_response();
    }
    let says = says.lock().unwrap();
    let claims = json!({
        "iss": format!("http://{address}"),
        "aud": "console",
        "sub": "1",
        "email": "ada@example.com",
        "email_verified": true,
        "nonce": says.nonce,
        "iat": now(),
        "exp": now() + 300,
    });
    Json((says.token)(&says.signer, &claims)).into_response()
}

async fn userinfo(State((_, says)): Said) -> Json<Value> {
    Json(says.lock().unwrap().userinfo.clone())
}

async fn console_of(liar: &Liar) -> Opened {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    Opened::serve(listener, Public::new(url.parse().unwrap(), liar.client()).unwrap())
}

/// The claims, with one that is another.
fn with(claims: &Value, name: &str, value: Value) -> Value {
    let mut claims = claims.clone();
    claims[name] = value;
    claims
}

fn without(claims: &Value, name: &str) -> Value {
    let mut claims = claims.clone();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn answered(token: impl Into<Value>) -> Value {
    json!({ "access_token": "a", "token_type": "Bearer", "id_token": token.into() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_counts_if_everything_in_it_is_right() {
    let liar = Liar::start().await;
    let console = console_of(&liar).await;
    type Make = fn(&Signer, &Value) -> Value;
    let right: [(&str, Make); 4] = [
        ("true", true_token),
        ("a list of one", |s, c| answered(s.sign(&with(c, "aud", json!(["console"]))))),
        ("azp", |s, c| answered(s.sign(&with(c, "azp", json!("console"))))),
        ("some seconds old", |s, c| answered(s.sign(&with(c, "exp", json!(now() - 5))))),
    ];
    for (what, token) in right {
        liar.says(|says| says.token = token);
        let signed_in = liar.sign_in(&console, &mut Person::default(), "code=good").await;
        assert_eq!(signed_in.status, 303, "{what}: {signed_in:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_wrong_in_one_thing_signs_nobody_in() {
    let liar = Liar::start().await;
    let console = console_of(&liar).await;
    type Make = fn(&Signer, &Value) -> Value;
    let wrong: [(&str, Make); 24] = [
        ("no token", |_, _| json!({ "access_token": "a", "token_type": "Bearer" })),
        ("no text", |_, _| answered("")),
        ("iss", |s, c| answered(s.sign(&with(c, "iss", json!("https://other.example"))))),
        ("iss with a slash", |s, c| {
            let issuer = format!("{}/", c["iss"].as_str().unwrap());
            answered(s.sign(&with(c, "iss", json!(issuer))))
        }),
        ("no iss", |s, c| answered(s.sign(&without(c, "iss")))),
        ("aud", |s, c| answered(s.sign(&with(c, "aud", json!("other"))))),
        ("no aud", |s, c| answered(s.sign(&without(c, "aud")))),
        ("two aud", |s, c| answered(s.sign(&with(c, "aud", json!(["console", "other"]))))),
        ("azp", |s, c| answered(s.sign(&with(c, "azp", json!("other"))))),
        ("azp of a list", |s, c| answered(s.sign(&with(c, "azp", json!(["console"]))))),
        ("nonce", |s, c| answered(s.sign(&with(c, "nonce", json!("other"))))),
        ("no nonce", |s, c| answered(s.sign(&without(c, "nonce")))),
        ("expired", |s, c| answered(s.sign(&with(c, "exp", json!(now() - 61))))),
        ("no exp", |s, c| answered(s.sign(&without(c, "exp")))),
        ("of the future", |s, c| answered(s.sign(&with(c, "iat", json!(now() + 3600))))),
        ("no iat", |s, c| answered(s.sign(&without(c, "iat")))),
        ("no sub", |s, c| answered(s.sign(&without(c, "sub")))),
        ("none", |_, c| answered(format!("{}.", unsigned(&json!({ "alg": "none" }), c)))),
        ("HS256 by the client's secret", |_, c| {
            answered(sign_by_secret(SECRET.as_bytes(), &json!({ "alg": "HS256" }), c))
        }),
        ("HS256 by the public key", |s, c| {
            let header = json!({ "alg": "HS256", "kid": "one" });
            answered(sign_by_secret(&s.public_key(), &header, c))
        }),
        ("another key", |_, c| answered(Signer::new("one").sign(c))),
        ("an unknown key", |_, c| answered(Signer::new("two").sign(c))),
        ("cut off", |s, c| {
            let token = s.sign(c);
            answered(&token[..token.len() - 4])
        }),
        ("at_hash", |s, c| answered(s.sign(&with(c, "at_hash", json!("AAAAAAAAAAAAAAAAAAAAAA"))))),
    ];
    for (what, token) in wrong {
        liar.says(|says| says.token = token);
        let mut person = Person::default();
        let refused = liar.sign_in(&console, &mut person, "code=good").await;
        assert!(matches!(refused.status, 403 | 503), "{what}: {refused:?}");
        assert!(refused.body.contains("Continue to"), "{what}: {}", refused.body);
        let home = person.get(&format!("http://{}/", console.address)).await;
        assert_eq!(home.status, 303, "{what}");
    }
    // Tokens of the console's own clock, which is ahead by minutes now.
    liar.says(|says| {
        says.token = |s, c| answered(s.sign(&with(c, "exp", json!(now() + 3600))));
    });
    assert_eq!(liar.sign_in(&console, &mut Person::default(), "code=good").await.status, 303);
    for query in ["code=other", "error=access_denied", "code=good&error=access_denied", "", "code="]
    {
        let refused = liar.sign_in(&console, &mut Person::default(), query).await;
        assert_eq!(refused.status, 403, "{query}");
    }
    let other = "code=good&iss=https%3A%2F%2Fother.example";
    assert_eq!(liar.sign_in(&console, &mut Person::default(), other).await.status, 403);
    let own = format!("code=good&iss={}", liar.issuer().replace(':', "%3A").replace('/', "%2F"));
    assert_eq!(liar.sign_in(&console, &mut Person::default(), &own).await.status, 303);
    // Where it says that its answers name it, one that does not is another's.
    let said = json!({ "authorization_response_iss_parameter_supported": true });
    liar.says(|says| says.metadata = said);
    for (query, status) in [("code=good", 403), (other, 403), (&*own, 303)] {
        let answer = liar.sign_in(&console, &mut Person::default(), query).await;
        assert_eq!(answer.status, status, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_userinfo_says_counts_for_its_own_subject_alone() {
    let liar = Liar::start().await;
    let console = console_of(&liar).await;
    liar.says(|says| says.token = |s, c| answered(s.sign(&without(c, "email"))));
    let ada = json!({ "email": "ada@example.com", "email_verified": true });
    for (sub, verified, status) in
        [("1", json!(true), 303), ("2", json!(true), 403), ("1", json!(false), 403)]
    {
        liar.says(|says| {
            says.userinfo = with(&with(&ada, "sub", json!(sub)), "email_verified", verified);
        });
        let answer = liar.sign_in(&console, &mut Person::default(), "code=good").await;
        assert_eq!(answer.status, status, "{sub}: {answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_describes_itself_wrongly_is_not_gone_to() {
    let liar = Liar::start().await;
    let console = console_of(&liar).await;
    for over in [
        json!({ "issuer": "https://other.example" }),
        json!({ "issuer": format!("{}/", liar.issuer()) }),
        json!({ "authorization_endpoint": "http://other.example/auth" }),
        json!({ "authorization_endpoint": "javascript:alert(1)" }),
        json!({ "token_endpoint": "http://other.example/token" }),
        json!({ "userinfo_endpoint": "http://other.example/me" }),
        json!({ "end_session_endpoint": "http://other.example/end" }),
        json!({ "jwks_uri": format!("{}/nothing", liar.issuer()) }),
        json!({ "x": "a".repeat(1024 * 1024) }),
    ] {
        liar.says(|says| says.metadata = over.clone());
        let mut person = Person::default();
        let refused = liar.sign_in(&console, &mut person, "code=good").await;
        assert_eq!(refused.status, 503, "{over:.100}");
        assert_eq!(person.cookie_of(console.address), None, "{over:.100}");
    }
    liar.says(|says| says.metadata = json!({}));
    assert_eq!(liar.sign_in(&console, &mut Person::default(), "code=good").await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_whose_name_has_another_slash_at_its_end_says_how_to_write_it() {
    let liar = Liar::start().await;
    let (bare, slash) = (liar.issuer(), format!("{}/", liar.issuer()));
    let roles = || Roles::ByName(RoleTable::new([(Role::Viewer, "ada@example.com")]).unwrap());
    for (own, written) in [(&bare, &slash), (&bare, &format!("{slash}/")), (&slash, &bare)] {
        liar.says(|says| says.metadata = json!({ "issuer": own }));
        let check = async |issuer: &str| {
            Oidc::new(issuer, "console", roles()).unwrap().check(SystemClock.now()).await
        };
        assert_eq!(check(written).await, Err(NotReady::OtherIssuer(own.clone())));
        assert_eq!(check(own).await, Ok(()));
    }
    // Another name is not one that was written with a slash too much.
    liar.says(|says| says.metadata = json!({ "issuer": "https://other.example" }));
    let refused = liar.client().check(SystemClock.now()).await;
    assert!(matches!(refused, Err(NotReady::Unreachable(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_of_the_client_goes_where_the_settings_say_and_no_redirect_moves_it() {
    let liar = Liar::start().await;
    let front = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = front.local_addr().unwrap();
    let to = liar.issuer();
    let app = Router::new().fallback(async move || {
        Redirect::temporary(&format!("{to}/.well-known/openid-configuration"))
    });
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(front, app).await.unwrap() });
    let roles = Roles::ByName(RoleTable::new([(Role::Viewer, "ada@example.com")]).unwrap());
    let client = Oidc::new(&format!("http://{address}"), "console", roles).unwrap();
    let refused = client.check(SystemClock.now()).await.unwrap_err();
    assert!(refused.to_string().contains("307"), "{refused}");
    assert!(liar.client().check(SystemClock.now()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_tls_the_cookies_are_of_the_host_alone_and_the_origin_is_compared_whole() {
    let liar = Liar::start().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let public = Public::new("https://console.example".parse().unwrap(), liar.client()).unwrap();
    let console = Opened::serve(listener, public);
    let send = async |head: &str, lines: &str| {
        let rest = format!("Host: console.example\r\n{lines}Connection: close\r\n\r\n");
        raw(console.address, &format!("{head} HTTP/1.1\r\n{rest}")).await
    };
    let begun = send("GET /sign-in/begin", "").await;
    assert_eq!(begun.status, 303);
    assert!(begun.head.contains("redirect_uri=https%3A%2F%2Fconsole.example%2Fsign-in%2Fcallback"));
    let to = begun.header("location").unwrap();
    liar.says(|says| says.nonce = field_of(to, "nonce"));
    let back = format!("GET /sign-in/callback?code=good&state={}", field_of(to, "state"));
    let (own, _) = begun.header("set-cookie").unwrap().split_once(';').unwrap();
    let signed_in = send(&back, &format!("Cookie: a=b; {own}\r\n")).await;
    assert_eq!(signed_in.status, 303, "{signed_in:?}");
    let mut cookies: Vec<&str> = signed_in.all("set-cookie").collect();
    cookies.sort_unstable();
    assert!(cookies[0].starts_with("__Host-console-begun=; ") && cookies[0].contains("Max-Age=0"));
    assert!(cookies[1].starts_with("__Host-console=") && cookies.len() == 2, "{cookies:?}");
    for set in cookies.into_iter().chain(begun.header("set-cookie")) {
        for part in ["HttpOnly", "SameSite=Lax", "Path=/", "Secure"] {
            assert!(set.contains(part), "{set}");
        }
    }
    for (origin, status) in [
        ("https://console.example", 303),
        ("http://console.example", 403),
        ("https://console.example:8443", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ] {
        let lines = format!("Origin: {origin}\r\nContent-Length: 0\r\n");
        assert_eq!(send("POST /sign-out", &lines).await.status, status, "{origin}");
    }
}

#[test]
fn settings_that_are_not_safe_cannot_be_made() {
    with_cryptography();
    let roles = || Roles::ByName(RoleTable::new([(Role::Viewer, "ada@example.com")]).unwrap());
    for issuer in [
        "",
        "accounts.example",
        "http://accounts.example",
        "http://127.0.0.1.example",
        "https://ada:x@accounts.example",
        "https://accounts.example/?a=b",
        "ftp://accounts.example",
    ] {
        assert!(Oidc::new(issuer, "console", roles()).is_err(), "{issuer}");
    }
    assert!(Oidc::new("https://accounts.example", "", roles()).is_err());
    let client = Oidc::new("https://accounts.example", "console", roles()).unwrap();
    let shown = format!("{:?}", client.client_secret(SECRET));
    assert!(!shown.contains(SECRET), "{shown}");
}
