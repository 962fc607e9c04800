//! What is measured: lists of values, and every combination of them.

use std::{fmt, num::ParseIntError, ops::RangeInclusive, str::FromStr};

use jaccl::Dtype;
use rail_matrix::MAX_RAILS;
use rail_verify::case::{Backend, Frames, MAX_RANKS, Setting};
use rig::units;

use crate::Op;

/// One point: an operation, and how its ranks are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cell {
    /// How jaccl uses the cables.
    pub backend: Backend,
    /// The number of ranks.
    pub ranks: usize,
    /// The number of cables between each two ranks that jaccl is given.
    pub cables: usize,
    /// The frame mode.
    pub frames: Frames,
    /// The operation.
    pub op: Op,
    /// The length passed to jaccl: that of a rank's input, and for [`Op::SumScatter`]
    /// that of its output.
    pub bytes: usize,
    /// The type of the elements.
    pub dtype: Dtype,
}

impl Cell {
    pub(crate) fn setting(&self) -> Setting {
        Setting {
            backend: self.backend,
            ranks: self.ranks,
            wires: self.cables,
            frames: self.frames,
        }
    }

    /// The number of elements.
    pub fn count(&self) -> usize {
        self.bytes / self.dtype.size()
    }

    /// The buffers of a rank: of one input and of one output.
    pub(crate) fn buffers(&self) -> (usize, usize) {
        let parts = |whole: bool| if whole { self.ranks } else { 1 };
        (
            self.bytes.saturating_mul(parts(self.op == Op::SumScatter)),
            self.bytes.saturating_mul(parts(self.op == Op::AllGather)),
        )
    }
}

/// For people, and for messages about it.
impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cell {
            backend,
            ranks,
            cables,
            frames,
            op,
            bytes,
            dtype,
        } = self;
        write!(
            f,
            "{op} {backend} ranks={ranks} cables={cables} frames={frames}"
        )?;
        match op.has_bytes() {
            true => write!(f, " bytes={bytes} dtype={dtype}"),
            false => Ok(()),
        }
    }
}

/// Values whose combinations are measured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    /// Operations.
    pub op: Vec<Op>,
    /// Backends.
    pub backend: Vec<Backend>,
    /// Numbers of ranks, 2 to 8.
    pub ranks: Vec<usize>,
    /// Numbers of cables between each two ranks, 1 to 4.
    pub cables: Vec<usize>,
    /// Frame modes.
    pub frames: Vec<Frames>,
    /// Lengths passed to jaccl.
    pub bytes: Vec<usize>,
    /// Types of the elements.
    pub dtype: Vec<Dtype>,
}

/// `all_sum` of both backends over 1 to 3 cables in both frame modes, from 4 KiB, the
/// message of a decoded token, to 4 MiB.
impl Default for Cells {
    fn default() -> Self {
        Cells {
            op: vec![Op::AllSum],
            backend: Backend::ALL.to_vec(),
            ranks: vec![2],
            cables: vec![1, 2, 3],
            frames: Frames::ALL.to_vec(),
            bytes: vec![4 << 10, 64 << 10, 1 << 20, 4 << 20],
            dtype: vec![Dtype::Float32],
        }
    }
}

/// Why flags are not cells.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CellsError {
    /// A flag does not accept the value.
    #[error("{flag}: {problem}")]
    Value {
        /// The flag.
        flag: String,
        /// The problem with the value, and what would be right.
        problem: String,
    },
    /// The flag is not one of cells.
    #[error("{0:?} is not a flag that selects cells; these are {flags}", flags = Cells::FLAGS.join(", "))]
    Flag(String),
    /// A length is not whole elements.
    #[error("{bytes} bytes are not a whole number of {dtype} elements of {size} bytes each")]
    Ragged {
        /// The length.
        bytes: usize,
        /// The type.
        dtype: Dtype,
        /// Its size.
        size: usize,
    },
}

impl Cells {
    /// Every flag, as [`Cells::parse`] reads them.
    pub const FLAGS: [&str; 7] = [
        "--op",
        "--backend",
        "--ranks",
        "--cables",
        "--frames",
        "--bytes",
        "--dtype",
    ];

