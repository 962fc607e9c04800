//! The command line of `cargo xtask bench`.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use pins::{DEFAULT_PIN, Series};
use rail_bench::{
    AfterHang, Options, Settings,
    baseline::Percent,
    checks::Check,
    engine::Engine,
    model::Model,
    plan::{DEFAULTS, check_variable},
    protocol::Strategy,
    reference::Source,
    sweep::CableCounts,
    workload::{Lists, Workload},
};
use rail_matrix::{Backend, Frames, Given, Jaccl};
use rig::{Rig, units::parse_seconds};

use crate::flags::{Order, RigFile};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench
      Every cell of the embedded rig, on the patched default pin.
  cargo xtask bench --series stock --strategy pp
      See the defect that the patches mend: pp hangs over two and three cables.
  cargo xtask bench --strategy tp --backend ring -p 512 -r 10 --out-dir out
      What prefill gains by each cable, with more samples, kept in files.
  cargo xtask bench --pp 512,2048,8192 --tg 128 --depth 0,4096 --dry-run
      What such a sweep would run, and about how long.
  cargo xtask bench --resume target/bench/0.31.2-patched
      Go on where Ctrl-C ended the last one.
  cargo xtask bench --rig rig.toml --cables 1,4 --frames big --format json
      A rig of your own, over one and four cables, for a program to read.
  cargo xtask bench --baseline before/bench.json --fail-over 5%
      Has the rig become slower? Exits with 1 if a cell has.
  cargo xtask bench --engine rust,mlx-lm --model ~/models/Qwen3-0.6B-4bit
      A model of yours, by both engines; mlx-lm is installed into the store first.
  cargo xtask bench --model smollm2 --prompt 'The capital of France is'
      Real weights, and the text that comes out.
  cargo xtask bench --model smollm2 --check needle,ranks --prefill-step 128
      Does a prompt of several prefill steps still come through whole?
  cargo xtask bench --model smollm2 --strategy tp --split
      Where the time went: computing, fences, cables, waiting, the host.
  cargo xtask rig discover studio mini > rig.toml && cargo xtask bench --rig rig.toml
      Two nodes that ssh reaches, over their own cables; see docs/two-macs.md.
  cargo xtask bench --rig rig.toml --devices devices.json
      The matrix that a job of yours uses, in place of the planner's.

Ctrl-C keeps what was measured: the reports are written and printed, and the missing
cells are marked. --resume goes on from there.";

