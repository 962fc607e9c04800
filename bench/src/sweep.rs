//! The cells of a run, and the matrix of each.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::RangeInclusive,
    str::FromStr,
};

use rail_matrix::{
    Backend, Devices, Given, GivenError, Jaccl, MAX_RAILS, Note, Plan, PlanError, Topology, plan,
};
use rig::{Rig, RigError, RigProblem};
use serde::{Deserialize, Serialize};

use crate::{
    Options,
    engine::{Engine, EngineError},
    model::ModelError,
    protocol::Strategy,
    workload::Workload,
};

/// One point of the sweep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Cell {
    /// The program that runs the model.
    pub engine: Engine,
    /// What it computes.
    pub workload: Workload,
    /// The parallel strategy.
    pub strategy: Strategy,
    /// The connection of the ranks; none for the reference.
    pub backend: Option<Backend>,
    /// Rails between each two ranks that the backend joins.
    pub cables: usize,
}

impl Cell {
    /// One process and no cable: the tokens of the engine's other cells of the workload must
    /// equal its tokens.
    pub const fn reference(engine: Engine, workload: Workload) -> Self {
        Self {
            engine,
            workload,
            strategy: Strategy::Single,
            backend: None,
            cables: 0,
        }
    }

    /// The reference of this cell.
    pub const fn own_reference(self) -> Self {
        Self::reference(self.engine, self.workload)
    }

    /// The baseline of a cell's gain: the same engine, workload and strategy with the ring over one
    /// cable, so that only the cables differ.
    pub fn baseline(self) -> Self {
        Self {
            backend: Some(Backend::Ring),
            cables: 1,
            ..self
        }
    }

    /// Its name where there are this many workloads: what `Display` writes, and the workload
    /// where there are several.
    pub fn name_among(self, workloads: usize) -> String {
        match workloads {
            ..2 => self.to_string(),
            _ => format!("{self} [{}]", self.workload),
        }
    }
}

/// Everything but the workload, as `tp ring-3 (mlx-lm)`.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.backend {
            None => f.write_str("single")?,
            Some(backend) => write!(f, "{} {backend}-{}", self.strategy, self.cables)?,
        }
        match self.engine {
            Engine::Rust => Ok(()),
            engine => write!(f, " ({engine})"),
        }
    }
}

/// Numbers of cables: `3`, `1,3`, `1..3` (both included), or a mix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CableCounts(BTreeSet<usize>);

/// Why numbers of cables cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CableCountsError {
    /// They are not numbers.
    #[error("write numbers of cables as 3, 1,3 or 1..3")]
    Syntax,
    /// A number is zero.
    #[error("a cell needs at least 1 cable")]
    Zero,
    /// A range is empty.
    #[error("the range {0}..{1} holds nothing; write the smaller number first")]
    Empty(usize, usize),
}

impl CableCounts {
    /// The numbers, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
}

impl From<RangeInclusive<usize>> for CableCounts {
    fn from(range: RangeInclusive<usize>) -> Self {
        Self(range.collect())
    }
}

impl FromStr for CableCounts {
    type Err = CableCountsError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| match text.trim().parse::<usize>() {
            Ok(0) => Err(CableCountsError::Zero),
            Ok(n) if n <= u16::MAX.into() => Ok(n),
            _ => Err(CableCountsError::Syntax),
        };
        let mut counts = BTreeSet::new();
        for part in text.split(',') {
            match part.split_once("..") {
                Some((first, last)) => {
                    let last = last.strip_prefix('=').unwrap_or(last);
                    let (first, last) = (number(first)?, number(last)?);
                    if first > last {
                        return Err(CableCountsError::Empty(first, last));
                    }
                    counts.extend(first..=last);
                }
                None => {
                    counts.insert(number(part)?);
                }
            }
        }
        Ok(Self(counts))
    }
}

/// How the ranks of a cell are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joining {
    /// The rig, with only the cables that the ranks use.
    pub rig: Rig,
    /// The node of each rank.
    pub nodes: Vec<String>,
    /// The devices on each rank towards each other rank.
    pub devices: Devices,
}

/// A cell, and how its ranks are joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedCell {
    /// The cell.
    pub cell: Cell,
    /// Its matrix.
    pub joining: Joining,
}

