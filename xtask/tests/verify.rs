//! `cargo xtask verify` as a user types it.

use std::{
    fs,
    process::{Command, Output},
};
#[cfg(target_os = "linux")]
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

fn verify(flags: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.arg("verify").args(flags);
    command
}

fn run(flags: &[&str]) -> Output {
    verify(flags).output().expect("xtask runs")
}

fn words(flags: &str) -> Vec<&str> {
    flags.split_whitespace().collect()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn mistakes_are_the_users_and_name_what_there_is() {
    for (flags, part) in [
        ("--mlx 9.9.9", "0.31.2"),
        ("--op receive", "recv, all_sum"),
        ("--dtype float", "bf16"),
        ("--series upstream", "patched"),
        ("--level huge", "soak"),
        ("--each-patch --patch no-such-fix", "ring-recv-prefill"),
        ("--each-patch --op recv", "--op"),
        ("--for 5min", "--level soak"),
        ("--level soak --dtype f32", "--dtype"),
        (
            "--op all_sum --dtype f32 --bytes 3",
            "leaves no case for MLX 0.31.2",
        ),
        ("--filter nothing-like-this", "leaves no case"),
    ] {
        let output = run(&words(flags));
        assert_eq!(
            output.status.code(),
            Some(2),
            "{flags}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(part),
            "{flags}: {}",
            stderr(&output)
        );
        assert!(output.stdout.is_empty(), "{flags}");
    }
}

/// The text of an issue of a user: one line that shows the defect.
#[test]
fn one_case_is_asked_for_and_its_verdict_read() {
    let case = "--mlx 0.31.2 --series stock,patched --op recv --backend ring --ranks 2 --wires 3 \
                --bytes 12288 --dtype u8 --frames small --direction 0->1 --format json";
    let output = run(&words(case));
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["schema"], "mlx-rails/verify/1");
    let [stock, patched] = report["variants"].as_array().expect("variants").as_slice() else {
        panic!("two variants");
    };
    assert_eq!(
        (&stock["series"], &stock["cases"]),
        (&"stock".into(), &1.into())
    );
    assert_eq!(stock["verdicts"]["hang"], 1);
    let failure = &stock["failures"][0];
    assert_eq!(failure["verdict"], "hang");
    assert_eq!(failure["direction"], "0->1");
    assert_eq!(
        (&failure["bytes"], &failure["in_place"]),
        (&12288.into(), &false.into())
    );
    assert_eq!(patched["verdicts"]["pass"], 1);
    assert_eq!(patched["failures"], Value::Array(vec![]));
}

#[test]
fn the_report_is_three_files() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("report");
    let output = verify(&words(
        "--op all_gather --backend ring --ranks 2 --wires 1 --bytes 64",
    ))
    .arg("--out-dir")
    .arg(&path)
    .output()
    .expect("xtask runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let mut names: Vec<_> = fs::read_dir(&path)
        .expect("the folder")
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["verify.html", "verify.json", "verify.md"]);
}

/// The embedded rig, and two of its cables crossed in the matrix.
fn crossed(folder: &std::path::Path) -> [String; 2] {
    let files = [
        ("rig.toml", rig::Rig::embedded().to_toml()),
        (
            "devices.json",
            r#"[[[],["rdma_en5","rdma_en6"]],[["rdma_en6","rdma_en5"],[]]]"#.to_owned(),
        ),
    ];
    files.map(|(name, text)| {
        let path = folder.join(name);
        fs::write(&path, text).expect(name);
        path.to_str().expect("a readable path").to_owned()
    })
}

/// Over the cabling that it states by itself a matrix is right; over the true one its rails
/// are crossed.
#[test]
fn a_given_matrix_is_verified_over_its_own_cabling_or_over_the_true_one() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [rig, devices] = crossed(folder.path());
    let case = words("--op all_gather --bytes 65536 --frames small --in-place false --format json");
    let sweep = |cabling: &[&str]| {
        let flags = [&["--devices", &devices], cabling, &case].concat();
        let output = run(&flags);
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), report["variants"][0].clone())
    };
    let (code, alone) = sweep(&[]);
    assert_eq!((code, &alone["verdicts"]["pass"]), (Some(0), &1.into()));
    assert_eq!(alone["given"]["nodes"][0], "rank-0");
    let (code, over) = sweep(&["--rig", &rig]);
    assert_eq!((code, &over["verdicts"]["hang"]), (Some(1), &1.into()));
    let failure = &over["failures"][0];
    assert_eq!(
        (&failure["backend"], &failure["ranks"], &failure["wires"]),
        (&"ring".into(), &2.into(), &2.into())
    );
}

/// Over a rig alone the planner's matrix is verified, which aligns its rails. Crossed ones
/// hang, and real devices may stay wedged then: no other case is tried if so asked.
#[test]
fn a_rig_is_verified_and_a_sweep_may_end_with_the_first_hang() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [rig, devices] = crossed(folder.path());
    let cases = words("--op all_gather --bytes 65536,131072 --frames small --format json");
    let sweep = |flags: &[&str]| {
        let output = run(&[flags, &cases].concat());
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let said = stderr(&output);
        (output.status.code(), report["variants"][0].clone(), said)
    };
    let (code, planned, said) = sweep(&["--rig", &rig]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(planned["given"]["nodes"], serde_json::json!(["a", "b"]));
    assert_eq!(
        planned["given"]["devices"][0][1].as_array().map(Vec::len),
        Some(3)
    );
    let all = planned["cases"].as_u64().expect("a number");
    assert!(all > 1);

    let crossed = ["--rig", &rig, "--devices", &devices, "--after-hang", "stop"];
    let (code, ended, said) = sweep(&[&crossed[..], &["--groups", "1"]].concat());
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(
        (&ended["cases"], &ended["planned"]),
        (&1.into(), &all.into())
    );
    assert!(said.contains("--after-hang continue"), "{said}");
}

