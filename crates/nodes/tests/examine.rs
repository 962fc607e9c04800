//! What is read of the nodes' answers, and what is found wrong.

mod support;

use nodes::{Answer, Examination, Scope, Severity, Unreachable, after, examine};
use proptest::prelude::*;
use rig::Rig;
use support::{Texts, linux, mac};

const REAL: Scope = Scope {
    rig: None,
    real: true,
    model: false,
};

fn macs() -> [Texts; 2] {
    [mac("studio", 1), mac("mini", 2)]
}

fn of(scope: Scope, nodes: &[Texts]) -> Examination {
    let answers: Vec<_> = nodes.iter().map(Texts::answer).collect();
    examine(scope, &answers)
}

/// The findings as `severity kind node,node`.
fn found(examination: &Examination) -> Vec<String> {
    let findings = examination.findings.iter();
    findings
        .map(|it| format!("{} {} {}", it.severity, it.kind, it.nodes.join(",")))
        .collect()
}

fn rig(cables: &[(&str, &str)]) -> Rig {
    let mut text = "[[node]]\nname = \"studio\"\n[[node]]\nname = \"mini\"\n".to_owned();
    for (k, (a, b)) in cables.iter().enumerate() {
        text += &format!("[[cable]]\nname = \"cable-{k}\"\nends = [\"{a}\", \"{b}\"]\n");
    }
    Rig::parse(&text).unwrap()
}

#[test]
fn two_macs_with_nothing_wrong() {
    let examination = of(REAL, &macs());
    insta::assert_snapshot!(examination.markdown());
    assert!(examination.is_well());
}

#[test]
fn the_json_has_every_fact_and_why_others_are_missing() {
    let studio = mac("studio", 1)
        .without("heat", "sh: pmset: command not found")
        .edit(
            "battery",
            "'AC Power'",
            "'Battery Power'\n -InternalBattery-0 (id=1)\t80%; discharging;",
        )
        .with("jobs", "512 ada - exo");
    insta::assert_snapshot!(of(REAL, &[studio]).json());
}

#[test]
fn two_linux_hosts() {
    insta::assert_snapshot!(of(REAL, &[linux("one", 1), linux("two", 2)]).markdown());
}

/// One change of one node, and the findings that it must give.
#[test]
fn each_defect_is_found_with_a_remedy() {
    type Change = fn(Texts) -> Texts;
    let cases: &[(Change, &[&str])] = &[
        (|it| it, &[]),
        (
            |it| it.with("rdma_ctl.txt", "disabled"),
            &["failure rdma-disabled mini"],
        ),
        (
            |it| it.with("uname", "Darwin x86_64"),
            &["failure different-platforms studio,mini"],
        ),
        (
            |it| it.edit("sw_vers", "26.2", "26.3"),
            &["warning different-releases studio,mini"],
        ),
        (
            |it| it.edit("sw_vers", "26.2", "26.1"),
            &[
                "failure old-system mini",
                "warning different-releases studio,mini",
            ],
        ),
        (
            |it| it.edit("sysctl", "M4 Pro", "M3 Ultra"),
            &["warning different-chips studio,mini"],
        ),
        (
            |it| {
                it.edit(
                    "ports",
                    "state:\t\t\tPORT_ACTIVE (4)",
                    "state:\t\t\tPORT_DOWN (1)",
                )
            },
            &[
                "failure port-down mini",
                "failure port-down mini",
                "failure port-down mini",
            ],
        ),
        (
            |it| it.edit("ports", "::ffff:10.0.2.2", "fe80::2"),
            &["failure no-ipv4-gid mini"],
        ),
        (
            |it| it.edit("ifconfig.txt", "10.0.3.2 ", "10.0.9.2 "),
            &["failure different-subnets mini,studio"],
        ),
        (
            |it| it.edit("ifconfig.txt", "10.0.3.2 ", "10.0.3.1 "),
            &["failure equal-addresses mini,studio"],
        ),
        (
            |it| it.edit("disk", "571350180", "1000000"),
            &["warning low-disk mini"],
        ),
        (
            |it| it.edit("disk", "571350180", "100000"),
            &["failure low-disk mini"],
        ),
        (
            |it| it.edit("disk", "writable", "read-only"),
            &["failure stage-not-writable mini"],
        ),
        (
            |it| {
                it.edit(
                    "settings",
                    "lowpowermode         0",
                    "lowpowermode         1",
                )
            },
            &["warning low-power-mode mini"],
        ),
        (
            |it| it.with("settings", "Currently in use:\n powermode 1"),
            &["warning low-power-mode mini"],
        ),
        (
            |it| {
                it.with(
                    "heat",
                    "CPU_Scheduler_Limit \t= 100\n CPU_Speed_Limit \t= 60",
                )
            },
            &["warning hot mini"],
        ),
        (
            |it| it.with("heat", "Thermal Warning Level = 1"),
            &["warning hot mini"],
        ),
        (
            |it| it.with("jobs", "77 ada - mlx.launch"),
            &["warning device-in-use mini"],
        ),
        (
            |it| it.without("networksetup.txt", "killed"),
            &["failure devices-unknown mini"],
        ),
    ];
    for (change, expected) in cases {
        let [studio, mini] = macs();
        let examination = of(REAL, &[studio, change(mini)]);
        let mut found = found(&examination);
        // Then the ends at the other node have no other end.
        found.retain(|it| !it.ends_with("unknown-peer studio"));
        assert_eq!(&found, expected);
        for finding in &examination.findings {
            assert!(!finding.remedy.is_empty(), "{finding:?}");
        }
    }
}

