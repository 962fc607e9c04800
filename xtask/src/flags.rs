//! The whole command line.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum, builder::TypedValueParser,
};
use matrix_cli::{Front, Matrix};
use patch_series::Class;
use pins::{DEFAULT_PIN, Series};
use rail_verify::selection::Level;
use rig::{
    DeviceFault, Profile, Rig,
    units::{parse_rate, parse_seconds},
};
use toolchain::{add::Origin, fetch::Source};

pub use matrix_cli::flags::Order;
pub use terminal::{ReportFormat, one_of};

/// A patched MLX, built from a verified pin, that uses every cable between two
/// nodes, and the evidence that it does.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    after_help = "Every verb gets what it needs from the verbs before it: `bench` alone fetches, patches, \
                  builds and measures.\n\nBuilds are kept in $MLX_RAILS_STORE, by default mlx-rails in the \
                  user's cache folder.\nExit codes: 0 done; 1 a check failed; 2 your flags or input; \
                  70 our failure; 130 interrupted."
)]
pub struct Cli {
    #[command(subcommand)]
    pub verb: Verb,
    #[command(flatten)]
    pub global: Global,
}

/// The flags of every verb.
#[derive(Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    #[command(flatten)]
    pub terminal: terminal::Flags,
    /// Use no network: what would be fetched must be in the store, or the verb fails
    #[arg(long, global = true)]
    pub offline: bool,
}

const MATRIX: Front = Front {
    command: "cargo xtask matrix",
    mlx: DEFAULT_PIN,
    series: matrix_cli::flags::Series::Patched,
};

/// Reads the command line, and sets the colours of everything printed from here on.
pub fn parse() -> Result<Cli, clap::Error> {
    let arguments: Vec<_> = std::env::args_os().collect();
    terminal::set_colors(&arguments);
    let mut command = Cli::command().mut_subcommand("matrix", |matrix| MATRIX.put(matrix));
    let matches = command.try_get_matches_from_mut(arguments)?;
    if let Some(("matrix", matrix)) = matches.subcommand() {
        Matrix::refuse_unused(&mut command, matrix)?;
    }
    Cli::from_arg_matches(&matches)
}

/// The nodes and cables of the verbs that run over them.
#[derive(Debug, Clone, Args)]
pub struct RigFile {
    /// The nodes and cables, as a rig.toml [default: an embedded rig of two nodes, a and b, and
    /// three cables of 50 MB/s and 20 us]
    #[arg(long = "rig", value_name = "FILE")]
    pub file: Option<PathBuf>,
}

impl RigFile {
    /// Reads the rig of a verb that runs on this machine alone.
    pub fn read(&self) -> crate::exit::Result<Rig> {
        let rig = self.read_any()?;
        if rig.needs_hosts() {
            let problem = "this verb runs over emulated cables on this machine, and the rig has \
                           other machines or real cables";
            let help = "give it a rig without `ssh`; `bench`, `verify`, `preflight`, `collectives` \
                        and `predict` run on other machines";
            return Err(crate::exit::Failure::input(problem).help(help.to_owned()));
        }
        Ok(rig)
    }

    /// Reads the rig.
    pub fn read_any(&self) -> crate::exit::Result<Rig> {
        Ok(match &self.file {
            Some(file) => Rig::read(file)?,
            None => Rig::embedded(),
        })
    }
}

