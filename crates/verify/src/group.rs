//! A running group of ranks: started, given requests, listened to, and always ended.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use jaccl::{Features, Job, Measure, Report, Request, Step};
use launch::{Cancel, Heard, Interrupted, Launcher, Limit, Ranks, StartError, Watchdog};
use nodes::NodeFacts;
use rig::Cables;
use softrail::{
    Fabric, FabricError,
    counters::{self, Counters},
    live::Live,
    usage::Used,
};

use crate::{
    case::{Backend, Frames},
    hosts::{self, Hosts},
    process,
    setup::{Exhausted, Setup, Start},
    verdict::{Finding, Verdict},
};

/// The programs of a group.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The program of a rank.
    pub rank: Rank,
    /// The emulated RDMA provider.
    pub provider: PathBuf,
    /// The machines of the nodes, with these programs on them, if they are not this one.
    pub hosts: Option<Hosts>,
}

impl Programs {
    /// What the machines of the nodes said of themselves, if they are not this one.
    pub fn nodes(&self) -> &[NodeFacts] {
        self.hosts.as_ref().map_or(&[], |hosts| &hosts.facts)
    }
}

/// The program of a rank, and with it the way in which a rank reaches jaccl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rank {
    /// `jaccl-rank`, which opens a build of jaccl behind its shim.
    Shim(PathBuf),
    /// A Python in which wheels are installed, and the script that it runs.
    Python {
        /// The interpreter.
        python: PathBuf,
        /// A file with [`python::SCRIPT`](crate::python::SCRIPT).
        script: PathBuf,
    },
}

impl From<PathBuf> for Rank {
    fn from(program: PathBuf) -> Self {
        Rank::Shim(program)
    }
}

impl From<&str> for Rank {
    fn from(program: &str) -> Self {
        Rank::Shim(program.into())
    }
}

impl Rank {
    /// The program that is started.
    pub fn program(&self) -> &Path {
        match self {
            Rank::Shim(program) => program,
            Rank::Python { python, .. } => python,
        }
    }

    fn command(&self) -> Command {
        match self {
            Rank::Shim(program) => Command::new(program),
            Rank::Python { python, script } => crate::python::command(python, script),
        }
    }

    /// The operations of this build that a rank can reach.
    ///
    /// # Errors
    /// If the build cannot be loaded.
    pub fn features(&self, build: &Build) -> Result<Features, jaccl::Error> {
        match self {
            Rank::Shim(_) => Ok(jaccl::Library::open(&build.library)?.features()),
            Rank::Python { .. } => Ok(crate::python::FEATURES),
        }
    }

    /// The processor time that a rank may need for each byte that it generates or
    /// compares: several times what it needs.
    pub fn work_per_byte(&self) -> Duration {
        Duration::from_nanos(match self {
            // An optimised build.
            Rank::Shim(_) => 10,
            Rank::Python { .. } => 300,
        })
    }
}

/// The build of jaccl that ranks load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build {
    /// The library with jaccl: the shim of a build, or what an installed wheel has.
    pub library: PathBuf,
    /// Its key in the store, which the build itself also contains (`rails_build_key`); empty
    /// for a library of another origin.
    pub key: String,
}

/// Why no group is started. The cause is outside jaccl, but for a hang before it.
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
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A process could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A node cannot run ranks.
    #[error(transparent)]
    Remote(remote::Error),
    /// A rank has loaded another build than requested. Its results say nothing about the
    /// requested build.
    #[error("rank {rank} has loaded build {loaded}, not {expected}")]
    OtherBuild {
        /// The rank.
        rank: usize,
        /// The key of the build that it has loaded.
        loaded: String,
        /// The key of the requested build.
        expected: String,
    },
    /// A case hung, and the caller wants no other on the same devices
    /// ([`Runner::stop_after_hang`](crate::run::Runner::stop_after_hang)).
    #[error("a case hung, and the next cases would use the same devices")]
    AfterHang,
    /// The caller asked to stop.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

