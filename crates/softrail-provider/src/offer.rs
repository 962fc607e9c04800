//! What devices offer, by the rig's profile.

use rig::Profile;
use softrail::{
    claims::Resource,
    fabric::{MESSAGE_BYTES, QUEUE_BYTES, frames},
    shm::SLOTS,
    usage::THUNDERBOLT_QUEUE_PAIRS,
};

/// The limits of a device, its port and its queue pairs.
#[derive(Debug)]
pub struct Offer {
    pub queue_pairs: usize,
    pub domains: u32,
    pub completion_queues: u32,
    pub regions: u32,
    /// The longest memory region, in bytes.
    pub region: u64,
    /// The longest message, in bytes.
    pub message: u64,
    /// The deepest queue: requests, or, where there are [credits](Self::has_credits),
    /// frames.
    pub depth: u32,
    /// Entries of a scatter-gather list.
    pub scatter: u32,
    /// Inline bytes of a send.
    pub inline: u32,
    /// Whether a send waits until its receive was posted, as over Thunderbolt. Then every
    /// send is for one receive of as many frames, and nothing but sends is offered.
    pub has_credits: bool,
}

/// Apple's technote TN3205 has queue pairs, frames and messages; the other limits are those
/// that `ibv_devinfo` shows on a Mac, and the number of regions is what people ran into.
const THUNDERBOLT: Offer = Offer {
    queue_pairs: THUNDERBOLT_QUEUE_PAIRS,
    domains: Resource::Domain.limit() as u32,
    completion_queues: Resource::Queue.limit() as u32,
    regions: Resource::Region.limit() as u32,
    region: 4 << 30,
    message: MESSAGE_BYTES,
    depth: frames(MESSAGE_BYTES) as u32,
    scatter: 1,
    inline: 0,
    has_credits: true,
};

const RDMA: Offer = Offer {
    queue_pairs: SLOTS,
    domains: 1 << 16,
    completion_queues: 1 << 16,
    regions: 1 << 20,
    region: u64::MAX,
    message: QUEUE_BYTES,
    depth: 1 << 14,
    scatter: 16,
    inline: 1024,
    has_credits: false,
};

/// The depth that a Mac grants at least, in frames: who asked for 256 was granted 1023.
const LEAST_DEPTH: u32 = 1023;

impl Offer {
    pub fn of(profile: Profile) -> &'static Self {
        match profile {
            Profile::Thunderbolt => &THUNDERBOLT,
            Profile::Rdma => &RDMA,
        }
    }

    /// The depth that a program gets that asks for `wanted`.
    pub fn granted(&self, wanted: u32) -> u32 {
        match self.has_credits && wanted > 0 {
            true => wanted.max(LEAST_DEPTH).min(self.depth),
            false => wanted,
        }
    }

    /// How much of a queue's depth a request of `bytes` takes.
    pub fn depth_of(&self, bytes: u64) -> u64 {
        if self.has_credits { frames(bytes) } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_grants_what_the_field_saw() {
        let offer = Offer::of(Profile::Thunderbolt);
        let granted = [0, 1, 256, 1024, 4095].map(|wanted| offer.granted(wanted));
        assert_eq!(granted, [0, 1023, 1023, 1024, 4095]);
        assert_eq!(offer.depth_of(0), 1);
        assert_eq!(offer.depth_of(MESSAGE_BYTES), 4095);
    }
}
