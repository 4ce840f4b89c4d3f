//! `ingle completions` and `ingle man`: what a package brings along, made of the options themselves.

use clap::CommandFactory as _;
use clap_complete::env::Shells;

use crate::{
    complete::VARIABLE,
    exit::Failed,
    options::{CompletionsOptions, ManOptions, Options},
    out::Out,
};

pub(crate) fn completions(out: &mut Out, options: &CompletionsOptions) -> Result<(), Failed> {
    let (mut text, name) = (Vec::new(), options.shell.to_string());
    if let Some(shell) = Shells::builtins().completer(&name) {
        let written = shell.write_registration(VARIABLE, "ingle", "ingle", "ingle", &mut text);
        written.map_err(|error| Failed::other(format!("could not write: {error}")))?;
    }
    out.text(&String::from_utf8_lossy(&text))?;
    out.flush()
}

pub(crate) fn man(out: &mut Out, options: &ManOptions) -> Result<(), Failed> {
    let failed =
        |error: std::io::Error| Failed::other(format!("the manual was not written: {error}"));
    match &options.output {
        Some(folder) => clap_mangen::generate_to(Options::command(), folder).map_err(failed),
        None => {
            let mut text = Vec::new();
            clap_mangen::Man::new(Options::command()).render(&mut text).map_err(failed)?;
            out.text(&String::from_utf8_lossy(&text))?;
            out.flush()
        }
    }
}
