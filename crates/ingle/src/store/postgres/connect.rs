//! Connections of the store's own: to the hosts of the configuration, or on a stream of the app's.

use std::{future::poll_fn, time::Duration};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
    sync::mpsc,
    task::AbortHandle,
};
use tokio_postgres::{
    AsyncMessage, Client, Config, Connection, NoTls, Notification, Statement,
    config::{SslMode, TargetSessionAttrs},
    tls::MakeTlsConnect,
    types::Type,
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::{
    config::{PostgresConfig, PostgresTls},
    error::{Failure, NAME},
    link::{Connecting, Link, Listening, Source},
    stream::Stream,
};
use crate::{
    detach,
    store::{
        OpenError,
        floor::{
            tls::{ClientCertificate, TlsError, client_config},
            url::ends_a_line,
        },
    },
};

/// How long the answer to a statement is waited for. The server is told to end it sooner.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(5);

/// What is wrong with the password of an app that reads it from a file.
const LINE_END: &str = "it ends in a line end, as the content of a file does; trim it";

/// What the server is told about each connection, in milliseconds. Who waits for a row's lock is
/// told before the request's own deadline, by default half a second for a call, and with proof that
/// nothing was changed. Neither a role's nor a database's default of another isolation counts, under
/// which writes that meet would fail. Each statement finds its rows by an index, also in a plan that was
/// made while the table was empty, and is planned once.
const SETTINGS: &str = "-c statement_timeout=4000 -c lock_timeout=400 \
                        -c default_transaction_isolation=read\\ committed \
                        -c enable_seqscan=off -c plan_cache_mode=force_generic_plan";

/// How many notifications wait for who listens. Beyond it the connection is closed.
const UNHEARD_MAX: usize = 4096;

/// Who is given what the server tells.
type Told = mpsc::Sender<Notification>;

/// A connection of the store's own, and the task that serves it until the client is dropped and every
/// answer has come.
struct Own {
    client: Client,
    driver: AbortHandle,
}

/// Makes connections.
pub(super) struct Connector {
    config: PostgresConfig,
    driver: Config,
    tls: Option<MakeRustlsConnect>,
}

impl Connector {
    pub(super) fn new(config: &PostgresConfig) -> Result<Self, OpenError> {
        let tls = tls(config).map_err(|error| error.into_open_error(NAME, Some("sslrootcert")))?;
        // A stream of the app's may be safe by itself.
        if matches!(config.tls, PostgresTls::Prefer | PostgresTls::Require)
            && config.is_remote()
            && config.streams.is_none()
        {
            let how = match tls {
                Some(_) => "without a check of its certificate",
                None => "without TLS, because the program has no cryptography for it",
            };
            tracing::warn!(
                "PostgreSQL is spoken to {how}, so whoever is between this process and the server can read \
                 and change every session; `sslmode=verify-full` checks the certificate, and \
                 `sslmode=disable` says that nobody is in between"
            );
        }
        let mut driver = driver(config);
        if tls.is_none() {
            driver.ssl_mode(SslMode::Disable);
        }
        Ok(Self { config: config.clone(), driver, tls })
    }
}

impl Connector {
    /// A connection. What the server tells on it goes to `told`.
    fn open(
        &self,
        told: Option<Told>,
    ) -> impl Future<Output = Result<Own, Failure>> + Send + 'static {
        let (mut driver, tls) = (self.driver.clone(), self.tls.clone());
        let password = self.config.passwords.as_ref().map(|passwords| passwords());
        let stream = self.config.streams.as_ref().map(|streams| streams());
        let host = self.config.hosts.first().map_or("", |(host, _)| host.as_str()).to_owned();
        async move {
            if let Some(password) = password {
                let password = match password.await {
                    Ok(password) if ends_a_line(&password) => Err(LINE_END.into()),
                    given => given,
                };
                driver.password(password.map_err(|error| Failure::NotGiven("password", error))?);
            }
            match stream {
                None => dial(driver, tls, told).await,
                Some(stream) => {
                    let stream = stream.await;
                    let stream = stream.map_err(|error| Failure::NotGiven("stream", error))?;
                    log_in(driver, stream, tls, host, told).await
                }
            }
        }
    }
}

impl Source for Connector {
    fn connect(&self) -> Connecting {
        let opening = self.open(None);
        Box::pin(async move { Ok(Box::new(opening.await?) as Box<dyn Link>) })
    }

