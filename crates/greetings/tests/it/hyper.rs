//! The limits that are the server's own, and not the app's.

use crate::cookies::{Issued, is_known};

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
