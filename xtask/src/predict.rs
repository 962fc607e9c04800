//! `cargo xtask predict`: what cells should take that nobody has run.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    hint::black_box,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use collectives::{Cells, Meter, Op, Options};
use launch::{Progress, Silent};
use pins::{Pin, Series};
use predict::{
    Alone, Call, Cell, Measured, Message, Prediction, Report, Row, Shape, Timed, Work,
    measured::Times as Took,
    published::{FAST_FENCE, FENCE},
    report::SCHEMA,
    steps,
};
use rail_bench::{
    Plan, Workload,
    alone::{self, LoneRank},
    engine::EngineProgram,
    hosts::Hosts,
    model::Model,
    protocol::Strategy,
    sweep::{self, PlannedCell},
};
use rail_verify::{
    case::{Backend, Dtype, Frames},
    group::Programs as JacclPrograms,
    run::{Stop, Variant},
};
use rig::{Cables, Link, Rig};
use terminal::{ReportFormat, Terminal};
use toolchain::build::Request;

mod published;

use crate::{
    bench::{check_model, staged},
    exit::{Failure, Kind, Result},
    hosts, job_matrix, model, output,
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
    let calibration = Calibration::new(session, flags, &plan, shape.layers)?;
    let fence = flags.fence.map_or_else(
        || {
            let is_fast = std::env::var("MLX_METAL_FAST_SYNCH").is_ok_and(|it| it == "1");
            fence_here(is_fast)
        },
        |it| it.as_secs_f64(),
    );
    let jaccl = Times::new(session, flags)?;

    let mut predictor = Predictor::new(&plan, shape, &jaccl);
    let mut alone = BTreeMap::<_, Vec<Alone>>::new();
    let mut cells = Vec::new();
    for planned in &plan.cells {
        let PlannedCell { cell, joining } = planned;
        let messages = predictor.messages(planned)?;
        let alone = match alone.entry((cell.strategy, &joining.nodes)) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => {
                let alone = calibration.of(cell.strategy, &joining.nodes)?;
                new.insert(alone).clone()
            }
        };
        cells.push(Row {
            cell: *cell,
            nodes: joining.nodes.clone(),
            link: slowest(&joining.rig),
            predicted: predictor.predict(planned, &alone, fence, &messages),
            alone,
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
        let alone = of_whole(work, times);
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
        let alone = vec![*alone; planned.joining.nodes.len()];
        let predicted = predictor.predict(planned, &alone, fence, &messages);
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
        alone: &[Alone],
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

/// Where the times of processes without cables come from.
struct Calibration<'a> {
    session: &'a Session,
    flags: &'a Predict,
    plan: &'a Plan,
    /// Of the model.
    layers: usize,
    source: Source,
}

enum Source {
    /// The row of a report.
    Report(Measured),
    /// Processes that run now.
    Now {
        engine: EngineProgram,
        /// The nodes of the rig, if they are other machines.
        hosts: Option<Hosts>,
    },
}

impl std::fmt::Display for Calibration<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let hosts = match &self.source {
            Source::Report(report) => {
                return write!(f, "the single process of {}", report.path().display());
            }
            Source::Now { hosts, .. } => hosts,
        };
        let place = match hosts {
            Some(_) => "each on its node",
            None => "on this machine",
        };
        write!(
            f,
            "a process for each rank, {place}, with its share of the model and without peers"
        )?;
        f.write_str(match self.plan.rig.kind {
            Cables::Real => "",
            Cables::Emulated => {
                ": for tp all at a time; for pp one at a time, while a processor is busy for each \
                 of the others"
            }
        })
    }
}

