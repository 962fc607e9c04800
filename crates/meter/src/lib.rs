//! Counters of RDMA devices, in a file that a process fills and its launcher reads.
//!
//! The process has loaded `librails_meter` (the crate `meter-verbs`) in the place of the
//! verbs library. Both map the file, which is a `Layout` of atomics; all zeros is a file
//! in which nothing is counted yet. Several processes may count in one file, as long as
//! their devices have different names: devices of one name are counted together.
#![allow(unsafe_code)]

use std::{
    fs::OpenOptions,
    io,
    mem::size_of,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    thread,
};

use memmap2::{MmapOptions, MmapRaw};
use serde::Serialize;

/// Names the file. Without it nothing is counted.
pub const FILE_VARIABLE: &str = "RAILS_METER_FILE";

/// Names the verbs library behind the meter by its path. Without it the meter takes the
/// system's on macOS, and there is none elsewhere: its usual name finds the meter itself.
pub const NEXT_VARIABLE: &str = "RAILS_METER_NEXT";

/// The file name that cargo gives the library of `meter-verbs`.
pub const LIBRARY: &str = if cfg!(target_os = "macos") {
    "librails_meter.dylib"
} else {
    "librails_meter.so"
};

/// Identifies the file and the version of its layout.
const MAGIC: u64 = u64::from_be_bytes(*b"railmtr\x01");

/// The bytes of a frame over Thunderbolt. A frame is whole on the cable, however little is in
/// it, as Apple's technote TN3205 has it and emulated cables do.
pub const FRAME_BYTES: u64 = 4096;

/// Devices that a file has room for.
pub const DEVICES: usize = 32;

/// Bytes of a device's name, which `verbs.h` limits too (`IBV_SYSFS_NAME_MAX`).
const NAME: usize = 64;

/// How often a process looks whether another has finished writing a name. A process that
/// died while it did leaves an unused place.
const LOOKS: usize = 10_000;

/// The states of a place for a device.
const FREE: u32 = 0;
const CLAIMED: u32 = 1;
const NAMED: u32 = 2;

#[repr(C)]
struct Layout {
    magic: AtomicU64,
    devices: [Device; DEVICES],
}

/// The counters of one device. On cache lines of its own, because other threads write
/// those of other devices.
#[repr(C, align(128))]
#[derive(Debug)]
pub struct Device {
    state: AtomicU32,
    name: [AtomicU8; NAME],
    /// Bytes of the messages that were accepted for sending.
    pub sent_bytes: AtomicU64,
    /// Their number.
    pub sent: AtomicU64,
    /// Their frames of [`FRAME_BYTES`]. An empty message has one, too.
    pub sent_frames: AtomicU64,
    /// Bytes of the messages that arrived.
    pub received_bytes: AtomicU64,
    /// Their number.
    pub received: AtomicU64,
    /// The largest number of sends that one queue pair had in flight at a time.
    pub depth: AtomicU64,
    /// How often a look for completions found none after one that did, or at first.
    pub waits: AtomicU64,
    /// Completions that reported a failure.
    pub failed: AtomicU64,
}

/// What [`Device`] counted, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reading {
    /// The device.
    pub device: String,
    /// Bytes of the messages that were accepted for sending.
    pub sent_bytes: u64,
    /// Their number.
    pub sent: u64,
    /// Their frames of [`FRAME_BYTES`]. An empty message has one, too.
    pub sent_frames: u64,
    /// Bytes of the messages that arrived.
    pub received_bytes: u64,
    /// Their number.
    pub received: u64,
    /// The largest number of sends that one queue pair had in flight at a time.
    pub depth: u64,
    /// How often a look for completions found none after one that did, or at first.
    pub waits: u64,
    /// Completions that reported a failure.
    pub failed: u64,
}

/// Why there is no file of counters.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// The operating system refused.
    #[error("cannot {action} the counters {}", path.display())]
    Io {
        /// `open`, `size` or `map`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file is something else, or of another version.
    #[error("{} has no counters of this version of the meter", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
}

/// A file of counters, mapped.
#[derive(Debug)]
pub struct Sheet {
    map: MmapRaw,
}

