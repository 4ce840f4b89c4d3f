//! A proxy between an app and its server that passes all on, until it is told to do wrong.
//!
//! It knows no protocol. To it a request is what a client sends in one go, and an answer whatever
//! the server sends after that. So on a connection that many requests share, a fault that meets one
//! of them meets those beside it, as it is with real networks.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::{
    io::AsyncWriteExt as _,
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    select,
    sync::watch,
    task::JoinSet,
    time::sleep,
    try_join,
};

use crate::{
    passing::{self, Reader},
    port::Port,
};

/// After the first bytes of an answer the rest is waited for so long before the connection is cut:
/// some protocols confirm a request before they serve it.
const REST_OF_ANSWER: Duration = Duration::from_millis(5);

/// Between two bytes that drip.
const DRIP: Duration = Duration::from_millis(1);

/// Before a port that is not free yet is tried again.
const PAUSE: Duration = Duration::from_millis(5);

/// What is done to a request, or to the connection that it comes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is passed on so much later.
    Latency(Duration),
    /// It is taken, and nothing is passed in either direction until the fault ends. Then all is:
    /// it comes late, and perhaps when nobody waits for it any more.
    Stall,
    /// It is passed on. Its answer, and all that follows, is held until the fault ends.
    Silence,
    /// The connection is cut, and the request is not passed on.
    CutBefore,
    /// The connection is cut after half of it was passed on.
    CutWithin,
    /// It is passed on, and the connection is cut when the answer comes: it was done, and who sent
    /// it cannot know.
    CutAfter,
    /// It is passed on, and both connections are reset at once.
    Reset,
    /// It is passed on, and what was to be the answer is the end of the stream. The client may go on
    /// sending.
    HalfClose,
    /// It and its answer are passed on byte by byte.
    Drip,
    /// All connections end, and further ones are refused.
    Refuse,
}

impl Fault {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Latency(_) => "latency",
            Self::Stall => "stall",
            Self::Silence => "silence",
            Self::CutBefore => "cut before",
            Self::CutWithin => "cut within",
            Self::CutAfter => "cut after",
            Self::Reset => "reset",
            Self::HalfClose => "half-close",
            Self::Drip => "drip",
            Self::Refuse => "refuse",
        }
    }
}

/// Passes on, rightly or wrongly, until it is dropped.
#[derive(Debug)]
pub struct Nemesis {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    _serving: JoinSet<()>,
}

impl Nemesis {
    /// Listens on a free port, and passes on what comes there to the server.
    ///
    /// # Errors
    /// It could not listen.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let port = Port::free()?;
        let address = port.address;
        let listener = TcpListener::bind(address).await;
        let listener = listener.context("could not listen between app and server")?;
        let shared = Arc::new(Shared {
            server,
            mode: watch::Sender::default(),
            requests: AtomicU64::new(0),
            met: Mutex::default(),
        });
        let mut serving = JoinSet::new();
        serving.spawn(serve(Arc::clone(&shared), listener, port));
        Ok(Self { address, shared, _serving: serving })
    }

    /// From now on this fault meets the next request, and then each `every`th.
    pub fn begin(&self, fault: Fault, every: u64) {
        self.shared.requests.store(0, Ordering::Relaxed);
        let begin =
            |mode: &mut Mode| *mode = Mode { fault: Some((fault, every.max(1))), ..mode.next() };
        self.shared.mode.send_modify(begin);
    }

    /// From now on all is passed on, also what was held.
    pub fn end(&self) {
        self.shared.mode.send_modify(|mode| *mode = mode.next());
    }

    /// How many requests each fault met; of [`Fault::Refuse`], how many connections it ended.
    #[must_use]
    pub fn met(&self) -> BTreeMap<&'static str, u64> {
        self.shared.met.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is done until it is told otherwise.
#[derive(Clone, Copy, Debug, Default)]
struct Mode {
    fault: Option<(Fault, u64)>,
    /// Counts the modes, so that a fault knows that its time is over.
    number: u64,
}

impl Mode {
    fn next(self) -> Self {
        Self { fault: None, number: self.number + 1 }
    }

    fn refuses(&self) -> bool {
        matches!(self.fault, Some((Fault::Refuse, _)))
    }
}

#[derive(Debug)]
struct Shared {
    server: SocketAddr,
    mode: watch::Sender<Mode>,
    /// How many there were since the fault began.
    requests: AtomicU64,
    met: Mutex<BTreeMap<&'static str, u64>>,
}

impl Shared {
    /// What meets the request that has come, and the number of the mode that it comes from.
    fn meet(&self) -> Option<(Fault, u64)> {
        let Mode { fault, number } = *self.mode.borrow();
        let (fault, every) = fault?;
        let before = self.requests.fetch_add(1, Ordering::Relaxed);
        before.is_multiple_of(every).then(|| {
            self.count(fault);
            (fault, number)
        })
    }

