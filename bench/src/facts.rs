//! Numbers that one comparison measured and another text needs: kept between runs, in a file.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::contestant::workspace;

/// One `name=number` in each line.
const FILE: &str = "target/bench/facts.txt";

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts(BTreeMap<String, f64>);

impl Facts {
    /// What earlier runs left, which may be nothing.
    pub(crate) fn read() -> Self {
        Self::parse(&fs::read_to_string(path()).unwrap_or_default())
    }

    fn parse(text: &str) -> Self {
        let lines = text.lines().filter_map(|line| line.split_once('='));
        Self(
            lines
                .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
                .collect(),
        )
    }

    pub(crate) fn set(&mut self, name: String, number: f64) {
        self.0.insert(name, number);
    }

    pub(crate) fn get(&self, name: &str) -> Result<f64> {
        let number = self.0.get(name).copied().filter(|number| number.is_finite());
        number.with_context(|| format!("`{name}` was not measured"))
    }

    pub(crate) fn write(&self) -> Result<()> {
        let lines = self.0.iter().map(|(name, number)| format!("{name}={number}\n"));
        let path = path();
        let folder = path.parent().context("the file is in no folder")?;
        fs::create_dir_all(folder).context("could not make a folder for what was measured")?;
        fs::write(&path, lines.collect::<String>())
            .with_context(|| format!("could not write {FILE}"))
    }
}

fn path() -> PathBuf {
    workspace().join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_is_there_or_said_to_be_missing() {
        let facts = Facts::parse("a.b=1.5\nnonsense\nc=NaN\n");
        assert_eq!(facts.get("a.b").unwrap(), 1.5);
        assert_eq!(facts.get("c").unwrap_err().to_string(), "`c` was not measured");
        assert!(facts.get("d").is_err());
    }
}
