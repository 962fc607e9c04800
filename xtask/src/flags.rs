//! The whole command line.

use std::{num::NonZeroUsize, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use toolchain::{DEFAULT_PIN, fetch::Source, series::Series};

/// A patched MLX, built from a verified pin, that uses every cable between two
/// nodes, and the evidence that it does.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    after_help = "Every verb gets what it needs from the verbs before it: `bench` alone fetches, patches, \
                  builds and measures.\n\nBuilds are kept in $MLX_RAILS_STORE, by default mlx-rails in the \
                  user's cache folder.\nExit codes: 0 done, 1 your input or a failed check, 2 our failure, \
                  130 interrupted."
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
}

#[derive(Subcommand)]
pub enum Verb {
    /// Measure tokens/s and time to first token over the cables of a rig
    Bench(Box<Bench>),
    /// Build a pin with a series into the store
    Build(Build),
    /// List what is present, what is missing, and how to get it
    Doctor(Doctor),
    /// Fetch a pin's sources into the store and verify every byte
    Fetch(Fetch),
    /// Free what no current pin needs from the store
    Gc(Gc),
    /// Apply a pin's patch series, or tell how its patches stand
    Patch(Patch),
    /// Run every test, building first what they need
    Test(Test),
    /// Judge a build of jaccl case by case: which hold, which hang, which are wrong
    Verify(Box<rail_verify::args::VerifyArgs>),
}

#[derive(Args)]
pub struct Pin {
    /// The MLX to use: a folder below patches/
    #[arg(long, value_name = "PIN", default_value = DEFAULT_PIN)]
    pub mlx: String,
}

#[derive(Args)]
pub struct Bench {
    #[command(flatten)]
    pub args: rail_bench::BenchArgs,
}

#[derive(Args)]
pub struct Fetch {
    #[command(flatten)]
    pub pin: Pin,
    /// Where from: auto, registry, upstream, or a folder or archive
    ///
    /// Whatever arrives is hashed as git hashes a tree and must equal the pin; a
    /// byte that differs names its file, and nothing is stored. A PATH is checked
    /// even when the store is current.
    #[arg(
        long,
        value_name = "auto|registry|upstream|PATH",
        default_value = "auto"
    )]
    pub source: Source,
}

#[derive(Args)]
pub struct Patch {
    #[command(flatten)]
    pub pin: Pin,
    /// stock (what the platform needs, upstream's behaviour) or patched
    #[arg(long, default_value = "patched")]
    pub series: Series,
    /// Tell each patch's state instead: applies, already applied, already upstream, conflicts
    #[arg(long)]
    pub status: bool,
    /// With --status: hold the patches against this pristine tree, not the pin's
    #[arg(long, value_name = "DIR", requires = "status")]
    pub tree: Option<PathBuf>,
    /// Write what both series give into the pin's file, after a patch was changed on purpose
    #[arg(long, conflicts_with = "status")]
    pub record: bool,
    /// How --status is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args)]
pub struct Build {
    #[command(flatten)]
    pub pin: Pin,
    /// stock (what the platform needs, upstream's behaviour) or patched
    #[arg(long, default_value = "patched")]
    pub series: Series,
    /// Compilers at once [default: the number of processors]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Print the prefix on stdout, for scripts and CMAKE_PREFIX_PATH
    #[arg(long)]
    pub print_prefix: bool,
}

#[derive(Args)]
pub struct Doctor {
    /// How the checks are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args)]
pub struct Gc {
    /// Only tell how much would be freed
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
pub struct Test {
    /// Passed to `cargo test`, for example -p softrail, or a test's name
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    pub cargo_test: Vec<String>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}
