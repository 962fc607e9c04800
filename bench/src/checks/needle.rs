//! The check `needle`: a sentence that a long prompt hides must come back.
//!
//! The prompts are longer and shorter than a step of prefill, because what goes wrong between
//! two steps shows in no shorter prompt: reported were right texts up to one step and
//! garbage beyond (ml-explore/mlx 4342, exo 2270). Each hides a number among sentences
//! that repeat and asks for it, as in arXiv:2305.16300, and each has a number of its own, so
//! that what is left of an earlier prompt answers no later one.

use std::fmt;

use models::Tokenizer;

use crate::{protocol::Needle, seeded};

/// Lengths of the prompts, in steps of prefill.
const STEPS: [f64; 3] = [0.5, 1.5, 2.5];

/// Enough for the digits, where each is a token of its own.
const ANSWER_TOKENS: usize = 8;

const HAY: &str = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and \
                   back again.\n";
const QUESTION: &str = "What is the pass key? The pass key is";

fn hidden(key: u64) -> String {
    format!("The pass key is {key}. Remember it. {key} is the pass key.\n")
}

/// The prompts, and what turns their continuations into text.
#[derive(Debug, Clone)]
pub struct Needles {
    tokenizer: Tokenizer,
    hidden: Vec<Hidden>,
}

#[derive(Debug, Clone)]
struct Hidden {
    steps: f64,
    key: String,
    needle: Needle,
}

/// Why there are no prompts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NeedleError {
    /// The shortest prompt is shorter than the sentence and the question.
    #[error(
        "half a prefill step of {step} tokens has no room for the {least} tokens of a needle and \
         its question"
    )]
    NoRoom {
        /// The step.
        step: usize,
        /// Tokens of the shortest prompt.
        least: usize,
    },
    /// The longest prompt is longer than the model's context.
    #[error(transparent)]
    Context(models::Error),
    /// The tokenizer does not work.
    #[error(transparent)]
    Tokenizer(#[from] models::Error),
}

impl NeedleError {
    /// The remedy.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::NoRoom { least, .. } => {
                Some(format!("pass --prefill-step {} or more", 2 * least))
            }
            Self::Context(error) => {
                let step = "pass a smaller --prefill-step: the longest needle has 2.5 steps";
                Some(match error.help() {
                    None => step.to_owned(),
                    Some(help) => format!("{step}; {help}"),
                })
            }
            Self::Tokenizer(error) => error.help(),
        }
    }
}

impl Needles {
    /// The prompts of a model for a step of prefill.
    ///
    /// # Errors
    /// The model has no tokenizer, the step is too short for a needle, or the longest
    /// prompt is longer than the model's context.
    pub fn new(folder: &models::Folder, step: usize, seed: u64) -> Result<Self, NeedleError> {
        let tokenizer = Tokenizer::open(folder.path())?;
        let longest = (STEPS[STEPS.len() - 1] * step as f64) as usize;
        let fits = folder.check_length(longest, ANSWER_TOKENS);
        fits.map_err(NeedleError::Context)?;
        let hidden = STEPS.iter().map(|&steps| {
            let key = 10_000 + seeded::hash(seed, &format!("needle.{steps}")) % 90_000;
            let prompt = prompt(&tokenizer, key, (steps * step as f64) as usize)?;
            let needle = prompt.ok_or_else(|| {
                let least = tokenizer.encode(&[&*hidden(key), QUESTION].concat());
                least.map(|least| NeedleError::NoRoom {
                    step,
                    least: least.len(),
                })
            });
            match needle {
                Ok(prompt) => Ok(Hidden {
                    steps,
                    key: key.to_string(),
                    needle: Needle {
                        prompt,
                        generation_tokens: ANSWER_TOKENS,
                    },
                }),
                Err(why) => Err(why?),
            }
        });
        let hidden = hidden.collect::<Result<_, NeedleError>>()?;
        Ok(Self { tokenizer, hidden })
    }

    /// What a rank is asked.
    pub fn asked(&self) -> Vec<Needle> {
        self.hidden.iter().map(|it| it.needle.clone()).collect()
    }

    /// The first needle that a rank did not find, in words.
    pub fn first_lost(&self, rank: usize, said: &[Vec<u32>]) -> Option<String> {
        if said.len() != self.hidden.len() {
            let (said, asked) = (said.len(), self.hidden.len());
            return Some(format!("rank {rank} continued {said} of {asked} needles"));
        }
        self.hidden.iter().zip(said).find_map(|(hidden, ids)| {
            // An id without a token is no answer.
            let text = self.tokenizer.decode(ids).unwrap_or_default();
            let lost = !text.contains(&hidden.key);
            lost.then(|| {
                format!(
                    "rank {rank}, {hidden}: {:?} came back as {text:?}",
                    hidden.key
                )
            })
        })
    }
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { steps, needle, .. } = self;
        let tokens = needle.prompt.len();
        write!(f, "needle in {tokens} tokens, {steps} prefill steps")
    }
}

/// A prompt of at most this many tokens with the sentence in its middle; `None` if there are too few.
fn prompt(tokenizer: &Tokenizer, key: u64, most: usize) -> models::Result<Option<Vec<u32>>> {
    let with = |hay: usize| {
        let (before, after) = (HAY.repeat(hay / 2), HAY.repeat(hay - hay / 2));
        tokenizer.encode(&[&before, &hidden(key), &after, QUESTION].concat())
    };
    let least = with(0)?.len();
    let Some(room) = most.checked_sub(least) else {
        return Ok(None);
    };
    // A tokenizer may join the ends of two sentences, so one alone may be longer.
    let each = with(9)?.len().saturating_sub(with(1)?.len()).max(8) / 8;
    let mut hay = room / each.max(1);
    loop {
        let ids = with(hay)?;
        match hay {
            hay if ids.len() <= most || hay == 0 => return Ok(Some(ids)),
            _ => hay -= 1,
        }
    }
}
