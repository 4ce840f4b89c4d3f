//! Greetings beside its peers, on every store: how near to no session at all, and what is kept.
//!
//! All apps of a store run at the same time and are measured in turn, so that what else goes on on the
//! machine meets all of them. An app that is not asked does nothing. The floor is a route of the same
//! process that touches no session, measured in the same seconds.

use anyhow::{Context as _, Result};

use crate::{
    contestant::{self, By, Contestant},
    document,
    facts::Facts,
    machine,
    options::Options,
    paper,
    place::Place,
    spread::Spread,
};

mod aims;
mod measure;
mod picture;
mod report;

use measure::Measured;
pub(crate) use measure::{BEGIN_TIME_MAX, WARM_UP, begin};

/// Sessions that are asked for in turn.
pub(crate) const SESSIONS: usize = 1000;

/// Requests under way, unless another number is asked for.
pub(crate) const CONNECTIONS: usize = 32;

/// So many that each app has more to do at once than its threads and its store.
pub(crate) const MANY_CONNECTIONS: usize = 128;

/// The picture's name, beside the document.
const PICTURE: &str = "benchmarks.svg";

/// What a quick look is at.
const QUICK_PLACES: [Place; 4] = [Place::Memory, Place::Sqlite, Place::Redis, Place::Valkey];
const QUICK_PEERS: [&str; 2] = ["tower-sessions", "tower-sessions, SQLite, synced"];

/// All that was measured on one store.
#[derive(Debug)]
struct OnPlace {
    place: Place,
    /// The server, its version and its settings.
    described: String,
    measured: Vec<Measured>,
}

impl Measured {
    /// The median over all rounds.
    fn median(&self, value: impl Fn(&measure::Round) -> Option<f64>) -> Option<f64> {
        self.spread(value).map(|spread| spread.median)
    }

    fn spread(&self, value: impl Fn(&measure::Round) -> Option<f64>) -> Option<Spread> {
        Spread::of(self.rounds.iter().filter_map(value))
    }
}

pub(crate) async fn run(options: &Options) -> Result<()> {
    let load = machine::load();
    let mut all = Vec::new();
    let places: &[Place] = if options.quick { &QUICK_PLACES } else { &Place::ALL };
    for &place in places {
        let contestants = contestant::on(place).into_iter();
        let contestants = contestants.filter(|one| !options.quick || is_quick(one)).collect();
        let on = on(place, contestants, options).await;
        all.extend(on.with_context(|| format!("on {}", place.name()))?);
    }
    let text = report::text(&all, options, load.as_deref());
    let Some(section) = options.stores_section() else {
        println!("\n{text}");
        return Ok(());
    };
    document::write(section, &text)?;
    if options.connections != CONNECTIONS {
        return Ok(());
    }
    let picture = picture::svg(&report::picture(&all), &report::below(options))?;
    document::write_picture(PICTURE, &picture)?;
    let mut facts = Facts::read();
    all.iter().for_each(|on| report::facts(on, &mut facts));
    facts.write()?;
    paper::write(&facts)
}

fn is_quick(contestant: &Contestant) -> bool {
    contestant.by == By::Ingle || QUICK_PEERS.contains(&contestant.name)
}

/// None where the store cannot be started here.
async fn on(
    place: Place,
    contestants: Vec<Contestant>,
    options: &Options,
) -> Result<Option<OnPlace>> {
    let Some(running) = place.start().await? else { return Ok(None) };
    let described = running.described();
    println!("\n{described}");
    let measured = measure::all(&running, contestants, options).await?;
    Ok(Some(OnPlace { place, described, measured }))
}