#[derive(Subcommand)]
pub enum Verb {
    /// Measure tokens/s and time to first token over the cables of a rig
    Bench(Box<crate::bench_flags::Bench>),
    /// Build a pin with a series into the store
    Build(Build),
    /// Watch emulated cables that programs run on, and break them, their devices, messages and nodes
    Cable(Cable),
    /// Measure jaccl's collectives over cables: time, busbw, their share of the line, #wrong
    ///
    /// Runs jaccl alone, without MLX, one process a rank, over emulated cables between each two
    /// ranks, and calls each operation again and again. Every byte of the first and the last call
    /// of a turn is compared. docs/collectives.md has the formulas.
    Collectives(Box<crate::collectives_flags::Collectives>),
    /// List what is present, what is missing, and how to get it
    Doctor(Doctor),
    /// Fetch a pin's sources into the store and verify every byte
    Fetch(Fetch),
    /// Free what no current pin needs from the store
    Gc(Gc),
    /// Make the device matrix of a job from any description of its cabling, or judge one
    ///
    /// Without a command it is `plan`.
    Matrix(Box<Matrix>),
    /// Put our libjaccl into an installed MLX for macOS, or the old one back
    Overlay(Overlay),
    /// Apply a pin's patch series, or work on its patches
    Patch(Patch),
    /// Make a pin of another MLX, or print how others pin a made wheel
    Pin(PinVerb),
    /// Predict what cells take that nobody has run
    ///
    /// From the time of each rank's share, computed by itself, the fence of a collective, and
    /// jaccl over emulated cables, in virtual time where they are faster than this machine. Runs
    /// no cell.
    Predict(Box<crate::predict_flags::Predict>),
    /// Try every rail of a matrix by itself: which are ok, dead, crossed or slow
    Preflight(Preflight),
    /// Make one folder to hand over: wheels, patches, verdicts, the benchmark, hashes
    Release(Release),
    /// Make a page of a measured report: what each cable brings, in one HTML file
    ///
    /// The page has charts, the cells, and the JSON that it is made of. It fetches nothing, so it
    /// can be sent as it is. `bench` writes it beside its bench.json. Prints where the page is.
    Report(Report),
    /// Describe the nodes of a rig, clean them, or run any program over emulated cables
    Rig(RigFlags),
    /// Run every test, after building what the tests need
    Test(Test),
    /// Judge a build of jaccl case by case: which hold, which hang, which are wrong
    Verify(Box<crate::verify_flags::Verify>),
    /// Build a Python wheel, and print where it is
    Wheel(Wheel),
}

#[derive(Args)]
#[command(
    after_help = "A change affects what is sent after it, and lasts until it is changed back. Nodes \
                  and cables have the names of the rig. A change at a given time is a [[fault]] of \
                  the rig.\n\n\
                  A slow cable, a pulled one, a lost address:\n  \
                  cargo xtask cable link cable-1 --rate '10 MB/s' --latency '1 ms'\n  \
                  cargo xtask cable cut cable-2\n  \
                  cargo xtask cable break b:rdma_en6 no-gid\n\
                  One message that is lost, one that is late:\n  \
                  cargo xtask cable drop a:rdma_en5\n  \
                  cargo xtask cable delay a:rdma_en5 --by '5 ms' --queue-pair 0 --message 3\n\
                  A peer that hangs, and one that dies:\n  \
                  cargo xtask cable freeze b; sleep 3; cargo xtask cable thaw b\n  \
                  cargo xtask cable kill b"
)]
pub struct Cable {
    #[command(subcommand)]
    pub step: CableStep,
    /// The folder of the fabric [default: that of the only one that is up]
    #[arg(long, value_name = "DIR", global = true)]
    pub fabric: Option<PathBuf>,
}

#[derive(Subcommand)]
pub enum CableStep {
    /// Print what each direction of each cable has carried and can do
    Stats(CableStats),
    /// Cut a cable: what is sent over it leaves and never arrives
    Cut {
        /// The cable
        cable: String,
    },
    /// Pull a cable out: both its ports are down, and the next post there crashes its process, as
    /// was seen on Macs
    Unplug {
        /// The cable
        cable: String,
        /// Let posts hang instead
        #[arg(long)]
        hang: bool,
    },
    /// Mend a cable, or plug it in again: what is sent over it arrives again
    Mend {
        /// The cable
        cable: String,
    },
    /// Change a cable's line rate or latency
    Link(CableLink),
    /// Break a device, as a fault in a rig does
    Break(CableFault),
    /// Undo what `break` did
    Heal(CableFault),
    /// Drop a message; a reliable connection sends it again
    Drop(CableMessage),
    /// Delay a message, and with it the later ones of its queue pair
    Delay(CableDelay),
    /// Kill the processes of a node that have a queue pair on the fabric; not on macOS
    Kill {
        /// The node
        node: String,
    },
    /// Stop the processes of a node that have a queue pair on the fabric, as if it hung; not on macOS
    Freeze {
        /// The node
        node: String,
    },
    /// Continue the stopped processes of a node; not on macOS
    Thaw {
        /// The node
        node: String,
    },
}

#[derive(Args)]
pub struct CableStats {
    /// What to print on stdout; json is one object a line, schema mlx-rails/cable-stats/1, whose
    /// `seconds` is the time since the line before
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
    /// Again every second, until Ctrl-C or the fabric is gone
    #[arg(long)]
    pub watch: bool,
}

