//! Verbs programs of other projects: rdma-core's examples and perftest, as Debian builds
//! them.

use std::sync::OnceLock;

pub use testbed::Debian;
use testbed::Packages;

const VERBS: Packages = Packages {
    names: &[
        "ibverbs-utils",
        "perftest",
        "ibverbs-providers",
        "libibumad3",
        "libnl-3-200",
        "libpci3",
        "librdmacm1",
    ],
    witnesses: &["ibv_rc_pingpong", "ib_send_bw"],
    programs: "usr/bin",
};

/// Debian's programs, downloaded first if neither the system nor this checkout has them.
/// Looked for once in each process.
///
/// # Errors
/// The reason why they are not available.
pub fn debian() -> Result<&'static Debian, &'static str> {
    static DEBIAN: OnceLock<Result<Debian, String>> = OnceLock::new();
    let found = DEBIAN.get_or_init(|| VERBS.find());
    found.as_ref().map_err(String::as_str)
}
