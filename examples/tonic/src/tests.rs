//! The service over HTTP/2, as a client that keeps cookies sees it.

use std::net::SocketAddr;

use browser::Browser;
use ingle::store::{Fault, Faulty};
use tonic::transport::{Channel, Endpoint};

use super::*;
use proto::visits_client::VisitsClient;

/// A client of the service, and the browser that keeps its cookies.
struct Client {
    service: VisitsClient<Channel>,
    browser: Browser,
}

impl Client {
    async fn of(store: Arc<dyn Store>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = app(store).expect("an app");
        tokio::spawn(async { axum::serve(listener, app).await });
        Self::connected(Browser::new(address), address).await
    }

    async fn connected(browser: Browser, address: SocketAddr) -> Self {
        let server = Endpoint::from_shared(format!("http://{address}")).expect("a URL");
        let service = VisitsClient::new(server.connect().await.expect("a connection"));
        Self { service, browser }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(cookie) = self.browser.cookie() {
            let cookie = cookie.to_str().expect("text").parse().expect("metadata");
            request.metadata_mut().insert("cookie", cookie);
        }
        request
    }

    /// Keeps the cookies that came with an answer.
    fn answer<T>(&self, answer: Result<Response<T>, Status>) -> Result<T, Status> {
        let (metadata, message, _) = answer?.into_parts();
        self.browser.keep(metadata.into_headers().get_all("set-cookie"));
        Ok(message)
    }

    async fn view(&mut self) -> Result<Page, Status> {
        let answer = self.service.view(self.request(Nothing {})).await;
        self.answer(answer)
    }

    async fn greet(&mut self, text: &str) -> Result<Nothing, Status> {
        let greeting = Greeting { text: text.to_owned() };
        let answer = self.service.greet(self.request(greeting)).await;
        self.answer(answer)
    }

    async fn logout(&mut self) -> Result<Nothing, Status> {
        let answer = self.service.logout(self.request(Nothing {})).await;
        self.answer(answer)
    }

    async fn first_of_live(&mut self) -> Result<Option<Page>, Status> {
        let answer = self.service.live(self.request(Nothing {})).await;
        self.answer(answer)?.message().await
    }
}

fn page(greeting: &str, views: u64) -> Page {
    Page { greeting: greeting.to_owned(), views }
}

#[tokio::test]
async fn a_session_survives_two_requests_and_ends_with_a_logout() {
    let mut client = Client::of(Arc::new(Memory::new())).await;
    client.greet("Hola").await.expect("saved");
    let cookie = client.browser.cookie().expect("the greeting begins a session");
    assert_eq!(client.view().await.expect("a page"), page("Hola", 1));
    assert_eq!(client.view().await.expect("a page"), page("Hola", 2));
    assert_eq!(client.browser.cookie(), Some(cookie.clone()));

    client.logout().await.expect("logged out");
    assert_eq!(client.browser.cookie(), None);
    let late = client.browser.with_cookie(&cookie);
    let mut late = Client { service: client.service.clone(), browser: late };
    let late = late.view().await.map_err(|status| status.code());
    assert_eq!(late, Err(Code::Aborted));
    assert_eq!(client.view().await.expect("a page"), page("", 1));
}

#[tokio::test]
async fn an_outage_of_the_store_is_unavailable_and_logs_nobody_out() {
    let store = Faulty::new(Arc::new(Memory::new()));
    let mut client = Client::of(Arc::new(store.clone())).await;
    assert_eq!(client.view().await.expect("a page"), page("", 1));
    let cookie = client.browser.cookie();

    store.fail_all(Some(Fault::Refuse));
    // The first is what the service answers, the second what the layer does.
    let by_service = client.view().await.expect_err("no store");
    assert_eq!(by_service.code(), Code::Unavailable, "{by_service:?}");
    let by_layer = client.greet("Hola").await.expect_err("no store");
    assert_eq!(by_layer.code(), Code::Unavailable, "{by_layer:?}");
    assert_eq!(client.browser.cookie(), cookie);
}

#[tokio::test]
async fn a_stream_of_messages_changes_a_session_that_the_client_has() {
    let mut client = Client::of(Arc::new(Memory::new())).await;
    let refused = client.first_of_live().await.expect_err("no session");
    assert!(refused.message().starts_with("the response has left"), "{refused:?}");

    assert_eq!(client.view().await.expect("a page"), page("", 1));
    assert_eq!(client.first_of_live().await.expect("a page"), Some(page("", 2)));
    assert_eq!(client.view().await.expect("a page"), page("", 3));
}
