//! Ranks that are Python processes: an installed wheel, driven through `mx.distributed` as
//! a user's program drives it.
//!
//! The script speaks the protocol of `jaccl-rank`, so groups, watchdogs, verdicts and
//! reports are the same. What differs is how much it reaches: MLX decides where an output
//! lies, so there are no cases in place and no guard zones, and it has no barrier.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use jaccl::Features;
use launch::Launcher;
use serde::Deserialize;

use crate::{
    case::Op,
    group::{Build, Rank},
    selection::Selection,
};

/// The program of a rank.
pub const SCRIPT: &str = include_str!("../python/rank.py");

/// What Python reaches of the operations that only some versions of jaccl have.
pub const FEATURES: Features = Features {
    barrier: false,
    sum_scatter: false,
};

/// The operations that Python reaches.
pub const OPS: [Op; 7] = [
    Op::Send,
    Op::Recv,
    Op::AllSum,
    Op::AllMax,
    Op::AllMin,
    Op::AllGather,
    Op::Sequence,
];

/// The numbers of ranks and of cables that are tried where the selection names none. A rank
/// takes a third of a second to start, and each setting starts its own.
const RANKS: [usize; 2] = [2, 3];
const WIRES: [usize; 3] = [1, 2, 3];

/// An MLX that is installed in a Python of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The program of its ranks.
    pub rank: Rank,
    /// The library with jaccl that this Python loads, and the key that it answers with.
    pub build: Build,
    /// The version that MLX itself reports.
    pub mlx: String,
    /// The version of Python.
    pub python: String,
}

/// Why an installed MLX cannot be driven.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// The script could not be written.
    #[error("cannot write {}", path.display())]
    Script {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// `import mlx.core` fails, or the process ended otherwise.
    #[error("the installed MLX cannot be imported")]
    Import(#[source] launch::Error),
    /// Python loaded no library that could contain jaccl, or answered something else.
    #[error("the installed MLX is not what was expected: {0}")]
    Unexpected(String),
    /// A part of the selection that Python does not reach.
    #[error("Python does not reach {0}")]
    Unreachable(String),
}

impl PythonError {
    /// The remedy, if there is one.
    pub fn help(&self) -> Option<String> {
        match self {
            PythonError::Unreachable(_) => {
                let ops = OPS.map(Op::name).join(", ");
                Some(format!(
                    "it reaches {ops}, each with an output of its own (--in-place false); verify \
                     the build for the rest: `cargo xtask verify --mlx PIN`"
                ))
            }
            PythonError::Script { .. } | PythonError::Import(_) | PythonError::Unexpected(_) => {
                None
            }
        }
    }
}

/// Python's answer to `--probe`.
#[derive(Debug, Deserialize)]
struct Probed {
    python: String,
    mlx: String,
    library: Option<PathBuf>,
    build: Option<String>,
}

/// A process that runs the script.
pub(crate) fn command(python: &Path, script: &Path) -> Command {
    let mut command = Command::new(python);
    // Isolated: neither PYTHONPATH nor a user's packages decide what is imported.
    command.arg("-I").arg(script);
    command
}

impl Installed {
    /// Asks a Python which MLX is installed in it. The script is written into `folder`.
    ///
    /// # Errors
    /// If the script cannot be written, MLX cannot be imported, or no library of it was
    /// loaded.
    pub fn probe(python: &Path, folder: &Path, launcher: &Launcher) -> Result<Self, PythonError> {
        let script = folder.join("rank.py");
        fs::write(&script, SCRIPT).map_err(|source| PythonError::Script {
            path: script.clone(),
            source,
        })?;
        let mut probe = command(python, &script);
        probe.arg("--probe");
        let answer = launch::capture(launcher, "importing the installed MLX", probe)
            .map_err(PythonError::Import)?;
        let unexpected = |problem: String| PythonError::Unexpected(problem);
        let probed: Probed = serde_json::from_str(answer.trim())
            .map_err(|error| unexpected(format!("{error} in {answer:?}")))?;
        let library = probed
            .library
            .ok_or_else(|| unexpected("no libmlx was loaded".to_owned()))?;
        Ok(Installed {
            rank: Rank::Python {
                python: python.to_owned(),
                script,
            },
            build: Build {
                library,
                key: probed.build.unwrap_or_default(),
            },
            mlx: probed.mlx,
            python: probed.python,
        })
    }
}

/// The selection for an installed MLX: what Python reaches, and fewer settings than for a
/// build, where the caller's selection leaves a choice.
///
/// # Errors
/// If the selection names something that Python does not reach.
pub fn reached(selection: Selection) -> Result<Selection, PythonError> {
    if let Some(op) = selection.op.iter().find(|op| !OPS.contains(op)) {
        return Err(PythonError::Unreachable(op.to_string()));
    }
    if selection.in_place.contains(&true) {
        return Err(PythonError::Unreachable("cases in place".to_owned()));
    }
    fn or<T: Clone>(wanted: Vec<T>, usual: &[T]) -> Vec<T> {
        if wanted.is_empty() {
            usual.to_vec()
        } else {
            wanted
        }
    }
    Ok(Selection {
        op: or(selection.op, &OPS),
        ranks: or(selection.ranks, &RANKS),
        wires: or(selection.wires, &WIRES),
        in_place: vec![false],
        ..selection
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn select(flags: &str) -> Selection {
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        Selection::parse(&flags).expect("flags")
    }

    #[test]
    fn what_python_does_not_reach_is_refused_by_name() {
        for (flags, name) in [
            ("--op recv,barrier", "barrier"),
            ("--op missing-device", "missing-device"),
            ("--in-place true", "in place"),
        ] {
            let error = reached(select(flags)).expect_err(flags);
            assert!(error.to_string().contains(name), "{error}");
            assert!(error.help().is_some_and(|help| help.contains("all_gather")));
        }
    }

    #[test]
    fn what_the_caller_selects_is_kept() {
        let selection = reached(select("--wires 4 --bytes 12288")).expect("a selection");
        assert_eq!((selection.wires, selection.bytes), (vec![4], vec![12288]));
        assert_eq!(
            (selection.op, selection.ranks),
            (OPS.to_vec(), RANKS.to_vec())
        );
        assert_eq!(selection.in_place, [false]);
    }
}
