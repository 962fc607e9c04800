//! Sweeps a build of jaccl over emulated cables and judges every case.
//!
//! A [`case::Case`] is one operation at one point: backend, ranks, wires, bytes,
//! dtype, frame mode, direction. The ranks of a [`group::Group`] are processes that
//! drive the real jaccl; every byte they get is checked against what it must be, and
//! every case ends in a [`verdict::Verdict`]. Ranks do one case after the other in
//! step: the next is handed out when all have answered, so that a symptom is never
//! that of the case before. `sequence` cases leave the pauses out on purpose.
//!
//! What fails is run again alone before it is believed ([`run::Runner`]).
//!
//! [`preflight`] is another question, asked of a rig: whether each of its rails is a
//! cable that carries.
//!
//! # Cost
//! Small cases take as long as their ranks need to be woken, about a millisecond; what
//! takes time is a hang (two silences of [`attempt::Patience`]) and joining, once for
//! each setting and once after each failure.

#![forbid(unsafe_code)]

pub mod attempt;
pub mod case;
pub mod group;
mod memory;
pub mod preflight;
mod process;
pub mod progress;
pub mod proof;
pub mod report;
pub mod run;
pub mod selection;
mod sequence;
pub mod setup;
mod sizes;
mod stack;
pub mod sweep;
mod system;
pub mod verdict;
