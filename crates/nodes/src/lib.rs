//! The facts of the machines of a rig, and what is wrong with them.
//!
//! 1. [`script`](script()) is one script of the shell a node. It runs the system's own tools,
//!    changes nothing, and prints the text of each in a section.
//! 2. [`examine`](examine()) reads these texts into [`NodeFacts`], joins the nodes' reports of their
//!    cables as `rail-matrix` does, and compares the nodes with each other and with the rig.
//! 3. [`Examination::markdown`] and [`Examination::json`] are the documents.
//!
//! The crate is pure: text and values in, values out. Its caller runs the script, by `ssh`
//! or on this machine.
//!
//! # What was seen, and what was not
//!
//! The script and the parsers of Linux run on Linux in the tests. No Mac has run the script.
//! The parsers of macOS read texts in the shapes that the tools document:
//!
//! | tool | where its shape comes from |
//! |---|---|
//! | `system_profiler`, `networksetup`, `ifconfig`, `ibv_devices`, `rdma_ctl` | public reports of people's Macs, as `rail-matrix` reads them |
//! | `ibv_devinfo -v` | rdma-core's source (`libibverbs/examples/devinfo.c`), whose text Apple's note TN3205 shows in part |
//! | `sw_vers`, `sysctl`, `pmset` | their manual pages |
//!
//! No text is known that a Mac prints about processes which hold an RDMA device. There,
//! users are the processes with the names of programs that use jaccl.
#![forbid(unsafe_code)]

mod examine;
mod facts;
mod finding;
mod judge;
mod read;
mod script;
mod sections;
mod write;

pub use examine::{Answer, Examination, Said, Scope, Unreachable, after, examine};
pub use facts::{
    Chip, Clock, Device, Disk, Gid, HERE, Heat, Memory, ModelFile, NodeFacts, Power, Software,
    State, User,
};
pub use finding::{Finding, Severity};
pub use read::model;
pub use script::{Request, model_script, script, state_script};
pub use write::SCHEMA;
