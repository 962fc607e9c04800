//! What a cable does to the frames put on it: a state machine without a clock
//! and without I/O.
//!
//! Time comes in as a parameter, so one implementation serves real time in the
//! provider and virtual time in tests. The state is made of atomics, so the same
//! types work on the heap and in memory shared by two processes:
//!
//! - [`Direction`] serialises frames: one at a time, each for bytes / bandwidth.
//!   Every queue pair that sends on a cable from the same end shares it.
//! - [`Tally`] counts what became of its frames.
//! - [`Queue`] holds the frames of one queue pair between the sender's work
//!   request and the receiver's buffer. It is bounded: what does not fit stays
//!   with the sender, and its completion is withheld.
//! - [`decide`] applies the rig's receiver-not-ready policy to a frame that finds no posted
//!   receive. Frames for memory need none.
//!
//! Nothing here runs on its own. Events carry the time at which hardware would
//! have seen them, so a process that looks late gets the same departures and
//! arrivals as one that looks at once.

mod direction;
mod message;
mod queue;
mod receiver;
mod tally;
mod time;

pub use direction::{Direction, Transit, serialisation};
pub use message::{Message, Operation, Remote};
pub use queue::{DEPTH, Fate, Frame, Heard, QUEUE_BYTES, Queue, Reservation, Sender};
pub use receiver::{Decision, decide};
pub use tally::Tally;
pub use time::Time;
