//! Sign-in at a real provider of OpenID Connect, which is certified.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ingle_console::{Claim, Oidc, Public, Role, RoleTable, Roles};
use serde_json::json;
use testbed::{Server, chromium::Chromium, oidc};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    http::{Answer, form, raw},
    log::Log,
    people::{Opened, Person, location, with_cryptography},
    roles::{acts, fill},
    scene::begin,
};

/// A console, and the provider at which its operators sign in.
struct Scene {
    console: Opened,
    provider: Server,
    path: &'static str,
}

fn by_groups() -> Roles {
    let rows = [(Role::Viewer, "staff"), (Role::Operator, "support"), (Role::Editor, "sre")];
    let claim = Claim::new("groups").unwrap();
    Roles::ByClaim { claim, table: RoleTable::new(rows).unwrap() }
}

fn by_name() -> Roles {
    Roles::ByName(RoleTable::new([(Role::Editor, "ada@example.com")]).unwrap())
}

fn confidential(issuer: &str, roles: Roles) -> Oidc {
    let (id, secret) = oidc::CLIENT;
    Oidc::new(issuer, id, roles).unwrap().client_secret(secret).scope("groups")
}

impl Scene {
    async fn start(client: impl FnOnce(&str) -> Oidc) -> Self {
        Self::at("127.0.0.1", "", client).await
    }

    /// A console that people open under this name and this path.
    async fn at(host: &str, path: &'static str, client: impl FnOnce(&str) -> Oidc) -> Self {
        with_cryptography();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{host}:{}{path}", listener.local_addr().unwrap().port());
        let back = [format!("{url}/sign-in/callback"), format!("{url}/sign-in")];
        let provider = tokio::task::spawn_blocking(move || {
            Server::start(oidc::program(&back[0], &back[1])).unwrap()
        });
        let provider = provider.await.unwrap();
        let client = client(&format!("http://{}", provider.address()));
        let public = Public::new(url.parse().unwrap(), client).unwrap();
        Self { console: Opened::serve(listener, public), provider, path }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{}{path}", self.console.address, self.path)
    }

    /// Where the console sends somebody to sign in.
    async fn begin(&self, person: &mut Person, query: &str) -> String {
        let begun = person.get(&self.url(&format!("/sign-in/begin{query}"))).await;
        assert_eq!(begun.status, 303, "{begun:?}");
        location(&begun, self.console.address)
    }

    /// Signs in at the provider, and returns where it sends somebody back to.
    async fn at_provider(&self, person: &mut Person, url: &str, login: &str) -> String {
        let provider = self.provider.address();
        let mut answer = person.get(url).await;
        loop {
            let to = location(&answer, provider);
            if to.starts_with(&self.url("")) {
                return to;
            }
            answer = person.get(&to).await;
            if answer.status == 200 {
                let fields = [("prompt", "login"), ("login", login), ("password", "x")];
                answer = person.post(&to, &fields).await;
            }
        }
    }

    /// A whole sign-in. Returns the console's answer at its end.
    async fn sign_in(&self, person: &mut Person, login: &str) -> Answer {
        let url = self.begin(person, "").await;
        let back = self.at_provider(person, &url, login).await;
        person.get(&back).await
    }

