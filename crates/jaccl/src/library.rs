use std::{
    ffi::CString,
    path::{Path, PathBuf},
};

use crate::{Error, Group, shim::Shim};

/// A loaded build of jaccl.
#[derive(Clone)]
pub struct Library {
    shim: Shim,
}

/// How a rank joins its group: what jaccl reads from `MLX_RANK`,
/// `MLX_JACCL_COORDINATOR`, `MLX_IBV_DEVICES` and `MLX_JACCL_RING`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// This process's rank.
    pub rank: usize,
    /// `address:port` at which rank 0 listens and to which the others connect.
    pub coordinator: String,
    /// The device matrix, a JSON file.
    pub devices: PathBuf,
    /// Whether to make a ring if the matrix allows both. If it does not allow a ring,
    /// jaccl silently makes a mesh.
    pub prefer_ring: bool,
}

/// jaccl's own judgement of a device matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatrixValidity {
    /// `Config::is_valid_ring`.
    pub ring: bool,
    /// `Config::is_valid_mesh`.
    pub mesh: bool,
}

/// The operations that only some versions of jaccl have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Features {
    /// `Group::barrier`.
    pub barrier: bool,
    /// `Group::sum_scatter`.
    pub sum_scatter: bool,
}

impl Library {
    /// Opens a build's `libjaccl_shim.so` (or `.dylib`).
    ///
    /// # Errors
    /// When the file cannot be loaded or lacks a function.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Library {
            shim: Shim::open(path)?,
        })
    }

    /// The key of the build, which is also in its manifest.
    pub fn build_key(&self) -> String {
        self.shim.build_key()
    }

    /// The operations that this version of jaccl has.
    pub fn features(&self) -> Features {
        self.shim.features()
    }

    /// From now on `SIGUSR1` makes this process write its stack to standard error,
    /// and so does a signal that ends it. The lines stand between
    /// [`STACK_BEGINS`](crate::STACK_BEGINS) and [`STACK_ENDS`](crate::STACK_ENDS).
    /// Systems without `execinfo.h` leave signals as they are.
    pub fn trace_signals(&self) {
        self.shim.trace_signals();
    }

    /// Whether jaccl found a libibverbs to work with.
    ///
    /// # Errors
    /// When jaccl throws.
    pub fn is_available(&self) -> Result<bool, Error> {
        self.shim.is_available()
    }

    /// Returns jaccl's judgement of a device matrix.
    ///
    /// # Errors
    /// When the file cannot be read or is not a square matrix.
    pub fn check_matrix(&self, devices: &Path) -> Result<MatrixValidity, Error> {
        self.shim
            .check_matrix(&c_string("device file", &devices.to_string_lossy())?)
    }

    /// Joins a group. Returns when all ranks have joined.
    ///
    /// # Errors
    /// When jaccl throws: no such device, a matrix that is neither ring nor mesh,
    /// a coordinator that does not answer.
    pub fn init(&self, config: &Config) -> Result<Group, Error> {
        let coordinator = c_string("coordinator", &config.coordinator)?;
        let devices = c_string("device file", &config.devices.to_string_lossy())?;
        Ok(Group::new(self.shim.init(
            config,
            &coordinator,
            &devices,
        )?))
    }
}

fn c_string(what: &'static str, value: &str) -> Result<CString, Error> {
    CString::new(value).map_err(|_| Error::Nul {
        what,
        value: value.to_owned(),
    })
}
