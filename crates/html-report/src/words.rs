//! Numbers as people read them.

/// A number with three or more significant digits, as `7.25`, `72.5` and `725`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    let decimals = match size {
        _ if size == 0.0 || size >= 200.0 => 0,
        _ if size >= 10.0 => 1,
        _ if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

/// A mark of an axis: as short as it can be.
pub fn tick(value: f64) -> String {
    let text = format!("{value:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    match text {
        "" | "-0" => "0".to_owned(),
        text => text.to_owned(),
    }
}

/// A part of something as a signed percentage.
pub fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    match percent.abs() {
        // A zero has no sign.
        size if size < 0.05 => "0 %".to_owned(),
        size if size < 9.95 => format!("{}{size:.1} %", sign(percent)),
        size => format!("{}{size:.0} %", sign(percent)),
    }
}

fn sign(value: f64) -> &'static str {
    match value < 0.0 {
        true => "\u{2212}",
        false => "+",
    }
}

/// A size in binary units, as `8 KiB`.
pub fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", tick((value * 10.0).round() / 10.0), UNITS[unit])
}

/// The `n`-th of some things, as `3rd`.
pub fn ordinal(n: u32) -> String {
    let suffix = match (n % 10, n % 100) {
        (_, 11..=13) => "th",
        (1, _) => "st",
        (2, _) => "nd",
        (3, _) => "rd",
        _ => "th",
    };
    format!("{n}{suffix}")
}

/// `1 cable`, `2 cables`.
pub fn count(n: u32, what: &str) -> String {
    match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// A text cut to a length in characters.
pub fn cut(text: &str, length: usize) -> String {
    match text.chars().count() > length {
        true => text.chars().take(length - 1).chain(['\u{2026}']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits() {
        assert_eq!(
            [0.0, 0.25, 7.25, 72.5, 725.4].map(number),
            ["0", "0.250", "7.25", "72.5", "725"]
        );
        assert_eq!([0.0, 0.5, 50.0, 2.25].map(tick), ["0", "0.5", "50", "2.25"]);
    }

    #[test]
    fn a_change_has_a_sign_unless_it_is_none() {
        let parts = [-0.5, 0.031, 0.0001, -0.0999];
        assert_eq!(parts.map(percent), ["−50 %", "+3.1 %", "0 %", "−10 %"]);
    }

    #[test]
    fn sizes_and_counts() {
        assert_eq!(
            [12, 8192, 2 << 20, 1536].map(bytes),
            ["12 B", "8 KiB", "2 MiB", "1.5 KiB"]
        );
        assert_eq!(
            [1, 2, 3, 4, 11, 13, 22].map(ordinal),
            ["1st", "2nd", "3rd", "4th", "11th", "13th", "22nd"]
        );
        assert_eq!([1, 2].map(|n| count(n, "cable")), ["1 cable", "2 cables"]);
        assert_eq!(
            (cut("cable-1", 7), cut("cable-10", 7)),
            ("cable-1".to_owned(), "cable-…".to_owned())
        );
    }
}
