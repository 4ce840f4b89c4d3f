//! A browser as small as it gets, that tells apart what was surely not sent from what may have been
//! done. It holds one connection to each process of an app, and no cookie: who asks says which.

use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    time::timeout,
};

/// No request takes so long, unless it is never answered.
const PATIENCE: Duration = Duration::from_secs(15);

/// What a server answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Whether it says when to try again.
    pub(crate) retry_after: bool,
    /// `name=value`, where the answer sets a cookie and does not remove it.
    pub(crate) begun: Option<String>,
    pub(crate) body: String,
}

/// What came of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Answer(Answer),
    /// Nobody took the connection.
    NotSent,
    /// It was sent, at least in part, and there is no answer.
    Broken,
}

#[derive(Debug)]
pub(crate) struct Client {
    connections: Vec<(SocketAddr, Option<BufReader<TcpStream>>)>,
}

impl Client {
    pub(crate) fn new(processes: &[SocketAddr]) -> Self {
        Self { connections: processes.iter().map(|process| (*process, None)).collect() }
    }

    /// Sends one request to the process of this number, and nothing a second time.
    pub(crate) async fn ask(
        &mut self,
        process: usize,
        method: &str,
        target: &str,
        cookie: Option<&str>,
    ) -> Reply {
        let Some((address, kept)) = self.connections.get_mut(process) else {
            return Reply::NotSent;
        };
        let mut connection = match kept.take() {
            Some(connection) => connection,
            None => match connect(*address).await {
                Ok(connection) => connection,
                Err(_) => return Reply::NotSent,
            },
        };
        let exchange = exchange(&mut connection, method, target, cookie);
        match timeout(PATIENCE, exchange).await {
            Ok(Ok((answer, is_last))) => {
                if !is_last {
                    *kept = Some(connection);
                }
                Reply::Answer(answer)
            }
            Ok(Err(_)) | Err(_) => Reply::Broken,
        }
    }
}

async fn connect(address: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let stream = timeout(PATIENCE, TcpStream::connect(address)).await??;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// The answer, and whether the connection ends with it.
async fn exchange(
    connection: &mut BufReader<TcpStream>,
    method: &str,
    target: &str,
    cookie: Option<&str>,
) -> io::Result<(Answer, bool)> {
    let cookie = cookie.map_or_else(String::new, |cookie| format!("Cookie: {cookie}\r\n"));
    let length = if method == "POST" { "Content-Length: 0\r\n" } else { "" };
    let request = format!("{method} {target} HTTP/1.1\r\nHost: torture\r\n{cookie}{length}\r\n");
    connection.get_mut().write_all(request.as_bytes()).await?;
    let mut line = String::new();
    let mut next = async |line: &mut String| {
        line.clear();
        match connection.read_line(line).await? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            _ => Ok(()),
        }
    };
    next(&mut line).await?;
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or(io::ErrorKind::InvalidData)?;
    let mut answer = Answer { status, ..Answer::default() };
    let (mut length, mut is_last) = (0, false);
    loop {
        next(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(": ") else { break };
        match name {
            "content-length" => length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?,
            "connection" => is_last = value == "close",
            "retry-after" => answer.retry_after = true,
            "set-cookie" if !value.ends_with("Max-Age=0") => {
                answer.begun = value.split(';').next().map(str::to_owned);
            }
            _ => {}
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await?;
    answer.body = String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((answer, is_last))
}

#[cfg(test)]
mod tests {
    use tokio::{net::TcpListener, task::JoinSet};

    use super::*;

    async fn reply(text: &'static str) -> Reply {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            // The request is small enough to come at once.
            let _ = client.read(&mut [0; 1024]).await.unwrap();
            client.write_all(text.as_bytes()).await.unwrap();
        });
        Client::new(&[address]).ask(0, "GET", "/", Some("id=a")).await
    }

    #[tokio::test]
    async fn what_is_answered_and_what_is_not_is_told_apart() {
        let text = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 2\r\n\
                    set-cookie: id=b; Path=/\r\n\r\nno";
        let answer = Answer {
            status: 503,
            retry_after: true,
            begun: Some("id=b".to_owned()),
            body: "no".to_owned(),
        };
        assert_eq!(reply(text).await, Reply::Answer(answer));
        let text = "HTTP/1.1 200 OK\r\nset-cookie: id=; Path=/; Max-Age=0\r\n\r\n";
        assert_eq!(reply(text).await, Reply::Answer(Answer { status: 200, ..Answer::default() }));
        assert_eq!(reply("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nn").await, Reply::Broken);
        assert_eq!(reply("").await, Reply::Broken);
    }

    #[tokio::test]
    async fn what_nobody_takes_is_not_sent() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        assert_eq!(Client::new(&[address]).ask(0, "GET", "/", None).await, Reply::NotSent);
    }
}
