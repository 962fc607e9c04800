//! `run-there RIG AGENT PROGRAM [MODEL]`: runs a program on every node of a rig and prints
//! what it does and what the ranks print. Without a program it empties the stages. A line on
//! its stdin stops it.

use std::{env, error::Error as _, io, path::Path, process::ExitCode, thread, time::Duration};

use launch::{Cancel, Heard, Launcher, Progress, Ranks};
use remote::{Hosts, Part, Run};
use rig::Rig;

/// Prints what is told.
struct Steps;

impl Progress for Steps {
    fn step(&self, verb: &str, what: &str) {
        println!("{verb} {what}");
    }

    fn advance(&self, done: u64, total: u64, what: &str) {
        println!("{done} of {total} {what}");
    }

    fn note(&self, _text: &str) {}
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let cancel = Cancel::default();
    let asked = cancel.clone();
    // In the place of Ctrl-C.
    thread::spawn(move || {
        let mut line = String::new();
        if io::stdin()
            .read_line(&mut line)
            .is_ok_and(|length| length > 0)
        {
            asked.cancel();
        }
    });
    match work(&Launcher::new(cancel), &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!(
                "error: {error}{}",
                match error.source() {
                    Some(cause) => format!(": {cause}"),
                    None => String::new(),
                }
            );
            println!("help: {}", error.help().unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}

fn work(launcher: &Launcher, arguments: &[String]) -> remote::Result<()> {
    let [rig, agent, rest @ ..] = arguments else {
        panic!("run-there RIG AGENT [PROGRAM [MODEL]]");
    };
    let rig = Rig::read(Path::new(rig)).expect("a rig");
    let hosts = Hosts::connect(launcher, &Steps, &rig.nodes, Path::new(agent))?;
    let Some(program) = rest.first() else {
        for host in hosts.all() {
            println!("cleaned {} {}", host.name, host.clean()? > 0);
        }
        return Ok(());
    };
    hosts.check_addresses()?;
    let mut ranks = Ranks::new(launcher);
    if let Some(model) = rest.get(1) {
        for host in hosts.all() {
            host.check_model(Path::new(model))?;
        }
    }
    let parts = [Part::new("bin/program", program)];
    let staged = hosts.stage(&parts, &Steps)?;
    for host in hosts.all() {
        let (connection, order) = host.order(Run {
            program: staged[&host.name].there(Path::new(program)),
            args: vec![host.free_port()?.to_string()],
            env: vec![("RANK".to_owned(), host.name.clone())],
            folder: host.folder().0,
            files: vec![("job".to_owned(), "what to do\n".to_owned())],
            follow: None,
        });
        ranks.start_far(connection, &order).expect("ssh");
    }
    while !ranks.silent() || ranks.has_heard() {
        match ranks.listen()? {
            Some(Heard::Said { rank, text }) => println!("{rank} {text}"),
            Some(Heard::Closed { rank }) => {
                let death = ranks.end_of(rank, Duration::from_secs(10));
                println!("{rank} ended: {}", death.expect("its streams are closed"));
                let words = ranks.process(rank).last_words();
                println!("{rank} said: {}", words.join(" | "));
            }
            None => {}
        }
    }
    Ok(())
}
