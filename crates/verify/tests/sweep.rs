//! The cases of a sweep, as a caller sees them.

use jaccl::{Dtype, Features};
use pins::{Pin, Series};
use rail_verify::{
    case::{Backend, Case, Direction, Frames, Op, Setting},
    selection::{Level, Selection, SelectionError},
    sweep::cases,
};
use toolchain::Toolchain;

const EVERYTHING: Features = Features {
    barrier: true,
    sum_scatter: true,
};

fn select(flags: &str) -> Selection {
    let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
    Selection::parse(&flags).expect("a selection")
}

fn of(level: Level, flags: &str) -> Vec<Case> {
    cases(level, &select(flags), EVERYTHING)
}

#[test]
fn a_level_has_every_op_in_every_setting() {
    for level in [Level::Quick, Level::Full] {
        let cases = of(level, "");
        for op in Op::ALL {
            assert!(cases.iter().any(|case| case.op == op), "{op} at {level:?}");
        }
        for backend in Backend::ALL {
            for frames in Frames::ALL {
                for ranks in 2..=4 {
                    for wires in 1..=4 {
                        let setting = Setting {
                            backend,
                            ranks,
                            wires,
                            frames,
                        };
                        let of_setting = cases.iter().filter(|case| case.setting == setting);
                        let mut ops: Vec<Op> = of_setting.map(|case| case.op).collect();
                        ops.dedup();
                        for op in &Op::ALL[..9] {
                            assert!(ops.contains(op), "{op} in {setting:?}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn the_full_level_reduces_every_dtype_and_has_the_quick_one_within() {
    let full = of(Level::Full, "");
    for dtype in Dtype::ALL {
        for op in [Op::AllSum, Op::AllMax, Op::AllMin, Op::SumScatter] {
            let found = full.iter().any(|case| case.op == op && case.dtype == dtype);
            assert!(found, "{op} of {dtype}");
        }
    }
    for case in of(
        Level::Quick,
        "--op send,recv,all_sum,all_gather,sum_scatter",
    ) {
        assert!(full.contains(&case), "{case}");
    }
}

#[test]
fn a_selection_of_one_case_is_one_case() {
    let flags = "--op recv --backend ring --ranks 2 --wires 3 --bytes 12288 --dtype u8 \
                 --frames small --direction 0->1 --in-place false";
    let cases = of(Level::Quick, flags);
    assert_eq!(cases.len(), 1, "{cases:?}");
    assert_eq!(cases[0].direction, Direction::Pair { from: 0, to: 1 });
    assert_eq!(cases[0].bytes, 12288);
}

#[test]
fn what_a_selection_leaves_out_takes_every_value_of_the_level() {
    let cases = of(Level::Quick, "--op all_gather --bytes 4096 --wires 2");
    assert!(
        cases
            .iter()
            .all(|case| case.bytes == 4096 && case.setting.wires == 2)
    );
    // Backends, ranks, frame modes, in place or not.
    assert_eq!(cases.len(), 2 * 3 * 2 * 2);
}

#[test]
fn lengths_that_are_no_whole_elements_are_left_out() {
    assert!(of(Level::Quick, "--op all_sum --dtype f32 --bytes 4097").is_empty());
    assert!(!of(Level::Quick, "--op all_sum --dtype u8 --bytes 4097").is_empty());
}

#[test]
fn words_filter_lines() {
    let flags = [
        "--filter".to_owned(),
        "all_sum ring wires=3 bf16".to_owned(),
    ];
    let selection = Selection::parse(&flags).expect("a selection");
    let cases = cases_with(&selection);
    assert!(!cases.is_empty());
    for case in cases {
        assert_eq!((case.op, case.dtype), (Op::AllSum, Dtype::BFloat16));
        assert_eq!(case.setting.wires, 3);
    }
}

/// A word that is a part of another one keeps nothing.
#[test]
fn words_of_a_filter_are_whole() {
    let filtered = |filter: &str| {
        let flags = ["--filter".to_owned(), filter.to_owned()];
        cases_with(&Selection::parse(&flags).expect("a selection"))
    };
    let halves = filtered("all_sum f16");
    assert!(!halves.is_empty());
    assert!(halves.iter().all(|case| case.dtype == Dtype::Float16));
    for (filter, bytes) in [("bytes=1", 1), ("recv bytes=4096", 4096)] {
        let cases = filtered(filter);
        assert!(!cases.is_empty());
        assert!(cases.iter().all(|case| case.bytes == bytes), "{filter}");
    }
    assert!(
        filtered("0->1")
            .iter()
            .all(|case| case.op.is_message() || case.op.is_condition())
    );
    assert!(
        filtered("all").is_empty(),
        "no field of a line is just that"
    );
}

#[test]
fn a_selection_is_read_with_lists_and_with_equals_signs() {
    let selection = select("--op recv,send --wires=3 --seed 7,8 --in-place true,false");
    assert_eq!(selection.op, [Op::Recv, Op::Send]);
    assert_eq!((selection.wires, selection.seed), (vec![3], vec![7, 8]));
    assert_eq!(selection.in_place, [true, false]);
}

#[test]
fn a_soak_refuses_what_it_cannot_obey_and_names_the_flag() {
    for flags in [
        "--op recv",
        "--op sequence,recv",
        "--dtype f32",
        "--direction 0->1",
        "--in-place true",
        "--wires 5",
        "--seed 1,2",
        "--filter ring",
    ] {
        let flag = flags.split(' ').next().expect("a flag");
        let error = select(flags).check_soak().expect_err(flags);
        assert!(matches!(error, SelectionError::Soak { .. }));
        assert!(error.to_string().contains(flag), "{error}");
    }
    let obeyed = "--op sequence --backend mesh,ring --ranks 2,3 --wires 1,4 --bytes 1,2 \
                  --frames big --seed 1";
    assert_eq!(select(obeyed).check_soak(), Ok(()));
}

/// The claims of the patches are tried with every value that they name.
#[test]
fn every_claim_of_a_patch_selects_cases() {
    let toolchain = Toolchain::open().expect("a checkout");
    let mut claims = 0;
    for version in Pin::versions(&toolchain.patches_folder()).expect("pins") {
        let pin = toolchain.pin(&version).expect("a pin");
        let patches = toolchain
            .series()
            .patches(&pin, Series::Patched)
            .expect("patches");
        for patch in patches {
            for proof in patch.proofs(&|_| Ok(())).expect("X-Verdicts") {
                claims += 1;
                let claim = format!("{} of {version}: {proof}", patch.name);
                let selection = Selection::parse(&proof.flags).expect(&claim);
                let cases = cases(Level::Quick, &selection, EVERYTHING);
                assert!(!cases.is_empty(), "{claim}");
                assert_eq!(selection.unused(&cases), None, "{claim}");
            }
        }
    }
    assert!(claims > 20, "{claims}");
}

fn cases_with(selection: &Selection) -> Vec<Case> {
    cases(Level::Full, selection, EVERYTHING)
}

#[test]
fn what_jaccl_has_not_is_not_asked_for() {
    let nothing_new = Features {
        barrier: false,
        sum_scatter: false,
    };
    let cases = cases(Level::Full, &Selection::default(), nothing_new);
    let new = |case: &&Case| matches!(case.op, Op::Barrier | Op::SumScatter);
    assert_eq!(cases.iter().find(new), None);
}

#[test]
fn no_case_is_there_twice_and_settings_are_together() {
    let cases = of(Level::Full, "");
    let mut seen = std::collections::HashSet::new();
    for case in &cases {
        assert!(seen.insert(*case), "{case} twice");
    }
    assert!(cases.is_sorted_by_key(|case| case.setting));
}

#[test]
fn mistakes_are_told_with_what_would_be_right() {
    for (flags, part) in [
        ("--op receive", "recv, all_sum"),
        ("--dtype float", "bf16"),
        ("--ranks 1", "--ranks: expected 2 to 8 ranks"),
        ("--wires 6", "--wires: expected 1 to 5 wires"),
        ("--bytes many", "\"many\" is not a number"),
        ("--in-place yes", "neither true nor false"),
        ("--level full", "--op, --backend"),
        ("--op", "a value must follow"),
        ("--direction 0-1", "0->1"),
        ("--backend torus", "mesh, ring"),
    ] {
        let flags: Vec<String> = flags.split_whitespace().map(str::to_owned).collect();
        let error = Selection::parse(&flags).expect_err("a mistake").to_string();
        assert!(error.contains(part), "{flags:?}: {error}");
    }
}
