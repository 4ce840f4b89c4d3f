//! The commit protocol and that of logins as small models, of which every state is looked at.
//!
//! In the first one, two clients change, renew and destroy one session. Their requests and the answers to them may be
//! lost, overtake each other, and arrive twice; the store may turn a request away, and in one setup
//! it goes back in time, as a failover of Redis does. `model/protocol.rs` has the steps,
//! `model/properties.rs` what must hold after each. `model/logins.rs` is the second one.

mod logins;
mod properties;
mod protocol;
mod state;

use std::{fmt::Debug, hash::Hash, time::Instant};

use anyhow::Result;
use stateright::{Checker as _, Model};

use crate::{
    options::{Length, Options},
    report::Section,
};
use protocol::Setup;
use state::Task::{self, Destroy, Renew, Replace};

/// What came of one setup.
struct Checked {
    name: &'static str,
    states: usize,
    steps: usize,
    seconds: f64,
    /// What does not hold, or is not reached that should be, with the steps that lead there.
    broken: Vec<String>,
}

pub(crate) async fn run(options: &Options) -> Result<Section> {
    let long = options.length != Length::Short;
    let (commits, logins) = tokio::task::spawn_blocking(move || -> (Vec<_>, Vec<_>) {
        let commits = setups(long).into_iter().map(|setup| check(setup.name, setup));
        (commits.collect(), logins::check_all(long))
    })
    .await?;
    let mut section = Section { name: "model", ..Section::default() };
    section.text = format!(
        "Each state of each setup was looked at.\n\n### Commits\n\n{}\n### Logins\n\n{}",
        table(&commits),
        table(&logins)
    );
    for Checked { name, broken, .. } in commits.into_iter().chain(logins) {
        section.broken.extend(broken.into_iter().map(|broken| format!("{name}: {broken}")));
    }
    Ok(section)
}

fn table(checked: &[Checked]) -> String {
    let mut text = String::from("| setup | states | steps | seconds |\n|---|---|---|---|\n");
    for Checked { name, states, steps, seconds, .. } in checked {
        text.push_str(&format!("| {name} | {states} | {steps} | {seconds:.1} |\n"));
    }
    let states: usize = checked.iter().map(|checked| checked.states).sum();
    text.push_str(&format!("| all | {states} | | |\n"));
    text
}

/// A model of which every state can be looked at.
trait Finite:
    Model<State: Clone + Debug + Hash + PartialEq + Send + Sync, Action: Clone + Debug + PartialEq>
    + Send
    + Sync
    + 'static
{
}

impl Finite for Setup {}

fn check(name: &'static str, setup: impl Finite) -> Checked {
    let began = Instant::now();
    let checker = setup.checker().threads(2).spawn_bfs().join();
    let discoveries = checker.discoveries();
    let mut broken = Vec::new();
    for property in checker.model().properties() {
        let found = discoveries.get(property.name);
        match (&property.expectation, found) {
            (stateright::Expectation::Sometimes, None) => {
                broken.push(format!("not reached: {}", property.name));
            }
            (stateright::Expectation::Always, Some(path)) => {
                let steps: Vec<_> = path.clone().into_actions();
                broken.push(format!("{}, not so after {steps:?}", property.name));
            }
            _ => {}
        }
    }
    let (states, steps) = (checker.unique_state_count(), checker.state_count());
    Checked { name, states, steps, seconds: began.elapsed().as_secs_f64(), broken }
}

/// What is checked. The long ones have more than CI has time for.
fn setups(long: bool) -> Vec<Setup> {
    use properties::{
        BACK_AND_MADE, BACK_AND_NOT, BEYOND_AND_MADE, BEYOND_AND_NOT, FOUND, GONE_AND_MADE,
        GONE_AND_NOT, RESENT, SILENCE_AND_MADE, SILENCE_AND_NOT,
    };
    let setup = |name, one: &[Task], other: &[Task], reached| Setup {
        name,
        tasks: [one.to_vec(), other.to_vec()],
        doubles: 0,
        refusals: 2,
        steady: false,
        goes_back: false,
        reached,
        error: None,
    };
    // Where a session ends meanwhile, the answer "gone" to the second of two equal requests says
    // "refused" of a change that the first one made. To tell that from the ordinary "gone", nobody
    // can; so requests must not be doubled on their way, and over TCP they are not.
    let doubled = |setup| Setup { doubles: 2, refusals: 0, ..setup };
    let silence: &[_] = &[FOUND, RESENT, SILENCE_AND_MADE, SILENCE_AND_NOT];
    let gone: &[_] = &[FOUND, RESENT, SILENCE_AND_MADE, SILENCE_AND_NOT, GONE_AND_NOT];
    let gone_or_not: &[_] = &[FOUND, RESENT, GONE_AND_MADE, GONE_AND_NOT];
    let beyond: &[_] = &[FOUND, RESENT, BEYOND_AND_MADE, BEYOND_AND_NOT];
    let back: &[_] = &[FOUND, RESENT, BACK_AND_MADE, BACK_AND_NOT];
    let (one_change, as_many) = (&[Replace], &[Replace; 3]);
    let mut setups = vec![
        setup("a change and a change", one_change, one_change, silence),
        setup("a change and a renew", one_change, &[Renew], gone_or_not),
        setup("a change and a destroy", one_change, &[Destroy], gone_or_not),
        setup("a renew and a renew", &[Renew], &[Renew], gone),
        setup("a renew and a destroy", &[Renew], &[Destroy], gone),
        doubled(setup("a change and a change, doubled", one_change, one_change, silence)),
        Setup {
            steady: true,
            ..setup("a change, and as many as the ring forgets", one_change, as_many, beyond)
        },
        Setup {
            steady: true,
            goes_back: true,
            refusals: 0,
            ..setup("a change, and a store that goes back", one_change, &[Replace; 2], back)
        },
    ];
    if long {
        setups.extend([
            setup("two changes and a change", &[Replace, Replace], one_change, silence),
            setup("a change, a renew, and a change", &[Replace, Renew], one_change, gone_or_not),
            setup(
                "a change, a destroy, and a change",
                &[Replace, Destroy],
                one_change,
                gone_or_not,
            ),
            Setup {
                goes_back: true,
                refusals: 0,
                ..setup("two that fail, and a store that goes back", one_change, one_change, back)
            },
        ]);
    }
    setups
}

#[cfg(test)]
mod tests;
