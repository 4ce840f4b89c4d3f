//! One connection to one server: made, looked at, used by all calls at once, and given up.
//!
//! Many calls are under way on it (`bundle.rs`), and Redis answers in the order in which they were sent. The
//! client beneath gives each answer to whoever sent its command; one that is not waited for any
//! more is read all the same, so a call that was dropped shifts no answer.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use redis::{
    AsyncConnectionConfig, Cmd, Pipeline, RedisConnectionInfo, Value, aio::MultiplexedConnection,
};
use socket2::{SockRef, TcpKeepalive};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    runtime::Handle,
    task::AbortHandle,
    time::{sleep, timeout},
};

use super::{
    advance::Advance,
    bundle::Bundles,
    failure::{Failure, RedisError, explained, one_line},
    hash,
    place::RedisConfig,
    tls::Tls,
};

/// How long each step of making a connection may take: to be let in, to agree on TLS, to say who is
/// there.
const STEP_TIME_MAX: Duration = Duration::from_secs(2);

/// No call takes longer, whoever made it; the guard of a session gives it far less.
const CALL_TIME_MAX: Duration = Duration::from_secs(10);

/// A connection on which no answer came to anybody for so long, though some waited, is given up.
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

/// An open connection.
pub(super) struct Link {
    connection: MultiplexedConnection,
    bundles: Bundles,
    life: Arc<Life>,
    pub(super) server: Server,
}

struct Life {
    open: AtomicBool,
    began: Instant,
    /// Since when somebody has waited while no answer came, in milliseconds after `began`; zero if
    /// nobody has.
    silent_since: AtomicU64,
    runtime: Handle,
    driver: OnceLock<AbortHandle>,
}

impl Life {
    fn now(&self) -> u64 {
        hash::millis(self.began.elapsed()).max(1)
    }

    fn call(&self) {
        if self.silent_since.load(Ordering::Relaxed) == 0 {
            self.silent_since.store(self.now(), Ordering::Relaxed);
        }
    }

