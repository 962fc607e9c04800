//! One rank with the whole model.

mod common;

use anyhow::bail;
use mlx_core::Device;
use models::{Family, tiny::Weights};
use rail_bench::{
    checks::logits,
    model::Quant,
    protocol::{Event, Forced, Job, JobModel, Needle, Phase, Prompt, Strategy, Top},
    seeded::filler,
};
use rail_rank::{
    Session,
    collective::{Absent, Alone, Collective},
};

use common::{default_model, distinct, events, margins, single, small_model, tiny, tokens};

/// Far above the effect of another order of additions on a logit, see the crate's
/// documentation.
const CLEAR_MARGIN: f32 = 1e-4;

#[test]
fn the_default_model_tells_right_from_wrong() {
    let (count, repeat) = (32, 2);
    let events = events(&single(default_model(), count, repeat)).unwrap();

    let first = tokens(&events, 0);
    assert_eq!(first.len(), count);
    assert!(
        distinct(&first) >= count / 2,
        "the tokens hardly vary: {first:?}"
    );
    assert_eq!(tokens(&events, 1), first, "a second run differs");
    let margins = margins(&events);
    assert_eq!(margins.len(), repeat);
    assert!(
        margins.iter().all(|&margin| margin > CLEAR_MARGIN),
        "{margins:?}"
    );
}

#[test]
fn the_seed_decides_the_tokens() {
    let job = single(small_model(None), 24, 1);
    let other = rail_bench::protocol::Job {
        seed: 1,
        ..job.clone()
    };
    let first = tokens(&events(&job).unwrap(), 0);
    assert_eq!(tokens(&events(&job).unwrap(), 0), first);
    assert_ne!(tokens(&events(&other).unwrap(), 0), first);
}

#[test]
fn a_quantised_model_decodes() {
    let quant = Some(Quant {
        group_size: 32,
        bits: 4,
    });
    let job = single(small_model(quant), 24, 2);
    let quantised = events(&job).unwrap();
    let first = tokens(&quantised, 0);
    assert!(distinct(&first) >= 12, "{first:?}");
    assert_eq!(tokens(&quantised, 1), first);

    let plain = events(&single(small_model(None), 24, 1)).unwrap();
    assert_ne!(tokens(&plain, 0), first, "4 bits must show");
}

#[test]
fn a_job_is_told_from_its_load_to_its_end() {
    let mut job = single(small_model(None), 2, 1);
    (job.warmup, job.split) = (1, 1);
    job.depth = 3;
    let events = events(&job).unwrap();
    let outline: Vec<_> = events
        .iter()
        .map(|event| match event {
            Event::Loaded { .. } => "loaded",
            Event::Phase { phase: Phase::Load } => "load",
            Event::Phase { phase: Phase::Init } => "init",
            Event::Phase { phase: Phase::Fill } => "fill",
            Event::Phase {
                phase: Phase::Warmup,
            } => "warmup",
            Event::Phase { phase: Phase::Run } => "run",
            Event::Phase {
                phase: Phase::Check,
            } => "check",
            Event::Phase {
                phase: Phase::Split,
            } => "split",
            Event::Token { .. } => "token",
            Event::Run { warmup: true, .. } => "warmed up",
            Event::Run { .. } => "ran",
            Event::Lap { .. } => "lap",
            Event::Usage { .. } => "usage",
            Event::Error { .. } => "error",
            Event::Forced { .. } => "forced",
            Event::Needle { .. } => "needle",
            Event::Done => "done",
        })
        .collect();
    let expected = [
        "load",
        "fill",
        "warmup",
        "token",
        "token",
        "warmed up",
        "fill",
        "run",
        "token",
        "token",
        "ran",
        "usage",
        "fill",
        "split",
        "lap",
        "lap",
        "done",
    ];
    assert_eq!(outline, expected);

    let times: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Token { run: 1, ns, .. } => Some(*ns),
            _ => None,
        })
        .collect();
    assert!(times[0] > 0 && times[0] < times[1], "{times:?}");
}

#[test]
fn a_depth_is_in_the_cache_before_the_prompt_of_every_run() {
    let deep = Job {
        depth: 21,
        prefill_step: Some(8),
        ..single(small_model(None), 6, 2)
    };
    let vocab = small_model(None).vocab;
    let ids = [
        filler(deep.seed, 21, vocab),
        deep.prompt.ids(deep.seed, vocab),
    ];
    let joined = Job {
        depth: 0,
        prompt: Prompt::Ids(ids.concat()),
        ..deep.clone()
    };
    let [deep, joined] = [deep, joined].map(|job| events(&job).unwrap());
    for run in 0..2 {
        assert_eq!(tokens(&deep, run), tokens(&joined, run));
    }
    let fill = Event::Phase { phase: Phase::Fill };
    let fills = |events: &[Event]| events.iter().filter(|it| **it == fill).count();
    assert_eq!((fills(&deep), fills(&joined)), (2, 0));
}

