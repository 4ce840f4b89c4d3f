//! What is wrong with the app as its visitors reach it: two of them, of whom one comes back.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    time::Duration,
};

use ingle::{clock::Timestamp, store::Warning};
use reqwest::{
    StatusCode, Url,
    header::{AGE, CACHE_CONTROL, DATE},
};

use super::{
    Part, Problem,
    browser::{Browser, PATIENCE, Page, SetCookie},
};
use crate::{
    exit::{Failed, causes},
    web,
};

/// How often the visitor comes back: often enough to meet more than one instance.
const RETURNS: usize = 6;

/// How long this machine's own ports take to answer.
const LOCAL_TIME: Duration = Duration::from_secs(1);

/// Reads the URL of a page.
pub(super) fn page(text: &str) -> Result<Url, Failed> {
    let wrong =
        "the URL of the app begins with `https://` or `http://`, such as https://example.com/";
    let url = Url::parse(text).map_err(|_| Failed::usage(wrong))?;
    let is_one = matches!(url.scheme(), "http" | "https") && url.host().is_some();
    is_one.then_some(url).ok_or_else(|| Failed::usage(wrong))
}

pub(super) async fn look(url: &Url) -> Vec<Problem> {
    match visits(url).await {
        Ok(visits) => visits.problems(),
        Err(error) => vec![unreachable(url, &error)],
    }
}

/// What two visitors got.
struct Visits {
    first: Page,
    /// The same visitor, later.
    returns: Vec<Page>,
    other: Page,
}

async fn visits(url: &Url) -> Result<Visits, reqwest::Error> {
    let mut browser = Browser::new(url)?;
    let first = browser.visit(url).await?;
    let mut returns = Vec::new();
    if first.cookies.iter().any(SetCookie::is_of_session) {
        for _ in 0..RETURNS {
            // Each time with the first session's id, whatever came meanwhile.
            let mut again = browser.clone();
            returns.push(again.visit(url).await?);
        }
    }
    let other = Browser::new(url)?.visit(url).await?;
    Ok(Visits { first, returns, other })
}

impl Page {
    fn header(&self, name: impl reqwest::header::AsHeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Which header says that a cache answered, if one does.
    fn sign_of_cache(&self) -> Option<String> {
        // Some write `Age: 0` also on what they have just asked the app for.
        if let Some(age) = self.header(AGE).filter(|age| age.trim() != "0") {
            return Some(format!("Age: {age}"));
        }
        ["x-cache", "x-cache-status", "cf-cache-status"].into_iter().find_map(|name| {
            let value = self.header(name)?;
            let mut caches = value.split(',').map(|one| one.trim().to_ascii_lowercase());
            caches.any(|one| one.starts_with("hit")).then(|| format!("{name}: {value}"))
        })
    }
}

impl Visits {
    fn problems(&self) -> Vec<Problem> {
        let status = self.first.status;
        if status.is_redirection() {
            return vec![leads_away(&self.first)];
        }
        let mut problems = Vec::new();
        if !status.is_success() {
            problems.push(answers_otherwise(&self.first));
        }
        problems.extend(self.clock());
        problems.extend(self.cache());
        match self.session_cookie() {
            Some(cookie) => {
                problems.extend(self.refused(cookie));
                problems.extend(self.attributes(cookie));
                problems.extend(self.forgotten(cookie));
            }
            // It is said already why there is none.
            None if !status.is_success()
                || problems.iter().any(|problem| problem.about == "cache") => {}
            None => problems.push(no_cookie(&self.first)),
        }
        problems
    }

    /// The cookie of the session: of those that look like one the one that came anew the least, since a
    /// token against forged requests may be another one each time. Scripts may read such a token.
    fn session_cookie(&self) -> Option<&SetCookie> {
        let look_like_one = self.first.cookies.iter().filter(|cookie| cookie.is_of_session());
        look_like_one.min_by_key(|cookie| (self.n_anew(cookie), !cookie.is_http_only))
    }

    /// How often the visitor came back with a cookie and got another one.
    fn n_anew(&self, cookie: &SetCookie) -> usize {
        let is_anew = |page: &&Page| {
            let again = page.cookies.iter().find(|other| other.name == cookie.name);
            again.is_some_and(|other| other.value != cookie.value)
        };
        self.returns.iter().filter(is_anew).count()
    }

    fn clock(&self) -> Option<Problem> {
        // What a cache has kept bears the time at which it came.
        let page =
            [&self.other, &self.first].into_iter().find(|page| page.sign_of_cache().is_none())?;
        let theirs = httpdate::parse_http_date(page.header(DATE)?).ok()?;
        let since_1970 = theirs.duration_since(std::time::UNIX_EPOCH).ok()?;
        let theirs = Timestamp::from_millis(0).after(since_1970);
        let warning = Warning::of_clocks("the app", page.asked, page.answered, theirs);
        warning.map(|warning| Problem::warned(Part::App, &warning))
    }

