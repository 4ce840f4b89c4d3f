//! One connection to one server: made, looked at, used by all calls at once, and given up.
//!
//! Many calls are under way on it, and Redis answers in the order in which they were sent. The
//! client beneath gives each answer to whoever sent its command; one that is not waited for any
//! more is read all the same, so a call that was dropped shifts no answer.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, Value, aio::MultiplexedConnection,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    net::TcpStream,
    runtime::Handle,
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{
    failure::{Failure, RedisError, one_line},
    place::RedisConfig,
    tls::Tls,
};

/// How long making a connection may take, its first questions included.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// No call takes longer, whoever made it; the guard of a session gives it far less.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection on which a call waited for so long while no answer came to anybody is given up.
const SILENCE_MAX: Duration = Duration::from_millis(300);

/// How long what is still under way on a connection that was given up may take.
const GRACE: Duration = CALL_TIME_MAX;

/// Finds connections that were dropped without a word, and keeps those open that nobody uses.
const KEEPALIVE: TcpKeepalive =
    TcpKeepalive::new().with_time(Duration::from_secs(30)).with_interval(Duration::from_secs(5));

/// How many commands wait to be written before callers are made to wait.
const COMMANDS_WAITING: usize = 256;

/// What a server says of itself.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) is_cluster: bool,
}

/// An open connection. Clones share it.
#[derive(Clone)]
pub(super) struct Link {
    connection: MultiplexedConnection,
    life: Arc<Life>,
    pub(super) server: Server,
}

struct Life {
    open: AtomicBool,
    /// How many answers have come.
    answers: AtomicU64,
    runtime: Handle,
    driver: std::sync::OnceLock<AbortHandle>,
}

impl Life {
    fn give_up(&self) {
        let was_open = self.open.swap(false, Ordering::Relaxed);
        if let Some(driver) = self.driver.get().filter(|_| was_open) {
            let driver = driver.clone();
            // What others wait for may still come; after that nobody is left who would read it.
            drop(self.runtime.spawn(async move {
                sleep(GRACE).await;
                driver.abort();
            }));
        }
    }
}

impl Link {
    /// Connects, and asks who is there.
    pub(super) async fn open(
        config: &RedisConfig,
        tls: Option<&Tls>,
        host: &str,
        port: u16,
    ) -> Result<Self, RedisError> {
        let server = format!("{host}:{port}");
        let opened = timeout(CONNECT_TIME_MAX, connect(config, tls, host, port)).await;
        opened.unwrap_or(Err(RedisError::Silent { server }))
    }

    pub(super) fn is_open(&self) -> bool {
        self.life.open.load(Ordering::Relaxed)
    }

    /// Gives the connection up: nobody is to use it any more.
    pub(super) fn give_up(&self) {
        self.life.give_up();
    }

    /// Sends a command and returns its answer, or the server's refusal.
    pub(super) async fn call(&self, command: &Cmd) -> Result<Value, Failure> {
        let mut connection = self.connection.clone();
        let call = Call::begin(&self.life);
        let answer = connection.send_packed_command(command).await;
        call.end(answer)
    }

    /// Sends commands at once and returns their answers. One that is refused fails all of them.
    pub(super) async fn call_all(&self, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let mut connection = self.connection.clone();
        let call = Call::begin(&self.life);
        let answer = connection.send_packed_commands(commands, 0, commands.len()).await;
        match call.end(answer.map(Value::Array))? {
            Value::Array(answers) => answers.into_iter().map(refusal).collect(),
            _ => Err(Failure::Lost("there are too few answers".to_owned())),
        }
    }

    /// Sends a command whose answer nobody needs.
    pub(super) async fn tell(&self, command: &mut Cmd) {
        command.set_no_response(true);
        // What is told only saves work, so nothing is lost with it.
        let _ = self.connection.clone().send_packed_command(command).await;
    }
}

fn refusal(answer: Value) -> Result<Value, Failure> {
    match answer {
        Value::ServerError(refusal) => Err(Failure::Refused(refusal)),
        answer => Ok(answer),
    }
}

/// A call under way. If it is dropped, and the connection was silent all the time, then that
/// connection is of no use to the next one either.
struct Call<'a> {
    life: &'a Life,
    began: Instant,
    answers_before: u64,
    over: bool,
}

impl<'a> Call<'a> {
    fn begin(life: &'a Life) -> Self {
        let answers_before = life.answers.load(Ordering::Relaxed);
        Self { life, began: Instant::now(), answers_before, over: false }
    }

