//! Damaged files: bits that flipped, and ends that are missing. The SQLite store opens the file
//! or says why not, and gives for each session what was written, or an error.
//!
//! | what is damaged | what must come of it |
//! |---|---|
//! | the file | for each session the data or an error; "no such session" only where `PRAGMA integrity_check` finds the damage |
//! | the log beside it | for all sessions what they held at one moment, perhaps an earlier one, or an error |

use std::{
    collections::BTreeMap,
    fs, panic,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use ingle::{
    clock::{Clock as _, SystemClock, Timestamp},
    record::{Epoch, FORMAT, Header, Key, Loaded, Op, Record, User},
    store::{Lookup, Sqlite, Store as _, Write},
};
use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

const FILE: &str = "sessions.sqlite";
const LOG: &str = "sessions.sqlite-wal";

/// How many sessions there are.
const SESSIONS: usize = 200;

/// How many commits stand in the log, and nowhere else. Fewer than SQLite waits for before it copies
/// them to the file.
const IN_LOG: usize = 150;

/// The bytes of a page.
const PAGE: usize = 4096;

/// What must never be.
const WRONG: &str = "a session has other data than was written";

/// No file takes so long to open or to read.
const PATIENCE: Duration = Duration::from_secs(30);

/// Panics since the part began: they happen in threads of the store.
static PANICS: AtomicU64 = AtomicU64::new(0);

#[derive(Debug, Default)]
pub(super) struct Damaged {
    pub(super) flips: u64,
    pub(super) cuts: u64,
    /// Files that were not opened.
    pub(super) refused: u64,
    /// What became of the loads of the others.
    pub(super) right: u64,
    pub(super) told: u64,
    pub(super) missing: u64,
    /// Logs behind whose damage commits were taken back.
    pub(super) taken_back: u64,
    /// Bits that flipped where no row has a sum, and how often data was wrong then: what the sums
    /// are for, and the proof that this part would see it.
    pub(super) flips_without_sums: u64,
    pub(super) wrong_without_sums: usize,
    pub(super) broken: Vec<String>,
}

/// The files of a store, and what must be in them.
#[derive(Debug)]
struct Image {
    file: Vec<u8>,
    log: Option<Vec<u8>>,
    known: BTreeMap<[u8; 32], Known>,
}

/// What a session has held, the newest last, each with the number of its commit. A commit that is
/// in the file, and not in the log, has the number zero.
#[derive(Debug, Default)]
struct Known {
    states: Vec<(usize, Loaded)>,
}

/// What is done to a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip { byte: usize, bit: u8 },
    Cut { length: usize },
}

pub(super) async fn run(flips: u64, cuts: u64, rng: &mut fastrand::Rng) -> Result<Damaged> {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|_| _ = PANICS.fetch_add(1, Ordering::SeqCst)));
    let damaged = both(flips, cuts, rng).await;
    panic::set_hook(before);
    damaged
}

async fn both(flips: u64, cuts: u64, rng: &mut fastrand::Rng) -> Result<Damaged> {
    let mut damaged = Damaged::default();
    let closed = closed(rng).await.context("could not make a file")?;
    let open = open(rng).await.context("could not make a log")?;
    for image in [&closed, &open] {
        check(image, None, &mut damaged).await?;
        // The log is smaller, and has checksums of its own.
        let part = if image.log.is_some() { 3 } else { 1 };
        let length = image.log.as_ref().unwrap_or(&image.file).len();
        for _ in 0..flips / part {
            let damage = Damage::Flip { byte: rng.usize(..length), bit: rng.u8(..8) };
            check(image, Some(damage), &mut damaged).await?;
            damaged.flips += 1;
        }
        for _ in 0..cuts / part {
            // At the end of a page, beside it, or anywhere.
            let page = rng.usize(..=length / PAGE) * PAGE;
            let near = [page, page.saturating_sub(1), page + 1, rng.usize(..length / 64) * 64];
            // Nothing at all is a new file, and so is a single byte for SQLite.
            let cut = rng.choice(near).unwrap_or_default().clamp(2, length - 1);
            check(image, Some(Damage::Cut { length: cut }), &mut damaged).await?;
            damaged.cuts += 1;
        }
    }
    without_sums(closed, flips / 3, rng, &mut damaged).await?;
    Ok(damaged)
}

/// The same file as one would have it whose rows have no sums.
async fn without_sums(
    mut image: Image,
    flips: u64,
    rng: &mut fastrand::Rng,
    damaged: &mut Damaged,
) -> Result<()> {
    let folder = TempDir::new()?;
    write(&image, None, folder.path())?;
    let connection = rusqlite::Connection::open(folder.path().join(FILE))?;
    connection.execute("UPDATE sessions SET sum = NULL", ())?;
    connection.close().map_err(|(_, error)| error)?;
    image.file = fs::read(folder.path().join(FILE))?;
    let mut seen = Damaged::default();
    for _ in 0..flips {
        let damage = Damage::Flip { byte: rng.usize(..image.file.len()), bit: rng.u8(..8) };
        check(&image, Some(damage), &mut seen).await?;
    }
    let wrong = seen.broken.iter().filter(|line| line.ends_with(WRONG)).count();
    damaged.flips_without_sums = flips;
    damaged.wrong_without_sums = wrong;
    if wrong == 0 {
        damaged.broken.push("crash: without sums nothing is wrong, so nothing is shown".to_owned());
    }
    Ok(())
}

