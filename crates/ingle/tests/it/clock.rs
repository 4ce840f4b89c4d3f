//! Clocks that jump, that differ, and that show the far future: a session may end early or late by as
//! much as clocks differ, and by no more, and nothing panics.

use std::{sync::Arc, time::Duration};

use http::StatusCode;
use ingle::{
    Error, Lifetime, Session,
    clock::{Clock as _, ManualClock, Timestamp},
    store::{List as _, Memory, Store},
};

use crate::common::{App, Visitor, app, generator, layer};

const MINUTE: u64 = 60 * 1000;
const HOUR: u64 = 60 * MINUTE;

const IDLE: u64 = 2 * HOUR;
const ABSOLUTE: u64 = 9 * HOUR;

/// 2026.
const BEGIN: u64 = 1_770_000_000_000;

async fn count(session: Session) -> Result<String, Error> {
    let counted = session.field("n").update(|n: &mut u64| {
        *n += 1;
        *n
    });
    counted.await.map(|n| n.to_string())
}

async fn read(session: Session) -> Result<String, Error> {
    Ok(session.get::<u64>("n").await?.unwrap_or(0).to_string())
}

/// An instance with a clock of its own.
fn instance(store: impl Store, clock: &ManualClock) -> App {
    let millis = Duration::from_millis;
    let lifetime = Lifetime::new(millis(IDLE), millis(ABSOLUTE)).unwrap();
    app(&layer(store).lifetime(lifetime).clock(Arc::new(clock.clone())))
        .on("/count", count)
        .on("/read", read)
        .on("/insert", async |session: Session| session.insert("theme", "dark"))
        .on("/renew", async |session: Session| session.renew().await)
        .on("/logout", async |session: Session| session.logout().await)
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

#[tokio::test]
async fn a_clock_that_jumps_ends_sessions_when_it_says_so_and_moves_no_absolute_deadline() {
    for seed in 0..40 {
        let mut random = generator(seed);
        let (memory, clock) = (Memory::new(), ManualClock::new(at(BEGIN)));
        let app = instance(memory.clone(), &clock);
        let mut visitor = Visitor::default();
        // Of the session that lives: its count and its deadlines.
        let mut expected = (0, 0, 0);
        for step in 0..60 {
            let now = clock.now().as_millis();
            let (n, idle, absolute) = expected;
            let alive = n > 0 && now < idle && now < absolute;
            let absolute = if alive { absolute } else { now + ABSOLUTE };
            expected = (if alive { n + 1 } else { 1 }, (now + IDLE).min(absolute), absolute);
            let counted = visitor.get(&app, "/count").await.ok().body;
            assert_eq!(counted, expected.0.to_string(), "seed {seed}, step {step}");

            let page = memory.list(None, 100, clock.now()).await.unwrap();
            let headers = page.records.iter().map(|loaded| &loaded.record.header);
            assert!(
                headers.into_iter().any(|header| header.absolute_deadline == at(expected.2)
                    && header.idle_deadline == at(expected.1)),
                "seed {seed}, step {step}"
            );
            let jump = [HOUR, HOUR, 20 * MINUTE, 3 * HOUR][random(4) as usize];
            let back = random(3) == 0;
            clock.set(at(if back { now - jump } else { now + jump }));
        }
    }
}

#[tokio::test]
async fn instances_whose_clocks_differ_end_a_session_early_or_late_by_no_more_than_that() {
    const SKEW: u64 = 10 * MINUTE;
    for seed in 0..60 {
        let mut random = generator(seed);
        let memory = Memory::new();
        let offsets = [0, SKEW];
        let clocks = offsets.map(|offset| ManualClock::new(at(BEGIN + offset)));
        let apps = [0, 1].map(|n| instance(memory.clone(), &clocks[n]));
        let mut visitor = Visitor::default();
        visitor.get(&apps[random(2) as usize], "/count").await.ok();
        let (mut now, mut used) = (BEGIN, BEGIN);
        // Until both sides of its last moment are surely seen.
        while now < BEGIN + ABSOLUTE + 3 * SKEW {
            now += random(40 * MINUTE);
            for (clock, offset) in clocks.iter().zip(offsets) {
                clock.set(at(now + offset));
            }
            let app = &apps[random(2) as usize];
            let there = app.get("/read", &visitor.cookie).await.ok().body != "0";
            let story = format!("seed {seed}, {} min after", (now - BEGIN) / MINUTE);
            if now >= BEGIN + ABSOLUTE + SKEW {
                assert!(!there, "{story}: it lives beyond its end");
            }
            if now < (BEGIN + ABSOLUTE).min(used + IDLE) - SKEW {
                assert!(there, "{story}: it ends early");
            }
            if !there {
                break;
            }
            if random(2) == 0 {
                // A use that counts for the idle time, whatever a read has touched.
                let counted = app.get("/count", &visitor.cookie).await.ok();
                assert_eq!(counted.set_cookie(), "", "{story}");
                used = now;
            }
        }
    }
}

#[tokio::test]
async fn an_hour_ahead_on_one_instance_logs_nobody_out_on_the_other() {
    let memory = Memory::new();
    let (clock, ahead) = (ManualClock::new(at(BEGIN)), ManualClock::new(at(BEGIN + HOUR)));
    let (app, other) = (instance(memory.clone(), &clock), instance(memory, &ahead));
    let mut visitor = Visitor::default();
    for n in 1..20 {
        let app = if n % 2 == 0 { &app } else { &other };
        assert_eq!(visitor.get(app, "/count").await.ok().body, n.to_string());
        for clock in [&clock, &ahead] {
            clock.advance(Duration::from_secs(60));
        }
    }
}

/// The last seconds that signed 32 bits can count, the last day of the year 9999, which is the last
/// one of all, and the first.
const FAR: [u64; 5] = [
    0,
    (i32::MAX as u64) * 1000 - 500,
    (u32::MAX as u64) * 1000 - 500,
    Timestamp::MAX.as_millis() - ABSOLUTE - 500,
    Timestamp::MAX.as_millis() - 1500,
];

async fn lives_in_the_far_future(store: impl Store + Clone) {
    for begin in FAR {
        let clock = ManualClock::new(at(begin));
        let app = instance(store.clone(), &clock);
        let mut visitor = Visitor::default();
        for n in 1..=3 {
            assert_eq!(visitor.get(&app, "/count").await.ok().body, n.to_string(), "{begin}");
            clock.advance(Duration::from_millis(400));
        }
        visitor.get(&app, "/renew").await.ok();
        assert_eq!(visitor.get(&app, "/read").await.ok().body, "3", "{begin}");
        store.sweep(clock.now(), 1000).await.unwrap();
        assert_eq!(visitor.get(&app, "/read").await.ok().body, "3", "{begin}");
        visitor.get(&app, "/logout").await.ok();
        assert_eq!(visitor.get(&app, "/read").await.ok().body, "0", "{begin}");
    }
}

#[tokio::test]
async fn sessions_in_memory_live_in_the_far_future() {
    lives_in_the_far_future(Memory::new()).await;
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn sessions_in_the_sqlite_store_live_in_the_far_future() {
    let folder = tempfile::tempdir().unwrap();
    lives_in_the_far_future(ingle::store::Sqlite::open(folder.path()).await.unwrap()).await;
}

#[tokio::test]
async fn at_the_end_of_time_no_session_lives_and_nothing_panics() {
    let clock = ManualClock::new(at(u64::MAX));
    assert_eq!(clock.now(), Timestamp::MAX);
    let app = instance(Memory::new(), &clock);
    let mut visitor = Visitor::default();
    for path in ["/count", "/read", "/insert", "/renew", "/count", "/logout", "/read"] {
        let answer = visitor.get(&app, path).await;
        assert_ne!(answer.status, StatusCode::INTERNAL_SERVER_ERROR, "{path}: {answer:?}");
    }
    clock.set(at(0));
    assert_eq!(Visitor::default().get(&app, "/count").await.ok().body, "1");
}
