//! Reading and writing rigs, and the errors for invalid ones.

use std::time::Duration;

use rig::{
    CableFault, Cables, Crossed, Defect, DeviceFault, End, Fault, Link, MessageFault, NodeFault,
    ReceiverNotReady, Rig, RigProblem, Span,
};

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
        profile = "rdma"
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
    assert_eq!(rig.rules.receiver_not_ready, ReceiverNotReady::Drop);
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
fn faults_are_read_with_their_times_and_values() {
    let faults = r#"
        [defaults]
        crossed = "refuse"
        [[fault]]
        cable = "cable-1"
        kind = "degraded"
        bandwidth = "10 MB/s"
        at = "2 s"
        until = "3500 ms"
        [[fault]]
        device = "a:rdma_en5"
        kind = "delay-message"
        queue_pair = 1
        message = 3
        by = "5 ms"
        [[fault]]
        node = "b"
        kind = "freeze"
        at = "2 s"
        [[fault]]
        cable = "cable-1"
        kind = "cut"
        until = "1 s"
    "#;
    let embedded = Rig::embedded().to_toml();
    let cabling = embedded.split_once("[[node]]").expect("it has nodes").1;
    let rig = Rig::parse(&format!("{faults}[[node]]{cabling}")).unwrap();
    assert_eq!(rig.rules.crossed, Crossed::Refuse);
    let seconds = Duration::from_secs_f64;
    let device = rig.cables[0].ends[0].clone();
    let slower = CableFault::Degraded {
        bandwidth: Some(10_000_000),
        latency: None,
    };
    let on_cable = |kind| Defect::Cable {
        cable: "cable-1".to_owned(),
        kind,
    };
    let delayed = Defect::Message {
        device,
        queue_pair: 1,
        message: 3,
        kind: MessageFault::Delay(Duration::from_millis(5)),
    };
    let frozen = Defect::Node {
        node: "b".to_owned(),
        kind: NodeFault::Freeze,
    };
    let fault = |defect, at, until: Option<f64>| Fault {
        defect,
        span: Span {
            at: seconds(at),
            until: until.map(seconds),
        },
    };
    assert_eq!(
        rig.faults,
        [
            fault(on_cable(slower), 2.0, Some(3.5)),
            fault(delayed, 0.0, None),
            fault(frozen, 2.0, None),
            fault(on_cable(CableFault::Cut), 0.0, Some(1.0)),
        ]
    );
    let first = rig.cable_faults("cable-1").collect::<Vec<_>>();
    assert_eq!(first, [CableFault::Cut], "the other one comes later");
    let link = slower.degrade(rig.cables[0].link);
    assert_eq!(
        (link.bytes_per_second, link.latency),
        (10_000_000, Duration::from_micros(20))
    );
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
            "defaults": {"profile": "thunderbolt"},
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
    assert_eq!(
        refusal("[defaults]\nreceiver_not_ready = \"drop\"\n"),
        "line 5: 'receiver_not_ready' says nothing about profile \"thunderbolt\"; remove it, or \
         write profile = \"rdma\""
    );
    assert_eq!(
        refusal("[defaults]\nprofile = \"rdma\"\nleaks_after_error = false\n"),
        "line 5: 'leaks_after_error' says nothing about profile \"rdma\"; remove it, or write \
         profile = \"thunderbolt\""
    );
    assert_eq!(
        refusal("[defaults]\ngid_index = 0\n"),
        "line 5: gid_index is 0; write an index from 1 to 7, where 1 is usual"
    );
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
            "line 10: 'cut' is no fault of a device; the kinds are 'absent', 'no-gid', 'port-down', 'failing', 'refusing', 'drop-message', 'delay-message'",
        ),
        (
            two("[[fault]]\ncable = \"x\"\nkind = \"absent\"\n"),
            "line 10: 'absent' is no fault of a cable; the kinds are 'cut', 'degraded', 'unplugged', 'unplugged-hang'",
        ),
        (
            two("[[fault]]\nkind = \"cut\"\n"),
            "line 8: a fault is on a device, on a cable or on a node; give it one of the three",
        ),
        (
            two(
                "[[fault]]\ncable = \"x\"\nkind = \"cut\"\n[[fault]]\ncable = \"x\"\nkind = \"cut\"\n",
            ),
            "line 12: the fault that cable 'x' is cut is stated twice for the same time; remove one of the two",
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

/// The error for a fault on the cable of two nodes, whose lines begin at 9.
fn fault_refusal(fault: &str) -> String {
    let cable = "[[cable]]\nname = \"x\"\nends = [\"a:en5\", \"b:en5\"]\n";
    refusal(&format!("{cable}[[fault]]\n{fault}"))
}

#[test]
fn every_mistake_of_a_fault_names_its_line_and_a_remedy() {
    let (cut, cable) = ("cable = \"x\"\nkind = \"cut\"\n", "cable = \"x\"\n");
    let cases = [
        (
            "node = \"c\"\nkind = \"kill\"\nat = \"1 s\"\n".to_owned(),
            "line 9: a fault is on node 'c', which the rig does not have; its nodes are 'a', 'b'",
        ),
        (
            "node = \"b\"\nkind = \"cut\"\n".to_owned(),
            "line 10: 'cut' is no fault of a node; the kinds are 'kill', 'freeze'",
        ),
        (
            "node = \"b\"\nkind = \"kill\"\n".to_owned(),
            "line 9: 'kill' wants more to be said; add at = \"2 s\"",
        ),
        (
            "node = \"b\"\nkind = \"kill\"\nat = \"1 s\"\nuntil = \"2 s\"\n".to_owned(),
            "line 12: 'until' says nothing about 'kill'; remove it",
        ),
        (
            format!("{cut}at = \"2 s\"\nuntil = \"2 s\"\n"),
            "line 12: a fault begins at 2 s and lasts until 2 s; let it end after it has begun",
        ),
        (
            format!("{cut}at = \"0 s\"\n"),
            "line 11: at is zero; write a time after the start, such as \"2 s\", or leave at out",
        ),
        (
            format!("{cut}until = \"-1 s\"\n"),
            "line 11: until of a fault: '-1 s' is not a time; write a number and a unit out of ns, us, ms, s, min, h, for example \"2 s\"",
        ),
        (
            format!("{cut}latency = \"1 ms\"\n"),
            "line 11: 'latency' says nothing about 'cut'; remove it",
        ),
        (
            format!("{cable}kind = \"degraded\"\n"),
            "line 9: 'degraded' wants more to be said; add bandwidth = \"10 MB/s\" or latency = \"1 ms\"",
        ),
        (
            format!("{cable}kind = \"degraded\"\nbandwidth = \"0 MB/s\"\n"),
            "line 11: a bandwidth of zero would never deliver; write one such as \"10 MB/s\", or make the fault kind = \"cut\"",
        ),
        (
            "device = \"a:en5\"\nkind = \"absent\"\nat = \"1 s\"\n".to_owned(),
            "line 11: 'at' says nothing about 'absent'; remove it",
        ),
        (
            "device = \"a:en5\"\nkind = \"drop-message\"\nmessage = 3\n".to_owned(),
            "line 10: 'drop-message' wants more to be said; add queue_pair = 0 and message = 3, counted from 0",
        ),
        (
            "device = \"a:en5\"\nkind = \"drop-message\"\nqueue_pair = 0\nmessage = -1\n".to_owned(),
            "line 12: message is -1; write a number from 0 to 4294967295, where 0 is the first",
        ),
        (
            "device = \"a:en5\"\nkind = \"delay-message\"\nqueue_pair = 0\nmessage = 1\n".to_owned(),
            "line 10: 'delay-message' wants more to be said; add by = \"5 ms\"",
        ),
        (
            "device = \"a:en5\"\nkind = \"delay-message\"\nqueue_pair = 0\nmessage = 1\nby = \"0 s\"\n".to_owned(),
            "line 13: a message is delayed by no time; write one such as by = \"5 ms\"",
        ),
        (
            format!("{cut}until = \"2 s\"\n[[fault]]\n{cut}at = \"1 s\"\n"),
            "line 13: the fault that cable 'x' is cut is stated twice for the same time; remove one of the two",
        ),
    ];
    for (fault, message) in cases {
        assert_eq!(fault_refusal(&fault), message);
    }
}

#[test]
fn a_fault_may_come_again_when_it_is_over() {
    let end = End {
        node: "a".to_owned(),
        device: "rdma_en5".to_owned(),
    };
    let down = |at, until| Fault {
        defect: Defect::Device {
            device: end.clone(),
            kind: DeviceFault::PortDown,
        },
        span: Span {
            at: Duration::from_secs(at),
            until: Some(Duration::from_secs(until)),
        },
    };
    let with = |faults: &[Fault]| Rig::embedded().with_faults(faults.to_vec());
    with(&[down(3, 4), down(0, 1), down(1, 3)]).check().unwrap();
    let overlapping = with(&[down(3, 5), down(0, 1), down(2, 4)]);
    assert!(overlapping.check().is_err());
}

#[test]
fn a_rig_made_by_hand_is_checked_like_a_file() {
    let mut rig = Rig::embedded();
    rig.cables[1].ends[0].node = "z".to_owned();
    let error = rig.check().unwrap_err();
    assert_eq!(error.line, None);
    assert!(error.to_string().contains("'z'"));
}

const MACHINES: &str = r#"
[[node]]
name = "studio"
ssh = "studio.local"
address = "192.168.1.10"
stage = "stage"
[[node]]
name = "mini"
ssh = "me@mini"
address = "fd00::11"
models = "/models"
[[cable]]
name = "x"
ends = ["studio:rdma_en2", "mini:rdma_en3"]
"#;

#[test]
fn a_rig_with_other_machines_has_real_cables_unless_it_says_otherwise() {
    let real = Rig::parse(MACHINES).unwrap();
    assert_eq!(
        (real.kind, real.cables[0].link),
        (Cables::Real, Link::THUNDERBOLT)
    );
    assert_eq!(real.nodes[1].ssh.as_deref(), Some("me@mini"));
    assert_eq!(real.nodes[1].address.unwrap().to_string(), "fd00::11");
    let emulated = Rig::parse(&format!("cables = \"emulated\"\n{MACHINES}")).unwrap();
    assert_eq!(
        (emulated.kind, emulated.cables[0].link),
        (Cables::Emulated, Link::default())
    );
    for rig in [real, emulated] {
        assert!(rig.needs_hosts() && rig.is_remote());
        assert_eq!(Rig::parse(&rig.to_toml()), Ok(rig.clone()));
        assert_eq!(rig.with_cables(1), Ok(rig));
    }
    assert!(!Rig::embedded().needs_hosts());
}

#[test]
fn machines_that_cannot_meet_are_refused_by_line() {
    let cases = [
        (
            ("me@mini", "studio.local"),
            "line 7: nodes 'studio' and 'mini' are one machine (ssh = \"studio.local\"); a cable \
             joins two, so correct one of them",
        ),
        (
            ("ssh = \"me@mini\"", "ssh = \"-v\""),
            "line 7: node 'mini' has ssh = \"-v\"; write what `ssh` calls the machine",
        ),
        (
            ("fd00::11", "192.168.1.10"),
            "line 7: nodes 'studio' and 'mini' have the address 192.168.1.10; correct one of them",
        ),
        (
            ("fd00::11", "127.0.0.1"),
            "line 7: node 'mini' has the address 127.0.0.1, which is its own alone; write the one \
             at which the other nodes reach it, such as address = \"192.168.1.10\"",
        ),
        (
            ("address = \"fd00::11\"", ""),
            "line 7: node 'mini' has no address; write the one at which the other nodes reach it, \
             such as address = \"192.168.1.10\"",
        ),
        (
            (
                "[[cable]]",
                "[[fault]]\ncable = \"x\"\nkind = \"cut\"\n[[cable]]",
            ),
            "line 13: a real cable has no [[fault]]; remove it, or write cables = \"emulated\" at \
             the top",
        ),
    ];
    for ((from, to), message) in cases {
        let error = Rig::parse(&MACHINES.replace(from, to)).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}
