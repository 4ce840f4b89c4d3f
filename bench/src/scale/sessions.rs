//! Sessions by the million: their cookies, and the views that were acknowledged of each.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use testbed::load::Visitor;

#[derive(Debug, Default)]
pub(super) struct Sessions {
    cookies: Arc<[Box<str>]>,
    views: Vec<u64>,
}

impl Sessions {
    pub(super) fn len(&self) -> usize {
        self.views.len()
    }

    pub(super) fn cookies(&self) -> &Arc<[Box<str>]> {
        &self.cookies
    }

    /// Adds some that have begun.
    pub(super) fn add(&mut self, begun: &[Visitor]) {
        let more = begun.iter().map(|visitor| Box::from(visitor.cookie()));
        self.cookies = self.cookies.iter().cloned().chain(more).collect();
        self.views.resize(self.cookies.len(), 1);
    }

    /// So many more answers with 200 of each.
    pub(super) fn acknowledge(&mut self, answered: &HashMap<usize, u64>) {
        for (session, count) in answered {
            if let Some(views) = self.views.get_mut(*session) {
                *views += count;
            }
        }
    }

    /// Those that were asked for most, as visitors who know their count. Each is asked for once more.
    pub(super) fn check(&mut self, n_max: usize) -> Vec<Visitor> {
        let mut order: Vec<usize> = (0..self.views.len()).collect();
        order.sort_by_key(|session| Reverse(self.views.get(*session)));
        order.truncate(n_max);
        let mut visitors = Vec::new();
        for session in order {
            if let (Some(views), Some(cookie)) =
                (self.views.get_mut(session), self.cookies.get(session))
            {
                visitors.push(Visitor::known(cookie, *views));
                *views += 1;
            }
        }
        visitors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_visited_ones_are_checked() {
        let begun: Vec<Visitor> = ["a", "b", "c"].map(|cookie| Visitor::known(cookie, 1)).into();
        let mut sessions = Sessions::default();
        sessions.add(&begun);
        sessions.acknowledge(&HashMap::from([(1, 5), (2, 3)]));
        let checked = |sessions: &mut Sessions| -> Vec<String> {
            sessions.check(2).iter().map(|visitor| visitor.cookie().to_owned()).collect()
        };
        assert_eq!(checked(&mut sessions), ["b", "c"]);
        assert_eq!(sessions.views, [1, 7, 5]);
    }
}
