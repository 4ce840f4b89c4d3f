//! A console that others reach: whoever asks is known by a provider, by IAP or by a proxy, or sees nothing.

use std::{net::SocketAddr, sync::Arc};

#[cfg(feature = "oidc")]
use askama::Template;
use axum::{
    Router,
    extract::{ConnectInfo, Request, State},
    http::StatusCode,
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
#[cfg(feature = "oidc")]
use axum::{extract::Extension, http::header, routing::post};
use ingle::Sessions;

use crate::{
    Console,
    access::{Grant, Identity, NotOfProxy, Proxy, Public},
    gate::{self, Place},
    problem::Problem,
    routes,
};
#[cfg(feature = "oidc")]
use crate::{
    context::{Base, SignedIn, Top},
    provider::{self, Iap},
    view::page,
};

pub(crate) fn router(sessions: Sessions, public: Public, is_in_app: bool) -> Router {
    let console = Console::new(sessions, Place::at(&public.url), is_in_app);
    let routes = routes::routes();
    let routes = match public.identity {
        Identity::Proxy(proxy) => {
            routes.layer(from_fn_with_state(Arc::new(proxy), must_be_named_by_proxy))
        }
        #[cfg(feature = "oidc")]
        Identity::Iap(iap) => {
            let state = (Arc::from(iap), console.clone());
            let routes = routes.route("/sign-out", post(sign_out_of_iap));
            routes.layer(from_fn_with_state(state, must_be_signed_by_iap))
        }
        #[cfg(feature = "oidc")]
        Identity::Oidc(oidc) => {
            let operators = public.operators;
            provider::pages::around(routes, *oidc, public.url, operators, &console)
        }
    };
    gate::around(routes, &console)
}

/// Goes on as whoever asks. What the pages are made of is nobody's secret.
async fn go_on(grant: Grant, mut request: Request, next: Next) -> Response {
    request.extensions_mut().insert(grant.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(grant);
    response
}

fn is_asset(request: &Request) -> bool {
    request.uri().path().starts_with("/assets/")
}

async fn must_be_named_by_proxy(
    State(proxy): State<Arc<Proxy>>,
    request: Request,
    next: Next,
) -> Response {
    if is_asset(&request) {
        return next.run(request).await;
    }
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|peer| peer.0.ip());
    let Some(peer) = peer else {
        tracing::error!(
            "nobody can be let in: serve the app by `into_make_service_with_connect_info::<SocketAddr>()`"
        );
        let text =
            "The console does not see which address a request is from, so it lets nobody in.";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        return Problem::new(status, "Not set up", text).into_response();
    };
    let refused = match proxy.who(peer, request.headers()) {
        Ok((_, Some(grant))) => return go_on(grant, request, next).await,
        Ok((name, None)) => return Problem::no_role(&name).into_response(),
        Err(refused) => refused,
    };
    let text = match refused {
        NotOfProxy::OtherPeer => {
            tracing::warn!(%peer, "a request was refused: it is not from the proxy");
            "This console is reached through its proxy alone. Open it under its own address."
        }
        NotOfProxy::NoName => {
            tracing::warn!(%peer, "a request was refused: the proxy names nobody in it, or names twice");
            "The proxy did not say who you are, or said it twice. Sign in there first."
        }
    };
    Problem::new(StatusCode::FORBIDDEN, "It is not known who you are", text).into_response()
}

#[cfg(feature = "oidc")]
async fn must_be_signed_by_iap(
    State((iap, console)): State<(Arc<Iap>, Console)>,
    mut request: Request,
    next: Next,
) -> Response {
    if is_asset(&request) {
        return next.run(request).await;
    }
    match iap.who(request.headers(), console.0.sessions.now()).await {
        Ok(grant) => {
            request.extensions_mut().insert(SignedIn);
            go_on(grant, request, next).await
        }
        Err(refused) => refused.problem().into_response(),
    }
}

#[cfg(feature = "oidc")]
#[derive(Template)]
#[template(path = "sign-out-iap.html")]
struct SignOutPage {
    top: Top,
    next: String,
}

/// IAP ends its session where an address of the site asks for it, and leads to Google from there. The
/// browser goes there by itself, and not as the answer to a form: the policy of the pages lets forms lead
/// nowhere else.
#[cfg(feature = "oidc")]
async fn sign_out_of_iap(Extension(base): Extension<Base>) -> Response {
    let next = format!("{}?gcp-iap-mode=CLEAR_LOGIN_COOKIE", base.home());
    let refresh = [(header::REFRESH, format!("0; url={next}"))];
    let shown = SignOutPage { top: Top::new(base, None, "sign-out"), next };
    (refresh, page(StatusCode::OK, &shown)).into_response()
}
