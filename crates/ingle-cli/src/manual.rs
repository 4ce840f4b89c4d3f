//! `ingle completions` and `ingle man`: what a package brings along, made of the options themselves.

use clap::CommandFactory as _;

use crate::{
    exit::Failed,
    options::{CompletionsOptions, ManOptions, Options},
    out::Out,
};

pub(crate) fn completions(out: &mut Out, options: &CompletionsOptions) -> Result<(), Failed> {
    let mut text = Vec::new();
    clap_complete::generate(options.shell, &mut Options::command(), "ingle", &mut text);
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
