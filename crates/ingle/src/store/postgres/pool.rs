//! A bounded number of connections, one statement at a time on each, made again where they end.
//!
//! A statement that was sent is waited for by a task of its own, however soon its caller goes away:
//! a connection is free again when its answer has come, and never before. So no caller waits behind
//! a statement that somebody gave up, and none can be handed the answer to it. A connection whose
//! answer does not come within [`ANSWER_TIME`] is closed at once, and another may be made in its place.
//!
//! `deadpool-postgres` would not do in its place: its connections are free as soon as they are dropped,
//! whatever was sent on them (`recycle` looks at `is_closed` alone), its queue has no bound, and a
//! caller that goes away breaks off a login. With what that takes around it, it would save a semaphore
//! and a list. An app that has such a pool can lend it (`deadpool.rs`).

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{error::Elapsed, timeout},
};
use tokio_postgres::{Row, Statement, error::SqlState};

use super::{
    codec::Param,
    config::PostgresConfig,
    connect::{ANSWER_TIME, Connector},
    error::{Failure, Names, Unserved},
    link::{Link, Source},
    listen::Ends,
    statements::{KINDS, Kind, LISTEN, Statements},
};
use crate::{
    detach,
    store::{OpenError, floor::pulse::Pulse},
};

/// How long a script is waited for, whose statements have time of their own.
const SCRIPT_TIME: Duration = Duration::from_secs(120);

/// How many calls may wait for a connection; beyond it an answer that comes at once is worth more
/// than one that comes late.
pub(super) const WAITING_MAX: usize = 2048;

pub(super) struct Pool {
    config: PostgresConfig,
    names: Names,
    statements: Statements,
    source: Arc<dyn Source>,
    /// One permit for each connection there is or may be.
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    idle: Mutex<Vec<Connection>>,
    /// Connections of an earlier one are closed when they are met: the server that they lead to has
    /// become a standby, or this process stood still.
    generation: AtomicU64,
    pulse: Pulse,
    /// How often it had stood still when that was looked at last.
    stops: AtomicU64,
}

struct Connection {
    link: Box<dyn Link>,
    /// The statements that the server has parsed and planned for this connection.
    prepared: [Option<Statement>; KINDS],
    generation: u64,
}

/// A connection in use. When it is dropped the connection is free again.
struct Lease {
    connection: Option<Connection>,
    pool: Arc<Pool>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !self.pool.is_good(&connection) {
            connection.link.close();
        } else if !self.pool.source.takes_back() {
            self.pool.idle().push(connection);
        }
    }
}

impl Pool {
    /// For an opening: reads files of certificates, and connects to nothing yet.
    pub(super) fn new(config: PostgresConfig) -> Result<Arc<Self>, OpenError> {
        config.check()?;
        let source = match &config.source {
            Some(source) => Arc::clone(source),
            None => Arc::new(Connector::new(&config)?),
        };
        Ok(Arc::new(Self {
            names: config.names(),
            statements: Statements::new(&config.table_sql()),
            source,
            permits: Arc::new(Semaphore::new(config.pool)),
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
            generation: AtomicU64::new(0),
            pulse: Pulse::start(),
            stops: AtomicU64::new(0),
            config,
        }))
    }

    pub(super) fn config(&self) -> &PostgresConfig {
        &self.config
    }

    pub(super) fn names(&self) -> &Names {
        &self.names
    }

    /// Runs a statement once, and returns its rows.
    pub(super) async fn ask(
        self: &Arc<Self>,
        kind: Kind,
        params: Vec<Param>,
    ) -> Result<Vec<Row>, Failure> {
        let lease = self.lease().await?;
        detach::run_to_end(lease.ask(kind, params)).await
    }

    /// The same for who goes on whatever happens, and needs no task beside.
    pub(super) async fn ask_here(
        self: &Arc<Self>,
        kind: Kind,
        params: Vec<Param>,
    ) -> Result<Vec<Row>, Failure> {
        self.lease().await?.ask(kind, params).await
    }

    /// Runs several statements in the simple protocol, for what is not done in passing.
    pub(super) async fn run(self: &Arc<Self>, sql: String) -> Result<(), Failure> {
        let mut lease = self.lease().await?;
        let work = async move {
            let Some(connection) = lease.connection.take() else { return Err(Failure::Silent) };
            let ran = timeout(SCRIPT_TIME, connection.link.client().batch_execute(&sql)).await;
            let Ok(ran) = ran else {
                connection.link.abort();
                return Err(Failure::Silent);
            };
            // Not given back: a script that failed may have left a transaction open.
            connection.link.close();
            ran.map_err(Failure::Sent)
        };
        detach::run_to_end(work).await
    }

    /// Runs one statement that is in no table of ours, with its parameter.
    pub(super) async fn look(
        self: &Arc<Self>,
        sql: &'static str,
        param: String,
    ) -> Result<Vec<Row>, Failure> {
        let lease = self.lease().await?;
        detach::run_to_end(lease.look(sql, param)).await
    }

