//! The progress of a run, on stderr.

use std::{
    cell::Cell as Shared,
    io::{IsTerminal, Write, stderr},
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    protocol::{Event, Phase},
    report::CellReport,
    sweep::Cell,
};

/// Reports the progress of a run: with a moving bar on a terminal, with a line for each
/// launch elsewhere.
#[derive(Debug)]
pub struct Progress {
    /// Hidden if lines or nothing is written.
    bar: ProgressBar,
    lines: bool,
    launches: Shared<usize>,
    workloads: Shared<usize>,
    ended: Shared<usize>,
}

impl Progress {
    /// Reports on stderr.
    pub fn stderr() -> Self {
        let terminal = stderr().is_terminal();
        let target = if terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self::new(target, !terminal)
    }

    /// Reports nothing.
    pub fn hidden() -> Self {
        Self::new(ProgressDrawTarget::hidden(), false)
    }

    fn new(target: ProgressDrawTarget, lines: bool) -> Self {
        let bar = ProgressBar::with_draw_target(None, target);
        let style = "{spinner} [{pos}/{len}] {msg} ({elapsed})";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is valid"));
        Self {
            bar,
            lines,
            launches: Shared::new(0),
            workloads: Shared::new(0),
            ended: Shared::new(0),
        }
    }

    pub(crate) fn begin(&self, launches: usize, workloads: usize) {
        self.launches.set(launches);
        self.workloads.set(workloads);
        self.bar.set_length(launches as u64);
        self.bar.enable_steady_tick(Duration::from_millis(120));
    }

    pub(crate) fn begin_cell(&self, cell: Cell) {
        self.bar.set_message(self.name(cell));
    }

    fn name(&self, cell: Cell) -> String {
        cell.name_among(self.workloads.get())
    }

    pub(crate) fn hear(&self, cell: Cell, rank: usize, event: &Event) {
        if rank != 0 {
            return;
        }
        let cell = self.name(cell);
        match event {
            Event::Phase { phase: Phase::Load } => {
                self.bar.set_message(format!("{cell}: loading the model"));
            }
            Event::Phase { phase: Phase::Init } => {
                self.bar.set_message(format!("{cell}: joining the group"));
            }
            Event::Phase { phase: Phase::Fill } => {
                self.bar.set_message(format!("{cell}: filling the cache"));
            }
            Event::Token { run, index, .. } => {
                self.bar
                    .set_message(format!("{cell}: run {run}, token {index}"));
            }
            Event::Lap { index, .. } => {
                self.bar
                    .set_message(format!("{cell}: where the time goes, token {index}"));
            }
            _ => {}
        }
    }

    /// A launch that is not needed any more.
    pub(crate) fn skip(&self) {
        self.ended.set(self.ended.get() + 1);
        self.bar.inc(1);
    }

    pub(crate) fn end_launch(&self, report: &CellReport) {
        self.skip();
        let mut line = format!("{}: {}", self.name(report.cell()), report.verdict);
        if let Some(ttft) = &report.ttft_ms {
            line += &format!(", TTFT {:.0} ms", ttft.median);
        }
        if let Some(tps) = &report.generation_tps {
            line += &format!(", {:.1} tok/s", tps.median);
        }
        if let Some(detail) = &report.detail {
            line += &format!(": {detail}");
        }
        if self.lines {
            // An error is ignored: a caller that closed stderr does not read the
            // progress.
            let _ = writeln!(
                stderr(),
                "[{}/{}] {line}",
                self.ended.get(),
                self.launches.get()
            );
        } else {
            self.bar.println(line);
        }
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Progress {
    /// Restores the terminal after an interrupted run.
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