    fn is_silent(&self) -> bool {
        let since = self.silent_since.load(Ordering::Relaxed);
        since != 0 && self.now().saturating_sub(since) >= hash::millis(SILENCE_MAX)
    }

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
        connect(config, tls, host, port).await
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
        let call = Call::begin(&self.life);
        let answer = self.bundles.call(command.clone()).await;
        call.end(answer)
    }

    /// Makes an advance, together with those that meet it, and returns what there is if it is not done.
    ///
    /// No async function, which would keep room for the advance until the answer comes.
    pub(super) fn advance(&self, advance: Advance) -> impl Future<Output = Result<Value, Failure>> {
        let call = Call::begin(&self.life);
        let answer = self.bundles.advance(advance);
        async move { call.end(answer.await) }
    }

    /// Sends commands at once and returns their answers, each with what is said of it alone.
    pub(super) async fn call_all(
        &self,
        commands: &Pipeline,
    ) -> Result<Vec<Result<Value, Failure>>, Failure> {
        let mut connection = self.connection.clone();
        let call = Call::begin(&self.life);
        let answer = connection.send_packed_commands(commands, 0, commands.len()).await;
        match call.end(answer.map(Value::Array))? {
            Value::Array(answers) => Ok(answers.into_iter().map(refusal).collect()),
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

/// A call under way. If it is dropped on a connection that has been silent, then that is of no use to
/// the next one either.
struct Call<'a> {
    life: &'a Life,
    over: bool,
}

impl<'a> Call<'a> {
    fn begin(life: &'a Life) -> Self {
        life.call();
        Self { life, over: false }
    }

    fn end(mut self, answer: redis::RedisResult<Value>) -> Result<Value, Failure> {
        self.over = true;
        match answer {
            Ok(answer) => {
                self.life.silent_since.store(0, Ordering::Relaxed);
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
        if !self.over && self.life.is_silent() {
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
    let late = |_| Err(io::Error::other("it lets nobody in within 2 seconds"));
    let stream = timeout(STEP_TIME_MAX, TcpStream::connect((host, port))).await;
    let stream = stream.unwrap_or_else(late).map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    SockRef::from(&stream).set_tcp_keepalive(&KEEPALIVE).map_err(unreachable)?;
    let link = match tls {
        None => Link::over(stream).await,
        Some(tls) => {
            let late = |_| Err("it says nothing that is TLS".to_owned());
            let stream = timeout(STEP_TIME_MAX, tls.connect(host, stream)).await;
            let wrong = |message| RedisError::Tls { server: server.clone(), message };
            Link::over(stream.unwrap_or_else(late).map_err(wrong)?).await
        }
    };
    let not_redis = |error: redis::RedisError| RedisError::NotRedis {
        server: server.clone(),
        message: one_line(&error.to_string()),
    };
    let mut link = link.map_err(not_redis)?;
    let silent = |_| Err(RedisError::Silent { server: server.clone() });
    let greeted = timeout(STEP_TIME_MAX, link.greet(config, &server)).await;
    link.server = greeted.unwrap_or_else(silent)?;
    Ok(link)
}

impl Link {
    /// Speaks Redis on a stream, with a task of its own that writes and reads.
    async fn over<S>(stream: S) -> redis::RedisResult<Self>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // The client beneath asks nothing by itself: what it would say of the answers is less than
        // is known.
        let info = RedisConnectionInfo::default().set_skip_set_lib_name();
        let settings = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(STEP_TIME_MAX))
            .set_response_timeout(Some(CALL_TIME_MAX))
            .set_pipeline_buffer_size(COMMANDS_WAITING);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&info, stream, settings).await?;
        let life = Arc::new(Life {
            open: AtomicBool::new(true),
            began: Instant::now(),
            silent_since: AtomicU64::new(0),
            runtime: Handle::current(),
            driver: OnceLock::new(),
        });
        let driving = Driving(Arc::clone(&life));
        let driver = life.runtime.spawn(async move {
            driver.await;
            drop(driving);
        });
        let _ = life.driver.set(driver.abort_handle());
        let bundles = Bundles::new(connection.clone());
        Ok(Self { connection, bundles, life, server: Server { is_cluster: false } })
    }

    /// Says who we are, and asks who is there.
    async fn greet(&self, config: &RedisConfig, server: &str) -> Result<Server, RedisError> {
        if let Some(password) = &config.password {
            let mut auth = redis::cmd("AUTH");
            config.user.iter().for_each(|user| _ = auth.arg(user));
            let let_in = self.call(auth.arg(password)).await;
            // One that has no password at all takes none.
            let wrong = |server, _| RedisError::WrongPassword { server };
            let_in.map_err(|failure| not_let_in(failure, config, server, wrong))?;
        }
        let hello = self.call(&redis::cmd("HELLO")).await;
        let old = |server, _| RedisError::TooOld { server, version: "older than 6".to_owned() };
        let hello = hello.map_err(|failure| not_let_in(failure, config, server, old))?;
        let server = || server.to_owned();
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
            let selected = self.call(redis::cmd("SELECT").arg(config.database)).await;
            let none = |server, message| RedisError::NoDatabase {
                server,
                database: config.database,
                message,
            };
            selected.map_err(|failure| not_let_in(failure, config, &server(), none))?;
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

/// Why a server did not let us in: a refusal that is not told by its code is `otherwise`.
fn not_let_in(
    failure: Failure,
    config: &RedisConfig,
    server: &str,
    otherwise: impl FnOnce(String, String) -> RedisError,
) -> RedisError {
    let server = server.to_owned();
    match failure {
        Failure::NotSent(error) => error,
        Failure::Lost(message) => RedisError::NotRedis { server, message },
        Failure::Refused(refusal) => match refusal.code() {
            "NOAUTH" => RedisError::NoPassword { server },
            "WRONGPASS" => RedisError::WrongPassword { server },
            "ERR" => otherwise(server, one_line(refusal.details().unwrap_or_default())),
            _ => explained(&refusal, &config.prefix),
        },
    }
}
