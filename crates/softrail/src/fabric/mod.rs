//! What a cable does to the messages put on it: a state machine without a clock
//! and without I/O.
//!
//! Time comes in as a parameter, so one implementation serves real time in the
//! provider and virtual time in tests. The state is made of atomics, so the same
//! types work on the heap and in memory shared by two processes:
//!
//! - [`Outlet`] is what one queue pair puts on a cable: a [`Queue`] of messages
//!   between the sender's work requests and the receiver's buffers, its answers to
//!   reads, and what it loses. Each is a [`Stream`], which says how much and since
//!   when. A queue is bounded: what does not fit stays with the sender, and its
//!   completion is withheld.
//! - [`Direction`] takes frames from the outlets of one end of a cable, one at a time
//!   and fairly, each for bytes / bandwidth, and so says when messages leave and
//!   arrive.
//! - [`Tally`] counts what became of them.
//! - [`decide`] applies the rig's receiver-not-ready policy to a message that finds no
//!   posted receive. Messages for memory need none.
//!
//! Nothing here runs on its own. Whoever looks has everything placed that has started
//! by then, and events carry the time at which hardware would have seen them, so a
//! process that looks late gets the same departures and arrivals as one that looks at
//! once.

mod direction;
mod message;
mod outlet;
mod queue;
mod receiver;
mod stream;
mod tally;
mod time;

pub use direction::{Direction, FRAME_BYTES, OUTLETS, serialisation};
pub use message::{Message, Operation, Remote};
pub use outlet::Outlet;
pub use queue::{DEPTH, Fate, Heard, Incoming, QUEUE_BYTES, Queue, Reservation, Sender};
pub use receiver::{Decision, decide};
pub use stream::{Load, Stream, Transit};
pub use tally::Tally;
pub use time::Time;
