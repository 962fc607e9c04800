//! From a topology to the matrix, the backend and the environment of a job.

mod backend;
mod note;
mod options;
mod order;
mod pairs;
mod rails;
mod refusal;
mod width;

use rig::Rig;

use crate::{
    Account, Backend, DialectError, Exo, MAX_NODES, MAX_RAILS, Matrix, NodeInfo, NodeState,
    Topology,
};

use backend::{Choice, Neither};
pub use note::{Estimate, Note, Spare, Speed, Why};
pub use options::{Options, RankOrder};
use pairs::Pairs;
pub use refusal::{EXACT_ORDER, LeftOut, MeshObstacle, Obstacle, PlanError};
use width::Widths;

/// Everything that a job that uses jaccl needs to be configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// The node of each rank.
    pub nodes: Vec<NodeInfo>,
    /// The devices of each rank towards each other rank. Contains only the devices that
    /// the backend opens, so that a job started with the wrong backend fails at once.
    pub matrix: Matrix,
    /// How the ranks are joined.
    pub backend: Backend,
    /// Rails on every link that the backend uses.
    pub rails: usize,
    /// Where the ranks meet, if an address of rank 0's node is known.
    pub coordinator: Option<Coordinator>,
    /// Variables of every rank's environment that the description brings, as
    /// `NAME=VALUE`, such as those of a hostfile.
    pub variables: Vec<String>,
    /// What was left out, and the reasons for the plan.
    pub notes: Vec<Note>,
}

/// The address at which rank 0 listens and to which the others connect.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Coordinator {
    /// An IPv4 address of rank 0's node.
    pub ip: String,
    /// A TCP port.
    pub port: u16,
}

/// Plans a job over a topology.
///
/// The plan does not depend on the order in which the cables, devices and directions of a
/// topology are listed. The order of its *nodes* does count: it is the order of the ranks
/// if ranks are pinned, and decides between rings of equal width.
///
/// Cost: the cables, and n² for n nodes; for the order of the ranks up to n² 2ⁿ steps
/// for [`EXACT_ORDER`] nodes and a bounded search beyond.
///
/// # Errors
/// If an option is invalid, if the description has a [`Problem`](crate::Problem) that is
/// more than a warning and [`Options::strict`] is set, or if the nodes cannot be joined.
pub fn plan(topology: &Topology, options: &Options) -> Result<Plan, PlanError> {
    if !(1..=MAX_RAILS).contains(&options.max_rails) {
        let asked = options.max_rails;
        return Err(PlanError::MaxRails { asked });
    }
    let account = topology.account();
    let serious = account.problems().iter().filter(|p| !p.is_warning());
    if options.strict && serious.clone().next().is_some() {
        return Err(PlanError::Problems(serious.cloned().collect()));
    }
    let pairs = Pairs::of(topology, &account);
    match pairs.nodes.len() {
        has @ (0 | 1) => {
            let left_out = LeftOut::of(&account);
            return Err(PlanError::TooFewNodes { has, left_out });
        }
        has if has > MAX_NODES => return Err(PlanError::TooManyNodes { has }),
        _ => {}
    }
    let planning = Planning {
        topology,
        account: &account,
        pairs: &pairs,
    };
    match options.carried_by {
        Some(exo) => planning.carried_by(exo, options),
        None => planning.plan(options),
    }
}

struct Planning<'a> {
    topology: &'a Topology,
    account: &'a Account,
    pairs: &'a Pairs<'a>,
}

impl Planning<'_> {
    fn plan(&self, options: &Options) -> Result<Plan, PlanError> {
        let pairs = self.pairs;
        let widths = Widths::new(pairs.nodes.len(), options.max_rails, &pairs.cables);
        let choice =
            Choice::of(pairs, &widths, options).map_err(|neither| self.refusal(neither))?;
        let matrix = rails::matrix(pairs, &choice);
        let (backend, rails) = (choice.backend, choice.rails);
        let nodes: Vec<_> = choice
            .nodes
            .iter()
            .map(|&node| self.topology[pairs.nodes[node]].clone())
            .collect();

        let mut notes = self.notes();
        notes.extend(rails::spare(pairs, &choice, options));
        notes.extend(choice.notes(pairs, options));
        let (variables, overridden): (Vec<_>, Vec<_>) = {
            let brought = self.topology.environment().iter().cloned();
            brought.partition(|variable| !is_set_by_a_plan(variable))
        };
        let overridden = overridden.into_iter();
        notes.extend(overridden.map(|variable| Note::Overridden { variable }));
        let coordinator = Coordinator::of(&nodes[0], options.coordinator_port);
        if coordinator.is_none() {
            notes.push(Note::NoCoordinator {
                node: nodes[0].name.clone(),
            });
        }
        Ok(Plan {
            nodes,
            matrix,
            backend,
            rails,
            coordinator,
            variables,
            notes,
        })
    }

    /// The best plan that a shape of exo's can carry.
    fn carried_by(&self, exo: Exo, options: &Options) -> Result<Plan, PlanError> {
        let mut options = options.clone();
        if exo == Exo::Main {
            options.max_rails = 1;
        }
        let better = self.plan(&options)?;
        let Err(error) = better.carried_by(exo) else {
            return Ok(better);
        };
        if options.backend.is_some() {
            return Err(error.into());
        }
        let ring = (Backend::Ring, options.max_rails);
        for (backend, max_rails) in [ring, (Backend::Mesh, 1)] {
            let narrower = options.clone().backend(backend).max_rails(max_rails);
            let Ok(mut plan) = self.plan(&narrower) else {
                continue;
            };
            if plan.carried_by(exo).is_ok() {
                for note in &mut plan.notes {
                    if let Note::Backend { why, .. } = note {
                        let error = error.clone();
                        *why = Why::NotCarried { error };
                    }
                }
                return Ok(plan);
            }
        }
        Err(error.into())
    }

    fn refusal(&self, neither: Neither) -> PlanError {
        let left_out = LeftOut::of(self.account);
        match neither {
            Neither::Ring(obstacle) => PlanError::NoRing { obstacle, left_out },
            Neither::Mesh(obstacle) => PlanError::NoMesh { obstacle, left_out },
            Neither::Both { ring, mesh } => PlanError::NoBackend {
                ring,
                mesh,
                left_out,
            },
        }
    }

    /// The notes of every plan over the topology.
    fn notes(&self) -> Vec<Note> {
        let problems = self.account.problems().iter().cloned();
        let mut notes: Vec<_> = problems.map(Note::of).collect();
        let off = |id| *self.account.node(id) != NodeState::Fit;
        let off = self.topology.nodes().filter(|(id, _)| off(*id));
        notes.extend(off.map(|(_, node)| Note::NodeLeftOut {
            node: node.name.clone(),
        }));
        let accepted = self.account.in_use().filter(|join| join.one_sided);
        let cables: Vec<_> = accepted
            .map(|join| self.topology.cable_name(join))
            .collect();
        if !cables.is_empty() {
            notes.push(Note::Accepted { cables });
        }
        let ends = self.account.in_use().flat_map(|join| join.ends);
        let measured = ends.filter_map(|end| {
            let port = &self.topology[end];
            Some((port.line_bytes_per_second?, port.bytes_per_second?))
        });
        if let Some((line_bytes_per_second, bytes_per_second)) = measured.max() {
            notes.push(Note::Measured {
                bytes_per_second,
                line_bytes_per_second,
            });
        }
        notes
    }
}

