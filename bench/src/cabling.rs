//! Cables for the ranks of a cell, emulated or real.

use std::{
    error::Error,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rail_matrix::Rig;
use softrail::{
    Fabric, Player,
    counters::{Counters, by_cable},
};

/// Something that can cable ranks up as a rig says.
pub trait Cabling {
    /// Plugs in the cables of a rig that has been reduced to those of a cell.
    /// They are unplugged when what is returned is dropped.
    ///
    /// # Errors
    /// Whatever keeps the cables from being there.
    fn plug(&self, rig: &Rig) -> Result<Box<dyn Plugged>, Box<dyn Error + Send + Sync>>;
}

/// Cables that are plugged in.
pub trait Plugged {
    /// What a rank on this node needs in its environment to use them.
    fn env(&self, node: &str) -> Vec<(String, String)>;

    /// Where rank 0 listens for the others, as `address:port`.
    fn coordinator(&self) -> String;

    /// What each direction of each cable has carried. Empty when that cannot be
    /// counted.
    fn counters(&self) -> Vec<Counters>;

    /// The bytes that all cables together have carried so far: while they grow, ranks that
    /// say nothing are at work.
    fn moved(&self) -> u64 {
        by_cable(self.counters()).into_values().sum()
    }

    /// What the rig wanted broken or mended by now and was not, and why. What is measured
    /// is then not what the rig describes.
    fn not_done(&self) -> Vec<String> {
        vec![]
    }
}

/// Cables emulated by `softrail`: a fresh fabric a cell, so that its counters
/// and its queue pairs begin at nothing.
#[derive(Debug, Clone)]
pub struct Emulated {
    /// The built provider, `libsoftrail_provider.so`.
    pub provider: PathBuf,
    /// The folder that fabrics are made in.
    pub parent: PathBuf,
}

impl Emulated {
    /// Emulation by the provider that was built along with the running program,
    /// in shared memory where the system has it.
    ///
    /// # Errors
    /// When the provider is not there.
    pub fn beside_this_program() -> Result<Self, softrail::FabricError> {
        Ok(Self {
            provider: softrail::provider_library()?,
            parent: softrail::default_parent(),
        })
    }
}

impl Cabling for Emulated {
    fn plug(&self, rig: &Rig) -> Result<Box<dyn Plugged>, Box<dyn Error + Send + Sync>> {
        let fabric = Fabric::create(&self.parent, rig)?;
        let provider_env = fabric.provider_env(&self.provider)?;
        let not_done = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&not_done);
        // Ranks are started at once.
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
    /// Those of the rig, as they come and go.
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