/// Why the rig, a given matrix or the model does not permit a sweep.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SweepError {
    /// The rig has only one node.
    #[error("the rig has the one node '{0}', and cables join two")]
    OneNode(String),
    /// The sweep needs more cables than the rig has.
    #[error(transparent)]
    Rig(#[from] RigError),
    /// The rig has no matrix for one of the backends.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The planner leaves out some of the cables.
    #[error("{asked} cables a pair were asked for, and the plan of a {backend} uses {rails}{why}")]
    LeftOut {
        /// The number of cables requested.
        asked: usize,
        /// The backend.
        backend: Backend,
        /// The rails of the plan.
        rails: usize,
        /// The planner's reasons, with a colon before them.
        why: String,
    },
    /// jaccl refuses the given matrix.
    #[error(transparent)]
    Given(#[from] GivenError),
    /// The model cannot be divided over the nodes, or its context is too short.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// An engine cannot run the model.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl SweepError {
    /// The remedy, if the message does not contain it.
    pub fn help(&self) -> Option<String> {
        let fixed = match self {
            Self::OneNode(_) => Some("add a [[node]] and its [[cable]]s to the rig"),
            Self::Plan(PlanError::NoRing { .. }) => {
                Some("add cables to the rig, or use the mesh backend alone")
            }
            Self::Plan(PlanError::NoMesh { .. }) => {
                Some("add cables to the rig, or use the ring backend alone")
            }
            Self::LeftOut { .. } => Some("ask for fewer cables, or give the matrix that is meant"),
            Self::Given(error) => error.help(),
            Self::Model(error) => return error.help(),
            Self::Engine(error) => Some(error.help()),
            Self::Rig(_) | Self::Plan(_) => None,
        };
        fixed.map(str::to_owned)
    }
}

/// The cells of a run, without the references.
///
/// Without a given matrix: for each engine, workload, strategy and backend one rail, and each
/// of the requested numbers of rails (all up to the planner's best when none are requested), as
/// far as the planner uses that many. The ring over one cable is always among a ring's
/// cells: it is the baseline for the gain of further cables. A mesh before MLX 0.32.4
/// has only the cell of one.
///
/// With a given matrix: one cell for each engine, workload and strategy.
///
/// # Errors
/// When the rig or the matrix does not permit the cells, or the model cannot be split
/// over the ranks.
pub(crate) fn cells(options: &Options) -> Result<Vec<PlannedCell>, SweepError> {
    let settings = &options.settings;
    for engine in &options.engines {
        engine.check(&settings.model)?;
    }
    for workload in &options.workloads {
        let prompt = workload.depth.saturating_add(workload.prompt_tokens);
        (settings.model).check_length(prompt, workload.generation_tokens)?;
    }
    let joinings = match &options.given {
        Some(given) => BTreeMap::from([of_given(given, &options.rig, &options.jaccl)?]),
        None => planned(options)?,
    };
    let mut cells = BTreeMap::new();
    for &strategy in &options.strategies {
        for (&(backend, cables), joining) in &joinings {
            // Every run has a reference.
            if strategy == Strategy::Single {
                continue;
            }
            for &engine in &options.engines {
                (settings.model).check_split(engine, strategy, joining.nodes.len())?;
                cells.extend(options.workloads.iter().map(|&workload| {
                    let cell = Cell {
                        engine,
                        workload,
                        strategy,
                        backend: Some(backend),
                        cables,
                    };
                    (cell, joining.clone())
                }));
            }
        }
    }
    let cells = cells.into_iter();
    Ok(cells
        .map(|(cell, joining)| PlannedCell { cell, joining })
        .collect())
}

/// By backend and number of rails.
type Joinings = BTreeMap<(Backend, usize), Joining>;

fn of_given(
    given: &Given,
    rig: &Rig,
    jaccl: &Jaccl,
) -> Result<((Backend, usize), Joining), SweepError> {
    let backend = given.backend()?;
    let rails = match backend {
        Backend::Mesh if !jaccl.mesh_opens_several => 1,
        _ => given.rails(),
    };
    let named: BTreeSet<_> = given.pairs().flat_map(|(_, ends)| ends).collect();
    let joining = Joining {
        rig: rig.keeping(|cable| cable.ends.iter().any(|end| named.contains(end))),
        nodes: given.nodes().to_vec(),
        devices: given.devices().clone(),
    };
    Ok(((backend, rails), joining))
}

fn planned(options: &Options) -> Result<Joinings, SweepError> {
    let rig = &options.rig;
    if let [only] = &rig.nodes[..] {
        return Err(SweepError::OneNode(only.name.clone()));
    }
    let topology = Topology::from_rig(rig).map_err(PlanError::from)?;
    let mut joinings = Joinings::new();
    for &backend in &options.backends {
        let with = |rails| {
            let options = rail_matrix::Options::default()
                .order(options.order)
                .jaccl(options.jaccl)
                .backend(backend)
                .max_rails(rails);
            plan(&topology, &options)
        };
        let counts: BTreeSet<usize> = match &options.cables {
            Some(counts) => std::iter::once(1).chain(counts.iter()).collect(),
            None => (1..=with(MAX_RAILS)?.rails).collect(),
        };
        let opens_one = backend == Backend::Mesh && !options.jaccl.mesh_opens_several;
        for asked in counts {
            let plan = with(asked)?;
            if options.cables.is_some() && plan.rails != asked && !opens_one {
                return Err(left_out(asked, &plan, rig));
            }
            let key = (backend, plan.rails);
            joinings.entry(key).or_insert_with(|| of_plan(plan, rig));
        }
    }
    Ok(joinings)
}

fn of_plan(plan: Plan, rig: &Rig) -> Joining {
    let used: BTreeSet<_> = plan.matrix.cables().iter().flatten().flatten().collect();
    Joining {
        rig: rig.keeping(|cable| used.contains(&cable.name)),
        devices: plan.matrix.devices().to_vec(),
        nodes: plan.nodes.into_iter().map(|node| node.name).collect(),
    }
}

/// Why a plan has not as many rails as were requested: a pair has fewer cables, or the
/// planner does better without some.
fn left_out(asked: usize, plan: &Plan, rig: &Rig) -> SweepError {
    let ranks = 0..plan.nodes.len();
    let pairs = ranks.clone().flat_map(|j| (0..j).map(move |i| (i, j)));
    let joined = pairs.filter(|&(i, j)| !plan.matrix.cell(i, j).is_empty());
    let fewest = joined
        .map(|(i, j)| {
            let [a, b] = [i, j].map(|rank| &plan.nodes[rank].name);
            (rig.cables_between(a, b).len(), a.clone(), b.clone())
        })
        .min();
    match fewest {
        Some((has, a, b)) if has < asked => {
            SweepError::Rig(RigProblem::TooFewCables { asked, a, b, has }.into())
        }
        _ => {
            let notes = plan.notes.iter();
            let spare = notes.filter(|note| matches!(note, Note::Spare { .. }));
            SweepError::LeftOut {
                asked,
                backend: plan.backend,
                rails: plan.rails,
                why: spare.map(|note| format!(": {note}")).collect(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rail_matrix::RankOrder;

    use super::*;

    fn of(rig: &Rig, backends: &[Backend], counts: Option<&str>) -> Options {
        Options {
            rig: rig.clone(),
            backends: backends.to_vec(),
            cables: counts.map(|text| text.parse().unwrap()),
            ..Options::default()
        }
    }

    fn named(options: &Options) -> Result<Vec<String>, SweepError> {
        let cells = cells(options)?;
        Ok(cells
            .iter()
            .map(|planned| planned.cell.to_string())
            .collect())
    }

    fn names(
        rig: &Rig,
        backends: &[Backend],
        counts: Option<&str>,
    ) -> Result<Vec<String>, SweepError> {
        named(&of(rig, backends, counts))
    }

    const BOTH: &[Backend] = &[Backend::Mesh, Backend::Ring];

    #[test]
    fn the_whole_sweep_of_the_embedded_rig() {
        assert_eq!(
            names(&Rig::embedded(), BOTH, None).unwrap(),
            [
                "tp mesh-1",
                "tp ring-1",
                "tp ring-2",
                "tp ring-3", //
                "pp mesh-1",
                "pp ring-1",
                "pp ring-2",
                "pp ring-3",
            ]
        );
    }

    #[test]
    fn the_baselines_are_never_left_out() {
        assert_eq!(
            names(&Rig::embedded(), BOTH, Some("3")).unwrap()[..3],
            ["tp mesh-1", "tp ring-1", "tp ring-3"]
        );
        assert_eq!(
            names(&Rig::embedded(), &[Backend::Mesh], None).unwrap(),
            ["tp mesh-1", "pp mesh-1"]
        );
    }

    #[test]
    fn cables_the_rig_lacks_are_refused() {
        let error = names(&Rig::embedded(), BOTH, Some("1..4")).unwrap_err();
        assert!(error.to_string().contains("ask for at most 3"), "{error}");
    }

    #[test]
    fn a_mesh_that_opens_several_wires_is_swept_like_a_ring() {
        let options = Options {
            jaccl: Jaccl::of([0, 32, 4]),
            strategies: vec![Strategy::Tp],
            ..of(&Rig::embedded(), BOTH, None)
        };
        assert_eq!(
            named(&options).unwrap(),
            [
                "tp mesh-1",
                "tp mesh-2",
                "tp mesh-3",
                "tp ring-1",
                "tp ring-2",
                "tp ring-3"
            ]
        );
        for PlannedCell { cell, joining } in cells(&options).unwrap() {
            assert_eq!(joining.devices[0][1].len(), cell.cables, "{cell}");
            assert_eq!(joining.rig.cables.len(), cell.cables, "{cell}");
        }
    }

    #[test]
    fn a_cable_that_would_slow_the_others_down_is_left_out_and_refused_when_asked_for() {
        let mut rig = Rig::embedded();
        rig.cables[1].link.bytes_per_second = 20_000_000;
        let swept = names(&rig, &[Backend::Ring], None).unwrap();
        assert_eq!(swept, ["tp ring-1", "tp ring-2", "pp ring-1", "pp ring-2"]);
        let planned = cells(&of(&rig, &[Backend::Ring], None)).unwrap();
        assert_eq!(planned[1].joining.devices[0][1], ["rdma_en5", "rdma_en7"]);

        let error = names(&rig, &[Backend::Ring], Some("3")).unwrap_err();
        assert!(matches!(error, SweepError::LeftOut { rails: 2, .. }));
        assert!(error.to_string().contains("cable-2"), "{error}");
        assert!(error.help().is_some());
    }

    #[test]
    fn a_given_matrix_is_the_one_cell_of_a_strategy() {
        let given = |json: &str| Given::over(json.as_bytes(), &Rig::embedded()).unwrap();
        let crossed = r#"[[[], ["rdma_en5", "rdma_en6"]], [["rdma_en6", "rdma_en5"], []]]"#;
        let options = Options {
            given: Some(given(crossed)),
            ..Options::default()
        };
        assert_eq!(named(&options).unwrap(), ["tp ring-2", "pp ring-2"]);
        let joining = cells(&options).unwrap().swap_remove(0).joining;
        assert_eq!(joining.devices[1][0], ["rdma_en6", "rdma_en5"]);
        assert_eq!(joining.rig.cables.len(), 2);
    }

    #[test]
    fn a_line_of_three_nodes_is_neither_ring_nor_mesh() {
        let line = Rig::parse(
            r#"
            node = [{ name = "a" }, { name = "b" }, { name = "c" }]
            cable = [
                { name = "ab", ends = ["a:1", "b:1"] },
                { name = "bc", ends = ["b:2", "c:1"] },
            ]
            "#,
        )
        .unwrap();
        assert!(matches!(
            names(&line, &[Backend::Ring], None),
            Err(SweepError::Plan(PlanError::NoRing { .. }))
        ));
        assert!(matches!(
            names(&line, &[Backend::Mesh], None),
            Err(SweepError::Plan(PlanError::NoMesh { .. }))
        ));
    }

    #[test]
    fn one_node_and_an_indivisible_model_are_refused() {
        let alone = Rig::parse("node = [{ name = \"a\" }]").unwrap();
        assert!(matches!(
            names(&alone, BOTH, None),
            Err(SweepError::OneNode(_))
        ));
        let triangle = Rig::parse(
            r#"
            node = [{ name = "a" }, { name = "b" }, { name = "c" }]
            cable = [
                { name = "ab", ends = ["a:1", "b:1"] },
                { name = "bc", ends = ["b:2", "c:1"] },
                { name = "ca", ends = ["c:2", "a:2"] },
            ]
            "#,
        )
        .unwrap();
        assert!(matches!(
            names(&triangle, BOTH, None),
            Err(SweepError::Model(_))
        ));
    }

    #[test]
    fn ranks_are_in_the_order_of_the_widest_ring_unless_pinned() {
        let rig = Rig::parse(include_str!("../../crates/rig/examples/ring-of-four.toml")).unwrap();
        let mut options = Options {
            strategies: vec![Strategy::Pp],
            ..of(&rig, &[Backend::Ring], None)
        };
        let planned = cells(&options).unwrap();
        assert_eq!(planned[0].joining.nodes, ["a", "c", "b", "d"]);
        assert_eq!(
            planned[0].joining.devices[1],
            [vec!["en1"], vec![], vec!["en2"], vec![]]
        );
        options.order = RankOrder::Pinned;
        let error = cells(&options).unwrap_err();
        assert!(error.to_string().contains("'a' and 'b'"), "{error}");
    }

    #[test]
    fn cable_counts_are_read_as_lists_and_ranges() {
        let read = |text: &str| {
            text.parse::<CableCounts>()
                .map(|c| c.iter().collect::<Vec<_>>())
        };
        assert_eq!(read("1..3").unwrap(), [1, 2, 3]);
        assert_eq!(read("1..=3").unwrap(), [1, 2, 3]);
        assert_eq!(read("3,1").unwrap(), [1, 3]);
        assert_eq!(read("1..2,4").unwrap(), [1, 2, 4]);
        assert_eq!(read("0"), Err(CableCountsError::Zero));
        assert_eq!(read("3..1"), Err(CableCountsError::Empty(3, 1)));
        for bad in ["", "x", "1..", "1;2", "-1", "99999999999999999999"] {
            assert_eq!(read(bad), Err(CableCountsError::Syntax), "{bad}");
        }
    }
}