#[test]
fn impossible_jobs_are_refused() {
    let fine = single(small_model(None), 2, 1);
    let refusal = |change: fn(&mut Job)| {
        let mut job = fine.clone();
        change(&mut job);
        format!("{:#}", events(&job).unwrap_err())
    };
    assert!(refusal(|job| job.prompt = Prompt::Seeded { tokens: 0 }).contains("prompt"));
    assert!(refusal(|job| job.generation_tokens = 0).contains("generation_tokens"));
    assert!(refusal(|job| job.rank = 1).contains("rank 1 of 1"));
    assert!(refusal(|job| job.ranks = 2).contains("one rank, not 2"));
    assert!(
        refusal(|job| {
            let quant = Quant {
                group_size: 48,
                bits: 4,
            };
            job.model = JobModel::Preset(small_model(Some(quant)));
        })
        .contains("48")
    );
}

#[test]
fn a_folder_decodes_after_ids_and_after_a_seeded_prompt() {
    let (root, folder) = tiny(Family::Llama, Weights::Quantised);
    let vocab = folder.config().unwrap().vocab;
    let seeded = Job {
        model: JobModel::Folder(root.path().to_owned()),
        ..single(small_model(None), 8, 2)
    };
    let by_seed = events(&seeded).unwrap();
    let first = tokens(&by_seed, 0);
    assert_eq!(tokens(&by_seed, 1), first);
    let ids = Job {
        prompt: Prompt::Ids(seeded.prompt.ids(seeded.seed, vocab)),
        ..seeded.clone()
    };
    assert_eq!(tokens(&events(&ids).unwrap(), 0), first);
    let beyond = Job {
        prompt: Prompt::Ids(vec![vocab as u32]),
        ..seeded
    };
    let refusal = events(&beyond).unwrap_err().to_string();
    assert!(refusal.contains("index 256 is out of range"), "{refusal}");
}

#[test]
fn a_folder_that_this_engine_cannot_run_is_refused_before_it_is_loaded() {
    let refusal = |family, change: [&str; 2], ranks| {
        let (root, _) = tiny(family, Weights::Quantised);
        let config = root.path().join("config.json");
        let text = std::fs::read_to_string(&config).unwrap();
        std::fs::write(&config, text.replace(change[0], change[1])).unwrap();
        let job = Job {
            model: JobModel::Folder(root.path().to_owned()),
            strategy: match ranks {
                1 => Strategy::Single,
                _ => Strategy::Tp,
            },
            ranks,
            ..single(small_model(None), 2, 1)
        };
        let mut said = Vec::new();
        let error = rail_rank::run(&job, &mut |event| {
            said.push(event);
            Ok(())
        });
        assert!(said.is_empty(), "{said:?}");
        format!("{:#}", error.unwrap_err())
    };
    let as_is = ["", ""];
    let unknown = ["\"llama\"", "\"gpt_oss\""];
    assert!(refusal(Family::Llama, unknown, 1).contains("gpt_oss"));
    assert!(refusal(Family::Llama, as_is, 4).contains("key and value heads"));
    let scaled = [
        "\"rope_theta\"",
        "\"rope_scaling\": {\"type\": \"yarn\"}, \"rope_theta\"",
    ];
    assert!(refusal(Family::Qwen3, scaled, 1).contains("yarn"));
    let mode = ["\"affine\"", "\"mxfp4\""];
    assert!(refusal(Family::Llama, mode, 1).contains("mxfp4"));
}

/// The greatest logits of each token of a forced pass.
fn forced(events: &[Event], wanted: usize) -> Vec<Top> {
    let tops = events.iter().filter_map(|event| match event {
        Event::Forced { pass, top, .. } if *pass == wanted => Some(top.clone()),
        _ => None,
    });
    tops.collect()
}

