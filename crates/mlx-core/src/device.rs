//! The devices and streams that operations run on.
#![allow(unsafe_code)]

use mlx_sys::{mlx_device, mlx_stream};

use crate::{
    Result,
    call::{status, turn},
    error::{Error, check},
};

/// A kind of device. MLX starts with the GPU if it has one, else with the CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Device {
    Cpu,
    Gpu,
}

impl Device {
    /// Makes this the device of all later operations of the process.
    ///
    /// # Errors
    /// The build has no such device.
    pub fn set_default(self) -> Result<()> {
        let device = self.handle();
        status(|| {
            // SAFETY: a live handle; mlx-c copies its content.
            unsafe { mlx_sys::mlx_set_default_device(device.0) }
        })
    }

    /// The device of the process's operations.
    ///
    /// # Errors
    /// What MLX reports.
    pub fn of_operations() -> Result<Self> {
        let _turn = turn();
        let device = DeviceHandle::of_default()?;
        let mut kind = mlx_sys::MLX_CPU;
        // SAFETY: a live number to write to and a live handle.
        check(unsafe { mlx_sys::mlx_device_get_type(&mut kind, device.0) })?;
        Ok(match kind {
            mlx_sys::MLX_GPU => Self::Gpu,
            _ => Self::Cpu,
        })
    }

    fn handle(self) -> DeviceHandle {
        let kind = match self {
            Self::Cpu => mlx_sys::MLX_CPU,
            Self::Gpu => mlx_sys::MLX_GPU,
        };
        let _turn = turn();
        // SAFETY: the kind is mlx-c's own constant.
        DeviceHandle(unsafe { mlx_sys::mlx_device_new_type(kind, 0) })
    }
}

/// Waits until the calling thread's default stream has run everything it was given.
///
/// # Errors
/// What MLX reports.
pub fn synchronize() -> Result<()> {
    let stream = Stream::of_default_device()?;
    status(|| {
        // SAFETY: a live handle.
        unsafe { mlx_sys::mlx_synchronize(stream.raw()) }
    })
}

struct DeviceHandle(mlx_device);

impl DeviceHandle {
    /// Of the default device. The caller has its turn.
    fn of_default() -> Result<Self> {
        // SAFETY: makes a handle of a device, which is overwritten below.
        let mut device = Self(unsafe { mlx_sys::mlx_device_new() });
        // SAFETY: a live handle to write to.
        check(unsafe { mlx_sys::mlx_get_default_device(&mut device.0) })?;
        Ok(device)
    }
}

impl Drop for DeviceHandle {
    fn drop(&mut self) {
        // SAFETY: only this value owns the handle.
        unsafe { mlx_sys::mlx_device_free(self.0) };
    }
}

/// A queue of operations. Each thread has a default queue for each device.
pub(crate) struct Stream(mlx_stream);

impl Stream {
    /// The calling thread's stream on the default device.
    pub(crate) fn of_default_device() -> Result<Self> {
        let _turn = turn();
        Self::default_of(&DeviceHandle::of_default()?)
    }

    /// The calling thread's stream on the CPU, whatever the default device is.
    pub(crate) fn cpu() -> Result<Self> {
        let device = Device::Cpu.handle();
        let _turn = turn();
        Self::default_of(&device)
    }

    fn default_of(device: &DeviceHandle) -> Result<Self> {
        let mut stream = Self(mlx_stream {
            ctx: std::ptr::null_mut(),
        });
        // SAFETY: live handles; `stream` receives the object that is made.
        check(unsafe { mlx_sys::mlx_get_default_stream(&mut stream.0, device.0) })?;
        if stream.0.ctx.is_null() {
            return Err(Error::take());
        }
        Ok(stream)
    }

    pub(crate) fn raw(&self) -> mlx_stream {
        self.0
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: only this value owns the handle, and freeing it does not affect the
        // stream, which belongs to MLX.
        unsafe { mlx_sys::mlx_stream_free(self.0) };
    }
}
