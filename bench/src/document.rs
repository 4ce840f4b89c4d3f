//! The documents that the measured tables are written into: one section for each comparison.
//!
//! A section stands between two comments. What is around them is written by people and kept.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::contestant::workspace;

/// The document, in the workspace.
const DOCUMENT: &str = "docs/benchmarks.md";

/// Puts a text in the place of what a section had before, and prints it.
pub(crate) fn write(section: &str, text: &str) -> Result<()> {
    write_into(DOCUMENT, section, text)
}

/// The same in another document of the workspace.
pub(crate) fn write_into(document: &str, section: &str, text: &str) -> Result<()> {
    println!("\n{text}");
    let path = workspace().join(document);
    let before = fs::read_to_string(&path).with_context(|| format!("could not read {document}"))?;
    let after = replaced(&before, section, text).with_context(|| document.to_owned())?;
    fs::write(&path, after).with_context(|| format!("could not write {document}"))?;
    println!("Written into {document}.");
    Ok(())
}

/// Writes a picture beside the document.
pub(crate) fn write_picture(name: &str, svg: &str) -> Result<()> {
    let path = workspace().join(DOCUMENT).with_file_name(name);
    fs::write(path, svg).with_context(|| format!("could not write the picture {name}"))
}

fn replaced(document: &str, section: &str, text: &str) -> Result<String> {
    let [begin, end] = ["begin", "end"].map(|side| format!("<!-- {section}:{side} -->"));
    let parts = document.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) =
        parts.with_context(|| format!("there is no `{begin}` with a `{end}` after it"))?;
    let comment = text.contains("<!--");
    ensure!(!comment, "a section with a comment in it could not be replaced again");
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_rest_is_kept() {
        let document = "# A\n\n<!-- x:begin -->\nold\n<!-- x:end -->\n\nmore\n";
        let once = replaced(document, "x", "new\n").unwrap();
        assert_eq!(once, "# A\n\n<!-- x:begin -->\n\nnew\n\n<!-- x:end -->\n\nmore\n");
        assert_eq!(replaced(&once, "x", "new").unwrap(), once);
        assert!(replaced(document, "y", "new").is_err());
        assert!(replaced("<!-- x:end --> <!-- x:begin -->", "x", "new").is_err());
    }
}
