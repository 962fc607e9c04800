//! `cargo xtask predict`: what cells should take that nobody has run.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    hint::black_box,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use collectives::{Cells, Meter, Op, Options};
use launch::Silent;
use pins::{Pin, Series};
use predict::{
    Alone, Call, Cell, Measured, Message, Prediction, Report, Row, Shape, Timed, Work,
    measured::Times as Took,
    published::{FAST_FENCE, FENCE},
    report::SCHEMA,
    share_of, steps,
};
use rail_bench::{
    BuildInfo, Harness, Plan, Workload,
    cabling::Emulated,
    engine::EngineProgram,
    model::{Model, Preset},
    progress::Progress,
    protocol::Strategy,
    sweep::{self, PlannedCell},
};
use rail_verify::{
    case::{Backend, Dtype, Frames},
    group::Programs as JacclPrograms,
    run::{Stop, Variant},
};
use rig::{Link, Rig};
use terminal::{ReportFormat, Terminal};
use toolchain::build::Request;

mod published;

use crate::{
    bench::build_info,
    exit::{Context, Failure, Kind, Result},
    job_matrix, model, output,
    predict_flags::Predict,
    programs::{self, Programs},
    say,
    session::Session,
    verify::variant,
};

pub fn run(session: &Session, flags: &Predict) -> Result {
    let pin = session.toolchain.pin(&flags.mlx)?;
    if flags.published {
        let jaccl = Times::new(session, flags)?;
        return published::run(&jaccl, flags.format);
    }
    let options = flags.options(
        flags.rig.read_any()?,
        job_matrix::jaccl(&pin)?,
        model::named(session, &flags.model)?,
    );
    let plan = Plan::new(options)?;
    let model = &plan.settings.model;
    let shape = Shape::of(model).ok_or_else(|| {
        Failure::input(format!(
            "the folder of {} does not say how long its messages are",
            model.name()
        ))
    })?;
    let against = flags.against.as_deref().map(Measured::read).transpose()?;
    if let Some(against) = &against {
        against.check(&plan, &flags.mlx, flags.series.name())?;
    }
    let calibration = Calibration::new(session, flags, &plan)?;
    let fence = flags.fence.map_or_else(
        || {
            let is_fast = std::env::var("MLX_METAL_FAST_SYNCH").is_ok_and(|it| it == "1");
            fence_here(is_fast)
        },
        |it| it.as_secs_f64(),
    );
    let jaccl = Times::new(session, flags)?;

    let mut predictor = Predictor::new(&plan, shape, &jaccl);
    let mut alone = BTreeMap::new();
    let mut cells = Vec::new();
    for planned in &plan.cells {
        let PlannedCell { cell, joining } = planned;
        let ranks = joining.nodes.len();
        let messages = predictor.messages(planned)?;
        let alone = match alone.entry((cell.strategy, ranks)) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => *new.insert(calibration.of(cell.strategy, ranks)?),
        };
        cells.push(Row {
            cell: *cell,
            nodes: joining.nodes.clone(),
            link: slowest(&joining.rig),
            alone,
            predicted: predictor.predict(planned, alone, fence, &messages),
            messages,
            measured: against.as_ref().and_then(|it| it.cell(*cell)),
        });
    }
    let report = Report {
        schema: SCHEMA,
        mlx: flags.mlx.clone(),
        series: flags.series.name().to_owned(),
        model: model.name().to_owned(),
        prompt_tokens: flags.prompt_tokens,
        frames: flags.frames,
        calibration: calibration.to_string(),
        fence,
        cells,
    };
    output::document(&match flags.format {
        ReportFormat::Md => report.markdown(),
        ReportFormat::Json => report.json(),
    })?;
    Ok(std::process::ExitCode::SUCCESS)
}

/// Sets beside each cell of a report that passed what it should take, by the single process
/// of the same report. A cell without one stays as it is.
///
/// # Errors
/// A message cannot be measured. The cells before have what they should take.
pub fn explain(
    session: &Session,
    (pin, series): (&Pin, Series),
    plan: &Plan,
    report: &mut rail_bench::Report,
) -> Result<()> {
    let model = &plan.settings.model;
    let work = Work::of(model);
    let singles = report.cells.iter().filter_map(|cell| {
        let times = Took::of(cell)?;
        let alone = Alone {
            work,
            ttft: times.ttft,
            token: times.token,
        };
        (cell.strategy == Strategy::Single).then_some((cell.cell(), alone))
    });
    let singles: BTreeMap<_, _> = singles.collect();
    let Some(shape) = Shape::of(model).filter(|_| !singles.is_empty()) else {
        return Ok(());
    };
    say!("measuring jaccl's messages, by which the cells are explained");
    let jaccl = Times {
        progress: Box::new(Silent),
        ..Times::of_series(session, (pin, series), None)?
    };
    let mut predictor = Predictor::new(plan, shape, &jaccl);
    for cell in &mut report.cells {
        let planned = plan.cells.iter().find(|it| it.cell == cell.cell());
        let alone = singles.get(&cell.cell().own_reference());
        let took = Took::of(cell);
        let (Some(planned), Some(alone), Some(took)) = (planned, alone, took) else {
            continue;
        };
        let messages = predictor.messages(planned)?;
        let fence = fence_here(cell.workload.fast_synch);
        let predicted = predictor.predict(planned, *alone, fence, &messages);
        cell.explained = Some(predicted.beside(took));
    }
    Ok(())
}

