//! Real jaccl, as real processes, over emulated cables.

mod collectives;
mod faults;
mod harness;
mod library;
