//! Shared parts of the tests: the fake rank, cables without substance, and checks that
//! nothing is left behind.
#![allow(dead_code, reason = "each test program uses its part")]

use std::{cell::Cell, error::Error, fs, io, path::PathBuf, time::Duration};

use launch::Launcher;
use rail_bench::{
    BuildInfo, Harness, Launched, Measured, Options, Plan, Report, RunError, Settings, Workload,
    cabling::{Cabling, Plugged},
    engine::{Engine, EngineProgram},
    launch::{Limits, RankProgram},
    progress::Progress,
};
use rig::Rig;
use rustix::process::{Pid, test_kill_process};
use softrail::counters::Counters;
use tempfile::TempDir;

/// For cells that are expected to end: far longer than any step of a fake rank on a busy
/// machine.
pub const PATIENT: Limits = Limits {
    silence: Duration::from_secs(120),
    grace: Duration::from_millis(300),
};

/// For cells that are expected to hang.
pub const HASTY: Limits = Limits {
    silence: Duration::from_secs(4),
    ..PATIENT
};

/// Every cell of the embedded rig, small enough to be quick and long enough for tokens
/// to differ.
pub fn short() -> Options {
    Options {
        workloads: vec![Workload {
            prompt_tokens: 8,
            generation_tokens: 4,
            ..Workload::DEFAULT
        }],
        settings: Settings {
            repeat: 2,
            rounds: 1,
            shuffle: None,
            limits: PATIENT,
            ..Settings::default()
        },
        ..Options::default()
    }
}

pub const LIMITS: Limits = Limits {
    silence: Duration::from_secs(2),
    grace: Duration::from_millis(300),
};

/// The fake rank with its rules, and its processes.
pub struct FakeRank {
    rules: String,
    pids: TempDir,
}

impl FakeRank {
    pub fn new(rules: &str) -> Self {
        Self {
            rules: rules.to_owned(),
            pids: tempfile::tempdir().unwrap(),
        }
    }

    pub fn program(&self) -> RankProgram {
        let pids = self.pids.path().display().to_string();
        RankProgram {
            path: PathBuf::from(env!("CARGO_BIN_EXE_fake-rank")),
            args: vec![],
            env: vec![
                ("FAKE_RANK".to_owned(), self.rules.clone()),
                ("FAKE_RANK_PIDS".to_owned(), pids),
            ],
        }
    }

    /// The program of an engine: it knows which one it stands for.
    pub fn program_of(&self, engine: Engine) -> RankProgram {
        let mut program = self.program();
        let engine = ("FAKE_RANK_ENGINE".to_owned(), engine.to_string());
        program.env.push(engine);
        program
    }

    /// The process numbers of all ranks that were started.
    pub fn started(&self) -> Vec<Pid> {
        let names = fs::read_dir(self.pids.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name());
        names
            .map(|name| Pid::from_raw(name.to_str().unwrap().parse().unwrap()).unwrap())
            .collect()
    }

    /// The rank, the node and the matrix of every process, sorted.
    pub fn places(&self) -> Vec<String> {
        let files = fs::read_dir(self.pids.path()).unwrap();
        let read = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        let mut places: Vec<_> = read.collect();
        places.sort();
        places
    }

    /// Asserts that ranks were started and that none is left, not even as a
    /// zombie.
    pub fn assert_none_left(&self) {
        let started = self.started();
        assert!(!started.is_empty());
        for pid in started {
            assert!(
                test_kill_process(pid).is_err(),
                "process {pid:?} is still there"
            );
        }
    }
}

/// Cables that do not exist. Every look at their counters finds a few more bytes carried,
/// and a message that no receiver has taken.
pub struct PretendCables;

impl Cabling for PretendCables {
    fn plug(&self, rig: &Rig) -> Result<Box<dyn Plugged>, Box<dyn Error + Send + Sync>> {
        let names = rig.cables.iter().map(|cable| cable.name.clone()).collect();
        Ok(Box::new(Pretended {
            names,
            looks: Cell::new(0),
        }))
    }
}