#[test]
fn given_tokens_are_fed_whatever_the_logits_and_nudged_sums_move_those_a_little() {
    let asked = |tokens| Forced { tokens, nudged: 1 };
    let mut job = single(small_model(None), 3, 1);
    job.depth = 5;
    job.after.forced = Some(asked(None));
    let own = events(&job).unwrap();
    let plain = forced(&own, 0);
    let best: Vec<u32> = plain.iter().map(|top| top[0].0).collect();
    assert_eq!(best, tokens(&own, 0));
    let nudged = forced(&own, 1);
    let noise = logits::noise(&[plain.clone(), nudged.clone()]).unwrap();
    assert!(noise > 0.0 && noise < 1e-4, "{noise}");
    assert_eq!(forced(&events(&job).unwrap(), 1), nudged);

    let other = vec![best[0] ^ 1, best[1], best[2]];
    job.after.forced = Some(asked(Some(other)));
    let given = forced(&events(&job).unwrap(), 0);
    assert_eq!(given[0], plain[0]);
    assert!(logits::movement(&given[1], &plain[1]) > 0.1, "{given:?}");

    job.after.forced = Some(asked(Some(best[..2].into())));
    let error = events(&job).unwrap_err().to_string();
    assert!(error.contains("not as many as a run generates"), "{error}");
}

#[test]
fn a_needle_is_continued_as_a_prompt_is() {
    let mut job = single(small_model(None), 3, 1);
    let prompt = job.prompt.ids(job.seed, 512);
    let needle = |prompt: &[u32]| Needle {
        prompt: prompt.to_owned(),
        generation_tokens: 3,
    };
    job.after.needles = vec![needle(&prompt[..7]), needle(&prompt)];
    let events = events(&job).unwrap();
    let said = events.iter().filter_map(|event| match event {
        Event::Needle { ids, .. } => Some(ids.clone()),
        _ => None,
    });
    let said: Vec<_> = said.collect();
    assert_eq!((said.len(), &said[1]), (2, &tokens(&events, 0)));
    assert_ne!(said[0], said[1]);

    job.after.needles = vec![needle(&[])];
    let error = common::events(&job).unwrap_err().to_string();
    assert!(error.contains("a needle has a prompt"), "{error}");
}

/// Whether a rank begins the next token before it has read the present one: what is begun
/// has changed the cache by then.
fn begins_ahead(strategy: Strategy, ranks: impl Collective + Copy) -> bool {
    let session = || {
        let mut session = Session::new(strategy, &small_model(None), 0, ranks).unwrap();
        let next = session.prefill(&[1, 2, 3]).unwrap();
        let token = next.id().unwrap();
        (session, next, token)
    };
    let (mut undisturbed, _, token) = session();
    let (mut disturbed, next, _) = session();
    let unread = disturbed.follow(&next, |_| -> anyhow::Result<()> { bail!("unread") });
    assert!(unread.is_err());
    let [disturbed, undisturbed] = [&mut disturbed, &mut undisturbed].map(|session| {
        let next = session.decode(token).unwrap();
        next.choice().unwrap().digest
    });
    disturbed != undisturbed
}

#[test]
fn a_rank_that_is_alone_begins_no_more_ahead_than_one_with_peers() {
    assert!(begins_ahead(Strategy::Single, Alone));
    let others = Absent { rank: 0, size: 2 };
    assert!(!begins_ahead(Strategy::Pp, others));
    // On a GPU a rank of TP begins as much as a process with the whole model.
    if Device::of_operations().unwrap() == Device::Cpu {
        assert!(!begins_ahead(Strategy::Tp, others));
    }
}

#[test]
fn a_rank_that_is_alone_has_its_share_and_says_what_its_layers_took() {
    let whole = single(small_model(None), 3, 1);
    let weights = |events: &[Event]| {
        let mut weights = events.iter().filter_map(|event| match event {
            Event::Usage { weight_bytes, .. } => Some(*weight_bytes),
            _ => None,
        });
        weights.next().unwrap()
    };
    // Of each token what its layers took, and when it was read.
    let layers = |events: &[Event]| {
        let of = |event: &Event| match event {
            Event::Token { ns, layers_ns, .. } => Some((*layers_ns, *ns)),
            _ => None,
        };
        events.iter().filter_map(of).collect::<Vec<_>>()
    };
    let alone = |strategy, rank| {
        let job = Job {
            strategy,
            rank,
            ranks: 2,
            alone: true,
            ..whole.clone()
        };
        events(&job).unwrap()
    };
    let all = weights(&events(&whole).unwrap());
    for rank in 0..2 {
        let tp = alone(Strategy::Tp, rank);
        assert!(weights(&tp) < all);
        assert!(layers(&tp).iter().all(|(layers, _)| layers.is_none()));

        let pp = alone(Strategy::Pp, rank);
        assert!(weights(&pp) < all);
        let mut before = 0;
        for (layers, read) in layers(&pp) {
            let layers = layers.unwrap();
            assert!(
                0 < layers && layers < read - before,
                "{before} {layers} {read}"
            );
            before = read;
        }
    }
    // Two of three layers, and one.
    assert!(weights(&alone(Strategy::Pp, 0)) > weights(&alone(Strategy::Pp, 1)));
}
