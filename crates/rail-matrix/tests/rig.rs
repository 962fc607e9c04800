//! Reading and writing rigs, and what is said about bad ones.

use std::time::Duration;

use rail_matrix::{CableFault, DeviceFault, ReceiverNotReady, Rig, RigProblem};

const TWO_NODES: &str = "[[node]]\nname = \"a\"\n[[node]]\nname = \"b\"\n";

/// The message for two nodes followed by `rest`, whose first line is line 5.
fn refusal(rest: &str) -> String {
    Rig::parse(&format!("{TWO_NODES}{rest}"))
        .expect_err(rest)
        .to_string()
}

#[test]
fn a_rig_is_read_whole() {
    let rig = Rig::parse(
        r#"
        [defaults]
        bandwidth = "80 Gb/s"
        latency = "1 us"
        receiver_not_ready = "drop"
        [[node]]
        name = "studio"
        [[node]]
        name = "mini"
        [[cable]]
        name = "left"
        ends = ["studio:rdma_en2", "mini:rdma_en5"]
        [[cable]]
        name = "right"
        ends = ["mini:rdma_en4", "studio:rdma_en3"]
        bandwidth = "50 MB/s"
        [[fault]]
        device = "mini:rdma_en4"
        kind = "no-gid"
        [[fault]]
        device = "mini:rdma_en4"
        kind = "refusing"
        [[fault]]
        cable = "left"
        kind = "cut"
        "#,
    )
    .unwrap();
    assert_eq!(rig.rank("mini"), Some(1));
    assert_eq!(rig.receiver_not_ready, ReceiverNotReady::Drop);
    let [left, right] = &rig.cables[..] else {
        panic!("{rig:?}")
    };
    assert_eq!(left.link.bytes_per_second, 10_000_000_000);
    assert_eq!(right.link.bytes_per_second, 50_000_000);
    assert_eq!(right.link.latency, Duration::from_micros(1));
    assert_eq!(
        right.end_on("studio").unwrap().to_string(),
        "studio:rdma_en3"
    );
    let broken = |end| rig.device_faults(end).collect::<Vec<_>>();
    assert_eq!(
        broken(&right.ends[0]),
        [DeviceFault::NoGid, DeviceFault::Refusing]
    );
    assert_eq!(broken(&right.ends[1]), []);
    let cut = |name| rig.cable_faults(name).collect::<Vec<_>>();
    assert_eq!((cut("left"), cut("right")), (vec![CableFault::Cut], vec![]));
}

#[test]
fn the_embedded_rig_is_sound_and_survives_being_written() {
    let rig = Rig::embedded();
    rig.check().unwrap();
    assert_eq!(rig.cables_per_pair(), 3);
    assert_eq!(rig.cables[0].link.bytes_per_second, 50_000_000);
    assert_eq!(rig.cables[2].ends[1].to_string(), "b:rdma_en7");
    assert_eq!(Rig::parse(&rig.to_toml()).unwrap(), rig);
}

#[test]
fn a_rig_in_json_has_the_shape_of_rig_toml() {
    let json = serde_json::to_value(Rig::embedded().with_cables(1).unwrap()).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "defaults": {"receiver_not_ready": "wait"},
            "node": [{"name": "a"}, {"name": "b"}],
            "cable": [{
                "name": "cable-1",
                "ends": ["a:rdma_en5", "b:rdma_en5"],
                "bandwidth": "50 MB/s",
                "latency": "20 us",
            }],
        })
    );
}

#[test]
fn fewer_cables_are_the_first_by_name_whatever_the_order_in_the_file() {
    let mut rig = Rig::embedded();
    rig.cables.reverse();
    let names: Vec<_> = rig
        .with_cables(2)
        .unwrap()
        .cables
        .into_iter()
        .map(|cable| cable.name)
        .collect();
    assert_eq!(names, ["cable-1", "cable-2"]);
}

#[test]
fn fewer_cables_have_the_faults_of_what_is_left() {
    let faults = "[[fault]]\ncable = \"cable-2\"\nkind = \"cut\"\n\
                  [[fault]]\ndevice = \"b:rdma_en5\"\nkind = \"failing\"\n\
                  [[fault]]\ndevice = \"b:rdma_en6\"\nkind = \"absent\"\n";
    let rig = Rig::parse(&(Rig::embedded().to_toml() + faults)).unwrap();
    assert_eq!(rig.with_cables(3).unwrap().faults, rig.faults);
    assert_eq!(rig.with_cables(1).unwrap().faults, rig.faults[1..2]);
}

#[test]
fn more_cables_than_the_rig_has_are_refused() {
    let error = Rig::embedded().with_cables(4).unwrap_err();
    assert_eq!(
        error.to_string(),
        "4 cables a pair were asked for, but nodes 'a' and 'b' have 3; \
         ask for at most 3, or add cables to the rig"
    );
    assert_eq!(
        Rig::embedded().with_cables(0).unwrap_err().problem,
        RigProblem::NoCablesAsked
    );
    let bare = Rig::parse(TWO_NODES).unwrap();
    assert_eq!(
        bare.with_cables(1).unwrap_err().problem,
        RigProblem::NoCables { asked: 1 }
    );
}

