//! The lab's routes on actix-web: see `lab.rs`, which has what they do.

use actix_web::{
    HttpResponse, HttpResponseBuilder,
    web::{self, Data, Json, Path, Query, ServiceConfig},
};
use ingle::{Error, Session};

use crate::lab::{self, Slow, Slowness, Written};

/// What a route answers that has nothing to show.
type Done = Result<HttpResponseBuilder, Error>;

fn done() -> HttpResponseBuilder {
    HttpResponse::NoContent()
}

/// The routes below `/lab`, within the app's limits and with a session. Each takes every method.
pub(super) fn routes(lab: &mut ServiceConfig) {
    lab.route("/data", web::to(data))
        .route("/insert/{field}", web::to(insert))
        .route("/remove/{field}", web::to(remove))
        .route("/increment/{field}", web::to(increment))
        .route("/push/{field}", web::to(push))
        .route("/slow-write/{field}", web::to(slow_write))
        .route("/slow-read", web::to(slow_read))
        .route("/waiting", web::to(waiting))
        .route("/renew", web::to(renew))
        .route("/panic", web::to(panic));
}

async fn data(session: Session) -> Result<Json<lab::Data>, Error> {
    Ok(Json(session.data().await?))
}

async fn insert(session: Session, field: Path<String>, new: Query<Written>) -> Done {
    session.insert(field.into_inner(), new.into_inner().value)?;
    Ok(done())
}

async fn remove(session: Session, field: Path<String>) -> Done {
    session.remove(field.into_inner())?;
    Ok(done())
}

async fn increment(session: Session, field: Path<String>) -> Done {
    session.increment(field.into_inner(), 1)?;
    Ok(done())
}

async fn push(session: Session, field: Path<String>, new: Query<Written>) -> Done {
    session.push(field.into_inner(), new.into_inner().value)?;
    Ok(done())
}

async fn slow_write(
    slowness: Data<Slowness>,
    session: Session,
    field: Path<String>,
    new: Query<Written>,
    slow: Query<Slow>,
) -> Done {
    slowness.write(&session, field.into_inner(), new.into_inner(), &slow).await?;
    Ok(done())
}

async fn slow_read(
    slowness: Data<Slowness>,
    session: Session,
    slow: Query<Slow>,
) -> Result<Json<lab::Data>, Error> {
    Ok(Json(slowness.read(&session, &slow).await?))
}

async fn waiting(slowness: Data<Slowness>) -> String {
    slowness.waiting()
}

/// Outside of the limits: who waits there waits for this.
pub(super) async fn release(slowness: Data<Slowness>, later: Query<Slow>) -> HttpResponseBuilder {
    slowness.release(&later);
    done()
}

async fn renew(session: Session) -> Done {
    session.renew().await?;
    Ok(done())
}

#[expect(clippy::panic, reason = "shows that a panic costs one answer and not the connection")]
async fn panic(session: Session) -> Done {
    session.insert("panicked", true)?;
    panic!("asked for by /lab/panic");
}
