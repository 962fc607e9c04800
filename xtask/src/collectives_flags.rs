//! The flags of `cargo xtask collectives`.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use collectives::{
    Cells, Op, Options,
    cells::{Cables, Ranks, Sizes, flat},
};
use pins::Series;
use rail_matrix::MAX_RAILS;
use rail_verify::case::{Backend, Dtype, Frames};
use rig::{
    Link, Rig,
    units::{parse_rate, parse_time},
};

use crate::flags::one_of;

const EXAMPLES: &str = "\
Examples:
  cargo xtask collectives
      all_sum of the patched default pin over 1 to 3 cables, both backends.
  cargo xtask collectives --op send,all_sum,all_gather --bytes 4KiB..16MiB --cables 1..4
      How much of the line each operation gets, by size.
  cargo xtask collectives --mlx 0.31.2,0.32.4 --bytes 4KiB
      Two builds in turns; the last column compares them.
  cargo xtask collectives --bandwidth 6.5GB/s --latency 5us --dilate 1000 --bytes 4KiB
      In virtual time, at what a Mac's cables have. No Mac was measured.

Exit codes: 0 every row has a time and right data, 1 one has not, 2 your flags or input,
130 interrupted: the report has the rows so far.";

/// What is measured, and how.
#[derive(Debug, Clone, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct Collectives {
    /// The pins, folders below patches/, or all [default: the default pin]
    #[arg(
        long,
        value_name = "PIN,...",
        value_delimiter = ',',
        help_heading = "What is run"
    )]
    pub mlx: Vec<String>,

    /// Which patches a build has. Several builds take turns, and each is compared with the first
    #[arg(
        long,
        value_name = "SERIES,...",
        value_delimiter = ',',
        default_value = "patched",
        value_parser = one_of(Series::ALL, Series::name),
        help_heading = "What is run"
    )]
    pub series: Vec<Series>,

    #[command(flatten)]
    pub cells: CellFlags,

    /// Measure the nodes and cables of this rig.toml, also on other machines. Ranks are its nodes;
    /// cables, unless chosen, all that every two joined nodes have [default: emulated cables of one
    /// kind between any number of ranks]
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["bandwidth", "latency", "dilate", "foreign", "meter"],
        help_heading = "Cables"
    )]
    pub rig: Option<PathBuf>,

    /// The line rate of a cable
    #[arg(
        long,
        value_name = "RATE",
        default_value = "50 MB/s",
        value_parser = parse_rate,
        help_heading = "Cables"
    )]
    pub bandwidth: u64,

    /// The latency of a cable
    #[arg(
        long,
        value_name = "TIME",
        default_value = "20 us",
        value_parser = parse_time,
        help_heading = "Cables"
    )]
    pub latency: Duration,

    /// Emulate cables that are N times slower, and divide every time by N: virtual time, in which
    /// the processors' own time nearly vanishes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "Cables"
    )]
    pub dilate: u32,

    /// Calls before the measured ones of each turn [default: 20 ms of them, at most 10]
    #[arg(long, value_name = "N", help_heading = "How it is measured")]
    pub warmup: Option<usize>,

    /// Measured calls of a row, in at most 10 turns [default: half a second of them, 3 to 500]
    #[arg(long, value_name = "N", help_heading = "How it is measured")]
    pub iterations: Option<NonZeroUsize>,

    /// Also run `allreduce_bench`, MLX's own benchmark of jaccl, compiled as it is, over the same
    /// cables, for every all_sum of f32, f16 or bf16: a column beside ours
    #[arg(long, help_heading = "How it is measured")]
    pub foreign: bool,

    /// Also run every build behind the meter, which counts what each device sends: the last column
    /// is what it costs
    #[arg(long, conflicts_with = "foreign", help_heading = "How it is measured")]
    pub meter: bool,

    /// What to print on stdout; json has every sample, schema mlx-rails/collectives/1
    #[arg(long, value_enum, default_value_t, help_heading = "What is reported")]
    pub format: Format,

    /// Also write collectives.json, collectives.md and collectives.csv into this folder
    #[arg(long, value_name = "DIR", help_heading = "What is reported")]
    pub out_dir: Option<PathBuf>,
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
}

/// The lists of [`Cells`]. One that is left out has the library's default.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "What is measured")]
pub struct CellFlags {
    /// send, all_sum, all_max, all_min, all_gather, sum_scatter, barrier [default: all_sum]
    #[arg(long, value_name = "OP,...", value_delimiter = ',')]
    pub op: Vec<Op>,
    /// How jaccl uses the cables [default: both]
    #[arg(long, value_name = "BACKEND,...", value_delimiter = ',', value_parser = one_of(Backend::ALL, Backend::name))]
    pub backend: Vec<Backend>,
    /// Ranks, 2 to 8, as 2,3 or 2..4 [default: 2]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub ranks: Vec<Ranks>,
    /// Cables between each two ranks, 1 to 4, as 1,3 or 1..3 [default: 1..3]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub cables: Vec<Cables>,
    /// small (4 KiB), big (up to 512 KiB) [default: both]
    #[arg(long, value_name = "MODE,...", value_delimiter = ',', value_parser = one_of(Frames::ALL, Frames::name))]
    pub frames: Vec<Frames>,
    /// Lengths passed to jaccl: 4096, 64KiB, or 4KiB..16MiB, which doubles [default: 4KiB, 64KiB,
    /// 1MiB, 4MiB]
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',')]
    pub bytes: Vec<Sizes>,
    /// bool, i8 to i64, u8 to u64, f16, bf16, f32, f64, c64 [default: f32]
    #[arg(long, value_name = "DTYPE,...", value_delimiter = ',')]
    pub dtype: Vec<Dtype>,
}

