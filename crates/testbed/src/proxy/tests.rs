use std::{net::Ipv4Addr, sync::Mutex};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::timeout,
};

use super::*;

/// Between two looks at what is waited for.
const LOOK: Duration = Duration::from_millis(1);

/// So long it is seen that nothing comes that must not come.
const NOTHING: Duration = Duration::from_millis(20);

/// A server that answers each request with what it was sent, and counts what it was sent.
struct Echo {
    address: SocketAddr,
    received: Arc<Mutex<Vec<u8>>>,
    _serving: JoinSet<()>,
}

impl Echo {
    async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::<Mutex<Vec<u8>>>::default();
        let seen = Arc::clone(&received);
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let echo = echo(client, Arc::clone(&seen));
                connections.spawn(async move { drop(echo.await) });
            }
        });
        Self { address, received, _serving: serving }
    }

    fn received(&self) -> String {
        String::from_utf8(self.received.lock().unwrap().clone()).unwrap()
    }

    async fn until_received(&self, text: &str) {
        while self.received() != text {
            sleep(LOOK).await;
        }
    }
}

async fn echo(mut client: TcpStream, seen: Arc<Mutex<Vec<u8>>>) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        let n = client.read(&mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        seen.lock().unwrap().extend_from_slice(&buffer[..n]);
        client.write_all(&buffer[..n]).await?;
    }
}

/// A proxy before a server of which the test is the other end, with one connection.
async fn both_ends() -> (Proxy, TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).await.unwrap();
    let client = TcpStream::connect(proxy.address).await.unwrap();
    let (server, _) = listener.accept().await.unwrap();
    (proxy, client, server)
}

async fn both() -> (Echo, Proxy, TcpStream) {
    let echo = Echo::start().await;
    let proxy = Proxy::start(echo.address).await.unwrap();
    let mut client = TcpStream::connect(proxy.address).await.unwrap();
    // What goes before the fault is passed on.
    assert_eq!(ask(&mut client, "a").await.unwrap(), "a");
    (echo, proxy, client)
}

/// Sends a text, and returns as much of the answer as there is.
async fn ask(client: &mut TcpStream, text: &str) -> io::Result<String> {
    client.write_all(text.as_bytes()).await?;
    let mut answer = vec![0; text.len()];
    let n = client.read(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer[..n]).into_owned())
}

/// Whether a connection has ended without an answer.
fn ended(answer: &io::Result<String>) -> bool {
    answer.as_ref().map_or(true, String::is_empty)
}

#[tokio::test]
async fn what_is_cut_before_does_not_arrive() {
    let (echo, proxy, mut client) = both().await;
    proxy.begin(Fault::CutBefore, Often::Each(1));
    assert!(ended(&ask(&mut client, "b").await));
    assert_eq!(echo.received(), "a");
    assert_eq!(proxy.met(), BTreeMap::from([("cut before", 1)]));
}

#[tokio::test]
async fn what_is_cut_within_arrives_in_part() {
    let (echo, proxy, mut client) = both().await;
    proxy.begin(Fault::CutWithin, Often::Each(1));
    assert!(ended(&ask(&mut client, "bcde").await));
    echo.until_received("abc").await;
}

#[tokio::test]
async fn what_is_cut_after_arrives_and_is_not_answered() {
    let (echo, proxy, mut client) = both().await;
    proxy.begin(Fault::CutAfter, Often::Each(1));
    assert!(ended(&ask(&mut client, "b").await));
    assert_eq!(echo.received(), "ab");
}

#[tokio::test]
async fn a_reset_is_one() {
    let (_echo, proxy, mut client) = both().await;
    proxy.begin(Fault::Reset, Often::Each(1));
    let error = ask(&mut client, "b").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_connection_that_is_half_closed_still_takes_requests() {
    let (echo, proxy, mut client) = both().await;
    proxy.begin(Fault::HalfClose, Often::Each(1));
    assert_eq!(ask(&mut client, "b").await.unwrap(), "");
    proxy.end();
    client.write_all(b"c").await.unwrap();
    echo.until_received("abc").await;
}

#[tokio::test]
async fn what_stalls_arrives_late_even_if_nobody_waits_for_it() {
    let (echo, proxy, mut client) = both().await;
    proxy.begin(Fault::Stall, Often::Each(1));
    client.write_all(b"b").await.unwrap();
    while proxy.met().is_empty() {
        sleep(LOOK).await;
    }
    drop(client);
    assert_eq!(echo.received(), "a");
    proxy.end();
    echo.until_received("ab").await;
}

#[tokio::test]
async fn a_silent_server_has_done_what_it_was_asked() {
    let (echo, proxy, mut client) = both().await;
    proxy.begin(Fault::Silence, Often::Each(1));
    client.write_all(b"b").await.unwrap();
    echo.until_received("ab").await;
    let mut answer = [0];
    assert!(timeout(NOTHING, client.read(&mut answer)).await.is_err());
    proxy.end();
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, *b"b");
}

