//! One right to use the store for a whole command.

use std::sync::{Arc, Mutex, PoisonError};

use crate::{Freed, Kind, Shared, Store, Wait, error::Result};

/// A store and the right to use it, taken at the first use and kept for as long as a clone
/// lives: what one part of a command found, another may rely on.
#[derive(Debug, Clone)]
pub struct Lease {
    store: Store,
    held: Arc<Mutex<Option<Shared>>>,
}

impl Lease {
    /// On `store`, which is not touched yet.
    pub fn of(store: Store) -> Self {
        Lease {
            store,
            held: Arc::default(),
        }
    }

    /// The store.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The right to use the store, taken now unless a clone has it.
    ///
    /// # Errors
    /// As [`Store::share`].
    pub fn shared(&self, wait: &Wait<'_>) -> Result<Shared> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = &*held {
            return Ok(shared.clone());
        }
        let shared = self.store.share(wait)?;
        *held = Some(shared.clone());
        Ok(shared)
    }

    /// As [`Store::collect`]. What this lease holds does not keep itself from collecting.
    /// What is in the middle of a use has a [`Shared`] of its own, and does.
    ///
    /// # Errors
    /// As [`Store::collect`].
    pub fn collect(&self, keep: impl Fn(Kind, &str) -> bool, dry_run: bool) -> Result<Vec<Freed>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if !dry_run {
            held.take();
        }
        self.store.collect(keep, dry_run)
    }
}
