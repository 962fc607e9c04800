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

    /// All elements as MLX dequantises them, row after row.
    pub fn dequantised(&self) -> Vec<f32> {
        let mask = (1u32 << self.bits) - 1;
        let groups = self.words.chunks_exact(self.bits);
        let parameters = self.scales.iter().zip(&self.biases);
        groups
            .zip(parameters)
            .flat_map(|(words, (&scale, &bias))| {
                words.iter().flat_map(move |word| {
                    (0..32 / self.bits).map(move |at| {
                        let element = (word >> (at * self.bits)) & mask;
                        scale * element as f32 + bias
                    })
                })
            })
            .collect()
    }
}

/// All elements of a tensor as ggml dequantises them, row after row (`dequantize_row_q4_1`
/// and `dequantize_row_q8_0` of `ggml-quants.c`).
pub fn dequantised(tensor: &GgufTensor<'_>) -> Vec<f32> {
    match tensor.kind {
        TensorType::F32 => floats(tensor.bytes),
        TensorType::Q4_1 => tensor
            .bytes
            .chunks_exact(Q4_1_BYTES)
            .flat_map(|block| {
                let (scale, minimum) = (float(block), float(&block[2..]));
                let low = block[4..].iter().map(|byte| byte & 15);
                let high = block[4..].iter().map(|byte| byte >> 4);
                low.chain(high)
                    .map(move |element| f32::from(element) * scale + minimum)
            })
            .collect(),
        TensorType::Q8_0 => tensor
            .bytes
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
