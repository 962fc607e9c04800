//! From a topology to the matrix, the backend and the environment of a job.

mod backend;
mod note;
mod options;
mod order;
mod pairs;
mod refusal;
mod width;

use crate::{Backend, Matrix, NodeInfo, Topology, topology::Joined};

use backend::Choice;
pub(crate) use note::listed;
pub use note::{Note, Spare};
pub use options::{BadVersion, Jaccl, Options, RankOrder};
pub use order::{EXACT as EXACT_ORDER, Obstacle};
use pairs::Pairs;
pub use refusal::{MeshObstacle, PlanError};
use width::Widths;

/// The most nodes of a plan. A matrix has a cell for every two of them.
pub const MAX_NODES: usize = 1024;

/// Everything that a job that uses jaccl needs to be configured with.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// What was left out, and the reasons for the plan.
    pub notes: Vec<Note>,
}

/// The address at which rank 0 listens and to which the others connect.
#[derive(Debug, Clone, PartialEq, Eq)]
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
/// If an option is invalid, if the description has a [`Problem`](crate::Problem) and
/// [`Options::strict`] is set, or if the nodes cannot be joined.
pub fn plan(topology: &Topology, options: &Options) -> Result<Plan, PlanError> {
    options.check()?;
    let joined = topology.join();
    if options.strict && !joined.problems.is_empty() {
        return Err(PlanError::Problems(joined.problems));
    }
    let Joined {
        cables,
        usable,
        problems,
    } = joined;
    let mut notes: Vec<_> = problems
        .into_iter()
        .map(|problem| Note::LeftOut { problem })
        .collect();

    let pairs = Pairs::of(topology, &cables, &usable);
    for (_, node) in topology.nodes().filter(|(id, _)| !usable[id.0]) {
        notes.push(Note::NodeLeftOut {
            node: node.name.clone(),
        });
    }
    match pairs.nodes.len() {
        0 | 1 => {
            return Err(PlanError::TooFewNodes {
                has: pairs.nodes.len(),
            });
        }
        nodes if nodes > MAX_NODES => return Err(PlanError::TooManyNodes { has: nodes }),
        _ => {}
    }
    let widths = pairs.widths(options.max_rails);
    let choice = Choice::of(&pairs, &widths, options)?;
    let matrix = pairs.matrix(&choice);
    notes.extend(pairs.spare(&choice, options));
    let (backend, rails) = (choice.backend, choice.rails);
    let nodes: Vec<_> = choice
        .nodes
        .iter()
        .map(|&n| topology[pairs.nodes[n]].clone())
        .collect();
    notes.extend(choice.notes(&pairs, options));

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
        notes,
    })
}

/// The rank of each node, from the nodes by rank.
fn ranks(nodes: &[usize]) -> Vec<usize> {
    let mut ranks = vec![0; nodes.len()];
    for (rank, &node) in nodes.iter().enumerate() {
        ranks[node] = rank;
    }
    ranks
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
pub struct Variable {
    /// Its name, as MLX reads it.
    pub name: &'static str,
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

impl Plan {
    /// The variables that jaccl reads from a rank's environment (`Config::from_env` in
    /// `jaccl.cpp`). `devices` is the file to which the matrix was written. Without a
    /// known [`coordinator`](Self::coordinator) the caller sets that variable.
    ///
    /// `MLX_JACCL_RING` selects a ring whatever its value, so for a mesh it must be
    /// unset. The names that jaccl prefers to MLX's must be unset for both.
    pub fn environment(&self, rank: usize, devices: &str) -> Vec<Variable> {
        let variable = |name, value: Option<String>| Variable { name, value };
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
        variables
    }
}