    async fn is_signed_in(&self, person: &Person) -> bool {
        person.clone().get(&self.url("/")).await.status == 200
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_at_the_provider_gives_the_role_and_nothing_beyond_it() {
    let scene = Scene::start(|issuer| confidential(issuer, by_groups())).await;
    let sessions = scene.console.layer.sessions();
    let roles = ["viewer", "operator", "editor"];
    for (rank, login) in ["alan", "grace", "ada"].into_iter().enumerate() {
        let mut person = Person::default();
        let signed_in = scene.sign_in(&mut person, login).await;
        assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/")), "{login}");
        let home = person.get(&scene.url("/")).await;
        let name = format!("{login}@example.com, {}", roles[rank]);
        assert!(home.body.contains(&name) && home.body.contains("Sign out"), "{}", home.body);
        for n in 0..acts("").len() {
            let handle = begin(&scene.console.layer, fill).await;
            let (method, path, fields, least) = acts(&handle.to_string()).remove(n);
            let fields: Vec<_> = fields.iter().map(|(name, value)| (*name, &**value)).collect();
            let n_lines = sessions.audit_log(None).await.unwrap().lines.len();
            let url = scene.url(if path.is_empty() { "/" } else { &path });
            let answer = match method {
                "GET" => person.get(&url).await,
                _ => person.post(&url, &fields).await,
            };
            let may = roles[..=rank].contains(&least);
            assert_eq!(answer.status, if may { 200 } else { 403 }, "{login} {method} {path}");
            let lines = sessions.audit_log(None).await.unwrap().lines;
            let is_act = may && method == "POST";
            assert_eq!(lines.len(), n_lines + usize::from(is_act), "{login} {path}");
            if is_act {
                let from = Some("OpenID Connect, 127.0.0.1");
                let who = (lines[0].operator.clone(), lines[0].from.as_deref());
                assert_eq!(who, (format!("{login}@example.com"), from));
            }
            sessions.end_all_of("ada").await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_without_a_role_gets_no_session_and_learns_under_which_name() {
    let scene = Scene::start(|issuer| confidential(issuer, by_name())).await;
    let mut eve = Person::default();
    // The mail address is Ada's, and nobody has checked that it is Eve's.
    let refused = scene.sign_in(&mut eve, "eve").await;
    assert_eq!(refused.status, 403);
    assert!(refused.body.contains("You are sub:eve, and have no role"), "{}", refused.body);
    assert!(!scene.is_signed_in(&eve).await);
    // Who is at the provider as somebody else can sign in as such.
    eve.forget(scene.provider.address());
    assert_eq!(scene.sign_in(&mut eve, "ada").await.status, 303);
    assert!(scene.is_signed_in(&eve).await);
    eve.forget(scene.provider.address());
    assert_eq!(scene.sign_in(&mut eve, "eve").await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_role_that_was_taken_away_is_gone_at_the_next_sign_in() {
    let scene = Scene::start(|issuer| confidential(issuer, by_name())).await;
    let mut ada = Person::default();
    assert_eq!(scene.sign_in(&mut ada, "ada").await.status, 303);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let grace = RoleTable::new([(Role::Editor, "grace@example.com")]).unwrap();
    let issuer = format!("http://{}", scene.provider.address());
    // The console begins anew, with another table, under the address that it had.
    let url = scene.url("");
    let public = Public::new(url.parse().unwrap(), confidential(&issuer, Roles::ByName(grace)));
    let Scene { console, provider, path } = scene;
    let old = console.address;
    drop((console, listener));
    let listener = loop {
        // Until the port of the one before is free.
        if let Ok(listener) = TcpListener::bind(old).await {
            break listener;
        }
        tokio::task::yield_now().await;
    };
    let scene = Scene { console: Opened::serve(listener, public.unwrap()), provider, path };
    assert!(!scene.is_signed_in(&ada).await, "sessions of operators end with the process");
    assert_eq!(scene.sign_in(&mut ada, "ada").await.status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_id_changes_at_the_sign_in_and_the_one_before_is_worth_nothing() {
    let scene = Scene::start(|issuer| confidential(issuer, by_groups())).await;
    let mut ada = Person::default();
    assert_eq!(scene.sign_in(&mut ada, "ada").await.status, 303);
    let before = ada.clone();
    let url = scene.begin(&mut ada, "").await;
    let back = scene.at_provider(&mut ada, &url, "ada").await;
    assert_eq!(ada.get(&back).await.status, 303);
    let console = scene.console.address;
    assert_ne!(before.cookie_of(console), ada.cookie_of(console));
    assert!(scene.is_signed_in(&ada).await && !scene.is_signed_in(&before).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_begun_sign_ins_keeps_nobody_from_signing_in() {
    let scene = Scene::start(|issuer| confidential(issuer, by_groups())).await;
    let console = scene.console.address;
    let (flood, is_over) = (scene.url("/sign-in/begin"), Arc::new(AtomicBool::new(false)));
    let mut floods = JoinSet::new();
    for _ in 0..4 {
        let (flood, is_over) = (flood.clone(), Arc::clone(&is_over));
        floods.spawn(async move {
            let mut n = 0;
            while n < 50 || !is_over.load(Ordering::Relaxed) {
                let begun = Person::default().get(&flood).await;
                assert_eq!(begun.status, 303, "{begun:?}");
                // One cookie, and not that of a session.
                let own = format!("console-begun-{}=", console.port());
                let cookies: Vec<&str> = begun.all("set-cookie").collect();
                assert!(cookies.len() == 1 && cookies[0].starts_with(&own), "{cookies:?}");
                n += 1;
            }
        });
    }
    for login in ["ada", "grace", "alan"] {
        let mut person = Person::default();
        let signed_in = scene.sign_in(&mut person, login).await;
        assert_eq!(signed_in.status, 303, "{login}: {signed_in:?}");
        assert!(scene.is_signed_in(&person).await, "{login}");
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(flood) = floods.join_next().await {
        flood.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_tabs_sign_in_beside_each_other() {
    let scene = Scene::start(|issuer| confidential(issuer, by_groups())).await;
    let mut ada = Person::default();
    let first = scene.begin(&mut ada, "?then=/audit").await;
    let second = scene.begin(&mut ada, "?then=/sessions").await;
    for (url, page) in [(second, "/sessions"), (first, "/audit")] {
        let back = scene.at_provider(&mut ada, &url, "ada").await;
        let signed_in = ada.get(&back).await;
        assert_eq!((signed_in.status, signed_in.header("location")), (303, Some(page)));
        assert!(scene.is_signed_in(&ada).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_the_provider_counts_once_in_its_browser_and_for_ten_minutes() {
    let scene = Scene::start(|issuer| confidential(issuer, by_groups())).await;
    let mut ada = Person::default();
    let url = scene.begin(&mut ada, "").await;
    let back = scene.at_provider(&mut ada, &url, "ada").await;
    // In another browser, with a session and without one.
    let mut eve = Person::default();
    assert_eq!(eve.get(&back).await.status, 400);
    scene.begin(&mut eve, "").await;
    let refused = eve.get(&back).await;
    assert!(refused.status == 400 && refused.body.contains("another browser"), "{refused:?}");
    assert!(!scene.is_signed_in(&eve).await);
    // That took nothing from its own one, and of two browsers with its cookies one is signed in.
    let mut copy = ada.clone();
    assert_eq!(ada.get(&back).await.status, 303);
    for person in [&mut ada, &mut copy] {
        assert_eq!(person.get(&back).await.status, 400, "it was used");
    }
    assert!(!scene.is_signed_in(&copy).await);
    assert!(scene.is_signed_in(&ada).await);
    for state in ["", "&state=", "&state=x", &format!("&state={}", "a".repeat(24))] {
        let forged = scene.url(&format!("/sign-in/callback?code=x{state}"));
        assert_eq!(Person::default().get(&forged).await.status, 400, "{state}");
    }
    let mut late = Person::default();
    let url = scene.begin(&mut late, "").await;
    let back = scene.at_provider(&mut late, &url, "ada").await;
    scene.console.clock.advance(Duration::from_secs(10 * 60));
    assert_eq!(late.get(&back).await.status, 400);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_without_a_secret_signs_people_in_and_one_with_a_wrong_one_does_not() {
    let scene =
        Scene::start(|issuer| Oidc::new(issuer, oidc::PUBLIC_CLIENT, by_name()).unwrap()).await;
    assert_eq!(scene.sign_in(&mut Person::default(), "ada").await.status, 303);
    let scene = Scene::start(|issuer| {
        Oidc::new(issuer, oidc::CLIENT.0, by_name()).unwrap().client_secret("mistaken")
    })
    .await;
    let mut ada = Person::default();
    let refused = scene.sign_in(&mut ada, "ada").await;
    assert!(refused.status == 403 && refused.body.contains("could not be believed"), "{refused:?}");
    assert!(!refused.body.contains("mistaken") && !scene.is_signed_in(&ada).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_says_who_signed_in_and_who_was_refused_and_holds_nothing_that_signs_in() {
    let log = Log::catch();
    let scene = Scene::start(|issuer| confidential(issuer, by_name())).await;
    let mut secrets = vec!["a secret of".to_owned(), "a+secret+of".to_owned(), "eyJ".to_owned()];
    for (login, status) in [("ada", 303), ("eve", 403)] {
        let mut person = Person::default();
        let url = scene.begin(&mut person, "").await;
        let back = scene.at_provider(&mut person, &url, login).await;
        let cookies = [person.cookie_of(scene.console.address)];
        assert_eq!(person.get(&back).await.status, status, "{login}");
        assert_eq!(person.get(&back).await.status, 400, "{login}");
        let cookies = cookies.into_iter().chain([person.cookie_of(scene.console.address)]);
        secrets
            .extend(cookies.flatten().map(|cookie| cookie.split_once('=').unwrap().1.to_owned()));
        // The codes, states, nonces and challenges.
        for address in [url, back] {
            let (_, query) = address.split_once('?').unwrap();
            let fields = form_urlencoded::parse(query.as_bytes()).into_owned();
            let fields =
                fields.filter(|(_, value)| value.len() > 20 && !value.contains(['/', ' ']));
            secrets.extend(fields.map(|(_, value)| value));
        }
    }
    assert!(secrets.len() > 10, "{secrets:?}");
    let text = log.text();
    for said in ["signed in to the console operator=ada@example.com", "operator=sub:eve"] {
        assert!(text.contains(said), "{text}");
    }
    for secret in secrets {
        assert!(!text.contains(&secret), "{secret}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_provider_is_down_sign_in_says_so_and_whoever_is_signed_in_stays() {
    let mut scene = Scene::start(|issuer| confidential(issuer, by_groups())).await;
    let mut ada = Person::default();
    assert_eq!(scene.sign_in(&mut ada, "ada").await.status, 303);
    let mut late = Person::default();
    let url = scene.begin(&mut late, "").await;
    let back = scene.at_provider(&mut late, &url, "grace").await;
    scene.provider.kill();
    let pause = Duration::from_secs(6);
    scene.console.clock.advance(pause);
    let mut grace = Person::default();
    let begun = grace.get(&scene.url("/sign-in/begin")).await;
    assert_eq!(begun.status, 503);
    assert!(begun.body.contains("does not answer") && begun.body.contains("Continue to"));
    assert_eq!(late.get(&back).await.status, 503);
    assert!(scene.is_signed_in(&ada).await);
    assert_eq!(ada.get(&scene.url("/sign-in")).await.status, 303);
    scene.provider.restart();
    scene.console.clock.advance(pause);
    assert_eq!(scene.sign_in(&mut grace, "grace").await.status, 303);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sign_out_ends_the_session_and_leads_to_that_of_the_provider() {
    let scene = Scene::start(|issuer| confidential(issuer, by_groups())).await;
    let mut ada = Person::default();
    assert_eq!(scene.sign_in(&mut ada, "ada").await.status, 303);
    let before = ada.clone();
    let out = ada.post(&scene.url("/sign-out"), &[]).await;
    assert_eq!((out.status, out.header("location")), (303, Some("/sign-in?said=out")));
    for person in [&ada, &before] {
        assert!(!scene.is_signed_in(person).await);
    }
    let page = ada.get(&scene.url("/sign-in?said=out")).await;
    let link = format!("href=\"http://{}/session/end?", scene.provider.address());
    assert!(page.body.contains(&link) && page.body.contains("You are signed out."), "{page:?}");
    assert!(!ada.get(&scene.url("/sign-in")).await.body.contains(&link));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_and_no_text_leads_anybody_to_another_site() {
    let scene = Scene::start(|issuer| confidential(issuer, by_groups())).await;
    let address = scene.console.address;
    let end = "Connection: close\r\n\r\n";
    for path in ["/sign-in", "/sign-in/begin", "/sign-in/callback?code=a&state=b", "/sign-out"] {
        for host in ["evil.example", "127.0.0.1", "127.0.0.1.evil:80"] {
            let head = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n");
            assert_eq!(raw(address, &(head + end)).await.status, 421, "{path} {host}");
        }
    }
    let head = format!("GET /sign-in/begin HTTP/1.1\r\nHost: {address}\r\n");
    let lines = "X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n";
    let begun = raw(address, &(head + lines + "X-Forwarded-Proto: https\r\n" + end)).await;
    let own = form(&[("redirect_uri", &scene.url("/sign-in/callback"))]);
    let to = location(&begun, address);
    assert!(to.contains(&own) && !to.contains("evil"), "{to}");
    for then in ["//evil.example", "/%5Cevil.example", "https://evil.example", "%2F%2Fevil.example"]
    {
        let mut ada = Person::default();
        let url = scene.begin(&mut ada, &format!("?then={then}")).await;
        let back = scene.at_provider(&mut ada, &url, "ada").await;
        assert_eq!(ada.get(&back).await.header("location"), Some("/"), "{then}");
        let again = ada.get(&scene.url(&format!("/sign-in?then={then}"))).await;
        assert_eq!(again.header("location"), Some("/"), "{then}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_app_may_mount_it_and_people_come_back_below_its_path() {
    let scene = Scene::at("127.0.0.1", "/ops/console", |issuer| confidential(issuer, by_groups()));
    let scene = scene.await;
    let mut ada = Person::default();
    let refused = ada.get(&scene.url("/audit")).await;
    let to = "/ops/console/sign-in?then=%2Faudit";
    assert_eq!((refused.status, refused.header("location")), (303, Some(to)));
    let slash = ada.get(&scene.url("/")).await;
    assert_eq!((slash.status, slash.header("location")), (308, Some("/ops/console")));
    let page = ada.get(&location(&refused, scene.console.address)).await;
    assert!(page.body.contains("href=\"/ops/console/sign-in/begin?then=%2Faudit\""), "{page:?}");
    let url = scene.begin(&mut ada, "?then=/audit").await;
    let back = scene.at_provider(&mut ada, &url, "ada").await;
    assert!(back.starts_with(&scene.url("/sign-in/callback?")), "{back}");
    assert_eq!(ada.get(&back).await.header("location"), Some("/ops/console/audit"));
    assert_eq!(ada.get(&scene.url("/audit")).await.status, 200);
    let out = ada.post(&scene.url("/sign-out"), &[]).await;
    assert_eq!(out.header("location"), Some("/ops/console/sign-in?said=out"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chromium_signs_in_at_the_provider_and_out_of_both_and_axe_finds_nothing() {
    // Another site than the provider's, so that the cookie has to come along from there.
    let scene = Scene::at("console.localhost", "", |issuer| confidential(issuer, by_groups()));
    let scene = scene.await;
    let handle = scene.console.holding(json!({ "views": 1 })).await;
    let browser = Chromium::start();
    let port = scene.console.address.port();
    let url = |path: &str| format!("http://console.localhost:{port}{path}");
    browser.open(&url(&format!("/sessions/{handle}")));
    browser.see("h1", "Sign in");
    for (width, is_dark) in [(320, false), (390, true), (1440, false), (1440, true)] {
        browser.look(width, is_dark);
        assert_eq!(browser.faults(), [""; 0], "{width} {is_dark}");
    }
    browser.click("main a.button");
    browser.type_into("input[name=login]", "ada");
    browser.type_into("input[name=password]", "x");
    browser.click("button[type=submit]");
    // On the page that was asked for at first.
    browser.see("h1", &handle.to_string());
    browser.see("span", "editor");
    browser.click("header form button");
    browser.see("p", "You are signed out.");
    browser.open(&url("/"));
    browser.see("h1", "Sign in");
    browser.open(&url("/sign-in?said=out"));
    assert_eq!(browser.faults(), [""; 0]);
    browser.click("a.second");
    browser.click("button[value=yes]");
    browser.see("h1", "Sign in");
    browser.click("main a.button");
    // The provider asks for a name again.
    browser.type_into("input[name=login]", "alan");
    browser.type_into("input[name=password]", "x");
    browser.click("button[type=submit]");
    browser.see("span", "viewer");
}
