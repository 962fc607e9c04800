//! The rules for faults.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use super::{Parts, Place, list};
use crate::{CableFault, Defect, Fault, MessageFault, Rig, RigProblem, Span, units};

impl Rig {
    pub(super) fn check_faults(&self, parts: &Parts<'_>) -> Result<(), (Place, RigProblem)> {
        // For each subject that can have a fault, the spans of its faults by their
        // beginning.
        let mut stated: HashMap<String, BTreeMap<Duration, Span>> = HashMap::new();
        for (f, fault) in self.faults.iter().enumerate() {
            let in_fault = |(field, problem)| (Place::Fault(f, field), problem);
            self.check_place(&fault.defect, parts).map_err(in_fault)?;
            check_values(&fault.defect).map_err(in_fault)?;
            check_span(fault).map_err(in_fault)?;
            let spans = stated.entry(fault.defect.subject()).or_default();
            let before = spans.range(..=fault.span.at).next_back();
            let after = spans.range(fault.span.at..).next();
            let mut near = before.into_iter().chain(after);
            if near.any(|(_, span)| span.overlaps(fault.span)) {
                let problem = RigProblem::DuplicateFault(fault.defect.to_string());
                return Err(in_fault(("kind", problem)));
            }
            spans.insert(fault.span.at, fault.span);
        }
        Ok(())
    }

    /// Checks that the fault's subject exists.
    fn check_place(
        &self,
        defect: &Defect,
        parts: &Parts<'_>,
    ) -> Result<(), (&'static str, RigProblem)> {
        match defect {
            Defect::Device { device, .. } | Defect::Message { device, .. } => {
                if !parts.devices.contains(device) {
                    let problem = RigProblem::FaultOnUnknownDevice {
                        device: device.to_string(),
                        known: list(self.cables.iter().flat_map(|cable| &cable.ends)),
                    };
                    return Err(("device", problem));
                }
            }
            Defect::Cable { cable, .. } => {
                if !parts.cables.contains(cable) {
                    let problem = RigProblem::FaultOnUnknownCable {
                        cable: cable.clone(),
                        known: list(self.cables.iter().map(|cable| &cable.name)),
                    };
                    return Err(("cable", problem));
                }
            }
            Defect::Node { node, .. } => {
                if !parts.nodes.contains(&**node) {
                    let problem = RigProblem::FaultOnUnknownNode {
                        node: node.clone(),
                        known: list(self.nodes.iter().map(|node| &node.name)),
                    };
                    return Err(("node", problem));
                }
            }
        }
        Ok(())
    }
}

fn check_values(defect: &Defect) -> Result<(), (&'static str, RigProblem)> {
    let kind = defect.name();
    match defect {
        Defect::Cable {
            kind: CableFault::Degraded { bandwidth, latency },
            ..
        } => match bandwidth {
            Some(0) => Err(("bandwidth", RigProblem::DegradedToNothing)),
            None if latency.is_none() => {
                let example = "bandwidth = \"10 MB/s\" or latency = \"1 ms\"";
                Err(("kind", RigProblem::FaultLacks { kind, example }))
            }
            _ => Ok(()),
        },
        Defect::Message {
            kind: MessageFault::Delay(Duration::ZERO),
            ..
        } => Err(("by", RigProblem::DelayedByNothing)),
        _ => Ok(()),
    }
}

fn check_span(fault: &Fault) -> Result<(), (&'static str, RigProblem)> {
    let (defect, Span { at, until }) = (&fault.defect, fault.span);
    let kind = defect.name();
    let fields = defect.fields();
    for (field, is_set) in [("at", !at.is_zero()), ("until", until.is_some())] {
        if is_set && !fields.contains(&field) {
            return Err((field, RigProblem::stray(field, defect)));
        }
    }
    if matches!(defect, Defect::Node { .. }) && at.is_zero() {
        let example = "at = \"2 s\"";
        return Err(("kind", RigProblem::FaultLacks { kind, example }));
    }
    match until {
        Some(until) if until <= at => {
            let problem = RigProblem::FaultEndsEarly {
                at: units::format_time(at),
                until: units::format_time(until),
            };
            Err(("until", problem))
        }
        _ => Ok(()),
    }
}
