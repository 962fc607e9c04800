//! The most of a device's queue pairs, and of their depth, that programs used at a time.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;

use crate::{
    claims::{Claims, Resource},
    fabric::{MESSAGE_BYTES, frames},
};

/// The queue pairs that a Mac's device has, of all processes together (TN3205).
pub const THUNDERBOLT_QUEUE_PAIRS: usize = 10;

/// What queue pairs of a device took at most. All zeros is a device without any.
#[derive(Debug, Default)]
#[repr(C)]
pub struct Usage {
    queue_pairs: AtomicU64,
    sends: AtomicU64,
    receives: AtomicU64,
}

impl Usage {
    /// Records that this many queue pairs were in use.
    pub fn note_queue_pairs(&self, count: usize) {
        raise(&self.queue_pairs, count as u64);
    }

    /// Records the depth of the outstanding sends of a queue pair.
    pub fn note_sends(&self, depth: u64) {
        raise(&self.sends, depth);
    }

    /// Records the depth of the outstanding receives of a queue pair.
    pub fn note_receives(&self, depth: u64) {
        raise(&self.receives, depth);
    }
}

fn raise(most: &AtomicU64, now: u64) {
    if most.load(Ordering::Relaxed) < now {
        most.fetch_max(now, Ordering::Relaxed);
    }
}

/// The most of each of a device's resources that programs used at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Used {
    /// The device, as `node:device`.
    pub device: String,
    /// Queue pairs.
    pub queue_pairs: u64,
    /// Memory regions.
    pub regions: u64,
    /// Protection domains.
    pub domains: u64,
    /// Completion queues.
    pub completion_queues: u64,
    /// Frames of 4 KiB that the outstanding sends of one queue pair had.
    pub send_frames: u64,
    /// Frames of 4 KiB that the outstanding receives of one queue pair had.
    pub receive_frames: u64,
}

impl Used {
    /// What a Mac's device has: the limits of these numbers.
    pub fn limits() -> Self {
        let frames = frames(MESSAGE_BYTES);
        Used {
            device: String::new(),
            queue_pairs: THUNDERBOLT_QUEUE_PAIRS as u64,
            regions: Resource::Region.limit() as u64,
            domains: Resource::Domain.limit() as u64,
            completion_queues: Resource::Queue.limit() as u64,
            send_frames: frames,
            receive_frames: frames,
        }
    }

    pub(crate) fn read(device: String, usage: &Usage, claims: &Claims) -> Self {
        Used {
            device,
            queue_pairs: usage.queue_pairs.load(Ordering::Relaxed),
            regions: claims.most(Resource::Region),
            domains: claims.most(Resource::Domain),
            completion_queues: claims.most(Resource::Queue),
            send_frames: usage.sends.load(Ordering::Relaxed),
            receive_frames: usage.receives.load(Ordering::Relaxed),
        }
    }
}
