//! The command line.

use std::path::PathBuf;

use clap::{
    Arg, ArgMatches, Args, Command, Subcommand, ValueEnum, builder::TypedValueParser,
    error::ErrorKind, parser::ValueSource,
};
use rail_matrix::{Jaccl, read::Input, write::Output};
use rig::units::parse_size;
use terminal::{ReportFormat, one_of};

/// The MLX that exo pins, and the default of the command in the wheel: a build from before
/// 0.32.0 ([`Jaccl::exo`]).
pub const EXO_PIN: &str = "exo";

/// What differs between the commands that have these flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Front {
    /// How the command is called: it stands for `{command}` in help texts.
    pub command: &'static str,
    /// The default of `--mlx`.
    pub mlx: &'static str,
    /// The default of `--series`.
    pub series: Series,
}

impl Front {
    /// Puts what differs into a command and its steps.
    pub fn put(self, command: Command) -> Command {
        let text = |text: &dyn ToString| text.to_string().replace("{command}", self.command);
        let texts = [
            command.get_about().map(|it| text(it)),
            command.get_long_about().map(|it| text(it)),
            command.get_after_help().map(|it| text(it)),
        ];
        let [about, long_about, after_help] = texts;
        let mut command = command;
        if let Some(about) = about {
            command = command.about(about);
        }
        if let Some(long_about) = long_about {
            command = command.long_about(long_about);
        }
        if let Some(after_help) = after_help {
            command = command.after_help(after_help);
        }
        command
            .mut_args(|flag| match flag.get_id().as_str() {
                "mlx" => flag.default_value(self.mlx),
                "series" => flag.default_value(self.series.name()),
                _ => flag,
            })
            .mut_subcommands(|step| self.put(step))
    }
}

/// A command that plans without a step too: `cargo xtask matrix`.
#[derive(Debug, Args)]
#[command(after_help = PLAN)]
pub struct Matrix {
    #[command(subcommand)]
    step: Option<Step>,
    #[command(flatten)]
    plan: Plan,
}

impl Matrix {
    /// The step that is asked for.
    pub fn into_step(self) -> Step {
        self.step.unwrap_or(Step::Plan(Box::new(self.plan)))
    }

    /// Refuses flags of the plan before a step. Each step has flags of its own, so such a
    /// flag would change nothing. clap can refuse that, but also refuses global flags
    /// then. `matches` are those of this command, and `command` prints the error.
    ///
    /// # Errors
    /// If there is such a flag.
    pub fn refuse_unused(command: &mut Command, matches: &ArgMatches) -> Result<(), clap::Error> {
        let Some(step) = matches.subcommand_name() else {
            return Ok(());
        };
        let plan = Plan::augment_args(Command::new("plan"));
        let is_given = |flag: &&Arg| {
            let id = flag.get_id().as_str();
            matches.value_source(id) == Some(ValueSource::CommandLine)
        };
        match plan.get_arguments().find(is_given) {
            None => Ok(()),
            Some(flag) => {
                let long = flag.get_long().unwrap_or_default();
                let problem = format!(
                    "--{long} before '{step}' would change nothing; '{step}' has its own flags"
                );
                Err(command.error(ErrorKind::ArgumentConflict, problem))
            }
        }
    }
}

/// What can be done with matrices.
#[derive(Debug, Subcommand)]
pub enum Step {
    /// Make the device matrix of a job from any description of its cabling
    #[command(after_help = PLAN)]
    Plan(Box<Plan>),
    /// Check an existing matrix: what hangs, falls back, fails or is wasted
    ///
    /// Reads a jaccl device file, a hostfile of mlx.launch, exo's /instance/previews or one
    /// instance, or its /state, every jaccl instance of which is judged over the cabling in
    /// it: curl HOST:52415/state | {command} check -
    Check(Check),
    /// Query the nodes over ssh, and plan over their reports
    ///
    /// Runs on each node the tools that report its cables: on macOS system_profiler and
    /// networksetup, and, where they exist, ibv_devices, rdma_ctl and ifconfig; on Linux
    /// rdma and ip of iproute2, and sysfs. It changes nothing there. `ssh HOST` must log
    /// in without asking.
    Discover(Box<Discover>),
    /// Tell what each node and each end of a cable says of itself, and what is wrong
    ///
    /// Asks this machine, or the hosts named, as `discover` does, or reads a description. Of
    /// each device it shows whether a cable is in it and where that leads, and for all that
    /// keeps a cable from carrying RDMA what to do about it.
    Doctor(Doctor),
}

