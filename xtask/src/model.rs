//! The model `smollm2`, in the store.

use std::path::PathBuf;

use models::smollm2;

use crate::{
    exit::{Failure, Result},
    session::Session,
};

/// Its folder, made first when the store does not have it.
pub fn smollm2(session: &Session) -> Result<PathBuf> {
    let make = |wheel: &_, made: &_| smollm2::make(wheel, made).map_err(Failure::from);
    let toolchain = &session.toolchain;
    toolchain.smollm2(&smollm2::key(), smollm2::is_whole, make)
}
