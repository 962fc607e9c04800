//! Measures whether an emulated cable keeps its configured times, and the emulator's own
//! cost.
//!
//! Two processes, each with one end of a cable, exchange messages through the C
//! interface. The last output is a table of ratios: measured to configured values, and
//! measured values to what the memory of this machine does in the same run. No time is a
//! test, so the run succeeds whatever it finds.

#[path = "../../tests/client/mod.rs"]
mod client;
mod core;
mod pair;
mod peer;
mod ring;
mod table;
mod wire;

use std::{
    env,
    path::Path,
    time::{Duration, Instant},
};

use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput, measurement::WallTime};
use rig::{Link, Rules, units};
use rustix::time::{ClockId, clock_gettime};

use pair::Pair;
use softrail_provider::simulation;
use table::{Goal, Samples, Table};
use wire::Wire;

/// Repetitions of each measurement.
const SAMPLES: usize = 20;

/// Practically no limit: a message takes a nanosecond.
const UNTHROTTLED: Link = Link {
    bytes_per_second: u64::MAX,
    latency: Duration::ZERO,
};

/// The size of a message that only signals its arrival.
const WORD: u32 = 8;

const KIB: u32 = 1 << 10;

fn main() {
    let arguments: Vec<_> = env::args_os().collect();
    if let [_, verb, folder] = &*arguments
        && verb == peer::VERB
    {
        return peer::run(Path::new(folder));
    }
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .nresamples(2000)
        .configure_from_args();
    let mut pair = Pair::start();
    // Only now, because processes started from here would be bound to the same processor.
    core::keep_to(0);
    let mut table = Table::default();
    if let Some(floor) = floor(&mut criterion, &mut pair, &mut table) {
        latencies(&mut criterion, &mut pair, &mut table, floor);
    }
    rates(&mut criterion, &mut pair, &mut table);
    windows(&mut criterion, &mut pair, &mut table);
    large_messages(&mut criterion, &mut pair, &mut table);
    drop(pair);
    processor_time(&mut criterion, &mut table);
    criterion.final_summary();
    print!("{table}");
}

/// One way of a ping-pong on a cable without delay, in seconds.
fn floor(criterion: &mut Criterion, pair: &mut Pair, table: &mut Table) -> Option<f64> {
    let times = one_way(criterion, pair, UNTHROTTLED);
    let micros = times.iter().map(|seconds| seconds * 1e6);
    table.add(
        "8 bytes one way, unthrottled, us",
        micros,
        Goal::AtMost(1.5),
    );
    Samples::new(times).map(|samples| samples.median())
}

fn latencies(criterion: &mut Criterion, pair: &mut Pair, table: &mut Table, floor: f64) {
    for micros in [20, 100, 1000] {
        let latency = Duration::from_micros(micros);
        let link = Link {
            latency,
            ..UNTHROTTLED
        };
        let configured = latency.as_secs_f64() + floor;
        let times = one_way(criterion, pair, link);
        table.add(
            &format!(
                "latency / (configured + floor), {}",
                units::format_time(latency)
            ),
            times.iter().map(|seconds| seconds / configured),
            Goal::Within(0.1),
        );
    }
}

/// Half of a round trip of 8 bytes, in seconds. A repetition counts with its median, as
/// in perftest: a time in which another process had the processor is no latency.
fn one_way(criterion: &mut Criterion, pair: &mut Pair, link: Link) -> Vec<f64> {
    let mut group = group(criterion, "round trip");
    let name = units::format_time(link.latency);
    let round_trips = measure(&mut group, &name, |count| {
        pair.set_link(link);
        pair.ask(&format!("echo {count}"));
        let mut trips: Vec<_> = (0..count).map(|_| timed(|| pair.wire.ping())).collect();
        let (_, median, _) = trips.select_nth_unstable(count as usize / 2);
        [median.mul_f64(count as f64)]
    });
    round_trips.iter().map(|[seconds]| seconds / 2.0).collect()
}

fn rates(criterion: &mut Criterion, pair: &mut Pair, table: &mut Table) {
    let mut group = group(criterion, "stream");
    for megabytes in [10, 25, 50, 100] {
        for bytes in [64 * KIB, 512 * KIB, 1024 * KIB] {
            let link = Link {
                bytes_per_second: megabytes * 1_000_000,
                ..Link::default()
            };
            let rate = units::format_rate(link.bytes_per_second);
            let case = format!("{rate}, {} KiB", bytes / KIB);
            group.throughput(Throughput::Bytes(bytes.into()));
            let times = measure(&mut group, &case, |count| {
                [stream(pair, link, count, bytes)]
            });
            let configured = f64::from(bytes) / link.bytes_per_second as f64;
            table.add(
                &format!("delivered / configured rate, {case}"),
                times.iter().map(|[seconds]| configured / seconds),
                Goal::Within(0.02),
            );
        }
    }
}

