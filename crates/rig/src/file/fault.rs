//! The faults of `rig.toml`.

use std::{ops::Range, time::Duration};

use serde::Deserialize;
use toml::Spanned;

use super::Source;
use crate::{
    CableFault, Defect, DeviceFault, End, Fault, MessageFault, NodeFault, RigError, RigProblem,
    Span, Unplugged,
    check::list,
    units::{self, UnitError},
};

/// An entry as written. A field that its kind does not use is refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FaultText {
    device: Option<Text>,
    cable: Option<Text>,
    node: Option<Text>,
    kind: Text,
    bandwidth: Option<Text>,
    latency: Option<Text>,
    by: Option<Text>,
    at: Option<Text>,
    until: Option<Text>,
    queue_pair: Option<Spanned<i64>>,
    message: Option<Spanned<i64>>,
}

type Text = Spanned<String>;

const MESSAGE_KINDS: [&str; 2] = ["drop-message", "delay-message"];
const CABLE_KINDS: [&str; 4] = ["cut", "degraded", "unplugged", "unplugged-hang"];
const NODE_KINDS: [&str; 2] = ["kill", "freeze"];

impl FaultText {
    /// The fields that only some kinds have, and their positions.
    fn fields(&self) -> impl Iterator<Item = (&'static str, Range<usize>)> {
        let number = |field: &Option<Spanned<i64>>| field.as_ref().map(Spanned::span);
        let text = |field: &Option<Text>| field.as_ref().map(Spanned::span);
        let fields = [
            ("bandwidth", text(&self.bandwidth)),
            ("latency", text(&self.latency)),
            ("by", text(&self.by)),
            ("at", text(&self.at)),
            ("until", text(&self.until)),
            ("queue_pair", number(&self.queue_pair)),
            ("message", number(&self.message)),
        ];
        fields
            .into_iter()
            .filter_map(|(name, span)| Some((name, span?)))
    }

    /// The position of a field, or else that of the fault's subject.
    pub(super) fn place(&self, field: &str) -> Range<usize> {
        let written = self.fields().find(|(name, _)| *name == field);
        let on = [&self.device, &self.cable, &self.node];
        match (written, on.into_iter().flatten().next()) {
            (Some((_, span)), _) => span,
            (None, Some(on)) => on.span(),
            (None, None) => self.kind.span(),
        }
    }
}

impl Source<'_> {
    pub(super) fn fault(&self, raw: &Spanned<FaultText>) -> Result<Fault, RigError> {
        let text = raw.get_ref();
        let defect = match (&text.device, &text.cable, &text.node) {
            (Some(device), None, None) => self.device_defect(device, text)?,
            (None, Some(cable), None) => Defect::Cable {
                cable: cable.get_ref().clone(),
                kind: self.cable_fault(text)?,
            },
            (None, None, Some(node)) => Defect::Node {
                node: node.get_ref().clone(),
                kind: match self.kind("node", &text.kind, &NODE_KINDS)? {
                    "kill" => NodeFault::Kill,
                    _ => NodeFault::Freeze,
                },
            },
            _ => return Err(self.error(raw.span(), RigProblem::FaultOnNothing)),
        };
        let known = defect.fields();
        if let Some((field, span)) = text.fields().find(|(name, _)| !known.contains(name)) {
            return Err(self.error(span, RigProblem::stray(field, &defect)));
        }
        let span = Span {
            at: self.moment("at", &text.at)?.unwrap_or_default(),
            until: self.moment("until", &text.until)?,
        };
        Ok(Fault { defect, span })
    }

    fn device_defect(&self, device: &Text, text: &FaultText) -> Result<Defect, RigError> {
        let end = End::split(device.get_ref()).ok_or_else(|| {
            let problem = RigProblem::FaultOnBadDevice(device.get_ref().clone());
            self.error(device.span(), problem)
        })?;
        let kinds = DeviceFault::ALL.map(DeviceFault::name);
        let kinds: Vec<_> = kinds.into_iter().chain(MESSAGE_KINDS).collect();
        let name = self.kind("device", &text.kind, &kinds)?;
        let mut faults = DeviceFault::ALL.into_iter();
        if let Some(kind) = faults.find(|kind| kind.name() == name) {
            return Ok(Defect::Device { device: end, kind });
        }
        let lacks = |example| {
            let problem = RigProblem::FaultLacks {
                kind: name,
                example,
            };
            self.error(text.kind.span(), problem)
        };
        let (Some(queue_pair), Some(message)) = (&text.queue_pair, &text.message) else {
            return Err(lacks("queue_pair = 0 and message = 3, counted from 0"));
        };
        Ok(Defect::Message {
            device: end,
            queue_pair: self.count("queue_pair", queue_pair)?,
            message: self.count("message", message)?,
            kind: match name {
                "drop-message" => MessageFault::Drop,
                _ => {
                    let by = self.fault_unit("by", &text.by, units::parse_duration)?;
                    MessageFault::Delay(by.ok_or_else(|| lacks("by = \"5 ms\""))?)
                }
            },
        })
    }

    fn cable_fault(&self, text: &FaultText) -> Result<CableFault, RigError> {
        Ok(match self.kind("cable", &text.kind, &CABLE_KINDS)? {
            "cut" => CableFault::Cut,
            "unplugged" => CableFault::Unplugged(Unplugged::Crash),
            "unplugged-hang" => CableFault::Unplugged(Unplugged::Hang),
            _ => CableFault::Degraded {
                bandwidth: self.fault_unit("bandwidth", &text.bandwidth, units::parse_rate)?,
                latency: self.fault_unit("latency", &text.latency, units::parse_time)?,
            },
        })
    }

    /// The one of `kinds` with this name.
    fn kind<'k>(
        &self,
        of: &'static str,
        raw: &Text,
        kinds: &[&'k str],
    ) -> Result<&'k str, RigError> {
        let text = raw.get_ref();
        let found = kinds.iter().copied().find(|kind| kind == text);
        found.ok_or_else(|| {
            let problem = RigProblem::UnknownFault {
                of,
                kind: text.clone(),
                known: list(kinds.iter()),
            };
            self.error(raw.span(), problem)
        })
    }

    /// A time after the start.
    fn moment(
        &self,
        field: &'static str,
        raw: &Option<Text>,
    ) -> Result<Option<Duration>, RigError> {
        let moment = self.fault_unit(field, raw, units::parse_duration)?;
        match raw {
            Some(raw) if moment == Some(Duration::ZERO) => {
                Err(self.error(raw.span(), RigProblem::FaultAtZero { field }))
            }
            _ => Ok(moment),
        }
    }

    fn fault_unit<T>(
        &self,
        field: &str,
        raw: &Option<Text>,
        read: impl Fn(&str) -> Result<T, UnitError>,
    ) -> Result<Option<T>, RigError> {
        self.unit(&format!("{field} of a fault"), raw, read)
    }

    fn count(&self, field: &'static str, raw: &Spanned<i64>) -> Result<u32, RigError> {
        let value = *raw.get_ref();
        u32::try_from(value)
            .map_err(|_| self.error(raw.span(), RigProblem::BadCount { field, value }))
    }
}
