//! Cargo, for the parts that build something and run it.

use std::{
    env,
    ffi::{OsStr, OsString},
    path::Path,
};

use tokio::process::Command;

/// The folder of the workspace.
pub(crate) fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// A cargo command in the workspace.
pub(crate) fn cargo<const N: usize>(args: [&str; N]) -> Command {
    begun(Command::new(program()), args)
}

/// The same at the lowest priority, for what goes on beside something that is timed.
pub(crate) fn patient_cargo<const N: usize>(args: [&str; N]) -> Command {
    let mut nice = Command::new("nice");
    nice.arg("-n19").arg(program());
    begun(nice, args)
}

fn program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn begun<const N: usize>(mut command: Command, args: [&str; N]) -> Command {
    command.args(args).current_dir(workspace());
    // What cargo tells this program of itself would be news to the build scripts of others, which
    // would be built again.
    for (name, _) in env::vars_os().filter(|(name, _)| is_of_this_program(name)) {
        command.env_remove(name);
    }
    command
}

fn is_of_this_program(variable: &OsStr) -> bool {
    let variable = variable.to_string_lossy();
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}