/// Messages on a cable without delay, beside the number that two processes can copy
/// through shared memory at the same time.
fn large_messages(criterion: &mut Criterion, pair: &mut Pair, table: &mut Table) {
    let mut group = group(criterion, "unthrottled");
    for bytes in [512 * KIB, 1024 * KIB] {
        let size = format!("{} KiB", bytes / KIB);
        group.throughput(Throughput::Bytes(bytes.into()));
        let times = measure(&mut group, &size, |count| {
            let copied = copy(pair, count, bytes);
            [stream(pair, UNTHROTTLED, count, bytes), copied]
        });
        let gigabytes = |seconds: f64| f64::from(bytes) / seconds / 1e9;
        table.add(
            &format!("memcpy twice, GB/s, {size}"),
            times.iter().map(|[_, copied]| gigabytes(*copied)),
            Goal::None,
        );
        table.add(
            &format!("delivered, GB/s, {size}"),
            times.iter().map(|[carried, _]| gigabytes(*carried)),
            Goal::None,
        );
        table.add(
            &format!("delivered / memcpy twice, {size}"),
            times.iter().map(|[carried, copied]| copied / carried),
            Goal::AtLeast(0.8),
        );
    }
}

/// jaccl's window: two messages sent and two receives posted. Each pays for its credit.
fn windows(criterion: &mut Criterion, pair: &mut Pair, table: &mut Table) {
    const OUTSTANDING: u64 = 2;
    const BYTES: u32 = 4 * KIB;

    let mut group = group(criterion, "window of two");
    for (bytes_per_second, micros, expected) in
        [(200_000_000, 20, 135.4e6), (10_000_000_000, 5, 787e6)]
    {
        let link = Link {
            bytes_per_second,
            latency: Duration::from_micros(micros),
        };
        let case = format!("{}, {micros} us", units::format_rate(bytes_per_second));
        let rate = simulation::window(Rules::default(), link, OUTSTANDING, BYTES.into());
        table.add(
            &format!("window of two 4 KiB / expected, in virtual time, {case}"),
            [rate / expected].into_iter(),
            Goal::Within(0.03),
        );
        group.throughput(Throughput::Bytes(BYTES.into()));
        let times = measure(&mut group, &case, |count| {
            [flow(pair, link, count, BYTES, OUTSTANDING)]
        });
        // Processes that take turns on a few processors are late by more than 5 us.
        let goal = match micros {
            20 => Goal::Within(0.03),
            _ => Goal::None,
        };
        table.add(
            &format!("window of two 4 KiB / expected, {case}"),
            times
                .iter()
                .map(|[seconds]| f64::from(BYTES) / seconds / expected),
            goal,
        );
    }
}

fn stream(pair: &mut Pair, link: Link, count: u64, bytes: u32) -> Duration {
    flow(pair, link, count, bytes, wire::WINDOW)
}

/// A stream of messages of which `window` are outstanding at both ends.
fn flow(pair: &mut Pair, link: Link, count: u64, bytes: u32, window: u64) -> Duration {
    pair.set_link(link);
    pair.ask(&format!("sink {count} {bytes} {window}"));
    timed(|| pair.wire.stream(count, bytes, window))
}

fn copy(pair: &mut Pair, count: u64, bytes: u32) -> Duration {
    pair.ring.clear();
    pair.ask(&format!("drain {count} {bytes}"));
    let source = &pair.wire.memory()[..bytes as usize];
    timed(|| pair.ring.produce(count, source))
}

/// The emulator's cost where neither end waits for the other: both run in one thread.
fn processor_time(criterion: &mut Criterion, table: &mut Table) {
    const BYTES: u32 = 4 * KIB;

    let fabric = pair::fabric();
    pair::set_link(&fabric, UNTHROTTLED);
    let [mut a, mut b] = ["a", "b"].map(|node| Wire::open(fabric.path(), node));
    let [to_a, to_b] = [a.address(), b.address()];
    a.connect(to_b);
    b.connect(to_a);
    let times = measure(&mut group(criterion, "processor"), "4 KiB", |count| {
        let begun = thread_time();
        for _ in 0..count {
            b.receive(BYTES);
            a.send(BYTES);
            a.finish();
            b.finish();
        }
        [thread_time() - begun]
    });
    let what = "processor time a message of 4 KiB, both ends, ns";
    table.add(
        what,
        times.iter().map(|[seconds]| seconds * 1e9),
        Goal::None,
    );
}

/// The processor time of this thread.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.try_into().expect("it counts from 0")
}

fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn group<'a>(criterion: &'a mut Criterion, name: &str) -> BenchmarkGroup<'a, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group.sampling_mode(SamplingMode::Flat);
    group.sample_size(SAMPLES);
    group
}

/// Repeats something with criterion, and returns the time of one run of it for each
/// repetition, in seconds; the first is the one that criterion reports. Empty if the
/// command line has selected others.
fn measure<const N: usize>(
    group: &mut BenchmarkGroup<'_, WallTime>,
    name: &str,
    mut work: impl FnMut(u64) -> [Duration; N],
) -> Vec<[f64; N]> {
    let mut times = Vec::new();
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|count| {
            let taken = work(count);
            times.push(taken.map(|time| time.as_secs_f64() / count as f64));
            taken[0]
        });
    });
    // The earlier ones are the warm-up.
    times.split_off(times.len().saturating_sub(SAMPLES))
}
