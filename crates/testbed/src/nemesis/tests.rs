use std::net::Ipv4Addr;

use tokio::{io::AsyncReadExt as _, time::timeout};

use super::*;

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
            let answer = |mut client: TcpStream| {
                let seen = Arc::clone(&seen);
                async move {
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
            };
            passing::accept(&listener, answer).await;
        });
        Self { address, received, _serving: serving }
    }

    fn received(&self) -> String {
        String::from_utf8(self.received.lock().unwrap().clone()).unwrap()
    }

    async fn until_received(&self, text: &str) {
        while self.received() != text {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

async fn both() -> (Echo, Nemesis, TcpStream) {
    let echo = Echo::start().await;
    let nemesis = Nemesis::start(echo.address).await.unwrap();
    let mut client = TcpStream::connect(nemesis.address).await.unwrap();
    // What goes before the fault is passed on.
    assert_eq!(ask(&mut client, "a").await.unwrap(), "a");
    (echo, nemesis, client)
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
    let (echo, nemesis, mut client) = both().await;
    nemesis.begin(Fault::CutBefore, 1);
    assert!(ended(&ask(&mut client, "b").await));
    assert_eq!(echo.received(), "a");
    assert_eq!(nemesis.met(), BTreeMap::from([("cut before", 1)]));
}

#[tokio::test]
async fn what_is_cut_within_arrives_in_part() {
    let (echo, nemesis, mut client) = both().await;
    nemesis.begin(Fault::CutWithin, 1);
    assert!(ended(&ask(&mut client, "bcde").await));
    echo.until_received("abc").await;
}

#[tokio::test]
async fn what_is_cut_after_arrives_and_is_not_answered() {
    let (echo, nemesis, mut client) = both().await;
    nemesis.begin(Fault::CutAfter, 1);
    assert!(ended(&ask(&mut client, "b").await));
    assert_eq!(echo.received(), "ab");
}

#[tokio::test]
async fn a_reset_is_one() {
    let (_echo, nemesis, mut client) = both().await;
    nemesis.begin(Fault::Reset, 1);
    let error = ask(&mut client, "b").await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_connection_that_is_half_closed_still_takes_requests() {
    let (echo, nemesis, mut client) = both().await;
    nemesis.begin(Fault::HalfClose, 1);
    assert_eq!(ask(&mut client, "b").await.unwrap(), "");
    nemesis.end();
    client.write_all(b"c").await.unwrap();
    echo.until_received("abc").await;
}

#[tokio::test]
async fn what_stalls_arrives_late_even_if_nobody_waits_for_it() {
    let (echo, nemesis, mut client) = both().await;
    nemesis.begin(Fault::Stall, 1);
    client.write_all(b"b").await.unwrap();
    while nemesis.met().is_empty() {
        sleep(Duration::from_millis(1)).await;
    }
    drop(client);
    assert_eq!(echo.received(), "a");
    nemesis.end();
    echo.until_received("ab").await;
}

#[tokio::test]
async fn a_silent_server_has_done_what_it_was_asked() {
    let (echo, nemesis, mut client) = both().await;
    nemesis.begin(Fault::Silence, 1);
    client.write_all(b"b").await.unwrap();
    echo.until_received("ab").await;
    let mut answer = [0];
    assert!(timeout(Duration::from_millis(20), client.read(&mut answer)).await.is_err());
    nemesis.end();
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, *b"b");
}

#[tokio::test]
async fn what_drips_and_what_is_late_arrives() {
    let (echo, nemesis, mut client) = both().await;
    for (fault, text) in [(Fault::Drip, "bcd"), (Fault::Latency(Duration::from_millis(1)), "efg")] {
        nemesis.begin(fault, 1);
        client.write_all(text.as_bytes()).await.unwrap();
        let mut answer = [0; 3];
        client.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer, text.as_bytes());
    }
    assert_eq!(echo.received(), "abcdefg");
}

#[tokio::test]
async fn connections_are_refused_until_the_fault_ends() {
    let (_echo, nemesis, mut client) = both().await;
    nemesis.begin(Fault::Refuse, 1);
    assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    while TcpStream::connect(nemesis.address).await.is_ok() {}
    nemesis.end();
    let mut client = loop {
        if let Ok(client) = TcpStream::connect(nemesis.address).await {
            break client;
        }
    };
    assert_eq!(ask(&mut client, "b").await.unwrap(), "b");
    // Those that came in the last moment are counted, too.
    assert!(nemesis.met()["refuse"] >= 1);
}

#[tokio::test]
async fn only_every_third_request_meets_the_fault() {
    let (_echo, nemesis, mut client) = both().await;
    nemesis.begin(Fault::CutBefore, 3);
    let mut cut = Vec::new();
    for _ in 0..6 {
        let answer = ask(&mut client, "b").await;
        cut.push(ended(&answer));
        if ended(&answer) {
            client = TcpStream::connect(nemesis.address).await.unwrap();
        }
    }
    assert_eq!(cut, [true, false, false, true, false, false]);
}
