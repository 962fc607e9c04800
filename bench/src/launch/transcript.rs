//! The events of a rank so far.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::protocol::{Event, Pass, Phase, Spent, Top, margin};

/// A generated token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// The token's id.
    pub id: u32,
    /// Nanoseconds since the run's start.
    pub ns: u64,
    /// Names the bits of its logits, as in [`Event::Token`].
    pub digest: Option<String>,
    /// Nanoseconds that the rank's layers took, as in [`Event::Token`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers_ns: Option<u64>,
}

/// One run of a rank.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The tokens in order of generation.
    pub tokens: Vec<Token>,
    /// Whether the rank reported the end of the run.
    pub ended: bool,
    /// Whether it was a warm-up. Known once it has ended.
    pub warmup: bool,
    /// The smallest margin of any token, as in [`Event::Run`].
    #[serde(with = "margin")]
    pub min_margin: Option<f32>,
}

/// What a rank took, as in [`Event::Usage`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Nanoseconds to load its share of the model.
    pub load_ns: u64,
    /// The most bytes that MLX's arrays took.
    pub peak_bytes: u64,
    /// Bytes of its weights.
    pub weight_bytes: u64,
}

/// A token of a pass, as in [`Event::Lap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lap {
    /// The pass.
    pub pass: Pass,
    /// The run, from 0 in each pass.
    pub run: usize,
    /// The token's position in the run.
    pub index: usize,
    /// What it took.
    pub spent: Spent,
}

/// All events of a rank. Its `Display` describes the rank's current state.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// The runs in order, warm-ups included.
    pub runs: Vec<RunRecord>,
    /// What it took, if it reported it.
    pub usage: Option<Usage>,
    /// The greatest logits of each token in each forced pass, as in [`Event::Forced`].
    pub forced: Vec<Vec<Top>>,
    /// The continuation of each needle, as in [`Event::Needle`].
    pub needles: Vec<Vec<u32>>,
    /// The tokens of the passes that show where the time goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub laps: Vec<Lap>,
    build: Option<String>,
    phase: Option<Phase>,
    done: bool,
    exited: bool,
}

impl Transcript {
    /// Adds an event.
    ///
    /// # Errors
    /// When the event cannot follow the earlier ones; the text gives the reason.
    pub(super) fn hear(&mut self, event: &Event) -> Result<(), String> {
        if self.build.is_none() && !matches!(event, Event::Loaded { .. } | Event::Error { .. }) {
            return Err("did not say first which build it has loaded".to_owned());
        }
        match *event {
            Event::Loaded { ref build } => self.build = Some(build.clone()),
            Event::Phase { phase } => self.phase = Some(phase),
            Event::Token {
                run,
                index,
                id,
                ns,
                ref digest,
                layers_ns,
            } => {
                let record = self.open_run(run)?;
                if index != record.tokens.len() {
                    let due = record.tokens.len();
                    return Err(format!(
                        "said token {index} of run {run} when {due} was due"
                    ));
                }
                if record.tokens.last().map_or(0, |token| token.ns) >= ns {
                    return Err(format!(
                        "gave token {index} of run {run} no time of its own"
                    ));
                }
                let digest = digest.clone();
                record.tokens.push(Token {
                    id,
                    ns,
                    digest,
                    layers_ns,
                });
            }
            Event::Run {
                run,
                warmup,
                min_margin,
                ..
            } => {
                let record = self.open_run(run)?;
                record.ended = true;
                record.warmup = warmup;
                record.min_margin = min_margin;
            }
            Event::Lap {
                pass,
                run,
                index,
                spent,
            } => self.laps.push(Lap {
                pass,
                run,
                index,
                spent,
            }),
            Event::Usage {
                load_ns,
                peak_bytes,
                weight_bytes,
            } => {
                self.usage = Some(Usage {
                    load_ns,
                    peak_bytes,
                    weight_bytes,
                });
            }
            Event::Forced {
                pass,
                index,
                ref top,
            } => {
                let begun = self.forced.len();
                let due = match self.forced.last() {
                    Some(tokens) if pass + 1 == begun => tokens.len(),
                    _ => 0,
                };
                if index != due || pass + 1 < begun || pass > begun {
                    return Err(format!(
                        "said token {index} of forced pass {pass} out of turn"
                    ));
                }
                if pass == begun {
                    self.forced.push(Vec::new());
                }
                self.forced[pass].push(top.clone());
            }
            Event::Needle { index, ref ids } => {
                if index != self.needles.len() {
                    return Err(format!("continued needle {index} out of turn"));
                }
                self.needles.push(ids.clone());
            }
            Event::Done => self.done = true,
            Event::Error { .. } => {}
        }
        Ok(())
    }