impl<'a> Calibration<'a> {
    fn new(
        session: &'a Session,
        flags: &'a Predict,
        plan: &'a Plan,
        layers: usize,
    ) -> Result<Self> {
        let source = match &flags.calibration {
            Some(path) => {
                let report = Measured::read(path)?;
                report.reference(plan, flags.engine)?;
                Source::Report(report)
            }
            None => {
                // A node that cannot be reached is known before the minutes of a build.
                let hosts = match plan.rig.needs_hosts() {
                    true => Some(hosts::without_addresses(session, &plan.rig)?),
                    false => None,
                };
                if let Some(hosts) = &hosts {
                    check_model(hosts, plan)?;
                }
                let pin = session.toolchain.pin(&flags.mlx)?;
                let build = session.toolchain.build(&Request::mlx(&pin, flags.series))?;
                let series = (&pin, flags.series);
                let mut programs = Programs::compile(session, series, &build, &[flags.engine])?;
                Source::Now {
                    hosts: hosts.map(|it| staged(it, &programs, &[])).transpose()?,
                    engine: programs.engines.remove(0),
                }
            }
        };
        Ok(Self {
            session,
            flags,
            plan,
            layers,
            source,
        })
    }

    /// What a process without cables takes for each rank of a cell, which run on these nodes.
    fn of(&self, strategy: Strategy, nodes: &[String]) -> Result<Vec<Alone>> {
        let model = &self.plan.settings.model;
        let (engine, hosts) = match &self.source {
            Source::Report(report) => {
                let times = report.reference(self.plan, self.flags.engine)?;
                let alone = of_whole(Work::of(model), times);
                return Ok(vec![alone; nodes.len()]);
            }
            Source::Now { engine, hosts } => (engine, hosts),
        };
        let [workload] = self.plan.workloads[..] else {
            unreachable!("the flags say one workload");
        };
        let (launcher, settings) = (&self.session.launcher, &self.plan.settings);
        let ranks: Vec<_> = (nodes.iter().enumerate())
            .map(|(rank, node)| LoneRank {
                engine,
                workload,
                strategy,
                place: (rank, nodes.len()),
                node: hosts.as_ref().map(|hosts| (hosts, &**node)),
            })
            .collect();
        let progress = Terminal::default();
        let all = ranks.len() * (settings.repeat + settings.rounds() * settings.warmup);
        let done = AtomicUsize::new(0);
        let ran = || {
            let done = done.fetch_add(1, Ordering::Relaxed) + 1;
            progress.advance(done as u64, all as u64, "runs");
        };
        progress.step("Measuring", &format!("each rank of {strategy} by itself"));
        // Ranks of a pipeline compute a token in turns, and poll meanwhile.
        let in_turns = self.plan.rig.kind == Cables::Emulated && strategy == Strategy::Pp;
        let mut runs = vec![Vec::new(); ranks.len()];
        for round in 0..settings.rounds() {
            let launch = |rank: &LoneRank| rank.launch(settings, round, launcher, &ran);
            let launched: Vec<_> = match in_turns {
                true => {
                    let others = ranks.len() - 1;
                    let launch = |rank| busy(others, || launch(rank));
                    ranks.iter().map(launch).collect()
                }
                false => at_once(&ranks, launch),
            };
            for (runs, launched) in runs.iter_mut().zip(launched) {
                runs.extend(launched?);
            }
        }
        progress.finish();
        let of_rank = |(rank, runs): (&LoneRank, Vec<_>)| {
            let took = alone::Took::of(&runs)?;
            Ok(Alone {
                work: Work::of(model).of_rank(strategy, rank.place, self.layers),
                ttft: took.ttft,
                token: took.token,
                deviation: took.deviation,
                choice: took.choice,
            })
        };
        ranks.iter().zip(runs).map(of_rank).collect()
    }
}

/// Does something with each of some things at the same time.
fn at_once<T: Sync, R: Send>(all: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let work = &work;
    thread::scope(|scope| {
        let threads: Vec<_> = (all.iter())
            .map(|one| scope.spawn(move || work(one)))
            .collect();
        let ended = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect()
    })
}

/// A process with the whole model.
fn of_whole(work: Work, times: Took) -> Alone {
    Alone {
        work,
        ttft: times.ttft,
        token: times.token,
        deviation: 0.0,
        choice: None,
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
                // A look for completions over emulated cables looks at the clock, and after
                // some in vain lets another thread run.
                while !done.load(Ordering::Relaxed) {
                    for _ in 0..20 {
                        black_box(Instant::now());
                    }
                    thread::yield_now();
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
    progress: Box<dyn Progress>,
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
