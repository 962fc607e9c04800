//! Real builds of jaccl, in real processes, over emulated cables.

mod condition;
mod dialects;
mod ends;
mod given;
mod harness;
mod library;
mod mutation;
mod tuned;
