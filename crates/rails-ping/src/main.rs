//! `rails-ping`: latency and bandwidth of one rail, between two processes.
//!
//! Rank 0 listens and answers; the other rank connects, measures and prints. Under `cargo
//! xtask rig up` each process gets its rank and the meeting address from the environment;
//! elsewhere `--server` and `--client HOST` set them. The device is opened through the
//! crate `ibverbs`, which contains no support for emulated cables.
//!
//! | module | holds |
//! |---|---|
//! | `flags` | the command line |
//! | `meeting` | the TCP connection over which two processes agree |
//! | `wire` | the device, the queue pair and its memory; the only unsafe code |
//! | `measure` | the patterns of messages |
//! | `report` | the output |

#[cfg(all(target_os = "linux", feature = "verbs"))]
mod flags;
#[cfg(all(target_os = "linux", feature = "verbs"))]
mod measure;
#[cfg(all(target_os = "linux", feature = "verbs"))]
mod meeting;
#[cfg(all(target_os = "linux", feature = "verbs"))]
mod report;
#[cfg(all(target_os = "linux", feature = "verbs"))]
mod wire;

use std::process::ExitCode;

#[cfg(all(target_os = "linux", feature = "verbs"))]
fn main() -> ExitCode {
    measure::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    eprintln!(
        "error: rails-ping runs on Linux only: the crate ibverbs does not link on this system\n\
         `cargo xtask preflight` tries rails with jaccl itself"
    );
    ExitCode::from(2)
}

#[cfg(all(target_os = "linux", not(feature = "verbs")))]
fn main() -> ExitCode {
    eprintln!(
        "error: this rails-ping was compiled without its feature `verbs`\n\
         `cargo xtask rig up -- rails-ping ...` compiles it with that feature, and runs it"
    );
    ExitCode::from(2)
}
