//! Programs of the system's packages on the two nodes of a fabric.

use std::{sync::OnceLock, time::Duration};

use launch::Launcher;
use rail_matrix::{Link, Rig};
use softrail::{
    Fabric,
    up::{End, Job},
};
use toolchain::{Toolchain, clients::Clients};

/// Has node 1 wait until node 0 listens on this run's port, as `/proc/net/tcp` tells.
const MEET: &str = r#"
port=${RIG_COORDINATOR#*:}
if [ $RIG_RANK = 0 ]; then host=; else
    host=$RIG_HOST
    listens=$(printf ':%04X 0*:0000 0A' $port)
    until grep -q "$listens" /proc/net/tcp /proc/net/tcp6; do sleep 0.02; done
fi
"#;

fn clients() -> &'static Clients {
    static CLIENTS: OnceLock<Clients> = OnceLock::new();
    CLIENTS.get_or_init(|| {
        let got = Toolchain::open().and_then(|toolchain| toolchain.clients());
        got.unwrap_or_else(|error| panic!("{error}"))
    })
}

/// What came of a program.
pub struct Ran {
    /// How each node's process ended.
    pub ends: Vec<(usize, End)>,
    /// What each node wrote.
    pub said: [String; 2],
}

/// The embedded rig, whose cables are fast here.
pub fn rig() -> Rig {
    let mut rig = Rig::embedded();
    for cable in &mut rig.cables {
        cable.link = Link {
            bytes_per_second: 200_000_000,
            latency: Duration::from_micros(5),
        };
    }
    rig
}

/// A fabric, there as long as the folder.
pub fn fabric(rig: &Rig) -> (tempfile::TempDir, Fabric) {
    let parent = tempfile::tempdir().expect("a folder");
    let fabric = Fabric::create(parent.path(), rig).expect("a fabric");
    (parent, fabric)
}

/// Runs a program on these nodes, node 0 among them, for so long at most. In its
/// arguments `$port` and `$host` are where node 0 listens.
pub fn run(
    fabric: &Fabric,
    nodes: &[usize],
    program: &str,
    arguments: &str,
    limit: Duration,
) -> Ran {
    run_as(fabric, ["a", "b"], nodes, program, arguments, limit)
}

/// The same, where the nodes are said to be called so.
pub fn run_as(
    fabric: &Fabric,
    names: [&str; 2],
    nodes: &[usize],
    program: &str,
    arguments: &str,
    limit: Duration,
) -> Ran {
    let libraries: Vec<_> = clients()
        .libraries()
        .iter()
        .map(|folder| format!(":{}", folder.display()))
        .collect();
    let program = clients().program(program);
    let script = format!(
        "{MEET}export LD_LIBRARY_PATH=$LD_LIBRARY_PATH{}\nexec {} {arguments}",
        libraries.concat(),
        program.display()
    );
    let command = ["sh".to_owned(), "-c".to_owned(), script];
    let job = Job {
        command: &command,
        nodes,
        provider: &softrail::provider_library().expect("the provider"),
        limit: Some(limit),
    };
    let mut said = [String::new(), String::new()];
    let ran = fabric.up(&names, &job, &Launcher::default(), |node, _, line| {
        said[node].extend([line, "\n"]);
        Ok(())
    });
    Ran {
        ends: ran.unwrap_or_else(|error| panic!("{error}")),
        said,
    }
}