    /// The record of a run in progress; begins the next one if it has this number.
    fn open_run(&mut self, run: usize) -> Result<&mut RunRecord, String> {
        let ended = self.runs.iter().filter(|record| record.ended).count();
        if run != ended {
            return Err(format!("spoke of run {run} when {ended} was due"));
        }
        if run == self.runs.len() {
            self.runs.push(RunRecord::default());
        }
        Ok(&mut self.runs[run])
    }

    /// Adds the runs of a later launch of the same rank, and what it took if that is more.
    /// Passes run in the first launch alone.
    pub(crate) fn append(&mut self, later: &Self) {
        self.runs.extend_from_slice(&later.runs);
        self.usage = self.usage.zip(later.usage).map(|(a, b)| Usage {
            load_ns: a.load_ns.max(b.load_ns),
            peak_bytes: a.peak_bytes.max(b.peak_bytes),
            weight_bytes: a.weight_bytes.max(b.weight_bytes),
        });
    }

    /// Records that the process ended by itself.
    pub(super) fn exited(&mut self) {
        self.exited = true;
    }

    /// Whether the process ended by itself.
    pub(super) fn has_exited(&self) -> bool {
        self.exited
    }

    /// The key of the build that the rank has loaded, if it has reported one.
    pub fn build(&self) -> Option<&str> {
        self.build.as_deref()
    }

