//! `rig.toml`: reading it, with a line number in every error, and writing it.

use std::ops::Range;

use serde::{Deserialize, Serialize, Serializer};
use toml::Spanned;

use super::{
    Cable, Cables, Crossed, End, Fault, Likeness, Link, Node, Profile, ReceiverNotReady, Rig, RigError,
    RigProblem, Rules, check::Place,
};
use crate::units::{self, UnitError};
use fault::FaultText;

mod fault;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RigText {
    cables: Option<Cables>,
    defaults: Option<Spanned<DefaultsText>>,
    #[serde(default)]
    node: Vec<Spanned<Node>>,
    #[serde(default)]
    cable: Vec<CableText>,
    #[serde(default)]
    fault: Vec<Spanned<FaultText>>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct DefaultsText {
    bandwidth: Option<Spanned<String>>,
    latency: Option<Spanned<String>>,
    profile: Option<Profile>,
    receiver_not_ready: Option<ReceiverNotReady>,
    crossed: Option<Crossed>,
    gid_index: Option<u8>,
    refuses_over_posting: Option<bool>,
    refuses_local_write_alone: Option<bool>,
    leaks_after_error: Option<bool>,
    loses_first_after_abnormal_end: Option<bool>,
}

impl DefaultsText {
    fn rules(&self) -> Rules {
        let usual = Rules::default();
        let knobs = usual.likeness;
        Rules {
            profile: self.profile.unwrap_or(usual.profile),
            receiver_not_ready: self.receiver_not_ready.unwrap_or(usual.receiver_not_ready),
            crossed: self.crossed.unwrap_or(usual.crossed),
            gid_index: self.gid_index.unwrap_or(usual.gid_index),
            likeness: Likeness {
                refuses_over_posting: self
                    .refuses_over_posting
                    .unwrap_or(knobs.refuses_over_posting),
                refuses_local_write_alone: self
                    .refuses_local_write_alone
                    .unwrap_or(knobs.refuses_local_write_alone),
                leaks_after_error: self.leaks_after_error.unwrap_or(knobs.leaks_after_error),
                loses_first_after_abnormal_end: self
                    .loses_first_after_abnormal_end
                    .unwrap_or(knobs.loses_first_after_abnormal_end),
            },
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CableText {
    name: Spanned<String>,
    ends: [Spanned<String>; 2],
    bandwidth: Option<Spanned<String>>,
    latency: Option<Spanned<String>>,
}

impl Rig {
    /// Reads `rig.toml`.
    ///
    /// ```toml
    /// cables = "emulated"              # or "real", which is usual when a node has `ssh`
    ///
    /// [defaults]                       # optional
    /// bandwidth = "50 MB/s"
    /// latency = "20 us"
    /// profile = "thunderbolt"          # or "rdma"
    /// crossed = "black-hole"           # or "refuse", "stall"
    /// gid_index = 1                    # where the IPv4-mapped GID is
    /// refuses_over_posting = true      # and the other fields of `Likeness`
    ///
    /// [[node]]                         # rank 0
    /// name = "a"
    /// [[node]]                         # rank 1
    /// name = "b"
    /// ssh = "mini"                     # another machine; optional like the next three
    /// address = "192.168.1.11"         # where the other nodes reach it
    /// stage = "/Users/me/stage"        # for programs; usual is .cache/mlx-rails/stage
    /// models = "/Users/me/models"      # has the folders of models
    ///
    /// [[cable]]
    /// name = "cable-1"
    /// ends = ["a:rdma_en5", "b:rdma_en5"]
    /// bandwidth = "40 MB/s"            # this cable's own, optional like latency
    ///
    /// [[fault]]                        # emulation only, and optional
    /// device = "b:rdma_en5"            # an end of a cable above
    /// kind = "no-gid"                  # absent, no-gid, port-down, failing, refusing
    /// at = "2 s"                       # after the job began; without it, from the start
    /// until = "3 s"                    # mended again; without it, never
    /// [[fault]]
    /// cable = "cable-1"
    /// kind = "degraded"                # or cut, unplugged, unplugged-hang, without the next two
    /// bandwidth = "10 MB/s"
    /// latency = "1 ms"
    /// [[fault]]
    /// device = "a:rdma_en5"
    /// kind = "delay-message"           # or drop-message, which has no `by`; neither has a time
    /// queue_pair = 0                   # the first that is created on the device
    /// message = 3                      # its fourth
    /// by = "5 ms"
    /// [[fault]]
    /// node = "b"
    /// kind = "freeze"                  # or kill, which has no `until`; both have an `at`
    /// at = "2 s"
    /// ```
    ///
    /// # Errors
    /// If the text is not such a rig or fails [`Rig::check`]. The error gives the line,
    /// the problem and the remedy.
    pub fn parse(text: &str) -> Result<Self, RigError> {
        let source = Source(text);
        let raw: RigText = toml::from_str(text).map_err(|error| RigError {
            line: error.span().map(|span| source.line(span)),
            problem: RigProblem::Toml(error.message().trim_end().to_owned()),
        })?;
        let RigText {
            cables,
            defaults,
            node,
            cable,
            fault,
        } = &raw;

        let is_remote = node.iter().any(|node| node.get_ref().ssh.is_some());
        let kind = cables.unwrap_or(usual_kind(is_remote));
        let fallback = match kind {
            Cables::Emulated => Link::default(),
            Cables::Real => Link::THUNDERBOLT,
        };
        let usual = DefaultsText::default();
        let (defaults, header) = match defaults {
            Some(defaults) => (defaults.get_ref(), defaults.span()),
            None => (&usual, 0..0),
        };
        let link = source.link(
            "[defaults]",
            &defaults.bandwidth,
            &defaults.latency,
            fallback,
        )?;
        let rig = Self {
            nodes: node.iter().map(|node| node.get_ref().clone()).collect(),
            cables: cable
                .iter()
                .map(|c| source.cable(c, link))
                .collect::<Result<_, _>>()?,
            rules: defaults.rules(),
            faults: fault
                .iter()
                .map(|f| source.fault(f))
                .collect::<Result<_, _>>()?,
            kind,
        };
        rig.check_places().map_err(|(place, problem)| match place {
            Place::Rig => problem.into(),
            Place::Rules => source.error(header.clone(), problem),
            Place::Node(n) => source.error(node[n].span(), problem),
            Place::Cable(c) => source.error(cable[c].name.span(), problem),
            Place::End(c, e) => source.error(cable[c].ends[e].span(), problem),
            Place::Fault(f, field) => source.error(fault[f].get_ref().place(field), problem),
        })?;
        Ok(rig)
    }

    /// Writes the rig so that [`Rig::parse`] reads it back unchanged.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a rig is tables of strings")
    }
}

/// The kind of cables of a rig that says nothing about it.
fn usual_kind(is_remote: bool) -> Cables {
    match is_remote {
        true => Cables::Real,
        false => Cables::Emulated,
    }
}

impl End {
    /// Reads `node:device`, split at the last colon: a device name never contains one, a
    /// node name may.
    fn split(text: &str) -> Option<Self> {
        let (node, device) = text.rsplit_once(':')?;
        Some(Self {
            node: node.to_owned(),
            device: device.to_owned(),
        })
    }
}

/// The text being parsed, from which line numbers are computed.
struct Source<'a>(&'a str);

impl Source<'_> {
    fn line(&self, span: Range<usize>) -> usize {
        1 + self
            .0
            .bytes()
            .take(span.start)
            .filter(|byte| *byte == b'\n')
            .count()
    }

