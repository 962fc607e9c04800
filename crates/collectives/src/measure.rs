//! Builds in turns: a group of ranks of each, of which one works at a time.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    time::{Duration, Instant},
};

use jaccl::{Features, Measure, Report, Step};
use launch::{Launcher, Limit, Progress};
use rail_matrix::PlanError;
use rail_verify::{
    case::Setting,
    group::{End, Ends, Group, GroupError, Programs, Until, finding},
    run::{Stop, Variant},
    setup::Setup,
    system::available_memory,
    verdict::Verdict,
};
use rig::Rig;
use stats::Summary;
use tempfile::TempDir;

use crate::{
    Cells, Op, Options, Row,
    cells::{Cell, CellsError},
    foreign::Foreign,
    options::{self, OptionsError, Turn},
    row::Samples,
};

/// The limit on silence while joining: jaccl itself waits 1, 2 and 4 s between attempts to
/// connect (`SideChannel` in `rdma.cpp`).
const JOINING: Duration = Duration::from_secs(10);

/// The least limit on silence within a turn.
const SILENCE: Duration = Duration::from_secs(2);

/// The longest frame of jaccl (`FRAME_SIZE` and `BUFFER_SIZES` in `rdma.h`).
const LONGEST_FRAME: f64 = (512 << 10) as f64;

/// Measures builds of jaccl.
pub struct Meter<'a> {
    /// The programs.
    pub programs: &'a Programs,
    /// Starts the ranks; its stop flag ends them.
    pub launcher: &'a Launcher,
    /// Receives the progress.
    pub progress: &'a dyn Progress,
    /// The library of the meter (the crate `meter-verbs`). If it is there, every second
    /// build runs behind it, so that its cost shows beside the build before.
    pub meter: Option<&'a Path>,
    /// The rig whose nodes and cables are measured. Without one, each two ranks are joined by
    /// emulated cables of [`Options::link`].
    pub rig: Option<&'a Rig>,
}

/// What was measured.
#[derive(Debug)]
pub struct Measured {
    /// A row for each build in each cell that it has, those of a cell beside each other.
    /// A cell that was not finished has no row.
    pub rows: Vec<Row>,
    /// The number of rows if nothing had stopped it.
    pub planned: usize,
    /// Why it did not finish.
    pub stopped: Option<Stop>,
}

impl Measured {
    /// Whether every row was measured, with right data, also by the foreign program if it
    /// was run.
    pub fn passed(&self) -> bool {
        let right = |row: &Row| {
            row.verdict == Verdict::Pass && row.foreign.as_ref().is_none_or(Foreign::passed)
        };
        self.stopped.is_none() && self.rows.iter().all(right)
    }
}

/// Why nothing can be measured. The cause is outside jaccl.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The cells do not go together.
    #[error(transparent)]
    Cells(#[from] CellsError),
    /// The options cannot be obeyed.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The rig cannot join its nodes as a cell wants.
    #[error("the rig has no {cell}")]
    Rig {
        /// The cell.
        cell: Box<Cell>,
        /// Why.
        #[source]
        source: Box<PlanError>,
    },
    /// A cell has another number of ranks than the rig has nodes.
    #[error("{ranks} ranks were asked for, and the rig has {nodes} nodes")]
    Ranks {
        /// The cell's.
        ranks: usize,
        /// The rig's.
        nodes: usize,
    },
    /// A build cannot be loaded.
    #[error(transparent)]
    Library(#[from] jaccl::Error),
    /// There is no place for the meter's counters.
    #[error("cannot make a folder for the meter's counters")]
    Counters(#[source] io::Error),
    /// No build has the operation.
    #[error("{op} is in none of these builds: {builds}")]
    Nowhere {
        /// The operation.
        op: Op,
        /// The names of the builds.
        builds: String,
    },
    /// The buffers do not fit the machine's memory.
    #[error("{cell} takes {needed} bytes of memory, and {available} are available")]
    Memory {
        /// The cell.
        cell: Box<Cell>,
        /// What its ranks need together.
        needed: u64,
        /// What there is.
        available: u64,
    },
}

impl MeasureError {
    /// The remedy, if there is one.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Library(error) => error.help(),
            Self::Nowhere { .. } => Some("name a newer MLX with --mlx".to_owned()),
            Self::Memory { .. } => Some("choose smaller --bytes, or fewer --ranks".to_owned()),
            Self::Counters(_) => Some("free some space there, or set TMPDIR".to_owned()),
            Self::Rig { .. } => Some("choose other --cables or --backend".to_owned()),
            Self::Ranks { .. } => Some("leave --ranks out: each node of a rig is one".to_owned()),
            Self::Cells(_) | Self::Options(_) => None,
        }
    }
}