/// Before MLX is built: the preflight runs over the same matrix.
#[test]
fn a_bench_of_a_given_matrix_is_refused_for_its_crossed_rails() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let [rig, devices] = crossed(folder.path());
    let out = folder.path().join("out");
    let output = Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["bench", "--rig", &rig, "--devices", &devices, "--out-dir"])
        .arg(&out)
        .output()
        .expect("xtask runs");
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("rails 0 and 1 between a and b are swapped"),
        "{said}"
    );
    assert!(output.stdout.is_empty());
}

/// A patch of one pin is proved there, and a line reports the pin that lacks it.
#[test]
fn a_patch_of_one_of_two_pins_is_proved_and_reported() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let output = verify(&words(
        "--each-patch --patch ring-recv-prefill --mlx 0.31.2,0.32.4 --out-dir",
    ))
    .arg(folder.path())
    .output()
    .expect("xtask runs");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let said = stderr(&output);
    assert!(
        said.contains("ring-recv-prefill is no patch of MLX 0.32.4"),
        "{said}"
    );
    assert!(said.contains("Proving ring-recv-prefill of MLX 0.31.2, without it (1 of "));
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect(name);
    assert_eq!(read("verify-patches.md").as_bytes(), output.stdout);
    let json: Value = serde_json::from_str(&read("verify-patches.json")).expect("JSON");
    assert_eq!(json["interrupted"], false);
    assert_eq!(json["proofs"][0]["holds"], true);
}

/// Processes whose parent is `pid`: ranks have a group of their own.
#[cfg(target_os = "linux")]
fn ranks_of(pid: u32) -> Vec<u32> {
    let parent = |stat: &str| -> Option<u32> {
        let (_, fields) = stat.rsplit_once(") ")?;
        fields.split(' ').nth(1)?.parse().ok()
    };
    let processes = fs::read_dir("/proc").expect("a list of processes");
    processes
        .flatten()
        .filter_map(|entry| {
            let child: u32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            (parent(&stat)? == pid && stat.contains("(jaccl-rank)")).then_some(child)
        })
        .collect()
}

#[cfg(target_os = "linux")]
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Ends a sweep while ranks run; returns its output.
#[cfg(target_os = "linux")]
fn end_with(signal: &str, flags: &str) -> Output {
    let mut sweep = verify(&words(flags))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xtask runs");
    let mut lines = BufReader::new(sweep.stderr.take().expect("piped")).lines();
    // It prints a line when the sweep begins; before that it may be compiling.
    let mut said = lines.by_ref().map_while(Result::ok);
    let begins = |line: String| {
        let line = line.trim_start();
        line.starts_with("Verifying") || line.starts_with("Soaking")
    };
    assert!(said.any(begins), "the sweep ended before it began");
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    let mut ranks = Vec::new();
    eventually("no rank was started", || {
        ranks = ranks_of(sweep.id());
        !ranks.is_empty()
    });
    // Some cases have ended and other ranks are running.
    eventually("no other rank was started", || {
        let now = ranks_of(sweep.id());
        !now.is_empty() && now.iter().all(|pid| !ranks.contains(pid))
    });
    ranks = ranks_of(sweep.id());
    let kill = Command::new("kill")
        .args([signal, &sweep.id().to_string()])
        .status();
    assert!(kill.is_ok_and(|status| status.success()));
    let mut output = sweep.wait_with_output().expect("it ends");
    eventually("a rank outlived its launcher", || {
        ranks.iter().all(|pid| !is_rank(*pid))
    });
    output.stderr = rest.join().expect("no panic").join("\n").into_bytes();
    output
}

#[cfg(target_os = "linux")]
fn is_rank(pid: u32) -> bool {
    let stat = Path::new("/proc").join(pid.to_string()).join("stat");
    fs::read_to_string(stat)
        .is_ok_and(|stat| stat.contains("(jaccl-rank)") && !stat.contains(") Z"))
}

#[cfg(target_os = "linux")]
#[test]
fn an_interrupted_sweep_leaves_no_rank_and_reports_what_it_found() {
    let flags = "--op all_sum --level full --series patched,stock --groups 1 --format json";
    let output = end_with("-INT", flags);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["interrupted"], true);
    let [begun, later] = report["variants"].as_array().expect("variants").as_slice() else {
        panic!("two variants");
    };
    assert_eq!(begun["interrupted"], true);
    let (cases, planned) = (&begun["cases"], &begun["planned"]);
    assert!(
        cases.as_u64() > Some(0) && cases.as_u64() < planned.as_u64(),
        "{begun}"
    );
    assert_eq!(
        (&later["interrupted"], &later["cases"]),
        (&true.into(), &0.into())
    );
    let said = stderr(&output);
    assert!(
        said.contains("the same command tries every case again"),
        "{said}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_killed_sweep_leaves_no_rank() {
    assert_eq!(
        end_with("-KILL", "--op all_sum --level full").status.code(),
        None
    );
}

/// Ctrl-C is the usual end of a soak.
#[cfg(target_os = "linux")]
#[test]
fn a_soak_of_two_variants_that_is_ended_in_the_first_has_passed() {
    let flags = "--level soak --ranks 2 --wires 1 --backend mesh --bytes 1000 --seed 1 \
                 --mlx 0.32.4,0.31.2 --format json";
    let output = end_with("-INT", flags);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["interrupted"], false);
    let variants = report["variants"].as_array().expect("variants");
    assert_eq!(variants.len(), 1);
    assert!(variants[0]["cases"].as_u64() > Some(0));
    assert!(stderr(&output).contains("MLX 0.31.2 (patched) was not begun"));
}
