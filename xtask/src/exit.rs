//! Exit codes, and the conversion of errors to them.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done |
//! | 1 | a check failed: a verdict, a finding |
//! | 2 | your flags or input |
//! | 70 | our failure, or the machine's |
//! | 130 | interrupted |
//!
//! A verb returns a [`Result`]. Every error of a library has a `From` here that assigns
//! the failure's kind, so an error without one does not compile.

use std::{any::Any, fmt::Display, process::ExitCode, thread};

use anyhow::anyhow;
use clap::{builder::styling::Style, error::ErrorKind};

use crate::{job_matrix::UnreadableMatrix, matrix, output::Unprinted};

/// The result of a verb.
pub type Result<T = ExitCode, E = Failure> = std::result::Result<T, E>;

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
    /// Every kind with its code, as printed in the help of every verb.
    #[cfg(test)]
    const ALL: [Self; 4] = [Self::Check, Self::Input, Self::Ours, Self::Interrupted];

    /// The exit code.
    pub const fn code(self) -> u8 {
        match self {
            Self::Check => 1,
            Self::Input => 2,
            Self::Ours => 70,
            Self::Interrupted => 130,
        }
    }
}

impl From<Kind> for ExitCode {
    fn from(kind: Kind) -> Self {
        kind.code().into()
    }
}

/// Success, or the code of a check that failed.
pub fn passed(all_well: bool) -> ExitCode {
    match all_well {
        true => ExitCode::SUCCESS,
        false => Kind::Check.into(),
    }
}

/// Why a verb failed.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    error: anyhow::Error,
    /// The remedy.
    help: Option<String>,
}

impl Failure {
    /// A failure of a kind, without a remedy.
    pub fn new(kind: Kind, error: impl Into<anyhow::Error>) -> Self {
        Self {
            kind,
            error: error.into(),
            help: None,
        }
    }

    /// An unexpected failure.
    pub fn ours(error: impl Into<anyhow::Error>) -> Self {
        Self::new(Kind::Ours, error)
    }

    /// A failure because of invalid flags or input, with its text.
    pub fn input(problem: impl Display) -> Self {
        Self::new(Kind::Input, anyhow!("{problem}"))
    }

    /// Adds the remedy.
    pub fn help(self, help: impl Into<Option<String>>) -> Self {
        Self {
            help: help.into().or(self.help),
            ..self
        }
    }

    /// Whether the reader of stdout closed the pipe, and nothing else failed.
    fn reader_left(&self) -> bool {
        let unprinted = |cause: &(dyn std::error::Error + 'static)| {
            let unprinted = cause.downcast_ref::<Unprinted>();
            unprinted.is_some_and(Unprinted::reader_left)
        };
        self.error.chain().any(unprinted)
    }
}

/// Adds context to a failure.
pub trait Context<T> {
    /// Puts a place or a step before the error's text.
    fn with_context<C>(self, context: impl FnOnce() -> C) -> Result<T>
    where
        C: Display + Send + Sync + 'static;
}

impl<T, E: Into<Failure>> Context<T> for Result<T, E> {
    fn with_context<C>(self, context: impl FnOnce() -> C) -> Result<T>
    where
        C: Display + Send + Sync + 'static,
    {
        self.map_err(|error| {
            let failure = error.into();
            Failure {
                error: failure.error.context(context()),
                ..failure
            }
        })
    }
}

/// `From` an error type: its kind, and its remedy if it has one.
macro_rules! failures {
    ($($error:ty: |$it:ident| $kind:expr $(, $help:expr)?;)*) => {$(
        impl From<$error> for Failure {
            fn from($it: $error) -> Self {
                let kind = $kind;
                let help: Option<String> = None$(.or($help))?;
                Self::new(kind, $it).help(help)
            }
        }
    )*};
}

/// The kind of a failure whose cause is either the caller or the machine.
const fn input_if(is_input: bool) -> Kind {
    if is_input { Kind::Input } else { Kind::Ours }
}

/// A kind as the crates below the toolchain, and it itself, name it.
const fn of_kind(kind: pins::Kind) -> Kind {
    match kind {
        pins::Kind::Check => Kind::Check,
        pins::Kind::Input => Kind::Input,
        pins::Kind::Ours => Kind::Ours,
        pins::Kind::Interrupted => Kind::Interrupted,
    }
}

