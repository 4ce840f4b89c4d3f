//! Makes changes to records, each exactly once, on any store. It coalesces concurrent changes, runs
//! them, commits them, and finds out what became of a commit whose answer was lost.
//!
//! It knows no header, no cookie and no kind of store.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod batch;
mod begin_limit;
mod breaker;
mod cache;
pub(crate) mod change;
pub(crate) mod client;
pub(crate) mod coalesce;
pub(crate) mod commit;
pub(crate) mod context;
pub(crate) mod events;
pub(crate) mod failure;
pub(crate) mod line;
pub(crate) mod places;
pub(crate) mod policy;
mod rate_limited_log;
mod retry;
mod sweep;
pub(crate) mod ticket;
pub(crate) mod users;
pub(crate) mod wait;
pub(crate) mod watch;

use self::{coalesce::Coalescer, context::Context, policy::Policy, sweep::Sweeping};
use crate::{id::IdScheme, store::Store};

/// What all requests of one layer share.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) coalescer: Arc<Coalescer>,
    /// Whether a task sweeps.
    sweeps: Arc<AtomicBool>,
}

impl Engine {
    pub(crate) fn new(store: Arc<dyn Store>, policy: Policy, ids: Arc<dyn IdScheme>) -> Self {
        let context = Context::new(store, policy, ids);
        let coalescer = Arc::new(Coalescer::new(context));
        Self { coalescer, sweeps: Arc::default() }
    }

    pub(crate) fn context(&self) -> &Context {
        &self.coalescer.context
    }

    /// Starts the sweeps of this process with the first request, because a request runs where tasks
    /// can be spawned. Where the runtime that sweeps has ended, the next request starts them again.
    pub(crate) fn start_sweeps_once(&self) {
        let Some(every) = self.context().policy.sweep_every else { return };
        if !self.sweeps.load(Ordering::Relaxed) && !self.sweeps.swap(true, Ordering::Relaxed) {
            sweep::start(&self.coalescer, every, Sweeping::new(&self.sweeps));
        }
    }
}

#[cfg(test)]
mod scripted;

#[cfg(test)]
mod tests {
    use super::{breaker::Breaker, client::CALLS_MAX, coalesce::WAITING_MAX, retry::RetryBudget};
    use crate::store::page;

    #[test]
    fn the_page_of_each_store_says_the_bounds_of_the_layer() {
        let bounds = || {
            let (one_in, at_first) = (RetryBudget::RETRY, RetryBudget::MAX / RetryBudget::RETRY);
            let again = format!("1 in {one_in}, and {at_first} at first");
            [
                CALLS_MAX.to_string(),
                WAITING_MAX.to_string(),
                Breaker::FAILURES_MAX.to_string(),
                again,
            ]
        };
        page::check_layer(include_str!("../docs/redis.md"), bounds());
        page::check_layer(include_str!("../docs/postgresql.md"), bounds());
        page::check_layer(include_str!("../docs/firestore.md"), bounds());
        page::check_layer(include_str!("../docs/memcached.md"), bounds());
        page::check_layer(include_str!("../docs/sqlite.md"), bounds());
    }
}
