//! Stands in for a rank: reports a rank's events, with made-up tokens and times, and
//! fails on demand.
//!
//! `FAKE_RANK` contains rules, `CELL[@RANK]=BEHAVIOUR` separated by `;`, where CELL is as
//! `rail_bench::sweep::Cell` is named, with its workload or without. Without a rule a rank passes. `FAKE_RANK_PIDS`
//! names a folder for the process numbers: a file each, with the rank, the node of
//! `FAKE_NODE` and the matrix.
//!
//! `FAKE_RANK_MEETS_AT` is the address at which ranks have to meet, if it is not a loopback
//! one. Started with the path of a stage, it is the agent of a node.
//!
//! With a file of counters it counts in it, as a meter would, ten frames for a prompt and one
//! for each token on each of its devices.

use std::{env, fs, io, path::Path, process, sync::atomic::Ordering, thread, time::Duration};

use meter::{FILE_VARIABLE, Sheet};
use rail_bench::{
    engine::Engine,
    protocol::{Event, Job, Pass, Phase, Spent, Strategy, Top, end_with_launcher},
    sweep::Cell,
    workload::Workload,
};
use rail_matrix::{Backend, Frames};

fn main() -> process::ExitCode {
    if env::args()
        .nth(1)
        .is_some_and(|argument| argument != "--job")
    {
        return remote::agent::main();
    }
    end_with_launcher();
    if let Ok(folder) = env::var("FAKE_RANK_PIDS") {
        let me = process::id().to_string();
        let told = |name| env::var(name).unwrap_or_default();
        let matrix = fs::read_to_string(told("MLX_IBV_DEVICES")).unwrap_or_default();
        let place = [told("MLX_RANK"), told("FAKE_NODE"), matrix].join(" ");
        fs::write(format!("{folder}/{me}"), place).expect("the folder of process numbers");
    }
    let job = job();
    let cell = cell(&job);
    let behaviour = behaviour(cell, job.rank).unwrap_or_default();
    let build = match behaviour.as_str() {
        "other-build" => Some("0ther"),
        "no-build" => None,
        _ => Some("k3y"),
    };
    if let Some(build) = build {
        say(Event::Loaded {
            build: build.to_owned(),
        });
    }
    let big_frames = env::var_os("JACCL_BIG_FRAMES").is_some();
    let checked = match behaviour.as_str() {
        "wants-big-frames" if !big_frames => Err("the frames are not big".to_owned()),
        _ => check_environment(&job),
    };
    if let Err(why) = checked {
        say(Event::Error { message: why });
        process::exit(1);
    }
    Rank {
        job,
        cell,
        behaviour,
        sheet: env::var(FILE_VARIABLE)
            .ok()
            .map(|path| Sheet::open(Path::new(&path)).expect("a file of counters")),
    }
    .run();
    process::ExitCode::SUCCESS
}

struct Rank {
    job: Job,
    cell: Cell,
    behaviour: String,
    sheet: Option<Sheet>,
}

impl Rank {
    fn run(&self) {
        say(Event::Phase { phase: Phase::Load });
        say(Event::Phase { phase: Phase::Init });
        if self.behaves("error") {
            say(Event::Error {
                message: "[jaccl] no device named rdma_en9".into(),
            });
            process::exit(1);
        }
        if self.behaves("error-and-linger") {
            say(Event::Error {
                message: "[jaccl] no device named rdma_en9".into(),
            });
            sleep_for_ever();
        }
        if self.behaves("chatter") {
            println!("free text on stdout\n{{\"event\":\"unknown\"}}");
        }
        let runs = self.job.warmup + self.job.repeat;
        for run in 0..runs {
            let last = run + 1 == runs;
            if last && self.behaves("short") {
                break;
            }
            self.one_run(run, last);
        }
        say(Event::Usage {
            load_ns: 1_500_000,
            peak_bytes: 4096,
            weight_bytes: 1024,
        });
        for &pass in Pass::of(self.job.strategy) {
            for run in 0..self.job.split {
                self.one_split(pass, run);
            }
        }
        self.after();
        say(Event::Done);
        if self.behaves("stay") {
            sleep_for_ever();
        }
    }

    fn one_run(&self, run: usize, last: bool) {
        let warmup = run < self.job.warmup;
        if self.job.depth > 0 {
            say(Event::Phase { phase: Phase::Fill });
        }
        say(Event::Phase {
            phase: if warmup { Phase::Warmup } else { Phase::Run },
        });
        self.count(10);
        if last && self.behaves("work") {
            for _ in 0..45 {
                thread::sleep(Duration::from_millis(200));
                self.count(1);
            }
        }
        for index in 0..self.job.generation_tokens {
            self.count(1);
            if last && index + 1 == self.job.generation_tokens {
                self.fail_late();
            }
            if self.behaves("crawl") {
                thread::sleep(Duration::from_millis(600));
            }
            let id = self.token(index, last);
            say(Event::Token {
                run,
                index,
                id,
                ns: self.time(run, index),
                digest: Some(self.digest(index, last)),
                layers_ns: None,
            });
        }
        let margin = match self.behaviour.as_str() {
            "close" => 1e-6,
            "nan" if last => f32::NAN,
            _ => 0.25,
        };
        let prompt_tokens = self.job.prompt.tokens();
        say(Event::Run {
            run,
            warmup,
            prompt_tokens,
            min_margin: Some(margin),
        });
    }