impl Matrix {
    /// The matrix of the default [`plan`](plan()) of a rig with pinned ranks: rank `i` is the
    /// rig's `i`-th node.
    ///
    /// # Errors
    /// If the rig fails [`Rig::check`], or has no such plan.
    pub fn from_rig(rig: &Rig) -> Result<Self, PlanError> {
        let options = Options::default().order(RankOrder::Pinned);
        Ok(plan(&Topology::from_rig(rig)?, &options)?.matrix)
    }
}

impl LeftOut {
    fn of(account: &Account) -> Self {
        let problems = account.problems().iter().filter(|p| p.leaves_out());
        Self(problems.cloned().collect())
    }
}

impl Coordinator {
    /// The address that the other nodes reach best. jaccl accepts only IPv4.
    fn of(node: &NodeInfo, port: u16) -> Option<Self> {
        let ip = *node.reachable_ipv4().first()?;
        Some(Self {
            ip: ip.to_string(),
            port,
        })
    }
}

/// A variable of a rank's environment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Variable {
    /// Its name, as MLX reads it.
    pub name: String,
    /// Its value, or `None` if it must be unset.
    pub value: Option<String>,
}

/// jaccl reads these in preference to MLX's names.
const STRONGER: [&str; 4] = [
    "JACCL_RANK",
    "JACCL_IBV_DEVICES",
    "JACCL_RING",
    "JACCL_COORDINATOR",
];

/// The variables that a plan sets, or unsets.
const OWN: [&str; 4] = [
    "MLX_RANK",
    "MLX_IBV_DEVICES",
    "MLX_JACCL_RING",
    "MLX_JACCL_COORDINATOR",
];

/// Whether a plan sets or unsets a variable that is written as `NAME=VALUE`.
fn is_set_by_a_plan(variable: &str) -> bool {
    let name = variable.split_once('=').map_or(variable, |(name, _)| name);
    OWN.contains(&name) || STRONGER.contains(&name)
}

impl Plan {
    /// Checks that a shape of exo's can carry the plan: that exo and jaccl make the
    /// planned group of it.
    ///
    /// # Errors
    /// If they do not.
    pub fn carried_by(&self, exo: Exo) -> Result<(), DialectError> {
        exo.carries(self.backend, self.rails, &self.matrix)
    }

    /// The variables that jaccl reads from a rank's environment (`Config::from_env` in
    /// `jaccl.cpp`). `devices` is the file to which the matrix was written. Without a
    /// known [`coordinator`](Self::coordinator) the caller sets that variable.
    ///
    /// `MLX_JACCL_RING` selects a ring whatever its value, so for a mesh it must be
    /// unset. The names that jaccl prefers to MLX's must be unset for both. The
    /// [`variables`](Self::variables) of the description follow.
    pub fn environment(&self, rank: usize, devices: &str) -> Vec<Variable> {
        let variable = |name: &str, value: Option<String>| Variable {
            name: name.to_owned(),
            value,
        };
        let ring = (self.backend == Backend::Ring).then(|| "1".to_owned());
        let mut variables = STRONGER.map(|name| variable(name, None)).to_vec();
        variables.extend([
            variable("MLX_RANK", Some(rank.to_string())),
            variable("MLX_IBV_DEVICES", Some(devices.to_owned())),
            variable("MLX_JACCL_RING", ring),
        ]);
        if let Some(Coordinator { ip, port }) = &self.coordinator {
            let ip = if rank == 0 { "0.0.0.0" } else { ip };
            variables.push(variable(
                "MLX_JACCL_COORDINATOR",
                Some(format!("{ip}:{port}")),
            ));
        }
        variables.extend(self.variables.iter().map(|given| {
            let (name, value) = given.split_once('=').unwrap_or((given, ""));
            variable(name, Some(value.to_owned()))
        }));
        variables
    }
}
