//! Sessions with leptos' server functions: an app that counts a visitor's views, keeps a greeting,
//! and logs the visitor out.
//!
//! It has the server's side alone: the forms work without WebAssembly and without script.

use std::{error::Error, sync::Arc, time::Duration};

use futures_util::stream;
use ingle::{
    Cookie, CookieConfig, CookieError, Session, SessionLayer,
    store::{Memory, Store},
};
use leptos::{
    prelude::*,
    server_fn::codec::{StreamingText, TextStream},
};
use leptos_axum::{LeptosRoutes as _, ResponseOptions, generate_route_list};
use leptos_router::{
    SsrMode,
    components::{Route, Router, Routes},
    path,
};
use serde::{Deserialize, Serialize};
use tokio::time::interval;

#[derive(Clone, Default, Serialize, Deserialize)]
struct Visit {
    greeting: String,
    views: u64,
}

/// Lets leptos answer with an error of a session and its status.
fn failed(error: ingle::Error) -> ServerFnError {
    if let Some(response) = use_context::<ResponseOptions>() {
        response.set_status(error.status());
    }
    ServerFnError::new(error)
}

async fn add_view(session: &Session) -> Result<String, ingle::Error> {
    let view = |visit: &mut Visit| {
        visit.views += 1;
        visit.clone()
    };
    let Visit { greeting, views } = session.update(view).await?;
    Ok(format!("{views} views for \"{greeting}\""))
}

#[server(endpoint = "view")]
async fn view() -> Result<String, ServerFnError> {
    let session: Session = leptos_axum::extract().await?;
    add_view(&session).await.map_err(failed)
}

/// An edit needs no await. The layer commits it before the response leaves.
#[server(endpoint = "greet")]
async fn greet(greeting: String) -> Result<(), ServerFnError> {
    let session: Session = leptos_axum::extract().await?;
    session.insert("greeting", greeting).map_err(failed)
}

#[server(endpoint = "logout")]
async fn logout() -> Result<(), ServerFnError> {
    let session: Session = leptos_axum::extract().await?;
    session.logout().await.map_err(failed)
}

/// Counts a view each second while somebody reads: the stream keeps its session.
#[server(endpoint = "live", output = StreamingText)]
async fn live() -> Result<TextStream, ServerFnError> {
    let session: Session = leptos_axum::extract().await?;
    let state = (session, interval(Duration::from_secs(1)));
    Ok(TextStream::new(stream::try_unfold(state, |(session, mut second)| async move {
        second.tick().await;
        let page = add_view(&session).await.map_err(ServerFnError::new)?;
        Ok(Some((page, (session, second))))
    })))
}

#[component]
fn Home() -> impl IntoView {
    let page = Resource::new(|| (), |()| view());
    let (greet, logout) = (ServerAction::<Greet>::new(), ServerAction::<Logout>::new());
    view! {
        <Suspense>
            <p>{move || Suspend::new(async move { page.await })}</p>
        </Suspense>
        <ActionForm action=greet>
            <input name="greeting" />
            <button>"Greet me so"</button>
        </ActionForm>
        <ActionForm action=logout>
            <button>"Log out"</button>
        </ActionForm>
    }
}

/// The page may begin a session, so leptos renders all of it before it sends the head. By default
/// leptos may send the head before a server function runs, and then the cookie comes too late.
#[component]
fn App() -> impl IntoView {
    view! {
        <Router>
            <Routes fallback=|| "There is no such page.">
                <Route path=path!("/") view=Home ssr=SsrMode::Async />
            </Routes>
        </Router>
    }
}

fn app(store: Arc<dyn Store>) -> Result<axum::Router, CookieError> {
    // This cookie works over plain HTTP, for development. The default cookie needs TLS.
    // Cookies do not tell ports apart: with one name, two apps on a host would end each other's sessions.
    let name = "example-leptos";
    let cookie = CookieConfig { name: name.to_owned(), ..CookieConfig::development() };
    let cookie = Cookie::new(cookie)?;
    let sessions = SessionLayer::new(store).cookie(cookie).namespace(name);
    let options = LeptosOptions::builder().output_name("example").build();
    Ok(axum::Router::new()
        .leptos_routes(&options, generate_route_list(App), App)
        .with_state(options)
        .layer(sessions))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, app(Arc::new(Memory::new()))?).await?)
}

#[cfg(test)]
mod tests;