impl From<remote::Error> for GroupError {
    fn from(error: remote::Error) -> Self {
        match error {
            remote::Error::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::Remote(error),
        }
    }
}

impl GroupError {
    /// The remedy, if there is one.
    pub fn help(&self) -> Option<String> {
        match self {
            GroupError::Fabric(error) => error.help(),
            GroupError::Devices { .. } => Some("free some space there".to_owned()),
            GroupError::Remote(error) => error.help(),
            GroupError::AfterHang => Some(
                "the devices may be wedged: run `cargo xtask preflight --rig`, pull the cables and \
                 plug them in again, or restart the nodes; `--after-hang continue` tries the other \
                 cases all the same"
                    .to_owned(),
            ),
            GroupError::OtherBuild { .. } => Some(
                "another process has replaced the build meanwhile; run the command again"
                    .to_owned(),
            ),
            GroupError::Start(_) | GroupError::Interrupted(_) => None,
        }
    }
}

/// How one rank ended a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// It answered.
    Report(Report),
    /// Its process died.
    Died {
        /// How it died.
        how: String,
        /// Whether it was killed from outside, as by a system that is out of memory.
        killed: bool,
    },
    /// It did not return. The text is its place in jaccl, if it wrote its stack.
    Waits(Option<String>),
    /// The launcher stopped waiting for it, because another rank had failed.
    Abandoned,
}

/// How all ranks ended, by position in the group.
pub type Ends = BTreeMap<usize, End>;

/// What came of a step in which something broke.
#[derive(Debug)]
pub struct Broken {
    /// How the ranks ended.
    pub ends: Ends,
    /// When each rank ended, since it broke.
    pub times: BTreeMap<usize, Duration>,
    /// The bytes of the step that the cables had carried when it broke.
    pub moved: u64,
}

/// How long rank 0 may take to load jaccl before the others are started.
const LOADING: Duration = Duration::from_secs(10);

/// How long the other ranks may take to fail by themselves after one rank did: the errors
/// of a dead rank's peers may arrive before its death does.
const GRACE: Duration = Duration::from_millis(150);

/// How long to wait for the first bytes of an operation that is to be broken.
const BEGINNING: Duration = Duration::from_secs(10);

/// How much longer ranks on other machines may be silent.
const FAR: u32 = 10;

/// The name of the device matrix among the files of a group.
const DEVICES: &str = "devices.json";

/// How much earlier the first party of a message begins.
const HEAD_START: Duration = Duration::from_micros(300);

/// How long to wait once a rank has failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// A moment longer: one failure decides.
    FirstFailure,
    /// Until every rank has ended the request.
    All,
}

/// Running ranks. Dropping it ends them and removes their cables.
pub struct Group {
    ranks: Ranks,
    /// Ranks whose output has ended.
    closed: BTreeSet<usize>,
    /// Whether ranks are on other machines.
    far: bool,
    /// The emulated cables; none over real ones.
    fabric: Option<Fabric>,
    /// The counters of the cables at the last request.
    before: Vec<Counters>,
    /// The build that each rank has to load.
    build: Build,
    /// Whether jaccl reported on each rank that RDMA is available.
    available: BTreeMap<usize, bool>,
    salt: u32,
    in_step: bool,
}

