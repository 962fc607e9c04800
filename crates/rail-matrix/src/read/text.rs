//! Conversion from bytes to text, and shortening of text for messages.

use super::{MAX_BYTES, ReadError};

/// The bytes as text, without a byte order mark.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, ReadError> {
    at_most(MAX_BYTES, bytes)?;
    let text = std::str::from_utf8(bytes).map_err(|error| ReadError::NotUtf8 {
        offset: error.valid_up_to(),
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// Refuses more bytes than the limit.
pub(super) fn at_most(limit: usize, bytes: &[u8]) -> Result<(), ReadError> {
    match bytes.len() {
        bytes if bytes > limit => Err(ReadError::TooLarge { bytes, limit }),
        _ => Ok(()),
    }
}

/// As much of a text as a message can hold.
pub(super) fn short(text: &str) -> String {
    const CHARS: usize = 200;
    match text.char_indices().nth(CHARS) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
