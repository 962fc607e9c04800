//! Blocks of 32 quantised elements, as GGUF and as MLX keep them.
//!
//! | GGUF | an element is | MLX, affine, groups of 32 |
//! |---|---|---|
//! | `Q4_1`: f16 d, f16 m, 16 bytes | `d q + m`; elements 0 to 15 are the low nibbles, 16 to 31 the high ones | 4 bits, scale d, bias m |
//! | `Q8_0`: f16 d, 32 signed bytes | `d q` | 8 bits, `q + 128`, scale d, bias `-128 d` |
//!
//! MLX packs elements into words of 32 bits, the first in the lowest bits.
//! Scales and biases become 32-bit floats. MLX computes `scale q + bias` in their type: with
//! 16 bits it would round what GGUF's `d q + m`, computed in 32 bits, keeps. Both products
//! and `-128 d` are exact in 32 bits, so both formats give the same float.

use half::f16;

use super::{GgufError, GgufTensor, Result, TensorType};

/// Elements of a block, and of a group of MLX.
pub const ELEMENTS: usize = 32;
/// Bytes of a block of [`TensorType::Q4_1`].
pub const Q4_1_BYTES: usize = 2 + 2 + 16;
/// Bytes of a block of [`TensorType::Q8_0`].
pub const Q8_0_BYTES: usize = 2 + 32;

/// A matrix as MLX keeps it: rows of groups of [`ELEMENTS`].
#[derive(Debug, Clone, PartialEq)]
pub struct Affine {
    /// Bits of an element.
    pub bits: usize,
    /// Rows of the matrix.
    pub rows: usize,
    /// Groups of a row.
    pub groups: usize,
    /// `bits` words a group, which are [`ELEMENTS`] elements.
    pub words: Vec<u32>,
    /// One a group.
    pub scales: Vec<f32>,
    /// One a group.
    pub biases: Vec<f32>,
}

impl Affine {
    /// The same elements in MLX's layout.
    ///
    /// # Errors
    /// The tensor is not quantised.
    pub fn of(tensor: &GgufTensor<'_>) -> Result<Self> {
        let (bits, bytes) = match tensor.kind {
            TensorType::Q4_1 => (4, Q4_1_BYTES),
            TensorType::Q8_0 => (8, Q8_0_BYTES),
            TensorType::F32 => {
                let name = "quantised tensor".into();
                return Err(GgufError::Missing { name });
            }
        };
        let mut affine = Affine {
            bits,
            rows: tensor.rows,
            groups: tensor.columns / ELEMENTS,
            words: Vec::new(),
            scales: Vec::new(),
            biases: Vec::new(),
        };
        for block in tensor.bytes.chunks_exact(bytes) {
            match tensor.kind {
                TensorType::Q4_1 => affine.push_q4_1(block),
                _ => affine.push_q8_0(block),
            }
        }
        Ok(affine)
    }

    fn push_q4_1(&mut self, block: &[u8]) {
        self.scales.push(float(block));
        self.biases.push(float(&block[2..]));
        let packed = &block[4..];
        let low = packed.iter().map(|byte| byte & 15);
        let high = packed.iter().map(|byte| byte >> 4);
        self.push_elements(low.chain(high));
    }

    fn push_q8_0(&mut self, block: &[u8]) {
        let scale = float(block);
        self.scales.push(scale);
        self.biases.push(-128.0 * scale);
        // 128 more than the signed byte.
        self.push_elements(block[2..].iter().map(|byte| byte ^ 128));
    }

    fn push_elements(&mut self, elements: impl Iterator<Item = u8>) {
        let elements: Vec<u8> = elements.collect();
        for word in elements.chunks_exact(32 / self.bits) {
            let shifted = word.iter().enumerate();
            let word = shifted.map(|(at, &element)| u32::from(element) << (at * self.bits));
            self.words.push(word.fold(0, |all, one| all | one));
        }
    }

    /// With rows of zeros at the end, `rows` in all.
    pub fn padded_to_rows(mut self, rows: usize) -> Self {
        let groups = rows * self.groups;
        self.words.resize(groups * self.bits, 0);
        self.scales.resize(groups, 0.0);
        self.biases.resize(groups, 0.0);
        self.rows = rows;
        self
    }

    /// With columns of zeros at the end of each row, whole groups, `groups` in all.
    pub fn padded_to_groups(self, groups: usize) -> Self {
        Affine {
            words: widen(&self.words, self.groups * self.bits, groups * self.bits),
            scales: widen(&self.scales, self.groups, groups),
            biases: widen(&self.biases, self.groups, groups),
            groups,
            ..self
        }
    }

    /// The elements of a row as MLX dequantises them.
    ///
    /// # Panics
    /// There is no such row.
    pub fn row(&self, row: usize) -> Vec<f32> {
        let groups = row * self.groups..(row + 1) * self.groups;
        let words = &self.words[groups.start * self.bits..groups.end * self.bits];
        let parameters = self.scales[groups.clone()].iter().zip(&self.biases[groups]);
        let mask = (1u32 << self.bits) - 1;
        let mut elements = Vec::with_capacity(words.len() * 32 / self.bits);
        for (words, (&scale, &bias)) in words.chunks_exact(self.bits).zip(parameters) {
            for word in words {
                for at in 0..32 / self.bits {
                    let element = (word >> (at * self.bits)) & mask;
                    elements.push(scale * element as f32 + bias);
                }
            }
        }
        elements
    }
}