#[derive(Args)]
#[group(multiple = true)]
pub struct CableLink {
    /// The cable
    pub cable: String,
    /// Its line rate, such as "10 MB/s"
    #[arg(long, value_name = "RATE", value_parser = parse_positive_rate, required_unless_present = "latency")]
    pub rate: Option<u64>,
    /// Its latency, such as "1 ms"; a number alone is seconds
    #[arg(long, value_name = "TIME", value_parser = parse_seconds)]
    pub latency: Option<Duration>,
    /// Only what this device sends [default: both directions]
    #[arg(long, value_name = "NODE:DEVICE")]
    pub from: Option<String>,
}

#[derive(Args)]
pub struct CableFault {
    /// The device, as node:device
    pub device: String,
    /// How it is broken
    #[arg(value_parser = device_fault())]
    pub kind: DeviceFault,
}

#[derive(Args)]
pub struct CableMessage {
    /// The device that sends it, as node:device
    pub device: String,
    /// Only count messages of the K-th queue pair created on the device, from 0 [default: count
    /// all]
    #[arg(long, value_name = "K")]
    pub queue_pair: Option<u32>,
    /// Which of its messages from now on, where 0 is the next
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub message: u32,
}

#[derive(Args)]
pub struct CableDelay {
    #[command(flatten)]
    pub message: CableMessage,
    /// How much later, such as "5 ms"; a number alone is seconds
    #[arg(long, value_name = "TIME", value_parser = positive_time)]
    pub by: Duration,
}

/// The faults that can begin while programs use the device.
fn device_fault() -> impl TypedValueParser<Value = DeviceFault> {
    let live = DeviceFault::ALL.into_iter();
    let live = live.filter(|kind| *kind != DeviceFault::Absent);
    one_of(live, DeviceFault::name)
}

fn parse_positive_rate(text: &str) -> Result<u64, String> {
    match parse_rate(text) {
        Ok(0) => Err("a cable that carries nothing is cut; use `cable cut`".to_owned()),
        Ok(rate) => Ok(rate),
        Err(error) => Err(error.to_string()),
    }
}

/// A duration that must be greater than zero.
pub fn positive_time(text: &str) -> Result<Duration, String> {
    match parse_seconds(text) {
        Ok(Duration::ZERO) => Err("it must be greater than 0".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Args)]
pub struct RigFlags {
    #[command(subcommand)]
    pub step: RigStep,
}

#[derive(Subcommand)]
pub enum RigStep {
    /// Run a command over emulated cables: libibverbs is the emulator, the devices are the rig's
    Up(RigUp),
    /// Ask each node for its system, devices, addresses, disk, clock and power, and say what is wrong
    Doctor(RigDoctor),
    /// Ask nodes over ssh how they are cabled, and print the rig.toml of what they say
    Discover(RigDiscover),
    /// Remove from the nodes of a rig what runs there have left for the next ones
    Clean(RigClean),
}

#[derive(Args)]
#[command(
    after_help = "The nodes are asked over ssh, all at once, and nothing is changed there. It exits with 1 \
                  if ranks could not run; warnings are no failure. docs/nodes.md lists the facts and \
                  the findings.\n\n\
                  Two Macs before there is a rig, the nodes of a rig, this machine:\n  \
                  cargo xtask rig doctor --host studio mini\n  \
                  cargo xtask rig doctor --rig rig.toml\n  \
                  cargo xtask rig doctor"
)]
pub struct RigDoctor {
    /// The nodes and cables, as a rig.toml [default: this machine, and no cable]
    #[arg(long, value_name = "FILE", conflicts_with = "host")]
    pub rig: Option<PathBuf>,
    /// Machines by what ssh calls them; localhost is this one
    #[arg(long, value_name = "HOST", num_args = 1..)]
    pub host: Vec<String>,
    /// A folder of a model whose files must be equal on all nodes: absolute, or below the home
    /// there
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// What to print on stdout; json has schema mlx-rails/rig-doctor/1
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
}

#[derive(Args)]
#[command(
    after_help = "The hosts are asked as `matrix discover` asks them, and become the nodes in their \
                  order, each by the name that ssh has for it. What is wrong with the cabling is a \
                  comment in the file. localhost is this machine.\n\n  \
                  cargo xtask rig discover studio mini > rig.toml\n  \
                  cargo xtask bench --rig rig.toml"
)]
pub struct RigDiscover {
    /// The nodes, as ssh calls them
    #[arg(required = true, num_args = 1.., value_name = "HOST")]
    pub hosts: Vec<String>,
}

#[derive(Args)]
pub struct RigClean {
    /// The rig.toml whose nodes are cleaned
    #[arg(long = "rig", value_name = "FILE")]
    pub file: PathBuf,
}

