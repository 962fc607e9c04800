//! The functions of libibverbs, by their objects.

pub mod absent;
pub mod completion;
pub mod device;
pub mod events;
pub mod memory;
pub mod names;
pub mod query;
pub mod queue_pair;
pub mod steps;