#[test]
fn a_bridge_beside_addresses_is_a_warning() {
    let bridge = "\nbridge0: flags=8863<UP,RUNNING> mtu 1500\n\tmember: en2 flags=3<LEARNING>\n";
    let [studio, mini] = macs();
    let mini = mini.edit(
        "ifconfig.txt",
        "en2: flags",
        &format!("{}en2: flags", &bridge[1..]),
    );
    assert_eq!(
        found(&of(REAL, &[studio, mini])),
        ["warning bridged-beside mini"]
    );
}

#[test]
fn the_cables_of_a_rig_are_compared_with_those_that_are_there() {
    let scope = |rig| Scope {
        rig: Some(rig),
        real: true,
        model: false,
    };
    let right = rig(&[
        ("studio:rdma_en2", "mini:rdma_en2"),
        ("studio:rdma_en3", "mini:rdma_en3"),
    ]);
    assert_eq!(found(&of(scope(&right), &macs())), [""; 0]);

    let crossed = rig(&[
        ("studio:rdma_en2", "mini:rdma_en3"),
        ("studio:rdma_en3", "mini:rdma_en2"),
    ]);
    let both = ["failure other-cable studio,mini"; 2];
    assert_eq!(found(&of(scope(&crossed), &macs())), both);

    let absent = rig(&[("studio:rdma_en2", "mini:rdma_en9")]);
    assert_eq!(
        found(&of(scope(&absent), &macs())),
        ["failure no-such-device mini"]
    );

    // A defect of a cable that the rig leaves out.
    let [studio, mini] = macs();
    let mini = mini.edit("ifconfig.txt", "10.0.3.2 ", "10.0.9.2 ");
    let one = rig(&[("studio:rdma_en2", "mini:rdma_en2")]);
    assert_eq!(
        found(&of(scope(&one), &[studio, mini])),
        ["warning different-subnets mini,studio"]
    );
}

#[test]
fn a_process_that_holds_a_device_of_the_rig_is_a_failure() {
    let held = |device: &str| {
        let two = linux("mini", 2).with("holders", &format!("31 root {device} python3"));
        let rig = rig(&[("studio:mlx5_0", "mini:mlx5_0")]);
        let scope = Scope {
            rig: Some(&rig),
            real: true,
            model: false,
        };
        found(&of(scope, &[linux("studio", 1), two]))
    };
    assert_eq!(held("mlx5_0"), ["failure device-in-use mini"]);
    assert_eq!(held("mlx5_7"), ["warning device-in-use mini"]);
}

