//! The app on actix-web: the same pages, with actix-web's server and middleware around them.
//!
//! Everything about sessions is the library's here as well. The server is actix-web's own: it has no
//! bound on the connections of one client, no time limit for one that does not read, and its own
//! bounds on headers.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use actix_web::{
    App, Error, FromRequest as _, HttpResponse, HttpServer,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
    middleware::{Next, from_fn},
    web::{self, Data, Html, ServiceConfig},
};
use axum::http::Method;
use ingle::{Session, SessionLayer, store::Store};
use tokio::{
    select,
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{
    Start,
    access::{Told, traced},
    app::{HEALTH, READY, READY_WITHIN, logout, page, readiness},
    lab::Slowness,
    limit::{BODY_BYTES_MAX, TOO_LONG},
    server::{CONNECTIONS_MAX, Ended, Limits},
    workers,
};

mod lab;

/// One worker alone would show nothing of what two do to one session.
const WORKERS_MIN: usize = 2;

/// What all workers share.
#[derive(Clone)]
struct Shared {
    /// Each worker has a clone, with which it shares the queues of all sessions.
    sessions: SessionLayer,
    limit: Limit,
    readiness: Readiness,
    lab: Option<Arc<Slowness>>,
}

/// What one request may take of this process: a place and a time.
#[derive(Clone)]
struct Limit {
    permits: Arc<Semaphore>,
    time: Duration,
}

/// The store that is asked whether it answers, and within which time it must.
#[derive(Clone)]
struct Readiness(Arc<dyn Store>, Duration);

/// Serves until a signal comes, then finishes what runs.
pub(crate) async fn serve(start: Start) -> io::Result<Ended> {
    let Start { options, listener, store, sessions, accounts: _, mut signals, told } = start;
    let Limits { in_flight, header_time, request_time, drain_time, per_client: _ } = options.limits;
    let permits = Arc::new(Semaphore::new(in_flight));
    let shared = Shared {
        sessions,
        limit: Limit { permits: Arc::clone(&permits), time: request_time },
        readiness: Readiness(store, options.store_time.unwrap_or(READY_WITHIN)),
        lab: options.lab.then(Arc::default),
    };
    let workers = workers::count().max(WORKERS_MIN);
    let server = HttpServer::new(move || {
        let access = from_fn(move |request, next| accessed(told, request, next));
        App::new().configure(|app| routes(app, &shared)).wrap(access)
    });
    let server = server
        .workers(workers)
        .max_connections(CONNECTIONS_MAX / workers)
        .client_request_timeout(header_time)
        .keep_alive(header_time)
        .tcp_nodelay(true)
        .disable_signals()
        // What is overdue is decided below.
        .shutdown_timeout(drain_time.as_secs() + 1)
        .listen(listener.into_std()?)?
        .run();
    let handle = server.handle();
    let mut server = pin!(server);
    select! {
        ended = &mut server => return ended.map(|()| Ended::Drained),
        _ = signals.next() => {}
    }
    tracing::info!("stopping");
    // The server hears of it while it is awaited.
    drop(handle.stop(true));
    select! {
        ended = server => ended.map(|()| Ended::Drained),
        number = signals.next() => Ok(Ended::AtOnce(number)),
        () = sleep(drain_time) => Ok(Ended::Overdue(in_flight - permits.available_permits())),
    }
}

/// The pages, each with a session; `/ready`, which asks the store itself; and `/health`, which is
/// outside of the limits.
fn routes(app: &mut ServiceConfig, shared: &Shared) {
    let Shared { sessions, limit, readiness, lab } = shared;
    app.app_data(Data::new(limit.clone())).app_data(Data::new(readiness.clone()));
    app.service(web::resource(HEALTH).get(async || "ok"));
    app.service(web::resource(READY).wrap(from_fn(limited)).get(ready));
    let mut pages = web::scope("")
        .service(web::resource("/").get(home))
        .service(web::resource("/logout").post(logout));
    if let Some(slowness) = lab {
        app.app_data(Data::from(Arc::clone(slowness)));
        app.route("/lab/release", web::to(lab::release));
        pages = pages.service(web::scope("/lab").configure(lab::routes));
    }
    // Sessions are around the limits: what is cut off there is an answer all the same, with the cookie
    // of a session that was renewed before.
    app.service(pages.wrap(from_fn(limited)).wrap(sessions.clone()));
}

/// Tells of a request, when it is answered.
async fn accessed(
    told: Told,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let started = {
        let header = |name| request.headers().get(name).map(HeaderValue::as_bytes);
        let method = Method::from_bytes(request.method().as_str().as_bytes()).unwrap_or_default();
        told.begin(&method, request.path(), header)
    };
    let Some(started) = started else { return next.call(request).await };
    let answer = traced(&started, next.call(request)).await;
    match &answer {
        Ok(response) => {
            let session = Session::extract(response.request()).await.ok();
            let session = session.and_then(|session| session.handle());
            let route = response.request().match_pattern();
            started.answered(response.status().as_u16(), session, route.as_deref());
        }
        Err(error) => {
            started.answered(error.as_response_error().status_code().as_u16(), None, None);
        }
    }
    answer
}

async fn home(session: Session) -> Result<Html, ingle::Error> {
    Ok(Html::new(page(&session).await?))
}

async fn ready(readiness: Data<Readiness>) -> (&'static str, StatusCode) {
    let Readiness(store, within) = &**readiness;
    match self::readiness(&**store, *within).await {
        Ok(text) => (text, StatusCode::OK),
        Err(text) => (text, StatusCode::SERVICE_UNAVAILABLE),
    }
}

/// Lets so many requests in at once, each for so long. A panic costs one answer and not the connection.
async fn limited(
    limit: Data<Limit>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: usize| length > BODY_BYTES_MAX) {
        return Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, "a body may have 256 KiB\n"));
    }
    // In a queue all would only be late.
    let Ok(_permit) = limit.permits.try_acquire() else {
        let mut busy = HttpResponse::ServiceUnavailable();
        let busy = busy.insert_header((header::RETRY_AFTER, "1")).body("busy, try again\n");
        return Err(InternalError::from_response("busy", busy).into());
    };
    let mut handler = pin!(next.call(request));
    let handled = std::future::poll_fn(|context| {
        let poll = || handler.as_mut().poll(context);
        let panicked =
            |_| Poll::Ready(Err(refusal(StatusCode::INTERNAL_SERVER_ERROR, "panicked\n")));
        catch_unwind(AssertUnwindSafe(poll)).unwrap_or_else(panicked)
    });
    match timeout(limit.time, handled).await {
        Ok(handled) => handled,
        Err(_) => Err(refusal(StatusCode::SERVICE_UNAVAILABLE, TOO_LONG)),
    }
}

fn refusal(status: StatusCode, text: &'static str) -> Error {
    InternalError::new(text, status).into()
}