#[derive(Args)]
#[command(
    after_help = "The last report again, set against another build's, with the bus bandwidth of the \
                  collectives:\n  \
                  cargo xtask report target/bench/0.31.2-tuned \\\n    \
                  --against target/bench/0.31.2-patched --collectives out"
)]
pub struct Report {
    /// A bench.json, or the folder that it is in
    pub file: PathBuf,
    /// Another bench.json, or its folder: its medians are hollow marks, and the cells have their
    /// change from it
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// A collectives.json, or its folder: bus bandwidth against length, with the lengths that the
    /// benchmark sends
    #[arg(long, value_name = "FILE")]
    pub collectives: Option<PathBuf>,
    /// Where the page is written [default: report.html beside the bench.json]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Args)]
#[command(
    after_help = "Every node of the rig gets a process, or those that --node names. A process finds the \
                  devices of its node through the loader, so any program that opens libibverbs.so.1 \
                  will do. In its environment are RIG_NODE, RIG_RANK (from 0), RIG_NODES, RIG_HOST (an \
                  address of this run alone) and RIG_COORDINATOR (that address with a port).\n\n\
                  rails-ping is there without being installed: it measures latency and bandwidth over \
                  the crate ibverbs (rails-ping --help).\n\n\
                  A round trip over the second cable, and a stream:\n  \
                  cargo xtask rig up --profile rdma -- rails-ping latency --device rdma_en6 --size 8,4096\n  \
                  cargo xtask rig up --profile rdma -- rails-ping bandwidth --transport uc --size 512KiB"
)]
pub struct RigUp {
    #[command(flatten)]
    pub rig: RigFile,
    /// How strict the devices are, whatever the rig says: thunderbolt is as a Mac's, rdma has
    /// what other programs need (reliable connections, writes, reads)
    #[arg(long, value_parser = one_of([Profile::Thunderbolt, Profile::Rdma], Profile::name))]
    pub profile: Option<Profile>,
    /// Only on this node; may be given several times
    #[arg(long, value_name = "NAME")]
    pub node: Vec<String>,
    /// End everything after this time, such as "20 s"; a number alone is seconds
    #[arg(long, value_name = "TIME", value_parser = positive_time)]
    pub timeout: Option<Duration>,
    /// The command, after `--`
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

#[derive(Args, Clone)]
pub struct Pin {
    /// The MLX to use: a folder below patches/
    #[arg(long, value_name = "PIN", default_value = DEFAULT_PIN)]
    pub mlx: String,
}

#[derive(Args)]
pub struct SeriesFlag {
    /// stock is upstream's behaviour with what the platform needs, patched has every fix, tuned
    /// the performance patches too
    #[arg(long, default_value = "patched", value_parser = one_of(Series::ALL, Series::name))]
    pub series: Series,
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
    /// How the trees are printed; json has their ids beside their folders
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args)]
#[command(
    after_help = "The steps are a patch's life: `new` begins it in a working copy, `refresh` takes what \
                  was edited there into it, `lint` checks what is to be committed, `apply` gives the \
                  patched tree, `try` shows at the next MLX whether the patch is still needed, `drop` \
                  ends it. See patches/README.md."
)]
pub struct Patch {
    #[command(subcommand)]
    pub step: PatchStep,
}

#[derive(Args)]
pub struct PinVerb {
    #[command(subcommand)]
    pub step: PinStep,
}

#[derive(Subcommand)]
pub enum PinStep {
    /// Make the folder of a pin: tree id, lists, and the patches of the pin that fits best
    ///
    /// A patch that applies is taken, one that git can merge is rebased, one that this MLX has is
    /// left out, and one that conflicts is kept for a person. What is left to do is printed last.
    /// Exits with 1 when a patch conflicts.
    Add(PinAdd),
    /// Print what to paste where made wheels are to be used: sources, hashes, patches
    ///
    /// For uv it is the entries of a pyproject.toml, which `--apply` puts there and leaves every
    /// other byte as it is. For nix it is the list of patches that the wheels have.
    Snippet(PinSnippet),
}