const PLAN: &str = "\
`plan` joins what both ends of each cable say, takes the order of ranks whose narrowest link is
widest, chooses mesh or ring, and prints a matrix whose k-th entries are the two ends of one cable.
The table names what is left out, and why. With other formats stderr does.

Inputs:
  rig       a rig.toml
  exo       the JSON of exo's /state or /state/topology:
            curl HOST:52415/state | {command} plan --from -
  hostfile  the JSON that mlx.launch reads
  reports   a folder with a folder a node of what its own tools say, as `discover --save DIR`
            writes it; its nodes are in the order of their names

Formats:
  table     for people
  json      ranks, matrix, cables, environment and notes, schema mlx-rails/matrix/2
  jaccl     the file that jaccl reads (MLX_IBV_DEVICES)
  exo-main, exo-2160, exo-2195
            the matrix as exo's main branch, its pull request 2160 or 2195 passes it on. Their
            readers decide by themselves whether jaccl makes a ring, so the best plan is made
            that they carry: exo-main gets one rail
  hostfile  for mlx.launch
  env       the environment of each rank, for sh
  dot, svg  nodes, cables and rails, for Graphviz and as a drawing

Exit codes: 0 done; 2 there is no such plan, or your flags or input; 70 our failure;
130 interrupted.";

/// A plan over a description.
#[derive(Debug, Args)]
pub struct Plan {
    /// The cabling: a file, a folder of reports, or - for stdin [default: an embedded rig of two
    /// nodes and three cables]
    #[arg(long, value_name = "FILE|DIR|-")]
    pub from: Option<PathBuf>,
    /// What it is; auto goes by its content
    #[arg(long, value_name = "KIND", default_value = "auto", value_parser = input_kind())]
    pub input: InputKind,
    /// How to plan, and what to write.
    #[command(flatten)]
    pub options: Options,
}

/// A check of an existing matrix.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 it runs, as the backend that is wanted, though it may waste \
                  cables; 1 something hangs, fails, corrupts or falls back; 2 your flags or input; 70 our \
                  failure; 130 interrupted."
)]
pub struct Check {
    /// The matrix, or - for stdin
    #[arg(value_name = "FILE|-")]
    pub matrix: PathBuf,
    /// The cabling as it is, of any kind that `plan --from` reads. Without it nothing shows
    /// whether the k-th devices of two cells are the ends of one cable
    #[arg(long, alias = "topology", value_name = "FILE|DIR")]
    pub from: Option<PathBuf>,
    /// Take a cable that one of its ends alone states for plugged in
    #[arg(long)]
    pub accept_one_sided: bool,
    /// The node of each row, by name or by label [default: as the matrix's document says, else
    /// the cabling's nodes in their order]
    #[arg(long, value_name = "A,B,..", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// ring: judge it with MLX_JACCL_RING set; mesh: without [default: as the document's
    /// reader does, else set if a cell has several devices]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// The MLX that reads the matrix
    #[arg(long, value_name = "VERSION", default_value = EXO_PIN)]
    pub mlx: Jaccl,
    /// Which patches that MLX has. Stock: what its jaccl does wrong on this matrix is told too
    #[arg(long, value_enum, default_value_t)]
    pub series: Series,
    /// What to print on stdout; json has the schema mlx-rails/matrix-check/2
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
}

/// A plan over what the nodes themselves report.
#[derive(Debug, Args)]
pub struct Discover {
    /// The nodes, as ssh reaches them; localhost is asked without ssh
    #[arg(required = true, value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Keep the reports of each node below DIR, for `plan --from DIR`
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
    /// How to plan, and what to write.
    #[command(flatten)]
    pub options: Options,
}

