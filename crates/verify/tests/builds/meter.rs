//! The meter between jaccl and the emulated cables.

use std::{collections::BTreeMap, env, path::Path, time::Duration};

use jaccl::{Dtype, Operation, Reduction, Step};
use launch::Launcher;
use meter::{FILE_VARIABLE, FRAME_BYTES, NEXT_VARIABLE, Reading, Sheet};
use rail_verify::{
    case::{Backend, Frames, Setting},
    group::{Group, Programs, Until, finding},
    setup::Setup,
};

use crate::harness::{patched, programs, tuned};

/// Ranks behind the meter, which counts in this file.
fn metered(setting: Setting, counters: &Path) -> (Programs, Setup) {
    let own = programs();
    let program = env::current_exe().expect("a program");
    let mut setup = Setup::of(setting);
    setup.variables = [
        (NEXT_VARIABLE, own.provider.as_path()),
        (FILE_VARIABLE, counters),
    ]
    .map(|(name, path)| (name.to_owned(), path.display().to_string()))
    .into();
    let programs = Programs {
        provider: program.with_file_name(meter::LIBRARY),
        hosts: None,
        ..own
    };
    (programs, setup)
}

/// Two processes of a real jaccl: each device sent and received just what its cable
/// carried. A verify rig has no device name twice.
#[test]
fn the_meter_counts_what_the_cables_carry() {
    for (build, backend, wires) in [
        (patched(), Backend::Ring, 3),
        (patched(), Backend::Mesh, 1),
        (tuned(), Backend::Ring, 2),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let counters = folder.path().join("counters");
        let setting = Setting {
            backend,
            ranks: 2,
            wires,
            frames: Frames::Small,
        };
        let (programs, setup) = metered(setting, &counters);
        let launcher = Launcher::default();
        let group = Group::start(&programs, &build.build, &setup, &launcher);
        let mut group = group.unwrap_or_else(|error| panic!("{error}"));
        let limit = Duration::from_secs(60);
        let joined = group.joined(limit.into(), Until::FirstFailure);
        let failed = finding(&joined.expect("not interrupted"));
        assert!(failed.is_none(), "{failed:?}");
        let operations = [
            Operation::AllReduce(Reduction::Sum),
            Operation::AllGather,
            Operation::Send { from: 1, to: 0 },
        ];
        let steps = operations.into_iter().flat_map(|operation| {
            [4096, 300_000].map(|bytes| Step {
                operation,
                bytes,
                dtype: Dtype::Float32,
                in_place: false,
                salt: 0,
            })
        });
        let ran = group.run(steps.collect(), None, limit.into(), Until::FirstFailure);
        let failed = finding(&ran.expect("not interrupted"));
        assert!(failed.is_none(), "{failed:?}");

        let read = Sheet::open(&counters).expect("counters").read();
        let read: BTreeMap<&str, &Reading> = read.iter().map(|it| (&*it.device, it)).collect();
        let device = |end: &str| read[end.split_once(':').expect("node:device").1];
        let directions = group.live().counters();
        assert_eq!((read.len(), directions.len()), (2 * wires, 2 * wires));
        for direction in directions {
            let (from, to) = (device(&direction.from), device(&direction.to));
            let carried = (direction.bytes, direction.messages);
            assert!(carried.0 > 0, "{direction}");
            let sent = (from.sent_frames * FRAME_BYTES, from.sent);
            assert_eq!(sent, carried, "{direction}");
            let arrived = (to.received_bytes, to.received);
            assert_eq!(arrived, (from.sent_bytes, from.sent), "{direction}");
            assert!((1..=32).contains(&from.depth), "{from:?}");
            assert_eq!(from.failed, 0);
        }
    }
}
