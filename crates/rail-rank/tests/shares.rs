//! A model split over ranks, each a thread of this process, whose messages go through
//! channels: the arithmetic of the strategies without RDMA.

mod common;

use std::{
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::Duration,
};

use mlx_core::{Array, Dtype, Result};
use models::{Family, Folder, tiny::Weights};
use rail_bench::{
    model::{ModelSpec, Quant},
    protocol::Strategy,
    reference::least_margin,
    seeded,
};
use rail_rank::{
    Choice, Next, Session,
    collective::{Alone, Collective},
};

use common::{small_model, tiny};

const SEED: u64 = 5;

type Issued = Arc<Mutex<Vec<(&'static str, usize)>>>;

/// A rank whose messages are vectors in channels. Messages between two ranks arrive in
/// order, as jaccl's do.
struct Threaded {
    rank: usize,
    /// The operation, and the number of bytes of this rank's array.
    issued: Issued,
    to: Vec<Sender<Vec<f32>>>,
    from: Vec<Receiver<Vec<f32>>>,
}

impl Threaded {
    fn ranks(size: usize) -> Vec<Self> {
        let mut ranks: Vec<_> = (0..size)
            .map(|rank| Self {
                rank,
                issued: Issued::default(),
                to: Vec::new(),
                from: Vec::new(),
            })
            .collect();
        for source in 0..size {
            for destination in 0..size {
                let (to, from) = channel();
                ranks[source].to.push(to);
                ranks[destination].from.push(from);
            }
        }
        ranks
    }

    fn note(&self, operation: &'static str, bytes: usize) {
        self.issued.lock().unwrap().push((operation, bytes));
    }

    fn put(&self, x: &Array, destination: usize) -> Result<()> {
        let message = x.to_vec()?;
        self.to[destination]
            .send(message)
            .expect("the other rank still runs");
        Ok(())
    }

    fn get(&self, source: usize) -> Vec<f32> {
        let patience = Duration::from_secs(60);
        self.from[source]
            .recv_timeout(patience)
            .expect("the other rank sends what is expected")
    }

    /// Every rank's `x`, in order of rank.
    fn exchange(&self, x: &Array) -> Result<Vec<Vec<f32>>> {
        for destination in 0..self.size() {
            self.put(x, destination)?;
        }
        Ok((0..self.size()).map(|source| self.get(source)).collect())
    }
}

impl Collective for Threaded {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.to.len()
    }

    fn all_sum(&self, x: &Array) -> Result<Array> {
        self.note("all_sum", x.nbytes());
        let mut sum = vec![0f32; x.size()];
        for part in self.exchange(x)? {
            sum.iter_mut()
                .zip(part)
                .for_each(|(sum, value)| *sum += value);
        }
        Array::from_slice(&sum, x.shape())
    }

    fn all_gather(&self, x: &Array) -> Result<Array> {
        self.note("all_gather", x.nbytes());
        let mut shape = x.shape().to_vec();
        shape[0] *= self.size() as i32;
        Array::from_slice(&self.exchange(x)?.concat(), &shape)
    }

    fn send(&self, x: &Array, destination: usize) -> Result<Array> {
        self.note("send", x.nbytes());
        self.put(x, destination)?;
        Ok(x.clone())
    }

    fn recv(&self, shape: &[i32], dtype: Dtype, source: usize) -> Result<Array> {
        assert_eq!(dtype, Dtype::Float32);
        let message = self.get(source);
        self.note("recv", message.len() * size_of::<f32>());
        Array::from_slice(&message, shape)
    }
}

/// A token, and the logits that it was chosen from.
#[derive(Debug, PartialEq)]
struct Chosen {
    choice: Choice,
    logits: Vec<f32>,
}

impl Chosen {
    fn of(next: &Next) -> Result<Self> {
        let (choice, logits) = (next.choice()?, next.logits()?);
        assert_eq!(next.id()?, choice.token);
        Ok(Self { choice, logits })
    }
}

/// What a rank chooses after a prompt of 20 tokens.
fn choose<C: Collective>(mut session: Session<C>, vocab: usize) -> Result<Vec<Chosen>> {
    session.barrier()?;
    let mut next = session.prefill(&seeded::prompt(SEED, 20, vocab))?;
    let mut chosen = Vec::new();
    while chosen.len() < 23 {
        // Every other token is known before the next one begins.
        next = match chosen.len() % 2 {
            0 => session.follow(&next, |_| -> Result<()> {
                chosen.push(Chosen::of(&next)?);
                Ok(())
            })?,
            _ => {
                chosen.push(Chosen::of(&next)?);
                session.decode(next.id()?)?
            }
        };
    }
    chosen.push(Chosen::of(&next)?);
    Ok(chosen)
}

fn generate(strategy: Strategy, spec: &ModelSpec, ranks: impl Collective) -> Vec<Chosen> {
    let session = Session::new(strategy, spec, SEED, ranks).unwrap();
    choose(session, spec.vocab).unwrap()
}

fn generate_by(strategy: Strategy, folder: &Folder, ranks: impl Collective) -> Vec<Chosen> {
    let session = Session::open(strategy, folder, ranks).unwrap();
    choose(session, folder.config().unwrap().vocab).unwrap()
}

