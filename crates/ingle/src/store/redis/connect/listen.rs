//! A connection on which a server tells of sessions that have ended.

use std::{future::poll_fn, pin::Pin};

use async_trait::async_trait;
use futures_core::Stream as _;
use redis::{
    RedisConnectionInfo, RedisError,
    aio::{PubSub, PubSubStream},
};
use tokio::time::timeout;

use super::{
    super::{
        error::{self, Cause, NAME},
        names::Names,
    },
    dial::{STEP_TIME_MAX, dial},
    node::Node,
};
use crate::{
    id::Key,
    store::{Applied, Error, ErrorKind, Listener},
};

/// Who listens. To drop it ends the connection.
pub(in crate::store) struct Ends {
    messages: Pin<Box<PubSubStream>>,
    names: Names,
}

impl Ends {
    /// Connects to a server and subscribes. None if this user may not.
    pub(super) async fn listen(node: &Node, names: &Names) -> Result<Option<Self>, Cause> {
        let (settings, server) = (&node.settings, node.name());
        let stream = dial(settings.tls.as_ref(), &node.address).await?;
        let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
        if let Some(password) = &settings.config.password {
            login = login.set_password(password);
            if let Some(user) = &settings.config.user {
                login = login.set_username(user);
            }
        }
        let subscribe = async {
            let mut connection = PubSub::new(&login, stream).await?;
            let subscribed = connection.subscribe(names.ends()).await;
            Ok::<_, RedisError>((connection.into_on_message(), subscribed))
        };
        let answer = timeout(STEP_TIME_MAX, subscribe).await;
        let answer = answer.map_err(|_| error::silent(&server))?;
        let failed = |error: RedisError| error::not_redis(&server, &error.to_string());
        match answer.map_err(failed)? {
            (messages, Ok(())) => {
                Ok(Some(Self { messages: Box::pin(messages), names: names.clone() }))
            }
            (_, Err(refusal)) if error::may_not(&refusal) => Ok(None),
            (_, Err(error)) => Err(failed(error)),
        }
    }
}

#[async_trait]
impl Listener for Ends {
    async fn next(&mut self) -> Result<Key, Error> {
        while let Some(message) = poll_fn(|context| self.messages.as_mut().poll_next(context)).await
        {
            // Whoever may publish there may say anything.
            if let Some(key) = self.names.key(message.get_payload_bytes()) {
                return Ok(key);
            }
        }
        let error = Error::new(NAME, ErrorKind::Unavailable, Applied::No);
        Err(error.with_source("the connection to listen on has ended"))
    }
}
