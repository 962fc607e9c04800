//! What the launcher and a rank say to each other.
//!
//! The launcher writes one [`Job`] a rank to a file and starts the rank with
//! `--job FILE`. The rank answers on stdout with one [`Event`] a line, in JSON,
//! flushed. Its stderr is free text for people. A rank is well when it has said
//! [`Event::Done`] and exited with status 0.
//!
//! An event is also a sign of life: the watchdog of [`mod@crate::launch`]
//! measures the time since the last one of any rank. The other way round, a
//! rank's stdin is the launcher's sign of life: see [`end_with_launcher`].
//!
//! A rank's first event is [`Event::Loaded`]. A rank that cannot get that far
//! says [`Event::Error`].

use std::{
    fmt,
    io::{self, Write},
    str::FromStr,
    thread,
};

use serde::{Deserialize, Serialize};

use crate::model::ModelSpec;

/// How the model is spread over the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Tensor parallel: each layer is split, two all-reduces a layer.
    Tp,
    /// Pipeline parallel: consecutive layers a rank, activations sent forward,
    /// one all-gather a token.
    Pp,
    /// One rank, no communication: the reference.
    Single,
}

impl Strategy {
    /// Those that spread a model over several ranks.
    pub const SPREAD: [Self; 2] = [Self::Tp, Self::Pp];

    /// `tp`, `pp` or `single`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tp => "tp",
            Self::Pp => "pp",
            Self::Single => "single",
        }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is the name of no [`Strategy`] of [`Strategy::SPREAD`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown strategy {0:?}; the values are tp, pp")]
pub struct UnknownStrategy(String);

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    /// Reads one of [`Strategy::SPREAD`]: nobody asks for the reference, since every
    /// run has it.
    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        let mut spread = Self::SPREAD.into_iter();
        spread
            .find(|strategy| strategy.name() == name)
            .ok_or_else(|| UnknownStrategy(name.to_owned()))
    }
}

/// All that a rank needs to know. The communication comes by environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// How the model is spread.
    pub strategy: Strategy,
    /// This rank.
    pub rank: usize,
    /// Ranks in the job; 1 for [`Strategy::Single`].
    pub ranks: usize,
    /// The model to make.
    pub model: ModelSpec,
    /// Seeds the weights and the prompt, alike on every rank.
    pub seed: u64,
    /// Length of the prompt in tokens.
    pub prompt_tokens: usize,
    /// Tokens to generate in a run, the first included.
    pub generation_tokens: usize,
    /// Runs before the measured ones.
    pub warmup: usize,
    /// Measured runs.
    pub repeat: usize,
}

/// Where a rank is in its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Making or reading the weights.
    Load,
    /// Joining the distributed group.
    Init,
    /// In a run that is not measured.
    Warmup,
    /// In a measured run.
    Run,
}

/// A line of a rank's stdout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The rank's first event: which build of MLX its process has loaded.
    Loaded {
        /// The build's key, which its library carries.
        build: String,
    },
    /// A phase begins. [`Phase::Warmup`] and [`Phase::Run`] are said at the
    /// start of every run of their kind.
    Phase {
        /// Which.
        phase: Phase,
    },
    /// A token was generated. Said of measured runs and of warm-up runs alike.
    Token {
        /// The run, from 0, warm-up runs included.
        run: usize,
        /// The token's place in the run, from 0. The first comes from prefill.
        index: usize,
        /// The token.
        id: u32,
        /// Nanoseconds since the run's start, which follows a barrier. Of index
        /// 0 this is the time to first token.
        ns: u64,
    },
    /// A run ended.
    Run {
        /// The run, from 0, warm-up runs included.
        run: usize,
        /// Whether it was a warm-up.
        warmup: bool,
        /// Prompt tokens it prefilled.
        prompt_tokens: usize,
        /// The least margin of any token: by how much its logit exceeded the
        /// second largest, as a fraction of the greatest magnitude of any logit.
        /// So much rounding would it take to change a token. NaN when some logit
        /// was, written as the string `"NaN"`, which JSON's numbers lack. Absent
        /// on a rank that has no logits.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "margin")]
        min_margin: Option<f32>,
    },
    /// The rank failed, in MLX's or jaccl's own words.
    Error {
        /// The words.
        message: String,
    },
    /// The rank ends as it should.
    Done,
}

