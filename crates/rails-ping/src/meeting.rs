//! The TCP connection over which the two processes exchange parameters and the addresses
//! of their queue pairs.

use std::{
    io::{BufRead, BufReader, ErrorKind, Write},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use serde::{Serialize, de::DeserializeOwned};

use crate::flags::Role;

/// How long a client waits for its server to listen.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct Meeting(BufReader<TcpStream>);

impl Meeting {
    pub fn of(role: &Role) -> Result<Self> {
        let stream = match role {
            Role::Server(address) => {
                let listener = TcpListener::bind(address);
                let listener = listener.with_context(|| format!("cannot listen at {address}"))?;
                let (stream, _) = listener.accept().context("nobody connects")?;
                stream
            }
            Role::Client(address) => connect(address)?,
        };
        stream.set_nodelay(true)?;
        Ok(Meeting(BufReader::new(stream)))
    }

    pub fn tell(&mut self, what: &impl Serialize) -> Result<()> {
        let line = serde_json::to_string(what)? + "\n";
        let sent = self.0.get_mut().write_all(line.as_bytes());
        sent.context("the other process is gone")
    }

    pub fn hear<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        if read.context("the other process is gone")? == 0 {
            bail!("the other process has ended; its own output says why");
        }
        serde_json::from_str(&line).context("the other process is no rails-ping of this version")
    }

    /// Returns when the other process has called it too.
    pub fn meet(&mut self) -> Result<()> {
        self.tell(&())?;
        self.hear()
    }
}

/// The two processes start at the same time, in either order.
fn connect(address: &str) -> Result<TcpStream> {
    let begun = Instant::now();
    loop {
        match TcpStream::connect(address) {
            Err(error)
                if error.kind() == ErrorKind::ConnectionRefused && begun.elapsed() < PATIENCE =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome.with_context(|| format!("cannot connect to {address}")),
        }
    }
}
