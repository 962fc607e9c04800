//! Reads GGUF, the container of llama.cpp, as far as `smollm2` needs it.
//!
//! Layout (`docs/gguf.md` of ggml): magic, version 3, the numbers of tensors and of pairs;
//! the pairs of the metadata; for each tensor its name, dimensions (the fastest first), type
//! and offset; then the tensors' bytes, aligned. All numbers are little-endian.

pub mod blocks;

use std::collections::BTreeMap;

const MAGIC: &[u8] = b"GGUF";
const VERSION: u32 = 3;
/// The alignment without a pair that names another one.
const ALIGNMENT: usize = 32;

/// Why bytes are no GGUF file that this crate can use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// It does not begin as GGUF does.
    #[error("it is not GGUF version {VERSION}")]
    Foreign,
    /// It ends too early, or a length in it is wrong.
    #[error("it ends within {what}")]
    Short {
        /// What was being read.
        what: &'static str,
    },
    /// A name or a text is not UTF-8.
    #[error("{what} is not UTF-8")]
    NotText {
        /// What was being read.
        what: &'static str,
    },
    /// A value or a tensor has a type that this crate does not read.
    #[error("{name} has the unknown type {code}")]
    UnknownType {
        /// The key of the pair, or the tensor.
        name: String,
        /// The number that GGUF gives the type.
        code: u32,
    },
    /// A pair or a tensor that is needed is absent or of another type.
    #[error("there is no {name} of the type and shape that is needed")]
    Missing {
        /// The key or the name.
        name: String,
    },
}

type Result<T, E = GgufError> = std::result::Result<T, E>;

/// A value of the metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any integer type, and booleans as 0 and 1.
    Integer(i64),
    /// 32 or 64 bits.
    Float(f64),
    /// A text.
    Text(String),
    /// An array of one type.
    List(Vec<Value>),
}

/// The type of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TensorType {
    /// 32-bit IEEE floats.
    F32,
    /// Blocks of 32 elements: scale, minimum, and four bits an element.
    Q4_1,
    /// Blocks of 32 elements: scale, and a signed byte an element.
    Q8_0,
}

impl TensorType {
    fn of_code(code: u32) -> Option<Self> {
        match code {
            0 => Some(Self::F32),
            3 => Some(Self::Q4_1),
            8 => Some(Self::Q8_0),
            _ => None,
        }
    }

    /// Elements and bytes of a block.
    const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::Q4_1 => (blocks::ELEMENTS, blocks::Q4_1_BYTES),
            Self::Q8_0 => (blocks::ELEMENTS, blocks::Q8_0_BYTES),
        }
    }
}

/// A tensor in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GgufTensor<'a> {
    /// The type of its elements.
    pub kind: TensorType,
    /// Outputs of a matrix; 1 for a vector.
    pub rows: usize,
    /// Inputs of a matrix, or elements of a vector.
    pub columns: usize,
    /// Its bytes, row after row.
    pub bytes: &'a [u8],
}

/// A file in memory.
#[derive(Debug, Clone, PartialEq)]
pub struct Gguf<'a> {
    metadata: BTreeMap<String, Value>,
    tensors: BTreeMap<String, GgufTensor<'a>>,
}

impl<'a> Gguf<'a> {
    /// Reads a whole file.
    ///
    /// # Errors
    /// It is another format or another version, a tensor has a type that is not in
    /// [`TensorType`] or more than two dimensions, or a length leads beyond the end.
    pub fn parse(file: &'a [u8]) -> Result<Self> {
        let mut reader = Reader {
            rest: file,
            what: "its head",
        };
        if reader.take(MAGIC.len())? != MAGIC || reader.u32()? != VERSION {
            return Err(GgufError::Foreign);
        }
        let (tensors, pairs) = (reader.length()?, reader.length()?);
        reader.what = "its metadata";
        let mut metadata = BTreeMap::new();
        for _ in 0..pairs {
            let key = reader.text()?;
            let code = reader.u32()?;
            let value = reader.value(&key, code)?;
            metadata.insert(key, value);
        }
        reader.what = "its list of tensors";
        let mut infos = Vec::new();
        for _ in 0..tensors {
            infos.push(Info::read(&mut reader)?);
        }
        let alignment = match metadata.get("general.alignment") {
            Some(Value::Integer(it)) => usize::try_from(*it).unwrap_or_default().max(1),
            _ => ALIGNMENT,
        };
        let start = (file.len() - reader.rest.len()).next_multiple_of(alignment);
        let tensors = infos
            .into_iter()
            .map(|info| info.find(file, start))
            .collect::<Result<_>>()?;
        Ok(Gguf { metadata, tensors })
    }