impl Group {
    /// Starts the processes and requests them to join with a build of jaccl;
    /// [`Group::joined`] waits for that.
    ///
    /// # Errors
    /// If cables, files or processes cannot be made.
    pub fn start(
        programs: &Programs,
        build: &Build,
        setup: &Setup,
        launcher: &Launcher,
    ) -> Result<Self, GroupError> {
        let fabric = match setup.rig.kind {
            Cables::Emulated => Some(Fabric::create(&softrail::default_parent(), &setup.rig)?),
            Cables::Real => None,
        };
        let mut group = Group {
            ranks: Ranks::new(launcher),
            closed: BTreeSet::new(),
            far: programs.hosts.is_some(),
            before: Vec::new(),
            fabric,
            build: build.clone(),
            available: BTreeMap::new(),
            salt: 0,
            in_step: false,
        };
        for (device, what) in &setup.exhausted {
            let taken = group
                .live()
                .exhaust(&device.to_string(), *what == Exhausted::Regions);
            taken.expect("a device of the rig");
        }
        group.before = group.counters();
        let coordinator = group.coordinator(programs, setup)?;
        for (place, start) in setup.starts.iter().enumerate() {
            let (library, devices) = match &programs.hosts {
                None => group.start_here(programs, build, setup, *start)?,
                Some(hosts) => group.start_there(hosts, programs, build, setup, *start)?,
            };
            let job = Job {
                library,
                rank: start.rank,
                coordinator: coordinator.clone(),
                devices,
                prefer_ring: setup.backend == Backend::Ring,
            };
            group.ask(place, &Request::Join(job));
            if place == 0 && setup.starts.len() > 1 {
                group.await_listener();
            }
        }
        Ok(group)
    }

    /// Where rank 0 listens for the others.
    fn coordinator(&self, programs: &Programs, setup: &Setup) -> Result<String, GroupError> {
        match &programs.hosts {
            Some(hosts) => Ok(hosts.coordinator(&setup.nodes[0])?),
            None => Ok(self.emulated().coordinator().to_string()),
        }
    }

    /// Starts a rank on this machine. Returns the paths of the build and of the matrix.
    fn start_here(
        &mut self,
        programs: &Programs,
        build: &Build,
        setup: &Setup,
        start: Start,
    ) -> Result<(PathBuf, PathBuf), GroupError> {
        let fabric = self.emulated();
        let devices = fabric.path().join(DEVICES);
        // A rank that was started before this one may be reading it.
        if self.ranks.is_empty() {
            fs::write(&devices, setup.matrix_json()).map_err(|source| GroupError::Devices {
                path: devices.clone(),
                source,
            })?;
        }
        let mut environment = match start.library {
            true => fabric.provider_env(&programs.provider)?,
            false => fabric.no_library_env()?,
        };
        environment.extend(self.environment(setup, start));
        self.ranks.start(programs.rank.command(), environment)?;
        Ok((build.library.clone(), devices))
    }

    /// Starts a rank on its node. Returns the paths of the build and of the matrix there.
    fn start_there(
        &mut self,
        hosts: &Hosts,
        programs: &Programs,
        build: &Build,
        setup: &Setup,
        start: Start,
    ) -> Result<(PathBuf, PathBuf), GroupError> {
        let mut seat = hosts.seat(setup.node(start));
        let devices = seat.add(DEVICES, setup.matrix_json());
        let mut environment = self.environment(setup, start);
        if self.fabric.is_some() {
            environment.push(hosts::cables(&seat));
        }
        let (connection, order) = seat.order(programs.rank.program(), &[], environment);
        self.ranks.start_far(connection, &order)?;
        Ok((seat.there(&build.library), devices.into()))
    }

    /// Rank 0 must listen before the others connect, or jaccl makes them wait a second.
    /// It listens right after it has reported that jaccl is loaded. Its reports are kept
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

    /// What every rank of the setup needs, wherever it is.
    fn environment(&self, setup: &Setup, start: Start) -> Vec<(String, String)> {
        let mut variables = Vec::new();
        if let (true, Some(fabric)) = (start.fabric, &self.fabric) {
            variables.extend(fabric.env(setup.node(start)));
        }
        variables.extend(setup.variables.iter().cloned());
        if setup.frames == Frames::Big {
            variables.push(("JACCL_BIG_FRAMES".to_owned(), "1".to_owned()));
        }
        variables
    }

    /// The emulated cables. Real ones cannot be broken on purpose, and ranks on this machine
    /// alone have no others.
    fn emulated(&self) -> &Fabric {
        let fabric = self.fabric.as_ref();
        fabric.expect("the setup has emulated cables")
    }

    /// The counters of the cables. Nobody counts what real ones carry.
    fn counters(&self) -> Vec<Counters> {
        let fabric = self.fabric.as_ref();
        fabric.map_or_else(Vec::new, |fabric| fabric.live().counters())
    }