/// A diagnosis of the cabling.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing is wrong; 1 something is; 2 your flags or input; 70 our \
                  failure; 130 interrupted."
)]
pub struct Doctor {
    /// The nodes, as ssh reaches them; localhost is asked without ssh [default: localhost]
    #[arg(value_name = "HOST", conflicts_with = "from")]
    pub hosts: Vec<String>,
    /// Instead, a description of any kind that `plan --from` reads
    #[arg(long, value_name = "FILE|DIR|-")]
    pub from: Option<PathBuf>,
    /// Take a cable that one of its ends alone states for plugged in
    #[arg(long)]
    pub accept_one_sided: bool,
    /// What to print on stdout; json has the schema mlx-rails/matrix-doctor/1
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
}

/// How to plan, and what to write.
#[derive(Debug, Args)]
pub struct Options {
    /// What to print on stdout
    #[arg(long, default_value = "table", value_parser = one_of(Output::ALL, Output::name))]
    pub format: Output,
    /// These nodes alone, in this order, by name or by label [default: all]
    #[arg(long, value_name = "A,B,..", value_delimiter = ',')]
    pub nodes: Vec<String>,
    /// How nodes become ranks
    #[arg(long, value_enum, default_value_t)]
    pub order: Order,
    /// The most rails between two ranks, 1 to 4
    #[arg(long, value_name = "N", default_value_t = rail_matrix::MAX_RAILS)]
    pub max_rails: usize,
    /// Take a cable that one of its ends alone states for plugged in, as that of a Mac behind the
    /// upstream port of a display
    #[arg(long)]
    pub accept_one_sided: bool,
    /// Refuse a description that contradicts itself, rather than leave out the parts concerned
    #[arg(long)]
    pub strict: bool,
    /// mesh or ring [default: the faster, by --messages or for large ones]
    #[arg(long, value_enum)]
    pub backend: Option<Backend>,
    /// The MLX that reads the matrix; from 0.32.4 a mesh opens several wires
    #[arg(long, value_name = "VERSION", default_value = EXO_PIN)]
    pub mlx: Jaccl,
    /// Sizes of the all-reduces of the job, such as "4 KiB,16 MiB", to choose the backend by; a
    /// number alone is bytes
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = parse_size)]
    pub messages: Vec<u64>,
    /// Where the nodes will find the matrix, for env and json
    #[arg(long, value_name = "PATH", default_value = "devices.json")]
    pub devices_path: String,
    /// Where rank 0 listens
    #[arg(long, value_name = "PORT", default_value_t = rail_matrix::Options::default().coordinator_port)]
    pub port: u16,
}

/// Which patches of this project an MLX has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Series {
    /// None, as MLX is published
    Stock,
    /// Those that mend defects
    #[default]
    Patched,
    /// Those that make jaccl faster too
    Tuned,
}

impl Series {
    /// Its name as a value of the flag.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Patched => "patched",
            Self::Tuned => "tuned",
        }
    }
}

/// Returns `None` for auto. An alias, because clap takes a plain `Option` for a flag
/// without default.
pub type InputKind = Option<Input>;

fn input_kind() -> impl TypedValueParser<Value = InputKind> {
    let kinds = Input::ALL.map(Some).into_iter();
    one_of(std::iter::once(None).chain(kinds), |kind: InputKind| {
        kind.map_or("auto", Input::name)
    })
}

/// How nodes become ranks, as a flag.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum Order {
    /// As the widest ring has them
    #[default]
    Widest,
    /// As the nodes are given
    Pinned,
}

impl From<Order> for rail_matrix::RankOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Widest => Self::Widest,
            Order::Pinned => Self::Pinned,
        }
    }
}

/// jaccl's backend, as a flag.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Backend {
    /// Every rank with every other
    Mesh,
    /// Every rank with its two neighbours
    Ring,
}

impl From<Backend> for rail_matrix::Backend {
    fn from(backend: Backend) -> Self {
        match backend {
            Backend::Mesh => Self::Mesh,
            Backend::Ring => Self::Ring,
        }
    }
}
