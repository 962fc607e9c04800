//! Ranks as processes, over emulated cables, under a watchdog.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use jaccl::{Job, Operation, Report, Step};
use rail_matrix::{Cable, End, Link, Matrix, Node, Rig};
use softrail::Fabric;
use toolchain::{DEFAULT_PIN, Toolchain, build::Request};

pub use toolchain::series::Series;

/// The shim of the default pin's jaccl with a series, built first when the store
/// does not have it.
pub fn jaccl_build(series: Series) -> PathBuf {
    let build = || -> toolchain::Result<PathBuf> {
        let toolchain = Toolchain::open()?;
        let pin = toolchain.pin(DEFAULT_PIN)?;
        Ok(toolchain.build(&Request::jaccl(&pin, series))?.library())
    };
    build().unwrap_or_else(|error| panic!("{error}"))
}

/// jaccl's two ways of using cables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Ring,
    Mesh,
}

/// jaccl's two frame sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frames {
    Small,
    Big,
}

/// How a group ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All ranks did all steps and every byte was right.
    Pass,
    /// After this time some rank was not done.
    Hang,
    /// A rank got wrong bytes.
    Wrong(String),
    /// A rank's memory was written outside of an output.
    Overrun(String),
    /// jaccl refused.
    Error(String),
    /// A rank ended without a word; this is its standard error.
    Crash(String),
}

/// A finished group.
#[derive(Debug)]
pub struct Run {
    pub verdict: Verdict,
    pub cable_bytes: BTreeMap<String, u64>,
}

/// A group to be run. Its fields are what a test varies.
#[derive(Debug, Clone)]
pub struct Group {
    pub series: Series,
    pub backend: Backend,
    pub frames: Frames,
    pub rig: Rig,
    /// Replaces the rig's own matrix, to say what a rig does not.
    pub matrix_json: Option<String>,
    /// Whether the ranks are told of the fabric.
    pub on_the_fabric: bool,
    pub patience: Duration,
    pub steps: Vec<Step>,
}

impl Group {
    /// Steps on a patched jaccl over `cables` fast cables between each two of
    /// `ranks` nodes.
    pub fn new(ranks: usize, cables: usize, backend: Backend, steps: Vec<Step>) -> Self {
        Group {
            series: Series::Patched,
            backend,
            frames: Frames::Small,
            rig: full_rig(ranks, cables),
            matrix_json: None,
            on_the_fabric: true,
            patience: Duration::from_secs(120),
            steps,
        }
    }

    pub fn frames(mut self, frames: Frames) -> Self {
        self.frames = frames;
        self
    }

    /// Runs the group, and ends every process of it whatever happens.
    pub fn run(&self) -> Run {
        let fabric = Fabric::create(&softrail::default_parent(), &self.rig).expect("a fabric");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let devices = folder.path().join("devices.json");
        let matrix = self.matrix_json.clone().unwrap_or_else(|| {
            Matrix::from_rig(&self.rig)
                .expect("a rig with a matrix")
                .to_jaccl_json()
        });
        std::fs::write(&devices, matrix).expect("written");
        let verdict = self.run_over(&fabric, &devices);
        Run {
            verdict,
            cable_bytes: fabric.cable_bytes(),
        }
    }