impl Sheet {
    /// Opens a file of counters, and makes it if it is not there. Only its user can read it.
    ///
    /// # Errors
    /// If the file cannot be made or mapped, or is something else.
    pub fn open(path: &Path) -> Result<Self, SheetError> {
        let error = |action| {
            move |source| SheetError::Io {
                action,
                path: path.to_owned(),
                source,
            }
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let file = options.mode(0o600).open(path).map_err(error("open"))?;
        let length = size_of::<Layout>() as u64;
        let foreign = || SheetError::Foreign {
            path: path.to_owned(),
        };
        match file.metadata().map_err(error("size"))?.len() {
            0 => file.set_len(length).map_err(error("size"))?,
            other if other != length => return Err(foreign()),
            _ => {}
        }
        let map = MmapOptions::new().len(size_of::<Layout>()).map_raw(&file);
        let sheet = Self {
            map: map.map_err(error("map"))?,
        };
        let order = Ordering::AcqRel;
        let magic = &sheet.layout().magic;
        match magic.compare_exchange(0, MAGIC, order, Ordering::Acquire) {
            Ok(_) | Err(MAGIC) => Ok(sheet),
            Err(_) => Err(foreign()),
        }
    }

    fn layout(&self) -> &Layout {
        // SAFETY: the map is as long as a `Layout` and begins at a page, so it is aligned;
        // every bit pattern is a value of its atomics, which other processes may change;
        // the map lives as long as `self`.
        unsafe { &*self.map.as_ptr().cast::<Layout>() }
    }

    /// The counters of a device, which gets a place if it has none. `None` if all places
    /// have other devices. A name that is too long is cut.
    pub fn device(&self, name: &str) -> Option<&Device> {
        let bytes = &name.as_bytes()[..name.len().min(NAME)];
        let mut devices = self.layout().devices.iter();
        devices.find(|device| device.is_or_becomes(bytes))
    }

    /// What is counted of each device, in the order in which they were opened.
    pub fn read(&self) -> Vec<Reading> {
        let devices = self.layout().devices.iter();
        let named = devices.filter(|it| it.state.load(Ordering::Acquire) == NAMED);
        named.map(Device::read).collect()
    }
}

impl Device {
    /// Whether this place has the name, or was free and has it now.
    fn is_or_becomes(&self, name: &[u8]) -> bool {
        let order = Ordering::AcqRel;
        let claimed = self
            .state
            .compare_exchange(FREE, CLAIMED, order, Ordering::Acquire);
        if claimed.is_ok() {
            for (place, byte) in self.name.iter().zip(name) {
                place.store(*byte, Ordering::Relaxed);
            }
            self.state.store(NAMED, Ordering::Release);
            return true;
        }
        for _ in 0..LOOKS {
            if self.state.load(Ordering::Acquire) == NAMED {
                return self.name() == name;
            }
            thread::yield_now();
        }
        false
    }

    fn name(&self) -> Vec<u8> {
        let bytes = self.name.iter().map(|byte| byte.load(Ordering::Relaxed));
        bytes.take_while(|byte| *byte != 0).collect()
    }

    fn read(&self) -> Reading {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Reading {
            device: String::from_utf8_lossy(&self.name()).into_owned(),
            sent_bytes: of(&self.sent_bytes),
            sent: of(&self.sent),
            sent_frames: of(&self.sent_frames),
            received_bytes: of(&self.received_bytes),
            received: of(&self.received),
            depth: of(&self.depth),
            waits: of(&self.waits),
            failed: of(&self.failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_one_counts_the_other_reads() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("counters");
        let (one, other) = (
            Sheet::open(&path).expect("made"),
            Sheet::open(&path).expect("opened"),
        );
        let device = one.device("rdma_en5").expect("a place");
        device.sent_bytes.fetch_add(4096, Ordering::Relaxed);
        device.depth.fetch_max(2, Ordering::Relaxed);
        // The same device, opened by another process.
        let again = other.device("rdma_en5").expect("its place");
        again.sent_bytes.fetch_add(1, Ordering::Relaxed);
        other.device("rdma_en6").expect("a place");
        let read = one.read();
        let names: Vec<_> = read.iter().map(|it| &*it.device).collect();
        assert_eq!(names, ["rdma_en5", "rdma_en6"]);
        assert_eq!((read[0].sent_bytes, read[0].depth), (4097, 2));
        assert_eq!(read[1].sent_bytes, 0);
    }

    #[test]
    fn devices_that_are_claimed_at_once_get_a_place_each() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("counters");
        thread::scope(|scope| {
            for thread in 0..8 {
                let path = &path;
                scope.spawn(move || {
                    let sheet = Sheet::open(path).expect("opened");
                    for device in 0..4 {
                        // Half of the names are common to all.
                        let name = format!("{}-{device}", if device < 2 { 9 } else { thread });
                        let device = sheet.device(&name).expect("a place");
                        device.sent.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        let mut read = Sheet::open(&path).expect("opened").read();
        read.sort_by(|a, b| a.device.cmp(&b.device));
        assert_eq!(read.len(), 8 * 2 + 2);
        let sent: Vec<_> = read.iter().map(|it| it.sent).collect();
        assert_eq!(&sent[..16], [1; 16]);
        assert_eq!(&sent[16..], [8, 8], "{read:?}");
    }

    #[test]
    fn more_devices_than_places_are_not_counted_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let sheet = Sheet::open(&folder.path().join("counters")).expect("made");
        for device in 0..DEVICES {
            assert!(sheet.device(&format!("rdma_{device}")).is_some());
        }
        assert!(sheet.device("one more").is_none());
        assert!(sheet.device("rdma_0").is_some());
    }

    #[test]
    fn another_file_is_refused_and_left_as_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notes");
        fs::write(&path, "not counters").expect("written");
        let error = Sheet::open(&path).expect_err("no counters");
        assert!(error.to_string().contains("no counters of this version"));
        assert_eq!(fs::read(&path).expect("there"), b"not counters");
        let absent = folder.path().join("no/such");
        let error = Sheet::open(&absent).expect_err("no folder");
        assert!(error.to_string().starts_with("cannot open"), "{error}");
    }
}