/// Measure decoding over one, two and more cables, and check every token.
///
/// Runs a decoder-only transformer, one process a node, in every cell of
/// workload x strategy x backend x cables, and each workload on a single process. A
/// cell passes when its checks hold. It drifts when they hold and real weights chose
/// other tokens in tp, where two were close. Exits with 0 when every cell passes or
/// drifts, and with 1 when a check does not hold; with --check exact a drift is 1, too.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Bench {
    #[command(flatten)]
    pub rig: RigFile,

    /// How nodes become ranks
    #[arg(long, value_enum, default_value_t)]
    pub order: Order,

    /// Run this matrix, which somebody else made, and no other: the JSON that jaccl
    /// reads (MLX_IBV_DEVICES), a hostfile or an instance of exo's. Its rows are the
    /// nodes that it names, else the rig's in their order [default: for each cell
    /// what `matrix` prints for the rig]
    #[arg(long, value_name = "FILE", conflicts_with_all = ["order", "cables", "backend"])]
    pub devices: Option<PathBuf>,

    /// Cables between two nodes, as 3, 1,3 or 1..3 [default: 1 to as many as
    /// `matrix` uses]. A ring is also run over 1, to measure gains against; a
    /// mesh before MLX 0.32.4 uses 1 whatever is asked
    #[arg(long, value_name = "COUNTS", help_heading = "What is swept")]
    pub cables: Option<CableCounts>,

    /// How the model is spread over the nodes
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "tp,pp",
        value_name = "LIST",
        value_parser = strategies(),
        help_heading = "What is swept"
    )]
    pub strategy: Vec<Strategy>,

    /// How jaccl connects the nodes
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "mesh,ring",
        value_name = "LIST",
        value_parser = backends(),
        help_heading = "What is swept"
    )]
    pub backend: Vec<Backend>,

    /// Lengths of the prompt in tokens
    #[arg(
        short,
        long,
        visible_alias = "pp",
        value_delimiter = ',',
        default_values_t = [Workload::DEFAULT.prompt_tokens],
        value_name = "LIST",
        value_parser = tokens,
        help_heading = "What is swept"
    )]
    pub prompt_tokens: Vec<usize>,

    /// Tokens to generate in a run, the first included
    #[arg(
        short,
        long,
        visible_alias = "tg",
        value_delimiter = ',',
        default_values_t = [Workload::DEFAULT.generation_tokens],
        value_name = "LIST",
        value_parser = tokens,
        help_heading = "What is swept"
    )]
    pub gen_tokens: Vec<usize>,

    /// Tokens that are in the cache before the prompt. They are processed as a prompt is,
    /// before the clock starts
    #[arg(
        short,
        long,
        value_delimiter = ',',
        default_values_t = [Workload::DEFAULT.depth],
        value_name = "LIST",
        value_parser = depth,
        help_heading = "What is swept"
    )]
    pub depth: Vec<usize>,

    /// Tokens of the prompt that are processed in one step [default: the engine's
    /// own: rust 4096, in pp 2048; mlx-lm 2048]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        value_parser = tokens,
        help_heading = "What is swept"
    )]
    pub prefill_step: Vec<usize>,

    /// The largest message jaccl sends in one piece
    #[arg(
        long,
        value_delimiter = ',',
        default_values_t = [Workload::DEFAULT.frames],
        value_name = "LIST",
        value_parser = frames(),
        help_heading = "What is swept"
    )]
    pub frames: Vec<Frames>,

    /// How a GPU waits for a collective (MLX_METAL_FAST_SYNCH): exo sets it, MLX does not.
    /// Of no effect without Metal
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WAY",
        help_heading = "What is swept"
    )]
    pub fast_synch: FastSynch,

    /// The pinned MLX to build and run
    #[arg(long, value_name = "PIN", default_value = DEFAULT_PIN, help_heading = "What is run")]
    pub mlx: String,

    /// Which patches the build has. Stock jaccl hangs in pp over two or more cables
    #[arg(long, value_name = "SERIES", default_value_t, value_parser = series(), help_heading = "What is run")]
    pub series: Series,

    /// What runs the model; with several, each has its own reference and cells
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "rust",
        value_name = "LIST",
        value_parser = engines(),
        help_heading = "What is run"
    )]
    pub engine: Vec<Engine>,

    /// The model: qwen3-wide (f32, decode messages of 8192 bytes, prefill bound by
    /// the cables), qwen3-wide-4bit, qwen3-tiny (for a quick look), smollm2 (real
    /// weights, fetched by pip), a folder as mlx-lm reads it, or org/name, which is
    /// looked for in the caches of exo and Hugging Face
    #[arg(
        long,
        value_name = "NAME|DIR|ORG/NAME",
        default_value_t = DEFAULTS.model.name().to_owned(),
        help_heading = "What is run"
    )]
    pub model: String,

    /// The prompt as a text, in place of ids drawn from a seed. The report then has the
    /// text that came out. The model needs a tokenizer
    #[arg(
        long,
        value_name = "TEXT",
        conflicts_with = "prompt_tokens",
        help_heading = "What is run"
    )]
    pub prompt: Option<String>,

    /// An environment variable of every rank. May be repeated. The reports have it
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable, help_heading = "What is run")]
    pub env: Vec<(String, String)>,

    /// Measured runs of a cell, over all its launches
    #[arg(short, long, value_name = "N", default_value_t = DEFAULTS.repeat, value_parser = at_least_one, help_heading = "What is run")]
    pub repeat: usize,

    /// Rounds. In each, every cell is launched once, and has its part of the measured runs
    /// after a warm-up. More rounds show a machine that changes, and each loads the model
    /// again: take 1 where that lasts minutes, and as many as --repeat to launch the ranks
    /// for every run
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.rounds, value_parser = at_least_one, help_heading = "What is run")]
    pub rounds: usize,

    /// The order of cells in a round: shuffled by this seed, or `off` for the table's
    #[arg(long, value_name = "SEED|off", default_value = "1", value_parser = shuffle, help_heading = "What is run")]
    pub shuffle: Shuffle,

    /// Wait this long between two launches, for a machine that throttles
    #[arg(long, value_name = "TIME", default_value = "0 s", value_parser = delay, help_heading = "What is run")]
    pub delay: Duration,

    /// Runs of a launch before the measured ones
    #[arg(long, value_name = "N", default_value_t = DEFAULTS.warmup, help_heading = "What is run")]
    pub warmup: usize,

    /// Show where the time went, by N runs of each cell without messages and N with each
    /// message apart, after the measured ones [default N: 3]
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "3",
        value_parser = at_least_one,
        help_heading = "What is run"
    )]
    pub split: Option<usize>,

    /// How long all ranks may be silent before the cell counts as hung, such as
    /// "20 s" or "500 ms"; a number alone is seconds. This is for the longest
    /// step, not for a cell: slow cells are left to finish
    #[arg(long, value_name = "TIME", default_value = "20 s", value_parser = timeout, help_heading = "What is run")]
    pub timeout: Duration,

    /// Measure a rig with a dead or crossed rail too. Otherwise every rail is tried
    /// first, as `preflight` does, and such a rig is refused
    #[arg(long, help_heading = "What is run")]
    pub no_preflight: bool,

    /// What follows a cell that hung [default: continue over emulated cables; stop over real
    /// ones, whose devices can stay wedged]
    #[arg(long, value_name = "WHAT", value_parser = after_hang(), help_heading = "What is run")]
    pub after_hang: Option<AfterHang>,

    /// Print the cells, their matrices and about how long they take, and start nothing
    #[arg(long, help_heading = "What is run")]
    pub dry_run: bool,

    /// Go on from the bench.jsonl of a run that was stopped: its launches are not repeated.
    /// Lines of another build, model, rig or workload are refused
    #[arg(long, value_name = "FILE|DIR", help_heading = "What is run")]
    pub resume: Option<PathBuf>,

    /// What must hold of each cell [default: ranks, cross and exact, and for a model
    /// folder logits, each where it can be made]. A check that is named here and cannot be
    /// made is an error. A cell drifts when its checks hold and real weights chose other
    /// tokens in tp; this counts as a pass, unless exact is named here
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "LIST",
        value_parser = checks(),
        help_heading = "What is checked"
    )]
    pub check: Vec<Check>,

    /// What the cells' tokens and logits are compared with: one process without cables
    /// (single), the cell mesh-1 of each strategy, nothing, or an earlier bench.json of
    /// the same engine, model, prompt and tokens. For a model that is too big for one
    /// process
    #[arg(
        long,
        value_name = "single|mesh-1|none|FILE",
        default_value_t,
        help_heading = "What is checked"
    )]
    pub reference: Source,
    /// Count what the cables carry by the meter, in the ranks, as on real cables, in the
    /// place of the emulator's own counters
    #[arg(long, help_heading = "What is reported")]
    pub meter: bool,

    /// Do not say how much of each cell is explained. For that, jaccl's messages are measured
    /// when all cells have run: about a second for each length and number of cables
    #[arg(long, help_heading = "What is reported")]
    pub no_explain: bool,

    /// Compare with this bench.json, of the same build, model and rig
    #[arg(long, value_name = "FILE", help_heading = "What is reported")]
    pub baseline: Option<PathBuf>,

    /// Fail when a cell has become slower by more than this beyond doubt: the whole 95 %
    /// interval of its TTFT, or of its time a token, is above it
    #[arg(
        long,
        value_name = "PERCENT",
        requires = "baseline",
        help_heading = "What is reported"
    )]
    pub fail_over: Option<Percent>,

    /// What to print on stdout
    #[arg(long, value_enum, default_value_t, help_heading = "What is reported")]
    pub format: Format,

    /// Where bench.json, bench.md, bench.csv, report.html and, while it runs, bench.jsonl
    /// are written [default:
    /// target/bench/PIN-SERIES in the checkout]
    #[arg(long, value_name = "DIR", help_heading = "What is reported")]
    pub out_dir: Option<PathBuf>,
}

