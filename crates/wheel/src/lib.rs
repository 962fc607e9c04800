//! Puts another library into a Python wheel, and proves that it fits.
//!
//! A wheel of MLX that is known is better than one that is compiled anew: on macOS jaccl is
//! a library of its own, so a patched MLX is the official wheel with one file replaced.
//! This crate has what that needs and compiles nothing:
//!
//! ```text
//! base.whl ──Wheel::open──▶ members ──macos::check──▶ lines of a report
//!                              │
//!                              └──overlay::write──▶ the same members, but for the library,
//!                                                   RECORD, version and a manifest
//! ```
//!
//! [`snippet`] writes what is pasted where such a wheel is used.
//! [`Dylib`] reads what a Mach-O library exports, imports, loads and is signed with;
//! [`macos::Fit`] holds the library that goes in against the one that comes out.
//! [`SharedObject`] and [`linux`] are the same for Linux.

#![forbid(unsafe_code)]

mod archive;
pub mod check;
pub mod codesign;
pub mod elf;
pub mod error;
mod file_name;
pub mod group;
pub mod linux;
pub mod macho;
pub mod macos;
mod metadata;
pub mod mlx_c;
pub mod overlay;
mod record;
pub mod snippet;
mod verbs;

pub use archive::Wheel;
pub use check::Check;
pub use elf::SharedObject;
pub use error::{Error, Result};
pub use file_name::{FileName, Tag};
pub use macho::Dylib;
