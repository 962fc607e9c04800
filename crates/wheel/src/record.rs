//! RECORD: every file of a wheel with its hash and size.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// One line of a RECORD.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub path: String,
    /// As it is written: `sha256=` and the hash in URL-safe base64. Empty for RECORD itself.
    pub hash: String,
    pub bytes: Option<u64>,
}

impl Row {
    pub fn of(path: &str, content: &[u8]) -> Self {
        Row {
            path: path.to_owned(),
            hash: hash(content),
            bytes: Some(content.len() as u64),
        }
    }

    /// Whether these are the bytes that the line names. Only SHA-256 is known; the older
    /// hashes that the specification allows are written by no tool today.
    pub fn is_of(&self, content: &[u8]) -> bool {
        self.hash == hash(content) && self.bytes.is_none_or(|it| it == content.len() as u64)
    }
}

fn hash(content: &[u8]) -> String {
    format!(
        "sha256={}",
        BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(content))
    )
}

/// Reads a RECORD; an error in words.
pub(crate) fn parse(text: &[u8]) -> Result<Vec<Row>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .from_reader(text);
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| error.to_string())?;
        let [path, hash, bytes] = [0, 1, 2].map(|column| row.get(column).unwrap_or_default());
        if path.is_empty() || row.len() != 3 {
            return Err(format!(
                "a line has not three columns: {:?}",
                row.as_slice()
            ));
        }
        let bytes = match bytes {
            "" => None,
            number => Some(
                number
                    .parse()
                    .map_err(|_| format!("{path}: size {number}"))?,
            ),
        };
        rows.push(Row {
            path: path.to_owned(),
            hash: hash.to_owned(),
            bytes,
        });
    }
    Ok(rows)
}

/// Writes a RECORD.
pub(crate) fn text(rows: &[Row]) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new()
        .has_headers(false)
        .from_writer(Vec::new());
    for Row { path, hash, bytes } in rows {
        let bytes = bytes.map(|it| it.to_string()).unwrap_or_default();
        writer
            .write_record([path, hash, &bytes])
            .expect("memory takes every line");
    }
    writer.into_inner().expect("memory takes every line")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let rows = [
            Row::of("mlx/lib/libjaccl.dylib", b"library"),
            Row::of("a,b \"c\".py", b""),
            Row {
                path: "x.dist-info/RECORD".into(),
                hash: String::new(),
                bytes: None,
            },
        ];
        let text = text(&rows);
        assert_eq!(parse(&text).expect("a RECORD"), rows);
        assert!(rows[0].is_of(b"library") && !rows[0].is_of(b"Library"));
    }

    /// The hash that the official wheel has for its `mlx/py.typed`, a line feed.
    #[test]
    fn hashes_are_written_as_pip_writes_them() {
        assert_eq!(
            hash(b"\n"),
            "sha256=AbpHGcgLb-kRsJGnwFEktk7uzpZOCcBY74-YBdrKVGs"
        );
    }

    #[test]
    fn damaged_lines_are_refused() {
        for text in ["a,b\n", "a,b,c\n", ",sha256=x,1\n"] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