    fn cache(&self) -> Option<Problem> {
        let (first, other) = (&self.first, &self.other);
        let help = "have the cache in front of the app keep no page that it is told not to, by `Cache-Control`; \
                    for Cloud CDN run `gcloud compute backend-services update BACKEND --global \
                    --cache-mode=USE_ORIGIN_HEADERS`";
        let cookie = self.session_cookie();
        if cookie.is_some_and(|cookie| {
            let is_same = |two: &SetCookie| two.name == cookie.name && two.value == cookie.value;
            other.cookies.iter().any(is_same)
        }) {
            let problem = "two visitors got the same session, so each sees what is the other's: a cache in \
                           front of the app keeps its `Set-Cookie`";
            return Some(Problem::of_app("cache", problem, help));
        }
        if let Some(sign) = [first, other].into_iter().find_map(Page::sign_of_cache) {
            let problem = format!(
                "the page comes from a cache (`{sign}`), so visitors see an old page, or that of another one"
            );
            return Some(Problem::of_app("cache", problem, help));
        }
        let control = first.header(CACHE_CONTROL).unwrap_or_default().to_ascii_lowercase();
        let is_kept = !control.contains("no-store") && !control.contains("private");
        (cookie.is_some() && is_kept).then(|| {
            let problem = format!(
                "the answer that begins a session may be kept by caches (`Cache-Control: {control}`), though \
                 ingle sends it with `no-store`"
            );
            let help = "leave `Cache-Control` as the app sends it, in all that stands in front of the app";
            Problem::of_app("cache", problem, help)
        })
    }

    /// Whether browsers keep the cookie and send it back.
    fn refused(&self, cookie: &SetCookie) -> Option<Problem> {
        let (url, name) = (&self.first.url, &cookie.name);
        if cookie.is_secure && url.scheme() == "http" {
            let problem = format!(
                "the cookie `{name}` is Secure and the page came over plain HTTP, so browsers do not send it \
                 back, and each visit begins a new session"
            );
            let mut tls = url.clone();
            let _ = tls.set_scheme("https");
            let tls = told(&tls);
            let help = format!(
                "put TLS in front and go to `{tls}`; for development on this machine leave out \
                 `--behind-https` (in your own app: `CookieConfig::development()`)"
            );
            return Some(Problem::of_app("cookie", problem, help));
        }
        let why = cookie.refused_for(url)?;
        let problem = format!("browsers do not send the cookie `{name}` back: {why}");
        let help = "let nothing in front of the app change `Set-Cookie`, such as `proxy_cookie_domain` or \
                    `proxy_cookie_path` of nginx, or correct the app's `CookieConfig`";
        Some(Problem::of_app("cookie", problem, help))
    }

    /// What ingle sets on each cookie, and something in front took away.
    fn attributes(&self, cookie: &SetCookie) -> Option<Problem> {
        let is_https = self.first.url.scheme() == "https";
        let missing = [
            ("Secure", is_https && !cookie.is_secure),
            ("HttpOnly", !cookie.is_http_only),
            ("SameSite", cookie.same_site.is_none()),
        ];
        let missing: Vec<_> = missing
            .into_iter()
            .filter(|(_, is_missing)| *is_missing)
            .map(|(name, _)| name)
            .collect();
        if missing.is_empty() {
            return None;
        }
        let problem = format!(
            "the cookie `{}` came without {}, so it is easier to steal or to misuse",
            cookie.name,
            missing.join(" and ")
        );
        let help = "let nothing in front of the app change `Set-Cookie`; for Secure, start greetings with \
                    `--behind-https` (in your own app: `CookieConfig::secure`)";
        Some(Problem::of_app("cookie", problem, help))
    }

    /// Whether the session was known when its visitor came back.
    fn forgotten(&self, cookie: &SetCookie) -> Option<Problem> {
        let n = self.n_anew(cookie);
        if n == 0 {
            return None;
        }
        let name = &cookie.name;
        if n < self.returns.len() {
            let problem = format!(
                "{n} of {RETURNS} times the app did not know the session that had just begun: its instances do \
                 not share a store"
            );
            let help = "give all instances the same store, as with `INGLE_STORE=redis://HOST`; SQLite and \
                        memory are each instance's own";
            return Some(Problem::of_app("shared", problem, help));
        }
        if self.is_of_firebase() && name != "__session" {
            let problem = format!(
                "Firebase Hosting drops the cookie `{name}`: it passes on only `__session`"
            );
            let help = "start greetings with `--cookie-name __session` (in your own app: `CookieConfig::name`)";
            return Some(Problem::of_app("dropped", problem, help));
        }
        let problem = format!(
            "the app began a new session each time, although the cookie `{name}` came back: something in front \
             drops the header `Cookie` or this cookie, or no two requests reach the same store"
        );
        let help = "pass `Cookie` on in front of the app; behind Firebase Hosting start greetings with \
                    `--cookie-name __session` (in your own app: `CookieConfig::name`); and see `ingle doctor` \
                    with the app's store";
        Some(Problem::of_app("dropped", problem, help))
    }

