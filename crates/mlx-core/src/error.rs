//! MLX's errors as Rust errors.
#![allow(unsafe_code)]

use std::{
    cell::RefCell,
    ffi::{CStr, c_char, c_int, c_void},
    sync::Once,
};

/// An operation that MLX refused, with MLX's message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// MLX's message, for instance `[matmul] Last dimension of first input ...`.
    pub message: String,
}

impl Error {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }

    /// The message that [`record`] kept for this thread.
    pub(crate) fn take() -> Self {
        LAST.take()
            .map_or_else(|| Self::new("MLX failed without a message"), Self::new)
    }
}

/// The result of an operation on arrays.
pub type Result<T, E = Error> = std::result::Result<T, E>;

thread_local! {
    // mlx-c calls the handler on the thread whose call failed, just before that call
    // returns, so the message is stored per thread.
    static LAST: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Replaces mlx-c's own error handler, which would end the process.
pub(crate) fn install_handler() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: `record` has the handler's signature, lives as long as the process and
        // never unwinds; there is no data, so no destructor. No other thread can be
        // inside mlx-c, since every call passes through here first.
        unsafe { mlx_sys::mlx_set_error_handler(Some(record), std::ptr::null_mut(), None) };
    });
}

/// Turns mlx-c's status into a result.
pub(crate) fn check(status: c_int) -> Result<()> {
    if status == 0 {
        Ok(())
    } else {
        Err(Error::take())
    }
}

unsafe extern "C" fn record(message: *const c_char, _data: *mut c_void) {
    // SAFETY: mlx-c passes a NUL-terminated string that lives until this function
    // returns.
    let message = unsafe { CStr::from_ptr(message) }.to_string_lossy();
    let message = without_origin(&message).to_owned();
    // On a thread whose thread-locals are destroyed no caller can read the message.
    let _ = LAST.try_with(|last| last.replace(Some(message)));
}

/// Drops the ` at FILE:LINE` that mlx-c appends: a position in mlx-c's generated code,
/// the same for every error of a function.
fn without_origin(message: &str) -> &str {
    match message.rsplit_once(" at ") {
        Some((text, origin)) if is_file_and_line(origin) => text,
        _ => message,
    }
}

fn is_file_and_line(origin: &str) -> bool {
    origin.rsplit_once(':').is_some_and(|(file, line)| {
        file.ends_with(".cpp") && !line.is_empty() && line.bytes().all(|b| b.is_ascii_digit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_origin_is_dropped() {
        assert_eq!(
            without_origin("[add] looked at 2:1 shapes at /a b/ops.cpp:57"),
            "[add] looked at 2:1 shapes"
        );
        assert_eq!(without_origin("arrived at 10:30"), "arrived at 10:30");
    }
}
