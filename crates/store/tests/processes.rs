//! Several processes with one store. Each is this test program, run again as
//! `a_process_of_its_own` with a part to play.

mod common;

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStderr, Command, Stdio},
    thread,
    time::Duration,
};

use common::{FILES, KEY, check, make, names, shared, store, write};
use store::{Error, Kind, STORE_ENV, Store, Wait};

const PART: &str = "STORE_TEST_PART";
const PLACE: &str = "STORE_TEST_PLACE";

/// Printed by a process that waits to be killed.
const DONE: &str = "done";

struct Process {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Process {
    fn start(part: &str, store: &Store) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "a_process_of_its_own", "--nocapture"])
            .env(PART, part)
            .env(PLACE, store.root().unwrap())
            .env_remove(STORE_ENV)
            .env_remove("XDG_CACHE_HOME")
            .env_remove("HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        Process { child, said }
    }

    /// Reads until the process prints this.
    fn until(&mut self, word: &str) {
        let mut heard = String::new();
        for line in self.said.by_ref().lines() {
            let line = line.unwrap();
            if line == word {
                return;
            }
            heard += &(line + "\n");
        }
        panic!("the process ended before it said {word:?}: {heard}");
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Blocks until the process is killed, or the test that started it is gone.
fn block() -> ! {
    let _ = io::stdin().read(&mut [0]);
    std::process::exit(0)
}

#[test]
fn a_process_of_its_own() {
    let (Ok(part), Ok(place)) = (env::var(PART), env::var(PLACE)) else {
        return;
    };
    let store = Store::at(place);
    match part.as_str() {
        "use" => {
            let _shared = shared(&store);
            eprintln!("using");
            block();
        }
        "make" => make_once(&store, |_| {}),
        "stop-half-way" => make_once(&store, |folder| {
            fs::remove_file(folder.join("part-9")).unwrap();
            eprintln!("half");
            block();
        }),
        // Breaks and makes an entry as long as it lives.
        "churn" => loop {
            eprintln!("again");
            let _ = fs::remove_file(store.entry(Kind::Build, KEY).unwrap().join("part-3"));
            make(&shared(&store), "content").unwrap();
        },
        "collect" => loop {
            eprintln!("again");
            make(&shared(&store), "content").unwrap();
            store.collect(|_, _| false, false).unwrap();
        },
        "homeless" => {
            let store = Store::open();
            assert!(store.keys(Kind::Build).is_empty());
            assert!(matches!(store.root(), Err(Error::NoPlace)));
            let error = store.share(&Wait::silently()).unwrap_err();
            assert!(error.help().unwrap().contains("MLX_RAILS_STORE"));
            eprintln!("{DONE}");
        }
        part => panic!("{part}"),
    }
}

/// Makes the entry and leaves a mark for each making.
fn make_once(store: &Store, on_the_way: impl Fn(&Path)) {
    let wait = Wait {
        note: &|_| eprintln!("waiting"),
        stop: &|| false,
    };
    let shared = shared(store);
    let entry = shared.make(Kind::Build, KEY, &wait, check, |scratch| {
        let mark = format!("made-by-{}", std::process::id());
        fs::write(store.root().unwrap().join(mark), "").unwrap();
        let folder = scratch.join("made");
        write(&folder, "content");
        on_the_way(&folder);
        Ok::<_, Error>((folder, "content".to_owned()))
    });
    assert_eq!(entry.unwrap().value, "content");
    eprintln!("{DONE}");
}

fn makings(store: &Store) -> usize {
    let marks = names(store, "");
    marks.iter().filter(|n| n.starts_with("made-by-")).count()
}

/// A command that needs no store, such as a matrix, also runs without a home directory.
#[test]
fn without_a_place_only_the_use_of_the_store_fails() {
    let (_folder, store) = store();
    Process::start("homeless", &store).until(DONE);
}

#[test]
fn two_processes_share_one_making() {
    let (_folder, store) = store();
    let mut processes = [(); 3].map(|()| Process::start("make", &store));
    processes.iter_mut().for_each(|process| process.until(DONE));
    assert_eq!(makings(&store), 1);
}

#[test]
fn when_the_maker_is_killed_the_one_that_waits_makes_it() {
    let (_folder, store) = store();
    let mut maker = Process::start("stop-half-way", &store);
    maker.until("half");
    let mut waiting = Process::start("make", &store);
    waiting.until("waiting");
    assert!(store.keys(Kind::Build).is_empty());
    maker.kill();
    waiting.until(DONE);
    assert_eq!(makings(&store), 2);
    assert_eq!(names(&store, "tmp").len(), 1, "the killed one's scratch");
    drop(waiting);
    store.collect(|_, _| true, false).unwrap();
    assert!(names(&store, "tmp").is_empty());
}

#[test]
fn nothing_is_collected_from_under_another_process() {
    let (_folder, store) = store();
    make(&shared(&store), "content").unwrap();
    let mut user = Process::start("use", &store);
    user.until("using");
    let error = store.collect(|_, _| false, false).unwrap_err();
    assert!(matches!(error, Error::InUse { .. }), "{error}");
    assert_eq!(store.keys(Kind::Build), [KEY]);
    // However a process ends, it no longer uses the store.
    user.kill();
    store.collect(|_, _| false, false).unwrap();
    assert!(store.keys(Kind::Build).is_empty());
}

/// The moments differ from run to run; none of them may leave an incomplete entry.
fn killed_at_any_moment(part: &str, may_be_broken: bool) {
    let (_folder, store) = store();
    drop(shared(&store));
    for round in 0..20 {
        let mut process = Process::start(part, &store);
        process.until("again");
        thread::sleep(Duration::from_micros(700 * round));
        process.kill();
        let entry = store.entry(Kind::Build, KEY).unwrap();
        let is_whole = check(&entry).unwrap().is_some();
        if may_be_broken {
            // The killed process had just removed one file.
            let left = names(&store, &format!("builds/{KEY}"));
            assert!(
                is_whole || left.is_empty() || left.len() == FILES - 1,
                "{}",
                left.len()
            );
        } else {
            assert!(is_whole || !entry.exists(), "round {round}");
        }
        make(&shared(&store), "content").unwrap();
    }
}

#[test]
fn a_kill_while_entries_are_replaced_leaves_none_half() {
    killed_at_any_moment("churn", true);
}

#[test]
fn a_kill_while_entries_are_collected_leaves_none_half() {
    killed_at_any_moment("collect", false);
}
