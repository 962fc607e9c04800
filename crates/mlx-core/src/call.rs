//! The wrapper around every call into mlx-c.
#![allow(unsafe_code)]

use std::{
    cell::Cell,
    ffi::c_int,
    mem::ManuallyDrop,
    sync::{Mutex, MutexGuard, PoisonError},
};

use mlx_sys::{mlx_array, mlx_stream, mlx_vector_array};

use crate::{
    Array, Result,
    device::Stream,
    error::{check, install_handler},
};

thread_local! {
    static HAS_TURN: Cell<bool> = const { Cell::new(false) };
}

/// A thread's turn to use MLX. Within its turn, a function that MLX traces takes another,
/// which is none of its own.
pub(crate) struct Turn(Option<MutexGuard<'static, ()>>);

impl Drop for Turn {
    fn drop(&mut self) {
        if self.0.is_some() {
            HAS_TURN.set(false);
        }
    }
}

/// The caller's turn to use MLX, with errors recorded rather than fatal.
///
/// The lock guards MLX's unsynchronised state (see the crate's documentation), not Rust
/// data, so a panic of another thread poisons nothing.
pub(crate) fn turn() -> Turn {
    static TURN: Mutex<()> = Mutex::new(());
    if HAS_TURN.get() {
        return Turn(None);
    }
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    HAS_TURN.set(true);
    install_handler();
    Turn(Some(turn))
}

/// The array that `call` writes to its first argument.
pub(crate) fn array(call: impl FnOnce(*mut mlx_array) -> c_int) -> Result<Array> {
    let mut out = Array::null();
    // Ends the turn before `out` may be dropped, because dropping it takes another turn.
    status(|| call(out.as_mut_ptr()))?;
    Ok(out)
}

/// As [`array()`], on the default stream.
pub(crate) fn array_on_stream(
    call: impl FnOnce(*mut mlx_array, mlx_stream) -> c_int,
) -> Result<Array> {
    let stream = Stream::of_default_device()?;
    array(|out| call(out, stream.raw()))
}

/// A call that returns only its status.
pub(crate) fn status(call: impl FnOnce() -> c_int) -> Result<()> {
    let _turn = turn();
    check(call())
}

/// Calls `mlx_sys::$function(out, $arguments..., stream)` on the default stream
/// and returns the array it makes.
///
/// Arguments are handles of live arrays, numbers, or pointers with lengths into
/// live slices.
macro_rules! op {
    ($function:ident($($argument:expr),* $(,)?)) => {
        $crate::call::array_on_stream(|out, stream| {
            // SAFETY: `out` and `stream` are live handles for the call. Each argument is
            // a number, a handle borrowed from an `Array` or `ArrayVector` that outlives
            // the call, a handle without an object where mlx-c allows one, or a pointer
            // and length of a slice that outlives the call; mlx-c copies the data that it
            // keeps.
            unsafe { mlx_sys::$function(out, $($argument,)* stream) }
        })
    };
}
pub(crate) use op;

/// A handle without an object, for parameters that may be null in mlx-c.
pub(crate) fn optional(array: Option<&Array>) -> mlx_array {
    array.map_or(
        mlx_array {
            ctx: std::ptr::null_mut(),
        },
        Array::raw,
    )
}

/// mlx-c's list of arrays.
pub(crate) struct ArrayVector(mlx_vector_array);

impl ArrayVector {
    /// A list without an object, for mlx-c to fill in.
    pub(crate) fn null() -> Self {
        Self(mlx_vector_array {
            ctx: std::ptr::null_mut(),
        })
    }

    /// A list that shares `arrays`.
    pub(crate) fn new(arrays: &[&Array]) -> Result<Self> {
        let handles: Vec<_> = arrays.iter().map(|array| array.raw()).collect();
        let mut vector = Self::null();
        status(|| {
            // SAFETY: `vector` receives the list that is made; `handles` holds live
            // arrays and outlives the call.
            unsafe {
                mlx_sys::mlx_vector_array_set_data(&mut vector.0, handles.as_ptr(), handles.len())
            }
        })?;
        Ok(vector)
    }

    /// The arrays of somebody else's list.
    ///
    /// # Safety
    /// `list` is live.
    pub(crate) unsafe fn borrow(list: mlx_vector_array) -> Result<Vec<Array>> {
        // Not freed here: the list is not ours.
        let list = ManuallyDrop::new(Self(list));
        // SAFETY: a live list.
        let length = unsafe { mlx_sys::mlx_vector_array_size(list.0) };
        (0..length).map(|index| list.get(index)).collect()
    }

    pub(crate) fn raw(&self) -> mlx_vector_array {
        self.0
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut mlx_vector_array {
        &mut self.0
    }

    /// The array at `index`; an error beyond the end.
    pub(crate) fn get(&self, index: usize) -> Result<Array> {
        array(|out| {
            // SAFETY: both handles are live, and mlx-c checks the index.
            unsafe { mlx_sys::mlx_vector_array_get(out, self.0, index) }
        })
    }
}

impl Drop for ArrayVector {
    fn drop(&mut self) {
        let _turn = turn();
        // SAFETY: only this value owns the handle; mlx-c frees nothing if there is no
        // object.
        unsafe { mlx_sys::mlx_vector_array_free(self.0) };
    }
}
