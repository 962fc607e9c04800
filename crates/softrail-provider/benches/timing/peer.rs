//! The other process: it follows the orders of the process that started it, and ends with
//! that process.

use std::{
    io,
    path::Path,
    process,
    sync::mpsc::{self, Receiver},
    thread,
};

use super::{
    core,
    ring::Ring,
    wire::{Address, Wire},
};

/// The argument that makes this program the other process.
pub const VERB: &str = "--peer";

/// Printed when it is ready for the messages of an order.
pub const READY: &str = "ready";

/// The file of the [`Ring`], in the folder of the fabric.
pub const RING: &str = "ring";

pub fn run(fabric: &Path) {
    core::keep_to(1);
    let mut wire = Wire::open(fabric, "b");
    let mut ring = Ring::open(&fabric.join(RING));
    let orders = orders();
    let Address { number, gid } = wire.address();
    println!("{number} {gid}");
    wire.connect(parse(&orders.recv().expect("an address")));
    println!("{READY}");
    for order in orders {
        let ready = || println!("{READY}");
        match &*order.split(' ').collect::<Vec<_>>() {
            ["echo", count] => wire.echo(number_of(count), ready),
            ["sink", count, bytes, window] => {
                let bytes = number_of(bytes) as u32;
                wire.sink(number_of(count), bytes, number_of(window), ready);
            }
            ["drain", count, bytes] => {
                let target = &mut wire.memory_mut()[..number_of(bytes) as usize];
                ready();
                ring.consume(number_of(count), target);
            }
            _ => panic!("no such order: {order}"),
        }
    }
}

/// The lines of standard input. When standard input ends the process ends, whatever it is
/// waiting for.
fn orders() -> Receiver<String> {
    let (sender, orders) = mpsc::channel();
    thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            let _ = sender.send(line);
        }
        process::exit(0);
    });
    orders
}

/// Reads the address of an end.
pub fn parse(address: &str) -> Address {
    let (number, gid) = address.split_once(' ').expect("a number and a GID");
    Address {
        number: number.parse().expect("a number"),
        gid: gid.parse().expect("a GID"),
    }
}

fn number_of(word: &str) -> u64 {
    word.parse().expect("a number")
}
