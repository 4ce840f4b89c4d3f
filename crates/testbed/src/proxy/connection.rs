//! One connection: what the client sends, and what the server answers.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
    try_join,
};

use super::{
    Shared,
    fault::Fault,
    frames::{Frames, NotHttp2},
};

const BUFFER_BYTES: usize = 64 * 1024;

/// How many answers may be on their way.
const ANSWERS_MAX: usize = 4096;

/// After the first bytes of an answer the rest is waited for so long before the connection is cut:
/// some protocols confirm a request before they serve it.
const REST_OF_ANSWER: Duration = Duration::from_millis(5);

/// Between two bytes that drip.
const DRIP: Duration = Duration::from_millis(1);

/// What is done with answers, since a fault met a request.
#[derive(Clone, Copy, Debug)]
enum Answers {
    Pass,
    /// Held until the mode of this number is over.
    Hold(u64),
    /// Byte by byte, until then.
    Drip(u64),
    Cut,
    Drop,
    /// The next one comes so much later.
    Late(Duration),
    /// The one before comes once more before the next one.
    Again,
}

#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    answers: Mutex<Answers>,
    /// Whether something was sent since the last answer.
    under_way: AtomicBool,
    era: u64,
}

impl Connection {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let answers = Mutex::new(Answers::Pass);
        let era = shared.era.load(Ordering::SeqCst);
        Self { shared, answers, under_way: AtomicBool::new(false), era }
    }

    pub(super) fn server(&self) -> SocketAddr {
        self.shared.server
    }

    pub(super) async fn serve(
        &self,
        client: &mut TcpStream,
        server: &mut TcpStream,
    ) -> io::Result<()> {
        // Halves that are borrowed: where owned ones are dropped a stream ends in order, and none
        // could be reset.
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let (sent, arriving) = mpsc::channel(ANSWERS_MAX);
        try_join!(
            self.requests(Reader::new(from_client), to_server),
            self.answers(Reader::new(from_server), Way { shared: &self.shared, sent }),
            arrive(arriving, to_client)
        )?;
        Ok(())
    }

    async fn requests(&self, mut from: Reader<'_>, mut to: WriteHalf<'_>) -> io::Result<()> {
        let mut frames = Frames::default();
        loop {
            let bytes = from.read().await?;
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            if self.is_forgotten() {
                self.lose(bytes, &mut frames);
                continue;
            }
            self.count(bytes, &mut frames);
            match self.shared.faults.meet() {
                // One that refuses ends this connection in a moment.
                None | Some((Fault::Refuse, _)) => {}
                Some((Fault::Latency(time), _)) => sleep(time).await,
                Some((Fault::Stall, number)) => {
                    self.answer_as(Answers::Hold(number));
                    self.shared.faults.until_over(number).await;
                }
                Some((Fault::Silence, number)) => self.answer_as(Answers::Hold(number)),
                Some((Fault::CutBefore, _)) => return Err(cut()),
                Some((Fault::CutWithin, _)) => {
                    let half = bytes.get(..bytes.len() / 2).unwrap_or_default();
                    to.write_all(half).await?;
                    return Err(cut());
                }
                Some((Fault::CutAfter, _)) => self.answer_as(Answers::Cut),
                Some((Fault::Reset, _)) => {
                    to.write_all(bytes).await?;
                    to.as_ref().set_zero_linger()?;
                    from.reset_at_end()?;
                    return Err(cut());
                }
                Some((Fault::HalfClose, _)) => self.answer_as(Answers::Drop),
                Some((Fault::Drip, number)) => {
                    self.answer_as(Answers::Drip(number));
                    let mut left = bytes;
                    while let Some((byte, rest)) = left.split_first() {
                        if self.shared.faults.is_over(number) {
                            break;
                        }
                        to.write_all(&[*byte]).await?;
                        sleep(DRIP).await;
                        left = rest;
                    }
                    to.write_all(left).await?;
                    continue;
                }
                Some((Fault::Late(least, most), _)) => {
                    let late = self.shared.faults.between(least, most);
                    self.answer_as(Answers::Late(late));
                }
                Some((Fault::Again, _)) => self.answer_as(Answers::Again),
            }
            to.write_all(bytes).await?;
        }
    }

    async fn answers(&self, mut from: Reader<'_>, mut to: Way<'_>) -> io::Result<()> {
        let mut before = Vec::new();
        loop {
            let bytes = from.read().await?;
            if self.is_forgotten() {
                // Not even that the server has closed it arrives.
                std::future::pending::<()>().await;
            }
            if bytes.is_empty() {
                return to.end().await;
            }
            self.under_way.store(false, Ordering::SeqCst);
            match self.next_answer() {
                Answers::Pass => {}
                Answers::Hold(number) => self.shared.faults.until_over(number).await,
                Answers::Drip(number) => {
                    let mut left = bytes;
                    while let Some((byte, rest)) = left.split_first() {
                        if self.shared.faults.is_over(number) {
                            break;
                        }
                        to.pass(vec![*byte]).await?;
                        sleep(DRIP).await;
                        left = rest;
                    }
                    to.pass(left.to_vec()).await?;
                    continue;
                }
                Answers::Cut => {
                    sleep(REST_OF_ANSWER).await;
                    return Err(cut());
                }
                Answers::Drop => {
                    to.end().await?;
                    continue;
                }
                Answers::Late(time) => sleep(time).await,
                Answers::Again => to.pass(std::mem::take(&mut before)).await?,
            }
            before.clear();
            before.extend_from_slice(bytes);
            to.pass(bytes.to_vec()).await?;
        }
    }

    fn is_forgotten(&self) -> bool {
        self.era != self.shared.era.load(Ordering::SeqCst)
    }

    fn lose(&self, bytes: &[u8], frames: &mut Frames) {
        if frames.calls_in(bytes).is_ok_and(|calls| calls == 0) {
            return;
        }
        let mut lost = self.shared.lost.lock().unwrap_or_else(PoisonError::into_inner);
        lost.push(bytes.to_vec());
    }

    /// Counts what a client sends, before it is passed on.
    fn count(&self, bytes: &[u8], frames: &mut Frames) {
        if !self.under_way.swap(true, Ordering::SeqCst) {
            self.shared.trips.fetch_add(1, Ordering::SeqCst);
        }
        match frames.calls_in(bytes) {
            Ok(n) => _ = self.shared.calls.fetch_add(n, Ordering::SeqCst),
            Err(NotHttp2) => self.shared.foreign.store(true, Ordering::SeqCst),
        }
    }

    fn answer_as(&self, answers: Answers) {
        *self.answers.lock().unwrap_or_else(PoisonError::into_inner) = answers;
    }

    /// What is done with the answer that has come.
    fn next_answer(&self) -> Answers {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let now = *answers;
        if matches!(now, Answers::Late(_) | Answers::Again) {
            *answers = Answers::Pass;
        }
        now
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.shared.faults.refuses() {
            self.shared.faults.count(Fault::Refuse);
        }
    }
}

