//! A cell of a device matrix, in the three forms that `parse_devices_json` in `jaccl.cpp`
//! accepts.

use std::{fmt, slice};

use serde::{
    Deserialize, Deserializer,
    de::{self, SeqAccess, Visitor, value::SeqAccessDeserializer},
};

use super::json::Text;

/// The devices on one rank towards another.
#[derive(Debug)]
pub(crate) enum Cell<'a> {
    /// `null`.
    None,
    /// The name of one device.
    One(Text<'a>),
    /// A list of any number of devices.
    Several(Vec<Text<'a>>),
}

impl<'a> Cell<'a> {
    pub fn devices(&self) -> &[Text<'a>] {
        match self {
            Self::None => &[],
            Self::One(device) => slice::from_ref(device),
            Self::Several(devices) => devices,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Cell<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CellVisitor)
    }
}

struct CellVisitor;

impl<'de> Visitor<'de> for CellVisitor {
    type Value = Cell<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a device or a list of devices")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Cell<'de>, E> {
        Ok(Cell::None)
    }

    fn visit_borrowed_str<E: de::Error>(self, device: &'de str) -> Result<Cell<'de>, E> {
        Text::of(device).map(Cell::One)
    }

    fn visit_str<E: de::Error>(self, device: &str) -> Result<Cell<'de>, E> {
        Text::of(device.to_owned()).map(Cell::One)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, devices: A) -> Result<Cell<'de>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(devices)).map(Cell::Several)
    }
}
