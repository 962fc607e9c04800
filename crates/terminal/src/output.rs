//! The output of a command: data on stdout, progress and warnings on stderr.
//!
//! `println!` panics if the reader of stdout has closed the pipe. Here that is an error
//! like any other: the command ends, its destructors run, and [`exit`](crate::exit) prints
//! nothing about it. If the reader of stderr has closed the pipe, only the progress is
//! lost; the work goes on.

use std::{
    fmt,
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use serde::Serialize;

/// Set once, by main, before anything is printed.
static QUIET: AtomicBool = AtomicBool::new(false);
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// The choice of `-q` and `-v`.
pub fn set_verbosity(quiet: bool, verbose: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
    VERBOSE.store(verbose, Ordering::Relaxed);
}

/// Whether progress is silenced.
pub fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// The error for data that could not be written to stdout.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to stdout")]
pub struct Unprinted(#[from] io::Error);

impl Unprinted {
    /// Whether the reader closed the pipe (`| head`), which is allowed.
    pub fn reader_left(&self) -> bool {
        self.0.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Prints a line of data. Use [`out!`](crate::out).
///
/// # Errors
/// If stdout cannot be written.
pub fn line(text: fmt::Arguments<'_>) -> Result<(), Unprinted> {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}

/// Prints a document, which has its own line breaks.
///
/// # Errors
/// If stdout cannot be written.
pub fn document(text: &str) -> Result<(), Unprinted> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

/// Prints a value as indented JSON.
///
/// # Errors
/// If stdout cannot be written.
pub fn json(value: &impl Serialize) -> Result<(), Unprinted> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
    line(format_args!("{text}"))
}

/// Prints progress, which `-q` silences. Use [`say!`](crate::say).
pub fn progress(text: fmt::Arguments<'_>) {
    if !is_quiet() {
        complaint(text);
    }
}

/// Prints a command line that is about to run, if `-v` is given.
pub fn command(text: &impl fmt::Display) {
    if VERBOSE.load(Ordering::Relaxed) {
        complaint(format_args!("+ {text}"));
    }
}

/// Prints text that `-q` does not silence: warnings, and why the exit code is not 0. Use
/// [`warn!`](crate::warn).
pub fn complaint(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Formats bytes with a binary unit, to three digits.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut count = bytes as f64 / 1024.0;
    let mut unit = 0;
    // 1023.5 would be written as 1024.
    while count >= 1023.5 && unit + 1 < UNITS.len() {
        count /= 1024.0;
        unit += 1;
    }
    let decimals = match count {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{count:.decimals$} {}", UNITS[unit])
}

/// The width of a column of names.
pub fn widest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(str::len).max().unwrap_or(0)
}

/// Prints a line of data on stdout.
#[macro_export]
macro_rules! out {
    ($($text:tt)*) => { $crate::output::line(format_args!($($text)*)) };
}

/// Prints a line of progress on stderr.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => { $crate::output::progress(format_args!($($text)*)) };
}

/// Prints a line on stderr that `-q` does not silence.
#[macro_export]
macro_rules! warn {
    ($($text:tt)*) => { $crate::output::complaint(format_args!($($text)*)) };
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_three_digits_and_a_binary_unit() {
        let shown = [0, 1023, 1024, 10_000, 1 << 20, 1_500_000_000, u64::MAX];
        assert_eq!(
            shown.map(size),
            [
                "0 B",
                "1023 B",
                "1.00 KiB",
                "9.77 KiB",
                "1.00 MiB",
                "1.40 GiB",
                "16777216 TiB"
            ]
        );
        assert_eq!(size((1 << 20) - 1), "1.00 MiB");
    }
}
