//! What a cable does to messages: a state machine without a clock and without I/O.
//!
//! Callers pass the time as a parameter, so one implementation serves real time in the
//! provider and virtual time in tests. The state consists of atomics, so the same types
//! work on the heap and in memory shared by two processes:
//!
//! - [`Outlet`] is what one queue pair puts on a cable: a [`Queue`] of messages between
//!   the sender's work requests and the receiver's buffers, its answers to reads, and the
//!   messages that are lost. Each of these is a [`Stream`], which records how much is
//!   offered and since when. A queue is bounded: a message that does not fit stays with
//!   the sender, and its completion is withheld.
//! - [`Direction`] takes messages from the outlets at one end of a cable, one at a time.
//!   Each takes bytes / bandwidth, which determines when it leaves and arrives.
//! - [`Tally`] counts what became of the messages.
//! - [`decide`] applies the rig's receiver-not-ready policy to a message that finds no
//!   posted receive. Messages for memory need no receive.
//!
//! Nothing here runs on its own. A process that looks at a cable first places every
//! message that has started by then. Events carry the time at which hardware would have seen
//! them, so a process that looks late gets the same departures and arrivals as one that
//! looks at once.

mod credits;
mod direction;
mod message;
mod outlet;
mod queue;
mod receiver;
mod stream;
mod tally;
mod time;

pub use credits::{Credits, RECEIVES};
pub use direction::{Direction, FRAME_BYTES, OUTLETS, frames, serialisation};
pub use message::{Message, Operation, Remote};
pub use outlet::Outlet;
pub use queue::{
    DEPTH, Fate, Heard, Incoming, MESSAGE_BYTES, QUEUE_BYTES, Queue, Reservation, Sender,
};
pub use receiver::{Decision, decide};
pub use stream::{Load, Stream, Transit};
pub use tally::Tally;
pub use time::Time;
