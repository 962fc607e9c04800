//! The agent: what runs on a node, started by the launcher's ssh.

mod machine;
mod receive;
mod run;
pub(crate) mod stage;

use std::{
    env,
    io::{self, BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use crate::wire::{Facts, Failure, Reply, Request};
use stage::Stage;

/// How long a node may take to answer another.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the agent cannot do something.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// A file or folder.
    #[error("{}: {source}", path.display())]
    Io {
        path: std::path::PathBuf,
        source: io::Error,
    },
    /// Anything else.
    #[error("{0}")]
    Words(String),
}

type Result<T, E = Problem> = std::result::Result<T, E>;

/// Adds the path to an error of the system.
pub(crate) trait At<T> {
    fn at(self, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|source| Problem::Io {
            path: path.to_owned(),
            source,
        })
    }
}

impl Problem {
    fn is_full(&self) -> bool {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        matches!(self, Problem::Io { source, .. } if full.contains(&source.kind()))
    }
}

/// Reads a request and does it. The exit code is the rank's if it ran one.
pub fn main() -> ExitCode {
    let mut input = BufReader::new(io::stdin());
    let request = env::args_os()
        .nth(1)
        .ok_or("the stage is missing".to_owned());
    let request = request.and_then(|root| {
        let mut line = String::new();
        input
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        let request = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        Ok((Stage::at(root.into()), request))
    });
    let (stage, request) = match request {
        Ok(request) => request,
        Err(problem) => {
            eprintln!("rails-agent: {problem}");
            return ExitCode::from(2);
        }
    };
    let done = match request {
        Request::Run(run) => match run::run(&stage, run, input) {
            Ok(code) => return code,
            Err(problem) => {
                eprintln!("rails-agent: {problem}");
                return ExitCode::from(70);
            }
        },
        Request::Hello => hello(&stage).map(Reply::Hello),
        Request::Receive(tree) => receive::receive(&stage, &tree, &mut input, &mut say),
        Request::Listen(address) => listen(address, &mut input),
        Request::Reach(address) => reach(address),
        Request::Clean => stage.clean().map(Reply::Cleaned),
    };
    say(&done.unwrap_or_else(|problem| {
        Reply::Failed(Failure {
            full: problem.is_full(),
            message: problem.to_string(),
        })
    }));
    ExitCode::SUCCESS
}

/// Prints an answer. A launcher that is gone needs none.
fn say(reply: &Reply) {
    let text = serde_json::to_string(reply).expect("an answer is plain data");
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

fn hello(stage: &Stage) -> Result<Facts> {
    Ok(Facts {
        name: machine::name(),
        machine: machine::identity(),
        free: stage.free()?,
    })
}

/// Listens until stdin ends, and lets the system accept connections.
fn listen(address: IpAddr, input: &mut impl BufRead) -> Result<Reply> {
    let words = |error: io::Error| Problem::Words(error.to_string());
    let listener = TcpListener::bind((address, 0)).map_err(words)?;
    let port = listener.local_addr().map_err(words)?.port();
    say(&Reply::Listening(port));
    // An error in stdin is its end as well.
    let _ = io::copy(input, &mut io::sink());
    Ok(Reply::Listening(port))
}

fn reach(address: SocketAddr) -> Result<Reply> {
    match TcpStream::connect_timeout(&address, PATIENCE) {
        Ok(_) => Ok(Reply::Reached),
        Err(error) => Err(Problem::Words(error.to_string())),
    }
}