    fn count(&self, frames: u64) {
        let Some(sheet) = &self.sheet else { return };
        let matrix = devices().expect("a rank that is metered has devices");
        for name in matrix[self.job.rank].iter().flatten() {
            let device = sheet.device(name).expect("a place");
            device.sent_frames.fetch_add(frames, Ordering::Relaxed);
            device.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// As if the greatest logits of each token were its own and the next one's.
    fn after(&self) {
        if self.job.after.is_nothing() {
            return;
        }
        say(Event::Phase {
            phase: Phase::Check,
        });
        let passes = self.job.after.forced.iter().map(|it| it.nudged + 1);
        for pass in 0..passes.sum() {
            for index in 0..self.job.generation_tokens {
                let top = self.top(pass, index);
                say(Event::Forced { pass, index, top });
            }
        }
        for (index, needle) in self.job.after.needles.iter().enumerate() {
            let ids = self.answer(&needle.prompt);
            say(Event::Needle { index, ids });
        }
    }

    fn top(&self, pass: usize, index: usize) -> Top {
        let (id, moved) = (self.token(index, false), 0.01 * pass as f32);
        match self.behaviour.as_str() {
            "no-noise" => vec![],
            // Allowed is eight times the noise of the second nudged pass.
            "far" if index == 1 => vec![(id, 2.0), (id + 1, 1.17)],
            "turned" if index == 1 => vec![(id + 1, 2.0), (id, 1.0)],
            "drift" => vec![(id, 2.0), (id + 1, 1.15)],
            _ => vec![(id, 2.0), (id + 1, 1.0 + moved)],
        }
    }

    /// The pass key of a prompt whose ids are its characters, with a word around it.
    fn answer(&self, prompt: &[u32]) -> Vec<u32> {
        let text: String = prompt.iter().filter_map(|&id| char::from_u32(id)).collect();
        let hidden = text.split("The pass key is ").nth(1).unwrap_or_default();
        let key = hidden.split('.').next().unwrap_or_default();
        let answer = match self.behaves("lost") && prompt.len() > 300 {
            true => " 12345. So",
            false => &format!(" {key}. So"),
        };
        answer.chars().map(u32::from).collect()
    }

    /// Of a measured run, two thirds without messages, and a half more than it with each
    /// message apart.
    fn one_split(&self, pass: Pass, run: usize) {
        say(Event::Phase {
            phase: Phase::Split,
        });
        if self.behaves("no-laps") {
            return;
        }
        for index in 0..self.job.generation_tokens {
            let since = match index {
                0 => 0,
                _ => self.time(0, index - 1),
            };
            let ns = self.time(0, index) - since;
            let spent = match pass {
                Pass::Without => Spent {
                    ns: ns / 3 * 2,
                    evaluating_ns: ns / 2,
                    ..Spent::default()
                },
                Pass::Apart => Spent {
                    ns: ns / 2 * 3,
                    evaluating_ns: ns,
                    waiting_ns: ns / 10,
                    message_ns: ns / 5,
                },
            };
            say(Event::Lap {
                pass,
                run,
                index,
                spent,
            });
        }
    }

    fn fail_late(&self) {
        match self.behaviour.as_str() {
            "hang" => sleep_for_ever(),
            "abort" => {
                eprintln!("Assertion failed: staging");
                process::abort();
            }
            // As the C++ library ends a process whose exception nothing catches.
            "terminate" | "terminate-late" => {
                if self.behaves("terminate-late") {
                    thread::sleep(Duration::from_millis(700));
                }
                eprintln!("terminate called after throwing an instance of 'std::runtime_error'");
                eprintln!("  what():  [jaccl] Rank 1 is gone: its connection was closed.");
                process::abort();
            }
            "exit" => {
                eprintln!("first line");
                eprintln!("device not found");
                process::exit(3);
            }
            "leave" => process::exit(0),
            _ => {}
        }
    }

    fn token(&self, index: usize, last: bool) -> u32 {
        let id = 17 * index as u32 + 3;
        match self.behaviour.as_str() {
            "repeat" => 5,
            "wrong" | "drift" | "far" | "turned" if last && index == 2 => id + 1,
            "wrong-in-later" if last && index == 2 && self.job.repeat == 2 => id + 1,
            _ => id,
        }
    }

    /// As if the logits were the token's number alone.
    fn digest(&self, index: usize, last: bool) -> String {
        let odd = match self.behaviour.as_str() {
            "other-logits" => last && self.job.rank == 1,
            "other-bits" => last && index == 1,
            _ => false,
        };
        format!("{:016x}", index + usize::from(odd))
    }

    /// 120 ms to the first token over one cable and less over more, then a
    /// token every 5 ms, and a little more in every run.
    fn time(&self, run: usize, index: usize) -> u64 {
        let prefill = 120_000_000 / self.cell.cables.max(1) as u64;
        let late = if self.behaves("late") { 2_000_000 } else { 0 };
        // With `slower`, the later launch of a cell, which measures less, takes longer.
        let slower = self.behaves("slower") && self.job.repeat == 2;
        let prefill = prefill + if slower { prefill / 10 } else { 0 };
        late + prefill + 1_000_000 * run as u64 + 5_000_000 * index as u64
    }

    fn behaves(&self, behaviour: &str) -> bool {
        self.behaviour == behaviour
    }
}

fn say(event: Event) {
    event.emit(io::stdout()).expect("the launcher listens");
}

fn sleep_for_ever() -> ! {
    loop {
        thread::sleep(Duration::from_secs(60));
    }
}

fn job() -> Job {
    let path = env::args()
        .skip_while(|arg| arg != "--job")
        .nth(1)
        .expect("--job FILE");
    serde_json::from_str(&fs::read_to_string(path).expect("the job file")).expect("a job")
}

fn cell(job: &Job) -> Cell {
    let backend = match (job.strategy, env::var_os("MLX_JACCL_RING")) {
        (Strategy::Single, _) => None,
        (_, None) => Some(Backend::Mesh),
        (_, Some(_)) => Some(Backend::Ring),
    };
    let cables = devices().map_or(0, |devices| devices[0][1].len());
    let engine = env::var("FAKE_RANK_ENGINE").ok();
    Cell {
        engine: engine.map_or(Engine::Rust, |it| it.parse().expect("an engine")),
        workload: workload(job),
        strategy: job.strategy,
        backend,
        cables,
    }
}

/// As the job and the environment have it.
fn workload(job: &Job) -> Workload {
    let is_set = |name: &str| env::var_os(name).is_some();
    Workload {
        frames: match is_set("JACCL_BIG_FRAMES") {
            true => Frames::Big,
            false => Frames::Small,
        },
        prompt_tokens: job.prompt.tokens(),
        generation_tokens: job.generation_tokens,
        depth: job.depth,
        prefill_step: job.prefill_step,
        fast_synch: env::var("MLX_METAL_FAST_SYNCH").is_ok_and(|it| it == "1"),
    }
}

fn devices() -> Option<Vec<Vec<Vec<String>>>> {
    let path = env::var("MLX_IBV_DEVICES").ok()?;
    let text = fs::read_to_string(path).expect("the device file");
    Some(serde_json::from_str(&text).expect("a device matrix"))
}

fn behaviour(cell: Cell, rank: usize) -> Option<String> {
    let rules = env::var("FAKE_RANK").ok()?;
    let applies = [
        cell.to_string(),
        cell.name_among(2),
        format!("{cell}@{rank}"),
        "*".to_owned(),
    ];
    rules
        .split(';')
        .filter_map(|rule| rule.split_once('='))
        .find(|(key, _)| applies.iter().any(|applies| applies == key))
        .map(|(_, behaviour)| behaviour.to_owned())
}

/// The variables that would change jaccl's behaviour.
fn check_environment(job: &Job) -> Result<(), String> {
    let is = |name: &str| env::var(name).ok();
    if let Some(left_over) = is("JACCL_RING") {
        return Err(format!(
            "JACCL_RING={left_over} was left over from the caller"
        ));
    }
    if job.strategy == Strategy::Single {
        return match is("MLX_JACCL_COORDINATOR") {
            None => Ok(()),
            Some(_) => Err("the reference was told to join a group".into()),
        };
    }
    if is("MLX_RANK") != Some(job.rank.to_string()) {
        return Err(format!(
            "MLX_RANK is {:?} on rank {}",
            is("MLX_RANK"),
            job.rank
        ));
    }
    let coordinator = is("MLX_JACCL_COORDINATOR").unwrap_or_default();
    let address = coordinator.parse::<std::net::SocketAddrV4>();
    let right = address.is_ok_and(|address| match is("FAKE_RANK_MEETS_AT") {
        Some(machine) => address.ip().to_string() == machine,
        None => address.ip().is_loopback() && address.port() < 32768,
    });
    if !right {
        return Err(format!("the coordinator is '{coordinator}'"));
    }
    if let Some(libraries) = is("SOFTRAIL_FABRIC").and(is("LD_LIBRARY_PATH")) {
        let mut folders = libraries.split(':');
        if !folders.any(|folder| fs::exists(format!("{folder}/libibverbs.so.1")).unwrap_or(false)) {
            return Err(format!("no libibverbs.so.1 in {libraries}"));
        }
    }
    Ok(())
}