/// Predicts cells of a plan. Each message is measured once.
struct Predictor<'a> {
    model: &'a Model,
    shape: Shape,
    jaccl: &'a Times<'a>,
    known: Vec<(Group, Timed)>,
}

impl<'a> Predictor<'a> {
    fn new(plan: &'a Plan, shape: Shape, jaccl: &'a Times<'a>) -> Self {
        Self {
            model: &plan.settings.model,
            shape,
            jaccl,
            known: Vec::new(),
        }
    }

    /// What each message of a cell takes.
    fn messages(&mut self, planned: &PlannedCell) -> Result<Vec<Timed>> {
        let PlannedCell { cell, joining } = planned;
        let group = Group {
            backend: cell.backend.unwrap_or(Backend::Ring),
            ranks: joining.nodes.len(),
            cables: cell.cables,
            frames: cell.workload.frames,
            link: slowest(&joining.rig),
        };
        let messages = self.shape.messages(cell.strategy, &steps_of(cell));
        let messages = messages.into_iter().map(|message| {
            let is_it = |it: &&(Group, Timed)| (it.0, it.1.message) == (group, message);
            if let Some((_, known)) = self.known.iter().find(is_it) {
                return Ok(*known);
            }
            let timed = self.jaccl.of_one(&group, dtype(self.model), message)?;
            self.known.push((group, timed));
            Ok(timed)
        });
        messages.collect()
    }

    /// What a cell should take, given what its messages take.
    fn predict(
        &self,
        planned: &PlannedCell,
        alone: Alone,
        fence: f64,
        messages: &[Timed],
    ) -> Prediction {
        let PlannedCell { cell, joining } = planned;
        Cell {
            strategy: cell.strategy,
            ranks: joining.nodes.len(),
            shape: self.shape,
            work: Work::of(self.model),
            steps: &steps_of(cell),
            alone,
            fence,
        }
        .predict(|message| seconds(messages, message))
    }
}

/// The tokens of each step of a cell's prefill.
fn steps_of(cell: &sweep::Cell) -> Vec<usize> {
    let Workload {
        prompt_tokens,
        prefill_step,
        ..
    } = cell.workload;
    steps(cell.engine, cell.strategy, prompt_tokens, prefill_step)
}

/// What a message costs beside jaccl where this program runs.
fn fence_here(is_fast: bool) -> f64 {
    match cfg!(target_os = "macos") {
        false => 0.0,
        true if is_fast => FAST_FENCE,
        true => FENCE,
    }
}

/// jaccl deals a message evenly over its cables, so the slowest decides.
fn slowest(rig: &Rig) -> Link {
    let links = || rig.cables.iter().map(|cable| cable.link);
    Link {
        bytes_per_second: links().map(|it| it.bytes_per_second).min().unwrap_or(1),
        latency: links().map(|it| it.latency).max().unwrap_or(Duration::ZERO),
    }
}

/// The type of the elements that ranks sum.
fn dtype(model: &Model) -> Dtype {
    use rail_bench::model::Dtype as Preset;
    match model {
        Model::Preset(preset) => match preset.spec.dtype {
            Preset::F32 => Dtype::Float32,
            Preset::Bf16 => Dtype::BFloat16,
            Preset::F16 => Dtype::Float16,
        },
        Model::Folder(folder) => match folder.content.activations() {
            Some(models::Dtype::BF16) => Dtype::BFloat16,
            Some(models::Dtype::F16) => Dtype::Float16,
            _ => Dtype::Float32,
        },
    }
}

/// Where the times of single processes come from.
struct Calibration<'a> {
    session: &'a Session,
    flags: &'a Predict,
    plan: &'a Plan,
    source: Source,
}

enum Source {
    /// The row of a report.
    Report(Measured),
    /// Processes that run now.
    Now {
        engine: EngineProgram,
        info: BuildInfo,
    },
}

