//! Which fault comes when: every fault that a store can be expected to bear, in an order, to an
//! extent and for a time that the seed decides.

use std::time::Duration;

use anyhow::{Context as _, Result};
use fastrand::Rng;
use testbed::proxy::{Fault, Often, Proxy};
use tokio::{task::block_in_place, time::sleep};

use super::place::{Kind, Place};

/// How long a fault lasts, in milliseconds.
const LASTS: std::ops::Range<u64> = 600..1000;

/// How long something that was killed stays away, in milliseconds.
const STAYS_AWAY: std::ops::Range<u64> = 50..400;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Between the app and the store. It meets the first request, and then each of so many.
    Between(Fault, u64),
    StorePaused,
    StoreKilled,
    AppPaused,
    AppKilled,
}

impl Trouble {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Between(fault, _) => fault.name(),
            Self::StorePaused => "store paused",
            Self::StoreKilled => "store killed",
            Self::AppPaused => "app paused",
            Self::AppKilled => "app killed",
        }
    }
}

/// All troubles of a store once, in any order.
pub(crate) fn draw(kind: Kind, rng: &mut Rng) -> Vec<Trouble> {
    let mut troubles = vec![Trouble::AppPaused, Trouble::AppKilled];
    if kind == Kind::Sqlite {
        // There is nothing else to break, so this breaks more often.
        troubles = troubles.repeat(3);
    } else {
        let latency = Fault::Latency(Duration::from_millis(rng.u64(50..700)));
        let mut between = |fault, every: &[u64]| {
            let every = rng.choice(every).copied().unwrap_or(1);
            troubles.push(Trouble::Between(fault, every));
        };
        between(latency, &[1, 2, 4]);
        for fault in [Fault::Stall, Fault::Silence] {
            between(fault, &[1, 5, 20]);
        }
        for fault in
            [Fault::CutBefore, Fault::CutWithin, Fault::CutAfter, Fault::Reset, Fault::HalfClose]
        {
            between(fault, &[2, 3, 5, 9]);
        }
        between(Fault::Drip, &[1, 3]);
        between(Fault::Refuse, &[1]);
        troubles.push(Trouble::StorePaused);
        if kind.survives_its_server() {
            troubles.push(Trouble::StoreKilled);
        }
    }
    rng.shuffle(&mut troubles);
    troubles
}

/// Makes one trouble, waits, and ends it.
pub(crate) async fn make(trouble: Trouble, place: &mut Place, rng: &mut Rng) -> Result<()> {
    let lasts = Duration::from_millis(rng.u64(LASTS));
    let away = Duration::from_millis(rng.u64(STAYS_AWAY));
    let number = rng.usize(0..8);
    match trouble {
        Trouble::Between(fault, every) => {
            // On all ways to the store, or on one.
            let all = rng.bool();
            let n = place.proxies.len().max(1);
            for (of, proxy) in place.proxies.iter().enumerate() {
                if all || of == number % n {
                    proxy.begin(fault, Often::Each(every));
                }
            }
            sleep(lasts).await;
            place.proxies.iter().for_each(Proxy::end);
        }
        Trouble::StorePaused => {
            block_in_place(|| place.pause_store());
            sleep(lasts).await;
            place.resume_store();
        }
        Trouble::StoreKilled => {
            block_in_place(|| place.kill_store());
            sleep(away).await;
            block_in_place(|| place.restart_store());
        }
        Trouble::AppPaused => {
            let app = place.app(number).context("there is no process of the app")?;
            block_in_place(|| app.pause());
            sleep(lasts).await;
            app.resume();
        }
        Trouble::AppKilled => {
            let app = place.app(number).context("there is no process of the app")?;
            block_in_place(|| app.kill());
            sleep(away).await;
            block_in_place(|| app.restart());
        }
    }
    Ok(())
}
