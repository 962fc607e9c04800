//! The flags of `cargo xtask verify`. Every field of a case has one.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use pins::Series;
use rail_bench::AfterHang;
use rail_verify::{
    case::{Backend, Direction, Dtype, Frames, Op},
    selection::{Level, Selection, SelectionError, ranks, wires},
};

use crate::{
    bench_flags::after_hang,
    flags::{self, ReportFormat, positive_time},
};

/// The variants to verify, and the level.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "A failure is reported with the flags that run just it again. Flags that are left \
                  out of such a selection take every value of the level.\n\nExit codes: 0 every case of \
                  every variant passed, 1 some did not, 2 the selection is empty, 130 interrupted: the \
                  report has what was found by then."
)]
pub struct Verify {
    /// The pins to verify, folders below patches/, or all [default: the default pin]
    #[arg(long, value_name = "PIN,...", value_delimiter = ',')]
    pub mlx: Vec<String>,
    /// Which patches a build has
    #[arg(
        long,
        value_name = "SERIES,...",
        value_delimiter = ',',
        default_value = "patched",
        value_parser = one_of([
            (Series::Stock, "stock", "Upstream's behaviour"),
            (Series::Patched, "patched", "The fixes"),
            (Series::Tuned, "tuned", "The fixes, and what makes jaccl faster"),
        ])
    )]
    pub series: Vec<Series>,
    /// Verify this wheel of MLX, installed into a fresh Python, in place of builds of jaccl
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mlx", "series", "each_patch"])]
    pub wheel: Option<PathBuf>,
    /// How much is tried
    #[arg(long, value_name = "LEVEL", default_value = "quick", value_parser = one_of([
        (Level::Quick, "quick", "A few minutes a variant at most: every operation and setting, few lengths"),
        (Level::Full, "full", "Half an hour a variant at most: every boundary, every dtype"),
        (Level::Soak, "soak", "Random sequences until Ctrl-C or --for"),
    ]))]
    pub level: Level,
    /// Prove every patch of the series: without a fix the cases of its X-Verdicts fail as it says,
    /// with it they pass; of tuned also that the benchmarks of X-Gain take less time with a
    /// performance patch, as it says
    #[arg(long, conflicts_with_all = [
        "level", "span", "op", "backend", "ranks", "wires", "bytes", "dtype",
        "frames", "direction", "in_place", "seed", "filter",
    ])]
    pub each_patch: bool,
    /// Count what jaccl takes of each device, beside what a Mac's device has: queue pairs, memory
    /// regions, depth
    #[arg(long, conflicts_with_all = [
        "each_patch", "wheel", "level", "span", "op", "bytes", "dtype", "direction", "in_place",
        "seed", "filter", "out_dir", "groups",
    ])]
    pub resources: bool,
    /// Only these patches
    #[arg(
        long,
        value_name = "NAME,...",
        value_delimiter = ',',
        requires = "each_patch"
    )]
    pub patch: Vec<String>,
    /// Sweep this matrix, which somebody else made, with every operation of the level: the JSON
    /// that jaccl reads (MLX_IBV_DEVICES), a hostfile or an instance of exo's. Its ranks, wires
    /// and backend are the sweep's [default: verify's own matrices, every two ranks joined]
    #[arg(long, value_name = "FILE", conflicts_with = "each_patch")]
    pub devices: Option<PathBuf>,
    /// The nodes and cables, as a rig.toml, also on other machines: those below --devices, whose
    /// rows are the nodes that it names, else the rig's in their order; without --devices those of
    /// the planner's matrix [default: what the matrix itself states, index by index]
    #[arg(long, value_name = "FILE", conflicts_with = "each_patch")]
    pub rig: Option<PathBuf>,
    /// Whether the next cases are tried after one that hung [default: continue over emulated
    /// cables, stop over real ones, because the devices may stay wedged]
    #[arg(long, value_name = "WHAT", value_parser = after_hang(), conflicts_with = "each_patch")]
    pub after_hang: Option<AfterHang>,
    /// Which cases
    #[command(flatten)]
    pub selection: SelectionFlags,
    /// Groups of ranks at once [default: one for every four processors]
    #[arg(long, value_name = "N")]
    pub groups: Option<NonZeroUsize>,
    /// End a soak after this time, such as "5 min"; a number alone is seconds
    #[arg(long = "for", value_name = "TIME", value_parser = positive_time)]
    pub span: Option<Duration>,
    /// How the verdicts are printed
    #[arg(long, value_enum, default_value_t)]
    pub format: ReportFormat,
    /// Also write the report into this folder: verify.json, verify.md and verify.html, or
    /// verify-patches.json and verify-patches.md with --each-patch
    #[arg(long, value_name = "DIR")]
    pub out_dir: Option<PathBuf>,
}

/// Flags that do not go together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlagsError {
    /// An end for a run that ends by itself.
    #[error("--for ends a soak, and the level is {}; leave it out, or add --level soak", .0.name())]
    Span(Level),
    /// A series in which no patch proves itself.
    #[error(
        "--each-patch: the patches of stock change nothing that could be proved; leave --series out, or name patched or tuned"
    )]
    NothingToProve,
    /// A flag that the level does not support.
    #[error(transparent)]
    Selection(#[from] SelectionError),
}

impl Verify {
    /// Refuses flags that would change nothing.
    ///
    /// # Errors
    /// Names the first one.
    pub fn check(&self) -> Result<(), FlagsError> {
        if self.each_patch && self.series.iter().all(|it| *it == Series::Stock) {
            return Err(FlagsError::NothingToProve);
        }
        match self.level {
            Level::Soak => Ok(self.selection.selection().check_soak()?),
            level if self.span.is_some() => Err(FlagsError::Span(level)),
            Level::Quick | Level::Full => Ok(()),
        }
    }
}

