use super::*;
use crate::clock::ManualClock;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn what_is_kept_of_a_user_outlives_every_session_and_lives_on_with_each_change() {
    let now = Timestamp::from_millis(1_000_000);
    let forever = Lifetime::new(SECOND, LONGEST_USE * 2).unwrap();
    for (lifetime, kept_for) in [(Lifetime::default(), LONGEST_USE), (forever, LONGEST_USE * 2)] {
        let clock = Arc::new(ManualClock::new(now));
        let policy = Policy { lifetime, clock, ..Policy::default() };
        let (key, op) = (Key::from_bytes([1; 32]), Op::from_bits(1));
        let Header { key: under, idle_timeout, idle_deadline, absolute_deadline, ops, .. } =
            policy.record_of_user(key, op, Data::new()).unwrap().header;
        assert_eq!(under, key);
        assert_eq!(idle_timeout, Some(kept_for));
        assert_eq!(idle_deadline, now.after(kept_for));
        assert_eq!(absolute_deadline, Timestamp::MAX);
        assert!(ops.contains(op), "whoever creates it must find that it was created");
    }
}

#[test]
fn a_session_in_use_is_touched_before_it_ends_and_not_more_often_than_needed() {
    for (idle, every) in [(1, 0.1), (60, 6.0), (119, 11.9), (120, 60.0), (600, 60.0), (1800, 180.0)]
    {
        assert_eq!(touch_every(idle * SECOND), SECOND.mul_f64(every), "{idle}");
    }
}
