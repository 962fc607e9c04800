//! Cables for the ranks of a cell, emulated or real.

use std::{
    env,
    error::Error,
    fs,
    os::unix::fs::symlink,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use meter::{FILE_VARIABLE, FRAME_BYTES, NEXT_VARIABLE, Sheet};
use rig::{Cables, End, Rig};
use softrail::{
    Fabric, LIBRARY, LIBRARY_PATH, Player,
    counters::{Counters, by_cable},
};
use tempfile::TempDir;

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
    /// The environment variables that a rank on this node needs to use them. Paths are of this
    /// machine; the meter's file ([`FILE_VARIABLE`]) then has a copy of what is counted there.
    fn env(&self, node: &str) -> Vec<(String, String)>;

    /// The address at which rank 0 listens for the others, as `address:port`.
    fn coordinator(&self) -> String;

    /// The counters of each direction of each cable. Empty if they cannot be counted.
    fn counters(&self) -> Vec<Counters>;

    /// The counters of the directions away from a node.
    fn sent(&self, node: &str) -> Vec<Counters> {
        let mut counters = self.counters();
        counters.retain(|it| (it.from.split_once(':')).is_some_and(|(from, _)| from == node));
        counters
    }

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

/// Cables whose messages a meter counts in the ranks (the crate `meter-verbs`), in the place
/// of counters of the cables' own. Real cables have none.
#[derive(Debug, Clone)]
pub struct Metered<C> {
    /// The cables.
    pub cables: C,
    /// The meter's library.
    pub meter: PathBuf,
}

impl<C: Cabling> Cabling for Metered<C> {
    fn hosts(&self) -> Option<&Hosts> {
        self.cables.hosts()
    }

    fn plug(&self, rig: &Rig) -> Result<Box<dyn Plugged>, Box<dyn Error + Send + Sync>> {
        let cables = self.cables.plug(rig)?;
        let folder = tempfile::Builder::new().prefix("rail-meter-").tempdir()?;
        symlink(fs::canonicalize(&self.meter)?, folder.path().join(LIBRARY))?;
        let sheet = |(place, _)| Sheet::open(&folder.path().join(format!("counters-{place}")));
        let nodes = rig.nodes.iter().enumerate();
        Ok(Box::new(MeteredCables {
            sheets: nodes.map(sheet).collect::<Result<_, _>>()?,
            rig: rig.clone(),
            cables,
            searched: match self.hosts() {
                None => env::var(LIBRARY_PATH).unwrap_or_default(),
                // What a loader searches there is not known here.
                Some(_) => String::new(),
            },
            folder,
        }))
    }
}

struct MeteredCables {
    cables: Box<dyn Plugged>,
    rig: Rig,
    /// Of each node of the rig.
    sheets: Vec<Sheet>,
    /// Where a loader looks for libraries if the cables do not say.
    searched: String,
    /// Has the meter under the name of the verbs library, and the files of counters.
    folder: TempDir,
}

impl MeteredCables {
    /// What one end of a cable has sent.
    fn sent(&self, cable: &rig::Cable, [from, to]: [&End; 2]) -> Counters {
        let sheet = self.rig.rank(&from.node).map(|place| &self.sheets[place]);
        let read = sheet.map(Sheet::read).unwrap_or_default();
        let device = read.into_iter().find(|it| it.device == from.device);
        let link = cable.link;
        Counters {
            cable: cable.name.clone(),
            from: from.to_string(),
            to: to.to_string(),
            bytes: device.as_ref().map_or(0, |it| it.sent_frames * FRAME_BYTES),
            messages: device.as_ref().map_or(0, |it| it.sent),
            depth: device.as_ref().map(|it| it.depth),
            bytes_per_second: link.bytes_per_second,
            latency_ns: u64::try_from(link.latency.as_nanos()).unwrap_or(u64::MAX),
            ..Counters::default()
        }
    }
}

impl Plugged for MeteredCables {
    fn env(&self, node: &str) -> Vec<(String, String)> {
        let mut variables = self.cables.env(node);
        let folder = self.folder.path();
        let place = variables.iter().position(|(name, _)| name == LIBRARY_PATH);
        let searched = match place {
            Some(place) => variables.remove(place).1,
            None => self.searched.clone(),
        };
        let mut behind = env::split_paths(&searched).map(|it| it.join(LIBRARY));
        // By its real name, which is that of the part which travels.
        let next = behind.find_map(|it| fs::canonicalize(it).ok());
        let mut with = folder.display().to_string();
        if !searched.is_empty() {
            with = format!("{with}:{searched}");
        }
        variables.push((LIBRARY_PATH.to_owned(), with));
        // Without one the meter takes the system's.
        let next = next.map(|it| (NEXT_VARIABLE.to_owned(), it.display().to_string()));
        variables.extend(next);
        if let Some(place) = self.rig.rank(node) {
            let file = folder.join(format!("counters-{place}"));
            variables.push((FILE_VARIABLE.to_owned(), file.display().to_string()));
        }
        variables
    }

    fn coordinator(&self) -> String {
        self.cables.coordinator()
    }

    fn counters(&self) -> Vec<Counters> {
        let cables = self.rig.cables.iter();
        let both = cables.flat_map(|cable| {
            let [a, b] = &cable.ends;
            [self.sent(cable, [a, b]), self.sent(cable, [b, a])]
        });
        both.collect()
    }

    fn not_done(&self) -> Vec<String> {
        self.cables.not_done()
    }
}
