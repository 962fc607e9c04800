//! The two processes: this one, and another that it starts from the same program.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use rig::{Link, Rig};
use softrail::Fabric;

use super::{
    peer::{self, READY},
    ring::Ring,
    wire::{Address, Wire},
};

/// The cable between the two ends.
const CABLE: &str = "cable-1";

/// This end, and the process at the other end.
pub struct Pair {
    pub wire: Wire,
    pub ring: Ring,
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    fabric: Fabric,
}

impl Pair {
    pub fn start() -> Self {
        let fabric = fabric();
        let ring = Ring::create(&fabric.path().join(peer::RING));
        let wire = Wire::open(fabric.path(), "a");
        let mut child = Command::new(env::current_exe().expect("this program has a path"))
            .arg(peer::VERB)
            .arg(fabric.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program runs once more");
        let orders = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut pair = Pair {
            wire,
            ring,
            child,
            orders,
            answers,
            fabric,
        };
        pair.meet();
        pair
    }

    /// Connects the two ends.
    fn meet(&mut self) {
        let theirs = self.answer();
        self.wire.connect(peer::parse(&theirs));
        let Address { number, gid } = self.wire.address();
        self.ask(&format!("{number} {gid}"));
    }

    /// Sends the other process an order, and waits until it is ready to follow it.
    pub fn ask(&mut self, order: &str) {
        let mut orders = self
            .orders
            .as_ref()
            .expect("it is taken when this is dropped");
        writeln!(orders, "{order}").expect("the peer reads");
        assert_eq!(self.answer(), READY);
    }

    fn answer(&mut self) -> String {
        let mut line = String::new();
        let read = self.answers.read_line(&mut line).expect("the peer writes");
        assert!(read > 0, "the peer has ended");
        line.trim_end().to_owned()
    }

    pub fn set_link(&self, link: Link) {
        set_link(&self.fabric, link);
    }
}

impl Drop for Pair {
    /// The peer ends when its standard input is closed.
    fn drop(&mut self) {
        self.orders = None;
        let _ = self.child.wait();
    }
}

/// Two nodes with a cable.
pub fn fabric() -> Fabric {
    Fabric::create(&softrail::default_parent(), &Rig::embedded()).expect("a fabric")
}

/// Changes the properties of the fabric's cable.
pub fn set_link(fabric: &Fabric, link: Link) {
    let changed = fabric.live().change_link(CABLE, None, |it| *it = link);
    changed.expect("the rig has it");
}
