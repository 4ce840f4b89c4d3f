//! Who asks: visitors with their cookies, and in which order they do.

use std::{collections::HashMap, sync::Arc};

use super::Answer;

/// What one connection asks with, request after request.
pub trait Turns: Send + 'static {
    /// The value of the next request's `Cookie` header, empty for none; or the end.
    fn next(&mut self) -> Option<&str>;

    /// Takes a good answer to the last request. False if it does not show the count that it must.
    fn answered(&mut self, answer: &Answer) -> bool;

    /// Takes that the last request had no answer. False if it is the end.
    fn unanswered(&mut self) -> bool {
        true
    }
}

/// A browser with one session.
#[derive(Clone, Debug, Default)]
pub struct Visitor {
    jar: Vec<(String, String)>,
    /// What it sends: all of the jar.
    cookie: String,
    /// What it was last shown.
    views: u64,
}

impl Visitor {
    /// One whose session was last shown so many views.
    pub fn known(cookie: &str, views: u64) -> Self {
        Self { cookie: cookie.to_owned(), views, ..Self::default() }
    }

    pub fn cookie(&self) -> &str {
        &self.cookie
    }

    fn take(&mut self, answer: &Answer) {
        if answer.cookies.is_empty() {
            return;
        }
        for (name, value) in &answer.cookies {
            match self.jar.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => known.clone_from(value),
                None => self.jar.push((name.clone(), value.clone())),
            }
        }
        let pairs = self.jar.iter().map(|(name, value)| format!("{name}={value}"));
        self.cookie = pairs.collect::<Vec<_>>().join("; ");
    }
}

/// Somebody without a session, on a route that begins none.
#[derive(Debug)]
pub struct Nobody;

impl Turns for Nobody {
    fn next(&mut self) -> Option<&str> {
        Some("")
    }

    fn answered(&mut self, _: &Answer) -> bool {
        true
    }
}

/// Begins so many sessions, each with a request that has no cookie.
#[derive(Debug, Default)]
pub struct Begin {
    pub wanted: usize,
    pub begun: Vec<Visitor>,
}

impl Turns for Begin {
    fn next(&mut self) -> Option<&str> {
        (self.begun.len() < self.wanted).then_some("")
    }

    fn answered(&mut self, answer: &Answer) -> bool {
        let mut visitor = Visitor { views: answer.views.unwrap_or_default(), ..Visitor::default() };
        visitor.take(answer);
        self.begun.push(visitor);
        answer.views == Some(1)
    }
}

/// Visitors of this connection alone, one after the other: no session is in flight twice, and each
/// answer shows one view more than the last.
#[derive(Debug, Default)]
pub struct Dealt {
    pub visitors: Vec<Visitor>,
    pub counts: bool,
    turn: usize,
}

impl Dealt {
    /// Deals visitors over so many connections. `counts` says whether the page that is asked for
    /// shows views at all.
    pub fn over(connections: usize, visitors: Vec<Visitor>, counts: bool) -> Vec<Self> {
        let mut dealt: Vec<_> =
            (0..connections).map(|_| Self { counts, ..Self::default() }).collect();
        for (n, visitor) in visitors.into_iter().enumerate() {
            if let Some(connection) = dealt.get_mut(n % connections) {
                connection.visitors.push(visitor);
            }
        }
        dealt
    }

    /// All visitors again.
    pub fn back(dealt: Vec<Self>) -> Vec<Visitor> {
        dealt.into_iter().flat_map(|connection| connection.visitors).collect()
    }
}

impl Turns for Dealt {
    fn next(&mut self) -> Option<&str> {
        self.turn = if self.turn + 1 < self.visitors.len() { self.turn + 1 } else { 0 };
        Some(&self.visitors.get(self.turn)?.cookie)
    }

    fn answered(&mut self, answer: &Answer) -> bool {
        let Some(visitor) = self.visitors.get_mut(self.turn) else { return false };
        visitor.take(answer);
        if !self.counts {
            return true;
        }
        let views = answer.views.unwrap_or_default();
        let right = views == visitor.views + 1;
        visitor.views = views;
        right
    }
}

