//! The operations that the model requires of the other ranks.

use mlx_core::{Array, Dtype, Result, concatenate, distributed::Group};

/// The ranks of a job, from the view of one of them.
///
/// Messages carry no tags, so all ranks must compute the same operations in the same
/// order (see [`mlx_core::distributed`]). Every operation can fail with MLX's errors.
pub trait Collective {
    /// This rank.
    fn rank(&self) -> usize;
    /// The number of ranks.
    fn size(&self) -> usize;
    /// The element-wise sum of every rank's `x`.
    fn all_sum(&self, x: &Array) -> Result<Array>;
    /// Every rank's `x`, joined along the first dimension.
    fn all_gather(&self, x: &Array) -> Result<Array>;
    /// Sends `x` to a rank, when the result is computed.
    fn send(&self, x: &Array, destination: usize) -> Result<Array>;
    /// Receives a message from a rank.
    fn recv(&self, shape: &[i32], dtype: Dtype, source: usize) -> Result<Array>;
}

impl Collective for Group {
    fn rank(&self) -> usize {
        self.rank()
    }

    fn size(&self) -> usize {
        self.size()
    }

    fn all_sum(&self, x: &Array) -> Result<Array> {
        self.all_sum(x)
    }

    fn all_gather(&self, x: &Array) -> Result<Array> {
        self.all_gather(x)
    }

    fn send(&self, x: &Array, destination: usize) -> Result<Array> {
        self.send(x, destination)
    }

    fn recv(&self, shape: &[i32], dtype: Dtype, source: usize) -> Result<Array> {
        self.recv(shape, dtype, source)
    }
}

/// The other ranks of a job, which are absent: messages are left out. A sum is the rank's own
/// part, a gathering this part several times, and what would be received is zeros.
#[derive(Debug, Clone, Copy)]
pub struct Absent {
    /// This rank.
    pub rank: usize,
    /// The number of ranks that there would be.
    pub size: usize,
}

impl Collective for Absent {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn all_sum(&self, x: &Array) -> Result<Array> {
        Ok(x.clone())
    }

    fn all_gather(&self, x: &Array) -> Result<Array> {
        concatenate(&vec![x; self.size], 0)
    }

    fn send(&self, x: &Array, _: usize) -> Result<Array> {
        Ok(x.clone())
    }

    fn recv(&self, shape: &[i32], dtype: Dtype, _: usize) -> Result<Array> {
        Array::zeros(shape, dtype)
    }
}

/// The only rank of its job.
#[derive(Debug, Clone, Copy)]
pub struct Alone;

impl Collective for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_sum(&self, x: &Array) -> Result<Array> {
        Ok(x.clone())
    }

    fn all_gather(&self, x: &Array) -> Result<Array> {
        Ok(x.clone())
    }

    fn send(&self, _: &Array, destination: usize) -> Result<Array> {
        unreachable!("rank {destination} of a job of one")
    }

    fn recv(&self, _: &[i32], _: Dtype, source: usize) -> Result<Array> {
        unreachable!("rank {source} of a job of one")
    }
}
