//! The flags of `cargo xtask predict`.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use pins::{DEFAULT_PIN, Series};
use rail_bench::{
    Options, Settings, Workload, engine::Engine, launch::Limits, model::Model, plan::DEFAULTS,
    protocol::Strategy, sweep::CableCounts,
};
use rail_matrix::{Backend, Frames, Jaccl};
use rig::{Rig, units::parse_time};
use terminal::ReportFormat;

use crate::{
    bench_flags::{at_least_one, backends, engines, frames, series, strategies, timeout},
    flags::{Order, RigFile},
};

const EXAMPLES: &str = "\
Examples:
  cargo xtask predict
      The cells of the embedded rig. Each rank's share is computed by itself first.
  cargo xtask predict --against target/bench/0.31.2-patched/bench.json
      The same beside what was measured: the error, and what is explained.
  cargo xtask predict --rig macs.toml --fence '180 us'
      Two Macs: each computes its rank's share, and no cable is used. With MLX's usual fence
      on Metal.
  cargo xtask predict --rig macs.toml --calibration bench.json
      The same without the Macs, from the single process of a report.
  cargo xtask predict --published
      The model of a cell against figures that others published.

Nothing here is a measurement of a cell. docs/prediction.md says what is counted.";

/// What is predicted, and from what.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Predict {
    #[command(flatten)]
    pub rig: RigFile,

    /// How nodes become ranks
    #[arg(long, value_enum, default_value_t)]
    pub order: Order,

    /// Cables between two nodes, as 3, 1,3 or 1..3 [default: 1 to as many as `matrix`
    /// uses]
    #[arg(long, value_name = "COUNTS", help_heading = "What is predicted")]
    pub cables: Option<CableCounts>,

    /// How the model is spread over the nodes
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "tp,pp",
        value_name = "LIST",
        value_parser = strategies(),
        help_heading = "What is predicted"
    )]
    pub strategy: Vec<Strategy>,

    /// How jaccl connects the nodes
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "mesh,ring",
        value_name = "LIST",
        value_parser = backends(),
        help_heading = "What is predicted"
    )]
    pub backend: Vec<Backend>,

    /// The largest message jaccl sends in one piece
    #[arg(long, value_name = "FRAMES", default_value_t = Workload::DEFAULT.frames, value_parser = frames(), help_heading = "What is predicted")]
    pub frames: Frames,

    /// The pinned MLX
    #[arg(long, value_name = "PIN", default_value = DEFAULT_PIN, help_heading = "What is predicted")]
    pub mlx: String,

    /// Which patches the build has
    #[arg(long, value_name = "SERIES", default_value_t, value_parser = series(), help_heading = "What is predicted")]
    pub series: Series,

    /// What runs the model
    #[arg(long, default_value = "rust", value_name = "ENGINE", value_parser = engines(), help_heading = "What is predicted")]
    pub engine: Engine,

    /// The model, as `bench` takes it
    #[arg(
        long,
        value_name = "NAME|DIR|ORG/NAME",
        default_value_t = DEFAULTS.model.name().to_owned(),
        help_heading = "What is predicted"
    )]
    pub model: String,

    /// Length of the prompt
    #[arg(short, long, value_name = "N", default_value_t = Workload::DEFAULT.prompt_tokens, value_parser = at_least_one, help_heading = "What is predicted")]
    pub prompt_tokens: usize,

    /// Tokens of the prompt that are processed in one step [default: the engine's own]
    #[arg(long, value_name = "N", value_parser = at_least_one, help_heading = "What is predicted")]
    pub prefill_step: Option<usize>,

    /// Tokens that a measured run generates
    #[arg(short, long, value_name = "N", default_value_t = Workload::DEFAULT.generation_tokens, value_parser = at_least_two, help_heading = "From what")]
    pub gen_tokens: usize,

    /// Measured runs of each rank's share, in five launches
    #[arg(short, long, value_name = "N", default_value_t = 15, value_parser = at_least_one, help_heading = "From what")]
    pub repeat: usize,

    /// How long a rank may be silent before it counts as hung, such as "60 s"; this is for the
    /// longest step
    #[arg(long, value_name = "TIME", default_value = "20 s", value_parser = timeout, help_heading = "From what")]
    pub timeout: Duration,

    /// A bench.json whose single process counts for every rank [default: measure each rank's
    /// share now, on its node]
    #[arg(long, value_name = "FILE", help_heading = "From what")]
    pub calibration: Option<PathBuf>,

    /// Also show the cells of this bench.json, of the same rig, model and build: what was
    /// measured, the error, and how much is explained
    #[arg(long, value_name = "FILE", help_heading = "From what")]
    pub against: Option<PathBuf>,

    /// What a message costs beside jaccl: 180 us on Metal, 4 us there with
    /// MLX_METAL_FAST_SYNCH=1, nothing where processors compute [default: that of this
    /// machine]
    #[arg(long, value_name = "TIME", value_parser = parse_time, help_heading = "From what")]
    pub fence: Option<Duration>,

    /// Emulate cables that are N times slower, and divide every time by N [default: 1 for
    /// cables of at most 50 MB/s; of faster ones the least N at which they carry 50 MB/s
    /// and a message takes 20 ms]
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "From what"
    )]
    pub dilate: Option<u32>,

    /// Predict what others published, in place of a rig
    #[arg(
        long,
        conflicts_with_all = ["file", "calibration", "against", "cables", "model", "fence"],
        help_heading = "What is predicted"
    )]
    pub published: bool,

    /// What to print on stdout; json has schema mlx-rails/prediction/2
    #[arg(long, value_enum, default_value_t, help_heading = "What is reported")]
    pub format: ReportFormat,
}

impl Predict {
    /// The cells of `bench` with these flags.
    pub fn options(&self, rig: Rig, jaccl: Jaccl, model: Model) -> Options {
        Options {
            rig,
            engines: vec![self.engine],
            strategies: self.strategy.clone(),
            backends: self.backend.clone(),
            cables: self.cables.clone(),
            order: self.order.into(),
            jaccl,
            given: None,
            workloads: vec![Workload {
                prompt_tokens: self.prompt_tokens,
                prefill_step: self.prefill_step,
                generation_tokens: self.gen_tokens,
                frames: self.frames,
                ..Workload::DEFAULT
            }],
            settings: Settings {
                model,
                repeat: self.repeat,
                rounds: 5,
                limits: Limits {
                    silence: self.timeout,
                    ..DEFAULTS.limits
                },
                ..DEFAULTS
            },
            ..Options::default()
        }
    }
}

/// The time between two tokens is asked for.
fn at_least_two(text: &str) -> Result<usize, String> {
    match at_least_one(text)? {
        1 => Err("write 2 or more: one token has no rate".to_owned()),
        number => Ok(number),
    }
}
