//! Cables for the ranks of a cell, emulated or real.

use std::{
    error::Error,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rig::{Cables, Rig};
use softrail::{
    Fabric, Player,
    counters::{Counters, by_cable},
};

use crate::hosts::Hosts;

/// A source of cables for ranks, following a rig.
pub trait Cabling {
    /// Connects the cables of a rig that has been reduced to those of a cell. They are
    /// disconnected when the returned value is dropped.
    ///
    /// # Errors
    /// When the cables cannot be provided.
    fn plug(&self, rig: &Rig) -> Result<Box<dyn Plugged>, Box<dyn Error + Send + Sync>>;

    /// The machines at the ends of the cables, if they are not this one.
    fn hosts(&self) -> Option<&Hosts> {
        None
    }
}

/// Cables that are connected.
pub trait Plugged {
    /// The environment variables that a rank on this node needs to use them.
    fn env(&self, node: &str) -> Vec<(String, String)>;

    /// The address at which rank 0 listens for the others, as `address:port`.
    fn coordinator(&self) -> String;

    /// The counters of each direction of each cable. Empty if they cannot be counted.
    fn counters(&self) -> Vec<Counters>;

    /// The bytes that all cables together have carried so far. While this number grows,
    /// silent ranks are working.
    fn moved(&self) -> u64 {
        by_cable(self.counters()).into_values().sum()
    }

    /// The rig's faults that should have begun or ended by now and did not, with the
    /// reasons. The measured rig then differs from the described one.
    fn not_done(&self) -> Vec<String> {
        vec![]
    }
}

/// Cables emulated by `softrail`: a fresh fabric for each cell, so that its counters and
/// its queue pairs start from zero.
#[derive(Debug, Clone)]
pub struct Emulated {
    /// The provider's library, `libsoftrail_provider.so`.
    pub provider: PathBuf,
    /// The parent folder of the fabrics.
    pub parent: PathBuf,
}

impl Emulated {
    /// Emulation by the provider that was built along with the running program, in shared
    /// memory if the system has it.
    ///
    /// # Errors
    /// When the provider is missing.
    pub fn beside_this_program() -> Result<Self, softrail::FabricError> {
        Ok(Self {
            provider: softrail::provider_library()?,
            parent: softrail::default_parent(),
        })
    }
}

/// Cables between machines: real ones, or emulated ones if the machines share memory.
pub struct Between {
    /// The machines.
    pub hosts: Hosts,
    /// How cables are emulated, for a rig whose cables are.
    pub emulated: Emulated,
}

impl Cabling for Between {
    fn plug(&self, rig: &Rig) -> Result<Box<dyn Plugged>, Box<dyn Error + Send + Sync>> {
        match rig.kind {
            Cables::Emulated => self.emulated.plug(rig),
            Cables::Real => Ok(Box::new(Real)),
        }
    }

    fn hosts(&self) -> Option<&Hosts> {
        Some(&self.hosts)
    }
}

/// Cables that are there. Ranks find them by the system's libibverbs, and nobody counts
/// what they carry.
struct Real;

impl Plugged for Real {
    fn env(&self, _node: &str) -> Vec<(String, String)> {
        vec![]
    }

    /// Rank 0's machine has it.
    fn coordinator(&self) -> String {
        String::new()
    }

    fn counters(&self) -> Vec<Counters> {
        vec![]
    }
}

impl Cabling for Emulated {
    fn plug(&self, rig: &Rig) -> Result<Box<dyn Plugged>, Box<dyn Error + Send + Sync>> {
        let fabric = Fabric::create(&self.parent, rig)?;
        let provider_env = fabric.provider_env(&self.provider)?;
        let not_done = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&not_done);
        // Ranks are started right after this.
        let faults = fabric.play(move |step, done| {
            if let Err(error) = done {
                let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
                told.push(format!(
                    "{step}: not done: {}",
                    softrail::with_causes(&error)
                ));
            }
        });
        Ok(Box::new(EmulatedCables {
            _faults: faults,
            not_done,
            fabric,
            provider_env,
        }))
    }
}

struct EmulatedCables {
    /// The rig's faults, as they begin and end.
    _faults: Player,
    not_done: Arc<Mutex<Vec<String>>>,
    fabric: Fabric,
    provider_env: Vec<(String, String)>,
}

impl Plugged for EmulatedCables {
    fn env(&self, node: &str) -> Vec<(String, String)> {
        let mut env = self.fabric.env(node);
        env.extend(self.provider_env.iter().cloned());
        env
    }

    fn coordinator(&self) -> String {
        self.fabric.coordinator().to_string()
    }

    fn counters(&self) -> Vec<Counters> {
        self.fabric.live().counters()
    }

    fn not_done(&self) -> Vec<String> {
        let told = self.not_done.lock();
        told.unwrap_or_else(PoisonError::into_inner).clone()
    }
}
