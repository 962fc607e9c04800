//! Reports that are read again.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Error, Value};

use super::SCHEMA;

/// The schemas that can be read. A row of the first one lacks what the second one added.
const SCHEMAS: [&str; 2] = ["mlx-rails/bench/1", SCHEMA];

/// Why a text is no report.
#[derive(Debug)]
pub enum Unread {
    /// It is no JSON, or lacks what is needed.
    Malformed(Error),
    /// Its schema is another one: this one, or `none`.
    Schema(String),
}

/// Reads the parts of a report that the caller has types for.
///
/// # Errors
/// If the text is no report, or one of a schema that cannot be read.
pub fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, Unread> {
    let value: Value = serde_json::from_slice(text).map_err(Unread::Malformed)?;
    // Another schema may lack fields, so it is looked at first.
    let schema = value.get("schema").and_then(Value::as_str);
    let schema = schema.unwrap_or("none");
    match SCHEMAS.contains(&schema) {
        true => serde_json::from_value(value).map_err(Unread::Malformed),
        false => Err(Unread::Schema(schema.to_owned())),
    }
}

/// A value as a report has it. By way of text, because there a float of 32 bits is a decimal
/// number, and as a [`Value`] one of 64 bits.
///
/// # Panics
/// The value is no plain data.
pub fn as_reported(value: &impl Serialize) -> Value {
    let text = serde_json::to_string(value).expect("plain data");
    serde_json::from_str(&text).expect("what was just written")
}

/// A report's model without the path of its folder, which is another one on each machine.
pub(crate) fn without_path(model: &Value) -> Value {
    let mut model = model.clone();
    if let Some(fields) = model.as_object_mut() {
        fields.remove("path");
    }
    model
}

/// Whether the model of a report is this one, as a report has it: the same name and content,
/// wherever a folder is. An earlier version named no content, and then all else decides.
pub fn is_same_model(then: &Value, now: &Value) -> bool {
    let mut now = without_path(now);
    if let (None, Some(fields)) = (then.get("digest"), now.as_object_mut()) {
        fields.remove("digest");
    }
    without_path(then) == now
}