    fn is_of_firebase(&self) -> bool {
        let host = self.first.url.host_str().unwrap_or_default();
        host.ends_with(".web.app") || host.ends_with(".firebaseapp.com")
    }
}

/// A URL without what may be a secret: a password, and what stands in the query.
fn told(url: &Url) -> Url {
    let mut told = url.clone();
    // Both fail only where a URL can have none.
    let _ = (told.set_username(""), told.set_password(None));
    told.set_query(None);
    told.set_fragment(None);
    told
}

fn leads_away(page: &Page) -> Problem {
    let (from, status) = (told(&page.url), page.status);
    let Some(to) = page.leads_to() else {
        return answers_otherwise(page);
    };
    let (is_same_host, to) = (to.host() == page.url.host(), told(&to));
    if !is_same_host {
        let problem = format!("the page answers {status} and leads to another host, to `{to}`");
        return Problem::of_app("status", problem, "name a page there, if that is the app");
    }
    let problem = format!("the page leads on and on, at last from `{from}` to `{to}`");
    let help = "see which part sends `Location`: often something in front ends TLS, and what is behind it \
                leads to `https:` each time, because nothing tells it that the visitor came by HTTPS";
    Problem::of_app("status", problem, help)
}

fn answers_otherwise(page: &Page) -> Problem {
    let status = page.status;
    let said =
        page.body.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('<'));
    let said = said.map(|line| format!(" ({})", line.chars().take(100).collect::<String>()));
    let problem = format!("the page answers {status}{}", said.unwrap_or_default());
    let help = match status {
        StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
            "what stands in front reaches no app: see that it runs, and on which port it listens"
        }
        StatusCode::SERVICE_UNAVAILABLE => {
            "run `ingle doctor` with the app's store, which says the same as the app's log"
        }
        status if status.is_server_error() => "see the app's log, which has the cause",
        StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED => {
            "name a page that anybody may see; on Cloud Run run `gcloud run services add-iam-policy-binding \
             SERVICE --member=allUsers --role=roles/run.invoker`"
        }
        _ => "name a page that the app has, and that begins a session",
    };
    Problem::of_app("status", problem, help)
}

fn no_cookie(page: &Page) -> Problem {
    let problem = format!(
        "no session began: {} sets no cookie of a session, or something in front of the app drops `Set-Cookie`",
        told(&page.url)
    );
    let help = "name a page that stores something in its session; if this one does, pass `Set-Cookie` on in \
                front of the app, as nginx does unless `proxy_hide_header` says otherwise";
    Problem::of_app("no-cookie", problem, help)
}

/// Why there was no answer.
fn unreachable(url: &Url, error: &reqwest::Error) -> Problem {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let at = format!("{host}:{port}");
    let cause = root_cause(error);
    if error.is_timeout() {
        let problem = format!("{at} does not answer within {} seconds", PATIENCE.as_secs());
        return Problem::of_app(
            "answer",
            problem,
            "see that the app runs, and that no firewall is in between",
        );
    }
    if cause.contains("certificate")
        || cause.contains("InvalidContentType")
        || cause.contains("handshake")
    {
        let problem = format!("TLS with {at} failed ({cause})");
        let help = format!(
            "see which certificate it has: run `openssl s_client -connect {at} -servername {host} </dev/null`; \
             a server without TLS is `http:` instead of `https:`, and a CA of your own is known here by \
             `SSL_CERT_FILE`"
        );
        return Problem::of_app("tls", problem, help);
    }
    if let Some(variable) = web::proxy(url) {
        let problem =
            format!("there is no way to {at} by the proxy that `{variable}` names ({cause})");
        let help = format!(
            "correct the variable, or go there without a proxy: put `{host}` into NO_PROXY"
        );
        return Problem::of_app("proxy", problem, help);
    }
    if !error.is_connect() {
        let problem = format!("what listens at {at} does not answer as HTTP does ({cause})");
        let help = "if it expects TLS, write `https:` for `http:`, else correct the port, or see the log of what \
                    listens there";
        return Problem::of_app("answer", problem, help);
    }
    if causes(error).contains("dns error") {
        let problem = format!("the name `{host}` is not known ({cause})");
        let help = "correct the URL, or add the name to DNS; a new one may take a while to be known everywhere";
        return Problem::of_app("answer", problem, help);
    }
    if let Some(address) = (host, port).to_socket_addrs().ok().and_then(|mut all| all.next())
        && listens_on_loopback_alone(address)
    {
        let problem = format!(
            "the app listens on 127.0.0.1:{port} alone, so nothing reaches it from outside of this machine"
        );
        let help = format!(
            "leave out `--listen` where the platform sets PORT, or start it with `--listen 0.0.0.0:{port}`"
        );
        return Problem::of_app("listen", problem, help);
    }
    let problem = format!("nothing answers at {at} ({cause})");
    let help = format!("start the app there, as with `PORT={port} greetings`, or correct the URL");
    Problem::of_app("answer", problem, help)
}

/// Whether an address that refuses connections is one of this machine's, on which only loopback is served.
fn listens_on_loopback_alone(address: SocketAddr) -> bool {
    let is_ours = UdpSocket::bind((address.ip(), 0)).is_ok();
    let local = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port());
    !address.ip().is_loopback() && is_ours && TcpStream::connect_timeout(&local, LOCAL_TIME).is_ok()
}

fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