/// The cases of a level to run. An empty field selects every value of the level.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which cases")]
pub struct SelectionFlags {
    /// send, recv, all_sum, all_max, all_min, all_gather, sum_scatter, barrier, sequence, init, or a condition
    #[arg(long, value_name = "OP,...", value_delimiter = ',')]
    pub op: Vec<Op>,
    /// How jaccl uses the cables
    #[arg(long, value_name = "BACKEND,...", value_delimiter = ',', value_parser = flags::one_of(Backend::ALL, Backend::name))]
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
    #[arg(long, value_name = "MODE,...", value_delimiter = ',', value_parser = flags::one_of(Frames::ALL, Frames::name))]
    pub frames: Vec<Frames>,
    /// From rank to rank, as 0->1; all for collectives
    #[arg(long, value_name = "DIRECTION,...", value_delimiter = ',')]
    pub direction: Vec<Direction>,
    /// Whether the input lies where the output goes
    #[arg(long, value_name = "BOOL,...", value_delimiter = ',')]
    pub in_place: Vec<bool>,
    /// Sequences by number instead of the level's; the first one of a soak
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    pub seed: Vec<u64>,
    /// Only cases whose line has all of these words, as "ring wires=3 f32"
    #[arg(long, value_name = "WORDS")]
    pub filter: Option<String>,
}

impl SelectionFlags {
    /// The selection of these flags.
    pub fn selection(&self) -> Selection {
        let flags = self.clone();
        Selection {
            op: flags.op,
            backend: flags.backend,
            ranks: flags.ranks,
            wires: flags.wires,
            bytes: flags.bytes,
            dtype: flags.dtype,
            frames: flags.frames,
            direction: flags.direction,
            in_place: flags.in_place,
            seed: flags.seed,
            filter: flags.filter,
        }
    }
}

/// Reads one of a few values by name; the help explains each.
fn one_of<T, const N: usize>(
    values: [(T, &'static str, &'static str); N],
) -> impl TypedValueParser<Value = T>
where
    T: Clone + Send + Sync + 'static,
{
    let known = values
        .iter()
        .map(|(_, name, help)| PossibleValue::new(*name).help(*help));
    PossibleValuesParser::new(known.collect::<Vec<_>>()).map(move |read| {
        let named = values.iter().find(|(_, name, _)| *name == read);
        named.expect("clap lets known names through").0.clone()
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[command(flatten)]
        verify: Verify,
    }

    fn parse(flags: &str) -> Result<Verify, String> {
        let words = ["verify"].into_iter().chain(flags.split_whitespace());
        let flags = Cli::try_parse_from(words).map_err(|error| error.to_string())?;
        flags.verify.check().map_err(|error| error.to_string())?;
        Ok(flags.verify)
    }

    /// Each flag either works or is refused by name.
    #[test]
    fn flags_that_would_change_nothing_are_refused() {
        for (flags, part) in [
            ("--for 5min", "--for"),
            ("--for 5min --level full", "--level soak"),
            ("--level soak --dtype f32", "--dtype"),
            ("--level soak --filter ring", "--filter"),
            ("--level soak --op recv", "--op"),
            ("--patch ring-recv-prefill", "--each-patch"),
            ("--each-patch --op recv", "--op"),
            ("--each-patch --backend ring", "--backend"),
            ("--each-patch --ranks 2", "--ranks"),
            ("--each-patch --wires 2", "--wires"),
            ("--each-patch --bytes 2", "--bytes"),
            ("--each-patch --dtype u8", "--dtype"),
            ("--each-patch --frames big", "--frames"),
            ("--each-patch --direction all", "--direction"),
            ("--each-patch --in-place true", "--in-place"),
            ("--each-patch --seed 1", "--seed"),
            ("--each-patch --filter ring", "--filter"),
            ("--each-patch --series stock", "--series"),
            ("--each-patch --level full", "--level"),
            ("--each-patch --devices devices.json", "--devices"),
            ("--each-patch --rig rig.toml", "--rig"),
            ("--each-patch --after-hang stop", "--after-hang"),
            ("--each-patch --for 1min", "--for"),
            ("--op receive", "recv, all_sum"),
            ("--level huge", "[possible values: quick, full, soak]"),
            (
                "--series upstream",
                "[possible values: stock, patched, tuned]",
            ),
            ("--backend torus", "[possible values: mesh, ring]"),
            ("--ranks 9", "expected 2 to 8 ranks"),
        ] {
            let error = parse(flags).expect_err(flags);
            assert!(error.contains(part), "{flags}: {error}");
        }
        for flags in [
            "",
            "--level soak --for 5min --op sequence --backend mesh,ring --seed 7",
            "--each-patch --patch ring-recv-prefill --mlx all --out-dir report",
            "--each-patch --series tuned",
            "--each-patch --series stock,patched",
            "--op recv --direction 0->1 --in-place false --groups 2",
            "--devices devices.json --rig rig.toml --level soak",
            "--rig rig.toml --after-hang stop",
        ] {
            parse(flags).unwrap_or_else(|error| panic!("{flags}: {error}"));
        }
    }

    /// The command line and the library read the command below a failure in the same way.
    #[test]
    fn flags_select_what_the_library_reads_from_them() {
        let flags = "--op recv,send --backend ring --ranks 2,3 --wires 3 --bytes 12288 --dtype u8 \
                     --frames small --direction 0->1,all --in-place false,true --seed 4 --filter ring";
        let words: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        let read = parse(flags).expect("flags").selection.selection();
        assert_eq!(Selection::parse(&words), Ok(read));
        for flag in Selection::FLAGS {
            assert!(flags.contains(flag), "{flag}");
        }
    }
}
