//! Real builds of jaccl, in real processes, over emulated cables.

mod condition;
mod dialects;
mod ends;
mod given;
mod harness;
mod library;
mod meter;
mod mutation;
mod tuned;
