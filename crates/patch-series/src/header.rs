//! The fields at the head of a patch file, as DEP-3 writes them.

use serde::{Serialize, Serializer};

/// What ends the fields and starts the diff.
const SEPARATOR: &str = "---";

/// The fields before a diff, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Header {
    pub(crate) fields: Vec<Field>,
    /// Lines that neither are a field nor continue one, by number.
    pub(crate) stray: Vec<usize>,
}

/// One field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// Its lines, joined by newlines.
    pub(crate) value: String,
    /// Its first line in the file, from 1.
    pub(crate) line: usize,
}

impl Header {
    /// Reads the fields of a patch file's text. A line that starts with a space or a
    /// TAB continues the field above it; `Subject` is another name of `Description`,
    /// and `From` of `Author`.
    pub fn parse(text: &str) -> Self {
        let mut header = Header::default();
        for (number, line) in (1..).zip(split(text).0.lines()) {
            match (line.strip_prefix([' ', '\t']), header.fields.last_mut()) {
                (Some(more), Some(field)) => {
                    field.value.push('\n');
                    field.value.push_str(more);
                }
                (None, _) if line.contains(':') => {
                    let (name, value) = line.split_once(':').unwrap_or_default();
                    header.fields.push(Field {
                        name: name.to_owned(),
                        value: value.trim().to_owned(),
                        line: number,
                    });
                }
                _ => header.stray.push(number),
            }
        }
        header
    }

    /// A field's value, its lines joined by newlines; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.field(name).map_or("", |field| &field.value)
    }

    /// The lines of a field's value with their numbers in the file.
    pub fn lines(&self, name: &str) -> impl Iterator<Item = (usize, &str)> {
        self.field(name)
            .into_iter()
            .flat_map(|field| (field.line..).zip(field.value.lines()))
    }

    pub(crate) fn field(&self, name: &str) -> Option<&Field> {
        let wanted = canonical(name);
        self.fields
            .iter()
            .find(|field| canonical(&field.name) == wanted)
    }
}

/// The name that DEP-3 gives first to a field of two names.
pub(crate) fn canonical(name: &str) -> &str {
    match name {
        "Subject" => "Description",
        "From" => "Author",
        other => other,
    }
}

/// As an object of names and values.
impl Serialize for Header {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.fields.iter().map(|f| (&f.name, &f.value)))
    }
}

/// A patch file's text as its head and its diff, without what is between them.
pub(crate) fn split(text: &str) -> (&str, &str) {
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if line.trim_end() == SEPARATOR {
            return (&text[..start], &text[start + line.len()..]);
        }
        if line.starts_with("--- ") || line.starts_with("diff ") {
            break;
        }
        start += line.len();
    }
    text.split_at(start)
}

/// A patch file's text from its head and its diff.
pub(crate) fn join(head: &str, diff: &str) -> String {
    format!("{head}{SEPARATOR}\n{diff}")
}

/// The head with another value in a field of one line.
pub(crate) fn replace(head: &str, name: &str, value: &str) -> String {
    let start = format!("{name}:");
    head.lines()
        .map(|line| match line.starts_with(&start) {
            true => format!("{start} {value}\n"),
            false => format!("{line}\n"),
        })
        .collect()
}
