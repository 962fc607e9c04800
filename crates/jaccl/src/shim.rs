//! The C interface of `shim/jaccl_shim.h`: the only unsafe code of this crate.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    path::Path,
    ptr::NonNull,
    sync::Arc,
};

use crate::{
    Config, Dtype, Error, Features, MatrixValidity, Reduction,
    bindings::{self, jaccl_shim_group},
};

/// A message of jaccl is one sentence; this holds several.
const ERROR_BYTES: usize = 1024;

type Reduce = unsafe extern "C" fn(
    *mut jaccl_shim_group,
    *const c_void,
    *mut c_void,
    usize,
    c_int,
    *mut c_char,
    usize,
) -> c_int;

/// A loaded shim.
#[derive(Clone)]
pub struct Shim(Arc<bindings::Shim>);

/// Calls a function that reports through a status and a message buffer.
fn checked(call: impl FnOnce(*mut c_char, usize) -> c_int) -> Result<(), Error> {
    let mut message = [0_u8; ERROR_BYTES];
    if call(message.as_mut_ptr().cast(), message.len()) == 0 {
        return Ok(());
    }
    let text = CStr::from_bytes_until_nul(&message).unwrap_or_default();
    Err(Error::Jaccl(text.to_string_lossy().trim_end().to_owned()))
}

impl Shim {
    pub fn open(path: &Path) -> Result<Self, Error> {
        // SAFETY: loading runs the initialisers of jaccl and of the libraries it links,
        // which are those of the C++ library.
        let library = unsafe { libloading::Library::new(path) }.map_err(|source| Error::Open {
            path: path.to_owned(),
            source,
        })?;
        // SAFETY: the types are generated from the header that the library was compiled
        // with, and the pointers are kept together with the library they point into.
        let functions = unsafe { bindings::Shim::from_library(library) };
        let functions = functions.map_err(|source| Error::NotJaccl {
            path: path.to_owned(),
            source,
        })?;
        Ok(Shim(Arc::new(functions)))
    }

    pub fn build_key(&self) -> String {
        // SAFETY: the function returns a string that is part of the library, which stays
        // loaded as long as `self`.
        let key = unsafe { CStr::from_ptr(self.0.rails_build_key()) };
        key.to_string_lossy().into_owned()
    }

    pub fn trace_signals(&self) {
        // SAFETY: it replaces signal handlers that no other code here sets.
        unsafe { self.0.jaccl_shim_trace_signals() };
    }

    pub fn features(&self) -> Features {
        let (mut barrier, mut sum_scatter) = (0, 0);
        // SAFETY: the pointers are to live variables.
        unsafe { self.0.jaccl_shim_features(&mut barrier, &mut sum_scatter) };
        Features {
            barrier: barrier != 0,
            sum_scatter: sum_scatter != 0,
        }
    }

    pub fn is_available(&self) -> Result<bool, Error> {
        let mut available = 0;
        // SAFETY: the pointers are to live variables.
        checked(|text, room| unsafe {
            self.0.jaccl_shim_is_available(&mut available, text, room)
        })?;
        Ok(available != 0)
    }

    pub fn check_matrix(&self, devices: &CStr) -> Result<MatrixValidity, Error> {
        let (mut ring, mut mesh) = (0, 0);
        // SAFETY: the pointers are to live variables and a NUL-terminated string.
        checked(|text, room| unsafe {
            self.0
                .jaccl_shim_check_matrix(devices.as_ptr(), &mut ring, &mut mesh, text, room)
        })?;
        Ok(MatrixValidity {
            ring: ring != 0,
            mesh: mesh != 0,
        })
    }

    pub fn init(
        &self,
        config: &Config,
        coordinator: &CStr,
        devices: &CStr,
    ) -> Result<RawHandle, Error> {
        let mut group = std::ptr::null_mut();
        let rank = c_int::try_from(config.rank).unwrap_or(c_int::MAX);
        // SAFETY: the pointers are to a live variable and NUL-terminated strings.
        checked(|text, room| unsafe {
            self.0.jaccl_shim_init(
                rank,
                coordinator.as_ptr(),
                devices.as_ptr(),
                c_int::from(config.prefer_ring),
                &mut group,
                text,
                room,
            )
        })?;
        let group = NonNull::new(group)
            .ok_or_else(|| Error::Jaccl("jaccl made no group and gave no reason".to_owned()))?;
        Ok(RawHandle {
            shim: self.clone(),
            group,
        })
    }
}

/// An owned jaccl group. The caller answers for lengths and ranks, except that slices
/// carry their own length.
pub struct RawHandle {
    shim: Shim,
    group: NonNull<jaccl_shim_group>,
}

// SAFETY: a group is memory, mapped devices and sockets, none of them bound to
// the thread that made them. It is not `Sync`: jaccl does not lock.
unsafe impl Send for RawHandle {}

impl RawHandle {
    pub fn rank(&self) -> usize {
        // SAFETY: the group is live until `self` is dropped.
        usize::try_from(unsafe { self.shim.0.jaccl_shim_rank(self.group.as_ptr()) }).unwrap_or(0)
    }

    pub fn size(&self) -> usize {
        // SAFETY: as for `rank`.
        usize::try_from(unsafe { self.shim.0.jaccl_shim_size(self.group.as_ptr()) }).unwrap_or(0)
    }

