use std::{net::Ipv4Addr, sync::atomic::AtomicUsize};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::http::NoAnswer;

/// An app that counts the views of one session, and ends each connection after a few answers. Every
/// fifth request is refused.
async fn app() -> (SocketAddr, JoinSet<()>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (requests, views) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut serving = JoinSet::new();
    serving.spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (client, _) = listener.accept().await.unwrap();
            connections.spawn(serve(client, Arc::clone(&requests), Arc::clone(&views)));
        }
    });
    (address, serving)
}

async fn serve(mut client: TcpStream, requests: Arc<AtomicUsize>, views: Arc<AtomicUsize>) {
    let mut buffer = [0; 1024];
    for _ in 0..7 {
        match client.read(&mut buffer).await {
            Ok(n) if n > 0 => {}
            _ => return,
        }
        let answer = if requests.fetch_add(1, Ordering::SeqCst) % 5 == 4 {
            "HTTP/1.1 503 no\r\nContent-Length: 0\r\n\r\n".to_owned()
        } else {
            let page = format!("<body>{} views", views.fetch_add(1, Ordering::SeqCst) + 1);
            let length = page.len();
            format!("HTTP/1.1 200 OK\r\nSet-Cookie: id=1\r\nContent-Length: {length}\r\n\r\n{page}")
        };
        client.write_all(answer.as_bytes()).await.unwrap();
    }
}

/// Where nobody listens.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

fn requests(count: u64) -> Length {
    Length::Requests { count, time_max: Duration::from_secs(600) }
}

#[tokio::test]
async fn a_run_sends_so_many_requests_and_tells_what_came_of_them() {
    let (address, _app) = app().await;
    let plan = Plan::new(&[address], "/", requests(100));
    let one = || One { cookie: "id=1".into(), shown: Vec::new() };
    let turns = (0..4).map(|_| one()).collect();
    let run = tokio::task::spawn_blocking(move || run(&plan, turns));
    let (turns, tally) = run.await.unwrap().unwrap();
    assert_eq!((tally.sent, tally.refused(), tally.broken), (100, 20, 0));
    assert_eq!((tally.latencies.len(), tally.refusals.len(), tally.other), (80, 20, 0));
    let mut shown: Vec<u64> = turns.into_iter().flat_map(|one| one.shown).collect();
    shown.sort_unstable();
    assert_eq!(shown, (1..=80).collect::<Vec<_>>());
}

#[tokio::test]
async fn turns_end_a_run_and_may_end_it_where_there_is_no_answer() {
    let (address, _app) = app().await;
    let begin = Begin { wanted: 3, ..Begin::default() };
    let (turns, tally) = closed(&Plan::new(&[address], "/", requests(u64::MAX)), vec![begin]).await;
    assert_eq!((turns[0].begun.len(), tally.sent), (3, 3));
    assert_eq!(turns[0].begun[0].cookie(), "id=1");

    struct Once;
    impl Turns for Once {
        fn next(&mut self) -> Option<&str> {
            Some("")
        }
        fn answered(&mut self, _: &Answer) -> bool {
            true
        }
        fn unanswered(&mut self) -> bool {
            false
        }
    }
    let nobody = nobody().await;
    let (_, tally) = closed(&Plan::new(&[nobody], "/", requests(u64::MAX)), vec![Once]).await;
    assert_eq!((tally.sent, tally.broken), (1, 1));
}

#[tokio::test]
async fn requests_that_are_due_are_all_sent() {
    let (address, _app) = app().await;
    let cookies = ["id=1".to_owned()];
    let seconds = open(address, "/", &cookies, 100.0, Duration::from_secs(1)).await;
    assert_eq!(seconds.len(), 1);
    let all = Tally::sum(seconds);
    assert_eq!((all.sent, all.unsent, all.broken), (100, 0, 0));
    assert_eq!((all.latencies.len(), all.refusals.len()), (80, 20));
}

#[tokio::test]
async fn requests_at_once_have_whole_answers() {
    let (address, _app) = app().await;
    let burst = at_once(&[address], "/", 4, Some("id=1")).await;
    let mut shown: Vec<_> = burst.answers.iter().map(|a| a.as_ref().unwrap().shown()).collect();
    shown.sort_unstable();
    assert_eq!(shown, [1, 2, 3, 4].map(Some));
    let burst = at_once(&[nobody().await], "/", 1, None).await;
    assert!(matches!(burst.answers[..], [Err(NoAnswer::NotSent(_))]), "{burst:?}");
}