    fn end(mut self, answer: redis::RedisResult<Value>) -> Result<Value, Failure> {
        self.over = true;
        match answer {
            Ok(answer) => {
                self.life.answers.fetch_add(1, Ordering::Relaxed);
                refusal(answer)
            }
            Err(error) => {
                // Silence, or bytes that make no sense: whatever comes next is not to be trusted.
                self.life.give_up();
                Err(Failure::Lost(one_line(&error.to_string())))
            }
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let silent = || self.life.answers.load(Ordering::Relaxed) == self.answers_before;
        if !self.over && self.began.elapsed() >= SILENCE_MAX && silent() {
            self.life.give_up();
        }
    }
}

/// Says that a connection is closed when its driver ends, however it does.
struct Driving(Arc<Life>);

impl Drop for Driving {
    fn drop(&mut self) {
        self.0.open.store(false, Ordering::Relaxed);
    }
}

async fn connect(
    config: &RedisConfig,
    tls: Option<&Tls>,
    host: &str,
    port: u16,
) -> Result<Link, RedisError> {
    let server = format!("{host}:{port}");
    let unreachable = |error: io::Error| RedisError::Unreachable {
        server: server.clone(),
        message: one_line(&error.to_string()),
    };
    let stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE).map_err(unreachable)?;
    // The client beneath asks nothing by itself here: what it would say of the answers is less than
    // is known.
    let info = RedisConnectionInfo::default().set_skip_set_lib_name();
    let settings = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_TIME_MAX))
        .set_response_timeout(Some(CALL_TIME_MAX))
        .set_pipeline_buffer_size(COMMANDS_WAITING);
    let life = Arc::new(Life {
        open: AtomicBool::new(true),
        answers: AtomicU64::new(0),
        runtime: Handle::current(),
        driver: std::sync::OnceLock::new(),
    });
    let not_redis = |error: redis::RedisError| RedisError::NotRedis {
        server: server.clone(),
        message: one_line(&error.to_string()),
    };
    let driving = Driving(Arc::clone(&life));
    let (connection, driver) = match tls {
        None => {
            let made = MultiplexedConnection::new_with_config(&info, stream, settings).await;
            let (connection, driver) = made.map_err(not_redis)?;
            (
                connection,
                life.runtime.spawn(async move {
                    driver.await;
                    drop(driving);
                }),
            )
        }
        Some(tls) => {
            let stream = tls.connect(host, stream).await;
            let stream =
                stream.map_err(|message| RedisError::Tls { server: server.clone(), message })?;
            let made = MultiplexedConnection::new_with_config(&info, stream, settings).await;
            let (connection, driver) = made.map_err(not_redis)?;
            (
                connection,
                life.runtime.spawn(async move {
                    driver.await;
                    drop(driving);
                }),
            )
        }
    };
    let _ = life.driver.set(driver.abort_handle());
    let mut link = Link { connection, life, server: Server { is_cluster: false } };
    link.server = link.greet(config, &server).await?;
    Ok(link)
}

impl Link {
    /// Says who we are, and asks who is there.
    async fn greet(&self, config: &RedisConfig, server: &str) -> Result<Server, RedisError> {
        let server = || server.to_owned();
        let failed = |failure| refused_greeting(failure, config, &server());
        if let Some(password) = &config.password {
            let mut auth = redis::cmd("AUTH");
            config.user.iter().for_each(|user| _ = auth.arg(user));
            self.call(auth.arg(password)).await.map_err(failed)?;
        }
        let hello = self.call(&redis::cmd("HELLO")).await.map_err(failed)?;
        let Value::Array(words) = hello else {
            let message = "it does not say who it is".to_owned();
            return Err(RedisError::NotRedis { server: server(), message });
        };
        let said = |name: &str| {
            let at = words.iter().position(|word| text(word) == Some(name))?;
            text(words.get(at + 1)?)
        };
        let (name, version) = (said("server").unwrap_or("redis"), said("version").unwrap_or("0"));
        let major = version.split('.').next().and_then(|major| major.parse().ok());
        if major.unwrap_or(0) < OLDEST {
            return Err(RedisError::TooOld {
                server: server(),
                version: format!("{name} {version}"),
            });
        }
        if said("mode") == Some("sentinel") {
            return Err(RedisError::Sentinel { server: server() });
        }
        // A replica of a cluster knows the masters and sends on to them.
        let is_cluster = said("mode") == Some("cluster");
        if said("role") != Some("master") && !is_cluster {
            return Err(RedisError::Replica { server: server() });
        }
        if config.database != 0 && !is_cluster {
            self.call(redis::cmd("SELECT").arg(config.database)).await.map_err(failed)?;
        }
        Ok(Server { is_cluster })
    }
}

/// The oldest version that refuses a script as a whole, or not at all.
const OLDEST: u32 = 7;

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

/// Why a server did not let us in.
fn refused_greeting(failure: Failure, config: &RedisConfig, server: &str) -> RedisError {
    let server = server.to_owned();
    match failure {
        Failure::NotSent(error) => error,
        Failure::Lost(message) => RedisError::NotRedis { server, message },
        Failure::Refused(refusal) => {
            let message = one_line(refusal.details().unwrap_or_default());
            match refusal.code() {
                "NOAUTH" => RedisError::NoPassword { server },
                "WRONGPASS" => RedisError::WrongPassword { server },
                // All that a server says of a number that is none of its own.
                "ERR" if message.contains("DB index") || message.contains("SELECT") => {
                    RedisError::NoDatabase { server, database: config.database, message }
                }
                "ERR" if message.contains("AUTH") => RedisError::WrongPassword { server },
                "ERR" if message.contains("unknown command") => {
                    RedisError::TooOld { server, version: "older than Redis 6".to_owned() }
                }
                _ => super::failure::explained(&refusal, &config.prefix),
            }
        }
    }
}
