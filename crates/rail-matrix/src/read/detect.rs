//! Detects the kind of a description.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use super::{Input, JsonError, ReadError, ReportKind, text};

/// Detects the kind of a description from its content.
///
/// # Errors
/// If the kind is unknown, or the description cannot be read far enough.
pub fn detect(bytes: &[u8]) -> Result<Input, ReadError> {
    let text = text::utf8(bytes)?;
    let start = text.trim_ascii_start();
    if start.is_empty() {
        return Err(ReadError::Empty);
    }
    if !start.starts_with('{') {
        if text.lines().any(begins_rig) {
            return Ok(Input::Rig);
        }
        if text.lines().any(|line| line.starts_with("Hardware Port: ")) {
            return Ok(Input::Reports);
        }
        if let Some(command) = text_of(start) {
            return Err(ReadError::NotJson { command });
        }
    }
    let shape = shape(bytes)?;
    if let Some(kind) = shape.kind() {
        return Ok(kind);
    }
    let found = match shape {
        Shape::Object(_) => "a JSON object with no key of any of them",
        Shape::List { first: Some(_) } => "a JSON list of objects with no key of any of them",
        Shape::List { first: None } => "a JSON list, such as a device matrix, which names no nodes",
        Shape::Other => "neither a JSON object or list nor a TOML with a [[node]]",
    };
    Err(ReadError::UnknownKind { found })
}

/// The command that prints as JSON what this text says, if it is the text of such a tool.
fn text_of(start: &str) -> Option<&'static str> {
    let report = match start {
        _ if start.starts_with("Thunderbolt/USB4:") => ReportKind::SystemProfiler,
        _ if start.starts_with("Thunderbolt:") => ReportKind::SystemProfiler,
        _ if start.starts_with("1: lo: <") => ReportKind::IpAddress,
        _ => return None,
    };
    Some(report.command())
}

/// Whether a line can only occur in a rig.
fn begins_rig(line: &str) -> bool {
    let line = line.trim_ascii();
    ["[[node]]", "[[cable]]", "[[fault]]", "[defaults]"]
        .iter()
        .any(|header| line.starts_with(header))
}

/// The top level of a JSON document.
pub(super) enum Shape {
    Object(Keys),
    List {
        /// The keys of its first element, if that is an object.
        first: Option<Keys>,
    },
    /// Neither, or not JSON.
    Other,
}

/// A key, if it indicates a kind.
#[derive(Deserialize)]
#[serde(field_identifier)]
enum Key {
    #[serde(rename = "topology")]
    State,
    #[serde(rename = "connections", alias = "nodes")]
    Topology,
    #[serde(rename = "hosts", alias = "ssh", alias = "rdma")]
    Hostfile,
    #[serde(rename = "SPThunderboltDataType", alias = "ifname")]
    Report,
    #[serde(other)]
    Other,
}

/// The keys of an object that indicate a kind.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Keys {
    /// The kind that the first such key indicates.
    kind: Option<Input>,
    /// Whether there is a `topology`: a whole state of exo's.
    pub topology: bool,
}

impl Keys {
    fn see(&mut self, key: &Key) {
        let kind = match key {
            Key::State | Key::Topology => Input::Exo,
            Key::Hostfile => Input::Hostfile,
            Key::Report => Input::Reports,
            Key::Other => return,
        };
        self.topology |= matches!(key, Key::State);
        self.kind.get_or_insert(kind);
    }

    fn see_all<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key()? {
            self.see(&key);
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// The top level of a JSON document, as far as it can be read. The kind's own parser
/// reports later errors better, because it knows what it expected there.
pub(super) fn shape(bytes: &[u8]) -> Result<Shape, ReadError> {
    let text = text::utf8(bytes)?;
    let mut shape = Shape::Other;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let outcome = deserializer.deserialize_any(TopLevel(&mut shape));
    match (&shape, outcome) {
        (shape, Err(error)) if !error.is_data() && shape.kind().is_none() && begins_json(text) => {
            Err(JsonError::new(".".to_owned(), &error).into())
        }
        _ => Ok(shape),
    }
}

impl Shape {
    fn kind(&self) -> Option<Input> {
        match self {
            Self::Object(keys) | Self::List { first: Some(keys) } => keys.kind,
            Self::List { first: None } | Self::Other => None,
        }
    }
}

fn begins_json(text: &str) -> bool {
    text.trim_ascii_start().starts_with(['{', '['])
}

struct TopLevel<'a>(&'a mut Shape);

impl<'de> Visitor<'de> for TopLevel<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object or a list")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let mut keys = Keys::default();
        let outcome = keys.see_all(map);
        *self.0 = Shape::Object(keys);
        outcome
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut first = None;
        let outcome = list.next_element_seed(First(&mut first));
        *self.0 = Shape::List { first };
        outcome?;
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

/// Reads the keys of a list's first element, if that is an object.
struct First<'a>(&'a mut Option<Keys>);

impl<'de> DeserializeSeed<'de> for First<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for First<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        self.0.insert(Keys::default()).see_all(map)
    }
}
