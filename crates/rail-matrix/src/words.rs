//! Lists and plurals in sentences.

use std::fmt;

/// The word as one thing or as several.
pub(crate) fn plural(count: usize, word: &str) -> String {
    if count == 1 {
        word.to_owned()
    } else {
        format!("{word}s")
    }
}

/// Up to four names in quotes, and the number of others.
pub(crate) fn listed(names: &[impl fmt::Display]) -> String {
    some_of(names, 4)
}

/// Up to `most` names in quotes, and the number of others.
pub(crate) fn some_of(names: &[impl fmt::Display], most: usize) -> String {
    let shown = names.iter().take(most).map(|name| format!("'{name}'"));
    let shown = joined(shown, ", ");
    match names.len() {
        all if all <= most => shown,
        all => format!("{shown} and {} more", all - most),
    }
}

/// The parts with `between` after every one but the last.
pub(crate) fn joined(parts: impl Iterator<Item = String>, between: &str) -> String {
    parts.collect::<Vec<_>>().join(between)
}

/// A sentence on one line, whatever the names in it contain: control characters are
/// escaped, so that they neither begin another line nor reach a terminal.
pub fn one_line(sentence: &str) -> String {
    let escape = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    sentence.chars().map(escape).collect()
}
