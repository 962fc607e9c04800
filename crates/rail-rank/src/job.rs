//! A job from its checks to its last run.

use std::{io, time::Instant};

use anyhow::{Context, Result, ensure};
use mlx_core::{
    distributed::{Backend, Group},
    peak_memory,
};
use models::Folder;
use rail_bench::{
    engine::Engine,
    model::ModelSpec,
    protocol::{After, Event, Forced, Job, JobModel, Needle, Pass, Phase, Spent, Strategy, top},
    seeded::filler,
};

use crate::{
    collective::{Absent, Alone, Collective},
    generate::{Choice, Session},
    passes::{Stopwatch, Watched},
    tensors::LoadError,
};

/// Runs a job, and reports the events to `say`.
///
/// # Errors
/// The rank cannot run the job, MLX or jaccl fails, or `say` fails.
pub fn run(job: &Job, say: &mut dyn FnMut(Event) -> io::Result<()>) -> Result<()> {
    let model = check(job)?;
    if job.strategy == Strategy::Single {
        return run_as(job, &model, Alone, say);
    }
    if job.alone {
        let others = Absent {
            rank: job.rank,
            size: job.ranks,
        };
        return run_as(job, &model, others, say);
    }
    say(Event::Phase { phase: Phase::Init })?;
    let group = Group::init(Backend::Jaccl, true).context("cannot join the other ranks")?;
    ensure!(
        (group.rank(), group.size()) == (job.rank, job.ranks),
        "the job is for rank {} of {}, but jaccl's environment makes this rank {} of {}; \
         make MLX_RANK and MLX_IBV_DEVICES agree with the job",
        job.rank,
        job.ranks,
        group.rank(),
        group.size()
    );
    run_as(job, &model, group, say)
}

/// The model of a job that can be done.
enum Model<'a> {
    Preset(&'a ModelSpec),
    Folder { folder: Box<Folder>, vocab: usize },
}

impl<'a> Model<'a> {
    fn of(model: &'a JobModel) -> Result<Self> {
        Ok(match model {
            JobModel::Preset(spec) => {
                ensure!(
                    spec.vocab > 0 && spec.layers > 0,
                    "the model has no vocabulary or no layers"
                );
                Self::Preset(spec)
            }
            JobModel::Folder(path) => {
                let folder = Box::new(Folder::open(path)?);
                Engine::Rust.check_folder(&folder)?;
                let vocab = folder.config()?.vocab;
                Self::Folder { folder, vocab }
            }
        })
    }

    fn check_split(&self, strategy: Strategy, ranks: usize) -> Result<()> {
        match (self, strategy) {
            (_, Strategy::Single) => ensure!(ranks == 1, "single is one rank, not {ranks}"),
            (Self::Preset(spec), Strategy::Tp) => spec.check_tensor_split(ranks)?,
            (Self::Preset(spec), Strategy::Pp) => spec.check_pipeline_split(ranks)?,
            (Self::Folder { folder, .. }, Strategy::Tp) => folder.check_split(ranks)?,
            (Self::Folder { folder, .. }, Strategy::Pp) => folder.check_pipeline(ranks)?,
        }
        Ok(())
    }

    fn vocab(&self) -> usize {
        match self {
            Self::Preset(spec) => spec.vocab,
            Self::Folder { vocab, .. } => *vocab,
        }
    }

    /// This rank's share, in memory.
    fn load<C: Collective>(&self, job: &Job, ranks: C) -> Result<Session<C>, LoadError> {
        match self {
            Self::Preset(spec) => Session::new(job.strategy, spec, job.seed, ranks),
            Self::Folder { folder, .. } => Session::open(job.strategy, folder, ranks),
        }
    }
}

/// Refuses a job that cannot be done, and gives its model.
fn check(job: &Job) -> Result<Model<'_>> {
    ensure!(
        job.rank < job.ranks,
        "there is no rank {} of {}",
        job.rank,
        job.ranks
    );
    ensure!(
        job.prompt.tokens() > 0,
        "the prompt is empty; a prompt has at least one token"
    );
    ensure!(
        job.generation_tokens > 0,
        "generation_tokens is 0; generate at least one token"
    );
    ensure!(
        job.prefill_step != Some(0),
        "prefill_step is 0; a step has at least one token"
    );
    let given = job.after.forced.as_ref().and_then(|it| it.tokens.as_ref());
    ensure!(
        given.is_none_or(|tokens| tokens.len() == job.generation_tokens),
        "the forced tokens are not as many as a run generates"
    );
    let mut needles = job.after.needles.iter();
    ensure!(
        needles.all(|it| !it.prompt.is_empty() && it.generation_tokens > 0),
        "a needle has a prompt, and at least one token to generate"
    );
    let model = Model::of(&job.model)?;
    model.check_split(job.strategy, job.ranks)?;
    Ok(model)
}

/// The smaller of two margins, where NaN is smaller than any number: it must not be lost
/// among the others, as it would be with `f32::min`.
fn least(a: f32, b: f32) -> f32 {
    if a.is_nan() || a <= b { a } else { b }
}

