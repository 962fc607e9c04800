//! What a device has a limited number of besides queue pairs, over all processes that use it.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::process::Process;

/// What a Mac's device has a limited number of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Memory regions.
    Region,
    /// Protection domains.
    Domain,
    /// Completion queues.
    Queue,
}

impl Resource {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Region, Self::Domain, Self::Queue];

    /// How many of them a device has.
    pub const fn limit(self) -> usize {
        match self {
            Self::Region => 100,
            Self::Domain | Self::Queue => 11,
        }
    }

    /// The first of its entries.
    const fn start(self) -> usize {
        match self {
            Self::Region => 0,
            Self::Domain => Self::Region.limit(),
            Self::Queue => Self::Domain.start() + Self::Domain.limit(),
        }
    }
}

const ENTRIES: usize = Resource::Queue.start() + Resource::Queue.limit();

/// The processes that hold a device's resources. All zeros is none in use. What a process
/// held when it ended is free again.
#[derive(Debug)]
#[repr(C)]
pub struct Claims {
    owners: [AtomicU64; ENTRIES],
    /// For each resource, the most that were held at a time.
    most: [AtomicU64; Resource::ALL.len()],
}

impl Default for Claims {
    fn default() -> Self {
        Claims {
            owners: std::array::from_fn(|_| AtomicU64::default()),
            most: Default::default(),
        }
    }
}

/// One of a device's resources, held by this process.
#[derive(Debug)]
#[must_use = "it is held until it is given back"]
pub struct Claimed {
    entry: usize,
    owner: u64,
}

impl Claims {
    /// Claims one for this process; `None` if all are in use.
    pub fn claim(&self, resource: Resource) -> Option<Claimed> {
        let owner = Process::own().to_word();
        let claimed = |entry: &AtomicU64| {
            let before = entry.load(Ordering::Relaxed);
            // To look whether a process is alive takes a while, and it is mostly this one.
            let is_free = before != owner
                && Process::from_word(before).is_none_or(|process| !process.is_alive());
            is_free && exchange(entry, before, owner)
        };
        let free = self.entries(resource).iter().position(claimed)?;
        let entry = resource.start() + free;
        // The first free one is taken, so all before it are held.
        self.most[resource as usize].fetch_max(free as u64 + 1, Ordering::Relaxed);
        Some(Claimed { entry, owner })
    }

    /// Gives one back, unless another process has it by now.
    pub fn release(&self, claimed: &Claimed) {
        exchange(&self.owners[claimed.entry], claimed.owner, 0);
    }

    /// How many are in use.
    pub fn used(&self, resource: Resource) -> usize {
        let entries = self.entries(resource).iter();
        let words = entries.map(|entry| entry.load(Ordering::Relaxed));
        let owners = words.filter_map(Process::from_word);
        owners.filter(|process| process.is_alive()).count()
    }

    /// The most that were in use at a time.
    pub fn most(&self, resource: Resource) -> u64 {
        self.most[resource as usize].load(Ordering::Relaxed)
    }

    fn entries(&self, resource: Resource) -> &[AtomicU64] {
        &self.owners[resource.start()..][..resource.limit()]
    }
}

fn exchange(entry: &AtomicU64, from: u64, to: u64) -> bool {
    entry
        .compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed)
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_run_out_and_come_back() {
        let claims = Claims::default();
        for resource in Resource::ALL {
            let held: Vec<_> = std::iter::from_fn(|| claims.claim(resource)).collect();
            assert_eq!(held.len(), resource.limit());
            assert_eq!(claims.used(resource), resource.limit());
            claims.release(&held[1]);
            assert_eq!(claims.used(resource), resource.limit() - 1);
            assert!(claims.claim(resource).is_some());
            assert!(claims.claim(resource).is_none());
            claims.release(&held[0]);
            assert_eq!(claims.most(resource), resource.limit() as u64);
        }
    }

    #[test]
    fn those_of_an_ended_process_are_free() {
        let claims = Claims::default();
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("true runs");
        let word = Process::numbered(child.id()).to_word();
        child.wait().expect("true ends");
        for entry in &claims.owners {
            entry.store(word, Ordering::Relaxed);
        }
        assert_eq!(claims.used(Resource::Domain), 0);
        assert!(claims.claim(Resource::Domain).is_some());
    }
}
