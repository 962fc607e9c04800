//! The messages between the launcher and a rank.
//!
//! The launcher writes a [`Job`] for each rank to a file and starts the rank with `--job
//! FILE`. The rank reports on stdout with one [`Event`] a line, in JSON, flushed. Its
//! stderr is free text for people. A rank has succeeded when it has reported
//! [`Event::Done`] and exited with status 0.
//!
//! An event also shows that the rank is alive: the watchdog of [`mod@crate::launch`]
//! measures the time since the last one of any rank. In the other direction, a rank's
//! open stdin shows that the launcher is alive: see [`end_with_launcher`].
//!
//! A rank's first event is [`Event::Loaded`]. A rank that fails before that reports
//! [`Event::Error`].

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
    str::FromStr,
    thread,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{model::ModelSpec, seeded};

/// The parallel strategy: how the model is spread over the ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Tensor parallel: each layer is split, two all-reduces a layer.
    Tp,
    /// Pipeline parallel: each rank has consecutive layers, activations are sent forward,
    /// one all-gather a token.
    Pp,
    /// One rank, no communication: the reference.
    Single,
}

impl Strategy {
    /// The strategies that spread a model over several ranks.
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

/// The error for a word that is not the name of a strategy in [`Strategy::SPREAD`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown strategy {0:?}; the values are tp, pp")]
pub struct UnknownStrategy(String);

impl FromStr for Strategy {
    type Err = UnknownStrategy;

    /// Reads one of [`Strategy::SPREAD`]. The reference cannot be requested, since every
    /// run has it.
    fn from_str(name: &str) -> Result<Self, UnknownStrategy> {
        let mut spread = Self::SPREAD.into_iter();
        spread
            .find(|strategy| strategy.name() == name)
            .ok_or_else(|| UnknownStrategy(name.to_owned()))
    }
}

/// The configuration of a rank. Addresses and devices come by environment variables.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The parallel strategy.
    pub strategy: Strategy,
    /// The rank that gets this job.
    pub rank: usize,
    /// The number of ranks in the job; 1 for [`Strategy::Single`].
    pub ranks: usize,
    /// The model.
    pub model: JobModel,
    /// Seeds the weights of a [`JobModel::Preset`] and the ids of a [`Prompt::Seeded`], the
    /// same on every rank.
    pub seed: u64,
    /// The prompt.
    pub prompt: Prompt,
    /// Tokens that are in the cache before the prompt: the ids of
    /// [`filler`](seeded::filler), processed as a prompt is, before the clock starts.
    #[serde(default)]
    pub depth: usize,
    /// The most tokens that are processed in one step of prefill. Without it, the engine's
    /// own: see its documentation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefill_step: Option<usize>,
    /// Tokens to generate in a run, the first included.
    pub generation_tokens: usize,
    /// The number of runs before the measured ones.
    pub warmup: usize,
    /// The number of measured runs.
    pub repeat: usize,
    /// The number of runs of each [`Pass`], after the measured ones.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub split: usize,
    /// Whether the other ranks are absent. This one then computes its share, and messages are
    /// left out as in [`Pass::Without`], so its tokens mean nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub alone: bool,
    /// What follows the last run.
    #[serde(default, skip_serializing_if = "After::is_nothing")]
    pub after: After,
}

/// What a rank does after its last run, for the checks. Nothing of it is measured.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// Passes over the prompt in which the tokens are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced: Option<Forced>,
    /// Other prompts to continue.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needles: Vec<Needle>,
}

impl After {
    /// Whether nothing follows the last run.
    pub fn is_nothing(&self) -> bool {
        self.forced.is_none() && self.needles.is_empty()
    }
}

/// Passes over the prompt in which every token is given, whatever the logits
/// (teacher-forcing), so that the logits of different processes stay comparable after a
/// close choice. Each reports an [`Event::Forced`] a token.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forced {
    /// The tokens, as many as a run generates. Without them, those of the rank's first run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Vec<u32>>,
    /// The number of passes after the first in which the sums that TP splits are split once
    /// more, at random: see [`crate::checks::logits`]. The passes differ among themselves, and
    /// not between ranks.
    #[serde(default)]
    pub nudged: usize,
}

/// A prompt and how much of its continuation is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needle {
    /// The ids of the prompt.
    pub prompt: Vec<u32>,
    /// Tokens to generate.
    pub generation_tokens: usize,
}

/// The greatest logits of a token with their ids, in descending order; of equals the one
/// with the smallest id is first. Empty if a logit is not a finite number.
pub type Top = Vec<(u32, f32)>;

/// The length of a [`Top`], where the vocabulary is no smaller.
pub const TOP: usize = 6;

