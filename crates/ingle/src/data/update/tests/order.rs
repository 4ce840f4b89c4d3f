//! The order of a list is part of what a closure leaves, unless the type has none.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::{BuildHasherDefault, DefaultHasher},
};

use serde::Deserializer;

use super::*;

fn sorted<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let mut items = Vec::<u8>::deserialize(from)?;
    items.sort_unstable();
    Ok(items)
}

fn sorted_once<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    let mut items = sorted(from)?;
    items.dedup();
    Ok(items)
}

fn swapped<'de, D: Deserializer<'de>>(from: D) -> Result<(u8, u8), D::Error> {
    <(u8, u8)>::deserialize(from).map(|(one, other)| (other, one))
}

fn reversed<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Vec<u8>>, D::Error> {
    let mut items = Vec::<Vec<u8>>::deserialize(from)?;
    items.iter_mut().for_each(|items| items.reverse());
    Ok(items)
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Reordered {
    #[serde(deserialize_with = "sorted")]
    sorted: Vec<u8>,
    #[serde(deserialize_with = "sorted_once")]
    once: Vec<u8>,
    #[serde(deserialize_with = "swapped")]
    pair: (u8, u8),
    #[serde(deserialize_with = "reversed")]
    within: Vec<Vec<u8>>,
    set: HashSet<u8>,
}

#[test]
fn a_type_that_reads_a_list_in_another_order_is_refused() {
    let path = |change: fn(&mut Reordered)| {
        let (path, reason) = refused(&json!({}), change);
        assert_eq!(reason, Reason::NotReadBack);
        path
    };
    assert_eq!(path(|view| view.sorted = vec![2, 1]), "sorted");
    assert_eq!(path(|view| view.once = vec![2, 1]), "once");
    assert_eq!(path(|view| view.pair = (1, 2)), "pair");
    assert_eq!(path(|view| view.within = vec![vec![], vec![1, 2]]), "within[1]");
    // Beside a set, which has no order.
    let with_a_set = |view: &mut Reordered| {
        view.set = (0..20).collect();
        view.once = vec![2, 1];
    };
    assert_eq!(path(with_a_set), "once");
    let after = left::<Reordered>(&json!({}), |view| {
        view.sorted = vec![1, 2, 2];
        view.once = vec![1, 2];
        view.pair = (1, 1);
        view.within = vec![vec![2, 1, 2]];
    });
    assert_eq!(after["sorted"], json!([1, 2, 2]));
}

type Fixed = BuildHasherDefault<DefaultHasher>;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Sets {
    set: HashSet<String>,
    /// Its order is the same each time, but for the room that it has.
    fixed: HashSet<String, Fixed>,
    of_sets: Vec<HashSet<u8>>,
    sorted: BTreeSet<u8>,
    #[serde(with = "pairs")]
    pairs: HashMap<u8, HashSet<u8>>,
    n: u8,
}

mod pairs {
    use serde::Serializer;

    use super::*;

    type Map = HashMap<u8, HashSet<u8>>;

    pub(super) fn serialize<S: Serializer>(map: &Map, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Map, D::Error> {
        Vec::<(u8, HashSet<u8>)>::deserialize(from).map(|pairs| pairs.into_iter().collect())
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Flattened {
    #[serde(flatten)]
    sets: Sets,
}

#[test]
fn a_set_may_have_another_order_each_time() {
    let names = || (0..9).map(|n| n.to_string());
    for n in 2..=9_u8 {
        let change = move |sets: &mut Sets| {
            sets.set = names().take(n.into()).collect();
            sets.fixed = names().collect();
            sets.fixed.retain(|name| name.as_str() < n.to_string().as_str());
            sets.of_sets = vec![HashSet::from([1, 2]), HashSet::new(), (0..n).collect()];
            sets.pairs = (0..n).map(|key| (key, (0..n).collect())).collect();
        };
        let [whole, field] = both::<Sets>(&json!({}), change).map(Result::unwrap);
        for after in [whole, field] {
            let [again, _] = both::<Sets>(&after, |sets| sets.n += 1).map(Result::unwrap);
            assert_eq!(again["n"], 1);
            assert_eq!(again["fixed"], after["fixed"]);
            for after in both::<Sets>(&after, |sets| assert!(sets.fixed.remove("0"))) {
                assert_eq!(after.unwrap()["fixed"].as_array().unwrap().len(), usize::from(n) - 1);
            }
        }
        for after in both::<Flattened>(&json!({}), |view| change(&mut view.sets)) {
            after.unwrap();
        }
    }
}

#[test]
fn a_large_set_that_was_larger_has_an_order_of_its_own() {
    let change = |sets: &mut Sets| {
        sets.fixed = (0..2000).map(|n| n.to_string()).collect();
        sets.fixed.retain(|name| name.ends_with('7') || name.len() < 2);
    };
    for after in both::<Sets>(&json!({}), change) {
        assert_eq!(after.unwrap()["fixed"].as_array().unwrap().len(), 209);
    }
}
