//! Passwords: what one must be, and whether it is the one of an account.
//!
//! A hash takes 19 MiB and some hundredths of a second. So it is made on threads that may block, a few at a
//! time, and a check that would have to wait too long is refused at once.

use std::{num::NonZero, sync::Arc, thread};

use argon2::{
    Argon2,
    password_hash::{self, PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use tokio::sync::Semaphore;

use super::file::{AccountsFile, FileError};

/// The shortest password, in characters, where nothing but it is asked for (NIST SP 800-63B-4
/// 3.1.1.2).
const LENGTH_MIN: usize = 15;

/// The longest one, in bytes. All of it counts.
pub(crate) const BYTES_MAX: usize = 1024;

/// How many checks wait for their turn, beside those that run. Further ones are refused.
const WAITING_MAX: usize = 64;

/// Why a password cannot be one.
pub(crate) fn unfit(password: &str) -> Option<&'static str> {
    if password.chars().count() < LENGTH_MIN {
        Some("a password has at least 15 characters; a few words will do")
    } else if password.len() > BYTES_MAX {
        Some("a password has at most 1024 bytes")
    } else {
        None
    }
}

/// Hashes with the defaults of the `argon2` crate: argon2id with 19 MiB, two passes, one lane, which
/// are those of the OWASP Password Storage Cheat Sheet. The salt is random.
pub(crate) fn hash(password: &str) -> password_hash::Result<PasswordHash> {
    Argon2::default().hash_password(password.as_bytes())
}

/// Why a password was neither right nor wrong.
#[derive(Debug)]
pub(crate) enum Unchecked {
    /// Too many others are being checked.
    Busy,
    File(FileError),
    Hash(password_hash::Error),
}

/// The passwords of all accounts.
#[derive(Clone, Debug)]
pub(crate) struct Passwords {
    file: AccountsFile,
    /// What the password of an account is compared with that is not there, so that it takes as long.
    nobody: Arc<PasswordHash>,
    waiting: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Passwords {
    pub(crate) fn new(file: AccountsFile) -> password_hash::Result<Self> {
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        Ok(Self {
            file,
            nobody: Arc::new(hash("the password of nobody")?),
            waiting: Arc::new(Semaphore::new(cores + WAITING_MAX)),
            running: Arc::new(Semaphore::new(cores)),
        })
    }

    /// Whether this is the password of the account. An account that is not there costs the same and has
    /// none.
    pub(crate) async fn check(&self, name: String, password: String) -> Result<bool, Unchecked> {
        let nobody = Arc::clone(&self.nobody);
        self.work(move |file| {
            let found = file.hash_of(&name).map_err(Unchecked::File)?;
            let is_there = found.is_some();
            let hash = found.as_ref().unwrap_or(&nobody);
            let checked = Argon2::default().verify_password(password.as_bytes(), hash);
            match checked {
                Ok(()) => Ok(is_there),
                Err(password_hash::Error::PasswordInvalid) => Ok(false),
                Err(error) => Err(Unchecked::Hash(error)),
            }
        })
        .await
    }

    /// Gives the account another password.
    pub(crate) async fn change(&self, name: String, password: String) -> Result<(), Unchecked> {
        self.work(move |file| {
            let hash = hash(&password).map_err(Unchecked::Hash)?;
            file.replace(&name, &hash).map_err(Unchecked::File)
        })
        .await
    }

    /// Works on a thread that may block. The place of what has begun is taken to its end, also where
    /// nobody waits for it any more.
    async fn work<R: Send + 'static>(
        &self,
        work: impl FnOnce(&AccountsFile) -> Result<R, Unchecked> + Send + 'static,
    ) -> Result<R, Unchecked> {
        let place = Arc::clone(&self.waiting).try_acquire_owned().map_err(|_| Unchecked::Busy)?;
        let turn = Arc::clone(&self.running).acquire_owned().await.map_err(|_| Unchecked::Busy)?;
        let file = self.file.clone();
        let working = tokio::task::spawn_blocking(move || {
            let _held = (place, turn);
            work(&file)
        });
        match working.await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The process ends.
            Err(Err(_)) => Err(Unchecked::Busy),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passwords() -> (tempfile::TempDir, Passwords) {
        let folder = tempfile::tempdir().unwrap();
        let file = AccountsFile::new(&folder.path().join("accounts"));
        file.add("ada", &hash("correct horse battery").unwrap()).unwrap();
        (folder, Passwords::new(file).unwrap())
    }

    #[tokio::test]
    async fn only_the_password_of_the_account_is_right() {
        let (_folder, passwords) = passwords();
        let check = async |name: &str, password: &str| {
            passwords.check(name.to_owned(), password.to_owned()).await.unwrap()
        };
        assert!(check("ada", "correct horse battery").await);
        assert!(!check("ada", "Correct horse battery").await);
        assert!(!check("ada", "").await);
        assert!(!check("nobody", "the password of nobody").await, "nobody has none");
        passwords.change("ada".to_owned(), "staple staple staple".to_owned()).await.unwrap();
        assert!(!check("ada", "correct horse battery").await);
        assert!(check("ada", "staple staple staple").await);
    }

    #[test]
    fn an_account_that_is_not_there_costs_as_much_as_one_that_is() {
        let (_folder, passwords) = passwords();
        let hash = passwords.file.hash_of("ada").unwrap().unwrap();
        let nobody = &*passwords.nobody;
        assert_eq!((hash.algorithm, &hash.params), (nobody.algorithm, &nobody.params));
        assert_eq!(hash.params.to_string(), "m=19456,t=2,p=1");
    }

    #[tokio::test]
    async fn beyond_the_bound_a_check_is_refused_at_once() {
        let (_folder, passwords) = passwords();
        let all = u32::try_from(passwords.waiting.available_permits()).unwrap();
        let taken = passwords.waiting.acquire_many(all).await.unwrap();
        let check = async || passwords.check("ada".to_owned(), "x".to_owned()).await;
        assert!(matches!(check().await, Err(Unchecked::Busy)));
        drop(taken);
        assert!(!check().await.unwrap());
    }

    #[test]
    fn a_password_has_a_length_that_counts_characters() {
        assert!(unfit("fourteen-signs").is_some());
        assert!(unfit("fifteen-signs-!").is_none());
        assert!(unfit(&"é".repeat(14)).is_some());
        assert!(unfit(&"é".repeat(15)).is_none());
        assert!(unfit(&"x".repeat(1025)).is_some());
    }
}
