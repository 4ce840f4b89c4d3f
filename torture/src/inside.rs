//! The library in this process: a request through the layer, with a cookie and without a socket.
//!
//! The app in it does what its requests say. It tells a client no more than a server would: a
//! status, whether to try again, a cookie and a body.

use std::convert::Infallible;

use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use ingle::{Session, SessionLayer};
use serde_json::Value;
use tower::{Layer as _, ServiceExt as _, service_fn};

/// What a request does to its session.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Answers all data as JSON.
    Read,
    /// Sets a field.
    Insert {
        field: &'static str,
        value: String,
    },
    /// Pushes to a list, as an edit that is committed with the response.
    Push {
        field: &'static str,
        value: String,
    },
    /// Pushes to a list in a transaction, and answers all data as it was committed.
    Update {
        field: &'static str,
        value: String,
    },
    /// Counts a view in a transaction, and answers all data as it was committed.
    Count,
    /// Pushes to a list, and moves the session to a new id.
    Renew {
        field: &'static str,
        value: String,
    },
    Logout,
}

/// What a client sees.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Nothing was stored, says a 503 with it.
    pub(crate) retry_after: bool,
    /// `name=value`, if the answer sets a cookie.
    pub(crate) cookie: Option<String>,
    pub(crate) body: String,
}

impl Answer {
    /// Whether the client is told that nothing was stored.
    pub(crate) fn is_refused(&self) -> bool {
        self.status == StatusCode::CONFLICT
            || self.status == StatusCode::SERVICE_UNAVAILABLE && self.retry_after
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.status == StatusCode::OK
    }
}

/// One request. Dropped, it is a client that hung up.
pub(crate) async fn request(layer: &SessionLayer, cookie: Option<&str>, work: Work) -> Answer {
    let mut request = Request::new(work);
    if let Some(cookie) = cookie.and_then(|cookie| cookie.parse().ok()) {
        request.headers_mut().insert(header::COOKIE, cookie);
    }
    let Ok(response) = layer.layer(service_fn(serve)).oneshot(request).await;
    let (parts, body) = response.into_parts();
    let Ok(body) = body.collect().await;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    let retry_after = parts.headers.contains_key(header::RETRY_AFTER);
    Answer { status: parts.status, retry_after, cookie: set_cookie(&parts.headers), body }
}

fn set_cookie(headers: &HeaderMap) -> Option<String> {
    let cookie = headers.get(header::SET_COOKIE)?.to_str().ok()?;
    cookie.split(';').next().map(str::to_owned)
}

async fn serve(request: Request<Work>) -> Result<Response<String>, Infallible> {
    let (parts, work) = request.into_parts();
    let Some(session) = parts.extensions.get::<Session>() else {
        return Ok(Response::new("there is no session layer".to_owned()));
    };
    Ok(match run(session, work).await {
        Ok(body) => Response::new(body),
        Err(error) => error.response().into_http(),
    })
}

async fn run(session: &Session, work: Work) -> Result<String, ingle::Error> {
    match work {
        Work::Read => {
            let data: serde_json::Map<String, Value> = session.data().await?;
            return Ok(Value::Object(data).to_string());
        }
        Work::Insert { field, value } => session.insert(field, value)?,
        Work::Push { field, value } => session.push(field, value)?,
        Work::Update { field, value } => {
            let pushed = session.update(move |data: &mut serde_json::Map<String, Value>| {
                let list = data.entry(field).or_insert_with(|| Value::Array(Vec::new()));
                if let Value::Array(list) = list {
                    list.push(Value::String(value.clone()));
                }
                Value::Object(data.clone()).to_string()
            });
            return pushed.await;
        }
        Work::Count => {
            let counted = session.update(|data: &mut serde_json::Map<String, Value>| {
                let views = data.get("views").and_then(Value::as_u64).unwrap_or(0);
                data.insert("views".to_owned(), views.saturating_add(1).into());
                Value::Object(data.clone()).to_string()
            });
            return counted.await;
        }
        Work::Renew { field, value } => {
            session.push(field, value)?;
            session.renew().await?;
        }
        Work::Logout => session.logout().await?,
    }
    Ok(String::new())
}
