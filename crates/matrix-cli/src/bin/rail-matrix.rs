//! `rail-matrix`, as the Python wheel has it.

use std::process::ExitCode;

fn main() -> ExitCode {
    matrix_cli::main(std::env::args_os()).into()
}
