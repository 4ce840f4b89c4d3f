//! `greetings account add NAME --accounts FILE`: an account, with a password that is typed without
//! being shown, or read from stdin. The command line would show it to everybody on the machine.

use std::{
    fmt,
    io::{self, BufRead as _, IsTerminal as _, Read as _},
    path::PathBuf,
};

use argon2::password_hash;

use super::{
    file::{AccountsFile, FileError, is_name},
    password::{BYTES_MAX, hash, unfit},
};

/// What was typed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Add {
    name: String,
    file: PathBuf,
}

/// Why there is no new account.
#[derive(Debug)]
pub(crate) enum AddError {
    /// The password could not be read.
    Input(io::Error),
    /// Two were typed.
    Differ,
    /// It cannot be one.
    Unfit(&'static str),
    Hash(password_hash::Error),
    File(PathBuf, FileError),
}

impl fmt::Display for AddError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(error) => write!(f, "could not read the password: {error}")?,
            Self::Differ => f.write_str("the two passwords differ")?,
            Self::Unfit(why) => f.write_str(why)?,
            Self::Hash(error) => write!(f, "could not hash the password: {error}")?,
            Self::File(path, error) => write!(f, "{}: {error}", path.display())?,
        }
        match self {
            Self::File(..) => Ok(()),
            _ => f.write_str("; no account was added"),
        }
    }
}

impl Add {
    /// None if no account can have this name.
    pub(crate) fn new(name: String, file: PathBuf) -> Option<Self> {
        is_name(&name).then_some(Self { name, file })
    }

    /// Reads the password, and writes the account.
    pub(crate) fn run(&self) -> Result<String, AddError> {
        let file = AccountsFile::new(&self.file);
        let failed = |error| AddError::File(self.file.clone(), error);
        // Before anybody types a password for nothing.
        file.is_free(&self.name).map_err(failed)?;
        let password = if io::stdin().is_terminal() { typed()? } else { piped()? };
        if let Some(why) = unfit(&password) {
            return Err(AddError::Unfit(why));
        }
        let hash = hash(&password).map_err(AddError::Hash)?;
        file.add(&self.name, &hash).map_err(failed)?;
        let (name, file) = (&self.name, self.file.display());
        Ok(format!("greetings: {name} can log in, where it runs with --accounts {file}\n"))
    }
}

/// The terminal shows nothing of it, so it is typed twice.
fn typed() -> Result<String, AddError> {
    let ask = |prompt: &str| rpassword::prompt_password(prompt).map_err(AddError::Input);
    let password = ask("Password: ")?;
    if unfit(&password).is_none() && ask("The same again: ")? != password {
        return Err(AddError::Differ);
    }
    Ok(password)
}

/// The first line.
fn piped() -> Result<String, AddError> {
    let mut line = String::new();
    // One that is longer is refused by its length.
    let mut stdin = io::stdin().lock().take(BYTES_MAX as u64 + 3);
    stdin.read_line(&mut line).map_err(AddError::Input)?;
    let end = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(end);
    Ok(line)
}
