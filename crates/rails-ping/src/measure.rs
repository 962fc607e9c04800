//! The patterns of messages that are measured.
//!
//! A receive is always posted before its message can be sent: UC hardware loses a message
//! that finds none.

use std::{process::ExitCode, time::Instant};

use anyhow::{Result, bail};
use clap::Parser;
use serde::{Deserialize, Serialize};

use crate::{
    flags::{Flags, Measure, Role, Transport},
    meeting::Meeting,
    report::{self, Figures, Row},
    wire::{self, DEPTH, Done, Port, Wire},
};

/// Messages that are acknowledged together: half of the receives, so that the other half
/// is in flight meanwhile.
const WINDOW: u64 = DEPTH as u64 / 2;

/// Bytes of an acknowledgement, and of the number at the start of a message.
const NUMBER: usize = 8;

pub fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(&flags) {
        Ok(printed) => {
            print!("{printed}");
            ExitCode::SUCCESS
        }
        Err(Failure::Rail(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
        Err(Failure::Input(error)) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Why there is no result.
enum Failure {
    /// An error in the flags, or in what they name: exit code 2.
    Input(anyhow::Error),
    /// An error in the measurement: exit code 1.
    Rail(anyhow::Error),
}

/// The client's parameters for both processes.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Task {
    measure: Measure,
    transports: Vec<Transport>,
    sizes: Vec<u32>,
    iterations: u64,
    warm_up: u64,
    check: bool,
}

fn run(flags: &Flags) -> std::result::Result<String, Failure> {
    let role = flags.role().map_err(Failure::Input)?;
    let (device, context) = wire::open(flags.device.as_deref()).map_err(Failure::Input)?;
    let port = Port::new(&context, flags.gid_index).map_err(Failure::Input)?;
    measure(flags, &role, &device, &port).map_err(Failure::Rail)
}

fn measure(flags: &Flags, role: &Role, device: &str, port: &Port<'_>) -> Result<String> {
    let mut meeting = Meeting::of(role)?;
    let measures = matches!(role, Role::Client(_));
    let task = if measures {
        let task = Task {
            measure: flags.measure,
            transports: flags.transport.clone(),
            sizes: flags.size.iter().map(|size| size.0).collect(),
            iterations: flags.iterations.get().into(),
            warm_up: flags.warm_up.into(),
            check: flags.check,
        };
        meeting.tell(&task)?;
        task
    } else {
        meeting.hear()?
    };
    let mut rows = Vec::new();
    for &transport in &task.transports {
        for &bytes in &task.sizes {
            // Acknowledgements use the same memory.
            let room = (bytes as usize).max(NUMBER);
            let wire = port.connect(transport, room, flags.timeout, &mut meeting)?;
            let mut end = End {
                wire,
                task: &task,
                bytes: bytes as usize,
                sends: 0,
                begun: 0,
                arrived: Vec::new(),
            };
            let figures = match (task.measure, measures) {
                (Measure::Latency, true) => Some(end.ping()?),
                (Measure::Latency, false) => end.pong()?,
                (Measure::Bandwidth, true) => Some(end.send_all()?),
                (Measure::Bandwidth, false) => end.take_all()?,
            };
            // A destroyed queue pair neither acknowledges nor receives the messages in
            // flight.
            meeting.meet()?;
            rows.extend(figures.map(|figures| Row {
                transport,
                bytes,
                figures,
            }));
        }
    }
    Ok(match measures {
        true => report::render(task.measure, device, &rows, flags.format),
        false => String::new(),
    })
}

/// One end of a connection that is being measured.
struct End<'a> {
    wire: Wire<'a>,
    task: &'a Task,
    bytes: usize,
    /// Sends that are not done yet.
    sends: usize,
    /// Sends begun in total.
    begun: usize,
    /// Messages that have arrived and have not been examined, each with its slot and
    /// length.
    arrived: Vec<(usize, usize)>,
}

impl End<'_> {
    fn rounds(&self) -> u64 {
        self.task.warm_up + self.task.iterations
    }

    /// Sends and waits for the answer; the time from one to the other is a round trip.
    fn ping(&mut self) -> Result<Figures> {
        let mut halves = Vec::new();
        for number in 0..self.rounds() {
            self.write(number);
            let begun = Instant::now();
            self.send(self.bytes)?;
            let arrived = self.next()?;
            let round_trip = begun.elapsed();
            self.take(arrived, !number)?;
            if number >= self.task.warm_up {
                halves.push(u64::try_from(round_trip.as_nanos() / 2)?);
            }
        }
        self.finish_sends()?;
        Ok(Figures::Latency(halves))
    }

    fn pong(&mut self) -> Result<Option<Figures>> {
        for number in 0..self.rounds() {
            self.write(!number);
            let arrived = self.next()?;
            self.send(self.bytes)?;
            self.take(arrived, number)?;
        }
        self.finish_sends()?;
        Ok(None)
    }

    /// Keeps as many messages in flight as there are receives for.
    fn send_all(&mut self) -> Result<Figures> {
        let (mut begun, mut acknowledged) = (Instant::now(), 0);
        for number in 0..self.rounds() {
            if number == self.task.warm_up {
                while acknowledged < number {
                    acknowledged += self.acknowledgement()?;
                }
                begun = Instant::now();
            }
            while number - acknowledged >= 2 * WINDOW {
                acknowledged += self.acknowledgement()?;
            }
            self.write(number);
            self.send(self.bytes)?;
        }
        while acknowledged < self.rounds() {
            acknowledged += self.acknowledgement()?;
        }
        let seconds = begun.elapsed().as_secs_f64();
        self.finish_sends()?;
        Ok(Figures::Bandwidth {
            messages: self.task.iterations,
            seconds,
        })
    }

    fn take_all(&mut self) -> Result<Option<Figures>> {
        let mut owed = 0_u64;
        for number in 0..self.rounds() {
            let arrived = self.next()?;
            self.take(arrived, number)?;
            owed += 1;
            // The sender waits for the end of its warm-up, and for the end.
            let waited_for = number + 1 == self.task.warm_up || number + 1 == self.rounds();
            if owed == WINDOW || waited_for {
                let slot = self.begun % DEPTH;
                self.wire.outgoing(slot)[..NUMBER].copy_from_slice(&owed.to_le_bytes());
                self.send(NUMBER)?;
                owed = 0;
            }
        }
        self.finish_sends()?;
        Ok(None)
    }

    /// The number of messages that the other end has taken since its last
    /// acknowledgement.
    fn acknowledgement(&mut self) -> Result<u64> {
        let (slot, bytes) = self.next()?;
        let count = <[u8; NUMBER]>::try_from(self.wire.received(slot, bytes));
        let Ok(count) = count.map(u64::from_le_bytes) else {
            bail!("an acknowledgement of {bytes} bytes arrived");
        };
        self.wire.post_receive(slot)?;
        Ok(count)
    }

    /// Writes the next message.
    fn write(&mut self, number: u64) {
        let (bytes, check) = (self.bytes, self.task.check);
        let slot = self.begun % DEPTH;
        fill(&mut self.wire.outgoing(slot)[..bytes], number, check);
    }

    /// Sends the message written last.
    fn send(&mut self, bytes: usize) -> Result<()> {
        self.wire.post_send(self.begun % DEPTH, bytes)?;
        self.begun += 1;
        self.sends += 1;
        // Half of the slots, so that the next slot's last send is done.
        while self.sends > DEPTH / 2 {
            self.wait()?;
        }
        Ok(())
    }

    fn finish_sends(&mut self) -> Result<()> {
        while self.sends > 0 {
            self.wait()?;
        }
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        let (sends, arrived) = (&mut self.sends, &mut self.arrived);
        self.wire.wait(|done| match done {
            Done::Sent => *sends -= 1,
            Done::Received(slot, bytes) => arrived.push((slot, bytes)),
        })
    }

    /// Waits for the next message.
    fn next(&mut self) -> Result<(usize, usize)> {
        while self.arrived.is_empty() {
            self.wait()?;
        }
        Ok(self.arrived.remove(0))
    }

    /// Compares a message with its expected content, and frees its slot.
    fn take(&mut self, (slot, bytes): (usize, usize), number: u64) -> Result<()> {
        let received = self.wire.received(slot, bytes);
        if bytes != self.bytes || !is_filled(received, number, self.task.check) {
            bail!("wrong data: message {number} of {bytes} bytes is not what was sent");
        }
        self.wire.post_receive(slot)
    }
}

/// A byte of a message after its number.
fn byte(number: u64, place: usize) -> u8 {
    (number as usize).wrapping_add(place.wrapping_mul(7)) as u8
}

fn fill(message: &mut [u8], number: u64, whole: bool) {
    let start = message.len().min(NUMBER);
    message[..start].copy_from_slice(&number.to_le_bytes()[..start]);
    if whole {
        for (place, it) in message.iter_mut().enumerate().skip(start) {
            *it = byte(number, place);
        }
    }
}

fn is_filled(message: &[u8], number: u64, whole: bool) -> bool {
    let start = message.len().min(NUMBER);
    let rest = || message.iter().enumerate().skip(start);
    message[..start] == number.to_le_bytes()[..start]
        && (!whole || rest().all(|(place, it)| *it == byte(number, place)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_number_and_another_byte_are_noticed() {
        for bytes in [1, 7, 8, 9, 300] {
            let mut message = vec![0; bytes];
            fill(&mut message, 258, true);
            assert!(is_filled(&message, 258, true));
            assert!(!is_filled(&message, 259, false));
            message[bytes - 1] ^= 1;
            assert!(!is_filled(&message, 258, true));
        }
    }
}
