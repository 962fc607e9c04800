//! `cargo xtask verify` as a user types it.

use std::{
    fs,
    process::{Command, Output},
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

/// What the issue tracker of a user would hold: one line that shows the defect.
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
    .arg("--output")
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

/// What is seen of ranks in `/proc`.
#[cfg(target_os = "linux")]
mod interruption {
    use std::{
        io::{BufRead, BufReader},
        path::Path,
        process::Stdio,
        time::{Duration, Instant},
    };

    use super::*;

    /// Processes whose parent or ancestor is `pid`: ranks have a group of their own.
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

    fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends a sweep while ranks are at work.
    fn end_with(signal: &str) -> Option<i32> {
        let mut sweep = verify(&words("--op all_sum --level full"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("xtask runs");
        let mut lines = BufReader::new(sweep.stderr.take().expect("piped")).lines();
        // It says when the sweep begins; before that it may be compiling.
        let mut told = lines.by_ref().map_while(Result::ok);
        let begun = told.any(|line| line.starts_with("verifying"));
        assert!(begun, "the sweep ended before it began");
        let mut ranks = Vec::new();
        eventually("no rank was started", || {
            ranks = ranks_of(sweep.id());
            !ranks.is_empty()
        });
        let kill = Command::new("kill")
            .args([signal, &sweep.id().to_string()])
            .status();
        assert!(kill.is_ok_and(|status| status.success()));
        let status = sweep.wait().expect("it ends");
        eventually("a rank outlived its launcher", || {
            ranks.iter().all(|pid| !is_rank(*pid))
        });
        status.code()
    }

    fn is_rank(pid: u32) -> bool {
        let comm = Path::new("/proc").join(pid.to_string()).join("stat");
        fs::read_to_string(comm)
            .is_ok_and(|stat| stat.contains("(jaccl-rank)") && !stat.contains(") Z"))
    }

    #[test]
    fn an_interrupted_sweep_leaves_no_rank() {
        assert_eq!(end_with("-INT"), Some(130));
    }

    #[test]
    fn a_killed_sweep_leaves_no_rank() {
        assert_eq!(end_with("-KILL"), None);
    }
}