    fn error(&self, span: Range<usize>, problem: RigProblem) -> RigError {
        RigError {
            line: Some(self.line(span)),
            problem,
        }
    }

    fn cable(&self, raw: &CableText, defaults: Link) -> Result<Cable, RigError> {
        let name = raw.name.get_ref();
        let [first, second] = &raw.ends;
        let owner = format!("cable '{name}'");
        Ok(Cable {
            name: name.clone(),
            ends: [self.end(name, first)?, self.end(name, second)?],
            link: self.link(&owner, &raw.bandwidth, &raw.latency, defaults)?,
        })
    }

    fn end(&self, cable: &str, raw: &Spanned<String>) -> Result<End, RigError> {
        End::split(raw.get_ref()).ok_or_else(|| {
            let problem = RigProblem::BadEnd {
                cable: cable.to_owned(),
                end: raw.get_ref().clone(),
            };
            self.error(raw.span(), problem)
        })
    }

    fn link(
        &self,
        owner: &str,
        bandwidth: &Option<Spanned<String>>,
        latency: &Option<Spanned<String>>,
        otherwise: Link,
    ) -> Result<Link, RigError> {
        Ok(Link {
            bytes_per_second: self
                .unit(owner, bandwidth, units::parse_rate)?
                .unwrap_or(otherwise.bytes_per_second),
            latency: self
                .unit(owner, latency, units::parse_time)?
                .unwrap_or(otherwise.latency),
        })
    }

    fn unit<T>(
        &self,
        owner: &str,
        raw: &Option<Spanned<String>>,
        read: impl Fn(&str) -> Result<T, UnitError>,
    ) -> Result<Option<T>, RigError> {
        let Some(raw) = raw else { return Ok(None) };
        read(raw.get_ref()).map(Some).map_err(|error| {
            self.error(
                raw.span(),
                RigProblem::Unit {
                    owner: owner.to_owned(),
                    error,
                },
            )
        })
    }
}

impl Serialize for Rig {
    /// The shape of `rig.toml`, every cable with its own link.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct RigShape<'a> {
            #[serde(skip_serializing_if = "Option::is_none")]
            cables: Option<Cables>,
            #[serde(skip_serializing_if = "Option::is_none")]
            defaults: Option<&'a Rules>,
            node: &'a [Node],
            cable: &'a [Cable],
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            fault: &'a [Fault],
        }
        let usual = usual_kind(self.is_remote());
        RigShape {
            cables: (self.kind != usual).then_some(self.kind),
            defaults: (self.kind == Cables::Emulated || self.rules != Rules::default())
                .then_some(&self.rules),
            node: &self.nodes,
            cable: &self.cables,
            fault: &self.faults,
        }
        .serialize(serializer)
    }
}

impl Serialize for Cable {
    /// An entry of `rig.toml`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct CableShape<'a> {
            name: &'a str,
            ends: [String; 2],
            bandwidth: String,
            latency: String,
        }
        CableShape {
            name: &self.name,
            ends: self.ends.each_ref().map(End::to_string),
            bandwidth: units::format_rate(self.link.bytes_per_second),
            latency: units::format_time(self.link.latency),
        }
        .serialize(serializer)
    }
}
