//! The check `logits`: how far real weights may lead TP away from a single process.
//!
//! TP adds partial sums that one process adds in one go, in the type of the activations. With
//! real weights two logits may be so close that this chooses another token, and from there
//! on the texts have nothing in common. So the tokens are not compared: every process is
//! given the reference's tokens (teacher-forcing), and the logits of each position are.
//!
//! # How far a logit may move
//! This depends on the model: on its depth, and on the type of its activations above all. It is
//! measured on the model itself. The reference repeats its tokens, and each sum that TP
//! splits is cut in two parts at random, about as large as partial sums are, each rounded to
//! the type of the sum and added again: that is what TP does to it. The greatest movement of
//! any of the greatest logits is the *noise*. A logit may move by [`FACTOR`] times the noise:
//!
//! - the greatest of some hundred draws is not the greatest there is,
//! - more than two ranks cut a sum more than once,
//! - products of other shapes are blocked differently, which in 32-bit floats moves a sum
//!   about as far as the cut does.
//!
//! A wrong message moves logits by about their own size, which is more by orders of
//! magnitude in 32-bit floats and by one in bfloat16.
//!
//! # The rule
//! At no position may one of the greatest logits move by more than that. Where the
//! reference leads by more than twice as much, the greatest logit must be of the same token.

use crate::protocol::Top;

/// Passes of the reference with nudged sums.
pub const NUDGED: usize = 2;

/// How far a logit may move, in units of the noise.
pub const FACTOR: f32 = 8.0;

/// Rounding of the logits themselves, as a part of the greatest: below it no movement means
/// anything.
const FLOOR: f32 = 8.0 * f32::EPSILON;

/// How far the greatest logits of two processes are apart, as far as both lists show it.
///
/// A token that only one list has is at most as great as the least of the other list.
pub fn movement(a: &Top, b: &Top) -> f32 {
    one_way(a, b).max(one_way(b, a))
}

fn one_way(from: &Top, to: &Top) -> f32 {
    let least = to.last().map_or(f32::INFINITY, |(_, least)| *least);
    let moved = from.iter().map(|&(id, logit)| {
        let other = to.iter().find(|(other, _)| *other == id);
        match other {
            Some((_, other)) => (logit - other).abs(),
            None => logit - least,
        }
    });
    moved.fold(0.0, f32::max)
}

/// The noise of a model: the greatest movement between a forced pass and those after it,
/// which are nudged. `None` if there are none, or a logit is not a number.
pub fn noise(passes: &[Vec<Top>]) -> Option<f32> {
    let (plain, nudged) = passes.split_first()?;
    if nudged.is_empty() || passes.iter().flatten().any(Top::is_empty) {
        return None;
    }
    let moved = nudged.iter().flat_map(|pass| pass.iter().zip(plain));
    moved.map(|(a, b)| movement(a, b)).reduce(f32::max)
}

/// How far a logit may move at a position.
fn allowed(noise: f32, reference: &Top) -> f32 {
    let greatest = reference.iter().map(|(_, logit)| logit.abs());
    (FACTOR * noise).max(FLOOR * greatest.fold(0.0, f32::max))
}

/// By how much the first token leads.
fn lead(top: &Top) -> f32 {
    match top[..] {
        [(_, first), (_, second), ..] => first - second,
        _ => f32::INFINITY,
    }
}

/// The first position at which a rank breaks the rule, in words.
pub fn first_break(reference: &[Top], noise: f32, rank: usize, pass: &[Top]) -> Option<String> {
    if pass.len() != reference.len() {
        return Some(format!(
            "rank {rank} reported the logits of {} forced tokens where {} were asked for",
            pass.len(),
            reference.len()
        ));
    }
    let mut positions = reference.iter().zip(pass).enumerate();
    positions.find_map(|(index, (expected, got))| {
        let why = break_at(expected, noise, got)?;
        Some(format!(
            "rank {rank}, token {index} after the reference's own: {why}"
        ))
    })
}

