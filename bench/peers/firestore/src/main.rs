//! Peer: axum, and a transaction of the crate firestore for each visit, as the tutorial's app has it.
//!
//! `peer-firestore ADDRESS PROJECT COLLECTION`; the emulator is in `FIRESTORE_EMULATOR_HOST`.

use std::sync::Arc;

use anyhow::Result;
use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse as _, Response},
    routing::get,
};
use firestore::{FirestoreDb, FirestoreResult};
use page::Arguments;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

#[derive(Clone, Serialize, Deserialize)]
struct Visit {
    greeting: String,
    views: u64,
}

struct Sessions {
    firestore: FirestoreDb,
    collection: String,
}

/// Reads, adds 1 and writes in one transaction, which the crate repeats as Google's clients do.
async fn visit(sessions: &Arc<Sessions>, id: &str) -> FirestoreResult<Visit> {
    let (sessions, id) = (Arc::clone(sessions), id.to_owned());
    let transaction = sessions.firestore.run_transaction(|db, transaction| {
        let (sessions, id) = (Arc::clone(&sessions), id.clone());
        Box::pin(async move {
            let collection = sessions.collection.as_str();
            let stored: Option<Visit> =
                db.fluent().select().by_id_in(collection).obj().one(&id).await?;
            let first = || Visit { greeting: page::any_greeting().to_owned(), views: 0 };
            let mut visit = stored.unwrap_or_else(first);
            visit.views += 1;
            db.fluent()
                .update()
                .in_col(collection)
                .document_id(&id)
                .object(&visit)
                .add_to_transaction(transaction)?;
            Ok(visit)
        })
    });
    transaction.await
}

async fn home(State(sessions): State<Arc<Sessions>>, headers: HeaderMap) -> Response {
    let cookie = headers.get(header::COOKIE).and_then(|cookies| cookies.to_str().ok());
    let known = cookie.and_then(|cookies| {
        let mut cookies = cookies.split("; ").filter_map(|cookie| cookie.split_once('='));
        cookies.find(|(name, _)| *name == page::COOKIE).map(|(_, id)| id.to_owned())
    });
    let id = known.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
    match visit(&sessions, &id).await {
        Ok(visit) => {
            let cookie = format!("{}={id}; HttpOnly; SameSite=Lax; Path=/", page::COOKIE);
            let page = page::page(visit.views, &visit.greeting);
            ([(header::SET_COOKIE, cookie)], Html(page)).into_response()
        }
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::read()?;
    let firestore = FirestoreDb::new(&arguments.store).await?;
    let collection = arguments.place()?.to_owned();
    let app = Router::new()
        .route("/", get(home))
        .with_state(Arc::new(Sessions { firestore, collection }))
        .route("/plain", get(async || Html(page::PLAIN)));
    Ok(axum::serve(TcpListener::bind(arguments.listen).await?, app).await?)
}
