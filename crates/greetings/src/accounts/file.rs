//! The file of accounts: one line for each, `NAME:HASH`, with a hash of argon2id as a PHC string.
//!
//! It is read anew for each password, so all processes of a machine see a change at once. Who writes
//! holds a lock, and puts a whole new file in the place of the old one.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, fchown},
    path::{Path, PathBuf},
};

use argon2::password_hash::phc::PasswordHash;
use tempfile::NamedTempFile;

/// How long the name of an account may be, in characters. As many take 256 bytes at most, which is
/// what the library can log in.
const NAME_MAX: usize = 64;

/// Where the accounts are.
#[derive(Clone, Debug)]
pub(crate) struct AccountsFile(PathBuf);

/// Why the file could not be read or written. A text names the line and shows nothing of it.
#[derive(Debug)]
pub(crate) enum FileError {
    Read(io::Error),
    Write(io::Error),
    /// This line, counted from 1, is no account.
    Line(usize),
    /// There is an account of this name, and nothing was written.
    Taken,
    /// There is none, and nothing was written.
    Unknown,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) if error.kind() == io::ErrorKind::NotFound => {
                f.write_str("it is not there; greetings account add NAME --accounts FILE makes it")
            }
            Self::Read(error) => write!(f, "it could not be read: {error}"),
            Self::Write(error) => write!(f, "it could not be written, and is as it was: {error}"),
            Self::Line(line) => write!(
                f,
                "line {line} is no account; one is NAME:HASH, as greetings account add writes it"
            ),
            Self::Taken => f.write_str(
                "an account of this name is there, and was not changed; \
                 to set a new password without the old one, remove its line first",
            ),
            Self::Unknown => f.write_str("there is no account of this name"),
        }
    }
}

/// What an account can be called.
pub(crate) fn is_name(name: &str) -> bool {
    let fits = !name.is_empty() && name.chars().count() <= NAME_MAX && name == name.trim();
    fits && !name.starts_with('#') && !name.contains(|sign: char| sign == ':' || sign.is_control())
}

impl AccountsFile {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// How many accounts there are.
    pub(crate) fn count(&self) -> Result<usize, FileError> {
        let text = fs::read_to_string(&self.0).map_err(FileError::Read)?;
        accounts(&text).try_fold(0, |count, account| account.map(|_| count + 1))
    }

    /// Whether others than its owner may read the hashes, and try passwords on a machine of theirs.
    pub(crate) fn is_public(&self) -> bool {
        fs::metadata(&self.0).is_ok_and(|metadata| metadata.mode() & 0o004 != 0)
    }

    /// The hash of an account's password. None if there is no such account.
    pub(crate) fn hash_of(&self, name: &str) -> Result<Option<PasswordHash>, FileError> {
        let text = fs::read_to_string(&self.0).map_err(FileError::Read)?;
        for account in accounts(&text) {
            let account = account?;
            if account.name == name {
                return Ok(Some(account.hash));
            }
        }
        Ok(None)
    }

    /// Whether an account of this name can be added, if nobody else adds it before.
    pub(crate) fn is_free(&self, name: &str) -> Result<(), FileError> {
        match fs::read_to_string(&self.0) {
            Ok(text) => is_free(&text, name),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(FileError::Read(error)),
        }
    }

    /// Adds an account. A file that is not there is made, and only its owner may read it.
    pub(crate) fn add(&self, name: &str, hash: &PasswordHash) -> Result<(), FileError> {
        let _lock = self.lock(true)?;
        let mut text = fs::read_to_string(&self.0).map_err(FileError::Read)?;
        is_free(&text, name)?;
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&format!("{name}:{hash}\n"));
        self.put(&text).map_err(FileError::Write)
    }

    /// Gives an account another hash. All other lines stay as they are.
    pub(crate) fn replace(&self, name: &str, hash: &PasswordHash) -> Result<(), FileError> {
        let _lock = self.lock(false)?;
        let text = fs::read_to_string(&self.0).map_err(FileError::Read)?;
        let (mut new, mut is_there) = (String::with_capacity(text.len()), false);
        for line in text.lines() {
            if line.split_once(':').is_some_and(|(of, _)| of == name) {
                new.push_str(&format!("{name}:{hash}"));
                is_there = true;
            } else {
                new.push_str(line);
            }
            new.push('\n');
        }
        if !is_there {
            return Err(FileError::Unknown);
        }
        self.put(&new).map_err(FileError::Write)
    }

    /// The right to write, which ends when this is dropped.
    fn lock(&self, create: bool) -> Result<File, FileError> {
        loop {
            let mut options = OpenOptions::new();
            options.append(true).create(create).mode(0o600);
            let file = options.open(&self.0).map_err(FileError::Write)?;
            file.lock().map_err(FileError::Write)?;
            // Another process may have put a new file in its place meanwhile.
            let inode =
                |metadata: io::Result<fs::Metadata>| metadata.map(|it| (it.dev(), it.ino()));
            let locked = inode(file.metadata()).map_err(FileError::Read)?;
            if inode(fs::metadata(&self.0)).is_ok_and(|present| present == locked) {
                return Ok(file);
            }
        }
    }

    /// Puts a new file in the place of the old one, with its owner and its mode: whoever reads sees
    /// all of one of them, also after a crash.
    fn put(&self, text: &str) -> io::Result<()> {
        // A link stays one.
        let path = fs::canonicalize(&self.0)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        let old = fs::metadata(&path)?;
        let mut new = NamedTempFile::new_in(folder)?;
        new.write_all(text.as_bytes())?;
        let made = new.as_file().metadata()?;
        if (made.uid(), made.gid()) != (old.uid(), old.gid()) {
            fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
        new.as_file().set_permissions(old.permissions())?;
        new.as_file().sync_all()?;
        new.persist(&path)?;
        File::open(folder)?.sync_all()
    }
}

