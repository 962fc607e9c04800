//! Configures, compiles and installs one build with CMake, in a process of its own:
//! `rails-cmake SPEC`. The toolchain starts it; `toolchain::driver` says why.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match (arguments.next(), arguments.next()) {
        (Some(spec), None) => toolchain::driver::drive(spec.as_ref()),
        _ => {
            eprintln!("usage: rails-cmake SPEC");
            ExitCode::from(2)
        }
    }
}
