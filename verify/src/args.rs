//! The flags of `cargo xtask verify`. Every field of a case is one.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, ValueEnum};
use jaccl::Dtype;

use crate::case::{Backend, Direction, Frames, MAX_RANKS, Op};

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, ValueEnum)]
pub enum Level {
    /// Two to three minutes a variant: every operation and setting, few lengths
    #[default]
    Quick,
    /// Half an hour a variant at most: every boundary, every dtype
    Full,
    /// Random sequences until Ctrl-C or --minutes
    Soak,
}

impl Level {
    /// `quick`, `full` or `soak`.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Quick => "quick",
            Level::Full => "full",
            Level::Soak => "soak",
        }
    }
}

/// Which patches a build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Series {
    /// Upstream's behaviour
    Stock,
    /// The whole series
    Patched,
}

/// How the verdicts are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// Tables
    #[default]
    Md,
    /// One object, schema mlx-rails/verify/1
    Json,
}

/// What is verified, and how far.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "A failure is reported with the flags that run just it again. Flags that are left \
                  out of such a selection take every value of the level.\n\nExit codes: 0 every case of \
                  every variant passed, 1 some did not or the selection is empty, 130 interrupted."
)]
pub struct VerifyArgs {
    /// The pins to verify, folders below patches/ [default: the default pin]
    #[arg(long, value_name = "PIN,...", value_delimiter = ',')]
    pub mlx: Vec<String>,
    /// stock (upstream's behaviour), patched, or both
    #[arg(
        long,
        value_name = "SERIES,...",
        value_delimiter = ',',
        default_value = "patched"
    )]
    pub series: Vec<Series>,
    /// How much is tried
    #[arg(long, value_enum, default_value_t)]
    pub level: Level,
    /// Prove every patch: without it the cases of its X-Verdicts fail as it says, with it they pass
    #[arg(long, conflicts_with_all = ["series", "level"])]
    pub each_patch: bool,
    /// Only these patches
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        requires = "each_patch"
    )]
    pub patch: Vec<String>,
    /// Which cases
    #[command(flatten)]
    pub selection: Selection,
    /// Groups of ranks at once [default: one for every four processors]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Ends a soak after so many minutes
    #[arg(long, value_name = "N")]
    pub minutes: Option<u64>,
    /// How the verdicts are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Also writes verify.json, verify.md and verify.html into this folder
    #[arg(long, value_name = "DIR")]
    pub output: Option<PathBuf>,
}

/// Which cases of a level are run. What is empty takes every value of the level.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which cases")]
pub struct Selection {
    /// send, recv, all_sum, all_max, all_min, all_gather, sum_scatter, barrier, sequence, init, or a condition
    #[arg(long, value_name = "OP,...", value_delimiter = ',')]
    pub op: Vec<Op>,
    /// mesh, ring
    #[arg(long, value_name = "BACKEND,...", value_delimiter = ',')]
    pub backend: Vec<Backend>,
    /// Ranks, 2 to 8
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = ranks)]
    pub ranks: Vec<usize>,
    /// Cables between each two ranks, 1 to 4
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = wires)]
    pub wires: Vec<usize>,
    /// Lengths instead of the level's; for sequence the longest of a step
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub bytes: Vec<usize>,
    /// bool, i8 to i64, u8 to u64, f16, bf16, f32, f64, c64
    #[arg(long, value_name = "DTYPE,...", value_delimiter = ',')]
    pub dtype: Vec<Dtype>,
    /// small (4 KiB), big (up to 512 KiB)
    #[arg(long, value_name = "MODE,...", value_delimiter = ',')]
    pub frames: Vec<Frames>,
    /// From rank to rank, as 0->1; all for collectives
    #[arg(long, value_name = "DIRECTION,...", value_delimiter = ',')]
    pub direction: Vec<Direction>,
    /// Whether the input lies where the output goes: true, false
    #[arg(long, value_name = "BOOL,...", value_delimiter = ',')]
    pub in_place: Vec<bool>,
    /// Sequences by number instead of the level's
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub seed: Vec<u64>,
    /// Only cases whose line holds all of these words, as "ring wires=3 f32"
    #[arg(long, value_name = "WORDS")]
    pub filter: Option<String>,
}

impl Selection {
    /// Reads the flags of a selection, as they stand in a patch or in a report.
    ///
    /// # Errors
    /// What is wrong with them, in a few lines.
    pub fn parse(flags: &[String]) -> Result<Self, String> {
        #[derive(clap::Parser)]
        #[command(no_binary_name = true)]
        struct Flags {
            #[command(flatten)]
            selection: Selection,
        }
        <Flags as clap::Parser>::try_parse_from(flags)
            .map(|flags| flags.selection)
            .map_err(|error| error.to_string())
    }
}

fn within(text: &str, what: &str, range: std::ops::RangeInclusive<usize>) -> Result<usize, String> {
    let (least, most) = (*range.start(), *range.end());
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!(
            "{text:?} is no number of {what}; from {least} to {most} it is"
        )),
    }
}

fn ranks(text: &str) -> Result<usize, String> {
    within(text, "ranks", 2..=MAX_RANKS)
}

/// Five for the condition of that name.
fn wires(text: &str) -> Result<usize, String> {
    within(text, "wires", 1..=5)
}