    /// Whether the rank reported that it ends normally.
    pub fn done(&self) -> bool {
        self.done
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.done, self.exited) {
            (true, true) => return f.write_str("done"),
            (true, false) => return f.write_str("done, but did not exit"),
            (false, _) => {}
        }
        let kind = match self.phase {
            None => return f.write_str("said nothing"),
            Some(Phase::Load) => return f.write_str("loading the model"),
            Some(Phase::Init) => return f.write_str("joining the group"),
            Some(Phase::Fill) => "filling the cache before run",
            Some(Phase::Warmup) => "warm-up run",
            Some(Phase::Run) => "run",
            Some(Phase::Check) => {
                let (passes, needles) = (self.forced.len(), self.needles.len());
                return write!(
                    f,
                    "checks, {passes} forced passes begun and {needles} needles continued"
                );
            }
            Some(Phase::Split) => return f.write_str("in a run that shows where the time goes"),
        };
        let (run, tokens) = match self.runs.last() {
            Some(record) if !record.ended => (self.runs.len() - 1, record.tokens.len()),
            _ => (self.runs.len(), 0),
        };
        match tokens {
            0 => write!(f, "{kind} {run}, before the first token"),
            n => write!(f, "{kind} {run}, after token {}", n - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loaded() -> Transcript {
        let mut transcript = Transcript::default();
        assert_eq!(transcript.build(), None);
        let build = "k3y".to_owned();
        transcript.hear(&Event::Loaded { build }).unwrap();
        assert_eq!(transcript.build(), Some("k3y"));
        transcript
    }

    fn token(run: usize, index: usize) -> Event {
        Event::Token {
            run,
            index,
            id: 7,
            ns: 10 + index as u64,
            digest: None,
            layers_ns: None,
        }
    }

    fn end_of(run: usize, warmup: bool) -> Event {
        Event::Run {
            run,
            warmup,
            prompt_tokens: 8,
            min_margin: Some(1.0),
        }
    }

    #[test]
    fn it_tells_where_a_rank_stands() {
        let mut transcript = loaded();
        let steps = [
            (Event::Phase { phase: Phase::Load }, "loading the model"),
            (Event::Phase { phase: Phase::Init }, "joining the group"),
            (
                Event::Phase {
                    phase: Phase::Warmup,
                },
                "warm-up run 0, before the first token",
            ),
            (token(0, 0), "warm-up run 0, after token 0"),
            (end_of(0, true), "warm-up run 1, before the first token"),
            (
                Event::Phase { phase: Phase::Run },
                "run 1, before the first token",
            ),
            (token(1, 0), "run 1, after token 0"),
            (token(1, 1), "run 1, after token 1"),
            (end_of(1, false), "run 2, before the first token"),
            (Event::Done, "done, but did not exit"),
        ];
        assert_eq!(transcript.to_string(), "said nothing");
        for (event, standing) in steps {
            transcript.hear(&event).unwrap();
            assert_eq!(transcript.to_string(), standing);
        }
        transcript.exited();
        assert_eq!(transcript.to_string(), "done");
        assert!(transcript.runs[0].warmup && !transcript.runs[1].warmup);
        assert_eq!(transcript.runs[1].tokens.len(), 2);
    }

    #[test]
    fn a_rank_says_first_what_it_has_loaded_or_why_it_has_not() {
        let mut transcript = Transcript::default();
        let message = "no such file".to_owned();
        transcript.hear(&Event::Error { message }).unwrap();
        let early = Event::Phase { phase: Phase::Load };
        assert!(
            transcript
                .hear(&early)
                .unwrap_err()
                .contains("did not say first which build")
        );
    }

    #[test]
    fn a_rank_in_a_pass_says_so_and_its_laps_are_kept() {
        let mut transcript = loaded();
        transcript
            .hear(&Event::Phase {
                phase: Phase::Split,
            })
            .unwrap();
        let spent = Spent {
            ns: 9,
            ..Spent::default()
        };
        let lap = Event::Lap {
            pass: Pass::Without,
            run: 0,
            index: 0,
            spent,
        };
        transcript.hear(&lap).unwrap();
        assert_eq!(
            transcript.to_string(),
            "in a run that shows where the time goes"
        );
        assert!(transcript.runs.is_empty());
        assert_eq!(transcript.laps[0].spent.ns, 9);
    }

    #[test]
    fn a_token_or_run_out_of_turn_is_refused() {
        let mut transcript = loaded();
        transcript.hear(&token(0, 0)).unwrap();
        assert!(
            transcript
                .hear(&token(0, 2))
                .unwrap_err()
                .contains("token 2 of run 0 when 1")
        );
        assert!(
            transcript
                .hear(&token(1, 0))
                .unwrap_err()
                .contains("run 1 when 0")
        );
        let timeless = Event::Token {
            run: 0,
            index: 1,
            id: 7,
            ns: 10,
            digest: None,
            layers_ns: None,
        };
        assert!(transcript.hear(&timeless).is_err());
        transcript.hear(&end_of(0, false)).unwrap();
        assert!(transcript.hear(&end_of(0, false)).is_err());
        let forced = |pass, index| Event::Forced {
            pass,
            index,
            top: vec![],
        };
        for (pass, index) in [(0, 0), (0, 1), (1, 0)] {
            transcript.hear(&forced(pass, index)).unwrap();
        }
        for (pass, index) in [(0, 0), (1, 2), (2, 1), (3, 0)] {
            assert!(
                transcript.hear(&forced(pass, index)).is_err(),
                "{pass} {index}"
            );
        }
        let needle = |index| Event::Needle { index, ids: vec![] };
        transcript.hear(&needle(0)).unwrap();
        assert!(transcript.hear(&needle(0)).is_err());
    }
}
