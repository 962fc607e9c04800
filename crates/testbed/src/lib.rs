//! What tests need of the world: programs of Debian's packages, which are unpacked and not
//! installed, and machines with ssh between them, which are namespaces of this one.

#![forbid(unsafe_code)]

mod debian;
mod machines;

pub use debian::{Debian, Packages};
pub use machines::{Machine, Machines, eventually, refusing_hosts, within};
