//! `cargo xtask matrix`: makes a matrix from any description of the cabling, or checks one.

use launch::Launcher;
use matrix_cli::{Answer, Matrix};

use crate::{
    exit::{self, Result},
    output,
};

pub fn run(launcher: &Launcher, flags: Matrix) -> Result {
    let Answer { document, passed } = matrix_cli::run(launcher, &flags.into_step())?;
    output::document(&document)?;
    Ok(exit::passed(passed))
}