impl CellFlags {
    /// The cells of these flags.
    pub fn cells(&self) -> Cells {
        fn or<T>(wanted: Vec<T>, usual: Vec<T>) -> Vec<T> {
            match wanted.is_empty() {
                true => usual,
                false => wanted,
            }
        }
        let (flags, usual) = (self.clone(), Cells::default());
        Cells {
            op: or(flags.op, usual.op),
            backend: or(flags.backend, usual.backend),
            ranks: or(flat(flags.ranks), usual.ranks),
            cables: or(flat(flags.cables), usual.cables),
            frames: or(flags.frames, usual.frames),
            bytes: or(flat(flags.bytes), usual.bytes),
            dtype: or(flags.dtype, usual.dtype),
        }
    }
}

impl Collectives {
    /// The cells of these flags: of the rig, if there is one.
    pub fn cells(&self, rig: Option<&Rig>) -> Cells {
        let mut cells = self.cells.cells();
        if let Some(rig) = rig {
            if self.cells.ranks.is_empty() {
                cells.ranks = vec![rig.nodes.len()];
            }
            if self.cells.cables.is_empty() {
                cells.cables = (1..=rig.cables_per_pair().min(MAX_RAILS)).collect();
            }
        }
        cells
    }

    /// The options of these flags: over the slowest cable of the rig, if there is one.
    pub fn options(&self, rig: Option<&Rig>) -> Options {
        let cables = rig.into_iter().flat_map(|rig| &rig.cables);
        let slowest = cables
            .map(|it| it.link)
            .min_by_key(|it| it.bytes_per_second);
        Options {
            link: slowest.unwrap_or(Link {
                bytes_per_second: self.bandwidth,
                latency: self.latency,
            }),
            dilate: self.dilate,
            warmup: self.warmup,
            iterations: self.iterations.map(NonZeroUsize::get),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        collectives: Collectives,
    }

    fn parse(flags: &str) -> Result<Collectives, String> {
        let words = ["collectives"].into_iter().chain(flags.split_whitespace());
        let flags = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        Ok(flags.collectives)
    }

    #[test]
    fn the_defaults_are_the_librarys() {
        let flags = parse("").expect("flags");
        assert_eq!(flags.cells.cells(), Cells::default());
        assert_eq!(flags.options(None), Options::default());
    }

    /// The command line and the library read the line of a patch in the same way.
    #[test]
    fn flags_select_what_the_library_reads_from_them() {
        let line = "--op send,all_sum --backend ring --ranks 2..3 --cables 1,3 --frames big \
                    --bytes 12288,1MiB..4MiB --dtype u8,bf16";
        let flags = parse(line).expect("flags").cells.cells();
        assert_eq!(Cells::parse(line), Ok(flags));
        for flag in Cells::FLAGS {
            assert!(line.contains(flag), "{flag}");
        }
    }

    #[test]
    fn every_other_flag_reaches_the_library() {
        let flags = parse(
            "--bandwidth 6.5GB/s --latency 5us --dilate 1000 --warmup 0 --iterations 7 \
             --mlx 0.31.2,0.32.4 --series stock,patched --format csv --out-dir out",
        )
        .expect("flags");
        let options = flags.options(None);
        assert_eq!(options.link.bytes_per_second, 6_500_000_000);
        assert_eq!(options.link.latency, Duration::from_micros(5));
        let counts = (options.dilate, options.warmup, options.iterations);
        assert_eq!(counts, (1000, Some(0), Some(7)));
        assert!(!flags.meter && parse("--meter").expect("flags").meter);
        assert_eq!(flags.mlx, ["0.31.2", "0.32.4"]);
        assert_eq!(flags.series, [Series::Stock, Series::Patched]);
        assert_eq!(flags.format, Format::Csv);
        assert_eq!(flags.out_dir, Some("out".into()));
    }

    #[test]
    fn bad_values_are_named_with_the_remedy() {
        for (flags, part) in [
            ("--op recv", "send, all_sum"),
            ("--cables 5", "expected 1 to 4 cables"),
            ("--ranks 1", "expected 2 to 8 ranks"),
            ("--bytes many", "16MiB"),
            ("--backend torus", "[possible values: mesh, ring]"),
            ("--frames huge", "[possible values: small, big]"),
            ("--series upstream", "patched"),
            ("--dilate 0", "1.."),
            ("--iterations 0", "--iterations"),
            ("--bandwidth fast", "50 MB/s"),
            ("--latency soon", "20 us"),
            ("--format html", "csv"),
        ] {
            let error = parse(flags).expect_err(flags);
            assert!(error.contains(part), "{flags}: {error}");
        }
    }
}