/// The choices of each rank.
fn split(size: usize, generate: impl Fn(Threaded) -> Vec<Chosen> + Sync) -> Vec<Vec<Chosen>> {
    let generate = &generate;
    thread::scope(|scope| {
        let ranks: Vec<_> = Threaded::ranks(size)
            .into_iter()
            .map(|rank| scope.spawn(move || generate(rank)))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

/// Requires the tokens of a single process, and margins that differ by less than the
/// minimum the launcher requires of a reference, so that no other order of additions
/// could have changed a token.
fn assert_split_alike(strategy: Strategy, spec: &ModelSpec, size: usize) {
    let rounding = least_margin(spec.dtype);
    let whole = generate(Strategy::Single, spec, Alone);
    let split = split(size, |rank| generate(strategy, spec, rank));
    for (rank, choices) in split.into_iter().enumerate() {
        for (index, (split, whole)) in choices.iter().zip(&whole).enumerate() {
            let place = format!("token {index} of rank {rank} of {size}");
            let (split, whole) = (&split.choice, &whole.choice);
            assert_eq!(split.token, whole.token, "{place}");
            let difference = (split.margin - whole.margin).abs();
            assert!(
                difference < rounding,
                "{place}: margins differ by {difference}"
            );
        }
        assert_eq!(choices.len(), whole.len());
    }
}

#[test]
fn tensor_parallel_ranks_choose_what_a_single_one_does() {
    assert_split_alike(Strategy::Tp, &small_model(None), 2);
}

#[test]
fn pipeline_ranks_choose_what_a_single_one_does() {
    assert_split_alike(Strategy::Pp, &small_model(None), 2);
    assert_split_alike(Strategy::Pp, &small_model(None), 3);
}

#[test]
fn quantised_shards_are_cut_between_groups() {
    let quant = Some(Quant {
        group_size: 32,
        bits: 4,
    });
    assert_split_alike(Strategy::Tp, &small_model(quant), 2);
}

/// The folders of every family that this engine computes.
fn folders() -> impl Iterator<Item = (tempfile::TempDir, Folder)> {
    Family::ALL.into_iter().flat_map(|family| {
        [Weights::Plain, Weights::Quantised].map(|weights| tiny(family, weights))
    })
}

#[test]
fn a_folder_in_a_pipeline_has_the_bits_of_a_single_process() {
    for (_root, folder) in folders() {
        let whole = generate_by(Strategy::Single, &folder, Alone);
        for size in [2, 3] {
            let split = split(size, |rank| generate_by(Strategy::Pp, &folder, rank));
            for (rank, choices) in split.iter().enumerate() {
                assert!(*choices == whole, "rank {rank} of {size}");
            }
        }
    }
}

#[test]
fn a_folder_that_is_split_has_the_same_bits_on_all_ranks_and_nearly_the_single_processs() {
    for (_root, folder) in folders() {
        let whole = generate_by(Strategy::Single, &folder, Alone);
        let split = split(2, |rank| generate_by(Strategy::Tp, &folder, rank));
        assert!(split[0] == split[1]);
        for (index, (split, whole)) in split[0].iter().zip(&whole).enumerate() {
            let greatest = whole
                .logits
                .iter()
                .fold(0f32, |it, logit| it.max(logit.abs()));
            let pairs = split.logits.iter().zip(&whole.logits);
            let difference = pairs.map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(difference < 1e-5 * greatest, "token {index}: {difference}");
            if split.choice.token != whole.choice.token {
                // From here on they continue different texts.
                break;
            }
        }
    }
}

#[test]
fn a_rank_of_a_folder_has_its_share_of_the_weights() {
    for (_root, folder) in folders() {
        let whole = Session::open(Strategy::Single, &folder, Alone).unwrap();
        assert_eq!(whole.weight_bytes(), folder.bytes());
        for rank in Threaded::ranks(2) {
            let shares = folder.shares(rank.rank, 2).unwrap();
            let expected: usize = shares.iter().map(|it| it.bytes).sum();
            let session = Session::open(Strategy::Tp, &folder, rank).unwrap();
            assert_eq!(session.weight_bytes(), expected);
        }
    }
}

/// The operations that each of two ranks issues for a prompt of 20 tokens and for the
/// next token.
fn issued(strategy: Strategy, spec: &ModelSpec) -> Vec<[Vec<(&'static str, usize)>; 2]> {
    let ask = move |rank: Threaded| {
        let issued = Arc::clone(&rank.issued);
        let mut session = Session::new(strategy, spec, 0, rank).unwrap();
        let next = session.prefill(&seeded::prompt(0, 20, spec.vocab)).unwrap();
        let choice = next.choice().unwrap();
        let prefill = std::mem::take(&mut *issued.lock().unwrap());
        session.decode(choice.token).unwrap().id().unwrap();
        let decode = std::mem::take(&mut *issued.lock().unwrap());
        [prefill, decode]
    };
    thread::scope(|scope| {
        let ranks: Vec<_> = Threaded::ranks(2)
            .into_iter()
            .map(|rank| scope.spawn(move || ask(rank)))
            .collect();
        ranks.into_iter().map(|rank| rank.join().unwrap()).collect()
    })
}

#[test]
fn a_tensor_parallel_layer_takes_two_all_sums() {
    let spec = small_model(None);
    let row = spec.message_bytes();
    let decode = vec![("all_sum", row); 2 * spec.layers];
    // Of the last layer, only the last position's result is needed.
    let mut prefill = vec![("all_sum", 20 * row); 2 * (spec.layers - 1)];
    prefill.extend([("all_sum", row); 2]);
    let expected = [prefill, decode];
    assert_eq!(issued(Strategy::Tp, &spec), [expected.clone(), expected]);
}

#[test]
fn a_pipeline_step_takes_one_message_and_one_all_gather() {
    let spec = small_model(None);
    let row = spec.message_bytes();
    let expected = ["send", "recv"]
        .map(|side| [20 * row, row].map(|bytes| vec![(side, bytes), ("all_gather", row)]));
    assert_eq!(issued(Strategy::Pp, &spec), expected);
}