/// The greatest of a token's logits.
pub fn top(logits: &[f32]) -> Top {
    if !logits.iter().all(|logit| logit.is_finite()) {
        return Top::new();
    }
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let logit = |id: u32| logits[id as usize];
    let order = |a: &u32, b: &u32| logit(*b).total_cmp(&logit(*a)).then(a.cmp(b));
    let length = TOP.min(ids.len());
    if length < ids.len() {
        ids.select_nth_unstable_by(length, order);
        ids.truncate(length);
    }
    ids.sort_unstable_by(order);
    ids.into_iter().map(|id| (id, logit(id))).collect()
}

fn is_zero(number: &usize) -> bool {
    *number == 0
}

fn is_false(flag: &bool) -> bool {
    !flag
}

/// A way to run that shows where the time goes, and that takes another time than a
/// measured run.
///
/// In both a rank waits for its peers before a run begins, as before a measured one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pass {
    /// Messages are left out: a sum is the rank's own part, a gathering this part several
    /// times, and what would be received is zeros. What remains is what the rank computes,
    /// in the way in which the engine computes it. Its tokens mean nothing.
    Without,
    /// Each message is evaluated by itself, when its input has been computed and its peers
    /// are ready. To find out that they are, one number is exchanged before it in the same
    /// way, twice: the first time has the waiting in it, and the second time has what such
    /// an exchange itself takes.
    Apart,
}

impl Pass {
    /// Both, in the order in which a rank runs them.
    pub const ALL: [Self; 2] = [Self::Without, Self::Apart];

    /// The passes of a strategy. One rank has no messages to evaluate.
    pub fn of(strategy: Strategy) -> &'static [Self] {
        match strategy {
            Strategy::Single => &Self::ALL[..1],
            Strategy::Tp | Strategy::Pp => &Self::ALL,
        }
    }
}

/// The model of a job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobModel {
    /// A shape whose weights come from the job's seed.
    Preset(ModelSpec),
    /// A folder as mlx-lm reads it: `config.json` and `model*.safetensors`.
    Folder(PathBuf),
}

/// The prompt of a job. An engine sees ids and no text: the launcher turns text into ids
/// and ids into text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prompt {
    /// Ids drawn from the job's seed, below the size of the vocabulary.
    Seeded {
        /// How many.
        tokens: usize,
    },
    /// These ids.
    Ids(Vec<u32>),
}

impl Prompt {
    /// The number of tokens.
    pub fn tokens(&self) -> usize {
        match self {
            Self::Seeded { tokens } => *tokens,
            Self::Ids(ids) => ids.len(),
        }
    }

    /// The ids, for a model with a vocabulary of this size.
    pub fn ids(&self, seed: u64, vocab: usize) -> Vec<u32> {
        match self {
            Self::Seeded { tokens } => seeded::prompt(seed, *tokens, vocab),
            Self::Ids(ids) => ids.clone(),
        }
    }
}

/// The phase of a rank in its job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Generating or reading the weights.
    Load,
    /// Joining the distributed group.
    Init,
    /// Filling the cache up to the job's depth, before every run. It has ended on every rank
    /// when the run begins.
    Fill,
    /// A run that is not measured.
    Warmup,
    /// A measured run.
    Run,
    /// What follows the last run.
    Check,
    /// A run of a [`Pass`].
    Split,
}