    /// Reads a line of flags, as a patch has it: `--op send --cables 1..3 --bytes 4KiB`. A
    /// flag that is left out has its default, a list has commas, and a size no space.
    ///
    /// # Errors
    /// If a flag is unknown, does not accept its value, or the values do not go together.
    pub fn parse(line: &str) -> Result<Self, CellsError> {
        let mut cells = Cells::default();
        let mut words = line.split_whitespace();
        while let Some(word) = words.next() {
            let (flag, value) = match word.split_once('=') {
                Some((flag, value)) => (flag, Some(value)),
                None => (word, None),
            };
            if !Self::FLAGS.contains(&flag) {
                return Err(CellsError::Flag(flag.to_owned()));
            }
            value
                .or_else(|| words.next())
                .ok_or_else(|| "a value must follow".to_owned())
                .and_then(|value| cells.set(flag, value))
                .map_err(|problem| CellsError::Value {
                    flag: flag.to_owned(),
                    problem,
                })?;
        }
        cells.check()?;
        Ok(cells)
    }

    fn set(&mut self, flag: &str, value: &str) -> Result<(), String> {
        match flag {
            "--op" => self.op = list(value)?,
            "--backend" => self.backend = list(value)?,
            "--ranks" => self.ranks = flat(list::<Ranks>(value)?),
            "--cables" => self.cables = flat(list::<Cables>(value)?),
            "--frames" => self.frames = list(value)?,
            "--bytes" => self.bytes = flat(list::<Sizes>(value)?),
            _ => self.dtype = list(value)?,
        }
        Ok(())
    }

    /// Checks that the values go together.
    ///
    /// # Errors
    /// If a length is not whole elements of a type.
    pub fn check(&self) -> Result<(), CellsError> {
        for (bytes, dtype) in self.each_length() {
            let size = dtype.size();
            if !bytes.is_multiple_of(size) && self.op.iter().any(|op| op.has_bytes()) {
                return Err(CellsError::Ragged { bytes, dtype, size });
            }
        }
        Ok(())
    }

    /// Every length in every type.
    fn each_length(&self) -> impl Iterator<Item = (usize, Dtype)> {
        let of = |dtype: Dtype| self.bytes.iter().map(move |bytes| (*bytes, dtype));
        self.dtype.iter().flat_map(move |dtype| of(*dtype))
    }

    /// Every combination, those of one group of ranks beside each other. A value that
    /// stands in a list twice counts once, and an operation without data is measured
    /// once.
    pub fn cells(&self) -> Vec<Cell> {
        let mut cells = Vec::new();
        for &backend in &self.backend {
            for &ranks in &self.ranks {
                for &cables in &self.cables {
                    for &frames in &self.frames {
                        for &op in &self.op {
                            cells.extend(self.each_length().map(|(bytes, dtype)| Cell {
                                backend,
                                ranks,
                                cables,
                                frames,
                                op,
                                bytes: if op.has_bytes() { bytes } else { 0 },
                                dtype: if op.has_bytes() { dtype } else { Dtype::UInt8 },
                            }));
                        }
                    }
                }
            }
        }
        let mut unique: Vec<Cell> = Vec::with_capacity(cells.len());
        for cell in cells {
            if !unique.contains(&cell) {
                unique.push(cell);
            }
        }
        unique
    }
}

fn list<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<Vec<T>, String> {
    let words = text.split(',').map(|word| word.trim().parse());
    words
        .map(|it| it.map_err(|error: T::Err| error.to_string()))
        .collect()
}

/// The numbers of several ranges, in order.
pub fn flat<T: IntoIterator<Item = usize>>(ranges: impl IntoIterator<Item = T>) -> Vec<usize> {
    ranges.into_iter().flatten().collect()
}

/// One word of a list of numbers.
macro_rules! numbers {
    ($($(#[$doc:meta])* $name:ident, $read:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(Vec<usize>);

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                $read(text).map($name)
            }
        }

        impl IntoIterator for $name {
            type Item = usize;
            type IntoIter = std::vec::IntoIter<usize>;

            fn into_iter(self) -> Self::IntoIter {
                self.0.into_iter()
            }
        }
    )*};
}

numbers! {
    /// A number of ranks, or a range of them, as `2..4`.
    Ranks, |text| counts(text, "ranks", 2..=MAX_RANKS);
    /// A number of cables, or a range of them, as `1..3`.
    Cables, |text| counts(text, "cables", 1..=MAX_RAILS);
    /// A size with or without its unit, or a range of sizes that doubles, as
    /// `4KiB..16MiB`.
    Sizes, sizes;
}

