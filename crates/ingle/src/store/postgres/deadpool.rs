//! Connections that are lent by a pool of the app's own, made by `deadpool-postgres`.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool_postgres::{Object, Pool, PoolError};
use tokio_postgres::{Client, Statement, types::Type};

use super::{
    config::PostgresConfig,
    error::{Failure, Unserved},
    link::{Connecting, Link, Listening, Source},
};

impl PostgresConfig {
    /// A store on the connections of a pool that the app has. Set the [`table`](Self::table) and how
    /// many connections it [takes at most](Self::pool) at a time. The pool says all else: the fields on
    /// how to connect are not used.
    ///
    /// It needs the feature `deadpool-postgres`. Its argument is of a crate before 1.0: this function
    /// alone may change in a minor release of this library, to follow that crate.
    ///
    /// The store sends none of its settings on such connections. Have the pool or the role set
    /// `lock_timeout` and `statement_timeout`, and leave `default_transaction_isolation` at `read
    /// committed`. A connection that was given back to the pool in the middle of a transaction would lose
    /// what the store writes on it.
    ///
    /// ```
    /// # async fn open(pool: deadpool_postgres::Pool) -> Result<(), ingle::store::OpenError> {
    /// use ingle::store::{Postgres, PostgresConfig};
    ///
    /// let mut config = PostgresConfig::from_deadpool(pool);
    /// config.pool = 4;
    /// let store = Postgres::open(config).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn from_deadpool(pool: Pool) -> Self {
        let mut config = Self::on(Vec::new(), String::new(), String::new());
        config.source = Some(Arc::new(Lent(pool)));
        config
    }
}

struct Lent(Pool);

impl Source for Lent {
    fn connect(&self) -> Connecting {
        let pool = self.0.clone();
        Box::pin(async move {
            match pool.get().await {
                Ok(object) => Ok(Box::new(object) as Box<dyn Link>),
                Err(PoolError::Timeout(_)) => Err(Unserved::NoConnectionInTime.into()),
                Err(PoolError::Backend(error)) => Err(Failure::NotConnected(error)),
                Err(error) => Err(Failure::NotGiven("connection of its pool", error.into())),
            }
        })
    }

    /// What the server tells on a connection of a pool, nobody hears.
    fn listen(&self) -> Option<Listening> {
        None
    }

    fn takes_back(&self) -> bool {
        true
    }
}

#[async_trait]
impl Link for Object {
    fn client(&self) -> &Client {
        self
    }

    async fn prepare(&self, sql: &str, types: &[Type]) -> Result<Statement, tokio_postgres::Error> {
        // Once for each of the pool's connections.
        self.prepare_typed_cached(sql, types).await
    }

    fn close(self: Box<Self>) {
        drop(Self::take(*self));
    }

    /// What the pool does with each that is taken out of it.
    fn abort(self: Box<Self>) {
        self.close();
    }
}
