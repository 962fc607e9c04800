//! The conversion of errors to the exit codes of [`terminal::exit`].
//!
//! A verb returns a [`Result`]. Every error of a library has a `From` here that assigns
//! the failure's kind, so an error without one does not compile.

use std::{
    fmt::{self, Display},
    process::ExitCode,
    thread,
};

use anyhow::anyhow;
use rail_bench::{RunError, alone::AloneError};
use terminal::{NotListening, exit, output::Unprinted};

pub use terminal::Kind;

use crate::{job_matrix::UnreadableMatrix, report::UnreadableReport};

/// The result of a verb.
pub type Result<T = ExitCode, E = Failure> = std::result::Result<T, E>;

/// Success, or the code of a check that failed.
pub fn passed(all_well: bool) -> ExitCode {
    exit::passed(all_well).into()
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
}

/// The failure and its causes in one line.
impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}", self.error)
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

/// A kind as the crates below the toolchain, and it itself, name it.
const fn of_kind(kind: pins::Kind) -> Kind {
    match kind {
        pins::Kind::Check => Kind::Check,
        pins::Kind::Input => Kind::Input,
        pins::Kind::Ours => Kind::Ours,
        pins::Kind::Interrupted => Kind::Interrupted,
    }
}

/// The kind of a failure of ranks.
fn of_run(error: &RunError) -> Kind {
    match error {
        error if error.is_interrupted() => Kind::Interrupted,
        RunError::Reference(_) | RunError::AfterHang { .. } => Kind::Check,
        _ => Kind::Ours,
    }
}

failures! {
    // Failures of the machine.
    NotListening: |it| Kind::Ours;
    Unprinted: |it| Kind::Ours;
    xshell::Error: |it| Kind::Ours;
    launch::Error: |it| match &it {
        launch::Error::Interrupted(_) => Kind::Interrupted,
        _ => Kind::Ours,
    };
    // The caller asked to stop.
    launch::Interrupted: |it| Kind::Interrupted;
    // This program's own errors.
    crate::verify_flags::FlagsError: |it| Kind::Input;
    UnreadableMatrix: |it| Kind::Input, it.help();
    UnreadableReport: |it| Kind::Input, it.help();
    // The errors of libraries, in the order of their names.
    collectives::MeasureError: |it| match &it {
        collectives::MeasureError::Library(_) | collectives::MeasureError::Counters(_) => Kind::Ours,
        _ => Kind::Input,
    }, it.help();
    collectives::cells::CellsError: |it| Kind::Input;
    collectives::foreign::ForeignError: |it| Kind::Ours;
    collectives::options::OptionsError: |it| Kind::Input;
    html_report::ReadError: |it| Kind::Input, Some(it.help());
    matrix_cli::Error: |it| it.kind(), it.help();
    models::Error: |it| Kind::input_if(it.is_input()), it.help();
    patch_series::Error: |it| of_kind(it.kind()), it.help();
    pins::Error: |it| of_kind(it.kind()), it.help();
    predict::measured::MeasuredError: |it| Kind::Input, Some(it.help().to_owned());
    RunError: |it| of_run(&it), it.help();
    AloneError: |it| match &it {
        AloneError::Run(error) => of_run(error),
        AloneError::OneToken => Kind::Input,
        _ => Kind::Check,
    }, it.help();
    rail_bench::baseline::BaselineError: |it| Kind::Input, Some(it.help().to_owned());
    rail_bench::lines::ResumeError: |it| Kind::Input, Some(it.help().to_owned());
    rail_bench::sweep::SweepError: |it| Kind::Input, it.help();
    rail_matrix::BadVersion: |it| Kind::Input;
    rail_matrix::GivenError: |it| Kind::Input, it.help().map(str::to_owned);
    rail_matrix::PlanError: |it| Kind::Input;
    rig::ReadRigError: |it| Kind::Input, match &it {
        rig::ReadRigError::Unreadable { .. } => Some(
            "name a file with --rig, or leave it out to use the embedded rig".to_owned(),
        ),
        _ => None,
    };
    rig::RigError: |it| Kind::Input;
    rail_matrix::SelectError: |it| Kind::Input;
    rail_matrix::check::CheckError: |it| Kind::Input;
    rail_matrix::read::ReadError: |it| Kind::Input;
    rail_matrix::DialectError: |it| Kind::Input;
    rail_verify::group::GroupError: |it| match &it {
        rail_verify::group::GroupError::Interrupted(_) => Kind::Interrupted,
        rail_verify::group::GroupError::AfterHang => Kind::Check,
        rail_verify::group::GroupError::Remote(error) => Kind::input_if(error.is_input()),
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
    remote::Error: |it| match &it {
        remote::Error::Interrupted(_) => Kind::Interrupted,
        error => Kind::input_if(error.is_input()),
    }, it.help();
    softrail::FabricError: |it| Kind::input_if(it.is_input()), it.help();
    softrail::live::LiveError: |it| Kind::input_if(it.is_input()), it.help();
    softrail::up::UpError: |it| match &it {
        softrail::up::UpError::Interrupted(_) => Kind::Interrupted,
        softrail::up::UpError::Start { .. } => Kind::Input,
        softrail::up::UpError::Fabric(error) => Kind::input_if(error.is_input()),
        _ => Kind::Ours,
    };
    toolchain::Error: |it| of_kind(it.kind()), it.help();
    wheel::Error: |it| Kind::input_if(it.is_input()), it.help();
    wheel::snippet::SnippetError: |it| Kind::input_if(it.is_input()), it.help();
}

/// Prints clap's help, version or error.
pub fn usage(error: &clap::Error) -> ExitCode {
    exit::usage(error).into()
}

/// Prints why a verb failed, each cause once and the remedy on a line of its own, and
/// returns the code. A panic has already printed its message.
pub fn report(outcome: thread::Result<Result>) -> ExitCode {
    match outcome {
        Ok(Ok(code)) => code,
        Ok(Err(Failure { kind, error, help })) => {
            exit::failed(kind, error.as_ref(), help.as_deref()).into()
        }
        Err(_) => Kind::Ours.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_keeps_its_kind_and_help_under_a_context() {
        let error: Result<()> = Err(Failure::input("no such file").help("name one".to_owned()));
        let failure = error.with_context(|| "a.toml").unwrap_err();
        assert_eq!(format!("{:#}", failure.error), "a.toml: no such file");
        assert_eq!(failure.kind, Kind::Input);
        assert_eq!(failure.help.as_deref(), Some("name one"));
    }

    #[test]
    fn a_reader_that_left_is_no_failure_below_a_context() {
        let report = |kind: std::io::ErrorKind| {
            let unprinted = Unprinted::from(std::io::Error::from(kind));
            let failure = Err::<ExitCode, _>(unprinted).with_context(|| "a step");
            format!("{:?}", report(Ok(failure)))
        };
        let code = |code: ExitCode| format!("{code:?}");
        assert_eq!(
            report(std::io::ErrorKind::BrokenPipe),
            code(ExitCode::SUCCESS)
        );
        assert_eq!(
            report(std::io::ErrorKind::StorageFull),
            code(Kind::Ours.into())
        );
    }
}