#[test]
fn an_unplugged_pair_does_not_count_against_the_others() {
    let rig = Rig::parse(
        r#"
        node = [{ name = "a" }, { name = "b" }, { name = "c" }]
        cable = [
            { name = "ab-1", ends = ["a:1", "b:1"] },
            { name = "ab-2", ends = ["a:2", "b:2"] },
            { name = "bc-1", ends = ["b:3", "c:1"] },
        ]
        "#,
    )
    .unwrap();
    assert_eq!(rig.cables_per_pair(), 1);
    assert_eq!(rig.with_cables(1).unwrap().cables.len(), 2);
    assert!(
        rig.with_cables(2)
            .unwrap_err()
            .to_string()
            .contains("'b' and 'c' have 1")
    );
}

#[test]
fn text_that_is_not_toml_names_its_line() {
    assert!(refusal("[[cable]\n").starts_with("line 5: "));
    assert!(
        refusal("[[cable]]\nname = \"x\"\nend = 3\n").starts_with("line 7: unknown field `end`")
    );
    assert!(refusal("[defaults]\nreceiver_not_ready = \"retry\"\n").starts_with("line 6: "));
}

#[test]
fn every_mistake_names_its_line_its_thing_and_a_remedy() {
    let cable = |name: &str, first: &str, second: &str| {
        format!("[[cable]]\nname = \"{name}\"\nends = [\"{first}\", \"{second}\"]\n")
    };
    let two = |second: &str| cable("x", "a:en5", "b:en5") + second;
    let cases = [
        (
            cable("x", "a:en5", "c:en5"),
            "line 7: cable 'x' ends on node 'c', which the rig does not have; its nodes are 'a', 'b'",
        ),
        (
            cable("x", "a:en5", "a:en6"),
            "line 6: cable 'x' has both ends on node 'a'; a cable joins two nodes",
        ),
        (
            cable("x", "a:en5", "b"),
            "line 7: cable 'x' has the end 'b'; write an end as \"node:device\", such as \"a:rdma_en5\"",
        ),
        (
            cable("x", "a:", "b:en5"),
            "line 7: cable 'x' has the end 'a:'; write an end as \"node:device\", such as \"a:rdma_en5\"",
        ),
        (
            cable("", "a:en5", "b:en5"),
            "line 6: cable 1 has an empty name; give it one, such as \"cable-1\"",
        ),
        (
            two(&cable("x", "a:en6", "b:en6")),
            "line 9: two cables are named 'x'; rename one",
        ),
        (
            two(&cable("y", "b:en5", "a:en6")),
            "line 10: device 'b:en5' is used by cable 'x' and by cable 'y'; a device takes one cable, so correct one of the two",
        ),
        (
            cable("x", "a:en5", "b:en5") + "bandwidth = \"0 MB/s\"\n",
            "line 6: cable 'x' has a bandwidth of zero and would never deliver; write one such as \"50 MB/s\", or leave the cable out",
        ),
        (
            cable("x", "a:en5", "b:en5") + "bandwidth = \"fast\"\n",
            "line 8: cable 'x': 'fast' is not a bandwidth; write a number and a unit out of B/s, kB/s, MB/s, GB/s, Mb/s, Gb/s, for example \"50 MB/s\"",
        ),
        (
            "[defaults]\nlatency = \"20\"\n".to_owned(),
            "line 6: [defaults]: '20' is not a latency; write a number and a unit out of ns, us, ms, s, for example \"20 us\"",
        ),
        (
            "[[node]]\nname = \"a\"\n".to_owned(),
            "line 5: two nodes are named 'a'; rename one, and the ends that mean it",
        ),
        (
            "[[node]]\nname = \"\"\n".to_owned(),
            "line 5: node 3 has an empty name; give it one, such as \"a\"",
        ),
        (
            two("[[fault]]\ndevice = \"b:en6\"\nkind = \"absent\"\n"),
            "line 9: a fault is on device 'b:en6', in which no cable of the rig ends; its devices are 'a:en5', 'b:en5'",
        ),
        (
            two("[[fault]]\ndevice = \"en5\"\nkind = \"absent\"\n"),
            "line 9: a fault is on device 'en5'; write a device as \"node:device\", such as \"a:rdma_en5\"",
        ),
        (
            two("[[fault]]\ncable = \"y\"\nkind = \"cut\"\n"),
            "line 9: a fault is on cable 'y', which the rig does not have; its cables are 'x'",
        ),
        (
            two("[[fault]]\ndevice = \"b:en5\"\nkind = \"cut\"\n"),
            "line 10: 'cut' is no fault of a device; the kinds are 'absent', 'no-gid', 'port-down', 'failing', 'refusing'",
        ),
        (
            two("[[fault]]\ncable = \"x\"\nkind = \"absent\"\n"),
            "line 10: 'absent' is no fault of a cable; the kinds are 'cut'",
        ),
        (
            two("[[fault]]\nkind = \"cut\"\n"),
            "line 8: a fault is on either a device or a cable; give it one of the two",
        ),
        (
            two(
                "[[fault]]\ncable = \"x\"\nkind = \"cut\"\n[[fault]]\ncable = \"x\"\nkind = \"cut\"\n",
            ),
            "line 12: the fault that cable 'x' is cut is stated twice; remove one of the two",
        ),
    ];
    for (rest, message) in cases {
        assert_eq!(refusal(&rest), message);
    }
    assert_eq!(
        Rig::parse("").unwrap_err().to_string(),
        "the rig has no node; add a [[node]] with a name for each machine"
    );
}

#[test]
fn a_rig_made_by_hand_is_checked_like_a_file() {
    let mut rig = Rig::embedded();
    rig.cables[1].ends[0].node = "z".to_owned();
    let error = rig.check().unwrap_err();
    assert_eq!(error.line, None);
    assert!(error.to_string().contains("'z'"));
}