/// All sessions in the file, and no log.
async fn closed(rng: &mut fastrand::Rng) -> Result<Image> {
    let folder = TempDir::new()?;
    let mut known = BTreeMap::new();
    let store = Sqlite::open(folder.path()).await?;
    for _ in 0..SESSIONS {
        create(&store, 0, rng, &mut known).await?;
    }
    for _ in 0..SESSIONS {
        change(&store, 0, rng, &mut known).await?;
    }
    close(store, folder.path()).await?;
    Ok(Image { file: fs::read(folder.path().join(FILE))?, log: None, known })
}

/// Half of the sessions in the file, and what happened since in the log.
async fn open(rng: &mut fastrand::Rng) -> Result<Image> {
    let folder = TempDir::new()?;
    let mut known = BTreeMap::new();
    let store = Sqlite::open(folder.path()).await?;
    for _ in 0..SESSIONS / 2 {
        create(&store, 0, rng, &mut known).await?;
    }
    close(store, folder.path()).await?;
    let store = Sqlite::open(folder.path()).await?;
    for number in 1..=IN_LOG {
        if number % 3 == 0 {
            create(&store, number, rng, &mut known).await?;
        } else {
            change(&store, number, rng, &mut known).await?;
        }
    }
    let (file, log) = (fs::read(folder.path().join(FILE))?, fs::read(folder.path().join(LOG))?);
    drop(store);
    Ok(Image { file, log: Some(log), known })
}

/// Returns when the store's threads have ended, the last of which copies the log to the file.
async fn close(store: Sqlite, folder: &Path) -> Result<()> {
    drop(store);
    let gone = async {
        while folder.join(LOG).exists() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, gone).await.context("the store does not close")
}

fn record(rng: &mut fastrand::Rng) -> Record {
    let now = SystemClock.now();
    let mut key = [0; 32];
    rng.fill(&mut key);
    let user =
        rng.bool().then(|| User::new(format!("user{}", rng.u8(..)), 1, Timestamp::from_millis(7)));
    let header = Header {
        format: FORMAT,
        key: Key::from_bytes(key),
        created: now,
        idle_deadline: now.after(Duration::from_secs(3600)),
        absolute_deadline: now.after(Duration::from_secs(36_000)),
        idle_timeout: rng.bool().then_some(Duration::from_secs(3600)),
        user,
        epoch: Epoch::from_bits(rng.u64(..)),
        counter: 1,
        ops: [Op::from_bits(rng.u64(..))].into_iter().collect(),
    };
    Record { header, data: data(rng) }
}

fn data(rng: &mut fastrand::Rng) -> Map<String, Value> {
    // One in ten goes on to pages of its own.
    let length = if rng.u8(..10) == 0 { rng.usize(3000..12_000) } else { rng.usize(..300) };
    let text: String = std::iter::repeat_with(|| rng.alphanumeric()).take(length).collect();
    [("views".to_owned(), rng.u32(..).into()), ("text".to_owned(), text.into())]
        .into_iter()
        .collect()
}

async fn create(
    store: &Sqlite,
    number: usize,
    rng: &mut fastrand::Rng,
    known: &mut BTreeMap<[u8; 32], Known>,
) -> Result<()> {
    let record = Arc::new(record(rng));
    let version = store.commit(Write::Create { record: &record }, SystemClock.now()).await?;
    let key = key_bytes(&record.header.key);
    known.entry(key).or_default().states.push((number, Loaded { record, version }));
    Ok(())
}

/// A commit to one of the sessions, or a touch.
async fn change(
    store: &Sqlite,
    number: usize,
    rng: &mut fastrand::Rng,
    known: &mut BTreeMap<[u8; 32], Known>,
) -> Result<()> {
    let at = rng.usize(..known.len());
    let states = known.values_mut().nth(at).map(|known| &mut known.states);
    let states = states.context("there is no session")?;
    let (_, base) = states.last().cloned().context("a session has no state")?;
    let mut next = (*base.record).clone();
    let now = SystemClock.now();
    let version = if rng.u8(..4) == 0 {
        let idle_deadline = next.header.idle_deadline.after(Duration::from_secs(60));
        next.header.idle_deadline = idle_deadline;
        store.touch(&base.record.header.key, idle_deadline, now).await?;
        // The version after a touch is the store's affair.
        let found = store.load(&base.record.header.key, now).await?.live();
        found.context("a touched session is gone")?.version
    } else {
        next.data = data(rng);
        next.header.counter += 1;
        next.header.ops.push(Op::from_bits(rng.u64(..)));
        let record = Arc::new(next.clone());
        store.commit(Write::Replace { base: &base, record: &record }, now).await?
    };
    if number == 0 {
        states.clear();
    }
    states.push((number, Loaded { record: Arc::new(next), version }));
    Ok(())
}