    /// Begins to listen, on a connection beside the others. None if there is none to listen on.
    pub(super) async fn listen(&self) -> Result<Option<Ends>, Failure> {
        let Some(listening) = self.source.listen() else { return Ok(None) };
        let opened = timeout(self.config.connect_time(), listening).await;
        let (link, hears) = opened.map_err(|_| Unserved::NoConnectionInTime)??;
        let begun = timeout(ANSWER_TIME, link.client().batch_execute(LISTEN)).await;
        let Ok(begun) = begun else {
            link.abort();
            return Err(Failure::Silent);
        };
        begun.map_err(Failure::Sent)?;
        Ok(Some(Ends { hears, _link: link }))
    }

    /// A free connection, or a new one. What waits here has sent nothing yet.
    async fn lease(self: &Arc<Self>) -> Result<Lease, Failure> {
        let permit = {
            let _waiting = Waiting::begin(&self.waiting)?;
            let permit = Arc::clone(&self.permits).acquire_owned().await;
            permit.map_err(|_| Unserved::TooManyWait)?
        };
        if let Some(connection) = self.take_idle() {
            let pool = Arc::clone(self);
            return Ok(Lease { connection: Some(connection), pool, _permit: permit });
        }
        // Goes on without its caller, whose patience may be shorter than it takes to log in.
        let pool = Arc::clone(self);
        detach::run_to_end(async move {
            let connection = Some(pool.connect().await?);
            Ok(Lease { connection, pool, _permit: permit })
        })
        .await
    }

    /// Has every connection closed when it is met: it leads to a server that only reads, or perhaps nowhere.
    pub(super) fn close_all(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn take_idle(&self) -> Option<Connection> {
        let stops = self.pulse.stops();
        if self.stops.swap(stops, Ordering::AcqRel) != stops {
            self.close_all();
        }
        let mut idle = self.idle();
        // They are the store's own: to drop one closes it.
        idle.retain(|connection| self.is_good(connection));
        idle.pop()
    }

    fn is_good(&self, connection: &Connection) -> bool {
        !connection.link.client().is_closed()
            && connection.generation == self.generation.load(Ordering::Acquire)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let generation = self.generation.load(Ordering::Acquire);
        let link = timeout(self.config.connect_time(), self.source.connect()).await;
        let link = link.map_err(|_| Unserved::NoConnectionInTime)??;
        Ok(Connection { link, prepared: [const { None }; KINDS], generation })
    }
}

impl Lease {
    async fn ask(mut self, kind: Kind, params: Vec<Param>) -> Result<Vec<Row>, Failure> {
        let answer = timeout(ANSWER_TIME, self.query(kind, &params)).await;
        self.judged(answer)
    }

    async fn look(mut self, sql: &str, param: String) -> Result<Vec<Row>, Failure> {
        let answer = timeout(ANSWER_TIME, self.query_text(sql, &param)).await;
        self.judged(answer)
    }

    async fn query_text(&self, sql: &str, param: &str) -> Result<Vec<Row>, Failure> {
        let Some(connection) = &self.connection else { return Err(Failure::Silent) };
        let params: [(&(dyn tokio_postgres::types::ToSql + Sync), _); 1] =
            [(&param, tokio_postgres::types::Type::TEXT)];
        connection.link.client().query_typed(sql, &params).await.map_err(Failure::Sent)
    }

    async fn query(&mut self, kind: Kind, params: &[Param]) -> Result<Vec<Row>, Failure> {
        let statements = &self.pool.statements;
        let Some(Connection { link, prepared, .. }) = &mut self.connection else {
            return Err(Failure::Silent);
        };
        let (sql, types) = (statements.sql(kind), kind.types());
        if self.pool.config.pooler {
            // What is prepared stays with one of the server's connections, and the next
            // transaction may be on another.
            let typed: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), _)> =
                params.iter().zip(types).map(|(param, of)| (param as _, of.clone())).collect();
            return link.client().query_typed(sql, &typed).await.map_err(Failure::Sent);
        }
        let Some(prepared) = prepared.get_mut(kind as usize) else { return Err(Failure::Silent) };
        let statement = match prepared {
            Some(statement) => statement,
            None => {
                let statement = link.prepare(sql, types).await;
                prepared.insert(statement.map_err(Failure::NotPrepared)?)
            }
        };
        let params: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            params.iter().map(|param| param as _).collect();
        link.client().query(statement, &params).await.map_err(Failure::Sent)
    }

    /// An answer, or that there was none in time. A connection that will not do any more is closed.
    fn judged(
        &mut self,
        answer: Result<Result<Vec<Row>, Failure>, Elapsed>,
    ) -> Result<Vec<Row>, Failure> {
        let Ok(answer) = answer else {
            if let Some(connection) = self.connection.take() {
                connection.link.abort();
            }
            return Err(Failure::Silent);
        };
        answer.inspect_err(|failure| self.judge(failure))
    }

    /// Closes the connection if it will not do any more.
    fn judge(&mut self, failure: &Failure) {
        let will_do = match failure.code() {
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                self.pool.close_all();
                false
            }
            // What was prepared is no longer what the table is.
            Some(code) => *code != SqlState::FEATURE_NOT_SUPPORTED,
            None => false,
        };
        if !will_do && let Some(connection) = self.connection.take() {
            connection.link.close();
        }
    }
}

/// One who waits, counted.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Result<Self, Unserved> {
        let this = Self(waiting);
        let before = waiting.fetch_add(1, Ordering::Relaxed);
        if before < WAITING_MAX { Ok(this) } else { Err(Unserved::TooManyWait) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("config", &self.config).finish_non_exhaustive()
    }
}
