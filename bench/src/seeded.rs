//! Numbers that depend on a seed and a name alone, so that every process of every engine
//! draws the same ones.

/// The 64-bit FNV-1a hash of a seed and a name, with a last mixing step that
/// spreads the name's final byte over all bits (the finaliser of SplitMix64).
pub fn hash(seed: u64, name: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    let hash = bytes.fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(PRIME)
    });
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The ids of a prompt of `count` tokens, below `vocab`.
///
/// # Panics
/// There is no token.
pub fn prompt(seed: u64, count: usize, vocab: usize) -> Vec<u32> {
    ids("prompt", seed, count, vocab)
}

/// The `count` ids that are in the cache before a prompt, below `vocab`.
///
/// # Panics
/// There is no token.
pub fn filler(seed: u64, count: usize, vocab: usize) -> Vec<u32> {
    ids("depth", seed, count, vocab)
}

fn ids(name: &str, seed: u64, count: usize, vocab: usize) -> Vec<u32> {
    (0..count)
        .map(|position| (hash(seed, &format!("{name}.{position}")) % vocab as u64) as u32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_uses_the_whole_vocabulary() {
        let ids = prompt(3, 4000, 50);
        assert!((0..50).all(|token| ids.contains(&token)));
        assert!(ids.iter().all(|&token| token < 50));
    }
}
