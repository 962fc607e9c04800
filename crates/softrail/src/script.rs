//! The faults of a rig in order of time, and the thread that plays them.

use std::{
    fmt,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rig::{Defect, Fault, Rig, units};

use crate::live::{Live, LiveError};

/// A fault that begins or ends at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The time since the job began.
    pub at: Duration,
    /// The fault.
    pub defect: Defect,
    /// Whether the fault begins; otherwise it ends.
    pub breaks: bool,
}

impl fmt::Display for Step {
    /// Such as `at 3 s, cable 'cable-1' is cut no longer`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at {}, {}", units::format_time(self.at), self.defect)?;
        f.write_str(if self.breaks { "" } else { " no longer" })
    }
}

/// The steps of a rig's faults that are still to come.
#[derive(Debug, Clone)]
pub struct Script {
    /// In reverse: the last step comes first.
    steps: Vec<Step>,
}

impl Script {
    /// All steps of a rig's faults.
    pub fn of(rig: &Rig) -> Self {
        let mut steps: Vec<_> = rig.faults.iter().flat_map(steps).collect();
        // Where one fault ends as another begins, the ending step comes first.
        steps.sort_by_key(|step| (step.at, step.breaks));
        steps.reverse();
        Script { steps }
    }

    /// Removes and returns the next step that is due by `time`.
    pub fn due(&mut self, time: Duration) -> Option<Step> {
        self.steps.pop_if(|step| step.at <= time)
    }

    /// When the next step is due.
    pub fn next_at(&self) -> Option<Duration> {
        self.steps.last().map(|step| step.at)
    }
}

fn steps(fault: &Fault) -> impl Iterator<Item = Step> {
    let step = |at, breaks| Step {
        at,
        defect: fault.defect.clone(),
        breaks,
    };
    let mended = fault.span.until.map(|until| step(until, false));
    [step(fault.span.at, true)].into_iter().chain(mended)
}

/// Plays the rest of a script in real time, until it is dropped.
#[derive(Debug)]
#[must_use = "who drops it ends it"]
pub struct Player {
    thread: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Player {
    /// Starts playing now. Calls back with the result of every step.
    pub(crate) fn start(
        live: Arc<Live>,
        mut script: Script,
        mut tell: impl FnMut(&Step, Result<(), LiveError>) + Send + 'static,
    ) -> Self {
        if script.next_at().is_none() {
            return Player { thread: None };
        }
        let begun = Instant::now();
        let (stop, stopped) = mpsc::channel();
        let play = move || {
            while let Some(at) = script.next_at() {
                let pause = at.saturating_sub(begun.elapsed());
                if stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
                while let Some(step) = script.due(begun.elapsed()) {
                    tell(&step, live.apply(&step.defect, step.breaks));
                }
            }
        };
        Player {
            thread: Some((stop, thread::spawn(play))),
        }
    }
}

impl Drop for Player {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            // A thread that panicked has ended, too.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use rig::{CableFault, DeviceFault, Span};

    use super::*;

    fn seconds(at: u64) -> Duration {
        Duration::from_secs(at)
    }

    fn fault(defect: &Defect, at: u64, until: Option<u64>) -> Fault {
        Fault {
            defect: defect.clone(),
            span: Span {
                at: seconds(at),
                until: until.map(seconds),
            },
        }
    }

    #[test]
    fn steps_come_in_the_order_of_their_times_and_once() {
        let rig = Rig::embedded();
        let cut = Defect::Cable {
            cable: "cable-1".to_owned(),
            kind: CableFault::Cut,
        };
        let down = Defect::Device {
            device: rig.cables[0].ends[0].clone(),
            kind: DeviceFault::PortDown,
        };
        let faults = vec![
            fault(&cut, 4, Some(5)),
            fault(&down, 0, Some(4)),
            fault(&cut, 2, Some(4)),
        ];
        let mut script = Script::of(&rig.with_faults(faults));
        let mut played = Vec::new();
        for time in [0, 1, 3, 4, 9] {
            while let Some(step) = script.due(seconds(time)) {
                assert!(step.at <= seconds(time));
                played.push(step.to_string());
            }
            assert!(script.next_at().is_none_or(|at| at > seconds(time)));
        }
        assert_eq!(
            played,
            [
                "at 0 ns, device 'a:rdma_en5' is port-down",
                "at 2 s, cable 'cable-1' is cut",
                "at 4 s, device 'a:rdma_en5' is port-down no longer",
                "at 4 s, cable 'cable-1' is cut no longer",
                "at 4 s, cable 'cable-1' is cut",
                "at 5 s, cable 'cable-1' is cut no longer",
            ]
        );
    }
}
