//! Connections: a bounded number, one statement at a time on each, made again where they end.
//!
//! A statement that was sent is waited for by a task of its own, however soon its caller goes away:
//! a connection is free again when its answer has come, and never before. So no caller waits behind
//! a statement that somebody gave up, and none can be handed the answer to it. A connection whose
//! answer does not come within [`ANSWER_TIME`] is closed.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};
use tokio_postgres::{Client, NoTls, Row, Statement, error::SqlState};

use super::{
    failure::{Failure, Unserved},
    place::{PostgresConfig, Security},
    rows::Param,
    statements::{KINDS, Kind, Statements},
    tls,
};
use crate::detach;

/// How long the answer to a statement is waited for. The server is told to end it sooner.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(5);

/// The same for a script, whose statements have time of their own.
const SCRIPT_TIME: Duration = Duration::from_secs(120);

/// What the server is told about each connection, in milliseconds. Who waits for a row's lock is
/// told before the request's own deadline, by default half a second for a call, and with proof that
/// nothing was changed. Neither a role's nor a database's default of another isolation counts, under
/// which writes that meet would fail. Each statement finds its rows by an index, also in a plan that was
/// made while the table was empty, and is planned once.
pub(super) const SETTINGS: &str = "-c statement_timeout=4000 -c lock_timeout=400 \
                                   -c default_transaction_isolation=read\\ committed \
                                   -c enable_seqscan=off -c plan_cache_mode=force_generic_plan";

/// How many calls may wait for a connection; beyond it an answer that comes at once is worth more
/// than one that comes late.
pub(super) const WAITING_MAX: usize = 2048;

pub(super) struct Pool {
    config: PostgresConfig,
    statements: Statements,
    tls: Option<tls::Connector>,
    /// One permit for each connection there is or may be.
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    idle: Mutex<Vec<Connection>>,
    /// Connections of an earlier one are closed when they are met: the server that they lead to has
    /// become a standby.
    generation: AtomicU64,
}

struct Connection {
    client: Client,
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
        if let Some(connection) = self.connection.take()
            && self.pool.is_good(&connection)
        {
            self.pool.idle().push(connection);
        }
    }
}

impl Pool {
    pub(super) fn new(config: PostgresConfig) -> Result<Arc<Self>, super::PostgresError> {
        let tls = match &config.security {
            Security::Plain => None,
            security => Some(tls::connector(security)?),
        };
        Ok(Arc::new(Self {
            statements: Statements::new(&config.table_sql()),
            tls,
            permits: Arc::new(Semaphore::new(config.pool)),
            waiting: AtomicUsize::new(0),
            idle: Mutex::default(),
            generation: AtomicU64::new(0),
            config,
        }))
    }

    pub(super) fn config(&self) -> &PostgresConfig {
        &self.config
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
            // Not given back: a script that failed may have left a transaction open.
            let ran = timeout(SCRIPT_TIME, connection.client.batch_execute(&sql)).await;
            ran.map_err(|_| Failure::Silent)?.map_err(Failure::Sent)
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
        let work = async move {
            let Some(connection) = &lease.connection else { return Err(Failure::Silent) };
            let params: [(&(dyn tokio_postgres::types::ToSql + Sync), _); 1] =
                [(&param, tokio_postgres::types::Type::TEXT)];
            let rows = timeout(ANSWER_TIME, connection.client.query_typed(sql, &params)).await;
            rows.map_err(|_| Failure::Silent)?.map_err(Failure::Sent)
        };
        detach::run_to_end(work).await
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

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle();
        idle.retain(|connection| self.is_good(connection));
        idle.pop()
    }

    fn is_good(&self, connection: &Connection) -> bool {
        !connection.client.is_closed()
            && connection.generation == self.generation.load(Ordering::Acquire)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let generation = self.generation.load(Ordering::Acquire);
        let connect = async {
            match &self.tls {
                None => {
                    let (client, connection) = self.config.connect.connect(NoTls).await?;
                    detach::spawn(async move { drop(connection.await) });
                    Ok(client)
                }
                Some(tls) => {
                    let (client, connection) = self.config.connect.connect(tls.clone()).await?;
                    detach::spawn(async move { drop(connection.await) });
                    Ok(client)
                }
            }
        };
        let connected = timeout(self.config.connect_time(), connect).await;
        let client = match connected {
            Ok(Ok(client)) => client,
            Ok(Err(error)) => return Err(Failure::NotConnected(error)),
            Err(_) => return Err(Unserved::NoConnectionInTime.into()),
        };
        Ok(Connection { client, prepared: [const { None }; KINDS], generation })
    }
}

impl Lease {
    async fn ask(mut self, kind: Kind, params: Vec<Param>) -> Result<Vec<Row>, Failure> {
        let answer = timeout(ANSWER_TIME, self.query(kind, &params)).await;
        let answer = answer.unwrap_or(Err(Failure::Silent));
        if let Err(failure) = &answer {
            self.judge(failure);
        }
        answer
    }

    async fn query(&mut self, kind: Kind, params: &[Param]) -> Result<Vec<Row>, Failure> {
        let statements = &self.pool.statements;
        let Some(Connection { client, prepared, .. }) = &mut self.connection else {
            return Err(Failure::Silent);
        };
        let (sql, types) = (statements.sql(kind), kind.types());
        if self.pool.config.pooled {
            // What is prepared stays with one of the server's connections, and the next
            // transaction may be on another.
            let typed: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), _)> =
                params.iter().zip(types).map(|(param, of)| (param as _, of.clone())).collect();
            return client.query_typed(sql, &typed).await.map_err(Failure::Sent);
        }
        let Some(place) = prepared.get_mut(kind as usize) else { return Err(Failure::Silent) };
        let statement = match place {
            Some(statement) => statement,
            None => {
                let statement = client.prepare_typed(sql, types).await;
                place.insert(statement.map_err(Failure::NotPrepared)?)
            }
        };
        let params: Vec<&(dyn tokio_postgres::types::ToSql + Sync)> =
            params.iter().map(|param| param as _).collect();
        client.query(statement, &params).await.map_err(Failure::Sent)
    }

    /// Closes the connection if it will not do any more.
    fn judge(&mut self, failure: &Failure) {
        match failure.code() {
            Some(code) if *code == SqlState::READ_ONLY_SQL_TRANSACTION => {
                self.pool.generation.fetch_add(1, Ordering::AcqRel);
            }
            // What was prepared is no longer what the table is.
            Some(code) if *code == SqlState::FEATURE_NOT_SUPPORTED => self.connection = None,
            Some(_) => {}
            None => self.connection = None,
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
