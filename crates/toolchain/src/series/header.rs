//! The fields at the head of a patch file, as DEP-3 writes them.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

/// What ends the fields and starts the diff.
pub(crate) const SEPARATOR: &str = "---";

/// The fields before a diff, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    fields: BTreeMap<String, Field>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Field {
    value: String,
    /// Its first line in the file, from 1.
    line: usize,
}

impl Header {
    /// Reads the fields of a patch file's text. A line that starts with a space
    /// continues the field above it.
    pub fn parse(text: &str) -> Self {
        let mut fields: BTreeMap<String, Field> = BTreeMap::new();
        let mut last = None;
        for (index, line) in head(text).enumerate() {
            if let Some(more) = line.strip_prefix(' ') {
                if let Some(field) = last.as_ref().and_then(|name| fields.get_mut(name)) {
                    field.value.push('\n');
                    field.value.push_str(more);
                }
            } else if let Some((name, value)) = line.split_once(':') {
                let value = value.trim().to_owned();
                let line = index + 1;
                fields.insert(name.to_owned(), Field { value, line });
                last = Some(name.to_owned());
            }
        }
        Header { fields }
    }

    /// A field's value, its lines joined by newlines; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", |field| &field.value)
    }

    /// The lines of a field's value with their numbers in the file.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = (usize, &str)> {
        self.fields
            .get(name)
            .into_iter()
            .flat_map(|field| (field.line..).zip(field.value.lines()))
    }
}

/// As an object of names and values.
impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|(name, field)| (name, &field.value)))
    }
}

/// The lines before the diff.
fn head(text: &str) -> impl Iterator<Item = &str> {
    text.lines().take_while(|line| {
        *line != SEPARATOR && !line.starts_with("--- ") && !line.starts_with("diff ")
    })
}
