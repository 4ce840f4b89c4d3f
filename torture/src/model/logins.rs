//! Logins, ends of all, the limit and tickets as a model, of which every state is looked at.
//!
//! Two logins, an end of all, a renew and two that redeem one ticket work on the sessions of one user, in
//! every order of their calls of the store. A call may fail, its request or its answer may be lost, and
//! a process may end at any step. `setup.rs` says who takes part, `account.rs` and `protocol.rs` have
//! the steps, `properties.rs` what must hold after each.

mod account;
mod properties;
mod protocol;
mod setup;
mod state;

use properties::{
    FOLLOWED, FOUND, FREED, LATER_ONE, LEFT_AFTER_END, LEFT_OVER, LOGIN_AFTER_END, MOVED_PLACE,
    OLDEST_ENDED, OVERTAKEN_LOGIN, OVERTAKEN_RENEW, SECOND_PASS, TOO_MANY, UNKNOWN_NOT_TAKEN,
    UNKNOWN_TAKEN, WAITED,
};
use setup::{Limit, Setup};
use state::Task::{self, EndAll, Login, LoginWithTicket, Redeem, Renew};

use super::{Checked, Finite, check};

impl Finite for Setup {}

/// Checks all setups, or those that CI has time for.
pub(super) fn check_all(long: bool) -> Vec<Checked> {
    let setups = setups(long).into_iter();
    setups.map(|setup| check(setup.name, setup)).collect()
}

fn setups(long: bool) -> Vec<Setup> {
    let setup = |name, tasks: &[&[Task]], limit, faults, reached| Setup {
        name,
        tasks: tasks.concat(),
        limit,
        faults,
        reached,
        error: None,
    };
    let oldest_of = |max| Some(Limit { max, ends_oldest: true });
    let last_of = |max| Some(Limit { max, ends_oldest: false });
    let (logins, redeems): (&[_], &[_]) = (&[LoginWithTicket, Login], &[Redeem, Redeem]);
    let (end, renew, both): (&[_], &[_], &[_]) = (&[EndAll], &[Renew], &[EndAll, Renew]);
    let ends: &[_] =
        &[OVERTAKEN_LOGIN, OVERTAKEN_RENEW, LOGIN_AFTER_END, FOLLOWED, SECOND_PASS, LEFT_AFTER_END];
    let tickets: &[_] = &[LATER_ONE, FOUND, UNKNOWN_TAKEN, UNKNOWN_NOT_TAKEN];
    let waits: &[_] = &[OLDEST_ENDED, WAITED, FREED];
    let refused: &[_] = &[TOO_MANY, FREED, LEFT_OVER];
    let overtaken: &[_] = &[OVERTAKEN_LOGIN, LOGIN_AFTER_END, OLDEST_ENDED, LEFT_OVER];
    let moved: &[_] = &[OLDEST_ENDED, MOVED_PLACE, LEFT_OVER];
    let mut setups = vec![
        setup("logins, an end, a renew", &[logins, both], None, 1, ends),
        setup("redeems, an end, a renew", &[redeems, both], None, 2, tickets),
        setup("logins, of one place", &[logins], oldest_of(1), 2, waits),
        setup("logins, of two places, else refused", &[logins], last_of(2), 2, refused),
        setup("logins, an end, of two places", &[logins, end], oldest_of(2), 1, overtaken),
        setup("logins, a renew, of one place", &[logins, renew], oldest_of(1), 1, moved),
    ];
    if long {
        setups.extend([
            setup("logins, an end, a renew, more faults", &[logins, both], None, 2, ends),
            setup("logins, an end, a renew, of two places", &[logins, both], oldest_of(2), 1, ends),
            setup("all at once", &[logins, redeems, both], None, 1, ends),
        ]);
    }
    setups
}

#[cfg(test)]
mod tests;
