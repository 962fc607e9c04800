//! A group of ranks at work: started, asked, listened to, and never left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use jaccl::{Job, Report, Request, Step};
use launch::{Heard, Interrupted, Launcher, Limit, Ranks, StartError, Watchdog};
use softrail::{
    Fabric, FabricError,
    counters::{self, Counters},
};

use crate::{
    case::{Backend, Frames},
    process,
    setup::{Setup, Start},
    verdict::{Finding, Verdict},
};

/// What a group is made of, beside its setup.
#[derive(Debug, Clone)]
pub struct Programs {
    /// `jaccl-rank`.
    pub rank: PathBuf,
    /// The emulated RDMA provider.
    pub provider: PathBuf,
}

/// The build of jaccl that ranks load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// Its shim.
    pub library: PathBuf,
    /// Its key in the store, which it says of itself, too (`rails_build_key`).
    pub key: String,
}

/// A group that could not be started; nothing of jaccl's.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The cables could not be emulated.
    #[error(transparent)]
    Fabric(#[from] FabricError),
    /// The device file could not be written.
    #[error("cannot write the device file {}", path.display())]
    Devices {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A process could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A rank has loaded something else than it was told to. What it does says nothing of
    /// the build in question.
    #[error("rank {rank} has loaded build {loaded}, not {expected}")]
    OtherBuild {
        /// The rank.
        rank: usize,
        /// The key of what it has loaded.
        loaded: String,
        /// The key of what it was to load.
        expected: String,
    },
    /// The caller asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl GroupError {
    /// What to do about it, where anything can be done.
    pub fn help(&self) -> Option<String> {
        match self {
            GroupError::Fabric(error) => error.help(),
            GroupError::Devices { .. } => Some("free some space there".to_owned()),
            GroupError::OtherBuild { .. } => Some(
                "another process has replaced the build meanwhile; run the command again"
                    .to_owned(),
            ),
            GroupError::Start(_) | GroupError::Interrupted(_) => None,
        }
    }
}

/// How one rank came out of what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It answered.
    Report(Report),
    /// Its process died.
    Died {
        /// How.
        how: String,
        /// Whether it was killed from outside, as a system does that has no memory left.
        killed: bool,
    },
    /// It did not come back. Where it is in jaccl, if its stack could be had.
    Waits(Option<String>),
    /// It was not waited for any longer, because another rank had failed.
    Abandoned,
}

/// How all ranks came out, by place in the group.
pub type Ends = BTreeMap<usize, End>;

/// What rank 0 gets to load jaccl before the others are started.
const LOADING: Duration = Duration::from_secs(10);

/// What the others get to fail by themselves once one rank did: what a dead rank's
/// peers say of it may be heard before its death.
const GRACE: Duration = Duration::from_millis(150);

/// How far ahead the first party of a message is.
const HEAD_START: Duration = Duration::from_micros(300);

/// Whom to wait for once a rank has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// A moment longer: one failure settles it.
    FirstFailure,
    /// Everybody.
    All,
}

/// Ranks that are running. Dropping it ends them and removes their cables.
pub struct Group {
    ranks: Ranks,
    /// Ranks whose output has ended.
    closed: BTreeSet<usize>,
    fabric: Fabric,
    /// What the cables had done when the ranks were last asked something.
    before: Vec<Counters>,
    /// The key of the build that each rank has to load.
    build: String,
    /// Whether jaccl said on each rank that RDMA is available.
    available: BTreeMap<usize, bool>,
    salt: u32,
    in_step: bool,
}

impl Group {
    /// Starts the processes and asks them to join with a build of jaccl; [`Group::joined`]
    /// waits for that.
    ///
    /// # Errors
    /// When cables, files or processes cannot be made.
    pub fn start(
        programs: &Programs,
        build: &Build,
        setup: &Setup,
        launcher: &Launcher,
    ) -> Result<Self, GroupError> {
        let fabric = Fabric::create(&softrail::default_parent(), &setup.rig)?;
        let devices = fabric.path().join("devices.json");
        fs::write(
            &devices,
            serde_json::to_vec(&setup.matrix).unwrap_or_default(),
        )
        .map_err(|source| GroupError::Devices {
            path: devices.clone(),
            source,
        })?;
        let mut group = Group {
            ranks: Ranks::new(launcher),
            closed: BTreeSet::new(),
            before: fabric.live().counters(),
            fabric,
            build: build.key.clone(),
            available: BTreeMap::new(),
            salt: 0,
            in_step: false,
        };
        for (place, start) in setup.starts.iter().enumerate() {
            let environment = group.environment(programs, setup, *start)?;
            group
                .ranks
                .start(Command::new(&programs.rank), environment)?;
            let job = Job {
                library: build.library.clone(),
                rank: start.rank,
                coordinator: group.fabric.coordinator().to_string(),
                devices: devices.clone(),
                prefer_ring: setup.backend == Backend::Ring,
            };
            group.ask(place, &Request::Join(job));
            if place == 0 && setup.starts.len() > 1 {
                group.await_listener();
            }
        }
        Ok(group)
    }

