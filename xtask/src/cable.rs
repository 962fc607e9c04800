//! `cargo xtask cable`: watches and breaks emulated cables while programs run on them.

use std::{
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

use launch::Cancel;
use rig::{Link, MessageFault, Unplugged};
use softrail::{
    Broken,
    counters::{Counters, markdown},
    live::{Live, Order},
};

use crate::{
    exit::Result,
    flags::{Cable, CableLink, CableMessage, CableStats, CableStep, ReportFormat},
    out, output,
};

/// The interval of `--watch`.
const PERIOD: Duration = Duration::from_secs(1);

pub fn run(cancel: &Cancel, flags: &Cable) -> Result {
    let live = match &flags.fabric {
        Some(folder) => Live::attach(folder)?,
        None => Live::only(&softrail::default_parent())?,
    };
    match &flags.step {
        CableStep::Stats(flags) => stats(cancel, &live, flags)?,
        CableStep::Cut { cable } => live.set_cable(cable, Some(Broken::Cut))?,
        CableStep::Unplug { cable, hang } => {
            let then = match hang {
                true => Unplugged::Hang,
                false => Unplugged::Crash,
            };
            live.set_cable(cable, Some(Broken::Unplugged(then)))?;
        }
        CableStep::Mend { cable } => live.set_cable(cable, None)?,
        CableStep::Link(flags) => link(&live, flags)?,
        CableStep::Break(fault) => live.set_fault(&fault.device, fault.kind, true)?,
        CableStep::Heal(fault) => live.set_fault(&fault.device, fault.kind, false)?,
        CableStep::Drop(message) => inject(&live, message, MessageFault::Drop)?,
        CableStep::Delay(delay) => inject(&live, &delay.message, MessageFault::Delay(delay.by))?,
        CableStep::Kill { node } => live.order(node, Order::Die)?,
        CableStep::Freeze { node } => live.order(node, Order::Stop)?,
        CableStep::Thaw { node } => live.order(node, Order::Continue)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn stats(cancel: &Cancel, live: &Live, flags: &CableStats) -> Result<()> {
    let mut last: Option<(Vec<Counters>, Instant)> = None;
    loop {
        let (counters, now) = (live.counters(), Instant::now());
        match flags.format {
            ReportFormat::Md => {
                let before = last.as_ref().map(|(counters, at)| (&**counters, now - *at));
                output::document(&markdown(&counters, before))?;
            }
            ReportFormat::Json => {
                let line = serde_json::json!({
                    "schema": "mlx-rails/cable-stats/1",
                    "seconds": last.as_ref().map(|(_, at)| (now - *at).as_secs_f64()),
                    "directions": counters,
                });
                out!("{line}")?;
            }
        }
        if !flags.watch {
            return Ok(());
        }
        last = Some((counters, now));
        thread::sleep(PERIOD);
        cancel.check()?;
        if !live.is_up() {
            return Ok(());
        }
        if flags.format == ReportFormat::Md {
            out!("")?;
        }
    }
}

fn link(live: &Live, flags: &CableLink) -> Result<()> {
    let change = |link: &mut Link| {
        link.bytes_per_second = flags.rate.unwrap_or(link.bytes_per_second);
        link.latency = flags.latency.unwrap_or(link.latency);
    };
    live.change_link(&flags.cable, flags.from.as_deref(), change)?;
    Ok(())
}

fn inject(live: &Live, meant: &CableMessage, fault: MessageFault) -> Result<()> {
    live.inject(&meant.device, meant.queue_pair, meant.message, fault)?;
    Ok(())
}
