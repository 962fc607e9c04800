//! Memory between guard zones.

use std::fmt::Write;

use crate::Dtype;

/// Bytes on either side: one small frame, since a write beyond a buffer is often a whole
/// frame.
const GUARD: usize = 4096;

/// Expected bytes are made and compared in chunks of this size, so that checking needs
/// little memory. A multiple of every element's size.
const BLOCK: usize = 1 << 16;

/// The result of a check.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    Wrong(String),
    Overrun(String),
}

/// Bytes aligned for every dtype, between guard zones whose fill differs per rank: a
/// message that lands in the wrong place cannot look like an intact guard.
pub struct Guarded {
    words: Vec<u64>,
    bytes: usize,
    fill: u8,
    what: &'static str,
}

impl Guarded {
    /// `what` names the memory in reports.
    pub fn new(what: &'static str, bytes: usize, rank: usize) -> Self {
        let fill = 0xa0 | (rank as u8 & 0xf);
        let words = (bytes + 2 * GUARD).div_ceil(size_of::<u64>());
        Guarded {
            words: vec![u64::from_ne_bytes([fill; 8]); words],
            bytes,
            fill,
            what,
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[GUARD..GUARD + self.bytes]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[GUARD..GUARD + self.bytes]
    }

    /// Compares the guard zones with their fill.
    pub fn check_guards(&self) -> Result<(), Fault> {
        let all: &[u8] = bytemuck::cast_slice(&self.words);
        let (before, rest) = all.split_at(GUARD);
        let after = &rest[self.bytes..];
        let changed = |zone: &[u8]| zone.iter().position(|byte| *byte != self.fill);
        let place = if let Some(at) = before.iter().rposition(|byte| *byte != self.fill) {
            format!("{} bytes before the {}", GUARD - at, self.what)
        } else if let Some(at) = changed(after) {
            format!("{at} bytes behind the {}", self.what)
        } else {
            return Ok(());
        };
        let count = |zone: &[u8]| zone.iter().filter(|byte| **byte != self.fill).count();
        Err(Fault::Overrun(format!(
            "{} bytes outside of the {} were written, the nearest {place}",
            count(before) + count(after),
            self.what
        )))
    }

    /// Compares the bytes with the expected ones. `expect` writes the expected bytes from
    /// a position on.
    pub fn check(&self, dtype: Dtype, expect: impl Fn(usize, &mut [u8])) -> Result<(), Fault> {
        match self.wrong(dtype, expect) {
            (_, None) => Ok(()),
            (_, Some(first)) => Err(Fault::Wrong(first)),
        }
    }

    /// The number of wrong elements, and a line about the first wrong byte.
    pub fn wrong(&self, dtype: Dtype, expect: impl Fn(usize, &mut [u8])) -> (u64, Option<String>) {
        let mut block = vec![0; BLOCK.min(self.bytes)];
        let (mut wrong, mut first) = (0, None);
        for (index, got) in self.bytes().chunks(BLOCK).enumerate() {
            let expected = &mut block[..got.len()];
            expect(index * BLOCK, expected);
            if got == expected {
                continue;
            }
            let size = dtype.size();
            let both = got.chunks(size).zip(expected.chunks(size));
            wrong += both.filter(|(got, expected)| got != expected).count() as u64;
            let at = got.iter().zip(&*expected).position(|(a, b)| a != b);
            let (Some(at), None) = (at, &first) else {
                continue;
            };
            let element = at / size * size..at / size * size + size;
            first = Some(format!(
                "byte {} of {} of the {} is {}, expected {}",
                index * BLOCK + at,
                self.bytes,
                self.what,
                hexadecimal(&got[element.clone()], at % size),
                hexadecimal(&expected[element], at % size),
            ));
        }
        (wrong, first)
    }
}

/// One byte, and the element that it is part of if the element has more.
fn hexadecimal(element: &[u8], at: usize) -> String {
    let mut text = format!("{:02x}", element[at]);
    if element.len() > 1 {
        text.push_str(" (in ");
        for byte in element {
            let _ = write!(text, "{byte:02x}");
        }
        text.push(')');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_byte_outside_is_named() {
        let mut memory = Guarded::new("output", 10, 3);
        memory.bytes_mut().fill(0);
        assert_eq!(memory.check_guards(), Ok(()));
        let all: &mut [u8] = bytemuck::cast_slice_mut(&mut memory.words);
        all[GUARD - 2] = 0;
        all[GUARD + 12] = 0;
        let Err(Fault::Overrun(text)) = memory.check_guards() else {
            panic!("the guards were written")
        };
        assert!(text.starts_with("2 bytes outside"), "{text}");
        assert!(text.ends_with("2 bytes before the output"), "{text}");
    }

    #[test]
    fn the_first_wrong_byte_is_named_with_its_element() {
        let mut memory = Guarded::new("output", BLOCK + 8, 0);
        memory.bytes_mut().fill(1);
        memory.bytes_mut()[BLOCK + 5] = 2;
        let expect = |_: usize, bytes: &mut [u8]| bytes.fill(1);
        assert_eq!(
            memory.check(Dtype::Float32, expect),
            Err(Fault::Wrong(format!(
                "byte {} of {} of the output is 02 (in 01020101), expected 01 (in 01010101)",
                BLOCK + 5,
                BLOCK + 8
            )))
        );
        memory.bytes_mut()[..8].fill(3);
        let (wrong, first) = memory.wrong(Dtype::Float32, expect);
        assert_eq!(
            wrong, 3,
            "two elements in the first block, one in the second"
        );
        assert!(first.is_some_and(|it| it.starts_with("byte 0 of")));
    }
}
