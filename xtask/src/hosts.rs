//! The nodes of a rig that are machines of their own.

use rail_verify::group::{Build, Programs};
use remote::Hosts;
use rig::Rig;
use terminal::Terminal;

use crate::{exit::Result, programs, rig_doctor, session::Session};

/// Connects to the nodes of a rig and examines them, if ranks need more than this machine.
pub fn ready(session: &Session, rig: &Rig) -> Result<Option<Hosts>> {
    if !rig.needs_hosts() {
        return Ok(None);
    }
    let hosts = connect(session, rig)?;
    rig_doctor::before_ranks(&session.launcher, rig)?;
    Ok(Some(hosts))
}

/// Compiles the programs of ranks that use jaccl alone, and brings them and builds of jaccl
/// to the nodes if there are some.
pub fn of_verify<'a>(
    session: &Session,
    hosts: Option<Hosts>,
    builds: impl IntoIterator<Item = &'a Build>,
) -> Result<Programs> {
    let programs = programs::of_verify(session)?;
    let own = (programs.rank.program(), &*programs.provider);
    let stage = |hosts| rail_verify::hosts::Hosts::stage(hosts, own, builds, &Terminal::default());
    let hosts = hosts.map(stage).transpose()?;
    Ok(Programs { hosts, ..programs })
}

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