/// The elements of a tensor's row as ggml dequantises them (`dequantize_row_q4_1` and
/// `dequantize_row_q8_0` of `ggml-quants.c`).
///
/// # Panics
/// There is no such row.
pub fn row(tensor: &GgufTensor<'_>, row: usize) -> Vec<f32> {
    let length = tensor.bytes.len() / tensor.rows;
    let bytes = &tensor.bytes[row * length..(row + 1) * length];
    match tensor.kind {
        TensorType::F32 => floats(bytes),
        TensorType::Q4_1 => bytes
            .chunks_exact(Q4_1_BYTES)
            .flat_map(|block| {
                let (scale, minimum) = (float(block), float(&block[2..]));
                let low = block[4..].iter().map(|byte| byte & 15);
                let high = block[4..].iter().map(|byte| byte >> 4);
                low.chain(high)
                    .map(move |element| f32::from(element) * scale + minimum)
            })
            .collect(),
        TensorType::Q8_0 => bytes
            .chunks_exact(Q8_0_BYTES)
            .flat_map(|block| {
                let scale = float(block);
                let elements = block[2..].iter().map(|byte| byte.cast_signed());
                elements.map(move |element| f32::from(element) * scale)
            })
            .collect(),
    }
}

/// Little-endian 32-bit floats.
pub fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes
        .chunks_exact(4)
        .map(|it| f32::from_le_bytes([it[0], it[1], it[2], it[3]]))
        .collect()
}

/// The 16-bit float at the front of `bytes`.
fn float(bytes: &[u8]) -> f32 {
    f16::from_le_bytes([bytes[0], bytes[1]]).to_f32()
}

/// Rows of `from` values made to rows of `to` values, with zeros at their ends.
fn widen<T: Copy + Default>(values: &[T], from: usize, to: usize) -> Vec<T> {
    let zeros = std::iter::repeat_n(T::default(), to - from);
    values
        .chunks_exact(from)
        .flat_map(|row| row.iter().copied().chain(zeros.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    /// A block's bytes, with finite scales and minima.
    fn block(kind: TensorType) -> impl Strategy<Value = Vec<u8>> {
        let float = || {
            any::<u16>()
                .prop_map(f16::from_bits)
                .prop_filter("finite", |it| it.is_finite())
        };
        let (floats, elements) = match kind {
            TensorType::Q4_1 => (2, 16),
            _ => (1, 32),
        };
        (vec(float(), floats), vec(any::<u8>(), elements)).prop_map(|(floats, elements)| {
            let floats = floats.into_iter().flat_map(f16::to_le_bytes);
            floats.chain(elements).collect()
        })
    }

    /// A matrix of 3 rows of 2 blocks.
    fn matrix(kind: TensorType) -> impl Strategy<Value = (TensorType, Vec<u8>)> {
        vec(block(kind), 6).prop_map(move |blocks| (kind, blocks.concat()))
    }

    fn matrices() -> impl Strategy<Value = (TensorType, Vec<u8>)> {
        prop_oneof![matrix(TensorType::Q4_1), matrix(TensorType::Q8_0)]
    }

    proptest! {
        #[test]
        fn mlx_dequantises_what_ggml_does((kind, bytes) in matrices()) {
            let tensor = GgufTensor { kind, rows: 3, columns: 64, bytes: &bytes };
            let affine = Affine::of(&tensor).unwrap();
            prop_assert_eq!((affine.rows, affine.groups), (3, 2));
            for at in 0..3 {
                prop_assert_eq!(affine.row(at), row(&tensor, at));
            }
        }

        #[test]
        fn padding_adds_zeros_and_moves_nothing((kind, bytes) in matrices()) {
            let tensor = GgufTensor { kind, rows: 3, columns: 64, bytes: &bytes };
            let padded = Affine::of(&tensor).unwrap().padded_to_rows(5).padded_to_groups(3);
            for at in 0..5 {
                let mut expected = match at {
                    0..3 => row(&tensor, at),
                    _ => vec![0.0; 64],
                };
                expected.resize(96, 0.0);
                prop_assert_eq!(padded.row(at), expected);
            }
        }
    }

    #[test]
    fn the_nibbles_of_a_block_are_in_the_order_of_its_elements() {
        let mut bytes = [f16::from_f32(0.5), f16::from_f32(-1.0)]
            .map(f16::to_le_bytes)
            .concat();
        bytes.extend((0..16).map(|low| low | (15 - low) << 4));
        let tensor = GgufTensor {
            kind: TensorType::Q4_1,
            rows: 1,
            columns: 32,
            bytes: &bytes,
        };
        let affine = Affine::of(&tensor).unwrap();
        assert_eq!(
            affine.words,
            [0x7654_3210, 0xfedc_ba98, 0x89ab_cdef, 0x0123_4567]
        );
        assert_eq!((affine.scales[0], affine.biases[0]), (0.5, -1.0));
        assert_eq!(affine.row(0)[..3], [-1.0, -0.5, 0.0]);
    }
}