impl Bench {
    /// The plan of the library over a rig, for a pin's jaccl, of a model, with the matrix
    /// that was given.
    pub fn options(&self, rig: Rig, jaccl: Jaccl, model: Model, given: Option<Given>) -> Options {
        let mut limits = DEFAULTS.limits;
        limits.silence = self.timeout;
        let after_hang = self.after_hang.unwrap_or(AfterHang::usual(&rig));
        Options {
            rig,
            engines: self.engines(),
            strategies: self.strategy.clone(),
            backends: self.backend.clone(),
            cables: self.cables.clone(),
            order: self.order.into(),
            jaccl,
            given,
            workloads: self.lists().product(),
            checks: (!self.check.is_empty()).then(|| self.check.iter().copied().collect()),
            reference: self.reference.clone(),
            settings: Settings {
                model,
                warmup: self.warmup,
                repeat: self.repeat,
                split: self.split.unwrap_or(0),
                rounds: self.rounds,
                shuffle: self.shuffle.0,
                delay: self.delay,
                env: self.env.iter().cloned().collect(),
                limits,
                after_hang,
                ..DEFAULTS
            },
        }
    }
}

impl Bench {
    fn lists(&self) -> Lists {
        let steps = self.prefill_step.iter();
        Lists {
            frames: self.frames.clone(),
            prompt_tokens: self.prompt_tokens.clone(),
            generation_tokens: self.gen_tokens.clone(),
            depth: self.depth.clone(),
            prefill_step: match self.prefill_step.is_empty() {
                true => vec![None],
                false => steps.copied().map(Some).collect(),
            },
            fast_synch: match self.fast_synch {
                FastSynch::Off => vec![false],
                FastSynch::On => vec![true],
                FastSynch::Both => vec![false, true],
            },
        }
    }

