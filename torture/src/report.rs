//! What came of the torture: a Markdown file, and whether everything held.

use std::{fmt::Write as _, fs, path::Path};

use anyhow::{Context as _, Result};

use crate::options::Options;

/// Where the report is written, in the workspace.
const FILE: &str = "target/torture/report.md";

/// What one part found.
#[derive(Debug, Default)]
pub(crate) struct Section {
    pub(crate) name: &'static str,
    /// What was done, as Markdown: counts and tables.
    pub(crate) text: String,
    /// What does not hold, a line each. Nothing, if all is well.
    pub(crate) broken: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct Report {
    begun: String,
    sections: Vec<Section>,
}

impl Report {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            begun: format!("Seed {}, {:?}.", options.seed, options.length),
            sections: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, section: Section) {
        println!("{}", written(&section));
        self.sections.push(section);
    }

    /// The names of the parts that found something.
    pub(crate) fn broken(&self) -> Vec<&'static str> {
        let broken = self.sections.iter().filter(|section| !section.broken.is_empty());
        broken.map(|section| section.name).collect()
    }

    pub(crate) fn holds(&self) -> bool {
        self.broken().is_empty()
    }

    pub(crate) fn write(&self) -> Result<()> {
        let mut text = format!("# Torture\n\n{}\n", self.begun);
        for section in &self.sections {
            text.push_str(&written(section));
        }
        let own = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = own.parent().unwrap_or(own).join(FILE);
        let folder = path.parent().unwrap_or(own);
        fs::create_dir_all(folder).context("could not make the report's folder")?;
        fs::write(&path, text).with_context(|| format!("could not write {FILE}"))?;
        println!("The report is in {FILE}.");
        Ok(())
    }
}

fn written(section: &Section) -> String {
    let mut text = format!("\n## {}\n\n{}\n", section.name, section.text.trim());
    for broken in &section.broken {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "- BROKEN: {broken}");
    }
    text
}