    /// A text of the metadata.
    ///
    /// # Errors
    /// [`GgufError::Missing`], as for all that follow.
    pub fn text(&self, key: &str) -> Result<&str> {
        match self.metadata.get(key) {
            Some(Value::Text(text)) => Ok(text),
            _ => Err(missing(key)),
        }
    }

    /// A number of the metadata that is not negative.
    ///
    /// # Errors
    /// [`GgufError::Missing`].
    pub fn count(&self, key: &str) -> Result<usize> {
        let count = match self.metadata.get(key) {
            Some(Value::Integer(it)) => usize::try_from(*it).ok(),
            _ => None,
        };
        count.ok_or_else(|| missing(key))
    }

    /// A float of the metadata.
    ///
    /// # Errors
    /// [`GgufError::Missing`].
    pub fn float(&self, key: &str) -> Result<f64> {
        match self.metadata.get(key) {
            Some(Value::Float(it)) => Ok(*it),
            _ => Err(missing(key)),
        }
    }

    /// A list of texts of the metadata.
    ///
    /// # Errors
    /// [`GgufError::Missing`].
    pub fn texts(&self, key: &str) -> Result<Vec<&str>> {
        self.list(key, |value| match value {
            Value::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// A list of integers of the metadata.
    ///
    /// # Errors
    /// [`GgufError::Missing`].
    pub fn integers(&self, key: &str) -> Result<Vec<i64>> {
        self.list(key, |value| match value {
            Value::Integer(it) => Some(*it),
            _ => None,
        })
    }

    fn list<'s, T>(&'s self, key: &str, of: impl Fn(&'s Value) -> Option<T>) -> Result<Vec<T>> {
        let list = match self.metadata.get(key) {
            Some(Value::List(values)) => values.iter().map(of).collect(),
            _ => None,
        };
        list.ok_or_else(|| missing(key))
    }

    /// A tensor.
    ///
    /// # Errors
    /// [`GgufError::Missing`].
    pub fn tensor(&self, name: &str) -> Result<GgufTensor<'a>> {
        self.tensors.get(name).copied().ok_or_else(|| missing(name))
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

fn missing(name: &str) -> GgufError {
    GgufError::Missing { name: name.into() }
}

/// What the list says of a tensor.
struct Info {
    name: String,
    dimensions: Vec<usize>,
    kind: TensorType,
    offset: usize,
}

impl Info {
    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let name = reader.text()?;
        let dimensions = (0..reader.u32()?)
            .map(|_| reader.length())
            .collect::<Result<Vec<_>>>()?;
        let code = reader.u32()?;
        let offset = reader.length()?;
        match TensorType::of_code(code) {
            Some(kind) => Ok(Info {
                name,
                dimensions,
                kind,
                offset,
            }),
            None => Err(GgufError::UnknownType { name, code }),
        }
    }

    fn find(self, file: &[u8], start: usize) -> Result<(String, GgufTensor<'_>)> {
        let (columns, rows) = match self.dimensions[..] {
            [columns] => (columns, 1),
            [columns, rows] => (columns, rows),
            _ => return Err(missing(&self.name)),
        };
        let (elements, bytes) = self.kind.block();
        if !columns.is_multiple_of(elements) {
            return Err(missing(&self.name));
        }
        let length = (columns / elements)
            .checked_mul(bytes)
            .and_then(|row| row.checked_mul(rows));
        let first = start.checked_add(self.offset);
        let range = first.zip(length).and_then(|(first, length)| {
            let end = first.checked_add(length)?;
            file.get(first..end)
        });
        let short = GgufError::Short {
            what: "the bytes of a tensor",
        };
        let tensor = GgufTensor {
            kind: self.kind,
            rows,
            columns,
            bytes: range.ok_or(short)?,
        };
        Ok((self.name, tensor))
    }
}

/// Takes values from the front of bytes.
struct Reader<'a> {
    rest: &'a [u8],
    /// What is being read, for an error.
    what: &'static str,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let what = self.what;
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(GgufError::Short { what })?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// A count, a length or an offset.
    fn length(&mut self) -> Result<usize> {
        let what = self.what;
        usize::try_from(u64::from_le_bytes(self.array()?)).map_err(|_| GgufError::Short { what })
    }

    fn text(&mut self) -> Result<String> {
        let (what, length) = (self.what, self.length()?);
        let text = std::str::from_utf8(self.take(length)?);
        Ok(text.map_err(|_| GgufError::NotText { what })?.to_owned())
    }

    fn value(&mut self, key: &str, code: u32) -> Result<Value> {
        Ok(match code {
            0 | 7 => Value::Integer(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Integer(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Integer(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Integer(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Integer(u32::from_le_bytes(self.array()?).into()),
            5 => Value::Integer(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            8 => Value::Text(self.text()?),
            9 => {
                let (code, length) = (self.u32()?, self.length()?);
                // An array of arrays could be as deep as the file is long, and none is needed.
                if code == 9 {
                    let name = key.to_owned();
                    return Err(GgufError::UnknownType { name, code });
                }
                // Not reserved by the length, which may be wrong.
                let values = (0..length).map(|_| self.value(key, code));
                Value::List(values.collect::<Result<_>>()?)
            }
            10 | 11 => Value::Integer(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            code => {
                let name = key.to_owned();
                return Err(GgufError::UnknownType { name, code });
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
    }

    /// A file with three pairs and a vector of two floats.
    fn file() -> Vec<u8> {
        let mut file = b"GGUF".to_vec();
        file.extend(3_u32.to_le_bytes());
        file.extend(1_u64.to_le_bytes());
        file.extend(3_u64.to_le_bytes());
        file.extend([text("count"), 4_u32.to_le_bytes().into(), vec![7, 0, 0, 0]].concat());
        file.extend([text("name"), 8_u32.to_le_bytes().into(), text("a")].concat());
        let list = [9_u32.to_le_bytes(), 8_u32.to_le_bytes()].concat();
        let length = 2_u64.to_le_bytes().into();
        file.extend([text("list"), list, length, text("x"), text("yz")].concat());
        file.extend([text("norm.weight"), 1_u32.to_le_bytes().into()].concat());
        file.extend(2_u64.to_le_bytes());
        file.extend(0_u32.to_le_bytes());
        file.extend(0_u64.to_le_bytes());
        file.resize(file.len().next_multiple_of(32), 0);
        file.extend([1_f32, -2.0].map(f32::to_le_bytes).concat());
        file
    }

    #[test]
    fn a_file_is_read() {
        let file = file();
        let gguf = Gguf::parse(&file).unwrap();
        assert_eq!(gguf.count("count"), Ok(7));
        assert_eq!(gguf.text("name"), Ok("a"));
        assert_eq!(gguf.texts("list"), Ok(vec!["x", "yz"]));
        let norm = gguf.tensor("norm.weight").unwrap();
        assert_eq!(
            (norm.kind, norm.rows, norm.columns),
            (TensorType::F32, 1, 2)
        );
        assert_eq!(blocks::row(&norm, 0), [1.0, -2.0]);
        assert_eq!(gguf.names().collect::<Vec<_>>(), ["norm.weight"]);
        assert_eq!(gguf.count("name"), Err(missing("name")));
        assert_eq!(gguf.tensor("other"), Err(missing("other")));
    }

    #[test]
    fn a_file_that_is_cut_off_anywhere_is_refused() {
        let file = file();
        for length in 0..file.len() {
            Gguf::parse(&file[..length]).unwrap_err();
        }
        assert_eq!(Gguf::parse(b"GGUF\x02\0\0\0"), Err(GgufError::Foreign));
    }

    proptest! {
        /// A wrong byte may make lengths of terabytes.
        #[test]
        fn no_file_makes_the_reader_fail_otherwise(at in 0_usize..180, byte: u8) {
            let mut file = file();
            let at = at % file.len();
            file[at] = byte;
            let _ = Gguf::parse(&file);
        }
    }
}