/// One session on all connections. It keeps what it was shown.
#[derive(Debug)]
pub struct One {
    pub cookie: Arc<str>,
    pub shown: Vec<u64>,
}

impl Turns for One {
    fn next(&mut self) -> Option<&str> {
        Some(&self.cookie)
    }

    fn answered(&mut self, answer: &Answer) -> bool {
        self.shown.extend(answer.views);
        true
    }
}

/// How the next session is picked.
#[derive(Clone, Debug)]
pub enum Chance {
    /// All alike.
    Even,
    /// The nth most popular one so often as 1/n: the sum of this up to each.
    Zipf(Arc<[f64]>),
}

impl Chance {
    pub fn zipf(sessions: usize) -> Self {
        let sums = (1..=sessions).scan(0.0, |sum, n| {
            *sum += 1.0 / n as f64;
            Some(*sum)
        });
        Self::Zipf(sums.collect())
    }

    fn pick(&self, sessions: usize, random: &mut fastrand::Rng) -> usize {
        match self {
            Self::Even => random.usize(..sessions.max(1)),
            Self::Zipf(sums) => {
                let at = random.f64() * sums.last().copied().unwrap_or_default();
                sums.partition_point(|sum| *sum <= at).min(sessions.saturating_sub(1))
            }
        }
    }
}

/// Sessions that are picked by chance, so that one may be in flight twice.
#[derive(Debug)]
pub struct Picked {
    pub cookies: Arc<[Box<str>]>,
    pub chance: Chance,
    pub random: fastrand::Rng,
    /// How many answers each session had.
    pub answered: HashMap<usize, u64>,
    picked: usize,
}

impl Picked {
    pub fn new(cookies: &Arc<[Box<str>]>, chance: &Chance, seed: u64) -> Self {
        Self {
            cookies: Arc::clone(cookies),
            chance: chance.clone(),
            random: fastrand::Rng::with_seed(seed),
            answered: HashMap::new(),
            picked: 0,
        }
    }
}

impl Turns for Picked {
    fn next(&mut self) -> Option<&str> {
        self.picked = self.chance.pick(self.cookies.len(), &mut self.random);
        self.cookies.get(self.picked).map(|cookie| &**cookie)
    }

    fn answered(&mut self, answer: &Answer) -> bool {
        *self.answered.entry(self.picked).or_default() += 1;
        answer.views.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(views: u64, cookies: &[(&str, &str)]) -> Answer {
        let cookies = cookies.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Answer { status: 200, views: Some(views), cookies: cookies.collect() }
    }

    #[test]
    fn a_visitor_sends_what_it_was_last_given() {
        let mut begin = Begin { wanted: 1, ..Begin::default() };
        assert_eq!(begin.next(), Some(""));
        assert!(begin.answered(&shown(1, &[("a", "1"), ("b", "2")])));
        assert_eq!(begin.next(), None);
        let mut dealt = Dealt::over(2, begin.begun, true);
        assert_eq!(dealt[0].next(), Some("a=1; b=2"));
        assert!(dealt[0].answered(&shown(2, &[("a", "3")])));
        assert_eq!(dealt[0].next(), Some("a=3; b=2"));
        assert!(!dealt[0].answered(&shown(2, &[])), "a view was lost");
        assert_eq!(dealt[1].next(), None);
        assert_eq!(Dealt::back(dealt).len(), 1);
    }

    #[test]
    fn the_most_popular_session_is_picked_most() {
        let chance = Chance::zipf(3);
        let mut random = fastrand::Rng::with_seed(1);
        let mut counts = [0; 3];
        (0..1100).for_each(|_| counts[chance.pick(3, &mut random)] += 1);
        assert!(counts[0] > counts[1] && counts[1] > counts[2] && counts[2] > 0, "{counts:?}");
    }
}