/// A build, and its group of ranks while there is one.
struct Player<'a> {
    /// The position of the build.
    number: usize,
    variant: &'a Variant,
    /// What its ranks are started with.
    programs: Programs,
    variables: Vec<(String, String)>,
    features: Features,
    /// The cables that the group is joined by.
    joined: Option<(Setting, Group)>,
    /// How joining failed, which would fail again.
    refused: BTreeMap<Setting, (Verdict, String)>,
}

impl Meter<'_> {
    /// Measures every cell with every build that has its operation. Builds take turns
    /// within a cell: a sample of each, and again. If the run is stopped, the rows until
    /// then are kept ([`Measured::stopped`]).
    ///
    /// # Errors
    /// If nothing can be measured.
    pub fn measure(
        &self,
        variants: &[Variant],
        cells: &Cells,
        options: &Options,
    ) -> Result<Measured, MeasureError> {
        cells.check()?;
        options.check()?;
        let counters = match self.meter {
            Some(_) => Some(tempfile::tempdir().map_err(MeasureError::Counters)?),
            None => None,
        };
        let mut players = Vec::new();
        for (number, variant) in variants.iter().enumerate() {
            let is_metered = number % 2 == 1;
            let counters = counters.as_ref().filter(|_| is_metered);
            let (programs, variables) = self.started_with(counters.map(TempDir::path));
            players.push(Player {
                number,
                variant,
                programs,
                variables,
                features: self.programs.rank.features(&variant.build)?,
                joined: None,
                refused: BTreeMap::new(),
            });
        }
        let cells = possible(cells.cells(), &players)?;
        for cell in &cells {
            self.setup(cell, options)?;
        }
        let has = |cell: &&Cell, player: &&Player<'_>| cell.op.is_in(player.features);
        let planned = cells
            .iter()
            .map(|cell| players.iter().filter(|player| has(&cell, player)).count())
            .sum();
        let mut measured = Measured {
            rows: Vec::new(),
            planned,
            stopped: None,
        };
        let names: Vec<_> = variants.iter().map(Variant::name).collect();
        self.progress.step("Measuring", &names.join(", "));
        for cell in &cells {
            match self.cell(&mut players, cell, options) {
                Ok(rows) => measured.rows.extend(rows),
                Err(error) => {
                    measured.stopped = Some(error.into());
                    break;
                }
            }
            let (done, all) = (measured.rows.len() as u64, planned as u64);
            self.progress.advance(done, all, "rows");
        }
        self.progress.finish();
        Ok(measured)
    }

    /// The programs of a build and the variables of its ranks. With a folder for counters
    /// the meter is in between.
    fn started_with(&self, counters: Option<&Path>) -> (Programs, Vec<(String, String)>) {
        let own = self.programs;
        let Some((library, folder)) = self.meter.zip(counters) else {
            return (own.clone(), Vec::new());
        };
        let variable = |name: &str, path: &Path| (name.to_owned(), path.display().to_string());
        let variables = [
            variable(meter::NEXT_VARIABLE, &own.provider),
            variable(meter::FILE_VARIABLE, &folder.join("counters")),
        ];
        let programs = Programs {
            provider: library.to_owned(),
            ..own.clone()
        };
        (programs, variables.into())
    }

    fn cell(
        &self,
        players: &mut [Player<'_>],
        cell: &Cell,
        options: &Options,
    ) -> Result<Vec<Row>, GroupError> {
        let mut playing: Vec<_> = players
            .iter_mut()
            .filter(|player| cell.op.is_in(player.features))
            .map(|player| (player, Samples::default()))
            .collect();
        for (player, samples) in &mut playing {
            samples.failed = self.join(player, cell, options)?;
        }
        let begun = Instant::now();
        for (number, turn) in options.turns(cell).into_iter().enumerate() {
            if options.is_enough(begun.elapsed()) {
                break;
            }
            // Each of two is first as often as the other.
            let order: Box<dyn Iterator<Item = _>> = match number % 2 {
                0 => Box::new(playing.iter_mut()),
                _ => Box::new(playing.iter_mut().rev()),
            };
            for (player, samples) in order {
                self.turn(player, samples, cell, turn, options)?;
            }
        }
        let first = playing.first().map(|(_, samples)| samples.clone());
        let row = |(number, (player, samples)): (usize, &(&mut Player<'_>, Samples))| {
            let first = first.as_ref().filter(|_| number > 0);
            let build = (player.number, player.variant);
            Row::new(build, cell, options, samples, first)
        };
        let rows: Vec<_> = playing.iter().enumerate().map(row).collect();
        for row in rows.iter().filter(|row| row.verdict != Verdict::Pass) {
            let (name, detail) = (row.verdict.name(), row.detail.as_deref().unwrap_or(""));
            let Row { mlx, series, .. } = row;
            self.progress
                .note(&format!("{name:<8} MLX {mlx} ({series}), {cell}: {detail}"));
        }
        Ok(rows)
    }

    /// How the ranks of a cell are joined.
    fn setup(&self, cell: &Cell, options: &Options) -> Result<Setup, MeasureError> {
        let (setting, Some(rig)) = (cell.setting(), self.rig) else {
            return Ok(options::over(Setup::of(cell.setting()), options.emulated()));
        };
        let (ranks, nodes) = (setting.ranks, rig.nodes.len());
        if ranks != nodes {
            return Err(MeasureError::Ranks { ranks, nodes });
        }
        Setup::over(rig, setting).map_err(|source| MeasureError::Rig {
            cell: Box::new(*cell),
            source: Box::new(source),
        })
    }

    /// Joins a build's group, if it is not there. Returns how it failed.
    fn join(
        &self,
        player: &mut Player<'_>,
        cell: &Cell,
        options: &Options,
    ) -> Result<Option<(Verdict, String)>, GroupError> {
        let setting = cell.setting();
        if let Some((joined, _)) = &player.joined
            && *joined == setting
        {
            return Ok(None);
        }
        // The old group ends before the new one begins.
        player.joined = None;
        if let Some(refused) = player.refused.get(&setting) {
            return Ok(Some(refused.clone()));
        }
        let mut setup = self.setup(cell, options).expect("it was tried before");
        setup.variables.extend(player.variables.iter().cloned());
        let build = &player.variant.build;
        let mut group = Group::start(&player.programs, build, &setup, self.launcher)?;
        let ends = group.joined(JOINING.into(), Until::FirstFailure)?;
        let failed = finding(&ends).map(|it| (it.verdict, format!("{}, while joining", it.detail)));
        match &failed {
            None => player.joined = Some((setting, group)),
            Some(failed) => {
                player.refused.insert(setting, failed.clone());
            }
        }
        Ok(failed)
    }

    /// Takes a turn, unless this build has failed in this cell.
    fn turn(
        &self,
        player: &mut Player<'_>,
        samples: &mut Samples,
        cell: &Cell,
        turn: Turn,
        options: &Options,
    ) -> Result<(), GroupError> {
        let Some((_, group)) = &mut player.joined else {
            return Ok(());
        };
        let measure = Measure {
            step: Step {
                operation: cell.op.operation(),
                bytes: cell.bytes,
                dtype: cell.dtype,
                in_place: false,
                salt: 0,
            },
            warmup: turn.warmup,
            iterations: turn.iterations,
        };
        let ends = group.measure(measure, self.limit(cell, options))?;
        if let Some(finding) = finding(&ends) {
            samples.failed = Some((finding.verdict, finding.detail));
            player.joined = None;
            return Ok(());
        }
        let (times, wrong, detail) = of_ranks(&ends);
        samples.wrong += wrong;
        if let Some(detail) = detail {
            samples.failed.get_or_insert((Verdict::Wrong, detail));
        }
        // A message of a round trip goes both ways.
        let calls = if cell.op == Op::Send { 2.0 } else { 1.0 };
        let scale = 1e3 * calls * f64::from(options.dilate);
        let scaled = times.into_iter().map(|nanos| nanos / scale);
        samples.turns.push(scaled.collect());
        Ok(())
    }

    /// The limit on silence in a turn. The longest frame may be under way in it.
    fn limit(&self, cell: &Cell, options: &Options) -> Limit {
        let link = options.emulated();
        let frame = Duration::from_secs_f64(LONGEST_FRAME / link.bytes_per_second as f64);
        let (input, output) = cell.buffers();
        // Two inputs are made and compared, three outputs are compared.
        let bytes = (4 * input) as f64 + (3 * output * (cell.ranks + 1)) as f64;
        Limit {
            silence: SILENCE.max(20 * (link.latency + frame)),
            work: self.programs.rank.work_per_byte().mul_f64(bytes),
        }
    }
}

/// The cells whose operation a build has.
fn possible(cells: Vec<Cell>, players: &[Player<'_>]) -> Result<Vec<Cell>, MeasureError> {
    for cell in &cells {
        if !players.iter().any(|it| cell.op.is_in(it.features)) {
            let builds: Vec<_> = players.iter().map(|it| it.variant.name()).collect();
            return Err(MeasureError::Nowhere {
                op: cell.op,
                builds: builds.join(", "),
            });
        }
        let (input, output) = cell.buffers();
        let rank = input
            .saturating_mul(2)
            .saturating_add(output.saturating_mul(3));
        let needed = rank.saturating_mul(cell.ranks) as u64;
        if let Some(available) = available_memory().filter(|it| needed > *it) {
            return Err(MeasureError::Memory {
                cell: Box::new(*cell),
                needed,
                available,
            });
        }
    }
    Ok(cells)
}

/// The mean time of the ranks in each call, in nanoseconds, the number of wrong elements
/// of all, and the first wrong byte.
fn of_ranks(ends: &Ends) -> (Vec<f64>, u64, Option<String>) {
    let mut ranks = Vec::new();
    let (mut wrong, mut detail) = (0, None);
    for (rank, end) in ends {
        let End::Report(Report::Measured {
            nanos,
            wrong: more,
            detail: first,
        }) = end
        else {
            continue;
        };
        if !nanos.is_empty() {
            ranks.push(nanos);
        }
        wrong += more;
        let first = first.as_ref();
        detail = detail.or_else(|| first.map(|it| format!("rank {rank} has wrong data: {it}")));
    }
    let calls = ranks.iter().map(|nanos| nanos.len()).min().unwrap_or(0);
    let mean = |call: usize| {
        let times = ranks.iter().map(|nanos| nanos[call] as f64);
        Summary::of(times.collect()).map_or(0.0, |it| it.mean)
    };
    ((0..calls).map(mean).collect(), wrong, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_the_mean_of_the_ranks_that_take_part() {
        let report = |nanos: &[u64], wrong, detail: Option<&str>| {
            End::Report(Report::Measured {
                nanos: nanos.to_vec(),
                wrong,
                detail: detail.map(str::to_owned),
            })
        };
        let ends = Ends::from([
            (0, report(&[10, 20], 0, None)),
            (1, report(&[30, 20], 2, Some("byte 3"))),
            (2, report(&[], 0, None)),
        ]);
        let (times, wrong, detail) = of_ranks(&ends);
        assert_eq!((times, wrong), (vec![20.0, 20.0], 2));
        assert_eq!(detail.as_deref(), Some("rank 1 has wrong data: byte 3"));
    }
}
