//! The verbs library behind the meter.

use std::{
    env,
    ffi::{c_char, c_int, c_void},
    path::PathBuf,
    sync::OnceLock,
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use meter::NEXT_VARIABLE;

use crate::{bindings as ibv, complain, exports};

/// The functions of the library. One that it lacks is not here either.
macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) -> $result:ty;)*) => {
        pub struct Functions {$(
            pub $name: Option<unsafe extern "C" fn($($argument),*) -> $result>,
        )*}

        impl Functions {
            fn of(library: &Library) -> Self {
                Self {$(
                    $name: {
                        // SAFETY: the function has this signature in every verbs library
                        // (`verbs.h`), and the library is never closed.
                        let found = unsafe { library.get(concat!(stringify!($name), "\0").as_bytes()) };
                        found.ok().map(|symbol| *symbol)
                    },
                )*}
            }
        }
    };
}

functions! {
    ibv_get_device_list: fn(*mut c_int) -> *mut *mut ibv::ibv_device;
    ibv_free_device_list: fn(*mut *mut ibv::ibv_device) -> ();
    ibv_get_device_name: fn(*mut ibv::ibv_device) -> *const c_char;
    ibv_open_device: fn(*mut ibv::ibv_device) -> *mut ibv::ibv_context;
    ibv_close_device: fn(*mut ibv::ibv_context) -> c_int;
    ibv_alloc_pd: fn(*mut ibv::ibv_context) -> *mut ibv::ibv_pd;
    ibv_dealloc_pd: fn(*mut ibv::ibv_pd) -> c_int;
    ibv_create_cq: fn(*mut ibv::ibv_context, c_int, *mut c_void, *mut ibv::ibv_comp_channel, c_int) -> *mut ibv::ibv_cq;
    ibv_destroy_cq: fn(*mut ibv::ibv_cq) -> c_int;
    ibv_create_qp: fn(*mut ibv::ibv_pd, *mut ibv::ibv_qp_init_attr) -> *mut ibv::ibv_qp;
    ibv_modify_qp: fn(*mut ibv::ibv_qp, *mut ibv::ibv_qp_attr, c_int) -> c_int;
    ibv_destroy_qp: fn(*mut ibv::ibv_qp) -> c_int;
    ibv_query_port: fn(*mut ibv::ibv_context, u8, *mut ibv::ibv_port_attr) -> c_int;
    ibv_query_gid: fn(*mut ibv::ibv_context, u8, c_int, *mut ibv::ibv_gid) -> c_int;
    ibv_reg_mr: fn(*mut ibv::ibv_pd, *mut c_void, usize, c_int) -> *mut ibv::ibv_mr;
    ibv_dereg_mr: fn(*mut ibv::ibv_mr) -> c_int;
}

/// The library's functions. `None` if there is no library, which was said once.
pub fn functions() -> Option<&'static Functions> {
    static FUNCTIONS: OnceLock<Option<Functions>> = OnceLock::new();
    FUNCTIONS.get_or_init(open).as_ref()
}

fn path() -> Option<PathBuf> {
    let system = cfg!(target_os = "macos").then(|| PathBuf::from("/usr/lib/librdma.dylib"));
    env::var_os(NEXT_VARIABLE).map(PathBuf::from).or(system)
}

fn open() -> Option<Functions> {
    let Some(path) = path() else {
        complain(format_args!(
            "{NEXT_VARIABLE} is not set; it names the verbs library by its path"
        ));
        return None;
    };
    // The library's own calls must not come here: names that this library exports may be
    // visible to all (jaccl opens it with RTLD_GLOBAL).
    #[cfg(target_os = "linux")]
    let flags = RTLD_NOW | RTLD_LOCAL | libc::RTLD_DEEPBIND;
    #[cfg(not(target_os = "linux"))]
    let flags = RTLD_NOW | RTLD_LOCAL;
    // SAFETY: loading a verbs library runs its initialisers, which whoever named it accepts.
    let library = match unsafe { Library::open(Some(&path), flags) } {
        Ok(library) => library,
        Err(error) => {
            complain(format_args!("cannot open {}: {error}", path.display()));
            return None;
        }
    };
    let functions = Functions::of(&library);
    // It is in use until the process ends.
    std::mem::forget(library);
    let own: unsafe extern "C" fn(_) -> _ = exports::ibv_open_device;
    match functions.ibv_open_device {
        Some(theirs) if !std::ptr::fn_addr_eq(theirs, own) => Some(functions),
        Some(_) => {
            complain(format_args!(
                "{} is the meter itself; {NEXT_VARIABLE} names the library behind it",
                path.display()
            ));
            None
        }
        None => {
            complain(format_args!("{} is no verbs library", path.display()));
            None
        }
    }
}
