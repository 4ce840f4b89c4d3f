//! The limits that are the server's own, and not the app's.

use testbed::http::raw::Raw;
use tokio::time::{sleep, timeout};

use crate::{
    cookies::{Issued, is_known},
    place::Place,
    process::{PATIENCE, PAUSE, Process, patient},
};

#[tokio::test]
async fn a_header_that_is_too_large_is_refused_and_the_server_lives() {
    let issued = Issued::new().await;
    let too_long = vec![format!("Cookie: x={}", "y".repeat(17 * 1024)).into_bytes()];
    let too_many = vec![b"Cookie: a=b".to_vec(); 101];
    for lines in [too_long, too_many] {
        assert_eq!(issued.ask(&lines).await.status, 431);
    }
    let enough: Vec<Vec<u8>> = vec![issued.line("Cookie: __Host-id=<V>"); 99];
    let answer = issued.ask(&enough).await;
    assert!(is_known(&answer), "{answer:?}");
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_cut_off() {
    let place = Place::sqlite();
    let process = Process::start(&place, &["--request-timeout", "1s"]);
    let mut client = Raw::open(process.address).await.expect("a connection");
    let requests = "GET /health HTTP/1.1\r\nHost: test\r\n\r\n".repeat(100);
    // Until all buffers on the way are full, and then until the connection is closed.
    let cut_off = async { while client.write(requests.as_bytes()).await.is_ok() {} };
    timeout(PATIENCE, cut_off).await.expect("it is cut off");
    assert_eq!(process.browser().get("/health").await.body, "ok");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_is_told_of_in_the_log() {
    let place = Place::sqlite();
    let mut program = patient();
    program.args(["--lab", "--listen", "127.0.0.1:0", "--store", &place.url]);
    let process = Process::spawn(program);
    let mut client = Raw::open(process.address).await.expect("a connection");
    client.write(b"GET /lab/slow-read HTTP/1.1\r\nHost: test\r\n\r\n").await.expect("sent");
    process.until_waiting(1).await;
    drop(client);
    let given_up = async {
        while process.browser().get("/lab/waiting").await.body != "0" {
            sleep(PAUSE).await;
        }
    };
    timeout(PATIENCE, given_up).await.expect("the request is given up");
    process.terminate();
    let (_, log) = process.ended();
    assert!(log.contains(" GET /lab/slow-read 499 "), "{log}");
}
