//! Renders the book in the folder that is the one argument, where its `book.toml` says.

use std::env;

use anyhow::{Context as _, Result};
use mdbook_driver::MDBook;

fn main() -> Result<()> {
    let folder = env::args().nth(1).context("the folder of the book is missing")?;
    MDBook::load(folder)?.build()
}
