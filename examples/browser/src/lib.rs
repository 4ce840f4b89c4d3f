//! A browser for the tests of the examples: it keeps cookies and reads pages.
//!
//! It knows nothing of sessions. What a cookie is for, a test says, or `greeting.rs` for the apps that are alike.

use std::{net::SocketAddr, sync::Arc};

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::{
    Client, Method, RequestBuilder, Response, Url,
    cookie::{CookieStore as _, Jar},
    header::{HeaderMap, HeaderValue},
};
use tokio_tungstenite::{
    connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};

pub mod greeting;

const FORM: &str = "application/x-www-form-urlencoded";

/// A browser that is at one site.
#[derive(Clone, Debug)]
pub struct Browser {
    client: Client,
    jar: Arc<Jar>,
    site: Url,
}

/// What a site answered.
#[derive(Clone, Debug)]
pub struct Page {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Browser {
    /// A browser without cookies.
    #[must_use]
    pub fn new(site: SocketAddr) -> Self {
        let site = format!("http://{site}/").parse().expect("an address is a URL's host");
        let jar = Arc::new(Jar::default());
        let client = Client::builder().cookie_provider(Arc::clone(&jar));
        Self { client: client.build().expect("plain HTTP needs nothing"), jar, site }
    }

    /// Another browser, to which somebody copied a cookie.
    #[must_use]
    pub fn with_cookie(&self, cookie: &HeaderValue) -> Self {
        let address = self.site.socket_addrs(|| None).expect("an address");
        let other = Self::new(*address.first().expect("one address"));
        other.keep([cookie]);
        other
    }

    /// The cookies that it sends to the site, as they stand in the header `Cookie`.
    #[must_use]
    pub fn cookie(&self) -> Option<HeaderValue> {
        self.jar.cookies(&self.site)
    }

    /// Keeps the cookies of an answer that came another way.
    pub fn keep<'a>(&self, set_cookies: impl IntoIterator<Item = &'a HeaderValue>) {
        self.jar.set_cookies(&mut set_cookies.into_iter(), &self.site);
    }

    pub async fn get(&self, path: &str) -> Page {
        whole(self.ask(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str) -> Page {
        whole(self.ask(Method::POST, path)).await
    }

    /// Sends the fields of a form, which are encoded already.
    pub async fn submit(&self, path: &str, fields: &'static str) -> Page {
        whole(self.ask(Method::POST, path).header("content-type", FORM).body(fields)).await
    }

    /// Submits a form of a page, as a browser without script does, and follows a redirection.
    pub async fn submit_from(&self, page: &str, path: &str, fields: &'static str) -> Page {
        let request = self.ask(Method::POST, path).header("content-type", FORM);
        let page = self.site.join(page).expect("a path");
        whole(request.header("accept", "text/html").header("referer", page.as_str()).body(fields))
            .await
    }

    /// Opens a page that does not end, and reads the first piece of it.
    pub async fn watch(&self, path: &str) -> Page {
        first_piece(self.ask(Method::GET, path)).await
    }

    /// The same for a page that is the answer to an empty form.
    pub async fn submit_and_watch(&self, path: &str) -> Page {
        first_piece(self.ask(Method::POST, path).header("content-type", FORM)).await
    }

    /// Opens a WebSocket, sends messages, and reads one answer to each.
    pub async fn talk(&self, path: &str, messages: &[&str]) -> Vec<String> {
        let mut url = self.site.join(path).expect("a path");
        url.set_scheme("ws").expect("a scheme");
        let mut request = url.as_str().into_client_request().expect("a request");
        if let Some(cookie) = self.cookie() {
            request.headers_mut().insert("cookie", cookie);
        }
        let (mut socket, _) = connect_async(request).await.expect("a WebSocket");
        let mut answers = Vec::new();
        for message in messages {
            socket.send(Message::text(*message)).await.expect("sent");
            let answer = socket.next().await.expect("an answer").expect("an answer");
            answers.push(answer.into_text().expect("text").to_string());
        }
        answers
    }

    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.site.join(path).expect("a path"))
    }
}

async fn whole(request: RequestBuilder) -> Page {
    let response = request.send().await.expect("an answer");
    let mut page = Page::of(&response);
    page.body = response.text().await.expect("text");
    page
}

async fn first_piece(request: RequestBuilder) -> Page {
    let mut response = request.send().await.expect("an answer");
    let mut page = Page::of(&response);
    let piece = response.chunk().await.expect("a piece").unwrap_or_default();
    page.body = String::from_utf8(piece.to_vec()).expect("text");
    page
}

impl Page {
    /// All but the body.
    fn of(response: &Response) -> Self {
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Self { status, headers, body: String::new() }
    }

    /// A header's value, if it is there and text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}
