// Generated: `cargo test -p codegen` writes this file anew.

#[repr(C)]
#[derive(Debug)]
pub struct jaccl_shim_group {
    _unused: [u8; 0],
}
pub struct Shim {
    __library: ::libloading::Library,
    pub rails_build_key: unsafe extern "C" fn() -> *const ::std::os::raw::c_char,
    pub jaccl_shim_trace_signals: unsafe extern "C" fn(),
    pub jaccl_shim_features: unsafe extern "C" fn(
        barrier: *mut ::std::os::raw::c_int,
        sum_scatter: *mut ::std::os::raw::c_int,
    ),
    pub jaccl_shim_is_available: unsafe extern "C" fn(
        available: *mut ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_check_matrix: unsafe extern "C" fn(
        devices_path: *const ::std::os::raw::c_char,
        valid_ring: *mut ::std::os::raw::c_int,
        valid_mesh: *mut ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_init: unsafe extern "C" fn(
        rank: ::std::os::raw::c_int,
        coordinator: *const ::std::os::raw::c_char,
        devices_path: *const ::std::os::raw::c_char,
        prefer_ring: ::std::os::raw::c_int,
        group: *mut *mut jaccl_shim_group,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_free: unsafe extern "C" fn(group: *mut jaccl_shim_group),
    pub jaccl_shim_rank: unsafe extern "C" fn(
        group: *mut jaccl_shim_group,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_size: unsafe extern "C" fn(
        group: *mut jaccl_shim_group,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_all_sum: unsafe extern "C" fn(
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        dtype: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_all_max: unsafe extern "C" fn(
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        dtype: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_all_min: unsafe extern "C" fn(
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        dtype: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_sum_scatter: unsafe extern "C" fn(
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        dtype: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_all_gather: unsafe extern "C" fn(
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_barrier: unsafe extern "C" fn(
        group: *mut jaccl_shim_group,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_send: unsafe extern "C" fn(
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        bytes: usize,
        destination: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
    pub jaccl_shim_recv: unsafe extern "C" fn(
        group: *mut jaccl_shim_group,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        source: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int,
}
impl Shim {
    pub unsafe fn new<P>(path: P) -> Result<Self, ::libloading::Error>
    where
        P: AsRef<::std::ffi::OsStr>,
    {
        let path = path.as_ref();
        let library = ::libloading::Library::new(path)?;
        Self::from_library(library)
    }
    pub unsafe fn from_library<L>(library: L) -> Result<Self, ::libloading::Error>
    where
        L: Into<::libloading::Library>,
    {
        let __library = library.into();
        let rails_build_key = __library.get(b"rails_build_key\0").map(|sym| *sym)?;
        let jaccl_shim_trace_signals = __library
            .get(b"jaccl_shim_trace_signals\0")
            .map(|sym| *sym)?;
        let jaccl_shim_features = __library
            .get(b"jaccl_shim_features\0")
            .map(|sym| *sym)?;
        let jaccl_shim_is_available = __library
            .get(b"jaccl_shim_is_available\0")
            .map(|sym| *sym)?;
        let jaccl_shim_check_matrix = __library
            .get(b"jaccl_shim_check_matrix\0")
            .map(|sym| *sym)?;
        let jaccl_shim_init = __library.get(b"jaccl_shim_init\0").map(|sym| *sym)?;
        let jaccl_shim_free = __library.get(b"jaccl_shim_free\0").map(|sym| *sym)?;
        let jaccl_shim_rank = __library.get(b"jaccl_shim_rank\0").map(|sym| *sym)?;
        let jaccl_shim_size = __library.get(b"jaccl_shim_size\0").map(|sym| *sym)?;
        let jaccl_shim_all_sum = __library.get(b"jaccl_shim_all_sum\0").map(|sym| *sym)?;
        let jaccl_shim_all_max = __library.get(b"jaccl_shim_all_max\0").map(|sym| *sym)?;
        let jaccl_shim_all_min = __library.get(b"jaccl_shim_all_min\0").map(|sym| *sym)?;
        let jaccl_shim_sum_scatter = __library
            .get(b"jaccl_shim_sum_scatter\0")
            .map(|sym| *sym)?;
        let jaccl_shim_all_gather = __library
            .get(b"jaccl_shim_all_gather\0")
            .map(|sym| *sym)?;
        let jaccl_shim_barrier = __library.get(b"jaccl_shim_barrier\0").map(|sym| *sym)?;
        let jaccl_shim_send = __library.get(b"jaccl_shim_send\0").map(|sym| *sym)?;
        let jaccl_shim_recv = __library.get(b"jaccl_shim_recv\0").map(|sym| *sym)?;
        Ok(Shim {
            __library,
            rails_build_key,
            jaccl_shim_trace_signals,
            jaccl_shim_features,
            jaccl_shim_is_available,
            jaccl_shim_check_matrix,
            jaccl_shim_init,
            jaccl_shim_free,
            jaccl_shim_rank,
            jaccl_shim_size,
            jaccl_shim_all_sum,
            jaccl_shim_all_max,
            jaccl_shim_all_min,
            jaccl_shim_sum_scatter,
            jaccl_shim_all_gather,
            jaccl_shim_barrier,
            jaccl_shim_send,
            jaccl_shim_recv,
        })
    }
    pub unsafe fn rails_build_key(&self) -> *const ::std::os::raw::c_char {
        (self.rails_build_key)()
    }
    pub unsafe fn jaccl_shim_trace_signals(&self) {
        (self.jaccl_shim_trace_signals)()
    }
    pub unsafe fn jaccl_shim_features(
        &self,
        barrier: *mut ::std::os::raw::c_int,
        sum_scatter: *mut ::std::os::raw::c_int,
    ) {
        (self.jaccl_shim_features)(barrier, sum_scatter)
    }
    pub unsafe fn jaccl_shim_is_available(
        &self,
        available: *mut ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self.jaccl_shim_is_available)(available, error, capacity)
    }
    pub unsafe fn jaccl_shim_check_matrix(
        &self,
        devices_path: *const ::std::os::raw::c_char,
        valid_ring: *mut ::std::os::raw::c_int,
        valid_mesh: *mut ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self
            .jaccl_shim_check_matrix)(
            devices_path,
            valid_ring,
            valid_mesh,
            error,
            capacity,
        )
    }
    pub unsafe fn jaccl_shim_init(
        &self,
        rank: ::std::os::raw::c_int,
        coordinator: *const ::std::os::raw::c_char,
        devices_path: *const ::std::os::raw::c_char,
        prefer_ring: ::std::os::raw::c_int,
        group: *mut *mut jaccl_shim_group,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self
            .jaccl_shim_init)(
            rank,
            coordinator,
            devices_path,
            prefer_ring,
            group,
            error,
            capacity,
        )
    }
    pub unsafe fn jaccl_shim_free(&self, group: *mut jaccl_shim_group) {
        (self.jaccl_shim_free)(group)
    }
    pub unsafe fn jaccl_shim_rank(
        &self,
        group: *mut jaccl_shim_group,
    ) -> ::std::os::raw::c_int {
        (self.jaccl_shim_rank)(group)
    }
    pub unsafe fn jaccl_shim_size(
        &self,
        group: *mut jaccl_shim_group,
    ) -> ::std::os::raw::c_int {
        (self.jaccl_shim_size)(group)
    }
    pub unsafe fn jaccl_shim_all_sum(
        &self,
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        dtype: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self.jaccl_shim_all_sum)(group, input, output, bytes, dtype, error, capacity)
    }
    pub unsafe fn jaccl_shim_all_max(
        &self,
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        dtype: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self.jaccl_shim_all_max)(group, input, output, bytes, dtype, error, capacity)
    }
    pub unsafe fn jaccl_shim_all_min(
        &self,
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        dtype: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self.jaccl_shim_all_min)(group, input, output, bytes, dtype, error, capacity)
    }
    pub unsafe fn jaccl_shim_sum_scatter(
        &self,
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        dtype: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self
            .jaccl_shim_sum_scatter)(group, input, output, bytes, dtype, error, capacity)
    }
    pub unsafe fn jaccl_shim_all_gather(
        &self,
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self.jaccl_shim_all_gather)(group, input, output, bytes, error, capacity)
    }
    pub unsafe fn jaccl_shim_barrier(
        &self,
        group: *mut jaccl_shim_group,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self.jaccl_shim_barrier)(group, error, capacity)
    }
    pub unsafe fn jaccl_shim_send(
        &self,
        group: *mut jaccl_shim_group,
        input: *const ::std::os::raw::c_void,
        bytes: usize,
        destination: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self.jaccl_shim_send)(group, input, bytes, destination, error, capacity)
    }
    pub unsafe fn jaccl_shim_recv(
        &self,
        group: *mut jaccl_shim_group,
        output: *mut ::std::os::raw::c_void,
        bytes: usize,
        source: ::std::os::raw::c_int,
        error: *mut ::std::os::raw::c_char,
        capacity: usize,
    ) -> ::std::os::raw::c_int {
        (self.jaccl_shim_recv)(group, output, bytes, source, error, capacity)
    }
}
