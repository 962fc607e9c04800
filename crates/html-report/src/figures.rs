//! What the cells of a report have to do with each other.

use stats::MedianInterval;

use crate::input::{Bench, Cell, Explained, Figure, Place, Task};

/// The confidence that an interval around a median has where there are enough samples.
const CONFIDENCE: f64 = 0.95;

/// The cells of one task.
pub struct Group<'a> {
    pub task: &'a Task,
    pub cells: Vec<&'a Cell>,
}

/// The figures that cables may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    Ttft,
    Decode,
}

/// What one or more cables changed in a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    pub from: f64,
    pub to: f64,
    /// Whether the samples differ beyond doubt; see [`stats::Change`]. None if there is one
    /// sample.
    pub clear: Option<bool>,
}

/// From one number of cables to the next that was measured.
pub struct Step<'a> {
    pub from: &'a Cell,
    pub to: &'a Cell,
}

/// The cells by their tasks, each in the order of the report.
pub fn groups(bench: &Bench) -> Vec<Group<'_>> {
    let mut groups: Vec<Group> = Vec::new();
    for cell in &bench.cells {
        match groups.iter_mut().find(|group| *group.task == cell.task) {
            Some(group) => group.cells.push(cell),
            None => groups.push(Group {
                task: &cell.task,
                cells: vec![cell],
            }),
        }
    }
    groups
}

/// The values without those that came before.
pub fn distinct<T: PartialEq>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut all = Vec::new();
    for value in values {
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

/// The position of a backend among the series: the same in every chart.
pub fn series_of(backend: &str) -> usize {
    match backend {
        "ring" => 0,
        "mesh" => 1,
        _ => 2,
    }
}

impl<'a> Group<'a> {
    /// The single process, which uses no cable.
    pub fn reference(&self) -> Option<&'a Cell> {
        self.cells.iter().copied().find(|cell| cell.is_reference())
    }

    /// The strategies over cables, in the order of the report.
    pub fn strategies(&self) -> Vec<&'a str> {
        let spread = self.cells.iter().filter(|cell| !cell.is_reference());
        distinct(spread.map(|cell| cell.place.strategy.as_str()))
    }

    /// The backends of a strategy, the ring first.
    pub fn backends(&self, strategy: &str) -> Vec<&'a str> {
        let mut backends = distinct(self.of(strategy).map(|cell| cell.place.backend.as_str()));
        backends.sort_by_key(|backend| series_of(backend));
        backends
    }

    /// The cells of a strategy.
    pub fn of(&self, strategy: &str) -> impl Iterator<Item = &'a Cell> {
        let cells = self.cells.iter().copied();
        cells.filter(move |cell| cell.place.strategy == strategy)
    }

    /// The cells of a strategy and a backend, by their number of cables.
    pub fn row(&self, strategy: &str, backend: &str) -> Vec<&'a Cell> {
        let mut row: Vec<_> = self.of(strategy).collect();
        row.retain(|cell| cell.place.backend == backend);
        row.sort_by_key(|cell| cell.place.cables);
        row
    }

    /// What each further cable brings: the steps over the backend with the most of them.
    pub fn steps(&self, strategy: &str) -> Vec<Step<'a>> {
        let steps = self.backends(strategy).into_iter().map(|backend| {
            let mut passed = self.row(strategy, backend);
            passed.retain(|cell| cell.passed());
            let pairs = passed.windows(2);
            pairs
                .filter(|pair| pair[0].place.cables < pair[1].place.cables)
                .map(|pair| Step {
                    from: pair[0],
                    to: pair[1],
                })
                .collect::<Vec<_>>()
        });
        // The first of equals is the ring.
        steps
            .reduce(|most, next| if next.len() > most.len() { next } else { most })
            .unwrap_or_default()
    }

    /// The cell that gains are against: one cable by the ring.
    pub fn baseline(&self, strategy: &str) -> Option<&'a Cell> {
        let mut cells = self.of(strategy);
        let found = cells.find(|cell| cell.place.backend == "ring" && cell.place.cables == 1);
        found.filter(|cell| cell.passed())
    }
}