    /// Rank 0 must listen before the others call, or jaccl lets them wait a second. It
    /// does so at once after it has said that jaccl is loaded. Whatever it says is kept
    /// for [`Group::joined`].
    fn await_listener(&mut self) {
        let cancel = self.ranks.cancel().clone();
        self.ranks
            .wait_until(LOADING, |ranks| ranks.has_heard() || cancel.is_cancelled());
    }

    fn ask(&mut self, place: usize, request: &Request) {
        let line = serde_json::to_string(request).expect("a request is plain data");
        self.ranks.ask(place, &line);
    }

    fn environment(
        &self,
        programs: &Programs,
        setup: &Setup,
        start: Start,
    ) -> Result<Vec<(String, String)>, GroupError> {
        let mut variables = Vec::new();
        variables.extend(match start.library {
            true => self.fabric.provider_env(&programs.provider)?,
            false => self.fabric.no_library_env()?,
        });
        if start.fabric {
            let node = &setup.rig.nodes[start.rank % setup.rig.nodes.len()];
            variables.extend(self.fabric.env(&node.name));
        }
        if setup.frames == Frames::Big {
            variables.push(("JACCL_BIG_FRAMES".to_owned(), "1".to_owned()));
        }
        Ok(variables)
    }

    /// Waits until the ranks have joined, or one failed to.
    ///
    /// # Errors
    /// When the caller asked to stop.
    pub fn joined(&mut self, limit: Limit, until: Until) -> Result<Ends, GroupError> {
        self.collect(limit, until)
    }

    /// Whether jaccl said that RDMA is available, on the ranks that loaded it.
    pub fn available(&self) -> &BTreeMap<usize, bool> {
        &self.available
    }

    /// Has all ranks do steps. Those in `first` begin a little earlier.
    ///
    /// # Errors
    /// When the caller asked to stop.
    pub fn run(
        &mut self,
        mut steps: Vec<Step>,
        first: Option<usize>,
        limit: Limit,
        until: Until,
    ) -> Result<Ends, GroupError> {
        self.before = self.fabric.live().counters();
        for step in &mut steps {
            self.salt += 1;
            step.salt = self.salt;
        }
        let request = Request::Run(steps);
        if let Some(first) = first {
            self.ask(first, &request);
            std::thread::sleep(HEAD_START);
        }
        for place in (0..self.ranks.len()).filter(|place| Some(*place) != first) {
            self.ask(place, &request);
        }
        self.collect(limit, until)
    }

    /// Has all ranks leave, and waits for it.
    ///
    /// # Errors
    /// When the caller asked to stop.
    pub fn leave(mut self, limit: Limit) -> Result<Ends, GroupError> {
        for place in 0..self.ranks.len() {
            self.ask(place, &Request::Leave);
        }
        self.collect(limit, Until::FirstFailure)
    }

    /// How many cables have carried anything.
    pub fn cables_used(&self) -> usize {
        let bytes = self.fabric.cable_bytes();
        bytes.values().filter(|bytes| **bytes > 0).count()
    }

    /// A finding about what the ranks were last asked, with what the cables did since.
    pub fn with_cables(&self, mut finding: Finding) -> Finding {
        finding.cables = counters::since(self.fabric.live().counters(), &self.before);
        finding.cables.retain(|it| it.messages + it.pending > 0);
        finding
    }

    fn moved(&self) -> u64 {
        self.fabric.cable_bytes().values().sum()
    }

    /// Listens until every rank has come to an end of what it was asked.
    fn collect(&mut self, limit: Limit, until: Until) -> Result<Ends, GroupError> {
        let mut ends = Ends::new();
        let mut failed: Option<Instant> = None;
        for place in self.closed.clone() {
            ends.insert(place, self.died(place));
            failed.get_or_insert_with(Instant::now);
        }
        let mut watchdog = Watchdog::new(limit, Instant::now(), self.moved());
        while ends.len() < self.ranks.len() {
            let end = match self.ranks.listen()? {
                Some(Heard::Said { rank, text }) => {
                    // What is no report was printed by what jaccl loads.
                    match serde_json::from_str(&text) {
                        Err(_) => None,
                        Ok(report) => {
                            watchdog.hear(Instant::now());
                            self.end_of(rank, report)?.map(|end| (rank, end))
                        }
                    }
                }
                Some(Heard::Closed { rank }) => {
                    self.closed.insert(rank);
                    (!ends.contains_key(&rank)).then(|| (rank, self.died(rank)))
                }
                None => {
                    if self.hangs(&mut watchdog, &ends) {
                        self.give_up(&mut ends, true);
                    }
                    None
                }
            };
            if let Some((place, end)) = end
                && !ends.contains_key(&place)
            {
                if !succeeded(&end) {
                    failed.get_or_insert_with(Instant::now);
                }
                ends.insert(place, end);
            }
            if until == Until::FirstFailure && failed.is_some_and(|at| at.elapsed() > GRACE) {
                self.give_up(&mut ends, false);
            }
        }
        self.in_step = ends.values().all(in_step);
        Ok(ends)
    }