failures! {
    // Failures of the machine.
    Unprinted: |it| Kind::Ours;
    xshell::Error: |it| Kind::Ours;
    launch::Error: |it| match &it {
        launch::Error::Interrupted(_) => Kind::Interrupted,
        _ => Kind::Ours,
    };
    // The caller asked to stop.
    launch::Interrupted: |it| Kind::Interrupted;
    // This program's own errors.
    matrix::CheckFlagsError: |it| Kind::Input, it.help();
    matrix::DiscoverError: |it| input_if(it.is_input()), it.help();
    matrix::InputError: |it| Kind::Input, it.help();
    matrix::SaveError: |it| Kind::Input, it.help();
    crate::verify_flags::FlagsError: |it| Kind::Input;
    UnreadableMatrix: |it| Kind::Input, it.help();
    // The errors of libraries, in the order of their names.
    patch_series::Error: |it| of_kind(it.kind()), it.help();
    pins::Error: |it| of_kind(it.kind()), it.help();
    rail_bench::RunError: |it| match &it {
        error if error.is_interrupted() => Kind::Interrupted,
        rail_bench::RunError::Reference(_) => Kind::Check,
        _ => Kind::Ours,
    }, it.help().map(str::to_owned);
    rail_bench::sweep::SweepError: |it| Kind::Input, it.help().map(str::to_owned);
    rail_matrix::BadVersion: |it| Kind::Input;
    rail_matrix::GivenError: |it| Kind::Input, it.help().map(str::to_owned);
    rail_matrix::PlanError: |it| Kind::Input;
    rig::ReadRigError: |it| Kind::Input;
    rig::RigError: |it| Kind::Input;
    rail_matrix::SelectError: |it| Kind::Input;
    rail_matrix::check::CheckError: |it| Kind::Input;
    rail_matrix::read::ReadError: |it| Kind::Input;
    rail_matrix::write::DialectError: |it| Kind::Input;
    rail_matrix::write::ExoError: |it| Kind::Input;
    rail_verify::group::GroupError: |it| match &it {
        rail_verify::group::GroupError::Interrupted(_) => Kind::Interrupted,
        _ => Kind::Ours,
    }, it.help();
    rail_verify::preflight::Unfit: |it| Kind::Check;
    rail_verify::python::PythonError: |it| match &it {
        rail_verify::python::PythonError::Import(launch::Error::Interrupted(_)) => {
            Kind::Interrupted
        }
        rail_verify::python::PythonError::Import(_) => Kind::Check,
        rail_verify::python::PythonError::Unexpected(_) => Kind::Check,
        rail_verify::python::PythonError::Unreachable(_) => Kind::Input,
        rail_verify::python::PythonError::Script { .. } => Kind::Ours,
    }, it.help();
    rail_verify::report::WriteError: |it| Kind::Input, it.help();
    rail_verify::run::RunError: |it| match &it {
        rail_verify::run::RunError::Library(_) => Kind::Ours,
        _ => Kind::Input,
    }, it.help();
    rail_verify::setup::GivenMatrixError: |it| Kind::Input, it.help().map(str::to_owned);
    softrail::FabricError: |it| input_if(it.is_input()), it.help();
    softrail::live::LiveError: |it| input_if(it.is_input()), it.help();
    softrail::up::UpError: |it| match &it {
        softrail::up::UpError::Interrupted(_) => Kind::Interrupted,
        softrail::up::UpError::Start { .. } => Kind::Input,
        softrail::up::UpError::Fabric(error) => input_if(error.is_input()),
        _ => Kind::Ours,
    };
    toolchain::Error: |it| of_kind(it.kind()), it.help();
    wheel::Error: |it| input_if(it.is_input()), it.help();
    wheel::snippet::SnippetError: |it| input_if(it.is_input()), it.help();
}

/// Prints clap's help, version or error.
pub fn usage(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ => Kind::Input.into(),
    }
}

/// Prints why a verb failed, each cause once and the remedy on a line of its own, and
/// returns the code. A panic has already printed its message.
pub fn report(outcome: thread::Result<Result>) -> ExitCode {
    let failure = match outcome {
        Ok(Ok(code)) => return code,
        Ok(Err(failure)) => failure,
        Err(panic) => return panicked(&*panic),
    };
    if failure.reader_left() {
        return ExitCode::SUCCESS;
    }
    let Failure { kind, error, help } = &failure;
    print("error", ERROR, &format!("{error:#}"));
    if let Some(help) = help {
        print("help", HELP, help);
    }
    (*kind).into()
}

fn panicked(_: &(dyn Any + Send)) -> ExitCode {
    Kind::Ours.into()
}

const ERROR: Style = clap::builder::styling::AnsiColor::Red.on_default().bold();
const HELP: Style = clap::builder::styling::AnsiColor::Cyan.on_default().bold();

fn print(label: &str, style: Style, text: &str) {
    use std::io::Write;
    let mut stderr = anstream::stderr().lock();
    let _ = writeln!(stderr, "{style}{label}:{style:#} {text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_the_table() {
        let table: Vec<_> = include_str!("exit.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("//! | ")?.strip_suffix(" |"))
            .filter_map(|row| row.split_once(" | "))
            .filter_map(|(code, _)| code.parse::<u8>().ok())
            .collect();
        let mut codes = vec![0];
        codes.extend(Kind::ALL.map(Kind::code));
        assert_eq!(table, codes);
    }

    #[test]
    fn a_failure_keeps_its_kind_and_help_under_a_context() {
        let error: Result<()> = Err(Failure::input("no such file").help("name one".to_owned()));
        let failure = error.with_context(|| "a.toml").unwrap_err();
        assert_eq!(format!("{:#}", failure.error), "a.toml: no such file");
        assert_eq!(failure.kind, Kind::Input);
        assert_eq!(failure.help.as_deref(), Some("name one"));
    }

    #[test]
    fn a_reader_that_left_is_found_below_a_context() {
        let gone = Unprinted::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let failure = Err::<(), _>(gone).with_context(|| "a step").unwrap_err();
        assert!(failure.reader_left());
        let full = Unprinted::from(std::io::Error::from(std::io::ErrorKind::StorageFull));
        assert!(!Failure::from(full).reader_left());
    }
}