    /// The engines, each once.
    fn engines(&self) -> Vec<Engine> {
        let mut engines = self.engine.clone();
        engines.sort();
        engines.dedup();
        engines
    }
}

/// The values of `--fast-synch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum FastSynch {
    /// A fence, as MLX has it; about 0.2 ms a collective
    #[default]
    Off,
    /// Polling, which can wedge the GPU; some microseconds
    On,
    /// Cells with each
    Both,
}

/// The formats of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// A Markdown table with notes
    #[default]
    Md,
    /// Everything, samples included
    Json,
    /// A row a cell, medians only
    Csv,
    /// A line a launch while it runs, as in bench.jsonl
    Jsonl,
    /// What exo's bench/exo_bench.py writes: a JSON object with every measured run
    Exo,
    /// What llama-bench writes as jsonl: prefill and decode of each cell
    Llama,
    /// What llama-bench writes as md
    LlamaMd,
}

/// The seed of an order, if it is shuffled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shuffle(pub Option<u64>);

/// One of these values by its name, each with its purpose.
fn one_of<T: Copy + Send + Sync + 'static>(
    values: impl IntoIterator<Item = (T, &'static str)>,
    name: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T> {
    let (values, helps): (Vec<T>, Vec<&str>) = values.into_iter().unzip();
    let names = values.iter().zip(helps);
    let names = names.map(|(value, help)| PossibleValue::new(name(*value)).help(help));
    PossibleValuesParser::new(names.collect::<Vec<_>>()).map(move |text| {
        let mut values = values.iter().copied();
        let named = values.find(|value| name(*value) == text);
        named.expect("the parser lets only these names pass")
    })
}

pub fn strategies() -> impl TypedValueParser<Value = Strategy> {
    let help = |strategy| match strategy {
        Strategy::Tp => "Tensor parallel: each layer is split, two all-reduces a layer",
        Strategy::Pp => {
            "Pipeline parallel: consecutive layers a rank, activations sent forward, one \
             all-gather a token"
        }
        Strategy::Single => "",
    };
    let values = Strategy::SPREAD.map(|strategy| (strategy, help(strategy)));
    one_of(values, Strategy::name)
}

pub fn backends() -> impl TypedValueParser<Value = Backend> {
    let help = |backend| match backend {
        Backend::Mesh => "Every rank to every other, before MLX 0.32.4 over one cable of each pair",
        Backend::Ring => "Every rank to its two neighbours, over all their cables",
    };
    let values = Backend::ALL.map(|backend| (backend, help(backend)));
    one_of(values, Backend::name)
}

pub fn frames() -> impl TypedValueParser<Value = Frames> {
    let help = |frames| match frames {
        Frames::Small => "4 KiB",
        Frames::Big => "Up to 512 KiB, as on macOS 26.3 and later",
    };
    one_of(Frames::ALL.map(|it| (it, help(it))), Frames::name)
}

pub fn after_hang() -> impl TypedValueParser<Value = AfterHang> {
    let values = [
        (AfterHang::Stop, "No further cell"),
        (AfterHang::Continue, "The next cell"),
    ];
    one_of(values, |value| match value {
        AfterHang::Stop => "stop",
        AfterHang::Continue => "continue",
    })
}

pub fn series() -> impl TypedValueParser<Value = Series> {
    let help = |series| match series {
        Series::Stock => "None that change what jaccl does",
        Series::Patched => "The fixes",
        Series::Tuned => "The fixes, and what makes jaccl faster",
    };
    let values = Series::ALL.map(|series| (series, help(series)));
    one_of(values, Series::name)
}

fn checks() -> impl TypedValueParser<Value = Check> {
    let help = |check| match check {
        Check::Ranks => "All ranks of a cell have the same logits, bit for bit",
        Check::Cross => "All tp cells of two ranks have the same logits, bit for bit",
        Check::Exact => {
            "In pp, and in tp of presets: the reference's tokens. In pp its logits too, bit for bit"
        }
        Check::Logits => {
            "In tp, given the reference's tokens: no logit moves farther than another order of \
             sums moves it"
        }
        Check::Needle => {
            "The model finds what a prompt of 0.5, 1.5 and 2.5 prefill steps hides. Slow"
        }
    };
    one_of(Check::ALL.map(|it| (it, help(it))), Check::name)
}

pub fn engines() -> impl TypedValueParser<Value = Engine> {
    let help = |engine| match engine {
        Engine::Rust => "Ours, over mlx-c",
        Engine::MlxLm => "mlx-lm as it is, in Python, on this project's wheel",
    };
    one_of(Engine::ALL.map(|it| (it, help(it))), Engine::name)
}

/// More tokens than any model has a context for.
const MOST_TOKENS: usize = 1 << 24;

fn tokens(text: &str) -> Result<usize, String> {
    at_least_one(text).and_then(not_too_many)
}

fn depth(text: &str) -> Result<usize, String> {
    let depth = text.parse();
    depth
        .map_err(|_| "write whole numbers, as 0,4096".to_owned())
        .and_then(not_too_many)
}

fn not_too_many(tokens: usize) -> Result<usize, String> {
    match tokens > MOST_TOKENS {
        true => Err(format!("write {MOST_TOKENS} or less")),
        false => Ok(tokens),
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    let name_and_value = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let (name, value) = name_and_value.ok_or("write NAME=VALUE")?;
    check_variable(name).map_err(|error| error.to_string())?;
    Ok((name.to_owned(), value.to_owned()))
}

pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("write 1 or more".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("write a whole number, 1 or more".to_owned()),
    }
}

fn shuffle(text: &str) -> Result<Shuffle, String> {
    match (text, text.parse()) {
        ("off", _) => Ok(Shuffle(None)),
        (_, Ok(seed)) => Ok(Shuffle(Some(seed))),
        (_, Err(_)) => Err("write a whole number, or off".to_owned()),
    }
}

fn delay(text: &str) -> Result<Duration, String> {
    parse_seconds(text).map_err(|error| error.to_string())
}

pub fn timeout(text: &str) -> Result<Duration, String> {
    match parse_seconds(text) {
        Ok(Duration::ZERO) => Err("it must be greater than 0".to_owned()),
        Ok(time) => Ok(time),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use clap::Parser;
    use rail_bench::{Plan, model::Preset};
    use rail_matrix::RankOrder;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        bench: Bench,
    }

    fn parse(line: &str) -> Result<Bench, clap::Error> {
        let words = std::iter::once("bench").chain(line.split_whitespace());
        Ok(Cli::try_parse_from(words)?.bench)
    }

    #[test]
    fn the_defaults_are_the_librarys() {
        let plan = |options| format!("{:?}", Plan::new(options).unwrap());
        let embedded = Rig::embedded();
        let flags = parse("").unwrap();
        let model = Preset::find(&flags.model).unwrap().into();
        let flags = flags.options(embedded, Jaccl::default(), model, None);
        assert_eq!(plan(flags), plan(Options::default()));
    }

    #[test]
    fn every_flag_reaches_the_library() {
        let long = parse(
            "--cables 1..3 --strategy pp --backend ring --mlx 0.31.2 --series stock \
             --model qwen3-tiny --prompt-tokens 9 --gen-tokens 8 --repeat 7 --warmup 0 \
             --frames big --timeout 2500ms --format json --out-dir out --rig rig.toml \
             --no-preflight --after-hang stop --order pinned --engine mlx-lm,rust --prefill-step 6 --depth 5 \
             --fast-synch both --env A=1 --env B=x=y --check exact,ranks \
             --reference mesh-1 --rounds 3 --shuffle off --delay 1.5 \
             --dry-run --resume out --split=4 --no-explain",
        )
        .unwrap();
        assert_eq!((&*long.mlx, long.series), ("0.31.2", Series::Stock));
        assert!(long.no_preflight && long.no_explain && long.format == Format::Json);
        assert_eq!(long.rig.file, Some("rig.toml".into()));
        assert_eq!(long.out_dir, Some("out".into()));
        let jaccl = Jaccl::of([0, 32, 4]);
        let model = Preset::find(&long.model).unwrap().into();
        let options = long.options(Rig::embedded(), jaccl, model, None);
        assert_eq!(options.engines, Engine::ALL);
        assert_eq!((options.order, options.jaccl), (RankOrder::Pinned, jaccl));
        assert_eq!(options.strategies, [Strategy::Pp]);
        assert_eq!(options.backends, [Backend::Ring]);
        assert_eq!(options.cables, Some("1..3".parse().unwrap()));
        let workloads: Vec<_> = options.workloads.iter().map(Workload::to_string).collect();
        assert_eq!(
            workloads,
            [
                "pp9+tg8 @ d5, prefill step 6, big frames",
                "pp9+tg8 @ d5, prefill step 6, big frames, fast synch",
            ]
        );
        let checks = [Check::Ranks, Check::Exact];
        assert_eq!(options.checks, Some(checks.into()));
        assert_eq!(options.reference, Source::Mesh1);
        let settings = options.settings;
        assert_eq!(settings.model.name(), "qwen3-tiny");
        assert!(long.dry_run && long.resume == Some("out".into()));
        let counts = [
            settings.repeat,
            settings.warmup,
            settings.rounds,
            settings.split,
        ];
        assert_eq!(counts, [7, 0, 3, 4]);
        assert_eq!(settings.after_hang, AfterHang::Stop);
        assert_eq!(settings.shuffle, None);
        assert_eq!(settings.delay, Duration::from_millis(1500));
        let env = [("A", "1"), ("B", "x=y")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(settings.env, BTreeMap::from(env));
        assert_eq!(settings.limits.silence, Duration::from_millis(2500));

        let short = parse("-p 9 -g 8 -r 7 --timeout 3").unwrap();
        assert_eq!(
            (&*short.prompt_tokens, &*short.gen_tokens),
            (&[9][..], &[8][..])
        );
        assert_eq!((short.repeat, short.timeout), (7, Duration::from_secs(3)));

        assert_eq!(
            (short.split, parse("--split").unwrap().split),
            (None, Some(3))
        );

        let lists = parse("--pp 512,2048 --tg 128 -d 0,4096 --frames small,big").unwrap();
        assert_eq!(lists.lists().product().len(), 8);
    }

    #[test]
    fn bad_values_are_named_with_the_remedy() {
        let cases = [
            ("-g 0", "'0' for '--gen-tokens <LIST>': write 1 or more"),
            (
                "--pp 9,0,8",
                "'0' for '--prompt-tokens <LIST>': write 1 or more",
            ),
            ("-p many", "write a whole number, 1 or more"),
            ("-r 0", "'0' for '--repeat <N>'"),
            ("--timeout 0", "it must be greater than 0"),
            ("--timeout inf", "a number and a unit out of ns, us, ms, s"),
            ("--cables 0", "a cell needs at least 1 cable"),
            ("--cables 3..1", "write the smaller number first"),
            ("--cables two", "write numbers of cables as 3, 1,3 or 1..3"),
            ("--engine vllm", "[possible values: rust, mlx-lm]"),
            (
                "--check all",
                "[possible values: ranks, cross, exact, logits, needle]",
            ),
            ("--prefill-step 0", "write 1 or more"),
            ("--split=0", "write 1 or more"),
            (
                "--depth 0,x",
                "'x' for '--depth <LIST>': write whole numbers",
            ),
            ("--pp 9,,8", "write a whole number, 1 or more"),
            ("--tg 99999999", "write 16777216 or less"),
            ("--frames small,huge", "'huge' for '--frames <LIST>'"),
            ("--fast-synch maybe", "[possible values: off, on, both]"),
            ("--rounds 0", "write 1 or more"),
            ("--shuffle on", "write a whole number, or off"),
            ("--delay soon", "a number and a unit"),
            ("--env A", "'A' for '--env <NAME=VALUE>': write NAME=VALUE"),
            ("--env JACCL_BIG_FRAMES=1", "is set by the benchmark"),
            ("--prompt a -p 9", "cannot be used with '--prompt-tokens"),
            ("--after-hang wait", "[possible values: stop, continue]"),
            ("--strategy single", "[possible values: tp, pp]"),
            ("--backend none", "[possible values: mesh, ring]"),
            ("--series mine", "[possible values: stock, patched, tuned]"),
            ("--order narrow", "[possible values: widest, pinned]"),
            ("--devices f --cables 1", "cannot be used with '--cables"),
            (
                "--devices f --backend ring",
                "cannot be used with '--backend",
            ),
            ("--devices f --order pinned", "cannot be used with '--order"),
        ];
        for (line, said) in cases {
            let message = parse(line).unwrap_err().to_string();
            assert!(message.contains(said), "{line}: {message}");
        }
    }
}