struct Account<'a> {
    name: &'a str,
    hash: PasswordHash,
}

/// The accounts of a file. Empty lines and those that begin with `#` are for people.
fn accounts(text: &str) -> impl Iterator<Item = Result<Account<'_>, FileError>> {
    let lines = text.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|(index, line)| account(line).ok_or(FileError::Line(index + 1)))
}

fn is_free(text: &str, name: &str) -> Result<(), FileError> {
    let mut accounts = accounts(text);
    let is_free = accounts.try_fold(true, |free, account| Ok(free && account?.name != name))?;
    if is_free { Ok(()) } else { Err(FileError::Taken) }
}

fn account(line: &str) -> Option<Account<'_>> {
    let (name, hash) = line.split_once(':')?;
    let hash = PasswordHash::new(hash).ok()?;
    let is_whole = hash.salt.is_some() && hash.hash.is_some();
    let fits = is_name(name) && hash.algorithm == argon2::ARGON2ID_IDENT && is_whole;
    fits.then_some(Account { name, hash })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    const HASH: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn hash(salt: &str) -> PasswordHash {
        PasswordHash::new(&HASH.replacen("c2FsdHNhbHRzYWx0", salt, 1)).unwrap()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn an_account_is_added_once_and_only_its_owner_reads_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts");
        let file = AccountsFile::new(&path);
        file.add("ada", &hash("YWRhYWRhYWRh")).unwrap();
        assert_eq!(mode(&path), 0o600);
        file.add("bob", &hash("Ym9iYm9iYm9i")).unwrap();
        assert!(matches!(file.add("ada", &hash("b3RoZXJvdGhlcg")), Err(FileError::Taken)));
        assert_eq!(file.hash_of("ada").unwrap(), Some(hash("YWRhYWRhYWRh")));
        assert_eq!(file.hash_of("bob").unwrap(), Some(hash("Ym9iYm9iYm9i")));
        assert_eq!((file.hash_of("eve").unwrap(), file.count().unwrap()), (None, 2));
        let left: Vec<_> = folder.path().read_dir().unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    #[test]
    fn another_hash_leaves_all_else_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let (path, link) = (folder.path().join("file"), folder.path().join("link"));
        fs::write(&path, format!("# of the team\n\nada:{HASH}\nbob:{HASH}")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        symlink(&path, &link).unwrap();
        let (file, new) = (AccountsFile::new(&link), hash("b3RoZXJvdGhlcg"));
        file.replace("ada", &new).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("# of the team\n\nada:{new}\nbob:{HASH}\n"));
        assert_eq!(mode(&path), 0o640);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert!(matches!(file.replace("eve", &new), Err(FileError::Unknown)));
        assert_eq!(fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn accounts_that_are_added_at_once_are_all_there() {
        let folder = tempfile::tempdir().unwrap();
        let file = AccountsFile::new(&folder.path().join("accounts"));
        std::thread::scope(|scope| {
            for number in 0..16 {
                let file = &file;
                scope.spawn(move || file.add(&format!("user{number}"), &hash("YWRhYWRhYWRh")));
            }
        });
        assert_eq!(file.count().unwrap(), 16);
    }

    #[test]
    fn a_line_that_is_no_account_is_told_by_its_number_and_not_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("accounts");
        let file = AccountsFile::new(&path);
        let weak = HASH.replacen("argon2id", "argon2i", 1);
        let cases = [
            "s3cret".to_owned(),
            "ada:s3cret".to_owned(),
            format!(":{HASH}"),
            format!(" ada:{HASH}"),
            format!("ada:{weak}"),
            "ada:$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0".to_owned(),
        ];
        for line in cases {
            fs::write(&path, format!("# people\nbob:{HASH}\n{line}\n")).unwrap();
            let error = file.count().unwrap_err().to_string();
            assert!(error.starts_with("line 3 is no account"), "{line}: {error}");
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn a_name_is_one_line_without_a_colon() {
        for name in ["ada", "Ada Lovelace", "ада", "<b>", "a@b.example", &"é".repeat(64)] {
            assert!(is_name(name), "{name}");
        }
        for name in ["", " ada", "ada ", "a:b", "#ada", "a\nb", "a\0b", &"x".repeat(65)] {
            assert!(!is_name(name), "{name:?}");
        }
    }
}