/// The two ends of a range, which include them, or one value twice.
fn ends(text: &str) -> (&str, &str) {
    match text.split_once("..") {
        Some((first, last)) => (first, last.strip_prefix('=').unwrap_or(last)),
        None => (text, text),
    }
}

fn counts(text: &str, what: &str, range: RangeInclusive<usize>) -> Result<Vec<usize>, String> {
    let (first, last) = ends(text);
    let read = |text: &str| -> Result<usize, ParseIntError> { text.trim().parse() };
    match (read(first), read(last)) {
        (Ok(first), Ok(last))
            if first <= last && range.contains(&first) && range.contains(&last) =>
        {
            Ok((first..=last).collect())
        }
        _ => Err(format!(
            "expected {} to {} {what}, as 2 or 2..3, not {text:?}",
            range.start(),
            range.end()
        )),
    }
}

fn sizes(text: &str) -> Result<Vec<usize>, String> {
    let (first, last) = ends(text);
    let read = |text: &str| -> Result<usize, String> {
        let bytes = units::parse_size(text).map_err(|error| error.to_string())?;
        usize::try_from(bytes).map_err(|_| format!("'{text}' does not fit this machine"))
    };
    let (first, last) = (read(first)?, read(last)?);
    if first > last || (first == 0 && last > 0) {
        return Err(format!(
            "the range '{text}' doubles from its first size to its last; write the smaller one \
             first, and not 0"
        ));
    }
    let doubled = std::iter::successors(Some(first), |size| size.checked_mul(2));
    let mut sizes: Vec<usize> = doubled.take_while(|size| *size < last).collect();
    if first == 0 {
        sizes.clear();
    }
    sizes.push(last);
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_a_line_replace_the_defaults() {
        let cells = Cells::parse(
            "--op all_sum,send --backend ring --ranks 2..3 --cables=3 --bytes 8192,1MiB..4MiB \
             --frames small --dtype bf16",
        )
        .expect("cells");
        assert_eq!(cells.op, [Op::AllSum, Op::Send]);
        assert_eq!(cells.ranks, [2, 3]);
        assert_eq!(cells.cables, [3]);
        assert_eq!(cells.bytes, [8192, 1 << 20, 2 << 20, 4 << 20]);
        assert_eq!(cells.dtype, [Dtype::BFloat16]);
        assert_eq!(cells.cells().len(), 2 * 2 * 4);
        assert_eq!(Cells::parse(""), Ok(Cells::default()));
    }

    #[test]
    fn what_cannot_be_read_is_named_with_what_can() {
        for (line, part) in [
            (
                "--op receive",
                "--op: unknown op \"receive\"; the values are send",
            ),
            ("--wires 3", "\"--wires\" is not a flag"),
            ("--cables 5", "expected 1 to 4 cables"),
            ("--cables 0", "expected 1 to 4 cables"),
            ("--cables 3..1", "expected 1 to 4 cables"),
            ("--ranks 1", "expected 2 to 8 ranks"),
            ("--bytes 4kB..1kB", "the smaller one first"),
            ("--bytes 0..1kB", "and not 0"),
            ("--bytes many", "16MiB"),
            ("--bytes 3", "3 bytes are not a whole number of f32"),
            ("--dtype float", "bf16"),
            ("--backend torus", "mesh"),
            ("--op", "a value must follow"),
        ] {
            let error = Cells::parse(line).expect_err(line).to_string();
            assert!(error.contains(part), "{line}: {error}");
        }
    }

    #[test]
    fn a_range_of_sizes_doubles_up_to_its_end() {
        let read = |text: &str| text.parse::<Sizes>().map(|it| it.0);
        assert_eq!(read("0"), Ok(vec![0]));
        assert_eq!(read("1KiB..4KiB"), Ok(vec![1024, 2048, 4096]));
        assert_eq!(read("1KiB..=3000"), Ok(vec![1024, 2048, 3000]));
        assert_eq!(read("7..7"), Ok(vec![7]));
    }

    #[test]
    fn what_moves_no_data_is_measured_once() {
        let cells =
            Cells::parse("--op barrier --cables 1,1 --frames big --bytes 3,4").expect("cells");
        let cells = cells.cells();
        assert_eq!(cells.len(), Backend::ALL.len());
        assert!(cells.iter().all(|cell| cell.bytes == 0));
    }
}
