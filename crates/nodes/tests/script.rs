//! The script, run on this machine by its own shell.

use std::{
    fs,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use nodes::{Answer, NodeFacts, Request, Said, Scope, examine, model_script, script};
use rig::Rig;
use tempfile::TempDir;

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

fn asked(request: &Request) -> NodeFacts {
    let asked = now();
    let mut shell = Command::new("sh");
    let shell = shell.env("LC_ALL", "C").args(["-c", &script(request)]);
    let printed = shell.output().unwrap();
    let answer = Answer {
        host: nodes::HERE.to_owned(),
        nodes: vec!["a".to_owned(), "b".to_owned()],
        said: Ok(Said {
            text: String::from_utf8(printed.stdout).unwrap(),
            asked,
            answered: now(),
            late: false,
        }),
    };
    let rig = Rig::embedded();
    let scope = Scope {
        rig: Some(&rig),
        ..Scope::default()
    };
    examine(scope, &[answer]).nodes.remove(0)
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
    let alone = Command::new("sh").args(["-c", &model_script(&model)]).output();
    let alone = String::from_utf8(alone.unwrap().stdout).unwrap();
    assert_eq!(nodes::model(&alone).unwrap(), hashes(&weights));
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
