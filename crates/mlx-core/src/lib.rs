//! The safe subset of [MLX](https://github.com/ml-explore/mlx) that the
//! benchmark needs: arrays, the operations of a decoder-only transformer,
//! affine quantisation, and the distributed group.
//!
//! ```
//! use mlx_core::Array;
//!
//! let a = Array::from_slice(&[1.0f32, 2.0, 3.0, 4.0], &[2, 2])?;
//! let b = a.matmul(&a.transpose(&[1, 0])?)?;
//! assert_eq!(b.to_vec::<f32>()?, [5.0, 11.0, 11.0, 25.0]);
//! # Ok::<(), mlx_core::Error>(())
//! ```
//!
//! # Laziness
//! MLX is lazy: an operation returns at once with a node of a graph, and [`eval()`],
//! [`Array::item`] or [`Array::to_vec`] compute it. [`async_eval()`] begins to compute it, so
//! that the next graph is made meanwhile. Shapes and types are checked when the
//! node is made, so the call with the wrong argument returns the error.
//!
//! # Errors
//! An exception that MLX throws on the calling thread, while a graph is built or
//! scheduled, becomes an [`Error`] with MLX's message.
//!
//! Two kinds of errors cannot. On the CPU, [`eval()`] only schedules: the work itself
//! runs on a thread per stream (`mlx/scheduler.h`, `StreamThread::thread_fn`), which
//! catches nothing. An exception there, such as a failed send of jaccl or the LAPACK
//! error of a decomposition, ends the process by `std::terminate`: the message goes to
//! stderr and the parent sees SIGABRT. And MLX's CPU allocator
//! (`mlx/backend/no_gpu/allocator.cpp`) does not check whether the system had the memory,
//! so a lack of memory is a SIGSEGV. Only a change in MLX could turn either into an
//! [`Error`]; a launcher of processes has to expect both.
//!
//! # Threads
//! An [`Array`] stays on the thread that made it. Threads may compute with arrays of
//! their own. Their calls take turns, because MLX keeps the encoders of the CPU streams
//! in a table that it does not guard (`mlx/backend/cpu/encoder.cpp`).

#![warn(unsafe_code)]

mod array;
mod build_key;
mod call;
mod choices;
mod compile;
mod device;
pub mod distributed;
mod dtype;
mod error;
mod eval;
pub mod fast;
mod memory;
mod ops;
pub mod quant;
pub mod random;

pub use array::Array;
pub use build_key::build_key;
pub use choices::{Choices, Grouped};
pub use compile::Compiled;
pub use device::{Device, synchronize};
pub use dtype::{Dtype, Element};
pub use error::{Error, Result};
pub use eval::{async_eval, depends, eval, evaluating};
pub use memory::{clear_cache, peak_memory};
pub use ops::{concatenate, stack};