    fn listen(&self) -> Option<Listening> {
        // Behind one, another client has the connection after each transaction.
        if self.config.pooler {
            return None;
        }
        let (told, hears) = mpsc::channel(UNHEARD_MAX);
        let opening = self.open(Some(told));
        Some(Box::pin(async move { Ok((Box::new(opening.await?) as Box<dyn Link>, hears)) }))
    }

    fn takes_back(&self) -> bool {
        false
    }
}

#[async_trait]
impl Link for Own {
    fn client(&self) -> &Client {
        &self.client
    }

    async fn prepare(&self, sql: &str, types: &[Type]) -> Result<Statement, tokio_postgres::Error> {
        self.client.prepare_typed(sql, types).await
    }

    fn close(self: Box<Self>) {}

    /// The server is not asked to cancel anything: that would end a commit's wait for a synchronous standby,
    /// and others would find the commit, and tell that it is stored, before it is.
    fn abort(self: Box<Self>) {
        self.driver.abort();
    }
}

/// Connects to one of the hosts.
async fn dial(
    driver: Config,
    tls: Option<MakeRustlsConnect>,
    told: Option<Told>,
) -> Result<Own, Failure> {
    match tls {
        None => run(driver.connect(NoTls).await, told),
        Some(tls) => run(driver.connect(tls).await, told),
    }
}

/// Connects on a stream that leads to the server already.
async fn log_in(
    driver: Config,
    stream: Stream,
    tls: Option<MakeRustlsConnect>,
    host: String,
    told: Option<Told>,
) -> Result<Own, Failure> {
    let Some(mut tls) = tls else { return run(driver.connect_raw(stream, NoTls).await, told) };
    let tls = MakeTlsConnect::<Stream>::make_tls_connect(&mut tls, &host);
    let tls = tls.map_err(|error| Failure::NotGiven("name for TLS", error.into()))?;
    run(driver.connect_raw(stream, tls).await, told)
}

/// Lets a connection be served until its client is dropped.
fn run<S, T>(
    connected: Result<(Client, Connection<S, T>), tokio_postgres::Error>,
    told: Option<Told>,
) -> Result<Own, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (client, mut connection) = connected.map_err(Failure::NotConnected)?;
    let serving = async move {
        let Some(told) = told else { return drop(connection.await) };
        while let Some(Ok(message)) = poll_fn(|context| connection.poll_message(context)).await {
            if let AsyncMessage::Notification(notification) = message
                && told.try_send(notification).is_err()
            {
                // So who listens learns that something is missing.
                return;
            }
        }
    };
    let driver = detach::spawn_on(&Handle::current(), serving);
    Ok(Own { client, driver })
}

/// What TLS is spoken by, if it may be.
fn tls(config: &PostgresConfig) -> Result<Option<MakeRustlsConnect>, TlsError> {
    let Some(trust) = config.trust() else { return Ok(None) };
    let certificate = config.certificate.clone().zip(config.certificate_key.clone());
    let certificate = certificate.map(|(certificate, key)| ClientCertificate { certificate, key });
    match client_config(&trust, certificate.as_ref()) {
        // Without TLS is what this mode allows.
        Err(TlsError::NoProvider(_)) if config.tls == PostgresTls::Prefer => Ok(None),
        made => Ok(Some(MakeRustlsConnect::new(made?))),
    }
}

/// What the driver is told, with what it leaves to chance or to hours.
fn driver(config: &PostgresConfig) -> Config {
    let mut driver = config.libpq.clone();
    for (host, port) in &config.hosts {
        driver.host(host).port(*port);
    }
    driver.user(&config.user).dbname(&config.database);
    if let Some(password) = &config.password {
        driver.password(password);
    }
    driver.ssl_mode(match config.tls {
        PostgresTls::Disable => SslMode::Disable,
        PostgresTls::Prefer => SslMode::Prefer,
        PostgresTls::Require | PostgresTls::VerifyFull { .. } => SslMode::Require,
    });
    driver.connect_timeout(config.connect_timeout);
    driver.application_name(&config.application_name);
    if driver.get_tcp_user_timeout().is_none() {
        driver.tcp_user_timeout(ANSWER_TIME);
    }
    if driver.get_keepalives_idle() > Duration::from_secs(3600) {
        driver.keepalives_idle(Duration::from_secs(30));
    }
    // A server that only reads is of no use, and of several hosts another one may do.
    driver.target_session_attrs(TargetSessionAttrs::ReadWrite);
    if !config.pooler {
        // What the URL says comes later, and so counts.
        let options = match driver.get_options() {
            Some(options) => format!("{SETTINGS} {options}"),
            None => SETTINGS.to_owned(),
        };
        driver.options(options);
    }
    driver
}
