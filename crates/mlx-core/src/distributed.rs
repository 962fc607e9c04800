//! The group of ranks and its messages (`mlx/distributed/`).
//!
//! Messages have no tags: a message that a rank sends is matched with a receive by order
//! alone. All ranks must therefore compute the same sequence of collectives, and each
//! pair of ranks the same sequence of sends and receives; [`depends`](crate::depends)
//! states an order that no data implies. The operations run on the CPU stream of the
//! calling thread, one at a time.
//!
//! Creating an operation checks its arguments. The operation then runs on the stream's
//! thread, where an error ends the process (see the crate's documentation), and where an
//! operation with a peer that is gone never returns: the launcher of ranks must watch
//! them.
#![allow(unsafe_code, clippy::missing_errors_doc)]

use std::ffi::{CStr, c_int};

use mlx_sys::{mlx_array, mlx_distributed_group, mlx_stream};

use crate::{
    Array, Dtype, Error, Result,
    call::{array, status, turn},
    device::Stream,
};

/// The transport of the messages.
///
/// A closed set rather than a string: the benchmark knows the environment of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// RDMA over Thunderbolt. Reads `MLX_RANK`, `MLX_IBV_DEVICES`,
    /// `MLX_JACCL_COORDINATOR` and `MLX_JACCL_RING` from the environment
    /// (`mlx/distributed/jaccl/lib/jaccl/jaccl.cpp`).
    Jaccl,
    /// TCP between neighbours. Reads `MLX_RANK` and `MLX_HOSTFILE`.
    Ring,
}

impl Backend {
    fn name(self) -> &'static CStr {
        match self {
            Self::Jaccl => c"jaccl",
            Self::Ring => c"ring",
        }
    }
}

/// The ranks of a job; this process is one of them. The value stays on the thread that
/// made it: operations of two threads would run on two streams, and a backend has room
/// for one operation at a time.
pub struct Group {
    // A raw pointer, which makes the group `!Send`.
    raw: mlx_distributed_group,
}

impl Group {
    /// Joins the other ranks of the backend's environment. Returns once all are
    /// connected.
    ///
    /// Without that environment, `strict` decides between an error and a group of one.
    /// MLX keeps a group of either kind for the life of the process.
    pub fn init(backend: Backend, strict: bool) -> Result<Self> {
        let mut group = Self {
            raw: mlx_distributed_group {
                ctx: std::ptr::null_mut(),
            },
        };
        status(|| {
            // SAFETY: `group` receives the object that is made; the name is static.
            unsafe {
                mlx_sys::mlx_distributed_init(&mut group.raw, strict, backend.name().as_ptr())
            }
        })?;
        Ok(group)
    }

    /// This process's rank, from 0.
    pub fn rank(&self) -> usize {
        // SAFETY: a live handle.
        (unsafe { mlx_sys::mlx_distributed_group_rank(self.raw) }) as usize
    }

    /// The number of ranks.
    pub fn size(&self) -> usize {
        // SAFETY: a live handle.
        (unsafe { mlx_sys::mlx_distributed_group_size(self.raw) }) as usize
    }

    /// The element-wise sum of every rank's `x`.
    pub fn all_sum(&self, x: &Array) -> Result<Array> {
        self.operation(|out, stream| {
            // SAFETY: live handles.
            unsafe { mlx_sys::mlx_distributed_all_sum(out, x.raw(), self.raw, stream) }
        })
    }

    /// Every rank's `x`, joined along the first dimension in order of rank.
    pub fn all_gather(&self, x: &Array) -> Result<Array> {
        self.operation(|out, stream| {
            // SAFETY: live handles.
            unsafe { mlx_sys::mlx_distributed_all_gather(out, x.raw(), self.raw, stream) }
        })
    }

    /// Sends `x` to rank `destination`. The message leaves when the returned
    /// array, which equals `x`, is computed.
    pub fn send(&self, x: &Array, destination: usize) -> Result<Array> {
        let destination = rank(destination)?;
        self.operation(|out, stream| {
            // SAFETY: live handles; MLX checks the rank.
            unsafe { mlx_sys::mlx_distributed_send(out, x.raw(), destination, self.raw, stream) }
        })
    }

    /// Receives a message from rank `source`, which must have this shape and type.
    pub fn recv(&self, shape: &[i32], dtype: Dtype, source: usize) -> Result<Array> {
        let source = rank(source)?;
        self.operation(|out, stream| {
            // SAFETY: live handles and a live slice; MLX checks the rank.
            unsafe {
                mlx_sys::mlx_distributed_recv(
                    out,
                    shape.as_ptr(),
                    shape.len(),
                    dtype.raw(),
                    source,
                    self.raw,
                    stream,
                )
            }
        })
    }

    /// Receives a message from rank `source`, which must have the shape and type of `x`.
    pub fn recv_like(&self, x: &Array, source: usize) -> Result<Array> {
        self.recv(x.shape(), x.dtype(), source)
    }

    fn operation(&self, call: impl FnOnce(*mut mlx_array, mlx_stream) -> c_int) -> Result<Array> {
        let stream = Stream::cpu()?;
        array(|out| call(out, stream.raw()))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _turn = turn();
        // SAFETY: only this value owns the handle, and operations in progress hold the
        // group by a reference of their own.
        unsafe { mlx_sys::mlx_distributed_group_free(self.raw) };
    }
}

fn rank(number: usize) -> Result<c_int> {
    c_int::try_from(number).map_err(|_| {
        Error::new(format!(
            "[distributed] {number} is not the number of a rank"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percent_sign_in_a_message_of_mlx_stands_for_itself() {
        let mut group = mlx_distributed_group {
            ctx: std::ptr::null_mut(),
        };
        let name = c"100%d %%";
        let refused = status(|| {
            // SAFETY: `group` receives nothing, because MLX has no such backend; the name
            // is static.
            unsafe { mlx_sys::mlx_distributed_init(&mut group, true, name.as_ptr()) }
        });
        let message = refused.unwrap_err().to_string();
        assert!(message.contains("'100%d %%'"), "{message}");
    }
}
