//! Real ranks of the engine mlx-lm, one process each, over emulated cables.
//!
//! The model is a tiny Llama with random weights in a folder, as mlx-lm reads it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::LazyLock,
};

use launch::Launcher;
use pins::{DEFAULT_PIN, Series};
use rail_bench::{
    BuildInfo, Harness, Options, Plan, Report, RunError, Settings,
    cabling::Emulated,
    engine::{Engine, EngineProgram},
    launch::{Ending, Outcome, RankStart, launch},
    model::{Folder, Model, Preset},
    plan::DEFAULTS,
    progress::Progress,
    protocol::{Job, JobModel, Prompt, Strategy},
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
            prefill_step: None,
            generation_tokens: 3,
            warmup: 0,
            repeat: 1,
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
        settings: Settings {
            model,
            seed: SEED,
            // Three steps, the last of another length, and the last token in one of its own.
            prompt_tokens: 40,
            prefill_step: Some(16),
            generation_tokens: 8,
            warmup: 0,
            repeat: 2,
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
    };
    let measured = rail_bench::run(&Plan::new(options).unwrap(), &harness)?;
    assert!(measured.stopped.is_none(), "{:?}", measured.stopped);
    Ok(measured.report)
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
    // A pass of tp: the digests of both ranks are equal, every token.
    assert!(report.all_pass(), "{:#?}", report.cells);
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
