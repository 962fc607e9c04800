//! Ranks on other machines.
//!
//! A rank on a node is a local `ssh` ([`launch::Ranks::start_far`]): it is started, listened
//! to and ended like every other rank. This crate has what is on both sides of it:
//!
//! * [`Hosts`]: one multiplexed connection a node, by the system's ssh, which never asks.
//!   A node without ssh is this machine, and all that follows is the same for it.
//! * The [agent]: a small program, copied to the node and named by its hash. It reads one
//!   request from its stdin ([`wire`]).
//! * The stage: a folder on the node with what ranks need. What travels is named by its hash
//!   and verified there; what is there already does not travel ([`Hosts::stage`]).
//! * The lifeline: the agent ends the rank that it runs when its stdin ends, or is silent
//!   for [`wire::SILENCE`], and removes the rank's files.
//!
//! It depends on neither jaccl nor MLX, and on no cable.

#![forbid(unsafe_code)]

pub mod agent;
mod connection;
mod error;
mod host;
mod hosts;
pub mod model;
mod seat;
mod talk;
pub mod tree;
pub mod wire;

pub use error::Error;
pub use host::{Host, Staged};
pub use hosts::Hosts;
pub use seat::Seat;
pub use tree::Part;
pub use wire::{Facts, Run};

/// The result of work with a node.
pub type Result<T, E = Error> = std::result::Result<T, E>;
