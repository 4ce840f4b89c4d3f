//! Google's Identity-Aware Proxy: its signed header, and everything that is none.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Json, Router, http::StatusCode, routing::get};
use ingle_console::{Claim, Iap, IapKeys, Public, Role, RoleTable, Roles};
use serde_json::{Value, json};
use testbed::token::{Signer, sign_by_secret, unsigned};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    http::{Answer, raw},
    lies::now,
    people::{Opened, with_cryptography},
};

const AUDIENCE: &str = "/projects/1234/locations/europe-west1/services/console";

/// A console behind IAP, and the keys by which that signs.
struct Scene {
    console: Opened,
    keys: Arc<Mutex<Option<Vec<Value>>>>,
    asked: Arc<AtomicUsize>,
    signer: Signer,
    _server: JoinSet<()>,
}

fn by_mail() -> Roles {
    Roles::ByName(RoleTable::new([(Role::Editor, "ada@example.com")]).unwrap())
}

impl Scene {
    async fn start(roles: Roles) -> Self {
        with_cryptography();
        let signer = Signer::new("one");
        let keys = Arc::new(Mutex::new(Some(vec![Signer::new("zero").jwk(), signer.jwk()])));
        let asked = Arc::new(AtomicUsize::new(0));
        let (told, counted) = (Arc::clone(&keys), Arc::clone(&asked));
        let app = Router::new().route(
            "/keys",
            get(async move || {
                counted.fetch_add(1, Ordering::Relaxed);
                let keys = told.lock().unwrap().clone().ok_or(StatusCode::BAD_GATEWAY)?;
                Ok::<_, StatusCode>(Json(json!({ "keys": keys })))
            }),
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let keys_at = format!("http://{}/keys", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        let iap = Iap::new(AUDIENCE, roles).unwrap();
        let iap = iap.keys(IapKeys::on_loopback(&keys_at).unwrap()).unwrap();
        let public = Public::new("https://console.example".parse().unwrap(), iap).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { console: Opened::serve(listener, public), keys, asked, signer, _server: server }
    }

    fn address(&self) -> SocketAddr {
        self.console.address
    }

    async fn get(&self, lines: &str) -> Answer {
        let head = format!("GET /sessions HTTP/1.1\r\nHost: console.example\r\n{lines}");
        raw(self.address(), &(head + "Connection: close\r\n\r\n")).await
    }

    async fn get_with(&self, token: &str) -> Answer {
        self.get(&header(token)).await
    }

    /// The status for a token with these claims.
    async fn status(&self, claims: &Value) -> u16 {
        self.get_with(&self.signer.sign(claims)).await.status
    }
}

fn header(token: &str) -> String {
    format!("X-Goog-IAP-JWT-Assertion: {token}\r\n")
}

fn claims() -> Value {
    json!({
        "iss": "https://cloud.google.com/iap",
        "aud": AUDIENCE,
        "sub": "accounts.google.com:1234",
        "email": "ada@example.com",
        "hd": "example.com",
        "google": { "access_levels": ["accessPolicies/1/accessLevels/staff"] },
        "iat": now(),
        "exp": now() + 600,
    })
}

fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[name] = value.into();
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signed_header_says_who_asks_and_nothing_else_does() {
    let scene = Scene::start(by_mail()).await;
    let signed_in = scene.get_with(&scene.signer.sign(&claims())).await;
    assert_eq!(signed_in.status, 200);
    assert!(signed_in.body.contains("ada@example.com, editor"), "{}", signed_in.body);
    assert!(signed_in.body.contains("Sign out") && signed_in.header("set-cookie").is_none());
    // That is IAP's own session.
    let head = "POST /sign-out HTTP/1.1\r\nHost: console.example\r\nContent-Length: 0\r\n";
    let lines = format!("Sec-Fetch-Site: same-origin\r\n{}", header(&scene.signer.sign(&claims())));
    let out = raw(scene.address(), &format!("{head}{lines}Connection: close\r\n\r\n")).await;
    let to = "/?gcp-iap-mode=CLEAR_LOGIN_COOKIE";
    assert_eq!((out.status, out.header("refresh")), (200, Some(&*format!("0; url={to}"))));
    assert!(out.body.contains(&format!("href=\"{to}\"")), "{}", out.body);
    // A minute of difference is none.
    for (name, at) in [("exp", now() - 30), ("iat", now() + 30)] {
        assert_eq!(scene.status(&with(name, at)).await, 200, "{name}");
    }
    let plain = "X-Goog-Authenticated-User-Email: accounts.google.com:ada@example.com\r\n\
                 X-Goog-Authenticated-User-Id: accounts.google.com:1234\r\n";
    assert_eq!(scene.get(plain).await.status, 403);
    let stranger = with("email", "eve@example.com");
    let refused = scene.get(&(plain.to_owned() + &header(&scene.signer.sign(&stranger)))).await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("You are eve@example.com, and have no role"), "{refused:?}");
    // What pages are made of is nobody's secret, and where one signs in is not here.
    for (path, status) in [("/assets/x", 404), ("/sign-in", 404), ("/api/v1/sessions", 403)] {
        let head = format!("GET {path} HTTP/1.1\r\nHost: console.example\r\n");
        let answer = raw(scene.address(), &(head + "Connection: close\r\n\r\n")).await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_wrong_in_one_thing_is_refused() {
    let scene = Scene::start(by_mail()).await;
    for wrong in [
        with("iss", "https://accounts.google.com"),
        without("iss"),
        with("aud", "/projects/1234/locations/europe-west1/services/other"),
        with("aud", json!([AUDIENCE, "other"])),
        without("aud"),
        with("exp", now() - 120),
        without("exp"),
        with("iat", now() + 120),
        without("iat"),
        without("sub"),
        with("email", "ada@example.com\u{0}"),
        with("email", ""),
    ] {
        assert_eq!(scene.status(&wrong).await, 403, "{wrong}");
    }
    let (signer, claims) = (&scene.signer, claims());
    let good = signer.sign(&claims);
    let (text, signature) = good.rsplit_once('.').unwrap();
    let public = signer.public_key();
    for (what, token) in [
        ("nothing", String::new()),
        ("no token", "x".to_owned()),
        ("none", format!("{}.", unsigned(&json!({ "alg": "none", "kid": "one" }), &claims))),
        ("none, signed", signer.sign_as(&json!({ "alg": "none", "kid": "one" }), &claims)),
        ("HS256", sign_by_secret(&public, &json!({ "alg": "HS256", "kid": "one" }), &claims)),
        ("RS256", signer.sign_as(&json!({ "alg": "RS256", "kid": "one" }), &claims)),
        ("another key of the name", Signer::new("one").sign(&claims)),
        (
            "the name of another key",
            signer.sign_as(&json!({ "alg": "ES256", "kid": "zero" }), &claims),
        ),
        ("an unknown name", Signer::new("two").sign(&claims)),
        ("no name", Signer::new("one").sign_as(&json!({ "alg": "ES256" }), &claims)),
        ("cut off", good[..good.len() - 1].to_owned()),
        ("no signature", format!("{text}.")),
        ("without a part", text.to_owned()),
        ("other claims", format!("{}.{signature}", text.replace('.', ".e30"))),
        ("a part more", format!("{good}.x")),
        ("too long", format!("{good}{}", "a".repeat(9000))),
    ] {
        let refused = scene.get_with(&token).await;
        assert_eq!(refused.status, 403, "{what}: {refused:?}");
        assert!(!refused.body.contains("ada@example.com"), "{what}");
    }
    assert_eq!(scene.get(&(header(&good) + &header(&good))).await.status, 403);
    assert_eq!(scene.get_with(&good).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_asked_for_again_when_one_is_new_and_not_for_everybody() {
    let scene = Scene::start(by_mail()).await;
    let asked = || scene.asked.load(Ordering::Relaxed);
    let ahead = |seconds| scene.console.clock.advance(Duration::from_secs(seconds));
    let new = Signer::new("new");
    // Of the console's clock, which the test moves.
    let token = |signer: &Signer| signer.sign(&with("exp", now() + 40_000));
    assert_eq!(scene.get_with(&token(&scene.signer)).await.status, 200);
    assert_eq!(asked(), 1);
    for _ in 0..20 {
        assert_eq!(scene.get_with(&token(&new)).await.status, 403);
    }
    assert!(asked() < 4, "{}: many of an unknown name in some seconds", asked());
    ahead(6);
    *scene.keys.lock().unwrap() = Some(vec![new.jwk()]);
    assert_eq!(scene.get_with(&token(&new)).await.status, 200);
    assert_eq!(scene.get_with(&token(&scene.signer)).await.status, 403, "it was taken away");
    // While nobody answers there, what is known is used for a day.
    *scene.keys.lock().unwrap() = None;
    ahead(2 * 60 * 60);
    assert_eq!(scene.get_with(&token(&new)).await.status, 200);
    ahead(25 * 60 * 60);
    let late = new.sign(&with("exp", now() + 200_000));
    assert_eq!(scene.get_with(&late).await.status, 503);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_of_the_header_gives_roles_too() {
    let claim = Claim::new("/google/access_levels").unwrap();
    let rows = [(Role::Operator, "accessPolicies/1/accessLevels/staff")];
    let table = RoleTable::new(rows).unwrap();
    let scene = Scene::start(Roles::ByClaim { claim, table }).await;
    let answer = scene.get_with(&scene.signer.sign(&claims())).await;
    assert!(answer.body.contains("ada@example.com, operator"), "{answer:?}");
    assert_eq!(scene.status(&with("google", json!({}))).await, 403);
}

#[test]
fn settings_that_trust_anybody_cannot_be_made() {
    with_cryptography();
    for audience in ["", "console", "1234.apps.googleusercontent.com"] {
        assert!(Iap::new(audience, by_mail()).is_err(), "{audience}");
    }
    for keys in ["", "https://evil.example/keys", "http://127.0.0.1.example/keys"] {
        assert!(IapKeys::on_loopback(keys).is_err(), "{keys}");
    }
}
