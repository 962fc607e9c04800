//! Emulated cables: RDMA between processes of one machine.
//!
//! `softrail-provider` is a libibverbs that jaccl opens as it would the real one. Its
//! devices are the ends of the cables of a rig, and each cable is a file of shared memory
//! that carries bytes no faster than the rig says. This crate holds the parts that the
//! provider is made of, and that a launcher makes such a rig with:
//!
//! ```no_run
//! # use rig::Rig;
//! # use std::process::Command;
//! let fabric = softrail::Fabric::create(&softrail::default_parent(), &Rig::embedded())?;
//! let mut rank = Command::new("a-rank")
//!     .envs(fabric.env("a"))
//!     .envs(fabric.provider_env(&softrail::provider_library()?)?)
//!     .spawn()?;
//! rank.wait()?;
//! println!("{:?}", fabric.cable_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! - [`fabric`] is what a cable does to frames: a state machine without a clock and
//!   without I/O.
//! - [`shm`] lays it out in memory that two processes share.
//! - [`config`] finds the devices of a process.
//! - [`live`] watches and changes a fabric that is up.
//! - [`counters`] reports what the cables carried.
//! - [`up`] runs programs on its nodes.
//!
//! # Queue pairs
//! Unreliable connections (UC), because that is what Thunderbolt offers, and reliable
//! ones (RC) for other programs. A queue pair on a cable reaches only queue pairs on that
//! cable's other end. Frames to any other address never arrive, so crossed rails hang here
//! as they do in the field. An unreliable send completes when its last byte has left. With
//! [`credits`](fabric::Credits), as over Thunderbolt, it does not start before its receive
//! was posted; without, it waits only while the receiver's queue of
//! [`fabric::QUEUE_BYTES`] is full. A reliable send completes when the receiver has
//! answered.

mod bell;
pub mod claims;
mod clock;
mod condition;
pub mod config;
pub mod counters;
pub mod fabric;
mod injection;
mod launch;
mod lease;
pub mod live;
mod platform;
mod private;
mod process;
mod ring;
mod script;
pub mod shm;
mod sync;
pub mod up;
pub mod usage;

use std::error::Error;

pub use bell::Bell;
pub use clock::now;
pub use condition::{Broken, Condition};
pub use injection::Injections;
pub use launch::{Fabric, FabricError, default_parent, provider_library};
pub use platform::{LIBRARY, LIBRARY_PATH};
pub use private::{Flaw, Untrusted};
pub use process::Process;
pub use script::{Player, Script, Step};

/// An error with its causes on one line, for places that keep the text only.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(&format!(": {cause}"));
        next = cause.source();
    }
    text
}
