//! The flags that every command has, and kinds of values that several flags have.

use std::ffi::OsString;

use clap::{
    Args, ColorChoice, ValueEnum,
    builder::{PossibleValuesParser, TypedValueParser},
};

use crate::output;

/// What a command prints beside its data, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Flags {
    /// Print data, warnings and errors alone, no progress
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Also print the commands that are run
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// Whether help and errors have colours
    #[arg(long, value_name = "WHEN", value_enum, default_value_t, global = true)]
    pub color: ColorChoice,
}

impl Flags {
    /// Applies `--quiet` and `--verbose` to everything printed from here on.
    pub fn apply(&self) {
        output::set_verbosity(self.quiet, self.verbose);
    }
}

/// Applies `--color` to everything printed from here on. It is read separately because
/// help and errors about other flags are printed before the command line is known to be
/// valid.
pub fn set_colors(arguments: &[OsString]) {
    anstream::ColorChoice::write_global(color(arguments));
}

fn color(arguments: &[OsString]) -> anstream::ColorChoice {
    let arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    let ours = arguments.take_while(|argument| argument != "--");
    let mut ours = ours.skip_while(|argument| !argument.starts_with("--color"));
    let flag = ours.next();
    let value = match flag.as_deref().and_then(|flag| flag.split_once('=')) {
        Some((_, value)) => Some(value.to_owned().into()),
        None => ours.next(),
    };
    match value.as_deref() {
        Some("always") => anstream::ColorChoice::Always,
        Some("never") => anstream::ColorChoice::Never,
        _ => anstream::ColorChoice::Auto,
    }
}

/// A value of a library by name. Help and errors list the names.
pub fn one_of<T>(
    all: impl IntoIterator<Item = T>,
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: Copy + Send + Sync + 'static,
{
    let all: Vec<T> = all.into_iter().collect();
    let names = all.iter().map(|value| name(*value));
    PossibleValuesParser::new(names.collect::<Vec<_>>()).try_map(move |text| {
        let named = |value: &&T| name(**value) == text;
        all.iter().find(named).copied().ok_or("not in the list")
    })
}

/// The formats of a report.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// Markdown, for people
    #[default]
    Md,
    /// One object with its schema, for programs
    Json,
}