fn cut() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}

/// The way of answers to the client, which takes as long as the distance is.
struct Way<'a> {
    shared: &'a Shared,
    sent: mpsc::Sender<(Instant, Vec<u8>)>,
}

impl Way<'_> {
    async fn pass(&mut self, answer: Vec<u8>) -> io::Result<()> {
        if answer.is_empty() { Ok(()) } else { self.send(answer).await }
    }

    /// Ends the stream behind what is on its way.
    async fn end(&mut self) -> io::Result<()> {
        self.send(Vec::new()).await
    }

    async fn send(&mut self, answer: Vec<u8>) -> io::Result<()> {
        let distance = Duration::from_micros(self.shared.distance.load(Ordering::SeqCst));
        let sent = self.sent.send((Instant::now() + distance, answer)).await;
        sent.map_err(|_| cut())
    }
}

/// Hands over what was sent when it is time. What is empty is the end.
async fn arrive(
    mut arriving: mpsc::Receiver<(Instant, Vec<u8>)>,
    mut to: WriteHalf<'_>,
) -> io::Result<()> {
    while let Some((until, answer)) = arriving.recv().await {
        // The runtime's timer would make a millisecond of nothing.
        if until > Instant::now() {
            sleep_until(until).await;
        }
        if answer.is_empty() {
            to.shutdown().await?;
        } else {
            to.write_all(&answer).await?;
        }
    }
    Ok(())
}

/// What one end sends, as it comes.
#[derive(Debug)]
struct Reader<'a> {
    from: ReadHalf<'a>,
    buffer: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn new(from: ReadHalf<'a>) -> Self {
        Self { from, buffer: vec![0; BUFFER_BYTES] }
    }

    /// What was sent in one go. Nothing, when nothing more will come.
    async fn read(&mut self) -> io::Result<&[u8]> {
        let n = self.from.read(&mut self.buffer).await?;
        Ok(self.buffer.get(..n).unwrap_or_default())
    }

    /// Makes the end of this connection a reset.
    fn reset_at_end(&self) -> io::Result<()> {
        self.from.as_ref().set_zero_linger()
    }
}
