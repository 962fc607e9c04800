//! Identifies the build that is loaded.
#![allow(unsafe_code)]

use std::ffi::CStr;

/// The key of the build of MLX that this process has loaded, equal to `key` of that
/// build's `manifest.json`.
///
/// It can be another build than the one that the program was linked against, and a
/// program can be replaced by one of another build. A caller that reports results of a
/// build compares this key to make sure that this build ran.
pub fn build_key() -> &'static str {
    // SAFETY: the function takes no arguments, may be called at any time, and returns a
    // NUL-terminated constant of `libmlx`, which this program is linked against and
    // which is therefore never unloaded.
    let key = unsafe { CStr::from_ptr(mlx_sys::rails_build_key()) };
    key.to_str().expect("a key is hexadecimal digits")
}