#[tokio::test]
async fn what_drips_and_what_is_late_arrives() {
    let (echo, proxy, mut client) = both().await;
    for (fault, text) in [(Fault::Drip, "bcd"), (Fault::Latency(Duration::from_millis(1)), "efg")] {
        proxy.begin(fault, Often::Each(1));
        client.write_all(text.as_bytes()).await.unwrap();
        let mut answer = [0; 3];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, text.as_bytes());
    }
    assert_eq!(echo.received(), "abcdefg");
}

#[tokio::test]
async fn connections_are_refused_until_the_fault_ends() {
    let (_echo, proxy, mut client) = both().await;
    proxy.begin(Fault::Refuse, Often::Each(1));
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    while TcpStream::connect(proxy.address).await.is_ok() {
        sleep(LOOK).await;
    }
    proxy.end();
    let mut client = loop {
        match TcpStream::connect(proxy.address).await {
            Ok(client) => break client,
            Err(_) => sleep(LOOK).await,
        }
    };
    assert_eq!(ask(&mut client, "b").await.unwrap(), "b");
    // Those that came in the last moment are counted, too.
    assert!(proxy.met()["refuse"] >= 1);
}

#[tokio::test]
async fn only_every_third_request_meets_the_fault() {
    let (_echo, proxy, mut client) = both().await;
    proxy.begin(Fault::CutBefore, Often::Each(3));
    let mut cut = Vec::new();
    for _ in 0..6 {
        let answer = ask(&mut client, "b").await;
        cut.push(ended(&answer));
        if ended(&answer) {
            client = TcpStream::connect(proxy.address).await.unwrap();
        }
    }
    assert_eq!(cut, [true, false, false, true, false, false]);
}

#[tokio::test]
async fn an_answer_that_is_late_holds_up_what_follows() {
    let (proxy, mut client, mut server) = both_ends().await;
    proxy.seed(1);
    let hour = Duration::from_secs(3600);
    proxy.begin(Fault::Late(hour, hour), Often::OneIn(1));
    client.write_all(b"?").await.unwrap();
    server.read_exact(&mut [0]).await.unwrap();
    proxy.end();
    server.write_all(b"!").await.unwrap();
    assert!(timeout(NOTHING, client.read(&mut [0])).await.is_err());
    assert_eq!(proxy.met(), BTreeMap::from([("late", 1)]));
}

#[tokio::test]
async fn an_answer_that_comes_again_stands_before_the_next() {
    let (_echo, proxy, mut client) = both().await;
    proxy.begin(Fault::Again, Often::Each(1));
    client.write_all(b"b").await.unwrap();
    let mut answers = [0; 2];
    client.read_exact(&mut answers).await.unwrap();
    assert_eq!(&answers, b"ab");
    proxy.end();
    assert_eq!(ask(&mut client, "c").await.unwrap(), "c");
}

#[tokio::test]
async fn answers_from_a_distance_come_later_and_in_their_order() {
    let (proxy, mut client, mut server) = both_ends().await;
    proxy.set_distance(Duration::from_millis(5));
    for piece in [b"one ", b"two ", b"end."] {
        server.write_all(piece).await.unwrap();
    }
    let mut answer = [0; 12];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"one two end.");

    proxy.set_distance(Duration::from_secs(3600));
    server.write_all(b"more").await.unwrap();
    assert!(timeout(NOTHING, client.read(&mut answer)).await.is_err());
}

#[tokio::test]
async fn the_end_of_either_is_passed_on_as_an_end() {
    let (_proxy, mut client, mut server) = both_ends().await;
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
    server.write_all(b"!").await.unwrap();
    drop(server);
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, b"!");
}

#[tokio::test]
async fn calls_are_counted_and_arrive() {
    let (proxy, mut client, mut server) = both_ends().await;
    let sent = frames::tests::connection(&[1, 3]);
    client.write_all(&sent).await.unwrap();
    let mut received = vec![0; sent.len()];
    server.read_exact(&mut received).await.unwrap();
    assert_eq!(received, sent);
    assert_eq!(proxy.calls().unwrap(), 2);
}

#[tokio::test]
async fn calls_that_cannot_be_counted_are_an_error() {
    let (proxy, mut client, mut server) = both_ends().await;
    let sent = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n";
    client.write_all(sent).await.unwrap();
    server.read_exact(&mut [0; 30]).await.unwrap();
    assert!(proxy.calls().is_err());
}

#[tokio::test]
async fn a_trip_is_there_and_back() {
    let (proxy, mut client, mut server) = both_ends().await;
    let mut byte = [0];
    for n in 1..=3 {
        client.write_all(b"?").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        // More of the same question is no further trip.
        client.write_all(b"?").await.unwrap();
        server.read_exact(&mut byte).await.unwrap();
        assert_eq!(proxy.trips(), n);
        server.write_all(b"!").await.unwrap();
        client.read_exact(&mut byte).await.unwrap();
    }
}
