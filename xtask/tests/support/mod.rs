//! The requirements on every error of the command line.

use std::collections::HashSet;

use assert_cmd::Command;

/// Checks that an error repeats nothing, and names only flags that its verb has.
#[track_caller]
pub fn is_a_good_complaint(arguments: &[String], message: &str) {
    says_nothing_twice(message);
    if let Some(stranger) = strangers(arguments, message).first() {
        panic!("the verb has no {stranger}:\n{message}");
    }
}

/// An error and its causes are one line. Short parts of it, such as names, may occur
/// again.
#[track_caller]
fn says_nothing_twice(message: &str) {
    for line in message.lines() {
        let mut seen = HashSet::new();
        for part in line.split("; ").flat_map(|sentence| sentence.split(": ")) {
            let is_new = seen.insert(part.trim());
            assert!(is_new || part.len() < 16, "{part:?} twice in:\n{message}");
        }
    }
    assert!(message.matches("(os error").count() <= 1, "{message}");
    assert!(message.matches("help: ").count() <= 1, "{message}");
}

/// The flags in an error that are neither the verb's nor typed by the user. Flags of
/// commands in backticks belong to other verbs.
fn strangers(arguments: &[String], message: &str) -> Vec<String> {
    let own: String = message.split('`').step_by(2).collect();
    let help = help(arguments);
    own.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .filter(|word| word.starts_with("--") && word.len() > 2)
        .filter(|flag| !has_flag(&help, flag))
        .filter(|flag| !arguments.iter().any(|given| given.starts_with(flag)))
        .map(str::to_owned)
        .collect()
}

fn has_flag(help: &str, flag: &str) -> bool {
    help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
        .any(|word| word == flag)
}

/// The help of the verb in the arguments, and of its step if they name one.
fn help(arguments: &[String]) -> String {
    let words = arguments.iter().take_while(|word| !word.starts_with('-'));
    let mut words: Vec<_> = words.take(2).collect();
    loop {
        let mut command = Command::cargo_bin("xtask").unwrap();
        let output = command.args(&words).arg("--help").output().unwrap();
        if output.status.success() || words.pop().is_none() {
            return String::from_utf8(output.stdout).unwrap();
        }
    }
}