    /// `output` must be as long as `input`, in whole elements.
    pub fn reduce(
        &mut self,
        reduction: Reduction,
        dtype: Dtype,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        assert_eq!(input.len(), output.len(), "a reduction keeps the length");
        let function = self.reduction(reduction);
        // SAFETY: the group is live and borrowed exclusively (`&mut self`), and both
        // slices have the given length.
        unsafe {
            self.call(
                function,
                dtype,
                input.as_ptr(),
                output.as_mut_ptr(),
                output.len(),
            )
        }
    }

    /// `buffer` must be whole elements.
    pub fn reduce_in_place(
        &mut self,
        reduction: Reduction,
        dtype: Dtype,
        buffer: &mut [u8],
    ) -> Result<(), Error> {
        let function = self.reduction(reduction);
        let start = buffer.as_mut_ptr();
        // SAFETY: as for `reduce`; jaccl accepts an input that is also its output.
        unsafe { self.call(function, dtype, start, start, buffer.len()) }
    }

    /// `input` must be as long as the outputs of all ranks together.
    pub fn sum_scatter(
        &mut self,
        dtype: Dtype,
        input: &[u8],
        output: &mut [u8],
    ) -> Result<(), Error> {
        assert_eq!(
            input.len(),
            output.len() * self.size(),
            "a part for every rank"
        );
        let function = self.shim.0.jaccl_shim_sum_scatter;
        // SAFETY: as for `reduce`; the length passed to jaccl is the output's, and the
        // input has one such part for each rank.
        unsafe {
            self.call(
                function,
                dtype,
                input.as_ptr(),
                output.as_mut_ptr(),
                output.len(),
            )
        }
    }

    fn reduction(&self, reduction: Reduction) -> Reduce {
        match reduction {
            Reduction::Sum => self.shim.0.jaccl_shim_all_sum,
            Reduction::Max => self.shim.0.jaccl_shim_all_max,
            Reduction::Min => self.shim.0.jaccl_shim_all_min,
        }
    }

    /// # Safety
    /// `output` must have `bytes` bytes, and `input` as many as `function` reads for
    /// them.
    unsafe fn call(
        &mut self,
        function: Reduce,
        dtype: Dtype,
        input: *const u8,
        output: *mut u8,
        bytes: usize,
    ) -> Result<(), Error> {
        // SAFETY: the group is live; the caller answers for the memory.
        checked(|text, room| unsafe {
            function(
                self.group.as_ptr(),
                input.cast(),
                output.cast(),
                bytes,
                dtype as c_int,
                text,
                room,
            )
        })
    }

    pub fn barrier(&mut self) -> Result<(), Error> {
        // SAFETY: the group is live until `self` is dropped.
        checked(|text, room| unsafe {
            self.shim
                .0
                .jaccl_shim_barrier(self.group.as_ptr(), text, room)
        })
    }

    /// `output` must be as long as the inputs of all ranks together.
    pub fn all_gather(&mut self, input: &[u8], output: &mut [u8]) -> Result<(), Error> {
        assert_eq!(
            input.len() * self.size(),
            output.len(),
            "a part from every rank"
        );
        // SAFETY: the input has the given length, and the output has room for all parts.
        unsafe { self.gather(input.as_ptr(), input.len(), output.as_mut_ptr()) }
    }

    /// `buffer` must be as many equal parts as there are ranks.
    pub fn all_gather_in_place(&mut self, buffer: &mut [u8]) -> Result<(), Error> {
        let part = buffer.len() / self.size();
        let own = part * self.rank();
        let start = buffer.as_mut_ptr();
        // SAFETY: this rank's part lies within the buffer, where jaccl expects it.
        unsafe { self.gather(start.add(own), part, start) }
    }

    /// # Safety
    /// `input` must hold `bytes` bytes and `output` as many from every rank.
    unsafe fn gather(
        &mut self,
        input: *const u8,
        bytes: usize,
        output: *mut u8,
    ) -> Result<(), Error> {
        // SAFETY: the group is live; the caller answers for the memory.
        checked(|text, room| unsafe {
            self.shim.0.jaccl_shim_all_gather(
                self.group.as_ptr(),
                input.cast(),
                output.cast(),
                bytes,
                text,
                room,
            )
        })
    }

    pub fn send(&mut self, input: &[u8], destination: usize) -> Result<(), Error> {
        let destination = c_int::try_from(destination).unwrap_or(c_int::MAX);
        // SAFETY: as for `reduce`.
        checked(|text, room| unsafe {
            let data = input.as_ptr().cast();
            self.shim.0.jaccl_shim_send(
                self.group.as_ptr(),
                data,
                input.len(),
                destination,
                text,
                room,
            )
        })
    }

    pub fn recv(&mut self, output: &mut [u8], source: usize) -> Result<(), Error> {
        let source = c_int::try_from(source).unwrap_or(c_int::MAX);
        // SAFETY: as for `reduce`.
        checked(|text, room| unsafe {
            let data = output.as_mut_ptr().cast();
            self.shim
                .0
                .jaccl_shim_recv(self.group.as_ptr(), data, output.len(), source, text, room)
        })
    }
}

impl Drop for RawHandle {
    fn drop(&mut self) {
        // SAFETY: made by `init`, freed once.
        unsafe { self.shim.0.jaccl_shim_free(self.group.as_ptr()) };
    }
}