#[derive(Args)]
#[command(
    after_help = "A project that takes MLX from the Python index, and exo's own:\n  \
                  cargo xtask pin snippet --for uv dist/mlx_metal-*.whl --apply ../project/pyproject.toml\n  \
                  cargo xtask pin snippet --for exo dist/mlx-*.whl --url-prefix https://example.org/wheels\n\n\
                  docs/release.md describes the whole of a release."
)]
pub struct PinSnippet {
    /// The tool that reads it
    #[arg(long = "for", value_enum, value_name = "TOOL")]
    pub tool: SnippetTool,
    /// Wheels that `cargo xtask wheel` made, of one pin and series
    #[arg(required = true, value_name = "WHEEL")]
    pub wheels: Vec<PathBuf>,
    /// Where the wheels will lie, and for nix the patches; without it they are named as they lie
    /// here
    #[arg(long, value_name = "URL")]
    pub url_prefix: Option<String>,
    /// Put it into this pyproject.toml, instead of printing it
    #[arg(long, value_name = "FILE")]
    pub apply: Option<PathBuf>,
    /// How it is printed; json has the hash of everything too, schema mlx-rails/pin-snippet/1
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// A tool that installs wheels, or compiles MLX.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SnippetTool {
    /// Entries of a pyproject.toml, in a project whose MLX comes from the Python index
    Uv,
    /// Lines of requirements
    Pip,
    /// The list of patches, for an MLX that Nix compiles
    Nix,
    /// The source of `mlx` in exo's pyproject.toml, for the wheel that exo compiled
    Exo,
}

