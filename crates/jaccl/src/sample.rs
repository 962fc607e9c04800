//! The data that steps move: functions of rank, salt and position, so that every rank can
//! compute the input of every other.

use half::{bf16, f16};

use crate::{Dtype, Reduction};

/// The owner of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source {
    pub rank: usize,
    pub salt: u32,
}

/// An element as small numbers: real and imaginary part. All sums over a group are
/// exact in every dtype, so the order of additions does not matter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Small(i16, i16);

/// How small numbers are drawn and combined for a dtype.
#[derive(Debug, Clone, Copy)]
enum Domain {
    /// 0 and 1, where a sum is 1 if any part is.
    Bool,
    /// 0 to 15.
    Unsigned,
    /// -8 to 7, so that a reduction that wrongly starts from zero gives a wrong result.
    Signed,
}

impl Domain {
    const fn of(dtype: Dtype) -> Self {
        match dtype {
            Dtype::Bool => Domain::Bool,
            Dtype::UInt8 | Dtype::UInt16 | Dtype::UInt32 | Dtype::UInt64 => Domain::Unsigned,
            _ => Domain::Signed,
        }
    }

    fn draw(self, bits: u8) -> i16 {
        let bits = i16::from(bits);
        match self {
            Domain::Bool => bits & 1,
            Domain::Unsigned => bits & 15,
            Domain::Signed => (bits & 15) - 8,
        }
    }

    fn element(self, source: Source, position: usize) -> Small {
        let bits = scramble(source, position);
        Small(self.draw(bits), self.draw(bits >> 4))
    }

    fn combine(self, reduction: Reduction, a: Small, b: Small) -> Small {
        match (reduction, self) {
            (Reduction::Sum, Domain::Bool) => Small(a.0 | b.0, 0),
            (Reduction::Sum, _) => Small(a.0 + b.0, a.1 + b.1),
            // jaccl orders complex numbers by their real part first (`types.h`), which is
            // also the order of tuples.
            (Reduction::Max, _) => a.max(b),
            (Reduction::Min, _) => a.min(b),
        }
    }
}

/// Eight bits that depend on all inputs (the finaliser of MurmurHash3).
fn scramble(source: Source, position: usize) -> u8 {
    let mut x = (position as u64)
        ^ ((source.rank as u64 + 1) << 56)
        ^ (u64::from(source.salt) << 24).rotate_left(8);
    x = (x ^ (x >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    (x >> 56) as u8
}

/// A number type that represents small numbers exactly.
trait Number {
    const BYTES: usize;
    fn put(value: Small, bytes: &mut [u8]);
}

macro_rules! numbers {
    ($($name:ident: $bytes:literal, |$value:ident| $encode:expr;)*) => {$(
        struct $name;
        impl Number for $name {
            const BYTES: usize = $bytes;
            fn put($value: Small, bytes: &mut [u8]) {
                bytes.copy_from_slice(&$encode);
            }
        }
    )*};
}

numbers! {
    Bits8: 1, |v| (v.0 as i8).to_ne_bytes();
    Bits16: 2, |v| v.0.to_ne_bytes();
    Bits32: 4, |v| i32::from(v.0).to_ne_bytes();
    Bits64: 8, |v| i64::from(v.0).to_ne_bytes();
    Half: 2, |v| f16::from_f32(f32::from(v.0)).to_ne_bytes();
    Brain: 2, |v| bf16::from_f32(f32::from(v.0)).to_ne_bytes();
    Single: 4, |v| f32::from(v.0).to_ne_bytes();
    Double: 8, |v| f64::from(v.0).to_ne_bytes();
    Complex: 8, |v| {
        let mut pair = [0; 8];
        pair[..4].copy_from_slice(&f32::from(v.0).to_ne_bytes());
        pair[4..].copy_from_slice(&f32::from(v.1).to_ne_bytes());
        pair
    };
}

fn fill_as<N: Number>(bytes: &mut [u8], element: impl Fn(usize) -> Small) {
    for (position, room) in bytes.chunks_exact_mut(N::BYTES).enumerate() {
        N::put(element(position), room);
    }
}

fn fill_with(dtype: Dtype, bytes: &mut [u8], element: impl Fn(usize) -> Small) {
    match dtype {
        Dtype::Bool | Dtype::Int8 | Dtype::UInt8 => fill_as::<Bits8>(bytes, element),
        Dtype::Int16 | Dtype::UInt16 => fill_as::<Bits16>(bytes, element),
        Dtype::Int32 | Dtype::UInt32 => fill_as::<Bits32>(bytes, element),
        Dtype::Int64 | Dtype::UInt64 => fill_as::<Bits64>(bytes, element),
        Dtype::Float16 => fill_as::<Half>(bytes, element),
        Dtype::BFloat16 => fill_as::<Brain>(bytes, element),
        Dtype::Float32 => fill_as::<Single>(bytes, element),
        Dtype::Float64 => fill_as::<Double>(bytes, element),
        Dtype::Complex64 => fill_as::<Complex>(bytes, element),
    }
}

/// Writes the input of `source` from element `first` on.
pub fn fill(dtype: Dtype, source: Source, first: usize, bytes: &mut [u8]) {
    let domain = Domain::of(dtype);
    fill_with(dtype, bytes, |i| domain.element(source, first + i));
}

/// Writes the combination of all ranks' inputs from element `first` on.
pub fn fill_reduced(
    dtype: Dtype,
    reduction: Reduction,
    (ranks, salt): (usize, u32),
    first: usize,
    bytes: &mut [u8],
) {
    let domain = Domain::of(dtype);
    fill_with(dtype, bytes, |i| {
        (0..ranks)
            .map(|rank| domain.element(Source { rank, salt }, first + i))
            .reduce(|a, b| domain.combine(reduction, a, b))
            .expect("a group has a rank")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(dtype: Dtype, rank: usize, salt: u32, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        fill(dtype, Source { rank, salt }, 0, &mut bytes);
        bytes
    }

    #[test]
    fn data_differ_by_rank_salt_and_position() {
        let base = bytes(Dtype::UInt8, 0, 0, 4096);
        for other in [
            bytes(Dtype::UInt8, 1, 0, 4096),
            bytes(Dtype::UInt8, 0, 1, 4096),
        ] {
            let same = base.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(same < 4096 / 8, "{same} of 4096 bytes are the same");
        }
        assert_ne!(base[..2048], base[2048..]);
    }

    #[test]
    fn a_part_is_the_same_as_in_the_whole() {
        let whole = bytes(Dtype::Float32, 2, 7, 400);
        let mut part = vec![0; 40];
        fill(Dtype::Float32, Source { rank: 2, salt: 7 }, 10, &mut part);
        assert_eq!(part, whole[40..80]);
    }

    #[test]
    fn reductions_are_exact_in_every_dtype() {
        for dtype in Dtype::ALL {
            for reduction in [Reduction::Sum, Reduction::Max, Reduction::Min] {
                let mut reduced = vec![0; 64];
                fill_reduced(dtype, reduction, (1, 3), 0, &mut reduced);
                assert_eq!(reduced, bytes(dtype, 0, 3, 64), "{dtype} {reduction:?}");
            }
        }
        let mut sum = vec![0; 8];
        fill_reduced(Dtype::Float32, Reduction::Sum, (2, 0), 0, &mut sum);
        let parts: Vec<f32> = [0, 1]
            .map(|rank| bytes(Dtype::Float32, rank, 0, 4))
            .map(|b| f32::from_ne_bytes(b.try_into().expect("four bytes")))
            .into();
        assert_eq!(sum[..4], (parts[0] + parts[1]).to_ne_bytes());
    }
}