fn key_bytes(key: &Key) -> [u8; 32] {
    *key.as_bytes()
}

/// Opens the files as they are, or damaged, and looks at each session.
async fn check(image: &Image, damage: Option<Damage>, damaged: &mut Damaged) -> Result<()> {
    let folder = TempDir::new().context("could not create a folder for a damaged file")?;
    write(image, damage, folder.path()).context("could not write a damaged file")?;
    let in_log = if image.log.is_some() { " of the log" } else { "" };
    let story = format!("crash, {damage:?}{in_log}");
    let panics = PANICS.load(Ordering::SeqCst);
    let right = damaged.right;
    let opened = timeout(PATIENCE, Sqlite::open(folder.path())).await;
    match opened {
        Err(_) => damaged.broken.push(format!("{story}: it does not open and does not say why")),
        Ok(Err(error)) if damage.is_none() => bail!("a whole file is refused: {error}"),
        Ok(Err(_)) => damaged.refused += 1,
        Ok(Ok(store)) => {
            let seen = timeout(PATIENCE, look(&store, image)).await;
            match seen {
                Err(_) => damaged.broken.push(format!("{story}: a load does not end")),
                Ok(seen) => judge(&seen, image, folder.path(), &story, damaged),
            }
            // What is written next must not turn an error into something wrong.
            let _ = timeout(
                PATIENCE,
                create(&store, 0, &mut fastrand::Rng::with_seed(0), &mut BTreeMap::new()),
            )
            .await;
            if let Ok(seen) = timeout(PATIENCE, look(&store, image)).await {
                judge(&seen, image, folder.path(), &story, damaged);
            }
        }
    }
    if PANICS.load(Ordering::SeqCst) != panics {
        damaged.broken.push(format!("{story}: a panic"));
    }
    if damage.is_none() && damaged.right - right != 2 * image.known.len() as u64 {
        bail!("a whole file is not read: {damaged:?}");
    }
    Ok(())
}

fn write(image: &Image, damage: Option<Damage>, folder: &Path) -> Result<()> {
    let (mut file, mut log) = (image.file.clone(), image.log.clone());
    let bytes = log.as_mut().unwrap_or(&mut file);
    match damage {
        Some(Damage::Flip { byte, bit }) => {
            if let Some(byte) = bytes.get_mut(byte) {
                *byte ^= 1 << bit;
            }
        }
        Some(Damage::Cut { length }) => bytes.truncate(length),
        None => {}
    }
    fs::write(folder.join(FILE), file)?;
    if let Some(log) = log {
        fs::write(folder.join(LOG), log)?;
    }
    Ok(())
}

/// What a load of each session came to; none is an error.
async fn look(store: &Sqlite, image: &Image) -> Vec<Option<Option<Loaded>>> {
    let now: Timestamp = SystemClock.now();
    let mut seen = Vec::new();
    for key in image.known.keys() {
        seen.push(store.load(&Key::from_bytes(*key), now).await.ok().map(Lookup::live));
    }
    seen
}

fn judge(
    seen: &[Option<Option<Loaded>>],
    image: &Image,
    folder: &Path,
    story: &str,
    damaged: &mut Damaged,
) {
    let mut missing = 0;
    // The newest commit that is there, and the oldest that is not.
    let (mut there, mut back) = (0, usize::MAX);
    for (known, seen) in image.known.values().zip(seen) {
        let Some(seen) = seen else {
            damaged.told += 1;
            continue;
        };
        let Some(seen) = seen else {
            match known.states.first() {
                Some((number, _)) if *number > 0 => back = back.min(*number),
                _ => missing += 1,
            }
            continue;
        };
        let Some(at) = known.states.iter().position(|(_, state)| state == seen) else {
            damaged.broken.push(format!("{story}: {WRONG}"));
            continue;
        };
        damaged.right += 1;
        there = there.max(known.states.get(at).map_or(0, |(number, _)| *number));
        back = back.min(known.states.get(at + 1).map_or(usize::MAX, |(number, _)| *number));
    }
    if back < usize::MAX {
        damaged.taken_back += 1;
    }
    if back <= there {
        let what = format!("commit {back} of the log is gone, and {there} is there");
        damaged.broken.push(format!("{story}: {what}"));
    }
    if missing > 0 {
        damaged.missing += missing;
        if is_whole(folder) {
            let what =
                format!("{missing} sessions are missing in a file that SQLite takes for whole");
            damaged.broken.push(format!("{story}: {what}"));
        }
    }
}

/// What SQLite says of a file.
fn is_whole(folder: &Path) -> bool {
    let check = || -> rusqlite::Result<String> {
        let connection = rusqlite::Connection::open(folder.join(FILE))?;
        connection.query_row("PRAGMA integrity_check(1)", (), |row| row.get(0))
    };
    check().is_ok_and(|said| said == "ok")
}
