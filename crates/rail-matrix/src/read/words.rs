//! serde's messages in JSON's terms.

use std::borrow::Cow;

use super::text;

/// The problem, without the names of Rust types. serde names first what it found.
pub(super) fn ours(what: &str) -> String {
    let mismatch = ["invalid type: ", "invalid value: ", "invalid length "]
        .into_iter()
        .find_map(|prefix| what.strip_prefix(prefix)?.rsplit_once(", expected "));
    match mismatch {
        Some((found, expected)) => {
            let found = text::short(self::found(found));
            format!("expected {}, found {found}", self::expected(expected))
        }
        None if what.starts_with("recursion limit") => "nested too deep".to_owned(),
        None if what.starts_with("EOF while") => format!("the JSON is cut off ({what})"),
        None => what.to_owned(),
    }
}

fn expected(what: &str) -> Cow<'_, str> {
    if let Some(elements) = what.strip_prefix("a tuple of size ") {
        return format!("a list of {elements}").into();
    }
    match what {
        "a sequence" => "a list",
        "a map" => "an object",
        "a boolean" => "true or false",
        "u8" => "a whole number up to 255",
        "u32" | "usize" => "a whole number",
        _ if what.starts_with("struct ") => "an object",
        _ => what,
    }
    .into()
}

fn found(what: &str) -> &str {
    let quoted = ["integer `", "floating point `", "boolean `"]
        .into_iter()
        .find_map(|kind| what.strip_prefix(kind)?.strip_suffix('`'));
    match what {
        "sequence" => "a list",
        "map" => "an object",
        "unit value" => "null",
        _ => quoted.unwrap_or_else(|| what.strip_prefix("string ").unwrap_or(what)),
    }
}
