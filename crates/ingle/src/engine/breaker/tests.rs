use tokio::time::advance;

use super::Breaker;

const TICK: std::time::Duration = std::time::Duration::from_millis(1);

fn failed(breaker: &Breaker, times: u32) {
    (0..times).for_each(|_| breaker.record(false));
}

/// So many failures in a row open it, and not one less.
fn opens_at_the_last_failure(breaker: &Breaker) {
    failed(breaker, Breaker::FAILURES_MAX - 1);
    assert!(breaker.admit().is_ok());
    breaker.record(false);
    assert!(breaker.admit().is_err());
}

/// At an instant other than the one at which it was made, as most of them are.
async fn breaker() -> Breaker {
    let breaker = Breaker::new("tests");
    advance(TICK).await;
    breaker
}

#[tokio::test(start_paused = true)]
async fn so_many_failures_in_a_row_open_it_and_not_one_less() {
    let breaker = breaker().await;
    opens_at_the_last_failure(&breaker);
}

#[tokio::test(start_paused = true)]
async fn an_answer_between_failures_begins_the_count_anew() {
    let breaker = breaker().await;
    failed(&breaker, Breaker::FAILURES_MAX - 1);
    breaker.record(true);
    opens_at_the_last_failure(&breaker);
}

#[tokio::test(start_paused = true)]
async fn while_it_is_open_one_call_goes_ahead_after_each_pause() {
    let breaker = breaker().await;
    failed(&breaker, Breaker::FAILURES_MAX);
    for pause in 0..3 {
        advance(Breaker::PAUSE - TICK).await;
        assert!(breaker.admit().is_err(), "pause {pause} is not over");
        advance(TICK).await;
        assert!(breaker.admit().is_ok(), "pause {pause} is over");
        assert!(breaker.admit().is_err(), "pause {pause} was over for one call");
        breaker.record(false);
        assert!(breaker.admit().is_err(), "the call after pause {pause} failed");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_closes_it_and_the_next_failures_count_from_one() {
    let breaker = breaker().await;
    failed(&breaker, Breaker::FAILURES_MAX);
    advance(Breaker::PAUSE).await;
    breaker.admit().unwrap();
    breaker.record(true);
    (0..3).for_each(|_| assert!(breaker.admit().is_ok()));
    opens_at_the_last_failure(&breaker);
}