/// The script took three seconds, the connection half a second.
#[test]
fn clocks_are_apart_only_if_the_round_trip_cannot_be_why() {
    let apart = |seconds: f64| {
        let [studio, mini] = macs();
        let clock = |at: f64| format!("{:.3}", at + seconds);
        let mini = mini
            .with("clock", &clock(1000.25))
            .with("clock-after", &clock(1003.25));
        found(&of(REAL, &[studio, mini]))
    };
    assert_eq!(apart(0.0), [""; 0]);
    assert_eq!(apart(1.4), [""; 0]);
    assert_eq!(apart(1.6), ["warning clocks-apart mini,studio"]);
    assert_eq!(apart(-1.6), ["warning clocks-apart studio,mini"]);
    assert_eq!(apart(11.0), ["failure clocks-apart mini,studio"]);
}

#[test]
fn a_model_is_missing_or_differs_by_file() {
    let scope = Scope {
        model: true,
        ..REAL
    };
    let files = "12 aa config.json\n4000 bb model.safetensors";
    let with = |text: &str| {
        let [studio, mini] = macs();
        let nodes = [studio.with("files", files), mini.with("files", text)];
        of(scope, &nodes)
    };
    assert_eq!(found(&with(files)), [""; 0]);
    assert_eq!(found(&with("")), ["failure model-missing mini"]);
    let differs = with("12 aa config.json\n4000 cc model.safetensors");
    assert_eq!(found(&differs), ["failure model-differs studio,mini"]);
    assert!(differs.findings[0].what.ends_with(": model.safetensors"));

    let [studio, mini] = macs();
    let why = "sh: cd: /models/x: No such file or directory";
    let missing = of(
        scope,
        &[studio.with("files", files), mini.without("files", why)],
    );
    assert_eq!(found(&missing), ["failure model-missing mini"]);
    assert!(missing.findings[0].what.contains(why));
}

#[test]
fn a_node_that_does_not_answer_is_a_failure_and_the_others_are_examined() {
    let answers = [
        mac("studio", 1).answer(),
        Answer {
            host: "mini.local".to_owned(),
            nodes: vec!["mini".to_owned()],
            said: Err(Unreachable {
                why: "cannot reach 'mini.local': Permission denied (publickey).".to_owned(),
                remedy: "let it log in with a key".to_owned(),
            }),
        },
    ];
    let examination = examine(REAL, &answers);
    assert_eq!(examination.nodes.len(), 1);
    let unreachable = &examination.findings[0];
    assert_eq!(unreachable.kind, "unreachable");
    assert_eq!(unreachable.nodes, ["mini"]);
    // That its cables lead to unknown ends is no wrong of the other node.
    assert_eq!(examination.failures().count(), 1);
}

#[test]
fn hosts_without_devices_or_cables_are_not_well() {
    let bare = |host, side| linux(host, side).with("rdma_link.json", "[]");
    let none = of(REAL, &[linux("one", 1), bare("two", 2)]);
    let [no_devices, no_peer] = ["failure no-devices two", "failure unknown-peer one"];
    assert_eq!(found(&none), [no_devices, no_peer]);
    // Nothing is plugged in.
    let macs = macs().map(|mac| mac.edit("system_profiler.json", "_items", "_none"));
    let apart = of(REAL, &macs);
    assert_eq!(found(&apart), ["failure no-cable studio,mini"]);
}

#[test]
fn one_mac_under_two_names_is_found() {
    let mut again = mac("studio", 1);
    again.host = "studio.local";
    let examination = of(REAL, &[mac("studio", 1), again]);
    let found = found(&examination);
    assert_eq!(found[0], "failure contradiction studio,studio.local");
    assert!(examination.nodes[0].missing.contains_key("devices"));
}

