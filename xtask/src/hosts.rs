//! The nodes of a rig that are machines of their own.

use remote::Hosts;
use rig::Rig;
use terminal::Terminal;

use crate::{exit::Result, programs, session::Session};

/// Connects to the nodes of a rig, and checks that they can run ranks together.
pub fn connect(session: &Session, rig: &Rig) -> Result<Hosts> {
    let hosts = without_addresses(session, rig)?;
    hosts.check_addresses()?;
    Ok(hosts)
}

/// Connects to the nodes of a rig.
pub fn without_addresses(session: &Session, rig: &Rig) -> Result<Hosts> {
    let agent = programs::agent(session)?;
    let terminal = Terminal::default();
    Ok(Hosts::connect(
        &session.launcher,
        &terminal,
        &rig.nodes,
        &agent,
    )?)
}
