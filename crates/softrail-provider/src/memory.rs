//! The application's registered memory and its access rights.

use std::{
    slice,
    sync::{Mutex, MutexGuard},
};

use super::{bindings as ibv, lock};

/// The memory regions of a protection domain, sorted by key: there are few of them, and
/// each message looks up some.
#[derive(Debug, Default)]
pub struct Regions(Mutex<Vec<(u32, Region)>>);

/// Registered memory.
#[derive(Debug, Clone, Copy)]
pub struct Region {
    /// The address in this process.
    pub host: u64,
    /// The address by which requests name it.
    pub address: u64,
    pub bytes: u64,
    /// Its access rights: `ibv_access_flags`.
    pub access: u32,
}

impl Regions {
    pub fn insert(&self, key: u32, region: Region) {
        let mut regions = lock(&self.0);
        match position(&regions, key) {
            Ok(index) => regions[index].1 = region,
            Err(index) => regions.insert(index, (key, region)),
        }
    }

    pub fn remove(&self, key: u32) {
        let mut regions = lock(&self.0);
        if let Ok(index) = position(&regions, key) {
            regions.remove(index);
        }
    }

    /// Keeps every region registered until the guard is dropped.
    pub fn hold(&self) -> Held<'_> {
        Held(lock(&self.0))
    }
}

/// The index of a key's region, or where to insert it.
fn position(regions: &[(u32, Region)], key: u32) -> Result<usize, usize> {
    regions.binary_search_by_key(&key, |(key, _)| *key)
}

/// Regions that cannot be deregistered while this is held.
pub struct Held<'a>(MutexGuard<'a, Vec<(u32, Region)>>);

impl Held<'_> {
    /// The address of `memory`, if all of it is in the region of its key and the region
    /// permits `access`.
    pub fn find(&self, memory: &Memory, access: u32) -> Option<Span> {
        if memory.bytes == 0 {
            return Some(Span::EMPTY);
        }
        let (_, region) = &self.0[position(&self.0, memory.key).ok()?];
        let offset = memory.address.checked_sub(region.address)?;
        let inside = offset.checked_add(memory.bytes)? <= region.bytes;
        let allowed = region.access & access == access;
        (inside && allowed).then_some(Span {
            host: region.host + offset,
            bytes: memory.bytes,
        })
    }

    /// The same for every piece.
    pub fn find_all(&self, pieces: &[Memory], access: u32) -> Option<Spans> {
        match pieces {
            [piece] => self.find(piece, access).map(Spans::One),
            pieces => pieces
                .iter()
                .map(|piece| self.find(piece, access))
                .collect::<Option<_>>()
                .map(Spans::Many),
        }
    }
}

/// A piece of the application's memory, as its work request describes it.
#[derive(Debug, Clone, Copy)]
pub struct Memory {
    pub address: u64,
    pub bytes: u64,
    pub key: u32,
}

impl From<&ibv::ibv_sge> for Memory {
    fn from(entry: &ibv::ibv_sge) -> Self {
        Memory {
            address: entry.addr,
            bytes: u64::from(entry.length),
            key: entry.lkey,
        }
    }
}

/// Memory of this process.
#[derive(Debug, Clone, Copy)]
pub struct Span {
    pub host: u64,
    pub bytes: u64,
}

impl Span {
    const EMPTY: Span = Span { host: 0, bytes: 0 };
}

/// Memory of this process, in order. Nearly always one piece.
#[derive(Debug)]
pub enum Spans {
    One(Span),
    Many(Vec<Span>),
}

impl Spans {
    pub fn as_slice(&self) -> &[Span] {
        match self {
            Spans::One(span) => slice::from_ref(span),
            Spans::Many(spans) => spans,
        }
    }
}
