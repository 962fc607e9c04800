//! `allreduce_bench`, the benchmark among jaccl's own examples, over the same cables: a
//! program that nobody here wrote, to hold our figures against.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use jaccl::Dtype;
use rail_verify::{
    case::{Backend, Frames},
    group::{GroupError, Programs},
    setup::Setup,
};
use rig::Link;
use serde::Serialize;
use softrail::{
    Fabric,
    up::{End, Job, Stream, UpError},
};

use crate::{Measured, Meter, Op, Options, cells::Cell, options};

/// What it printed of a cell.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Foreign {
    /// The mean time of its calls, in microseconds, divided by the dilation; none if it
    /// failed.
    pub time_us: Option<f64>,
    /// Its own check of the sum: `OK` or `FAIL`; else how its run failed.
    pub check: String,
}

impl Foreign {
    /// Whether it ran, and its check succeeded.
    pub fn passed(&self) -> bool {
        self.time_us.is_some() && self.check == "OK"
    }
}

/// Why it could not be run. The cause is outside jaccl.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// The cables could not be emulated, or a file not be written.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// The program could not be run.
    #[error(transparent)]
    Up(#[from] UpError),
}

impl Meter<'_> {
    /// Runs `allreduce_bench` for every row that it can measure, an `all_sum` of f32, f16
    /// or bf16 that did not fail, and notes what it printed ([`Row::foreign`]). `programs`
    /// has the program of each build, in the order of the builds.
    ///
    /// [`Row::foreign`]: crate::Row::foreign
    ///
    /// # Errors
    /// If it cannot be run, or the caller asked to stop.
    pub fn measure_foreign(
        &self,
        programs: &[PathBuf],
        options: &Options,
        measured: &mut Measured,
    ) -> Result<(), ForeignError> {
        self.progress
            .step("Running", "allreduce_bench of jaccl's examples");
        let all = measured.rows.len() as u64;
        for (number, row) in measured.rows.iter_mut().enumerate() {
            let dtype = match (row.cell.op, row.cell.dtype) {
                (Op::AllSum, Dtype::Float32) => "float32",
                (Op::AllSum, Dtype::Float16) => "float16",
                (Op::AllSum, Dtype::BFloat16) => "bfloat16",
                _ => continue,
            };
            if row.time_us.is_some() {
                let program = &programs[row.build];
                row.foreign = Some(self.run(program, &row.cell, dtype, options)?);
            }
            self.progress.advance(number as u64 + 1, all, "rows");
        }
        self.progress.finish();
        Ok(())
    }

    fn run(
        &self,
        program: &Path,
        cell: &Cell,
        dtype: &str,
        options: &Options,
    ) -> Result<Foreign, ForeignError> {
        let Programs { provider, .. } = self.programs;
        let setup = options::over(Setup::of(cell.setting()), options.emulated());
        let fabric =
            Fabric::create(&softrail::default_parent(), &setup.rig).map_err(GroupError::from)?;
        let devices = fabric.path().join("devices.json");
        let json = serde_json::to_vec(&setup.matrix).expect("a matrix is strings");
        fs::write(&devices, json).map_err(|source| GroupError::Devices {
            path: devices.clone(),
            source,
        })?;
        let calls = options.turns(cell).iter().map(|turn| turn.iterations).sum();
        let warmup = usize::from(calls >= 5);
        let script = script(cell);
        let mut command = vec!["sh".to_owned(), "-c".to_owned(), script];
        command.extend([program, devices.as_path()].map(|path| path.display().to_string()));
        let bytes = cell.bytes.to_string();
        let [w, n] = [warmup, calls].map(|number: usize| number.to_string());
        let flags = [
            "-c", "-d", dtype, "-b", &bytes, "-e", &bytes, "-w", &w, "-n", &n,
        ];
        command.extend(flags.map(str::to_owned));
        let names: Vec<&str> = setup.nodes.iter().map(String::as_str).collect();
        let nodes: Vec<usize> = (0..names.len()).collect();
        let job = Job {
            command: &command,
            nodes: &nodes,
            provider,
            limit: Some(limit(cell, options.emulated(), calls + warmup)),
        };
        let (mut printed, mut last) = (None, String::new());
        let ends = fabric.up(&names, &job, self.launcher, |node, stream, line| {
            if (node, stream) == (0, Stream::Out) {
                printed = read(line, options.dilate).or(printed.take());
            } else if stream == Stream::Err && !line.trim().is_empty() {
                last = line.to_owned();
            }
            io::Result::Ok(())
        })?;
        let failed = ends.iter().any(|(_, end)| *end != End::Code(0));
        Ok(printed.filter(|_| !failed).unwrap_or(Foreign {
            time_us: None,
            check: match ends.iter().any(|(_, end)| *end == End::Ended) {
                true => "it did not end".to_owned(),
                false => format!("it failed: {last}"),
            },
        }))
    }
}

/// Gives a process jaccl's variables. Its arguments are the program, the device file and the
/// program's arguments.
fn script(cell: &Cell) -> String {
    let mut script = "export MLX_RANK=$RIG_RANK MLX_JACCL_COORDINATOR=$RIG_COORDINATOR \
                      MLX_IBV_DEVICES=$1"
        .to_owned();
    if cell.backend == Backend::Ring {
        script += " MLX_JACCL_RING=1";
    }
    if cell.frames == Frames::Big {
        script += " JACCL_BIG_FRAMES=1";
    }
    script + "; shift; exec \"$0\" \"$@\""
}

/// Many times what jaccl takes, since a hang is seen by it alone.
fn limit(cell: &Cell, link: Link, calls: usize) -> Duration {
    let options = Options {
        link,
        ..Options::default()
    };
    let calls = u32::try_from(calls).unwrap_or(u32::MAX);
    let expected = options.expected(cell).saturating_mul(calls);
    Duration::from_secs(30) + expected.saturating_mul(40)
}

/// Reads a row of its table: size, count, type, time, algo BW, bus BW, check.
fn read(line: &str, dilate: u32) -> Option<Foreign> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let [_, _, _, time, _, _, check] = words.as_slice() else {
        return None;
    };
    Some(Foreign {
        time_us: Some(time.parse::<f64>().ok()? / f64::from(dilate)),
        check: (*check).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_table_is_read() {
        let line =
            "4096          1024     float32         122.9          0.03          0.03        OK";
        let read = |dilate| read(line, dilate).expect("a row");
        assert_eq!(read(1).time_us, Some(122.9));
        assert_eq!(read(10).time_us, Some(122.9 / 10.0));
        assert!(read(1).passed());
        for line in [
            "# Ranks:   2",
            "#    size   count  type  time (us)  algo BW bus BW  check",
            "",
        ] {
            assert_eq!(super::read(line, 1), None, "{line}");
        }
    }
}
