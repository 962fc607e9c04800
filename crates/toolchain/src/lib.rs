//! Pins, fetch, git tree ids, patch series, CMake, store, manifest.

pub mod build_script;