impl std::fmt::Display for Calibration<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.source {
            Source::Report(report) => {
                write!(f, "the single process of {}", report.path().display())
            }
            Source::Now { .. } if self.plan.rig.is_remote() => f.write_str(
                "a single process on this machine, as each node of the rig would run it: for tp \
                 with a rank's share of a preset or with the whole of a folder, for pp with the \
                 whole model",
            ),
            Source::Now { .. } => f.write_str(
                "single processes on this machine: for tp as many at a time as there are ranks, each \
                 with a rank's share of a preset or with the whole of a folder; for pp one at a time \
                 with the whole model, while as many processors are busy as there are ranks",
            ),
        }
    }
}

impl<'a> Calibration<'a> {
    fn new(session: &'a Session, flags: &'a Predict, plan: &'a Plan) -> Result<Self> {
        let source = match &flags.calibration {
            Some(path) => {
                let report = Measured::read(path)?;
                report.reference(plan, flags.engine)?;
                Source::Report(report)
            }
            None => {
                let pin = session.toolchain.pin(&flags.mlx)?;
                let build = session.toolchain.build(&Request::mlx(&pin, flags.series))?;
                let series = (&pin, flags.series);
                let mut programs = Programs::compile(session, series, &build, &[flags.engine])?;
                Source::Now {
                    engine: programs.engines.remove(0),
                    info: build_info(&build)?,
                }
            }
        };
        Ok(Self {
            session,
            flags,
            plan,
            source,
        })
    }

    /// What a process takes that is alone, of the model or of a rank's share of it.
    fn of(&self, strategy: Strategy, ranks: usize) -> Result<Alone> {
        let model = &self.plan.settings.model;
        let (engine, info) = match &self.source {
            Source::Report(report) => {
                let times = report.reference(self.plan, self.flags.engine)?;
                return Ok(Alone {
                    work: Work::of(model),
                    ttft: times.ttft,
                    token: times.token,
                });
            }
            Source::Now { engine, info } => (engine, info),
        };
        let mut plan = self.plan.clone();
        plan.cells.clear();
        plan.settings.stand_in = Some(strategy);
        if let Model::Preset(Preset {
            spec,
            name,
            purpose,
        }) = model
            && strategy == Strategy::Tp
            && let Some(spec) = share_of(spec, ranks)
        {
            plan.settings.model = Preset {
                name,
                purpose,
                spec,
            }
            .into();
        }
        let work = Work::of(&plan.settings.model);
        let (at_a_time, polling) = on_this_machine(&self.plan.rig, strategy, ranks);
        say!("measuring for {strategy}: single processes, {at_a_time} at a time");
        let times = busy(polling, || self.processes(&plan, engine, info, at_a_time))?;
        let slowest = |of: fn(&Took) -> f64| times.iter().map(of).fold(0.0, f64::max);
        Ok(Alone {
            work,
            ttft: slowest(|it| it.ttft),
            token: slowest(|it| it.token),
        })
    }

    /// What this many processes take at a time.
    fn processes(
        &self,
        plan: &Plan,
        engine: &EngineProgram,
        info: &BuildInfo,
        at_a_time: usize,
    ) -> Result<Vec<Took>> {
        // The plan has no cell, so nothing is plugged.
        let cabling = Emulated {
            provider: Path::new("none").to_owned(),
            parent: softrail::default_parent(),
        };
        let launcher = &self.session.launcher;
        let process = || -> Result<Took> {
            let harness = Harness {
                engines: vec![engine.clone()],
                cabling: &cabling,
                build: info.clone(),
                warnings: vec![],
                launcher,
                progress: Progress::hidden(),
                resumed: vec![],
                record: &|_| Ok(()),
            };
            let report = rail_bench::run(plan, &harness)?.report;
            Took::of(&report.cells[0])
                .ok_or_else(|| Failure::input("a process that generates one token has no rate"))
        };
        thread::scope(|scope| {
            let threads: Vec<_> = (0..at_a_time).map(|_| scope.spawn(process)).collect();
            let ended = threads.into_iter().map(|thread| match thread.join() {
                Ok(times) => times,
                Err(_) => Err(Failure::ours(anyhow!("a thread that measures has failed"))),
            });
            ended.collect::<Result<_>>()
        })
        .with_context(|| "a single process")
    }
}

