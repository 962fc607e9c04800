use crate::{
    Dtype, Element, Error,
    shim::{RawHandle, bytes_of, bytes_of_mut},
};

/// How an all-reduce combines the ranks' elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// Their sum.
    Sum,
    /// The largest.
    Max,
    /// The smallest.
    Min,
}

/// A rank's membership in a group. It may move between threads; one at a time
/// may use it.
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

    /// Ranks in the group.
    pub fn size(&self) -> usize {
        self.handle.size()
    }

    /// Adds all ranks' inputs, element by element (`Group::all_sum`).
    ///
    /// # Errors
    /// When the lengths differ or jaccl throws.
    pub fn all_sum<T: Element>(&mut self, input: &[T], output: &mut [T]) -> Result<(), Error> {
        self.all_reduce(
            Reduction::Sum,
            T::DTYPE,
            bytes_of(input),
            bytes_of_mut(output),
        )
    }

    /// The largest of all ranks' inputs, element by element (`Group::all_max`).
    ///
    /// # Errors
    /// When the lengths differ or jaccl throws.
    pub fn all_max<T: Element>(&mut self, input: &[T], output: &mut [T]) -> Result<(), Error> {
        self.all_reduce(
            Reduction::Max,
            T::DTYPE,
            bytes_of(input),
            bytes_of_mut(output),
        )
    }

    /// The smallest of all ranks' inputs, element by element (`Group::all_min`).
    ///
    /// # Errors
    /// When the lengths differ or jaccl throws.
    pub fn all_min<T: Element>(&mut self, input: &[T], output: &mut [T]) -> Result<(), Error> {
        self.all_reduce(
            Reduction::Min,
            T::DTYPE,
            bytes_of(input),
            bytes_of_mut(output),
        )
    }

    /// Reduces elements of any of jaccl's types, given as bytes aligned for them.
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
        let size = dtype.size();
        if !input.len().is_multiple_of(size) {
            return Err(Error::Ragged {
                bytes: input.len(),
                dtype,
                size,
            });
        }
        let align = dtype.align();
        let aligned =
            |bytes: &[u8]| bytes.is_empty() || bytes.as_ptr().addr().is_multiple_of(align);
        if !aligned(input) || !aligned(output) {
            return Err(Error::Misaligned { dtype, align });
        }
        self.handle.reduce(reduction, dtype, input, output)
    }

    /// Puts all ranks' inputs one after another (`Group::all_gather`).
    ///
    /// # Errors
    /// When the output is not `size()` times the input, or jaccl throws.
    pub fn all_gather<T: Element>(&mut self, input: &[T], output: &mut [T]) -> Result<(), Error> {
        let (input, output) = (bytes_of(input), bytes_of_mut(output));
        let expected = input.len() * self.size();
        expect_length("an all-gather", input.len(), expected, output.len())?;
        self.handle.all_gather(input, output)
    }

    /// Sends a message to another rank (`Group::send`).
    ///
    /// # Errors
    /// When there is no such other rank, or jaccl throws: in a ring only
    /// neighbours can be reached.
    pub fn send<T: Element>(&mut self, input: &[T], destination: usize) -> Result<(), Error> {
        self.expect_peer(destination)?;
        self.handle.send(bytes_of(input), destination)
    }

    /// Receives a message of exactly the output's length (`Group::recv`).
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub fn recv<T: Element>(&mut self, output: &mut [T], source: usize) -> Result<(), Error> {
        self.expect_peer(source)?;
        self.handle.recv(bytes_of_mut(output), source)
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