    /// Waits until all ranks have joined, or one has failed.
    ///
    /// # Errors
    /// If the caller asked to stop.
    pub fn joined(&mut self, limit: Limit, until: Until) -> Result<Ends, GroupError> {
        self.collect(limit, until)
    }

    /// The most that the ranks used of each device at a time. Empty over real cables, which
    /// do not tell.
    pub fn used(&self) -> Vec<Used> {
        let fabric = self.fabric.as_ref();
        fabric.map_or_else(Vec::new, |fabric| fabric.live().used())
    }

    /// Whether any device has accepted a receive.
    pub fn has_posted_receives(&self) -> bool {
        self.used().iter().any(|used| used.receive_frames > 0)
    }

    /// Whether jaccl reported that RDMA is available, on the ranks that loaded it.
    pub fn available(&self) -> &BTreeMap<usize, bool> {
        &self.available
    }

    /// Requests all ranks to run steps. The ranks in `first` begin a little earlier.
    ///
    /// # Errors
    /// If the caller asked to stop.
    pub fn run(
        &mut self,
        mut steps: Vec<Step>,
        first: Option<usize>,
        limit: Limit,
        until: Until,
    ) -> Result<Ends, GroupError> {
        self.before = self.counters();
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

    /// Requests each rank to run a step of its own, as a program does whose ranks do not
    /// agree.
    ///
    /// # Errors
    /// If the caller asked to stop.
    pub fn run_apart(
        &mut self,
        step: impl Fn(usize) -> Step,
        limit: Limit,
    ) -> Result<Ends, GroupError> {
        self.before = self.counters();
        self.salt += 1;
        for place in 0..self.ranks.len() {
            let salt = self.salt;
            let step = Step {
                salt,
                ..step(place)
            };
            self.ask(place, &Request::Run(vec![step]));
        }
        self.collect(limit, Until::All)
    }

    /// Requests all ranks to time an operation, which every one of them takes part in.
    ///
    /// # Errors
    /// If the caller asked to stop.
    pub fn measure(&mut self, mut measure: Measure, limit: Limit) -> Result<Ends, GroupError> {
        self.before = self.counters();
        measure.step.salt = self.salt + 1;
        // The second input has the salt after the first one's.
        self.salt += 2;
        for place in 0..self.ranks.len() {
            self.ask(place, &Request::Measure(measure));
        }
        self.collect(limit, Until::FirstFailure)
    }

    /// Requests all ranks to run a step, and calls `breaks` once the cables have carried
    /// that many bytes of it, or a moment later if they never do. Leaves out the end of the
    /// rank that is `left_out`.
    ///
    /// # Errors
    /// If the caller asked to stop.
    pub fn run_broken(
        &mut self,
        mut step: Step,
        bytes: u64,
        breaks: impl FnOnce(&Live, &Cancel),
        left_out: Option<usize>,
        limit: Limit,
    ) -> Result<Broken, GroupError> {
        let start = self.moved();
        self.before = self.counters();
        self.salt += 1;
        step.salt = self.salt;
        for place in 0..self.ranks.len() {
            self.ask(place, &Request::Run(vec![step]));
        }
        let cancel = self.ranks.cancel().clone();
        let until = Instant::now() + BEGINNING;
        while self.moved() < start + bytes && Instant::now() < until && !cancel.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        breaks(self.live(), &cancel);
        let moved = self.moved() - start;
        let began = Instant::now();
        let mut times = BTreeMap::new();
        let ends = self.collect_but(left_out, limit, Until::All, |place| {
            times.entry(place).or_insert_with(|| began.elapsed());
        })?;
        Ok(Broken { ends, times, moved })
    }

    /// The emulated cables, which can be broken.
    ///
    /// # Panics
    /// The cables are real.
    pub fn live(&self) -> &Live {
        self.emulated().live()
    }

    /// Requests all ranks to leave, and waits for them.
    ///
    /// # Errors
    /// If the caller asked to stop.
    pub fn leave(mut self, limit: Limit) -> Result<Ends, GroupError> {
        for place in 0..self.ranks.len() {
            self.ask(place, &Request::Leave);
        }
        self.collect(limit, Until::FirstFailure)
    }

    /// The number of cables that have carried anything.
    pub fn cables_used(&self) -> usize {
        let bytes = counters::by_cable(self.counters());
        bytes.values().filter(|bytes| **bytes > 0).count()
    }

    /// A finding about the last request, with what the cables have carried since.
    pub fn with_cables(&self, mut finding: Finding) -> Finding {
        finding.cables = counters::since(self.counters(), &self.before);
        finding.cables.retain(|it| it.messages + it.pending > 0);
        finding
    }

    fn moved(&self) -> u64 {
        counters::by_cable(self.counters()).into_values().sum()
    }

    /// Listens until every rank has ended the last request.
    fn collect(&mut self, limit: Limit, until: Until) -> Result<Ends, GroupError> {
        self.collect_but(None, limit, until, |_| {})
    }

    /// Listens until every rank but one has ended the last request. Calls `ended` for each
    /// as it does.
    fn collect_but(
        &mut self,
        left_out: Option<usize>,
        limit: Limit,
        until: Until,
        mut ended: impl FnMut(usize),
    ) -> Result<Ends, GroupError> {
        let limit = match self.far {
            true => unseen(limit),
            false => limit,
        };
        let mut ends = Ends::new();
        ends.extend(left_out.map(|place| (place, End::Abandoned)));
        let mut failed: Option<Instant> = None;
        for place in self.closed.clone() {
            ends.insert(place, self.died(place));
            failed.get_or_insert_with(Instant::now);
        }
        let mut watchdog = Watchdog::new(limit, Instant::now(), self.moved());
        while ends.len() < self.ranks.len() {
            let end = match self.ranks.listen()? {
                Some(Heard::Said { rank, text }) => {
                    // A line that is not a report was printed by a library that jaccl
                    // loads.
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
                ended(place);
                ends.insert(place, end);
            }
            if until == Until::FirstFailure && failed.is_some_and(|at| at.elapsed() > GRACE) {
                self.give_up(&mut ends, false);
            }
        }
        self.in_step = ends.values().all(in_step);
        Ok(ends)
    }

    /// Whether all ranks returned from the last request, with right data or wrong.
    pub fn in_step(&self) -> bool {
        self.in_step
    }

    /// Whether the ranks that have not ended the request hang.
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
            Report::Loaded { build, .. } if build != self.build.key => {
                Err(GroupError::OtherBuild {
                    rank: place,
                    loaded: build,
                    expected: self.build.key.clone(),
                })
            }
            Report::Loaded { available, .. } => {
                self.available.insert(place, available);
                Ok(None)
            }
            report => Ok(Some(End::Report(report))),
        }
    }

    fn died(&mut self, place: usize) -> End {
        let (how, killed) = process::death(&mut self.ranks, place, &self.build.library);
        End::Died { how, killed }
    }

    /// Stops waiting for the ranks that have not ended the request.
    fn give_up(&mut self, ends: &mut Ends, hung: bool) {
        for place in 0..self.ranks.len() {
            ends.entry(place).or_insert_with(|| match hung {
                true => End::Waits(process::place(&mut self.ranks, place, &self.build.library)),
                false => End::Abandoned,
            });
        }
    }
}

/// The limit for ranks whose processor time is not known: one that waits for a processor
/// looks like one that hangs.
fn unseen(limit: Limit) -> Limit {
    Limit {
        silence: limit.silence * FAR + limit.work,
        ..limit
    }
}

fn succeeded(end: &End) -> bool {
    matches!(
        end,
        End::Report(
            Report::Joined | Report::Passed { .. } | Report::Measured { .. } | Report::Left
        )
    )
}

fn in_step(end: &End) -> bool {
    succeeded(end) || matches!(end, End::Report(Report::Wrong { .. }))
}

/// The finding for these ends where all should have succeeded. The worst decides: a death
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
