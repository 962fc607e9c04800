//! The findings about rigs, with a prober that simulates them, and their reports.

use rail_matrix::{Devices, Given, Options, RankOrder};
use rig::{CableFault, DeviceFault, End, Rig};

use super::*;

/// Simulates a rig: devices at the two ends of a cable receive each other's messages.
struct Played {
    rig: Rig,
    /// The rates of the cables that do not reach the stated rate, by name. A rate that
    /// changes between measurements stands for a machine under load.
    rates: Vec<(&'static str, Vec<f64>)>,
    groups: usize,
    /// The number of groups until the caller asks to stop.
    patience: usize,
}

/// The caller asked to stop.
#[derive(Debug)]
struct Stopped;

impl Played {
    fn new(rig: &Rig) -> Self {
        Self {
            rig: rig.clone(),
            rates: vec![],
            groups: 0,
            patience: usize::MAX,
        }
    }

    fn rate(&mut self, cable: &str, stated: f64) -> f64 {
        let planned = self.rates.iter_mut().find(|(name, _)| *name == cable);
        match planned {
            Some((_, rates)) if rates.len() > 1 => rates.remove(0),
            Some((_, rates)) => rates[0],
            None => stated,
        }
    }
}

impl Prober for Played {
    type Error = Stopped;

    fn probe(&mut self, ends: [&End; 2], load: Option<Load>) -> Result<Outcome, Stopped> {
        if self.groups == self.patience {
            return Err(Stopped);
        }
        self.groups += 1;
        let broken = |end: &End, kind| self.rig.device_faults(end).any(|fault| fault == kind);
        if let Some(end) = ends.iter().find(|end| broken(end, DeviceFault::NoGid)) {
            return Ok(Outcome::Failed(format!(
                "{}'s {}: no GID",
                end.node, end.device
            )));
        }
        let joining = |cable: &&rig::Cable| ends.iter().all(|end| cable.ends.contains(end));
        let Some(cable) = self.rig.cables.iter().find(joining).cloned() else {
            return Ok(Outcome::Silent([false; 2]));
        };
        if self
            .rig
            .cable_faults(&cable.name)
            .any(|fault| fault == CableFault::Cut)
        {
            return Ok(Outcome::Silent([false; 2]));
        }
        let heard = [1, 0].map(|other| !broken(ends[other], DeviceFault::Failing));
        if heard != [true, true] {
            return Ok(Outcome::Silent(heard));
        }
        let stated = cable.link.bytes_per_second as f64;
        let rates = load.map(|_| Rates([stated, self.rate(&cable.name, stated)]));
        Ok(Outcome::Carries(rates))
    }
}

/// The embedded rig with additions.
fn rig(more: &str) -> Rig {
    Rig::parse(&format!("{}{more}", Rig::embedded().to_toml())).expect("a rig")
}

/// A matrix of two ranks, from the numbers of the devices.
fn matrix(a: &[u8], b: &[u8]) -> Devices {
    let names = |numbers: &[u8]| numbers.iter().map(|n| format!("rdma_en{n}")).collect();
    vec![vec![vec![], names(a)], vec![names(b), vec![]]]
}

fn straight() -> Devices {
    matrix(&[5, 6, 7], &[5, 6, 7])
}

fn checked(prober: &mut Played, matrix: &Devices) -> Report {
    let json = serde_json::to_vec(matrix).expect("JSON");
    let given = Given::over(&json, &prober.rig).expect("a matrix of the rig");
    checked_as(prober, Plan::of_given(prober.rig.clone(), &given))
}

fn checked_as(prober: &mut Played, plan: Plan) -> Report {
    let checked = check(&plan, prober, |_| {});
    let report = Report::new("0.31.2", "patched", plan, checked.rails);
    match checked.stopped {
        None => report,
        Some(Stopped) => report.interrupted(),
    }
}

fn verdicts(report: &Report) -> Vec<Verdict> {
    report.rails.iter().map(|rail| rail.verdict).collect()
}

const WRONG: [Verdict; 3] = [Verdict::Dead, Verdict::Crossed, Verdict::Slow];
use Verdict::{Crossed, Dead, Ok as Well, Slow};

#[test]
fn a_healthy_rig_costs_a_group_a_rail() {
    let mut played = Played::new(&rig(""));
    let report = checked(&mut played, &straight());
    assert!(report.all_ok());
    assert_eq!(played.groups, 3);
    assert_eq!(report.rails[1].mb_per_s, Some([50.0, 50.0]));
    assert_eq!(report.rails[1].cable.as_deref(), Some("cable-2"));
    assert!(report.findings(&WRONG).is_empty());
}

#[test]
fn two_swapped_rails_are_one_finding_that_names_both_cables() {
    let mut played = Played::new(&rig(""));
    let report = checked(&mut played, &matrix(&[5, 6, 7], &[5, 7, 6]));
    assert_eq!(verdicts(&report), [Well, Crossed, Crossed]);
    assert_eq!(
        report.findings(&WRONG),
        [
            "rails 1 and 2 between a and b are swapped: a's rdma_en6 is cabled to b's rdma_en6 \
             (cable-2) and a's rdma_en7 is cabled to b's rdma_en7 (cable-3); exchange the two plugs \
             at one node, or the two devices in one node's row of the matrix"
        ]
    );
    assert_eq!(report.rails[1].cable, None);
    assert_eq!(
        played.groups, 5,
        "each of the two finds its mate at the first try"
    );
}

#[test]
fn what_does_not_carry_is_not_fit_and_what_is_slow_is() {
    let crossed = checked(&mut Played::new(&rig("")), &matrix(&[5, 6], &[6, 5]));
    let unfit = crossed.fit().expect_err("crossed").to_string();
    assert!(unfit.contains("rails 0 and 1 between a and b"), "{unfit}");
    let mut slow = Played::new(&rig(""));
    slow.rates = vec![("cable-2", vec![1e6])];
    let slow = checked(&mut slow, &straight());
    assert_eq!((slow.all_ok(), slow.fit()), (false, Ok(())));
}

#[test]
fn rails_that_are_turned_around_are_told_one_by_one() {
    let mut played = Played::new(&rig(""));
    let report = checked(&mut played, &matrix(&[5, 6, 7], &[6, 7, 5]));
    assert_eq!(verdicts(&report), [Crossed; 3]);
    assert_eq!(
        report.findings(&WRONG)[0],
        "rail 0 between a and b is no cable: a's rdma_en5 is cabled to b's rdma_en5 (cable-1), b's \
         rdma_en6 is cabled to a's rdma_en6 (cable-2); plug them as the matrix says, or correct the \
         matrix"
    );
}

/// One cable of `a` goes to `c`, which is not in the matrix.
#[test]
fn a_device_that_is_cabled_to_another_node_is_found_there() {
    let rig = Rig::parse(
        r#"
        node = [{ name = "a" }, { name = "b" }, { name = "c" }]
        cable = [
            { name = "ab", ends = ["a:en1", "b:en1"] },
            { name = "bc", ends = ["b:en3", "c:en3"] },
            { name = "astray", ends = ["a:en2", "c:en2"] },
            { name = "loose", ends = ["b:en2", "c:en4"] },
        ]
        "#,
    )
    .expect("a rig");
    let matrix =
        br#"[[null, ["en1", "en2"], null], [["en1", "en2"], null, "en3"], [null, "en3", null]]"#;
    let given = Given::over(matrix, &rig).expect("a matrix of the rig");
    let plan = Plan::of_given(rig.clone(), &given);
    let report = checked_as(&mut Played::new(&rig), plan);
    assert_eq!(verdicts(&report), [Well, Crossed, Well]);
    assert_eq!(
        report.findings(&WRONG),
        [
            "rail 1 between a and b is no cable: a's en2 is cabled to c's en2 (astray), b's en2 is \
             cabled to c's en4 (loose); plug them as the matrix says, or correct the matrix"
        ]
    );
}

/// The form of a matrix made from edges of which one is out of date.
#[test]
fn a_device_that_another_rail_has_too_is_crossed() {
    let report = checked(&mut Played::new(&rig("")), &matrix(&[5, 5], &[5, 6]));
    assert_eq!(verdicts(&report), [Well, Crossed]);
    let found = &report.findings(&WRONG)[0];
    assert!(
        found.contains("a's rdma_en5 is cabled to b's rdma_en5 (cable-1)"),
        "{found}"
    );
}

#[test]
fn a_cut_cable_is_dead_and_not_crossed() {
    let mut played = Played::new(&rig("[[fault]]\ncable = \"cable-2\"\nkind = \"cut\"\n"));
    let report = checked(&mut played, &straight());
    assert_eq!(verdicts(&report), [Well, Dead, Well]);
    assert_eq!(
        report.findings(&WRONG),
        [
            "rail 1 between a and b is dead: nothing arrives between a's rdma_en6 and b's rdma_en6 \
             either way; look at cable-2 and its plugs"
        ]
    );
    assert_eq!(report.rails[1].mb_per_s, None);
    assert_eq!(
        played.groups, 3,
        "there is nobody else it could be plugged to"
    );
}

#[test]
fn a_device_that_only_hears_is_told_from_one_that_only_speaks() {
    let faults = "[[fault]]\ndevice = \"b:rdma_en6\"\nkind = \"failing\"\n";
    let report = checked(&mut Played::new(&rig(faults)), &straight());
    assert_eq!(verdicts(&report), [Well, Dead, Well]);
    let found = &report.findings(&WRONG)[0];
    assert!(
        found.contains("what b's rdma_en6 sends does not reach a's rdma_en6, and back it does"),
        "{found}"
    );
}

#[test]
fn a_refusal_is_told_in_its_own_words_and_nothing_else_is_tried() {
    let mut played = Played::new(&rig(
        "[[fault]]\ndevice = \"a:rdma_en7\"\nkind = \"no-gid\"\n",
    ));
    let report = checked(&mut played, &straight());
    assert_eq!(
        report.findings(&WRONG),
        ["rail 2 between a and b is dead: a's rdma_en7: no GID"]
    );
    assert_eq!(played.groups, 3);
}

#[test]
fn a_rail_far_behind_the_fastest_of_its_pair_is_slow_though_it_is_what_the_rig_states() {
    let text = Rig::embedded().to_toml();
    let (first, last) = text.rsplit_once("50 MB/s").expect("three cables");
    let rig = Rig::parse(&format!("{first}20 MB/s{last}")).expect("a rig");
    let mut played = Played::new(&rig);
    let report = checked(&mut played, &straight());
    assert_eq!(verdicts(&report), [Well, Well, Slow]);
    assert_eq!(
        report.findings(&WRONG),
        [
            "rail 2 between a and b is slow: a to b carries 20.0 MB/s, and rail 1 50.0; jaccl gives \
             every rail of a pair the same share, so all go at the pace of this one: leave it out, \
             or replace its cable"
        ]
    );
    assert_eq!(played.groups, 3 + SECOND_LOOKS);
}

#[test]
fn a_rail_below_what_the_rig_states_is_slow_unless_a_second_look_finds_it_well() {
    let mut played = Played::new(&rig(""));
    played.rates = vec![("cable-1", vec![20e6, 39e6, 41e6]), ("cable-3", vec![39e6])];
    let report = checked(&mut played, &straight());
    assert_eq!(verdicts(&report), [Well, Well, Slow]);
    assert_eq!(report.rails[0].mb_per_s, Some([50.0, 41.0]));
    assert_eq!(
        report.findings(&WRONG),
        [
            "rail 2 between a and b is slow: b to a carries 39.0 MB/s of the 50 MB/s that the rig \
             states for cable-3"
        ]
    );
}

#[test]
fn what_was_found_before_the_caller_asked_to_stop_is_reported() {
    let mut played = Played::new(&rig(""));
    played.patience = 2;
    let report = checked(&mut played, &straight());
    assert_eq!(verdicts(&report), [Well, Well]);
    assert!(!report.all_ok(), "the third was not tried");
    let text = report.markdown();
    assert!(
        text.contains("Interrupted: 2 of 3 rails were tried"),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!(
        (&json["interrupted"], &json["planned"]),
        (&true.into(), &3.into())
    );

    // Every rail was tried, and one of two swapped rails has found its mate.
    let mut played = Played::new(&rig(""));
    played.patience = 4;
    let report = checked(&mut played, &matrix(&[5, 6, 7], &[5, 7, 6]));
    assert_eq!(verdicts(&report), [Well, Crossed, Crossed]);
    assert!(report.interrupted);
}

/// Four nodes whose cables close a ring in the order a, c, b, d, and a spare one.
fn ring_of_four() -> Rig {
    Rig::parse(
        r#"
        node = [{ name = "a" }, { name = "b" }, { name = "c" }, { name = "d" }]
        cable = [
            { name = "ac", ends = ["a:en1", "c:en1"] },
            { name = "ac-2", ends = ["a:en3", "c:en3"] },
            { name = "cb", ends = ["c:en2", "b:en1"] },
            { name = "bd", ends = ["b:en2", "d:en1"] },
            { name = "da", ends = ["d:en2", "a:en2"] },
        ]
        "#,
    )
    .expect("a rig")
}

#[test]
fn the_rails_are_those_of_the_planner_in_its_order_and_notes_name_the_rest() {
    let rig = ring_of_four();
    let plan = Plan::of_rig(rig.clone(), &Options::default()).expect("a ring");
    assert_eq!(plan.unused.len(), 1);
    assert!(plan.unused[0].contains("ac-2"), "{:?}", plan.unused);
    let mut played = Played::new(&rig);
    let report = checked_as(&mut played, plan);
    assert!(report.all_ok(), "{:#?}", report.rails);
    let rails: Vec<_> = report
        .rails
        .iter()
        .map(|rail| (rail.pair.join(" "), rail.cable.as_deref().expect("a cable")))
        .collect();
    let expected = [("a c", "ac"), ("a d", "da"), ("c b", "cb"), ("b d", "bd")];
    assert_eq!(
        rails,
        expected.map(|(pair, cable)| (pair.to_owned(), cable))
    );
    let pinned = Options::default().order(RankOrder::Pinned);
    let error = Plan::of_rig(rig, &pinned).expect_err("no ring in this order");
    assert!(error.to_string().contains("'a' and 'b'"), "{error}");
}

#[test]
fn a_rail_of_several_matrices_is_checked_once_under_its_name_in_the_first() {
    let nodes = ["a", "b"].map(str::to_owned);
    let [wide, narrow] = [straight(), matrix(&[6], &[6])];
    let plan = Plan::of_matrices(rig(""), [(&nodes[..], &wide), (&nodes[..], &narrow)]);
    let names: Vec<_> = plan.rails.iter().map(|rail| rail.index).collect();
    assert_eq!(names, [0, 1, 2]);
}

#[test]
fn the_json_keeps_the_contract() {
    let mut played = Played::new(&rig("[[fault]]\ncable = \"cable-1\"\nkind = \"cut\"\n"));
    let report = checked(&mut played, &matrix(&[5, 6], &[5, 6]));
    let json: serde_json::Value = serde_json::from_str(&report.json()).expect("JSON");
    assert_eq!(json["schema"], "mlx-rails/preflight/1");
    assert_eq!(json["interrupted"], false);
    assert_eq!(json["rig"]["node"][1]["name"], "b");
    assert_eq!(
        json["rails"],
        serde_json::json!([
            {
                "pair": ["a", "b"], "rail": 0, "cable": "cable-1",
                "devices": ["rdma_en5", "rdma_en5"], "verdict": "dead", "mb_per_s": null,
                "detail": report.rails[0].detail,
            },
            {
                "pair": ["a", "b"], "rail": 1, "cable": "cable-2",
                "devices": ["rdma_en6", "rdma_en6"], "verdict": "ok", "mb_per_s": [50.0, 50.0],
                "detail": null,
            },
        ])
    );
}

#[test]
fn people_get_a_table_and_what_to_do() {
    let mut played = Played::new(&rig(""));
    let report = checked(&mut played, &matrix(&[5, 6, 7], &[5, 7, 6]));
    insta::assert_snapshot!(report.markdown());
}
