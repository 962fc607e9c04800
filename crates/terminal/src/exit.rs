//! Exit codes, and how a command prints why it failed.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | a check failed: a verdict, a finding |
//! | 2 | your flags or input |
//! | 70 | our failure, or the machine's |
//! | 130 | interrupted |

use std::{error::Error, io::Write, iter, process::ExitCode};

use clap::{
    builder::styling::{AnsiColor, Style},
    error::ErrorKind,
};

use crate::output::Unprinted;

/// The exit code of a command that has done what it was asked for.
pub const DONE: u8 = 0;

/// The kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A check failed: a verdict or a finding.
    Check,
    /// The caller's flags or input are wrong.
    Input,
    /// This program or the machine failed.
    Ours,
    /// The caller asked to stop.
    Interrupted,
}

impl Kind {
    /// Every kind, in the order of the codes.
    pub const ALL: [Self; 4] = [Self::Check, Self::Input, Self::Ours, Self::Interrupted];

    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Check => 1,
            Self::Input => 2,
            Self::Ours => 70,
            Self::Interrupted => 130,
        }
    }

    /// The kind of a failure whose cause is either the caller or the machine.
    pub const fn input_if(is_input: bool) -> Self {
        if is_input { Self::Input } else { Self::Ours }
    }
}

impl From<Kind> for ExitCode {
    fn from(kind: Kind) -> Self {
        kind.code().into()
    }
}

/// [`DONE`], or the code of a check that failed.
pub const fn passed(all_well: bool) -> u8 {
    if all_well { DONE } else { Kind::Check.code() }
}

/// Prints clap's help, version or error, and returns the exit code.
pub fn usage(error: &clap::Error) -> u8 {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => DONE,
        _ => Kind::Input.code(),
    }
}

/// Prints why a command failed, each cause once and the remedy on a line of its own, and
/// returns the exit code. If only the reader of stdout left (`| head`), the command is
/// done, and nothing is printed.
pub fn failed(kind: Kind, error: &(dyn Error + 'static), help: Option<&str>) -> u8 {
    if reader_left(error) {
        return DONE;
    }
    let causes: Vec<_> = chain(error).map(ToString::to_string).collect();
    print("error", ERROR, &causes.join(": "));
    if let Some(help) = help {
        print("help", HELP, help);
    }
    kind.code()
}

/// Whether the reader of stdout closed the pipe, and nothing else failed.
fn reader_left(error: &(dyn Error + 'static)) -> bool {
    chain(error)
        .filter_map(|cause| cause.downcast_ref::<Unprinted>())
        .any(Unprinted::reader_left)
}

/// An error and its causes.
fn chain<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

const ERROR: Style = AnsiColor::Red.on_default().bold();
const HELP: Style = AnsiColor::Cyan.on_default().bold();

fn print(label: &str, style: Style, text: &str) {
    let mut stderr = anstream::stderr().lock();
    let _ = writeln!(stderr, "{style}{label}:{style:#} {text}");
}

#[cfg(test)]
mod tests {
    use std::{fmt, io};

    use super::*;

    #[test]
    fn the_codes_are_those_of_the_table() {
        let table: Vec<_> = include_str!("exit.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"))
            .filter_map(|row| row.split_once(" | "))
            .filter_map(|(code, _)| code.parse::<u8>().ok())
            .collect();
        let mut codes = vec![DONE];
        codes.extend(Kind::ALL.map(Kind::code));
        assert_eq!(table, codes);
    }

    /// A step that failed.
    #[derive(Debug)]
    struct Step(Unprinted);

    impl fmt::Display for Step {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a step")
        }
    }

    impl Error for Step {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_reader_that_left_is_no_failure_below_any_step() {
        let step = |kind: io::ErrorKind| Step(io::Error::from(kind).into());
        let gone = step(io::ErrorKind::BrokenPipe);
        assert_eq!(failed(Kind::Ours, &gone, None), DONE);
        assert_eq!(failed(Kind::Ours, &gone.0, None), DONE);
        let full = step(io::ErrorKind::StorageFull);
        assert_eq!(failed(Kind::Ours, &full, None), Kind::Ours.code());
    }
}
