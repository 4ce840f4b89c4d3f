//! This program in the place of the compiler, to plant the bugs.
//!
//! Cargo calls what `RUSTC_WORKSPACE_WRAPPER` names for the crates of the workspace alone, and keeps
//! what comes of it apart. So the dependencies, which are most of a build, are not built again, as
//! they would be for a flag in `RUSTFLAGS`; and no file of the project turns the bugs on.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

/// The library's name, as the compiler is told it.
const LIBRARY: [&str; 2] = ["--crate-name", "ingle"];

/// Compiles as it was called to, if this was called as a compiler, and the library with its bugs.
pub(crate) fn run(args: &[String]) -> Option<ExitCode> {
    let (rustc, args) = args.split_first()?;
    if Path::new(rustc).file_stem()? != "rustc" {
        return None;
    }
    let mut command = Command::new(rustc);
    command.args(args);
    if plants(args) {
        command.args(["--cfg", "planted"]);
    }
    match command.status() {
        Ok(status) if status.success() => Some(ExitCode::SUCCESS),
        Ok(status) => {
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            Some(code.map_or(ExitCode::FAILURE, ExitCode::from))
        }
        Err(error) => {
            eprintln!("torture: could not run {rustc}: {error}");
            Some(ExitCode::FAILURE)
        }
    }
}

fn plants(args: &[String]) -> bool {
    args.windows(2).any(|pair| *pair == LIBRARY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bugs_are_planted_in_the_library_alone() {
        let plants = |args: &str| plants(&args.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(plants("--crate-name ingle --edition=2024 crates/ingle/src/lib.rs"));
        assert!(!plants("--crate-name it --extern ingle=libingle.rlib"));
        assert!(!plants("-vV"));
    }

    #[test]
    fn a_part_of_the_torture_is_no_compiler() {
        assert!(run(&["bugs".to_owned(), "--short".to_owned()]).is_none());
        assert!(run(&[]).is_none());
    }
}
