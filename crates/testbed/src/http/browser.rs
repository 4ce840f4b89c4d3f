//! A window of a browser: one kept connection, and the cookies.

use std::{io, net::SocketAddr, time::Duration};

use serde_json::Value;
use tokio::time::timeout;

use super::{
    Answer,
    answer::removes,
    connection::{Connection, NoAnswer},
};

/// No answer takes so long on any machine, unless it never comes.
const PATIENCE: Duration = Duration::from_secs(600);

/// Sends requests one after the other, and keeps the cookies that it is given.
///
/// Dropped before the answer, a request hangs up. A kept connection that the server has closed before
/// a request is replaced by a new one, as browsers do; what may have been sent is not sent again.
#[derive(Debug)]
pub struct Browser {
    address: SocketAddr,
    kept: Option<Connection>,
    /// `name=value`, or several of them with `; ` in between.
    pub cookie: Option<String>,
}

impl Browser {
    #[must_use]
    pub fn new(address: SocketAddr) -> Self {
        Self { address, kept: None, cookie: None }
    }

    /// One that has this cookie.
    pub fn with_cookie(address: SocketAddr, cookie: impl Into<String>) -> Self {
        Self { cookie: Some(cookie.into()), ..Self::new(address) }
    }

    /// Another window with the same cookies, at this address.
    #[must_use]
    pub fn window(&self, address: SocketAddr) -> Self {
        Self { cookie: self.cookie.clone(), ..Self::new(address) }
    }

    /// Whom it asks.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// # Panics
    ///
    /// If there is no answer.
    pub async fn get(&mut self, target: &str) -> Answer {
        self.send("GET", target).await
    }

    /// # Panics
    ///
    /// If there is no answer.
    pub async fn post(&mut self, target: &str) -> Answer {
        self.send("POST", target).await
    }

    /// Sends a form, as if a button in it was pressed.
    ///
    /// # Panics
    ///
    /// If there is no answer.
    pub async fn submit(&mut self, target: &str, fields: &[(&str, &str)]) -> Answer {
        let field = |(name, value): &(&str, &str)| format!("{}={}", encoded(name), encoded(value));
        let form: Vec<_> = fields.iter().map(field).collect();
        match self.try_send_form("POST", target, Some(&form.join("&"))).await {
            Ok(answer) => answer,
            Err(error) => panic!("POST {target}: {error}: {error:?}"),
        }
    }

    /// What the session holds, as JSON.
    ///
    /// # Panics
    ///
    /// If the app does not show it.
    pub async fn data(&mut self) -> Value {
        self.get("/lab/data").await.json()
    }

    async fn send(&mut self, method: &str, target: &str) -> Answer {
        match self.try_send(method, target).await {
            Ok(answer) => answer,
            Err(error) => panic!("{method} {target}: {error}: {error:?}"),
        }
    }

    /// # Errors
    /// There is no answer.
    pub async fn try_get(&mut self, target: &str) -> Result<Answer, NoAnswer> {
        self.try_send("GET", target).await
    }

    /// # Errors
    /// There is no answer.
    pub async fn try_send(&mut self, method: &str, target: &str) -> Result<Answer, NoAnswer> {
        self.try_send_form(method, target, None).await
    }

    async fn try_send_form(
        &mut self,
        method: &str,
        target: &str,
        form: Option<&str>,
    ) -> Result<Answer, NoAnswer> {
        let answer = timeout(PATIENCE, self.exchange(method, target, form)).await;
        let answer =
            answer.unwrap_or_else(|_| Err(NoAnswer::Broken(io::ErrorKind::TimedOut.into())))?;
        for cookie in answer.all("set-cookie") {
            self.keep(cookie);
        }
        Ok(answer)
    }

    async fn exchange(
        &mut self,
        method: &str,
        target: &str,
        form: Option<&str>,
    ) -> Result<Answer, NoAnswer> {
        // Taken, so that a request that is given up takes its connection with it.
        let kept = self.kept.take();
        let was_kept = kept.is_some();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.connect().await?,
        };
        let cookie = self.cookie.as_deref();
        let mut answer = connection.send_form(method, target, cookie, form).await;
        if was_kept && matches!(answer, Err(NoAnswer::NotSent(_))) {
            connection = self.connect().await?;
            answer = connection.send_form(method, target, cookie, form).await;
        }
        self.kept = Some(connection).filter(Connection::is_open);
        answer
    }

    async fn connect(&self) -> Result<Connection, NoAnswer> {
        Connection::open(self.address).await.map_err(NoAnswer::NotSent)
    }

    /// Puts a cookie in the place of the one with its name.
    fn keep(&mut self, set_cookie: &str) {
        let pair = set_cookie.split(';').next().unwrap_or_default();
        let Some((name, _)) = pair.split_once('=') else { return };
        let known = self.cookie.as_deref().unwrap_or_default().split("; ");
        let others = known.filter(|known| known.split_once('=').is_some_and(|(of, _)| of != name));
        let kept = (!removes(set_cookie)).then_some(pair);
        let cookies: Vec<&str> = others.chain(kept).collect();
        self.cookie = (!cookies.is_empty()).then(|| cookies.join("; "));
    }
}

/// A text in a form: all but letters and digits as bytes.
fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}