    fn count(&self, fault: Fault) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        *met.entry(fault.name()).or_default() += 1;
    }

    fn is_over(&self, number: u64) -> bool {
        self.mode.borrow().number != number
    }

    /// Returns when the mode of this number has ended.
    async fn until_over(&self, number: u64) {
        // The sender is ours, so it is there.
        let _ = self.mode.subscribe().wait_for(|mode| mode.number != number).await;
    }
}

/// Serves connections, and refuses them as long as it is told to.
async fn serve(shared: Arc<Shared>, mut listener: TcpListener, port: Port) {
    let mut mode = shared.mode.subscribe();
    loop {
        select! {
            () = passing::accept(&listener, |client| connect(client, Arc::clone(&shared))) => {}
            // All connections end with what accepted them.
            _ = mode.wait_for(Mode::refuses) => {}
        }
        drop(listener);
        let _ = mode.wait_for(|mode| !mode.refuses()).await;
        listener = loop {
            match TcpListener::bind(port.address).await {
                Ok(listener) => break listener,
                Err(_) => sleep(PAUSE).await,
            }
        };
    }
}

async fn connect(mut client: TcpStream, shared: Arc<Shared>) -> io::Result<()> {
    let connection = Connection { shared, answers: Mutex::new(Answers::Pass) };
    let mut server = passing::connect(&client, connection.shared.server).await?;
    // Halves that are borrowed: where owned ones are dropped a stream ends in order, and none could
    // be reset.
    let (from_client, to_client) = client.split();
    let (from_server, to_server) = server.split();
    try_join!(
        connection.requests(from_client, to_server),
        connection.answers(from_server, to_client)
    )?;
    Ok(())
}

/// What is done with answers on one connection, since a fault met a request on it.
#[derive(Clone, Copy, Debug)]
enum Answers {
    Pass,
    /// Held until the mode of this number is over.
    Hold(u64),
    /// Byte by byte, until then.
    Drip(u64),
    Cut,
    Drop,
}

#[derive(Debug)]
struct Connection {
    shared: Arc<Shared>,
    answers: Mutex<Answers>,
}

impl Connection {
    async fn requests(&self, from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut from = Reader::new(from);
        loop {
            let bytes = from.read().await?;
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            match self.shared.meet() {
                // One that refuses ends this connection in a moment.
                None | Some((Fault::Refuse, _)) => to.write_all(bytes).await?,
                Some((Fault::Latency(time), _)) => {
                    sleep(time).await;
                    to.write_all(bytes).await?;
                }
                Some((Fault::Stall, number)) => {
                    self.answer_as(Answers::Hold(number));
                    self.shared.until_over(number).await;
                    to.write_all(bytes).await?;
                }
                Some((Fault::Silence, number)) => {
                    self.answer_as(Answers::Hold(number));
                    to.write_all(bytes).await?;
                }
                Some((Fault::CutBefore, _)) => return Err(cut()),
                Some((Fault::CutWithin, _)) => {
                    let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                    to.write_all(half).await?;
                    return Err(cut());
                }
                Some((Fault::CutAfter, _)) => {
                    self.answer_as(Answers::Cut);
                    to.write_all(bytes).await?;
                }
                Some((Fault::Reset, _)) => {
                    to.write_all(bytes).await?;
                    to.as_ref().set_zero_linger()?;
                    from.reset_at_end()?;
                    return Err(cut());
                }
                Some((Fault::HalfClose, _)) => {
                    self.answer_as(Answers::Drop);
                    to.write_all(bytes).await?;
                }
                Some((Fault::Drip, number)) => {
                    self.answer_as(Answers::Drip(number));
                    self.drip(bytes, &mut to, number).await?;
                }
            }
        }
    }

    async fn answers(&self, from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut from = Reader::new(from);
        loop {
            let bytes = from.read().await?;
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            let answers = *self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            match answers {
                Answers::Pass => to.write_all(bytes).await?,
                Answers::Hold(number) => {
                    self.shared.until_over(number).await;
                    to.write_all(bytes).await?;
                }
                Answers::Drip(number) => self.drip(bytes, &mut to, number).await?,
                Answers::Cut => {
                    sleep(REST_OF_ANSWER).await;
                    return Err(cut());
                }
                Answers::Drop => to.shutdown().await?,
            }
        }
    }

    fn answer_as(&self, answers: Answers) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    /// Passes bytes on one by one, and at once what is left of them when the mode is over.
    async fn drip(&self, bytes: &[u8], to: &mut WriteHalf<'_>, number: u64) -> io::Result<()> {
        let mut left = bytes;
        while let Some((byte, rest)) = left.split_first() {
            if self.shared.is_over(number) {
                break;
            }
            to.write_all(&[*byte]).await?;
            sleep(DRIP).await;
            left = rest;
        }
        to.write_all(left).await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.shared.mode.borrow().refuses() {
            self.shared.count(Fault::Refuse);
        }
    }
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

#[cfg(test)]
mod tests;
