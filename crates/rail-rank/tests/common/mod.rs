//! Models and jobs for the tests.
#![allow(dead_code)]

use std::collections::HashSet;

use models::{
    Family, Folder,
    tiny::{self, Weights},
};
use rail_bench::{
    model::{ModelSpec, Preset, Quant},
    protocol::{After, Event, Job, JobModel, Prompt, Strategy},
};

/// The benchmark's default model.
pub fn default_model() -> ModelSpec {
    Preset::ALL[0].spec
}

/// Small, with a layer for each of three ranks, and groups that do not cross a slice.
pub fn small_model(quant: Option<Quant>) -> ModelSpec {
    ModelSpec {
        layers: 3,
        hidden: 128,
        heads: 4,
        kv_heads: 2,
        head_dim: 32,
        ffn: 192,
        vocab: 512,
        quant,
        ..default_model()
    }
}

/// A folder with a small model of a family.
pub fn tiny(family: Family, weights: Weights) -> (tempfile::TempDir, Folder) {
    let root = tempfile::tempdir().unwrap();
    tiny::write(family, weights, 7, root.path()).unwrap();
    let folder = Folder::open(root.path()).unwrap();
    (root, folder)
}

/// A job of one rank.
pub fn single(model: ModelSpec, generation_tokens: usize, repeat: usize) -> Job {
    Job {
        strategy: Strategy::Single,
        rank: 0,
        ranks: 1,
        model: JobModel::Preset(model),
        seed: 0,
        prompt: Prompt::Seeded { tokens: 24 },
        depth: 0,
        prefill_step: None,
        generation_tokens,
        warmup: 0,
        repeat,
        alone: false,
        after: After::default(),
        split: 0,
    }
}

/// The events of a rank for a job.
pub fn events(job: &Job) -> anyhow::Result<Vec<Event>> {
    let mut events = Vec::new();
    rail_rank::run(job, &mut |event| {
        events.push(event);
        Ok(())
    })?;
    Ok(events)
}

/// The tokens of a run, in order.
pub fn tokens(events: &[Event], wanted: usize) -> Vec<u32> {
    let tokens: Vec<_> = events
        .iter()
        .filter_map(|event| match *event {
            Event::Token { run, index, id, .. } if run == wanted => Some((index, id)),
            _ => None,
        })
        .collect();
    assert!(tokens.iter().map(|(index, _)| *index).eq(0..tokens.len()));
    tokens.into_iter().map(|(_, id)| id).collect()
}

/// The margins of all runs.
pub fn margins(events: &[Event]) -> Vec<f32> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::Run { min_margin, .. } => *min_margin,
            _ => None,
        })
        .collect()
}

/// The number of distinct tokens.
pub fn distinct(tokens: &[u32]) -> usize {
    tokens.iter().collect::<HashSet<_>>().len()
}
