//! The script, run on this machine by its own shell.

use std::{
    fs,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use nodes::{
    Answer, NodeFacts, Request, Said, Scope, after, examine, model_script, script, state_script,
};
use rig::Rig;
use tempfile::TempDir;

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// What this machine answers to a script.
fn answer(script: &str) -> Answer {
    let asked = now();
    let mut shell = Command::new("sh");
    let shell = shell.env("LC_ALL", "C").args(["-c", script]);
    let printed = shell.output().unwrap();
    Answer {
        host: nodes::HERE.to_owned(),
        nodes: vec!["a".to_owned(), "b".to_owned()],
        said: Ok(Said {
            text: String::from_utf8(printed.stdout).unwrap(),
            asked,
            answered: now(),
            late: false,
        }),
    }
}

fn asked(request: &Request) -> NodeFacts {
    let rig = Rig::embedded();
    let scope = Scope {
        rig: Some(&rig),
        ..Scope::default()
    };
    examine(scope, &[answer(&script(request))]).nodes.remove(0)
}

#[test]
fn this_machine_says_what_it_is() {
    let facts = asked(&Request::default());
    let software = facts.software.unwrap();
    assert!(
        matches!(&*software.kernel, "Darwin" | "Linux"),
        "{software:?}"
    );
    assert!(!software.name.is_empty());
    assert!(facts.memory.unwrap().total_bytes > 64 << 20);
    assert!(facts.disk.unwrap().total_bytes > 0);
    let clock = facts.clock.unwrap();
    assert!(
        clock.ahead_at_least <= 0.001 && clock.ahead_at_most >= -0.001,
        "{clock:?}"
    );
    assert_eq!(facts.devices.unwrap().len(), 6);
}

#[test]
fn what_a_run_can_change_is_asked_once_more() {
    let mut nodes = [asked(&Request::default())];
    let before = &nodes[0];
    let known = (before.power.is_some(), before.heat.is_some());
    let answer = answer(&state_script());
    assert_eq!(after(&mut nodes, std::slice::from_ref(&answer)), []);
    let state = nodes[0].after.unwrap();
    assert_eq!((state.power.is_some(), state.heat.is_some()), known);
    assert!(!answer.said.unwrap().text.contains(">disk"));
}

#[test]
fn the_disk_is_that_of_a_folder_that_need_not_exist_yet() {
    let folder = TempDir::new().unwrap();
    let stage = folder.path().join("a b/it's/stage");
    let request = Request {
        stage: Some(&stage),
        model: None,
    };
    let disk = asked(&request).disk.unwrap();
    assert!(disk.writable && disk.free_bytes > 0);
}

#[test]
fn a_model_is_hashed_by_samples() {
    let folder = TempDir::new().unwrap();
    let model = folder.path().join("a model");
    fs::create_dir(&model).unwrap();
    fs::write(model.join("config.json"), "{}").unwrap();
    fs::write(model.join("README.md"), "no part of it").unwrap();
    let mut weights = vec![7_u8; 8 << 20];
    let hashes = |weights: &[u8]| {
        fs::write(model.join("model.safetensors"), weights).unwrap();
        let request = Request {
            stage: None,
            model: Some(&model),
        };
        asked(&request).model.unwrap()
    };
    let [config, before] = &hashes(&weights)[..] else {
        panic!("not two files")
    };
    let of_braces = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    assert_eq!(
        (&*config.name, config.bytes, &*config.sha256),
        ("config.json", 2, of_braces)
    );
    assert_eq!(
        (&*before.name, before.bytes),
        ("model.safetensors", 8 << 20)
    );
    let alone = answer(&model_script(&model)).said.unwrap();
    assert_eq!(nodes::model(&alone.text).unwrap(), hashes(&weights));
    for place in [0, 2 << 20, 4 << 20, (8 << 20) - 1] {
        weights[place] = 8;
        assert_ne!(hashes(&weights)[1].sha256, before.sha256, "byte {place}");
        weights[place] = 7;
    }
}

#[test]
fn a_model_that_is_not_there_says_so() {
    let request = Request {
        stage: None,
        model: Some("/nowhere/at all".as_ref()),
    };
    let facts = asked(&request);
    assert_eq!(facts.model, None);
    assert!(
        facts.missing["model"].contains("/nowhere/at all"),
        "{:?}",
        facts.missing
    );
}
