//! Copying into and out of the payload ring of a queue pair.
#![allow(unsafe_code)]

use std::marker::PhantomData;

use crate::fabric::{MESSAGE_BYTES, QUEUE_BYTES};

/// A ring of [`QUEUE_BYTES`] that holds the payload of one queue pair, in memory that
/// other processes may write. A longer message is alone in it, and goes on behind its end.
#[derive(Debug, Clone, Copy)]
pub struct Ring<'a> {
    start: *mut u8,
    memory: PhantomData<&'a [u8]>,
}

impl Ring<'_> {
    /// The ring that begins at `start`.
    ///
    /// # Safety
    /// `start` must be valid for reading and writing [`MESSAGE_BYTES`] bytes for as long as
    /// the ring is used.
    pub unsafe fn at(start: *mut u8) -> Self {
        let memory = PhantomData;
        Ring { start, memory }
    }

    /// Copies bytes into the ring.
    ///
    /// # Safety
    /// `source` must be valid for reading `bytes` bytes and must not overlap the ring.
    /// The range must be the caller's: no thread of this process may access it meanwhile.
    pub unsafe fn store(self, offset: u64, source: *const u8, bytes: u64) {
        let (offset, head, tail) = split(offset, bytes);
        // SAFETY: `split` keeps both parts inside the ring, which is valid for writing.
        // The caller promises the source, and that no thread of this process accesses the
        // range. Another process may do so if it breaks the rules, or if it is late with
        // a message of a queue that was reset. That is outside of what the language
        // defines, as everything is that other processes do to shared memory. The
        // processor then stores some of either's bytes, all of which are valid.
        unsafe {
            self.start
                .add(offset)
                .copy_from_nonoverlapping(source, head);
            self.start.copy_from_nonoverlapping(source.add(head), tail);
        }
    }

    /// Copies bytes out of the ring.
    ///
    /// # Safety
    /// `target` must be valid for writing `bytes` bytes and must not overlap the ring. No
    /// thread of this process may write the range meanwhile.
    pub unsafe fn load(self, offset: u64, target: *mut u8, bytes: u64) {
        let (offset, head, tail) = split(offset, bytes);
        // SAFETY: as in `store`. If another process writes the range, the copy has any
        // bytes, and any bytes are valid. The caller learns from `Queue::settle` that a
        // queue was reset, and does not use the copy.
        unsafe {
            target.copy_from_nonoverlapping(self.start.add(offset), head);
            target.add(head).copy_from_nonoverlapping(self.start, tail);
        }
    }
}

/// The start of a range in the ring, and the lengths of its parts before and after it
/// wraps around. A range of a message that is longer than the ring does not wrap.
///
/// # Panics
/// If the range is longer than any message.
fn split(offset: u64, bytes: u64) -> (usize, usize, usize) {
    assert!(bytes <= MESSAGE_BYTES, "{bytes} bytes of a message");
    if bytes > QUEUE_BYTES {
        return (0, bytes as usize, 0);
    }
    let offset = offset % QUEUE_BYTES;
    let head = bytes.min(QUEUE_BYTES - offset);
    (offset as usize, head as usize, (bytes - head) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory for the longest message and nothing else: Miri reports every access beyond it.
    fn memory() -> Box<[u8]> {
        vec![0xAA; MESSAGE_BYTES as usize].into_boxed_slice()
    }

    #[test]
    fn payload_wraps_around_the_end_of_its_ring_and_stays_in_it() {
        let mut memory = memory();
        let sent: Vec<u8> = (0..=255).collect();
        let mut received = [0; 256];
        let (offset, turns) = (QUEUE_BYTES - 100, 3 * QUEUE_BYTES);
        // SAFETY: the arrays have these lengths, and only one thread uses them.
        unsafe {
            let ring = Ring::at(memory.as_mut_ptr());
            ring.store(turns + offset, sent.as_ptr(), 256);
            ring.load(offset, received.as_mut_ptr(), 256);
        }
        assert_eq!(received[..], sent[..]);
        assert_eq!(memory[..156], sent[100..]);
        let (offset, end) = (offset as usize, QUEUE_BYTES as usize);
        assert_eq!(memory[offset..end], sent[..100]);
        // At once, and not byte by byte: Miri would take minutes.
        let before = self::memory();
        assert!(memory[156..offset] == before[156..offset] && memory[end..] == before[end..]);
    }

    #[test]
    fn a_message_may_fill_the_ring_or_be_empty() {
        let mut memory = memory();
        let sent = vec![7; QUEUE_BYTES as usize];
        let mut received = vec![0; QUEUE_BYTES as usize];
        // SAFETY: all of these have the length of a ring, and only one thread uses them.
        unsafe {
            let ring = Ring::at(memory.as_mut_ptr());
            ring.store(5, sent.as_ptr(), 0);
            ring.load(u64::MAX, received.as_mut_ptr(), 0);
            assert_eq!(received[0], 0);
            ring.store(5, sent.as_ptr(), QUEUE_BYTES);
            ring.load(5, received.as_mut_ptr(), QUEUE_BYTES);
        }
        assert_eq!(received, sent);
    }

    #[test]
    fn a_message_that_is_longer_than_the_ring_goes_on_behind_it() {
        let mut memory = memory();
        let sent = vec![7; QUEUE_BYTES as usize + 1];
        let mut received = vec![0; sent.len()];
        // SAFETY: the arrays have these lengths, and only one thread uses them.
        unsafe {
            let ring = Ring::at(memory.as_mut_ptr());
            ring.store(0, sent.as_ptr(), sent.len() as u64);
            ring.load(0, received.as_mut_ptr(), sent.len() as u64);
        }
        assert!(received == sent && memory[..sent.len()] == sent);
    }

    #[test]
    #[should_panic(expected = "16773121 bytes of a message")]
    fn nothing_longer_than_a_message_is_copied() {
        split(0, MESSAGE_BYTES + 1);
    }
}