#[test]
fn a_rig_of_emulated_cables_needs_no_rdma() {
    let rig = Rig::embedded();
    let scope = Scope {
        rig: Some(&rig),
        ..Scope::default()
    };
    let here = linux("localhost", 1)
        .without("rdma_link.json", "rdma: not found")
        .without("ports", "no such file");
    let mut answer = here.answer();
    answer.nodes = vec!["a".to_owned(), "b".to_owned()];
    let examination = examine(scope, &[answer]);
    assert_eq!(found(&examination), [""; 0]);
    insta::assert_snapshot!(examination.markdown());
}

#[test]
fn this_machine_alone_may_be_without_rdma() {
    let here = linux("localhost", 1).without("rdma_link.json", "sh: rdma: not found");
    let examination = of(Scope::default(), std::slice::from_ref(&here));
    assert_eq!(found(&examination), ["warning devices-unknown localhost"]);
    assert!(examination.findings[0].what.contains("rdma: not found"));
    let named = of(REAL, &[here]);
    assert_eq!(named.findings[0].severity, Severity::Failure);
}

#[test]
fn what_a_run_has_changed_is_kept_and_said_once() {
    let before = mac("studio", 1).with("settings", "lowpowermode 1");
    let mut nodes = of(REAL, &[before.clone(), mac("mini", 2)]).nodes;
    let hot = before.with("heat", "CPU_Speed_Limit = 62");
    let findings = after(&mut nodes, &[hot.answer(), mac("mini", 2).answer()]);
    let said: Vec<_> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "node 'studio' is held to 62 % of its speed by its heat; let it cool down, and measure again"
        ]
    );
    let limit = |node: &nodes::NodeFacts| node.after.unwrap().heat.unwrap().speed_limit_percent;
    assert_eq!(
        nodes.iter().map(limit).collect::<Vec<_>>(),
        [Some(62), None]
    );
    assert_eq!(nodes[0].heat.unwrap().speed_limit_percent, None);
}

#[test]
fn a_tool_that_hangs_is_named_and_so_is_an_answer_that_was_cut_off() {
    let hangs = mac("mini", 2).without("ports", "it did not end within 15 s");
    let mut answer = hangs.answer();
    let said = answer.said.as_mut().unwrap();
    said.text = said.text.replace(">ports\n<127", ">ports\n<124");
    let remedy = "run the tool there in a terminal; a driver that does not answer may need its \
                  cables pulled and plugged in again, or a restart of the node";
    let examination = examine(REAL, &[mac("studio", 1).answer(), answer.clone()]);
    assert_eq!(found(&examination), ["warning tool-hangs mini"]);
    assert_eq!(
        examination.findings[0].to_string(),
        format!("what node 'mini' was asked for as 'ports' did not end, and was ended; {remedy}")
    );
    let why = &examination.nodes[1].missing["gids"];
    assert_eq!(why, "it did not end within 15 s");

    let said = answer.said.as_mut().unwrap();
    said.late = true;
    said.answered = said.asked + 60.2;
    let heard = said.text.find("|machdep").unwrap();
    said.text.truncate(heard);
    let examination = examine(REAL, &[mac("studio", 1).answer(), answer]);
    assert_eq!(
        examination.findings[0].to_string(),
        format!(
            "node 'mini' had not said everything after 60 s; it was asked for 'sysctl' then; {remedy}"
        )
    );
    let mini = &examination.nodes[1];
    assert_eq!(mini.software.as_ref().unwrap().version, "26.2");
    assert_eq!(mini.missing["power"], "the node was not asked for it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_text_of_a_tool_breaks_the_examination(
        name in prop::sample::select(vec![
            "uname", "clock", "disk", "jobs", "files", "sw_vers", "sysctl", "ports", "battery",
            "settings", "heat", "rdma_ctl.txt", "system_profiler.json", "os", "chip", "memory",
            "holders", "rdma_link.json",
        ]),
        text in "(?s)([a-zA-Z0-9:=%'/ |<>.\\-]|\n|\u{e9}){0,80}",
        on_linux: bool,
    ) {
        let node = if on_linux { linux("one", 1) } else { mac("studio", 1) };
        let examination = of(REAL, &[node.with(name, &text)]);
        prop_assert!(examination.json().ends_with('\n'));
        prop_assert!(examination.markdown().lines().count() > 5);
    }
}
