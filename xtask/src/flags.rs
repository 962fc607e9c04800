//! The whole command line.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use rail_bench::args::seconds;
use toolchain::{
    DEFAULT_PIN,
    fetch::Source,
    series::{Class, Series},
};

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
    /// Apply a pin's patch series, or work on its patches
    Patch(Patch),
    /// Try every rail of a matrix by itself: which are ok, dead, crossed or slow
    Preflight(Preflight),
    /// Run every test, building first what they need
    Test(Test),
    /// Judge a build of jaccl case by case: which hold, which hang, which are wrong
    Verify(Box<rail_verify::args::VerifyArgs>),
}

#[derive(Args, Clone)]
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

/// Without a step, prints the folder of the patched tree. The steps are a patch's
/// life: `new` begins it in a working copy, `refresh` takes what was edited there
/// into it, `lint` checks what is to be committed, `--try` tells at the next MLX
/// whether it is still needed, `drop` ends it. See patches/README.md.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Patch {
    #[command(subcommand)]
    pub step: Option<PatchStep>,
    #[command(flatten)]
    pub apply: PatchApply,
}

#[derive(Args)]
pub struct PatchApply {
    #[command(flatten)]
    pub pin: Pin,
    /// stock (what the platform needs, upstream's behaviour) or patched
    #[arg(long, default_value = "patched")]
    pub series: Series,
    /// Tell each patch's state instead: applies, already applied, already upstream, conflicts
    #[arg(long)]
    pub status: bool,
    /// Tell what becomes of the nearest other pin's series on this MLX: which patches apply, are
    /// upstream already or conflict, and the commands that show whether each defect is still there
    ///
    /// Exits with 1 when a patch conflicts.
    #[arg(long = "try", requires = "mlx", conflicts_with = "status")]
    pub try_nearest: bool,
    /// With --status or --try: hold the patches against this pristine tree, not the pin's
    ///
    /// With --try, --mlx is then the version of the tree; it need be no pin.
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// Write what both series give into the pin's file, after a patch was changed on purpose
    #[arg(long, conflicts_with_all = ["status", "try_nearest"])]
    pub record: bool,
    /// How --status and --try are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Subcommand)]
pub enum PatchStep {
    /// Begin a patch in a working copy of the patched tree
    ///
    /// The working copy is a git repository in which each patch is one commit. Edit its files,
    /// then take the edits in with `patch refresh NAME`. patches/ changes only then.
    New(PatchNew),
    /// Make a working copy of the patched tree, to change the patches there are
    ///
    /// A patch that does not apply becomes a commit that changes nothing: make its change by hand
    /// and take it in with `patch refresh NAME`.
    Edit(PatchCopy),
    /// Take the edits of the working copy into a patch, and export
    ///
    /// The patches behind it are exported anew where their context changed, and the trees are
    /// recorded. The fields of a new patch are to be filled in next, in its file.
    Refresh(PatchRefresh),
    /// Write the series that the working copy's commits are
    ///
    /// For commits that were reordered, split or reworded there. Exporting what was imported
    /// changes no byte.
    Export(PatchCopy),
    /// Take patches out of the series
    ///
    /// For those that upstream has. Refused, and nothing changed, when a patch behind needs one.
    Drop(PatchDrop),
    /// Check fields, order, form, how the patches apply and come off, and the recorded trees
    ///
    /// Tells every problem at once, and exits with 1 when there is one.
    Lint(PatchLint),
}

#[derive(Args)]
pub struct PatchCopy {
    #[command(flatten)]
    pub pin: Pin,
    /// The working copy [default: target/patch/PIN]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

#[derive(Args)]
pub struct PatchNew {
    /// What to call it: lower-case words joined by hyphens, ring-recv-prefill
    pub name: String,
    /// fix (changes what a collective does) or portability (lets jaccl compile and run)
    #[arg(long, default_value = "fix")]
    pub class: Class,
    #[command(flatten)]
    pub copy: PatchCopy,
}

#[derive(Args)]
pub struct PatchRefresh {
    /// The patch: one of the series, or one begun with `patch new`
    pub name: String,
    #[command(flatten)]
    pub copy: PatchCopy,
}

#[derive(Args)]
pub struct PatchDrop {
    /// The patches
    #[arg(required = true, value_name = "NAME")]
    pub names: Vec<String>,
    #[command(flatten)]
    pub pin: Pin,
}

#[derive(Args)]
pub struct PatchLint {
    /// The pin whose patches to check [default: every pin]
    #[arg(long, value_name = "PIN")]
    pub mlx: Option<String>,
    /// How the problems are printed
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
#[command(
    after_help = "Exit codes: 0 every rail is ok; 1 one is dead, crossed or slow, or your input; \
                  130 interrupted."
)]
pub struct Preflight {
    /// The nodes and cables, as a rig.toml [default: an embedded rig of two nodes and
    /// three cables of 50 MB/s and 20 us]
    #[arg(long, value_name = "FILE")]
    pub rig: Option<PathBuf>,
    /// The matrix to check, as the JSON that jaccl reads (MLX_IBV_DEVICES); rank i is the
    /// rig's i-th node [default: the rig's own]
    #[arg(long, value_name = "FILE")]
    pub devices: Option<PathBuf>,
    #[command(flatten)]
    pub pin: Pin,
    /// stock or patched; rails are tried one at a time, which stock jaccl can do too
    #[arg(long, default_value = "patched")]
    pub series: Series,
    /// How much longer than the rig states a message may take before its rail counts as
    /// silent
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    pub timeout: Duration,
    /// What to print on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: rail_verify::preflight::Format,
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