struct Pretended {
    names: Vec<String>,
    looks: Cell<u64>,
}

impl Plugged for Pretended {
    fn env(&self, node: &str) -> Vec<(String, String)> {
        vec![("FAKE_NODE".to_owned(), node.to_owned())]
    }

    fn coordinator(&self) -> String {
        "127.0.0.1:20000".into()
    }

    fn counters(&self) -> Vec<Counters> {
        self.looks.set(self.looks.get() + 1);
        let each = self.looks.get() * 6_000_000 / self.names.len() as u64;
        let counters = |name: &String| Counters {
            cable: name.clone(),
            from: "a:there".to_owned(),
            to: "b:here".to_owned(),
            bytes: each,
            messages: 7,
            depth: Some(0),
            waited: 5,
            pending: 1,
            ..Counters::default()
        };
        self.names.iter().map(counters).collect()
    }

    /// Only one end sends, so that the looks come in one order.
    fn sent(&self, node: &str) -> Vec<Counters> {
        match node {
            "a" => self.counters(),
            _ => vec![],
        }
    }

    fn moved(&self) -> u64 {
        0
    }
}

pub fn build() -> BuildInfo {
    BuildInfo {
        mlx: "0.31.2".into(),
        series: "patched".into(),
        tree: "daeca1f0".into(),
        patched_tree: "0123abcd".into(),
        key: "k3y".into(),
        manifest: serde_json::Value::Null,
    }
}

/// Runs the bench with fake ranks to its last cell.
pub fn run(options: Options, rank: &FakeRank, cabling: &dyn Cabling) -> Result<Report, RunError> {
    let measured = run_until(options, rank, cabling, &Launcher::default())?;
    match measured.stopped {
        None => Ok(measured.report),
        Some(why) => Err(why),
    }
}

/// Runs the bench with one program for its engine to its last cell.
pub fn run_with(
    options: Options,
    rank: &FakeRank,
    program: RankProgram,
    cabling: &dyn Cabling,
) -> Result<Report, RunError> {
    let engine = |engine| EngineProgram {
        engine,
        program: program.clone(),
        build: "k3y".into(),
    };
    let engines = Engine::ALL.map(engine).into();
    let launcher = Launcher::default();
    let measured = run_engines(options, engines, cabling, &launcher, vec![], &|_| Ok(()))?;
    rank.assert_none_left();
    match measured.stopped {
        None => Ok(measured.report),
        Some(why) => Err(why),
    }
}

/// Runs the bench with fake ranks, to its end or until it is stopped.
pub fn run_until(
    options: Options,
    rank: &FakeRank,
    cabling: &dyn Cabling,
    launcher: &Launcher,
) -> Result<Measured, RunError> {
    run_from(options, rank, cabling, launcher, vec![], &|_| Ok(()))
}

/// As [`run_until`], from the launches of an earlier run, with the lines going to `record`.
pub fn run_from(
    options: Options,
    rank: &FakeRank,
    cabling: &dyn Cabling,
    launcher: &Launcher,
    resumed: Vec<Launched>,
    record: &dyn Fn(&str) -> io::Result<()>,
) -> Result<Measured, RunError> {
    let engine = |engine| EngineProgram {
        engine,
        program: rank.program_of(engine),
        build: "k3y".into(),
    };
    let engines = Engine::ALL.map(engine).into();
    let measured = run_engines(options, engines, cabling, launcher, resumed, record);
    rank.assert_none_left();
    measured
}

fn run_engines(
    options: Options,
    engines: Vec<EngineProgram>,
    cabling: &dyn Cabling,
    launcher: &Launcher,
    resumed: Vec<Launched>,
    record: &dyn Fn(&str) -> io::Result<()>,
) -> Result<Measured, RunError> {
    let plan = Plan::new(options).unwrap();
    let harness = Harness {
        resumed,
        record,
        engines,
        cabling,
        build: build(),
        warnings: vec![],
        launcher,
        progress: Progress::hidden(),
    };
    rail_bench::run(&plan, &harness)
}