impl Metric {
    /// Both, in the order of a page.
    pub const ALL: [Self; 2] = [Self::Ttft, Self::Decode];

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ttft => "Time to first token",
            Self::Decode => "Decode",
        }
    }

    /// Its name as a part of an id.
    pub fn id(self) -> &'static str {
        match self {
            Self::Ttft => "ttft",
            Self::Decode => "decode",
        }
    }

    /// Its unit.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Ttft => "ms",
            Self::Decode => "tok/s",
        }
    }

    /// The better direction.
    pub fn better(self) -> &'static str {
        match self {
            Self::Ttft => "lower is better",
            Self::Decode => "higher is better",
        }
    }

    /// Its samples in a cell.
    pub fn of(self, cell: &Cell) -> Option<&Figure> {
        match self {
            Self::Ttft => cell.ttft_ms.as_ref(),
            Self::Decode => cell.generation_tps.as_ref(),
        }
    }

    /// What it should be, and the part of the measured time that this explains.
    pub fn explained(self, cell: Explained) -> (f64, f64) {
        let Explained { ttft, token } = cell;
        match self {
            Self::Ttft => (ttft.predicted_ms, ttft.part),
            Self::Decode => (1e3 / token.predicted_ms, token.part),
        }
    }

    /// The figure over this many times the cables if nothing but their rate mattered.
    pub fn ideal(self, base: f64, times: f64) -> f64 {
        match self {
            Self::Ttft => base / times,
            Self::Decode => base * times,
        }
    }

    /// Its change from one cell to another.
    pub fn change(self, from: &Cell, to: &Cell) -> Option<Change> {
        let (from, to) = (self.of(from)?, self.of(to)?);
        Some(Change {
            from: from.median,
            to: to.median,
            clear: stats::Change::between(&from.samples, &to.samples).map(|it| it.is_clear()),
        })
    }

    /// The gain of a cell over its baseline, where above 1 is better.
    pub fn gain(self, base: &Cell, cell: &Cell) -> Option<f64> {
        if !cell.passed() {
            return None;
        }
        let change = self.change(base, cell)?;
        Some(match self {
            Self::Ttft => change.from / change.to,
            Self::Decode => change.to / change.from,
        })
    }

    /// Whether a change is for the better.
    pub fn improves(self, change: &Change) -> bool {
        match self {
            Self::Ttft => change.to < change.from,
            Self::Decode => change.to > change.from,
        }
    }
}

impl Change {
    /// It as a part of what was before.
    pub fn part(&self) -> f64 {
        self.to / self.from - 1.0
    }
}

/// The interval around the median of a figure.
pub fn interval(figure: &Figure) -> Option<MedianInterval> {
    MedianInterval::of(&figure.samples, CONFIDENCE)
}

/// The cell of another report with the same task and place.
pub fn same<'a>(other: &'a Bench, cell: &Cell) -> Option<&'a Cell> {
    let mut cells = other.cells.iter();
    cells.find(|it| it.place == cell.place && it.task == cell.task)
}

/// What of the other report is not as in this one, beside its build.
pub fn differences(this: &Bench, other: &Bench) -> Vec<&'static str> {
    let mut different = Vec::new();
    let mut compare = |same: bool, what| {
        if !same {
            different.push(what);
        }
    };
    compare(this.rig == other.rig, "the rig");
    // The same folder may be elsewhere.
    let model = |bench: &Bench| {
        let mut model = bench.model.clone();
        model.remove("path");
        model
    };
    compare(model(this) == model(other), "the model");
    compare(this.machine == other.machine, "the machine");
    compare(this.given == other.given, "the matrix");
    let tasks = |bench: &Bench| distinct(bench.cells.iter().map(|cell| cell.task.clone()));
    compare(tasks(this) == tasks(other), "what the cells compute");
    let places = |bench: &Bench| -> Vec<Place> {
        bench.cells.iter().map(|cell| cell.place.clone()).collect()
    };
    compare(places(this) == places(other), "which cells there are");
    different
}