/// A line of a rank's stdout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// The rank's first event: the build of MLX that its process has loaded.
    Loaded {
        /// The build's key, which its library contains.
        build: String,
    },
    /// A phase begins. [`Phase::Warmup`], [`Phase::Run`] and [`Phase::Split`] are reported
    /// at the start of every run of their kind.
    Phase {
        /// The phase.
        phase: Phase,
    },
    /// A token was generated, in a measured run or a warm-up run.
    Token {
        /// The run, from 0, warm-up runs included.
        run: usize,
        /// The token's position in the run, from 0. The first token comes from prefill.
        index: usize,
        /// The token's id.
        id: u32,
        /// Nanoseconds since the run's start, which follows a barrier. For index 0 this
        /// is the time to first token.
        ns: u64,
        /// Names the bits of the logits that the token was chosen from: the first 16
        /// hexadecimal digits of the SHA-256 of the logits as 32-bit little-endian floats.
        /// Absent on a rank that has no logits.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        digest: Option<String>,
        /// With [`Strategy::Pp`], nanoseconds that the rank's layers took for the token; for
        /// index 0, for the last step of the prompt. The rest of a token's time is spent on all
        /// ranks at once: gathering, choosing the token, reporting it. Absent where an engine
        /// does not know it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        layers_ns: Option<u64>,
    },
    /// A run ended.
    Run {
        /// The run, from 0, warm-up runs included.
        run: usize,
        /// Whether it was a warm-up.
        warmup: bool,
        /// The number of prompt tokens it prefilled.
        prompt_tokens: usize,
        /// The smallest margin of any token: the distance of its logit from the second
        /// largest, as a fraction of the greatest magnitude of any logit. Rounding errors
        /// below it cannot change a token. NaN if any logit was NaN, written as the
        /// string `"NaN"`, because JSON has no such number. Absent on a rank that has no
        /// logits.
        #[serde(default, skip_serializing_if = "Option::is_none", with = "margin")]
        min_margin: Option<f32>,
    },
    /// The rank failed, with MLX's or jaccl's message.
    Error {
        /// The message.
        message: String,
    },
    /// The greatest logits of a token in a pass of [`Forced`].
    Forced {
        /// The pass, from 0. The first is not nudged.
        pass: usize,
        /// The token's position, from 0.
        index: usize,
        /// The logits.
        top: Top,
    },
    /// How a [`Needle`] continues.
    Needle {
        /// The needle, from 0.
        index: usize,
        /// The ids of the tokens.
        ids: Vec<u32>,
    },
    /// A token was generated in a run of a pass: where the time since the token before it
    /// went, or since the run's start.
    Lap {
        /// The pass.
        pass: Pass,
        /// The run, from 0 in each pass.
        run: usize,
        /// The token's position in the run, from 0.
        index: usize,
        /// What it took.
        #[serde(flatten)]
        spent: Spent,
    },
    /// What the rank took until its last measured run, reported once, before [`Phase::Split`],
    /// [`Phase::Check`] and [`Event::Done`].
    Usage {
        /// Nanoseconds from the start of [`Phase::Load`] until the rank's share of the
        /// model was in memory.
        load_ns: u64,
        /// The most bytes that MLX's arrays took at one time.
        peak_bytes: u64,
        /// Bytes of the weights of the rank's share.
        weight_bytes: u64,
    },
    /// The rank ends normally.
    Done,
}

/// Nanoseconds of a rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// All of them.
    pub ns: u64,
    /// Of these, those in which the rank waited for MLX to evaluate.
    pub evaluating_ns: u64,
    /// In [`Pass::Apart`], those in which it waited for peers that were not ready.
    pub waiting_ns: u64,
    /// In [`Pass::Apart`], those in which it waited for a message whose input was computed
    /// and whose peers were ready.
    pub message_ns: u64,
}

