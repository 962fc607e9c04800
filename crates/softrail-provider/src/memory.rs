//! Which memory the application registered.

use std::{collections::HashMap, sync::Mutex};

use super::lock;

/// The memory regions of a protection domain, by local key.
#[derive(Debug, Default)]
pub struct Regions(Mutex<HashMap<u32, Region>>);

/// Registered memory: address and length.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    pub address: u64,
    pub bytes: u64,
}

impl Regions {
    pub fn insert(&self, key: u32, region: Region) {
        lock(&self.0).insert(key, region);
    }

    pub fn remove(&self, key: u32) {
        lock(&self.0).remove(&key);
    }

    /// Whether all of `memory` is registered under its key.
    pub fn covers(&self, memory: &Memory) -> bool {
        memory.bytes == 0
            || lock(&self.0).get(&memory.key).is_some_and(|region| {
                memory.address >= region.address
                    && memory.address.saturating_add(memory.bytes)
                        <= region.address.saturating_add(region.bytes)
            })
    }
}

/// A piece of the application's memory, as its work request describes it.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub address: u64,
    pub bytes: u64,
    pub key: u32,
}

impl Memory {
    /// No memory at all, which needs no registration.
    pub const EMPTY: Memory = Memory {
        address: 0,
        bytes: 0,
        key: 0,
    };
}