#[derive(Args)]
#[command(
    after_help = "The tag of the newest release, and a commit out of an archive at hand:\n  \
                  cargo xtask pin add v0.33.0\n  \
                  cargo xtask pin add 7a1d4f5c12ac82f4b4d0a6e71538d89ca0605247 --from mlx.tar.gz\n\n\
                  docs/building.md describes what comes after it."
)]
pub struct PinAdd {
    /// What to pin: the tag of a release, or all 40 digits of a commit
    #[arg(value_name = "TAG|COMMIT")]
    pub name: String,
    /// Where from: the git repository that the other pins name, or a clone, folder or archive
    #[arg(long, value_name = "upstream|PATH", default_value = "upstream")]
    pub from: Origin,
    /// How the outcome is printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args)]
pub struct PatchApply {
    #[command(flatten)]
    pub pin: Pin,
    #[command(flatten)]
    pub series: SeriesFlag,
}

#[derive(Args)]
pub struct PatchStatus {
    #[command(flatten)]
    pub pin: Pin,
    /// Check the patches against this pristine tree, not the pin's
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// How the states are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args)]
pub struct PatchTry {
    /// The MLX to try the series on: a folder below patches/, or with --tree any version
    #[arg(long, value_name = "VERSION")]
    pub mlx: String,
    /// The pristine tree of that version, which need be no pin
    #[arg(long, value_name = "DIR")]
    pub tree: Option<PathBuf>,
    /// How the states are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args)]
pub struct PatchRecord {
    #[command(flatten)]
    pub pin: Pin,
}

#[derive(Subcommand)]
pub enum PatchStep {
    /// Apply a series to the pin's tree, in the store, and print the folder of the patched tree
    Apply(PatchApply),
    /// Print each patch's state: applies, already applied, already upstream, conflicts
    ///
    /// Exits with 1 when a patch conflicts.
    Status(PatchStatus),
    /// Try the nearest other pin's series on this MLX
    ///
    /// Prints which patches apply, are upstream already or conflict, and the commands that show
    /// whether each defect is still there. Exits with 1 when a patch conflicts.
    Try(PatchTry),
    /// Record the trees of every series in the pin's file, after a patch was changed on purpose
    Record(PatchRecord),
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
    /// Write the commits of the working copy as the series
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
    /// Prints every problem at once, and exits with 1 when there is one.
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
    /// fix mends what a collective does, portability lets jaccl compile and run, performance
    /// makes a collective faster
    #[arg(long, default_value = "fix", value_parser = one_of(Class::ALL, Class::name))]
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
    #[command(flatten)]
    pub series: SeriesFlag,
    /// On macOS compile MLX and its kernels too, which needs Xcode, rather than take both of the
    /// official wheel; elsewhere every build is from source
    #[arg(long)]
    pub from_source: bool,
    /// Compilers at once [default: the number of processors]
    #[arg(long, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Print the prefix on stdout, for scripts and CMAKE_PREFIX_PATH
    #[arg(long)]
    pub print_prefix: bool,
}

#[derive(Args)]
#[command(
    after_help = "Exit codes: 0 every rail is ok; 1 one is dead, crossed or slow; 2 your flags or \
                  input; 70 our failure; 130 interrupted."
)]
pub struct Preflight {
    #[command(flatten)]
    pub rig: RigFile,
    /// How nodes become ranks
    #[arg(long, value_enum, default_value_t)]
    pub order: Order,
    /// A matrix that somebody else made: the JSON that jaccl reads (MLX_IBV_DEVICES), a hostfile
    /// or an instance of exo's. Its rows are the nodes that it names, else the rig's in their
    /// order [default: what `matrix` prints for the rig]
    #[arg(long, value_name = "FILE", conflicts_with = "order")]
    pub devices: Option<PathBuf>,
    #[command(flatten)]
    pub pin: Pin,
    #[command(flatten)]
    pub series: SeriesFlag,
    /// How much longer than the rig states a message may take before its rail counts as
    /// silent; a number alone is seconds
    #[arg(long, value_name = "TIME", default_value = "2 s", value_parser = positive_time)]
    pub timeout: Duration,
    /// What to print on stdout
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
}

#[derive(Args)]
pub struct Doctor {
    /// Also read every file of the store, and compare it with what was recorded when it was made
    #[arg(long)]
    pub verify: bool,
    /// How the checks are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args)]
pub struct Gc {
    /// Only print what would be freed
    #[arg(long)]
    pub dry_run: bool,
}

#[derive(Args)]
#[command(
    after_help = "A wheel for macOS is the official one with libjaccl.dylib replaced, made on any machine; \
                  nothing is written unless every check holds.\n\n\
                  The wheel that exo pins, from any machine:\n  \
                  cargo xtask wheel --mlx 0.32.0 --platform macos\n\
                  The same for the MLX that exo built of its fork:\n  \
                  cargo xtask wheel --mlx 0.32.0 --platform macos --base mlx-0.32.0.dev1-cp313-cp313-macosx_26_0_arm64.whl"
)]
pub struct Wheel {
    #[command(flatten)]
    pub pin: Pin,
    #[command(flatten)]
    pub series: SeriesFlag,
    /// The system that it is for
    #[arg(long, value_enum, default_value_t)]
    pub platform: WheelPlatform,
    /// The wheel that it is made from: `official`, or a file
    #[arg(long, value_name = "official|FILE", default_value = "official")]
    pub base: String,
    /// Instead, build the module `rail_matrix`, which plans, checks and has drop-ins for exo's
    /// function, and its command `rail-matrix`
    #[arg(long, conflicts_with_all = ["mlx", "series", "platform", "base"])]
    pub rail_matrix: bool,
    /// The folder that it is put into
    #[arg(long, value_name = "DIR", default_value = "dist")]
    pub out_dir: PathBuf,
    /// How it is printed; json has its hash, what was replaced and every check, schema
    /// mlx-rails/wheel/2
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args)]
#[command(
    after_help = "The library is compiled and held against the installed one as `wheel` does it; the old one \
                  is kept beside it.\n\n\
                  cargo xtask overlay --mlx 0.32.0 .venv/lib/python3.13/site-packages\n\
                  cargo xtask overlay --mlx 0.32.0 /Applications/EXO.app\n\
                  cargo xtask overlay --undo /Applications/EXO.app"
)]
pub struct Overlay {
    /// A site-packages folder, or an application that brings its own Python
    pub dir: PathBuf,
    /// Put back what was there
    #[arg(long, conflicts_with_all = ["mlx", "series"])]
    pub undo: bool,
    #[command(flatten)]
    pub pin: Pin,
    #[command(flatten)]
    pub series: SeriesFlag,
    /// How it is printed; json has schema mlx-rails/overlay/1
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args)]
#[command(
    after_help = "Every step is another verb with its flags; README.md in the folder lists them. A step that \
                  does not pass ends it, and nothing is written. With --level full it takes an hour or more.\n\n\
                  cargo xtask release --mlx 0.32.0 --out-dir dist/mlx-0.32.0"
)]
pub struct Release {
    #[command(flatten)]
    pub pin: Pin,
    #[command(flatten)]
    pub series: SeriesFlag,
    /// How much is tried before
    #[arg(long, value_name = "LEVEL", default_value = "full", value_parser = one_of([Level::Full, Level::Quick], Level::name))]
    pub level: Level,
    /// The folder, which is to be new, empty, or an earlier release
    #[arg(long, value_name = "DIR")]
    pub out_dir: PathBuf,
    /// How it is printed; json lists the files and the commands, schema mlx-rails/release/1
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// A system that wheels are made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum WheelPlatform {
    /// That of this machine
    #[default]
    Host,
    /// macOS 26 on Apple silicon
    Macos,
    /// Linux on this machine's processor
    Linux,
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

/// The formats of a short answer.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}
