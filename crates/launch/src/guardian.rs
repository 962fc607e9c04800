//! Ends the process groups of a launcher that is gone.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    os::unix::process::CommandExt,
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Reads `+ GROUP` and `- GROUP` until its launcher is gone, then ends the groups that are
/// left. The signals that a terminal sends to everything are not for it.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
groups=' '
while read -r sign group; do
    case $sign in
        +) groups="$groups$group " ;;
        -) case $groups in
               *" $group "*) groups="${groups%% $group *} ${groups#* $group }" ;;
           esac ;;
    esac
done
for group in $groups; do kill -s TERM -- "-$group"; done
looks=0
while [ $looks -lt 20 ]; do
    alive=
    for group in $groups; do kill -s 0 -- "-$group" && alive=yes; done
    [ "$alive" ] || exit 0
    sleep 0.1
    looks=$((looks + 1))
done
for group in $groups; do kill -s KILL -- "-$group"; done
"#;

#[derive(Debug, Default)]
pub(crate) struct Guardian(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    shell: Option<Child>,
    groups: BTreeSet<u32>,
}

impl Guardian {
    /// Takes a process group into its care.
    pub(crate) fn watch(&self, group: u32) -> io::Result<()> {
        let mut state = self.state();
        state.groups.insert(group);
        let said = match &mut state.shell {
            Some(shell) => say(shell, '+', group),
            None => Err(io::ErrorKind::NotConnected.into()),
        };
        match said {
            Ok(()) => Ok(()),
            // Not started yet, or ended by somebody.
            Err(_) => state.restart(),
        }
    }

    /// Forgets a process group: it is ended, or its launcher means to leave it.
    pub(crate) fn forget(&self, group: u32) {
        let mut state = self.state();
        state.groups.remove(&group);
        if let Some(shell) = &mut state.shell {
            // One that is gone knows no groups; the next `watch` starts another.
            let _ = say(shell, '-', group);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn restart(&mut self) -> io::Result<()> {
        self.stop();
        let mut shell = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        for group in &self.groups {
            say(&mut shell, '+', *group)?;
        }
        self.shell = Some(shell);
        Ok(())
    }

    fn stop(&mut self) {
        if let Some(mut shell) = self.shell.take() {
            drop(shell.stdin.take());
            let _ = shell.wait();
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        self.stop();
    }
}

fn say(shell: &mut Child, sign: char, group: u32) -> io::Result<()> {
    let pipe = shell.stdin.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
    writeln!(pipe, "{sign} {group}")
}
