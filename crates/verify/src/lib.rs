//! Sweeps a build of jaccl over emulated cables and judges every case.
//!
//! A [`case::Case`] is one operation at one point: backend, ranks, wires, bytes, dtype,
//! frame mode, direction. The ranks of a [`group::Group`] are processes that drive the
//! real jaccl. Every byte they receive is compared with its expected value, and every
//! case ends in a [`verdict::Verdict`]. Ranks run one case after the other in step: the
//! next case starts when all ranks have answered, so that a symptom never comes from the
//! case before. `sequence` cases leave out the pauses on purpose.
//!
//! A case that fails is run again alone before the failure counts ([`run::Runner`]).
//!
//! [`preflight`] answers another question about a rig: whether each of its rails is a
//! cable that carries.
//!
//! # Cost
//! A small case takes as long as its ranks need to be woken, about a millisecond. Most of
//! the time goes to hangs (two silences of [`attempt::Patience`]) and to joining, once
//! for each setting and once after each failure.

#![forbid(unsafe_code)]

pub mod attempt;
pub mod case;
pub mod group;
pub mod hosts;
mod loss;
mod memory;
pub mod preflight;
mod process;
pub mod progress;
pub mod proof;
pub mod python;
pub mod report;
pub mod resources;
pub mod run;
pub mod selection;
mod sequence;
pub mod setup;
mod sizes;
mod stack;
pub mod sweep;
pub mod system;
mod unequal;
pub mod verdict;