    /// Whether all ranks came back from what they were last asked, with right data or
    /// wrong.
    pub fn in_step(&self) -> bool {
        self.in_step
    }

    /// Whether the ranks that are waited for hang.
    fn hangs(&self, watchdog: &mut Watchdog, ends: &Ends) -> bool {
        watchdog.hangs(
            Instant::now(),
            self.moved(),
            || self.ranks.processors(),
            |place| !ends.contains_key(&place),
        )
    }

    fn end_of(&mut self, place: usize, report: Report) -> Result<Option<End>, GroupError> {
        match report {
            Report::Loaded { build, .. } if build != self.build => Err(GroupError::OtherBuild {
                rank: place,
                loaded: build,
                expected: self.build.clone(),
            }),
            Report::Loaded { available, .. } => {
                self.available.insert(place, available);
                Ok(None)
            }
            report => Ok(Some(End::Report(report))),
        }
    }

    fn died(&mut self, place: usize) -> End {
        let (how, killed) = process::death(&mut self.ranks, place);
        End::Died { how, killed }
    }

    /// Ends the waiting for the ranks that are still waited for.
    fn give_up(&mut self, ends: &mut Ends, hung: bool) {
        for place in 0..self.ranks.len() {
            ends.entry(place).or_insert_with(|| match hung {
                true => End::Waits(process::place(&mut self.ranks, place)),
                false => End::Abandoned,
            });
        }
    }
}

fn succeeded(end: &End) -> bool {
    matches!(
        end,
        End::Report(Report::Joined | Report::Passed { .. } | Report::Left)
    )
}

fn in_step(end: &End) -> bool {
    succeeded(end) || matches!(end, End::Report(Report::Wrong { .. }))
}

/// What ends amount to when all should have succeeded: the worst decides, a death
/// before damage before a refusal before silence, since each explains the next.
pub fn finding(ends: &Ends) -> Option<Finding> {
    let first = |wanted: &dyn Fn(&End) -> Option<(Verdict, String)>| {
        ends.iter().find_map(|(rank, end)| {
            let (verdict, detail) = wanted(end)?;
            Some(Finding::new(verdict, format!("rank {rank} {detail}")))
        })
    };
    let died = |end: &End| match end {
        End::Died { how, .. } => Some((Verdict::Crash, how.clone())),
        _ => None,
    };
    let overrun = |end: &End| match end {
        End::Report(Report::Overrun { detail, .. }) => {
            Some((Verdict::Overrun, format!("wrote out of bounds: {detail}")))
        }
        _ => None,
    };
    let wrong = |end: &End| match end {
        End::Report(Report::Wrong { detail, .. }) => {
            Some((Verdict::Wrong, format!("has wrong data: {detail}")))
        }
        _ => None,
    };
    let error = |end: &End| match end {
        End::Report(Report::Error { message, .. }) => {
            Some((Verdict::Error, format!("got an error: {message}")))
        }
        _ => None,
    };
    let waits = || {
        ends.values()
            .any(|end| matches!(end, End::Waits(_)))
            .then(|| Finding::new(Verdict::Hang, standing(ends)))
    };
    first(&died)
        .or_else(|| first(&overrun))
        .or_else(|| first(&wrong))
        .or_else(|| first(&error))
        .or_else(waits)
}

/// Where each rank is.
pub fn standing(ends: &Ends) -> String {
    let one = |(rank, end): (&usize, &End)| match end {
        End::Waits(Some(place)) => format!("rank {rank} waits in {place}"),
        End::Waits(None) => format!("rank {rank} waits"),
        End::Abandoned => format!("rank {rank} was not waited for"),
        End::Died { how, .. } => format!("rank {rank} {how}"),
        End::Report(Report::Error { message, .. }) => format!("rank {rank}: {message}"),
        End::Report(_) => format!("rank {rank} is done"),
    };
    ends.iter().map(one).collect::<Vec<_>>().join("; ")
}
