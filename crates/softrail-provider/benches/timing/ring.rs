//! The best that two processes of this machine can do: one copies messages into a ring of
//! shared memory, the other copies them out.
//!
//! The ring is as large as the provider's, passes whole messages as the provider does,
//! and lies on the same file system.
#![allow(unsafe_code)]

use std::{
    fs::OpenOptions,
    hint,
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use memmap2::{MmapOptions, MmapRaw};
use softrail::fabric::QUEUE_BYTES;

/// The part of the file before the bytes.
#[derive(Default)]
#[repr(C, align(4096))]
struct Cursors {
    written: Cursor,
    read: Cursor,
}

/// On a cache line of its own, because each side writes one of them.
#[derive(Default)]
#[repr(C, align(64))]
struct Cursor(AtomicU64);

/// Empty looks before the processor is yielded to the other process.
const SPINS: u32 = 20;

pub struct Ring {
    map: MmapRaw,
}

impl Ring {
    pub fn create(path: &Path) -> Self {
        Self::map(path, true)
    }

    pub fn open(path: &Path) -> Self {
        Self::map(path, false)
    }

    fn map(path: &Path, new: bool) -> Self {
        let bytes = size_of::<Cursors>() + QUEUE_BYTES as usize;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(new).open(path);
        let file = file.expect("the fabric's folder can be written");
        file.set_len(bytes as u64).expect("there is room");
        let map = MmapOptions::new().len(bytes).map_raw(&file);
        Ring {
            map: map.expect("a file can be mapped"),
        }
    }

    /// Resets the ring to empty. No other process may be using it.
    pub fn clear(&self) {
        let Cursors { written, read } = self.cursors();
        written.0.store(0, Ordering::Release);
        read.0.store(0, Ordering::Release);
    }

    /// Copies a message in this many times, and waits until the last was copied out.
    pub fn produce(&mut self, count: u64, message: &[u8]) {
        let bytes = message.len() as u64;
        let Cursors { written, read } = self.cursors();
        for _ in 0..count {
            let begin = written.0.load(Ordering::Relaxed);
            wait_until(|| begin + bytes - read.0.load(Ordering::Acquire) <= QUEUE_BYTES);
            // SAFETY: the consumer has marked this room as free, and waits for the
            // producer to mark it as filled.
            unsafe {
                self.room(begin, bytes)
                    .copy_from_nonoverlapping(message.as_ptr(), message.len())
            };
            written.0.store(begin + bytes, Ordering::Release);
        }
        let end = written.0.load(Ordering::Relaxed);
        wait_until(|| read.0.load(Ordering::Acquire) == end);
    }

    /// Copies this many messages out.
    pub fn consume(&mut self, count: u64, message: &mut [u8]) {
        let bytes = message.len() as u64;
        let Cursors { written, read } = self.cursors();
        for _ in 0..count {
            let begin = read.0.load(Ordering::Relaxed);
            wait_until(|| written.0.load(Ordering::Acquire) >= begin + bytes);
            // SAFETY: the producer has marked this room as filled, and waits for the
            // consumer to mark it as free.
            unsafe {
                message
                    .as_mut_ptr()
                    .copy_from_nonoverlapping(self.room(begin, bytes), message.len())
            };
            read.0.store(begin + bytes, Ordering::Release);
        }
    }

    fn cursors(&self) -> &Cursors {
        // SAFETY: the mapping is page-aligned, longer than this, and lives as long as
        // `self`; other processes may change atomics at any time.
        unsafe { &*self.map.as_ptr().cast() }
    }

    /// The start of a message whose first byte has this position among all bytes ever
    /// sent.
    fn room(&self, begin: u64, bytes: u64) -> *mut u8 {
        let offset = begin % QUEUE_BYTES;
        assert!(offset + bytes <= QUEUE_BYTES, "messages divide the ring");
        // SAFETY: inside of the mapping, as just asserted.
        unsafe {
            self.map
                .as_mut_ptr()
                .add(size_of::<Cursors>() + offset as usize)
        }
    }
}

fn wait_until(done: impl Fn() -> bool) {
    let mut looks = 0_u32;
    while !done() {
        looks += 1;
        if looks.is_multiple_of(SPINS) {
            thread::yield_now();
        } else {
            hint::spin_loop();
        }
    }
}
