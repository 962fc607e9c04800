//! Timed faults of a rig.

use std::{sync::mpsc, time::Duration};

use rig::{CableFault, Defect, Fault, Rig, Span};
use softrail::{Fabric, live::Live};

/// Longer than any step here takes on any machine.
const LIMIT: Duration = Duration::from_secs(120);

#[test]
fn what_a_rig_says_comes_and_goes_in_its_time() {
    let until = Duration::from_millis(200);
    let defect = Defect::Cable {
        cable: "cable-2".to_owned(),
        kind: CableFault::Cut,
    };
    let span = Span {
        at: Duration::from_millis(100),
        until: Some(until),
    };
    let rig = Rig::embedded().with_faults(vec![Fault { defect, span }]);
    let parent = tempfile::tempdir().expect("a folder");
    let fabric = Fabric::create(parent.path(), &rig).expect("a fabric");
    let live = Live::attach(fabric.path()).expect("it is up");
    let is_cut = move || live.counters()[2].cut;
    assert!(!is_cut());
    let (sender, told) = mpsc::channel();
    let _player = fabric.play(move |step, done| {
        done.expect("there is such a cable");
        sender.send((step.to_string(), is_cut())).expect("heard");
    });
    let next = || told.recv_timeout(LIMIT).expect("its time comes");
    let cut = "at 100 ms, cable 'cable-2' is cut";
    assert_eq!(next(), (cut.to_owned(), true));
    assert_eq!(
        next(),
        (format!("{cut} no longer").replace("100", "200"), false)
    );
}
