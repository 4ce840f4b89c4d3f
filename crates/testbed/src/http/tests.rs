use std::net::Ipv4Addr;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    task::JoinSet,
};

use super::*;

/// A server that answers each connection with the next of these texts, once for each request, and
/// then ends it. It returns the requests.
async fn serving(answers: &[&'static str]) -> (SocketAddr, JoinSet<Vec<String>>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let answers = answers.to_vec();
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 1024];
            // The request is small enough to come at once.
            let n = client.read(&mut request).await.unwrap();
            requests.push(String::from_utf8(request[..n].to_vec()).unwrap());
            client.write_all(answer.as_bytes()).await.unwrap();
        }
        requests
    });
    (address, serving)
}

#[tokio::test]
async fn a_browser_sends_back_the_cookies_that_it_was_given() {
    let first = "HTTP/1.1 200 OK\r\nSet-Cookie: id=1; Path=/\r\nset-cookie: old=x\r\n\
                 Content-Length: 2\r\n\r\nab";
    let then = "HTTP/1.1 200 OK\r\nSet-Cookie: old=; Path=/; Max-Age=0\r\nConnection: close\r\n\
                Content-Length: 0\r\n\r\n";
    let (address, mut server) = serving(&[first, then, then]).await;
    let mut browser = Browser::new(address);
    let answer = browser.get("/a").await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "ab"));
    assert_eq!(browser.cookie.as_deref(), Some("id=1; old=x"));
    // The server has closed the connection meanwhile, which is nobody's fault.
    assert_eq!(browser.post("/b").await.status, 200);
    assert_eq!(browser.cookie.as_deref(), Some("id=1"));
    browser.window(address).get("/c").await;
    let requests = server.join_next().await.unwrap().unwrap();
    assert!(requests[0].starts_with("GET /a HTTP/1.1\r\n"), "{requests:?}");
    assert!(!requests[0].contains("cookie"), "{requests:?}");
    assert!(requests[1].starts_with("POST /b HTTP/1.1\r\n"), "{requests:?}");
    assert!(requests[1].contains("\r\ncookie: id=1; old=x\r\n"), "{requests:?}");
    assert!(requests[2].contains("\r\ncookie: id=1\r\n"), "{requests:?}");
}

#[tokio::test]
async fn a_form_is_sent_as_browsers_write_it() {
    let (address, mut server) = serving(&["HTTP/1.1 303 no\r\nContent-Length: 0\r\n\r\n"]).await;
    let answer = Browser::new(address).submit("/a", &[("name", "é &="), ("b", "")]).await;
    assert_eq!(answer.status, 303);
    let requests = server.join_next().await.unwrap().unwrap();
    assert!(requests[0].starts_with("POST /a HTTP/1.1\r\n"), "{requests:?}");
    let kind = "\r\ncontent-type: application/x-www-form-urlencoded\r\n";
    assert!(requests[0].contains(kind), "{requests:?}");
    assert!(requests[0].ends_with("\r\n\r\nname=%C3%A9%20%26%3D&b="), "{requests:?}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_may_have_been_done() {
    for text in ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nn", "HTTP/1.1 200 OK\r\nserv", ""] {
        let (address, _server) = serving(&[text]).await;
        let answer = Browser::new(address).try_get("/").await;
        assert!(matches!(answer, Err(NoAnswer::Broken(_))), "{text}: {answer:?}");
    }
}

#[tokio::test]
async fn what_nobody_takes_is_not_sent() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let answer = Browser::new(address).try_get("/").await;
    assert!(matches!(answer, Err(NoAnswer::NotSent(_))), "{answer:?}");
}

#[tokio::test]
async fn raw_bytes_are_sent_as_they_are_and_answers_follow_each_other() {
    let text = "HTTP/1.1 431 no\r\nContent-Length: 1\r\n\r\naHTTP/1.1 204 b\r\nc: d\r\n\r\n";
    let (address, mut server) = serving(&[text]).await;
    let mut connection = raw::Raw::open(address).await.unwrap();
    connection.write(b"GET / HTTP/1.1\r\nCookie: \x7f\r\n\r\n").await.unwrap();
    let first = connection.read().await.unwrap();
    assert_eq!((first.status, first.body.as_str()), (431, "a"));
    let second = connection.read().await.unwrap();
    assert_eq!((second.status, second.header("c")), (204, Some("d")));
    assert!(connection.is_closed().await);
    let requests = server.join_next().await.unwrap().unwrap();
    assert_eq!(requests, ["GET / HTTP/1.1\r\nCookie: \x7f\r\n\r\n"]);
}

#[tokio::test]
async fn one_that_blocks_can_be_asked_from_a_task() {
    let (address, _server) = serving(&["HTTP/1.1 404 no\r\nContent-Length: 0\r\n\r\n"]).await;
    let asked = tokio::task::spawn_blocking(move || status(address, "/", Duration::from_secs(60)));
    assert_eq!(asked.await.unwrap(), Some(404));
}