fn run_as(
    job: &Job,
    model: &Model<'_>,
    ranks: impl Collective,
    say: &mut dyn FnMut(Event) -> io::Result<()>,
) -> Result<()> {
    say(Event::Phase { phase: Phase::Load })?;
    let began = Instant::now();
    let mut session = model.load(job, Watched::new(ranks))?;
    if let Some(step) = job.prefill_step {
        session.set_prefill_step(step);
    }
    let load_ns = nanos(began);
    let filler = filler(job.seed, job.depth, model.vocab());
    let prompt = job.prompt.ids(job.seed, model.vocab());
    let mut first = Vec::new();

    for run in 0..job.warmup + job.repeat {
        let warmup = run < job.warmup;
        fill(&mut session, &filler, say)?;
        say(Event::Phase {
            phase: if warmup { Phase::Warmup } else { Phase::Run },
        })?;

        session.barrier()?;
        let start = Instant::now();
        let mut min_margin = f32::INFINITY;
        let mut next = session.prefill(&prompt)?;
        for index in 0..job.generation_tokens {
            let mut report = |_: &_| -> Result<()> {
                let id = next.id()?;
                let ns = nanos(start);
                let layers_ns = next.layers().map(|it| it.as_nanos() as u64);
                let Choice { margin, digest, .. } = next.choice()?;
                min_margin = least(min_margin, margin);
                if run == 0 {
                    first.push(id);
                }
                let digest = Some(digest);
                Ok(say(Event::Token {
                    run,
                    index,
                    id,
                    ns,
                    digest,
                    layers_ns,
                })?)
            };
            if index + 1 == job.generation_tokens {
                report(session.ranks())?;
                break;
            }
            next = session.follow(&next, report)?;
        }
        say(Event::Run {
            run,
            warmup,
            prompt_tokens: prompt.len(),
            min_margin: Some(min_margin),
        })?;
    }
    say(Event::Usage {
        load_ns,
        peak_bytes: peak_memory()? as u64,
        weight_bytes: session.weight_bytes() as u64,
    })?;
    for &pass in Pass::of(job.strategy) {
        for run in 0..job.split {
            fill(&mut session, &filler, say)?;
            say(Event::Phase {
                phase: Phase::Split,
            })?;
            session.barrier()?;
            session.ranks().set_pass(Some(pass));
            let mut say = |index, spent| {
                say(Event::Lap {
                    pass,
                    run,
                    index,
                    spent,
                })
            };
            run_pass(&mut session, &prompt, job.generation_tokens, &mut say)?;
            session.ranks().set_pass(None);
        }
    }
    check_after(job, &mut session, [&filler, &prompt, &first], say)?;
    say(Event::Done)?;
    Ok(())
}

/// What follows the last run, for the checks.
fn check_after(
    job: &Job,
    session: &mut Session<impl Collective>,
    [filler, prompt, first]: [&[u32]; 3],
    say: &mut dyn FnMut(Event) -> io::Result<()>,
) -> Result<()> {
    let After { forced, needles } = &job.after;
    if !job.after.is_nothing() {
        say(Event::Phase {
            phase: Phase::Check,
        })?;
    }
    if let Some(Forced { tokens, nudged }) = forced {
        let tokens = tokens.as_deref().unwrap_or(first);
        for pass in 0..=*nudged {
            session.nudge_sums(pass);
            session.clear();
            session.fill(filler)?;
            let mut next = session.prefill(prompt)?;
            for index in 0..tokens.len() {
                if index > 0 {
                    next = session.decode(tokens[index - 1])?;
                }
                let top = top(&next.logits()?);
                say(Event::Forced { pass, index, top })?;
            }
        }
        session.nudge_sums(0);
    }
    for (index, needle) in needles.iter().enumerate() {
        let Needle {
            prompt,
            generation_tokens,
        } = needle;
        session.clear();
        let mut ids = vec![session.prefill(prompt)?.id()?];
        while ids.len() < *generation_tokens {
            ids.push(session.decode(ids[ids.len() - 1])?.id()?);
        }
        say(Event::Needle { index, ids })?;
    }
    Ok(())
}

/// Fills the cache with tokens, and nothing else, on every rank.
fn fill(
    session: &mut Session<impl Collective>,
    filler: &[u32],
    say: &mut dyn FnMut(Event) -> io::Result<()>,
) -> Result<()> {
    session.clear();
    if !filler.is_empty() {
        say(Event::Phase { phase: Phase::Fill })?;
        session.fill(filler)?;
        session.barrier()?;
    }
    Ok(())
}

/// A run that shows where the time goes: reports what each token took, by its index.
fn run_pass(
    session: &mut Session<Watched<impl Collective>>,
    prompt: &[u32],
    tokens: usize,
    say: &mut dyn FnMut(usize, Spent) -> io::Result<()>,
) -> Result<()> {
    let mut watch = Stopwatch::start();
    let mut next = session.prefill(prompt)?;
    for index in 0..tokens {
        let mut report = |ranks: &Watched<_>| -> Result<()> {
            // As a measured run does, for the time that it takes.
            next.id()?;
            next.choice()?;
            Ok(say(index, watch.lap(ranks))?)
        };
        if index + 1 == tokens {
            return report(session.ranks());
        }
        next = session.follow(&next, report)?;
    }
    Ok(())
}

fn nanos(since: Instant) -> u64 {
    since.elapsed().as_nanos() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_margin_that_is_not_a_number_is_never_lost() {
        for margins in [
            [f32::NAN, 0.5, 0.25],
            [0.5, f32::NAN, 0.25],
            [0.5, 0.25, f32::NAN],
        ] {
            let kept = margins.into_iter().reduce(least);
            assert!(kept.is_some_and(f32::is_nan), "{margins:?}");
        }
        assert_eq!(
            [0.5, 0.25, f32::INFINITY].into_iter().reduce(least),
            Some(0.25)
        );
    }
}
