//! `rails-agent STAGE`: what runs on a node. It reads a request from stdin; see
//! [`remote::agent`]. The launcher copies it there and starts it.

use std::process::ExitCode;

fn main() -> ExitCode {
    remote::agent::main()
}
