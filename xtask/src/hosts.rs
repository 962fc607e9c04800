//! The nodes of a rig that are machines of their own.

use nodes::NodeFacts;
use rail_verify::{
    group::{Build, Programs},
    hosts::Hosts as Staged,
};
use remote::Hosts;
use rig::Rig;
use terminal::Terminal;

use crate::{exit::Result, programs, rig_doctor, session::Session};

/// The nodes of a rig, if they are machines of their own.
#[derive(Default)]
pub struct Ready {
    /// The connections.
    pub hosts: Option<Hosts>,
    /// What the machines said of themselves.
    pub nodes: Vec<NodeFacts>,
}

impl Ready {
    /// Connects to the nodes of a rig and examines them, if ranks need more than this machine.
    pub fn of(session: &Session, rig: &Rig) -> Result<Self> {
        if !rig.needs_hosts() {
            return Ok(Self::default());
        }
        Ok(Self {
            hosts: Some(connect(session, rig)?),
            nodes: rig_doctor::before_ranks(&session.launcher, rig)?.nodes,
        })
    }
}

/// Compiles the programs of ranks that use jaccl alone, and brings them and builds of jaccl
/// to the nodes if there are some.
pub fn of_verify<'a>(
    session: &Session,
    Ready { hosts, nodes }: Ready,
    builds: impl IntoIterator<Item = &'a Build>,
) -> Result<Programs> {
    let mut programs = programs::of_verify(session)?;
    if let Some(hosts) = hosts {
        let own = (programs.rank.program(), &*programs.provider);
        let mut hosts = Staged::stage(hosts, own, builds, &Terminal::default())?;
        hosts.facts = nodes;
        programs.hosts = Some(hosts);
    }
    Ok(programs)
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