/// Of this many ranks, those that compute at a time on the machine of one of them, and those
/// that poll there meanwhile.
fn on_this_machine(rig: &Rig, strategy: Strategy, ranks: usize) -> (usize, usize) {
    match strategy {
        // Each has its own.
        _ if rig.is_remote() => (1, 0),
        // They compute a token in turns.
        Strategy::Pp => (1, ranks - 1),
        Strategy::Tp | Strategy::Single => (ranks, 0),
    }
}

/// Does something while this many threads keep a processor busy each, as ranks do that poll
/// for a message.
fn busy<T>(threads: usize, work: impl FnOnce() -> T) -> T {
    /// Ends the threads also when the work panics: the scope waits for them.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                // A look for completions over emulated cables looks at the clock.
                while !done.load(Ordering::Relaxed) {
                    black_box(Instant::now());
                }
            });
        }
        let _done = Done(&done);
        work()
    })
}

/// Ranks, and the cables between each two.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Group {
    backend: Backend,
    ranks: usize,
    cables: usize,
    frames: Frames,
    link: Link,
}

/// Measures what jaccl takes.
struct Times<'a> {
    session: &'a Session,
    variant: Variant,
    programs: JacclPrograms,
    progress: Box<dyn launch::Progress>,
    dilate: Option<u32>,
}

impl<'a> Times<'a> {
    fn new(session: &'a Session, flags: &Predict) -> Result<Self> {
        let pin = session.toolchain.pin(&flags.mlx)?;
        Self::of_series(session, (&pin, flags.series), flags.dilate)
    }

    fn of_series(
        session: &'a Session,
        (pin, series): (&Pin, Series),
        dilate: Option<u32>,
    ) -> Result<Self> {
        Ok(Self {
            session,
            variant: variant(session, &Request::jaccl(pin, series))?,
            programs: programs::of_verify(session)?,
            progress: Box::new(Terminal::default()),
            dilate,
        })
    }

    /// What each message takes between the ranks of a group.
    fn of(&self, group: &Group, dtype: Dtype, messages: &[Message]) -> Result<Vec<Timed>> {
        let each = messages.iter().map(|it| self.of_one(group, dtype, *it));
        each.collect()
    }

    fn of_one(&self, group: &Group, dtype: Dtype, message: Message) -> Result<Timed> {
        let cells = Cells {
            op: vec![op(message.call)],
            backend: vec![group.backend],
            ranks: vec![group.ranks],
            cables: vec![group.cables],
            frames: vec![group.frames],
            bytes: vec![message.bytes],
            dtype: vec![dtype],
        };
        let usual = || Options::dilation(group.link, &cells.cells()[0]);
        let options = Options {
            link: group.link,
            dilate: self.dilate.unwrap_or_else(usual),
            ..Options::default()
        };
        let meter = Meter {
            programs: &self.programs,
            launcher: &self.session.launcher,
            progress: &*self.progress,
            meter: None,
            rig: None,
        };
        let measured = meter.measure(std::slice::from_ref(&self.variant), &cells, &options)?;
        match (measured.stopped, measured.rows.first()) {
            (Some(Stop::Failed(error)), _) => Err(error.into()),
            (Some(Stop::Interrupted), _) => Err(launch::Interrupted.into()),
            (None, row) => {
                let time = row.and_then(|row| row.time_us.as_ref());
                let time = time.ok_or_else(|| unmeasured(row))?;
                Ok(Timed {
                    message,
                    seconds: time.median / 1e6,
                    dilate: options.dilate,
                })
            }
        }
    }
}

fn unmeasured(row: Option<&collectives::Row>) -> Failure {
    let why = row.map(|row| {
        let detail = row.detail.as_deref().unwrap_or_default();
        format!(": {}: {} {detail}", row.cell, row.verdict)
    });
    let problem = format!("jaccl cannot be measured{}", why.unwrap_or_default());
    Failure::new(Kind::Check, anyhow!(problem))
}

/// The time of a message that was measured.
fn seconds(messages: &[Timed], message: Message) -> f64 {
    let found = messages.iter().find(|it| it.message == message);
    found.expect("every message of a cell was measured").seconds
}

const fn op(call: Call) -> Op {
    match call {
        Call::Send => Op::Send,
        Call::AllSum => Op::AllSum,
        Call::AllGather => Op::AllGather,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_on_machines_of_their_own_share_no_processor() {
        let mut rig = Rig::embedded();
        assert_eq!(on_this_machine(&rig, Strategy::Tp, 3), (3, 0));
        assert_eq!(on_this_machine(&rig, Strategy::Pp, 3), (1, 2));
        rig.nodes[1].ssh = Some("mini".to_owned());
        for strategy in [Strategy::Tp, Strategy::Pp] {
            assert_eq!(on_this_machine(&rig, strategy, 3), (1, 0));
        }
    }
}
