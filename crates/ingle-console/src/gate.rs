//! What every request passes, whatever its route and method, and what every answer carries.
//!
//! The host is compared first: on a page of a rebound name, the browser says that the origin is the
//! console's own, and only the name is wrong (`SECURITY` R44 in `docs/security.md`).

use axum::{
    Router,
    extract::{DefaultBodyLimit, NestedPath, Request, State, rejection::NestedPathRejection},
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use ingle::SameOriginLayer;
use serde_json::json;

use crate::{
    Console,
    access::{Grant, PublicUrl},
    api,
    context::{Base, Top},
    problem::Problem,
    view::{ProblemPage, page},
};

/// A form has the data of a session twice.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Scripts and styles are files of ours, and a script can make no markup out of a text.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Under the policy `no-referrer` browsers send `Origin: null` with our own forms, so it is
/// `same-origin`: no other site learns an address.
const HEADERS: [(header::HeaderName, &str); 6] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (header::HeaderName::from_static("x-robots-tag"), "noindex"),
];

/// For a year browsers open this host by TLS alone (RFC 6797).
const TLS_ALONE: &str = "max-age=31536000";

/// Under which names the console is answered, and where it has to be.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The values of Host, in lower case.
    hosts: Vec<String>,
    /// Where the address is known under which people open it: its origin, and the path there.
    public: Option<(String, Base)>,
}

impl Place {
    pub(crate) fn of_app(hosts: Vec<String>) -> Self {
        let hosts = hosts.into_iter().map(|host| host.to_ascii_lowercase()).collect();
        Self { hosts, public: None }
    }

    pub(crate) fn at(url: &PublicUrl) -> Self {
        Self { hosts: url.hosts(), public: Some((url.origin(), Base::new(url.path()))) }
    }

    /// Whether people open it by HTTPS, on a host that is the console's alone.
    fn has_host_with_tls(&self) -> bool {
        let public = self.public.as_ref();
        public.is_some_and(|(origin, path)| origin.starts_with("https:") && path.home() == "/")
    }

    fn check(&self, request: &Request, base: &Base) -> Result<(), Problem> {
        check_host(&host_of(request.headers(), request.uri())?, &self.hosts)?;
        let Some((origin, path)) = &self.public else { return Ok(()) };
        if base != path {
            tracing::error!(public = %path.home(), mounted = %base.home(), "the console is not mounted at the path of its public URL");
            let text = "The console is not where its public URL says. Mount it at that path.";
            return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Not this path", text));
        }
        // Behind a proxy that ends TLS the scheme is known as well.
        let mut said = request.headers().get_all(header::ORIGIN).iter();
        match said.all(|said| said.as_bytes().eq_ignore_ascii_case(origin.as_bytes())) {
            true => Ok(()),
            false if request.method().is_safe() => Ok(()),
            false => Err(of_another_site()),
        }
    }
}

/// The routes behind the gate.
pub(crate) fn around(routes: Router<Console>, console: &Console) -> Router {
    routes
        .fallback(async || StatusCode::NOT_FOUND)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(console.clone(), pass))
        .with_state(console.clone())
}

async fn pass(
    State(console): State<Console>,
    nested: Result<NestedPath, NestedPathRejection>,
    mut request: Request,
    next: Next,
) -> Response {
    let base = Base::new(nested.as_ref().map_or("", NestedPath::as_str));
    let grant = request.extensions().get::<Grant>().cloned();
    let is_api = request.uri().path().starts_with(api::PREFIX);
    request.extensions_mut().insert(base.clone());
    let checked = console.0.place.check(&request, &base).and_then(|()| check_origin(&request));
    let response = match checked {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    };
    let has_tls = console.0.place.has_host_with_tls();
    let grant = response.extensions().get::<Grant>().cloned().or(grant);
    let told = match is_api {
        true => as_json(response),
        false => as_page(response, base, grant),
    };
    with_headers(told, has_tls)
}

/// The one host that the request is for.
fn host_of(headers: &HeaderMap, uri: &Uri) -> Result<String, Problem> {
    let mut named: Vec<&[u8]> =
        headers.get_all(header::HOST).iter().map(HeaderValue::as_bytes).collect();
    named.extend(uri.authority().map(|authority| authority.as_str().as_bytes()));
    let is_one = named.windows(2).all(|pair| matches!(pair, [one, other] if one == other));
    let n_headers = headers.get_all(header::HOST).iter().count();
    match named.first() {
        Some(host) if is_one && n_headers < 2 => {
            Ok(String::from_utf8_lossy(host).to_ascii_lowercase())
        }
        _ => Err(Problem::bad_request("The request does not say which one host it is for.")),
    }
}

fn check_host(host: &str, hosts: &[String]) -> Result<(), Problem> {
    if hosts.iter().any(|known| known == host) {
        return Ok(());
    }
    let text = "This console does not answer under this name. Open it under a name that it was set up \
                for.";
    Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "Not this host", text))
}

/// An unsafe request must be from here. A form must also say so, which every browser does; a program that
/// uses the API says nothing.
fn check_origin(request: &Request) -> Result<(), Problem> {
    let headers = request.headers();
    let said = |name: &str| headers.contains_key(name);
    let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
    let header = |name: &'static str| {
        let value = headers.get(name).map(HeaderValue::as_bytes);
        value.or(authority.filter(|_| name == "host"))
    };
    let is_ours = SameOriginLayer::new().check(request.method().as_str(), header).is_ok();
    let is_of_program = request.uri().path().starts_with(api::PREFIX);
    let is_told = request.method().is_safe() || said("sec-fetch-site") || said("origin");
    let is_told = is_told || is_of_program;
    if is_ours && is_told {
        return Ok(());
    }
    Err(of_another_site())
}

fn of_another_site() -> Problem {
    let text = "A page of another site sent this, or the browser did not say which page did. Nothing was changed.";
    Problem::new(StatusCode::FORBIDDEN, "Refused", text)
}

/// What went wrong, if there is no page of it yet.
fn problem_of(response: &mut Response) -> Option<Problem> {
    let told = response.extensions_mut().remove::<Problem>();
    let has_body = response.headers().contains_key(header::CONTENT_TYPE) && told.is_none();
    told.or_else(|| Problem::of_status(response.status()).filter(|_| !has_body))
}

/// What went wrong as a page.
fn as_page(mut response: Response, base: Base, grant: Option<Grant>) -> Response {
    let Some(problem) = problem_of(&mut response) else { return response };
    let top = Top::new(base, grant, "");
    let shown = ProblemPage { top, title: problem.title, text: problem.text };
    with_headers_of(&response, page(problem.status, &shown))
}

/// What went wrong as problem details (RFC 9457).
fn as_json(mut response: Response) -> Response {
    let Some(problem) = problem_of(&mut response) else { return response };
    let told = json!({
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status.as_u16(),
        "detail": problem.text,
    });
    let kind = [(header::CONTENT_TYPE, api::PROBLEM)];
    with_headers_of(&response, (problem.status, kind, told.to_string()).into_response())
}

/// A new answer with what an earlier one says beside its body.
fn with_headers_of(earlier: &Response, mut response: Response) -> Response {
    let of_body = [header::CONTENT_LENGTH, header::CONTENT_TYPE];
    for (name, value) in earlier.headers().iter().filter(|(name, _)| !of_body.contains(name)) {
        response.headers_mut().append(name, value.clone());
    }
    response
}

fn with_headers(mut response: Response, has_tls: bool) -> Response {
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if has_tls {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(TLS_ALONE));
    }
    // What somebody has signed out of is not in the browser's cache.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