impl Event {
    /// Writes the event as one line and flushes it.
    ///
    /// # Errors
    /// Whatever writing gives, such as a launcher that is gone.
    pub fn emit(&self, mut out: impl Write) -> io::Result<()> {
        let line = serde_json::to_string(self).expect("an event is plain data");
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// Reads one line.
    ///
    /// # Errors
    /// When the line is no event.
    pub fn parse(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }
}

/// A margin in JSON: a number, or `"NaN"`.
mod margin {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Margin {
        Number(f32),
        NotANumber(NotANumber),
    }

    #[derive(Serialize, Deserialize)]
    enum NotANumber {
        NaN,
    }

    pub(super) fn serialize<S: Serializer>(
        margin: &Option<f32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let margin = margin.map(|margin| match margin.is_nan() {
            true => Margin::NotANumber(NotANumber::NaN),
            false => Margin::Number(margin),
        });
        margin.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f32>, D::Error> {
        let margin = Option::<Margin>::deserialize(deserializer)?;
        Ok(margin.map(|margin| match margin {
            Margin::Number(margin) => margin,
            Margin::NotANumber(NotANumber::NaN) => f32::NAN,
        }))
    }
}

/// Makes this process end when its launcher is gone, even when that was killed
/// and could end nothing itself. For a rank to call first.
///
/// The launcher holds the other end of the rank's stdin and never writes to it;
/// the system closes it with the launcher. The rank then ends by SIGKILL: a
/// rank stuck in a collective would also be stuck in its exit handlers.
pub fn end_with_launcher() {
    thread::spawn(|| {
        // The end of stdin and an error in it mean the same: nobody is there.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        eprintln!("stdin closed, so the launcher is gone: this rank ends");
        let me = rustix::process::getpid();
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &Event) -> String {
        let mut out = Vec::new();
        event.emit(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn an_event_is_one_line_that_reads_back() {
        let events = [
            (
                Event::Loaded {
                    build: "k3y".into(),
                },
                "{\"event\":\"loaded\",\"build\":\"k3y\"}\n",
            ),
            (
                Event::Phase { phase: Phase::Init },
                "{\"event\":\"phase\",\"phase\":\"init\"}\n",
            ),
            (
                Event::Token {
                    run: 1,
                    index: 0,
                    id: 17,
                    ns: 123,
                },
                "{\"event\":\"token\",\"run\":1,\"index\":0,\"id\":17,\"ns\":123}\n",
            ),
            (
                Event::Run {
                    run: 1,
                    warmup: false,
                    prompt_tokens: 128,
                    min_margin: None,
                },
                "{\"event\":\"run\",\"run\":1,\"warmup\":false,\"prompt_tokens\":128}\n",
            ),
            (
                Event::Error {
                    message: "[jaccl]\nbad".into(),
                },
                "{\"event\":\"error\",\"message\":\"[jaccl]\\nbad\"}\n",
            ),
            (Event::Done, "{\"event\":\"done\"}\n"),
        ];
        for (event, text) in events {
            assert_eq!(line(&event), text);
            assert_eq!(Event::parse(text).unwrap(), event);
        }
    }

    #[test]
    fn a_margin_that_is_not_a_number_reads_back_as_one() {
        let event = |margin| Event::Run {
            run: 0,
            warmup: false,
            prompt_tokens: 8,
            min_margin: Some(margin),
        };
        let text = line(&event(f32::NAN));
        assert!(text.contains(r#""min_margin":"NaN""#), "{text}");
        let Event::Run {
            min_margin: Some(margin),
            ..
        } = Event::parse(&text).unwrap()
        else {
            panic!("{text}")
        };
        assert!(margin.is_nan());
        let number = event(0.125);
        assert_eq!(Event::parse(&line(&number)).unwrap(), number);
        assert!(Event::parse(&text.replace("NaN", "much")).is_err());
    }

    #[test]
    fn a_strategy_is_read_by_its_name_and_the_reference_is_none_to_ask_for() {
        for strategy in Strategy::SPREAD {
            assert_eq!(strategy.name().parse(), Ok(strategy));
        }
        assert!("single".parse::<Strategy>().is_err());
    }

    #[test]
    fn a_newer_ranks_extra_fields_are_no_error() {
        let text =
            r#"{"event":"run","run":0,"warmup":true,"prompt_tokens":8,"min_margin":0.5,"peak":1}"#;
        assert_eq!(
            Event::parse(text).unwrap(),
            Event::Run {
                run: 0,
                warmup: true,
                prompt_tokens: 8,
                min_margin: Some(0.5)
            }
        );
    }
}
