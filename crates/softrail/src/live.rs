//! A fabric that another process has launched: reads what its cables carry, and changes
//! their condition while programs run on them.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use rig::{CableFault, Defect, DeviceFault, End, Link, MessageFault, NodeFault, Rig, RigError};
use rustix::process::Signal;

use crate::{
    claims::Resource,
    condition::Broken,
    config::{RIG_FILE, cable_file},
    counters::Counters,
    injection::INJECTIONS,
    launch::{PREFIX, is_owned},
    private,
    shm::{EndState, SharedCable, ShmError, Side},
    usage::Used,
};

/// Why a fabric cannot be watched or changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LiveError {
    /// No running launcher has a fabric below the folder.
    #[error("no fabric is up below {}", parent.display())]
    None {
        /// The folder that was searched.
        parent: PathBuf,
    },
    /// More than one fabric is up.
    #[error("several fabrics are up: {}", list(folders))]
    Several {
        /// Their folders.
        folders: Vec<PathBuf>,
    },
    /// The folder is not a fabric's.
    #[error("cannot read the rig of the fabric, {}", path.display())]
    Unreadable {
        /// The rig file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file is not a rig.
    #[error("{}", path.display())]
    BadRig {
        /// The rig file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: RigError,
    },
    /// The memory of a cable cannot be used.
    #[error(transparent)]
    Shm(#[from] ShmError),
    /// The rig has no such cable.
    #[error("the rig has no cable '{name}'; its cables are {known}")]
    UnknownCable {
        /// The name.
        name: String,
        /// The rig's cables.
        known: String,
    },
    /// No cable of the rig ends in such a device.
    #[error("no cable of the rig ends in '{device}'; its devices are {known}")]
    UnknownDevice {
        /// The device as given.
        device: String,
        /// The rig's devices, as `node:device`.
        known: String,
    },
    /// The rig has no such node.
    #[error("the rig has no node '{name}'; its nodes are {known}")]
    UnknownNode {
        /// The name.
        name: String,
        /// The rig's nodes.
        known: String,
    },
    /// No process of a node uses the fabric.
    #[error("no process on node '{0}' has a queue pair on the fabric")]
    Idle(String),
    /// The processes of a node cannot be signalled.
    #[error("cannot signal process {process} on node '{node}'")]
    Signal {
        /// The node.
        node: String,
        /// The process.
        process: u32,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// A device already has as many pending message faults as it can have.
    #[error("{INJECTIONS} messages of '{0}' are to be dropped or delayed already")]
    Crowded(String),
    /// A fault that only a rig can state.
    #[error("a device cannot become {0} while programs have it")]
    NotLive(&'static str),
}

impl LiveError {
    /// Whether another fabric, name or time would help. Otherwise the system refused.
    pub fn is_input(&self) -> bool {
        !matches!(self, Self::Shm(_) | Self::Signal { .. })
    }

    /// The remedy.
    pub fn help(&self) -> Option<String> {
        let help = match self {
            Self::None { .. } => "start one with `cargo xtask rig up`, or name its folder",
            Self::Several { .. } => "name the folder of one",
            Self::Shm(error) => return error.help(),
            Self::Idle(_) => "start one, or wait until it is connected",
            Self::Crowded(_) => "wait for some of them",
            Self::NotLive(_) => "state it in the rig",
            _ => return None,
        };
        Some(help.to_owned())
    }
}

fn list(folders: &[PathBuf]) -> String {
    let names: Vec<_> = folders.iter().map(|it| it.display().to_string()).collect();
    names.join(", ")
}

/// Signals for the processes of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Kill them at once.
    Die,
    /// Stop them where they are.
    Stop,
    /// Let them continue.
    Continue,
}

/// A fabric that is up.
#[derive(Debug)]
pub struct Live {
    folder: PathBuf,
    rig: Rig,
    cables: Vec<SharedCable>,
}

impl Live {
    /// The only fabric that is up below `parent`.
    ///
    /// # Errors
    /// When there is no fabric, or more than one.
    pub fn only(parent: &Path) -> Result<Self, LiveError> {
        let entries = fs::read_dir(parent).into_iter().flatten().flatten();
        let mut folders: Vec<_> = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(PREFIX))
            .map(|entry| entry.path())
            .filter(|folder| is_owned(folder) && folder.join(RIG_FILE).exists())
            .collect();
        folders.sort();
        match &*folders {
            [] => Err(LiveError::None {
                parent: parent.to_owned(),
            }),
            [folder] => Self::attach(folder),
            _ => Err(LiveError::Several { folders }),
        }
    }

    /// The fabric in a folder.
    ///
    /// # Errors
    /// When there is no fabric.
    pub fn attach(folder: &Path) -> Result<Self, LiveError> {
        let path = folder.join(RIG_FILE);
        let text = private::read(&path).map_err(|source| LiveError::Unreadable {
            path: path.clone(),
            source,
        })?;
        let rig = Rig::parse(&text).map_err(|source| LiveError::BadRig { path, source })?;
        let cables = (0..rig.cables.len())
            .map(|index| SharedCable::open(&cable_file(folder, index)))
            .collect::<Result<_, _>>()?;
        Ok(Self::new(folder.to_owned(), rig, cables))
    }

    /// The fabric in `folder` with these cables, one for each of the rig's.
    pub(crate) fn new(folder: PathBuf, rig: Rig, cables: Vec<SharedCable>) -> Self {
        Live {
            folder,
            rig,
            cables,
        }
    }

    /// Whether the fabric's launcher still runs.
    pub fn is_up(&self) -> bool {
        is_owned(&self.folder)
    }

    /// Both directions of every cable, in the order of the rig.
    pub fn counters(&self) -> Vec<Counters> {
        let cables = self.rig.cables.iter().zip(&self.cables);
        cables
            .flat_map(|(cable, shared)| {
                Side::BOTH.map(|side| {
                    let ends = [side, side.opposite()].map(|side| &cable.ends[side.index()]);
                    Counters::read(&cable.name, ends, shared.end(side))
                })
            })
            .collect()
    }

    /// The most that programs used of each device at a time, in the order of the rig.
    pub fn used(&self) -> Vec<Used> {
        let ends = self.ends();
        ends.map(|(end, state)| Used::read(end.to_string(), &state.usage, &state.claims))
            .collect()
    }

    /// Takes all that is left of a device's queue pairs, or of its memory regions, for this
    /// process, and keeps it until the process ends.
    ///
    /// # Errors
    /// When no cable ends in the device, or when there is no memory for so many.
    pub fn exhaust(&self, device: &str, regions: bool) -> Result<(), LiveError> {
        let (cable, side) = self.place(device)?;
        let claims = &cable.end(side).claims;
        match regions {
            true => std::iter::from_fn(|| claims.claim(Resource::Region)).for_each(drop),
            false => cable.claim_all(side)?,
        }
        Ok(())
    }

    /// Breaks a cable in this way or mends it, in both directions.
    ///
    /// # Errors
    /// When the rig has no such cable.
    pub fn set_cable(&self, cable: &str, broken: Option<Broken>) -> Result<(), LiveError> {
        let shared = self.cable(cable)?;
        for side in Side::BOTH {
            shared.end(side).condition.set_cable(broken);
        }
        self.ring();
        Ok(())
    }

    /// Changes the properties of a cable, in both directions or only in the direction
    /// away from one device.
    ///
    /// # Errors
    /// When the rig has no such cable, or the cable does not end in the device.
    pub fn change_link(
        &self,
        cable: &str,
        from: Option<&str>,
        change: impl Fn(&mut Link),
    ) -> Result<(), LiveError> {
        let shared = self.cable(cable)?;
        let only = from.map(|device| self.end(device)).transpose()?;
        for side in Side::BOTH {
            let end = shared.end(side);
            if only.is_none_or(|only| std::ptr::eq(only, end)) {
                let mut link = end.condition.link();
                change(&mut link);
                end.condition.set_link(&link);
            }
        }
        Ok(())
    }

    /// Injects or clears a fault of a device, given as `node:device`.
    ///
    /// # Errors
    /// When no cable ends in the device, or the fault cannot be injected while the device
    /// is used.
    pub fn set_fault(
        &self,
        device: &str,
        fault: DeviceFault,
        broken: bool,
    ) -> Result<(), LiveError> {
        if fault == DeviceFault::Absent {
            return Err(LiveError::NotLive(fault.name()));
        }
        self.break_device(device, fault, broken)
    }

    fn break_device(
        &self,
        device: &str,
        fault: DeviceFault,
        broken: bool,
    ) -> Result<(), LiveError> {
        self.end(device)?.condition.set(fault, broken);
        self.ring();
        Ok(())
    }

    /// Wakes every process that may be affected by a change: those that sleep until a
    /// cable is mended, and those that have the device open.
    fn ring(&self) {
        self.ends().for_each(|(_, state)| state.bell.ring());
    }

    /// Drops or delays a message that a device, given as `node:device`, is yet to send.
    /// Messages are counted from the next one as 0: those of one of the device's queue
    /// pairs, which are numbered from 0 in order of creation, or of all.
    ///
    /// # Errors
    /// When no cable ends in the device, or too many of its messages have pending faults.
    pub fn inject(
        &self,
        device: &str,
        queue_pair: Option<u32>,
        message: u32,
        fault: MessageFault,
    ) -> Result<(), LiveError> {
        let injections = &self.end(device)?.injections;
        match injections.add(queue_pair, message, fault) {
            true => Ok(()),
            false => Err(LiveError::Crowded(device.to_owned())),
        }
    }

    /// Sends a signal to the processes on a node that have a queue pair on the fabric,
    /// and to no others.
    ///
    /// # Errors
    /// When the rig has no such node, there is no such process, or the system refuses.
    pub fn order(&self, node: &str, order: Order) -> Result<(), LiveError> {
        if self.rig.rank(node).is_none() {
            return Err(LiveError::UnknownNode {
                name: node.to_owned(),
                known: names(self.rig.nodes.iter().map(|node| node.name.clone())),
            });
        }
        let signal = match order {
            Order::Die => Signal::KILL,
            Order::Stop => Signal::STOP,
            Order::Continue => Signal::CONT,
        };
        let ends = self.ends().filter(|(end, _)| end.node == node);
        // One process may have several queue pairs.
        let processes: BTreeSet<_> = ends.flat_map(|(_, state)| state.owners()).collect();
        // Every process is signalled before an error is returned: one process that cannot
        // be signalled must not keep the others from it.
        let sent: Vec<_> = processes
            .into_iter()
            .map(|process| {
                let sent = process.signal_user(&self.folder, signal);
                sent.map_err(|source| LiveError::Signal {
                    node: node.to_owned(),
                    process: process.number(),
                    source,
                })
            })
            .collect();
        let heard = sent.into_iter().collect::<Result<Vec<_>, _>>()?;
        match heard.contains(&true) {
            true => Ok(()),
            false => Err(LiveError::Idle(node.to_owned())),
        }
    }

    /// Begins or ends a fault of a rig.
    ///
    /// # Errors
    /// Those of the single changes.
    pub fn apply(&self, defect: &Defect, breaks: bool) -> Result<(), LiveError> {
        match defect {
            Defect::Device { device, kind } => {
                self.break_device(&device.to_string(), *kind, breaks)
            }
            Defect::Cable { cable, kind } => match kind {
                CableFault::Cut => self.set_cable(cable, breaks.then_some(Broken::Cut)),
                CableFault::Unplugged(then) => {
                    self.set_cable(cable, breaks.then_some(Broken::Unplugged(*then)))
                }
                CableFault::Degraded { .. } => {
                    let stated = self.rig.cables.iter().find(|it| it.name == *cable);
                    self.change_link(cable, None, |link| {
                        *link = match (breaks, stated) {
                            (false, Some(stated)) => stated.link,
                            _ => kind.degrade(*link),
                        };
                    })
                }
            },
            Defect::Message {
                device,
                queue_pair,
                message,
                kind,
            } => self.inject(&device.to_string(), Some(*queue_pair), *message, *kind),
            Defect::Node { node, kind } => {
                let order = match (kind, breaks) {
                    (NodeFault::Kill, _) => Order::Die,
                    (NodeFault::Freeze, true) => Order::Stop,
                    (NodeFault::Freeze, false) => Order::Continue,
                };
                self.order(node, order)
            }
        }
    }

    /// Every end of a cable.
    fn ends(&self) -> impl Iterator<Item = (&End, &EndState)> {
        self.places()
            .map(|(end, cable, side)| (end, cable.end(side)))
    }

    fn places(&self) -> impl Iterator<Item = (&End, &SharedCable, Side)> {
        let cables = self.rig.cables.iter().zip(&self.cables);
        cables.flat_map(|(cable, shared)| {
            Side::BOTH.map(|side| (&cable.ends[side.index()], shared, side))
        })
    }

    fn cable(&self, name: &str) -> Result<&SharedCable, LiveError> {
        let cables = &self.rig.cables;
        match cables.iter().position(|cable| cable.name == name) {
            Some(index) => Ok(&self.cables[index]),
            None => Err(LiveError::UnknownCable {
                name: name.to_owned(),
                known: names(cables.iter().map(|cable| cable.name.clone())),
            }),
        }
    }

    fn end(&self, device: &str) -> Result<&EndState, LiveError> {
        let (cable, side) = self.place(device)?;
        Ok(cable.end(side))
    }

    /// The cable that ends in a device, and which of its ends this is.
    fn place(&self, device: &str) -> Result<(&SharedCable, Side), LiveError> {
        let found = self.places().find(|(end, ..)| end.to_string() == device);
        match found {
            Some((_, cable, side)) => Ok((cable, side)),
            None => Err(LiveError::UnknownDevice {
                device: device.to_owned(),
                known: names(self.ends().map(|(end, _)| end.to_string())),
            }),
        }
    }
}

fn names(names: impl Iterator<Item = String>) -> String {
    names.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Fabric;

    #[test]
    fn the_only_fabric_is_found_and_one_of_several_is_not_guessed() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let none = Live::only(parent.path()).expect_err("none is up");
        assert!(
            none.help().is_some_and(|help| help.contains("rig up")),
            "{none}"
        );
        let first = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
        let live = Live::only(parent.path()).expect("one is up");
        assert_eq!(live.counters().len(), 6);
        assert!(live.is_up());
        let second = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
        let several = Live::only(parent.path())
            .expect_err("two are up")
            .to_string();
        for fabric in [&first, &second] {
            assert!(several.contains(&fabric.path().display().to_string()));
        }
        drop(first);
        assert!(!live.is_up());
    }

    #[test]
    fn what_is_changed_is_told() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let fabric = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
        let live = Live::attach(fabric.path()).expect("it is up");
        live.set_cable("cable-2", Some(Broken::Cut))
            .expect("a cable");
        let slower = |link: &mut Link| link.bytes_per_second = 7;
        live.change_link("cable-1", Some("b:rdma_en5"), slower)
            .expect("a device");
        live.set_fault("a:rdma_en7", DeviceFault::NoGid, true)
            .expect("a device");
        let told: Vec<_> = live
            .counters()
            .into_iter()
            .map(|it| (it.from, it.bytes_per_second == 7, it.cut, it.faults))
            .collect();
        let line = |from: &str, slow, cut, faults: &[&str]| {
            let faults: Vec<_> = faults.iter().map(|it| (*it).to_owned()).collect();
            (from.to_owned(), slow, cut, faults)
        };
        assert_eq!(
            told,
            [
                line("a:rdma_en5", false, false, &[]),
                line("b:rdma_en5", true, false, &[]),
                line("a:rdma_en6", false, true, &[]),
                line("b:rdma_en6", false, true, &[]),
                line("a:rdma_en7", false, false, &["no-gid"]),
                line("b:rdma_en7", false, false, &[]),
            ]
        );
    }

    #[test]
    fn mistakes_are_told_with_what_would_be_right() {
        let parent = tempfile::tempdir().expect("a temporary folder");
        let fabric = Fabric::create(parent.path(), &Rig::embedded()).expect("a fabric");
        let live = Live::attach(fabric.path()).expect("it is up");
        let cable = live
            .set_cable("cable-9", Some(Broken::Cut))
            .expect_err("no such cable");
        assert!(cable.to_string().contains("cable-1, cable-2"), "{cable}");
        let fault = DeviceFault::NoGid;
        let device = live
            .set_fault("rdma_en5", fault, true)
            .expect_err("no node");
        assert!(device.to_string().contains("a:rdma_en5"), "{device}");
        let absent = live.set_fault("a:rdma_en5", DeviceFault::Absent, true);
        assert!(absent.is_err());
    }
}
