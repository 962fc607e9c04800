//! From a rig of nodes and cables to the device matrix that jaccl reads.
//!
//! A JSON matrix defines for jaccl which RDMA devices join which ranks: `matrix[i][j]`
//! lists the devices on rank `i` towards rank `j`. jaccl opens the entries of
//! `matrix[i][j]` and `matrix[j][i]` **by index**: the k-th queue pair on `i` is
//! connected to the k-th on `j`. jaccl does not check that these two devices are the two
//! ends of one cable.
//!
//! ```
//! use rail_matrix::Matrix;
//! use rig::Rig;
//!
//! // The cables cross: each joins `en6` of one node to `en7` of the other.
//! let rig = Rig::parse(r#"
//!     [[node]]
//!     name = "A"
//!     [[node]]
//!     name = "B"
//!     [[cable]]
//!     name = "cable-1"
//!     ends = ["A:rdma_en6", "B:rdma_en7"]
//!     [[cable]]
//!     name = "cable-2"
//!     ends = ["A:rdma_en7", "B:rdma_en6"]
//! "#)?;
//! let matrix = Matrix::from_rig(&rig)?;
//! assert_eq!(matrix.cell(0, 1), ["rdma_en6", "rdma_en7"]);
//! assert_eq!(matrix.cell(1, 0), ["rdma_en7", "rdma_en6"]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The obvious approach, sorting each cell by device name, pairs `A:rdma_en6` with
//! `B:rdma_en6` above, which are ends of different cables. Such crossed rails are hard to
//! see: a small all-reduce uses one wire and may still pass, while send, all-gather and
//! large all-reduces hang.
//!
//! # The rules
//!
//! | rule | where it comes from |
//! |---|---|
//! | rank = position of the node in the order of the widest ring, or, pinned, in the rig | this crate |
//! | rail k of (i, j) and of (j, i) are the two ends of one cable | jaccl's ring pairs `left_[k]` with the peer's `right_[k]` (`ring.cpp`) |
//! | rails are ordered by cable name, digits by value, so that every node computes the same matrix however its rig lists the cables | this crate |
//! | a device belongs to one cable | an RDMA device over Thunderbolt is one port |
//! | at most [`MAX_RAILS`] rails a pair | jaccl's ring throws above four connections (`ring.cpp`) |
//! | a ring needs the same number of devices in every rank's left and right cell; the other cells are ignored | `Config::is_valid_ring` (`jaccl.cpp`) |
//! | a Thunderbolt device has 10 queue pairs and about 100 memory regions | Apple's technote TN3205; `allocate_buffers` in `ring.cpp` and `mesh.cpp` takes them |
//! | a mesh needs an empty diagonal and nothing else empty | `Config::is_valid_mesh` (`jaccl.cpp`) |
//! | a mesh has at most [`MAX_MESH`] ranks | jaccl's mesh throws above eight peers (`mesh.cpp`) |
//! | cells are written as arrays, `[]` when empty | `parse_devices_json` (`jaccl.cpp`) takes null, a string or an array; an array is right for mesh and ring alike |
//!
//! If a ring is requested but not valid, jaccl silently makes a mesh, so check
//! [`Matrix::is_valid_ring`] before starting one.
//!
//! The crate is pure: text and values in, values out.
#![forbid(unsafe_code)]

pub mod check;
mod counts;
mod danger;
mod exo;
mod given;
mod jaccl;
mod matrix;
mod modes;
mod plan;
pub mod read;
mod topology;
mod words;
pub mod write;

pub use exo::{DialectError, Exo};
pub use given::{Devices, Given, GivenError};
pub use jaccl::{BadVersion, Jaccl, MAX_MESH, MAX_NODES, MAX_RAILS, THUNDERBOLT_5};
pub use matrix::Matrix;
pub use modes::{Backend, Frames, UnknownName};
pub use plan::{
    Coordinator, EXACT_ORDER, Estimate, LeftOut, MeshObstacle, Note, Obstacle, Options, Plan,
    PlanError, RankOrder, Spare, Speed, Variable, Why, plan,
};
pub use topology::{
    Account, Address, EndState, Network, NodeId, NodeInfo, NodeState, PortAddress, PortId,
    PortInfo, Problem, Rdma, RdmaOff, SelectError, Topology, Unfit,
};
