//! memcached, which keeps everything in memory and forgets it when it is killed.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    process::Command,
};

use crate::{Program, Server, answer, shared};

/// The program, as it is found by the search path.
pub const NAME: &str = "memcached";

/// Hold the addresses of those that tests share.
pub const SHARED: [&str; 3] =
    ["INGLE_TEST_MEMCACHED", "INGLE_TEST_MEMCACHED_2", "INGLE_TEST_MEMCACHED_3"];

/// Those that tests share. They have so much memory that nothing is evicted.
///
/// # Panics
///
/// If they were not started.
#[must_use]
#[track_caller]
pub fn shared() -> [SocketAddr; 3] {
    SHARED.map(shared::address)
}

/// One of one's own, with these options besides.
///
/// # Panics
///
/// If it does not start.
#[must_use]
#[track_caller]
pub fn start(options: &[&str]) -> Server {
    match Server::start(program(options)) {
        Ok(server) => server,
        Err(error) => panic!("could not start memcached: {error:#}"),
    }
}

/// One with these options.
#[must_use]
pub fn program(options: &[&str]) -> Program {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    let command = move |address: SocketAddr| {
        let mut command = Command::new(NAME);
        // The user counts for root alone, as whom it refuses to run.
        command.args(["-u", "nobody", "-U", "0", "-m", "1024"]);
        command.arg("-l").arg(address.ip().to_string());
        command.arg("-p").arg(address.port().to_string());
        command.args(&options);
        command
    };
    Program::new("memcached", command, answers)
}

fn answers(address: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect_timeout(&address, answer::PATIENCE)?;
        stream.set_read_timeout(Some(answer::PATIENCE))?;
        stream.set_write_timeout(Some(answer::PATIENCE))?;
        stream.write_all(b"mn\r\n")?;
        let mut start = [0; 2];
        stream.read_exact(&mut start).map(|()| start)
    };
    // One that wants a password answers as well.
    ask().is_ok_and(|start| start == *b"MN" || start == *b"CL")
}