    fn run_over(&self, fabric: &Fabric, devices: &Path) -> Verdict {
        let deadline = Instant::now() + self.patience;
        let coordinator = fabric.coordinator().to_string();
        let (sender, reports) = mpsc::channel();
        let _ranks: Vec<Rank> = (0..self.rig.nodes.len())
            .map(|rank| {
                let job = Job {
                    library: jaccl_build(self.series),
                    rank,
                    coordinator: coordinator.clone(),
                    devices: devices.to_owned(),
                    prefer_ring: self.backend == Backend::Ring,
                    synchronise: false,
                    steps: self.steps.clone(),
                };
                Rank::spawn(&job, self.environment(fabric, rank), sender.clone())
            })
            .collect();
        drop(sender);
        let mut done = 0;
        while done < self.rig.nodes.len() {
            match reports.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((_, Word::Report(Report::Joined | Report::Pass { .. }))) => {}
                Ok((_, Word::Report(Report::Done))) => done += 1,
                Ok((rank, Word::Report(Report::Wrong { step, detail }))) => {
                    return Verdict::Wrong(self.place(rank, step, &detail));
                }
                Ok((rank, Word::Report(Report::Overrun { step, detail }))) => {
                    return Verdict::Overrun(self.place(rank, step, &detail));
                }
                Ok((rank, Word::Report(Report::Error { message }))) => {
                    return Verdict::Error(format!("rank {rank}: {message}"));
                }
                Ok((rank, Word::Silence(errors))) => {
                    return Verdict::Crash(format!("rank {rank}: {errors}"));
                }
                Err(RecvTimeoutError::Timeout) => return Verdict::Hang,
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the last word of every rank ends the loop")
                }
            }
        }
        Verdict::Pass
    }

    fn place(&self, rank: usize, step: usize, detail: &str) -> String {
        format!("rank {rank}: {detail}, in {:?}", self.steps[step])
    }

    fn environment(&self, fabric: &Fabric, rank: usize) -> Vec<(String, String)> {
        let provider = softrail::provider_library().expect("the provider");
        let mut variables = fabric
            .provider_env(&provider)
            .expect("a link to the provider");
        if self.on_the_fabric {
            variables.extend(fabric.env(&self.rig.nodes[rank].name));
        }
        if self.frames == Frames::Big {
            variables.push(("JACCL_BIG_FRAMES".to_owned(), "1".to_owned()));
        }
        variables
    }
}

/// What a launcher hears of a rank.
enum Word {
    Report(Report),
    /// Its output ended before its work did; this is its standard error.
    Silence(String),
}

/// A running rank. Dropping it ends the process, and so does the end of this one,
/// which closes the rank's standard input.
struct Rank(Child);

impl Rank {
    fn spawn(
        job: &Job,
        environment: Vec<(String, String)>,
        words: mpsc::Sender<(usize, Word)>,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_jaccl-rank"));
        command
            .arg(serde_json::to_string(job).expect("a job is JSON"))
            .envs(environment)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("jaccl-rank starts");
        let output = child.stdout.take().expect("piped");
        let mut errors = child.stderr.take().expect("piped");
        let rank = job.rank;
        thread::spawn(move || {
            let mut last = None;
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let report: Report =
                    serde_json::from_str(&line).expect("jaccl-rank prints reports");
                last = Some(report.clone());
                // A group that has its verdict no longer listens.
                let _ = words.send((rank, Word::Report(report)));
            }
            if matches!(last, None | Some(Report::Joined | Report::Pass { .. })) {
                let mut text = String::new();
                let _ = errors.read_to_string(&mut text);
                let _ = words.send((rank, Word::Silence(text)));
            }
        });
        Rank(child)
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A rig in which every two of `ranks` nodes are joined by `cables` cables, fast
/// enough that tests wait for jaccl and not for the emulation.
pub fn full_rig(ranks: usize, cables: usize) -> Rig {
    let link = Link {
        bytes_per_second: 2_000_000_000,
        latency: Duration::from_micros(2),
    };
    let name = |rank: usize| format!("node-{rank}");
    let mut rig = Rig {
        cables: Vec::new(),
        ..Rig::embedded()
    };
    rig.nodes = (0..ranks).map(|rank| Node { name: name(rank) }).collect();
    for a in 0..ranks {
        for b in a + 1..ranks {
            for k in 0..cables {
                let end = |from: usize, to: usize| End {
                    node: name(from),
                    device: format!("rdma_{to}_{k}"),
                };
                rig.cables.push(Cable {
                    name: format!("cable-{a}-{b}-{k}"),
                    ends: [end(a, b), end(b, a)],
                    link,
                });
            }
        }
    }
    rig
}

/// One operation on as many bytes, once.
pub fn once(operation: Operation, bytes: usize) -> Step {
    Step {
        operation,
        bytes,
        repeat: 1,
    }
}
