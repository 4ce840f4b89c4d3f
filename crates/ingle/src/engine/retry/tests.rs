use super::*;

fn spend(budget: &RetryBudget, retries: u64) {
    for retry in 0..retries {
        assert!(budget.spend(), "{retry}");
    }
    assert!(!budget.spend());
}

#[test]
fn a_hundred_retries_are_there_at_first_and_then_one_for_ten_calls() {
    let budget = RetryBudget::new();
    // What is full takes no more.
    (0..50).for_each(|_| budget.deposit());
    spend(&budget, 100);
    for _ in 0..3 {
        (0..9).for_each(|_| budget.deposit());
        assert!(!budget.spend());
        budget.deposit();
        spend(&budget, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_overtaken_tries_again_at_once_and_then_soon() {
    let (began, mut rivalry) = (Instant::now(), Backoff::of_rivals());
    let deadline = began + Duration::from_secs(1);
    for _ in 0..16 {
        assert!(rivalry.wait(deadline).await);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    for _ in 0..10 {
        let began = Instant::now();
        assert!(rivalry.wait(deadline).await);
        // The timer of the runtime is a millisecond late at most.
        assert!(began.elapsed() <= Duration::from_millis(3), "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn at_the_deadline_nothing_is_tried_again() {
    let now = Instant::now();
    assert!(!Backoff::of_rivals().wait(now).await);
    assert!(!Backoff::default().wait(now).await);
}
