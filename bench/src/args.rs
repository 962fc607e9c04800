//! The command line of the benchmark, to be embedded by `xtask`.

use std::{path::PathBuf, time::Duration};

use clap::{
    Args, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};

use crate::{
    model::Preset,
    protocol::Strategy,
    report::Format,
    sweep::{Backend, CableCounts, Frames},
};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench
      Every cell of the embedded rig, on the patched default pin.
  cargo xtask bench --series stock --strategy pp
      See the defect that the patches mend: pp hangs over two and three cables.
  cargo xtask bench --strategy tp --backend ring -p 512 -r 10 --output out
      What prefill gains by each cable, with more samples, kept in files.
  cargo xtask bench --rig rig.toml --cables 1,4 --frames big --format json
      A rig of your own, over one and four cables, for a program to read.";

/// Measure decoding over one, two and more cables, and check every token.
///
/// Runs a decoder-only transformer, one process a node, in every cell of
/// strategy x backend x cables, and once on a single process. A cell passes when
/// all its tokens equal the single process's. Ends with status 0 when every cell
/// passes and with 1 when one does not.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct BenchArgs {
    /// The nodes and cables, as a rig.toml [default: an embedded rig of two
    /// nodes and three cables of 50 MB/s and 20 us]
    #[arg(long, value_name = "FILE", help_heading = "What is swept")]
    pub rig: Option<PathBuf>,

    /// Cables between two nodes, as 3, 1,3 or 1..3 [default: 1 to all the rig
    /// has]. A ring is also run over 1, to measure gains against; a mesh uses 1
    /// whatever is asked
    #[arg(long, value_name = "COUNTS", help_heading = "What is swept")]
    pub cables: Option<CableCounts>,

    /// How the model is spread over the nodes
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "tp,pp",
        value_name = "LIST",
        help_heading = "What is swept"
    )]
    pub strategy: Vec<Strategy>,

    /// How jaccl connects the nodes
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "mesh,ring",
        value_name = "LIST",
        help_heading = "What is swept"
    )]
    pub backend: Vec<Backend>,

    /// The largest message jaccl sends in one piece: 4 KiB, or up to 512 KiB
    /// as on macOS 26.3 and later
    #[arg(long, value_enum, default_value_t, help_heading = "What is swept")]
    pub frames: Frames,

    /// The pinned MLX to build and run [default: the default pin]
    #[arg(long, value_name = "PIN", help_heading = "What is run")]
    pub mlx: Option<String>,

    /// MLX as its authors left it, or with the pin's patch series. Stock jaccl
    /// hangs in pp over two or more cables
    #[arg(long, value_enum, default_value_t, help_heading = "What is run")]
    pub series: Series,

    /// The model
    #[arg(
        long,
        value_name = "PRESET",
        default_value = Preset::ALL[0].name,
        value_parser = presets(),
        help_heading = "What is run"
    )]
    pub model: Preset,

    /// Length of the prompt
    #[arg(short, long, value_name = "N", default_value = "256", value_parser = at_least_one, help_heading = "What is run")]
    pub prompt_tokens: usize,

    /// Tokens to generate in a run
    #[arg(short, long, value_name = "N", default_value = "32", value_parser = at_least_one, help_heading = "What is run")]
    pub gen_tokens: usize,

    /// Measured runs of a cell
    #[arg(short, long, value_name = "N", default_value = "5", value_parser = at_least_one, help_heading = "What is run")]
    pub repeat: usize,

    /// Runs of a cell before the measured ones
    #[arg(
        long,
        value_name = "N",
        default_value = "1",
        help_heading = "What is run"
    )]
    pub warmup: usize,

    /// How long all ranks may be silent before the cell counts as hung. This is
    /// for the longest step, not for a cell: slow cells are left to finish
    #[arg(long, value_name = "SECONDS", default_value = "20", value_parser = seconds, help_heading = "What is run")]
    pub timeout: Duration,

    /// Measure a rig with a dead or crossed rail too. Otherwise every rail is tried
    /// first, as `preflight` does, and such a rig is refused
    #[arg(long, help_heading = "What is run")]
    pub no_preflight: bool,

    /// What to print on stdout
    #[arg(long, value_enum, default_value_t, help_heading = "What is told")]
    pub format: Format,

    /// Where bench.json, bench.md and bench.csv are written [default:
    /// target/bench/PIN-SERIES in the checkout]
    #[arg(long, value_name = "DIR", help_heading = "What is told")]
    pub output: Option<PathBuf>,
}

/// Which patches the build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Series {
    /// None that change what jaccl does.
    Stock,
    /// The pin's whole series.
    #[default]
    Patched,
}

fn presets() -> impl TypedValueParser<Value = Preset> {
    let values = Preset::ALL
        .iter()
        .map(|preset| PossibleValue::new(preset.name).help(preset.purpose));
    PossibleValuesParser::new(values)
        .map(|name| Preset::find(&name).expect("the parser lets only presets pass"))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("write 1 or more".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err("write a whole number, 1 or more".to_owned()),
    }
}

/// Reads seconds above 0, as 20 or 2.5.
///
/// # Errors
/// What to write instead.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds: &f64| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "write seconds above 0, such as 20".to_owned())
}
