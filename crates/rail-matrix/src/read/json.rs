//! JSON with the position of every error, borrowing from the text.

use std::{borrow::Cow, collections::HashSet, fmt, marker::PhantomData, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{JsonError, MAX_NAME_BYTES, ReadError, text, words};

/// Reads a document.
pub(crate) fn parse<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, ReadError> {
    let text = text::utf8(bytes)?;
    if text.trim_ascii().is_empty() {
        return Err(ReadError::Empty);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = text::short(&error.path().to_string());
        JsonError::new(path, &error.into_inner())
    })?;
    match deserializer.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(JsonError::new(".".to_owned(), &error).into()),
    }
}

impl JsonError {
    pub(super) fn new(path: String, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let written = error.to_string();
        let place = format!(" at line {line} column {column}");
        let what = written.strip_suffix(&place).unwrap_or(&written);
        Self {
            path,
            place: (line > 0).then_some((line, column)),
            what: text::short(&words::ours(what)),
        }
    }

    /// An error that has several possible positions.
    pub(crate) fn at(path: String, what: String) -> Self {
        Self {
            path: text::short(&path),
            place: None,
            what: text::short(&what),
        }
    }
}

/// A string of at most [`MAX_NAME_BYTES`], which is copied only if it has escapes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct Text<'a>(Cow<'a, str>);

impl<'de> From<&'de str> for Text<'de> {
    fn from(text: &'de str) -> Self {
        Self(Cow::Borrowed(text))
    }
}

impl<'a> Text<'a> {
    pub fn of<E: de::Error>(text: impl Into<Cow<'a, str>>) -> Result<Self, E> {
        let text = text.into();
        match text.len() {
            bytes if bytes > MAX_NAME_BYTES => Err(E::custom(format_args!(
                "expected a string of at most {MAX_NAME_BYTES} bytes, found one of {bytes}"
            ))),
            _ => Ok(Self(text)),
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(TextVisitor)
    }
}

struct TextVisitor;

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
        Text::of(text)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
        Text::of(text.to_owned())
    }
}

/// A reader that accepts only an object. A derived reader also accepts a list of the
/// values, in the order of its fields.
#[derive(Debug)]
pub(crate) struct Object<T>(pub T);

impl<T> Deref for Object<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// An object whose keys are data, in order. A duplicate key is an error: otherwise one of
/// its two values would be lost silently.
#[derive(Debug)]
pub(crate) struct Entries<'a, T>(pub Vec<(Text<'a>, T)>);

impl<T> Default for Entries<'_, T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Entries<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for EntriesVisitor<T> {
    type Value = Entries<'de, T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        let mut seen = HashSet::new();
        while let Some(key) = map.next_key::<Text>()? {
            if !seen.insert(key.clone()) {
                let key = text::short(&key);
                return Err(de::Error::custom(format_args!(
                    "the key '{key}' is there twice"
                )));
            }
            let value = map.next_value()?;
            entries.push((key, value));
        }
        Ok(Entries(entries))
    }
}
