use crate::{Dtype, Error, shim::RawHandle};

/// How an all-reduce combines the ranks' elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// The largest element.
    Max,
    /// The smallest element.
    Min,
}

/// A rank's membership in a group. It may move between threads; one thread at a time may
/// use it. Elements are passed as bytes, aligned for their type.
///
/// All ranks must call the same operations in the same order with the same
/// lengths. jaccl does not check that: it hangs, or mixes messages up.
pub struct Group {
    handle: RawHandle,
}

impl Group {
    pub(crate) fn new(handle: RawHandle) -> Self {
        Group { handle }
    }

    /// This process's rank.
    pub fn rank(&self) -> usize {
        self.handle.rank()
    }

    /// The number of ranks in the group.
    pub fn size(&self) -> usize {
        self.handle.size()
    }

    /// Combines all ranks' inputs, element by element (`Group::all_sum`,
    /// `all_max`, `all_min`).
    ///
    /// # Errors
    /// When the lengths differ, the bytes are not whole or not aligned elements, or
    /// jaccl throws.
    pub fn all_reduce(
        &mut self,
        reduction: Reduction,
        dtype: Dtype,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        expect_length("an all-reduce", input.len(), input.len(), output.len())?;
        expect_elements(dtype, input)?;
        expect_elements(dtype, output)?;
        self.handle.reduce(reduction, dtype, input, output)
    }

    /// As [`all_reduce`](Self::all_reduce), with the output in the place of the input.
    ///
    /// # Errors
    /// When the bytes are not whole or not aligned elements, or jaccl throws.
    pub fn all_reduce_in_place(
        &mut self,
        reduction: Reduction,
        dtype: Dtype,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        expect_elements(dtype, buffer)?;
        self.handle.reduce_in_place(reduction, dtype, buffer)
    }

    /// Concatenates all ranks' inputs (`Group::all_gather`).
    ///
    /// # Errors
    /// When the output is not `size()` times the input, or jaccl throws.
    pub fn all_gather(&mut self, input: &[u8], output: &mut [u8]) -> Result<(), Error> {
        let expected = input.len() * self.size();
        expect_length("an all-gather", input.len(), expected, output.len())?;
        self.handle.all_gather(input, output)
    }

    /// As [`all_gather`](Self::all_gather), with the input in this rank's part of
    /// the output.
    ///
    /// # Errors
    /// When the buffer is not `size()` equal parts, or jaccl throws.
    pub fn all_gather_in_place(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let part = buffer.len() / self.size();
        expect_length("an all-gather", part, part * self.size(), buffer.len())?;
        self.handle.all_gather_in_place(buffer)
    }

    /// Adds all ranks' inputs and gives each rank its part of the sum
    /// (`Group::sum_scatter`; MLX 0.32 and later).
    ///
    /// # Errors
    /// When the input is not `size()` times the output, the bytes are not whole or
    /// not aligned elements, jaccl has no such operation, or it throws.
    pub fn sum_scatter(
        &mut self,
        dtype: Dtype,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        let expected = input.len() / self.size();
        expect_length("a sum-scatter", input.len(), expected, output.len())?;
        expect_elements(dtype, output)?;
        expect_elements(dtype, input)?;
        self.handle.sum_scatter(dtype, input, output)
    }

    /// Waits until all ranks have called it (`Group::barrier`; MLX 0.32 and later).
    ///
    /// # Errors
    /// When jaccl has no such operation, or throws.
    pub fn barrier(&mut self) -> Result<(), Error> {
        self.handle.barrier()
    }

    /// Sends a message to another rank (`Group::send`).
    ///
    /// # Errors
    /// When there is no such other rank, or jaccl throws: in a ring a rank reaches only
    /// its neighbours.
    pub fn send(&mut self, input: &[u8], destination: usize) -> Result<(), Error> {
        self.expect_peer(destination)?;
        self.handle.send(input, destination)
    }

    /// Receives a message of exactly the output's length (`Group::recv`).
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn recv(&mut self, output: &mut [u8], source: usize) -> Result<(), Error> {
        self.expect_peer(source)?;
        self.handle.recv(output, source)
    }

    fn expect_peer(&self, peer: usize) -> Result<(), Error> {
        let (rank, ranks) = (self.rank(), self.size());
        if peer == rank || peer >= ranks {
            return Err(Error::Peer { rank, peer, ranks });
        }
        Ok(())
    }
}

fn expect_length(
    operation: &'static str,
    input: usize,
    expected: usize,
    output: usize,
) -> Result<(), Error> {
    if output == expected {
        return Ok(());
    }
    Err(Error::Length {
        operation,
        input,
        expected,
        output,
    })
}

fn expect_elements(dtype: Dtype, bytes: &[u8]) -> Result<(), Error> {
    let (size, align) = (dtype.size(), dtype.align());
    if !bytes.len().is_multiple_of(size) {
        let bytes = bytes.len();
        return Err(Error::Ragged { bytes, dtype, size });
    }
    if !bytes.is_empty() && !bytes.as_ptr().addr().is_multiple_of(align) {
        return Err(Error::Misaligned { dtype, align });
    }
    Ok(())
}