/// The `digest` of [`Event::Token`].
pub fn digest(logits: &[f32]) -> String {
    let mut hash = Sha256::new();
    for logit in logits {
        hash.update(logit.to_le_bytes());
    }
    let bytes = hash.finalize();
    bytes[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

impl Event {
    /// Writes the event as one line and flushes it.
    ///
    /// # Errors
    /// The errors of writing, for example if the launcher is gone.
    pub fn emit(&self, mut out: impl Write) -> io::Result<()> {
        let line = serde_json::to_string(self).expect("an event is plain data");
        writeln!(out, "{line}")?;
        out.flush()
    }

    /// Reads one line.
    ///
    /// # Errors
    /// If the line is not an event.
    pub fn parse(line: &str) -> serde_json::Result<Self> {
        serde_json::from_str(line)
    }
}

/// A margin in JSON: a number, or `"NaN"`.
pub(crate) mod margin {
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

    pub(crate) fn serialize<S: Serializer>(
        margin: &Option<f32>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let margin = margin.map(|margin| match margin.is_nan() {
            true => Margin::NotANumber(NotANumber::NaN),
            false => Margin::Number(margin),
        });
        margin.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<f32>, D::Error> {
        let margin = Option::<Margin>::deserialize(deserializer)?;
        Ok(margin.map(|margin| match margin {
            Margin::Number(margin) => margin,
            Margin::NotANumber(NotANumber::NaN) => f32::NAN,
        }))
    }
}

/// Makes this process end when its launcher is gone, even if the launcher was killed and
/// could end nothing itself. A rank calls this first.
///
/// The launcher holds the other end of the rank's stdin and never writes to it; the
/// system closes it with the launcher. The rank then ends by SIGKILL, because a rank
/// stuck in a collective would also be stuck in its exit handlers.
pub fn end_with_launcher() {
    thread::spawn(|| {
        // The end of stdin and an error in it mean the same: the launcher is gone.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        eprintln!("stdin closed, so the launcher is gone: this rank ends");
        let me = rustix::process::getpid();
        let _ = rustix::process::kill_process(me, rustix::process::Signal::KILL);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Preset;

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
                    digest: None,
                    layers_ns: None,
                },
                "{\"event\":\"token\",\"run\":1,\"index\":0,\"id\":17,\"ns\":123}\n",
            ),
            (
                Event::Token {
                    run: 1,
                    index: 1,
                    id: 17,
                    ns: 123,
                    digest: Some("00ff".into()),
                    layers_ns: Some(7),
                },
                "{\"event\":\"token\",\"run\":1,\"index\":1,\"id\":17,\"ns\":123,\
                 \"digest\":\"00ff\",\"layers_ns\":7}\n",
            ),
            (
                Event::Usage {
                    load_ns: 1,
                    peak_bytes: 2,
                    weight_bytes: 3,
                },
                "{\"event\":\"usage\",\"load_ns\":1,\"peak_bytes\":2,\"weight_bytes\":3}\n",
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
                Event::Forced {
                    pass: 1,
                    index: 2,
                    top: vec![(9, 2.5), (3, -1.0)],
                },
                "{\"event\":\"forced\",\"pass\":1,\"index\":2,\"top\":[[9,2.5],[3,-1.0]]}\n",
            ),
            (
                Event::Needle {
                    index: 0,
                    ids: vec![4, 2],
                },
                "{\"event\":\"needle\",\"index\":0,\"ids\":[4,2]}\n",
            ),
            (
                Event::Error {
                    message: "[jaccl]\nbad".into(),
                },
                "{\"event\":\"error\",\"message\":\"[jaccl]\\nbad\"}\n",
            ),
            (
                Event::Lap {
                    pass: Pass::Apart,
                    run: 0,
                    index: 1,
                    spent: Spent {
                        ns: 9,
                        evaluating_ns: 7,
                        waiting_ns: 2,
                        message_ns: 3,
                    },
                },
                "{\"event\":\"lap\",\"pass\":\"apart\",\"run\":0,\"index\":1,\"ns\":9,\
                 \"evaluating_ns\":7,\"waiting_ns\":2,\"message_ns\":3}\n",
            ),
            (Event::Done, "{\"event\":\"done\"}\n"),
        ];
        for (event, text) in events {
            assert_eq!(line(&event), text);
            assert_eq!(Event::parse(text).unwrap(), event);
        }
    }

    #[test]
    fn a_job_reads_back_whatever_its_model_and_prompt() {
        let job = Job {
            strategy: Strategy::Pp,
            rank: 1,
            ranks: 2,
            model: JobModel::Preset(Preset::ALL[0].spec),
            seed: 7,
            prompt: Prompt::Seeded { tokens: 9 },
            depth: 0,
            prefill_step: None,
            generation_tokens: 2,
            warmup: 0,
            repeat: 1,
            after: After::default(),
            split: 0,
            alone: false,
        };
        let other = Job {
            model: JobModel::Folder("/models/a".into()),
            prompt: Prompt::Ids(vec![5, 0, 7]),
            depth: 4,
            alone: true,
            prefill_step: Some(2048),
            after: After {
                forced: Some(Forced {
                    tokens: Some(vec![1, 2]),
                    nudged: 0,
                }),
                needles: vec![Needle {
                    prompt: vec![8],
                    generation_tokens: 3,
                }],
            },
            split: 3,
            ..job.clone()
        };
        for (job, texts) in [
            (
                &job,
                &[
                    r#""prompt":{"seeded":{"tokens":9}}"#,
                    r#""model":{"preset":{"layers":"#,
                ][..],
            ),
            (
                &other,
                &[
                    r#""prompt":{"ids":[5,0,7]},"depth":4,"prefill_step":2048"#,
                    r#""model":{"folder":"/models/a"}"#,
                    r#""split":3"#,
                ],
            ),
        ] {
            let text = serde_json::to_string(job).unwrap();
            assert_eq!(text.contains("after"), job == &other, "{text}");
            assert_eq!(text.contains("split"), job.split > 0, "{text}");
            assert!(texts.iter().all(|part| text.contains(part)), "{text}");
            assert_eq!(&serde_json::from_str::<Job>(&text).unwrap(), job);
        }
        assert_eq!(other.prompt.ids(7, 100), [5, 0, 7]);
        assert_eq!(job.prompt.ids(7, 100).len(), 9);
    }

    #[test]
    fn the_greatest_logits_are_in_order_and_of_finite_numbers() {
        assert_eq!(top(&[1.0, 3.0, 3.0]), [(1, 3.0), (2, 3.0), (0, 1.0)]);
        let many: Vec<f32> = (0..100).map(|id| (id * 37 % 100) as f32).collect();
        let ids: Vec<f32> = top(&many).into_iter().map(|(_, logit)| logit).collect();
        assert_eq!(ids, [99.0, 98.0, 97.0, 96.0, 95.0, 94.0]);
        for odd in [f32::NAN, f32::INFINITY] {
            assert!(top(&[1.0, odd, 2.0]).is_empty());
        }
    }

    #[test]
    fn a_digest_is_of_the_bits_of_the_logits() {
        // printf '\0\0\200\77' | sha256sum
        assert_eq!(digest(&[1.0]), "e00e5eb9444182f3");
        assert_ne!(digest(&[0.0]), digest(&[-0.0]));
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