fn break_at(expected: &Top, noise: f32, got: &Top) -> Option<String> {
    let (Some((best, _)), Some((chosen, _))) = (expected.first(), got.first()) else {
        return Some("a logit is not a number".to_owned());
    };
    let (allowed, lead) = (allowed(noise, expected), lead(expected));
    if best != chosen && lead > 2.0 * allowed {
        return Some(format!(
            "the greatest logit is of {chosen} and not of {best}, which leads by {lead:.3e} where \
             another order of sums moves a logit by at most {allowed:.1e}"
        ));
    }
    let moved = movement(expected, got);
    (moved > allowed).then(|| {
        format!(
            "a logit moved by {moved:.3e}, and another order of sums moves one by at most \
             {allowed:.1e}"
        )
    })
}

/// The greatest movement in a pass.
pub fn greatest_movement(reference: &[Top], pass: &[Top]) -> Option<f32> {
    let moved = reference.iter().zip(pass).map(|(a, b)| movement(a, b));
    moved.reduce(f32::max)
}

/// How many positions have a lead that decides the token, so that another one is wrong.
pub fn decided(reference: &[Top], noise: f32) -> usize {
    let decides = |top: &&Top| lead(top) > 2.0 * allowed(noise, top);
    reference.iter().filter(decides).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(logits: &[(u32, f32)]) -> Top {
        logits.to_vec()
    }

    #[test]
    fn a_movement_is_seen_even_of_a_token_that_one_list_lacks() {
        let a = top(&[(1, 5.0), (2, 4.0), (3, 3.0)]);
        assert_eq!(movement(&a, &a), 0.0);
        assert_eq!(movement(&a, &top(&[(1, 5.0), (2, 4.5), (3, 3.0)])), 0.5);
        // 9 was at most 3.0, and is 6.0; 3 is at most 4.0, which is no movement.
        let b = top(&[(9, 6.0), (1, 5.0), (2, 4.0)]);
        assert_eq!((movement(&a, &b), movement(&b, &a)), (3.0, 3.0));
    }

    #[test]
    fn the_noise_is_the_greatest_movement_of_any_nudged_pass() {
        let pass = |second: f32| vec![top(&[(1, 2.0), (2, 1.0)]), top(&[(1, 2.0), (2, second)])];
        assert_eq!(noise(&[pass(1.0), pass(1.25), pass(1.5)]), Some(0.5));
        assert_eq!(noise(&[pass(1.0)]), None);
        assert_eq!(noise(&[pass(1.0), vec![top(&[]), top(&[])]]), None);
    }

    #[test]
    fn a_close_choice_may_change_and_a_clear_one_may_not() {
        // Allowed: 8 * 0.01.
        let reference = [top(&[(1, 2.0), (2, 1.9)]), top(&[(1, 2.0), (2, 1.0)])];
        let break_of = |pass: [Top; 2]| first_break(&reference, 0.01, 1, &pass);
        assert_eq!(break_of(reference.clone()), None);
        assert_eq!(decided(&reference, 0.01), 1);
        let [close, clear] = reference.clone();
        let turned = top(&[(2, 1.95), (1, 1.94)]);
        assert_eq!(break_of([turned, clear.clone()]), None);

        let other = top(&[(2, 2.0), (1, 1.9)]);
        let why = break_of([close.clone(), other.clone()]).unwrap();
        assert!(why.starts_with("rank 1, token 1 after"), "{why}");
        assert!(
            why.contains("is of 2 and not of 1, which leads by"),
            "{why}"
        );
        let far = top(&[(1, 2.0), (2, 1.2)]);
        let why = break_of([close.clone(), far]).unwrap();
        assert!(why.contains("a logit moved by 2.000e-1"), "{why}");
        let why = break_of([close, top(&[])]).unwrap();
        assert!(why.contains("not a number"), "{why}");
        let why = first_break(&reference, 0.01, 0, &[]).unwrap();
        assert!(why.contains("0 forced tokens where 2"), "{why}");
    }

    #[test]
    fn rounding_of_the_logits_themselves_is_allowed_where_there_is_no_noise() {
        let reference = [top(&[(1, 16.0), (2, 8.0)])];
        let near = [top(&[(1, 16.000002), (2, 8.0)])];
        let far = [top(&[(1, 16.001), (2, 8.0)])];
        assert_eq!(first_break(&reference, 0.0, 0, &near), None);
        assert!(first_break(&reference, 0.0, 0, &far).is_some());
    }
}
