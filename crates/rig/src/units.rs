//! Bandwidth, latency and sizes as people write them.
//!
//! Prefixes are decimal, as in link rates: 1 MB is 10^6 bytes; only 1 MiB is 2^20. `b` is
//! a bit and `B` a byte, so a Thunderbolt port's `80 Gb/s` is `10 GB/s`.

use std::time::Duration;

/// Why a rate, a size or a time could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not a {}; write a number and a unit out of {}, for example \"{}\"",
    quantity.name, quantity.accepted, quantity.example
)]
pub struct UnitError {
    text: String,
    quantity: &'static Quantity,
}

/// A kind of quantity, and the units it is written in.
#[derive(Debug, PartialEq, Eq)]
struct Quantity {
    name: &'static str,
    accepted: &'static str,
    example: &'static str,
    /// Largest first, with their size in the quantity's own smallest unit.
    units: &'static [(&'static str, u64)],
}

/// Counted in bits per second.
static BANDWIDTH: Quantity = Quantity {
    name: "bandwidth",
    accepted: "B/s, kB/s, MB/s, GB/s, Mb/s, Gb/s",
    example: "50 MB/s",
    units: &[
        ("GB/s", 8_000_000_000),
        ("Gb/s", 1_000_000_000),
        ("MB/s", 8_000_000),
        ("Mb/s", 1_000_000),
        ("kB/s", 8_000),
        ("B/s", 8),
    ],
};

/// Counted in bytes.
static SIZE: Quantity = Quantity {
    name: "size",
    accepted: "B, KiB, MiB, GiB, kB, MB, GB",
    example: "16MiB",
    units: &[
        ("GiB", 1 << 30),
        ("GB", 1_000_000_000),
        ("MiB", 1 << 20),
        ("MB", 1_000_000),
        ("KiB", 1 << 10),
        ("kB", 1_000),
        ("B", 1),
    ],
};

/// Counted in nanoseconds.
static LATENCY: Quantity = Quantity {
    name: "latency",
    accepted: "ns, us, ms, s",
    example: "20 us",
    units: &[
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("µs", 1_000),
        ("ns", 1),
    ],
};

/// Counted in nanoseconds, like a latency, but usually longer.
static DURATION: Quantity = Quantity {
    name: "time",
    accepted: "ns, us, ms, s, min, h",
    example: "2 s",
    units: &[
        ("h", 3_600_000_000_000),
        ("min", 60_000_000_000),
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("µs", 1_000),
        ("ns", 1),
    ],
};

/// Reads a rate such as `50 MB/s` or `80 Gb/s`, in bytes per second.
///
/// # Errors
/// If the number or the unit cannot be read.
pub fn parse_rate(text: &str) -> Result<u64, UnitError> {
    let bits = BANDWIDTH.parse(text)?;
    Ok((bits / 8.0).round() as u64)
}

/// Reads a size such as `16MiB`, in bytes. A bare number is bytes.
///
/// # Errors
/// If the number or the unit cannot be read.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    if let Ok(bytes) = text.trim().parse() {
        return Ok(bytes);
    }
    Ok(SIZE.parse(text)?.round() as u64)
}

/// Reads a latency such as `20 us`.
///
/// # Errors
/// If the number or the unit cannot be read.
pub fn parse_time(text: &str) -> Result<Duration, UnitError> {
    let nanos = LATENCY.parse(text)?;
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// Reads a duration such as `2 s`.
///
/// # Errors
/// If the number or the unit cannot be read.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    let nanos = DURATION.parse(text)?;
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// Reads a duration such as `2 s`. A bare number is seconds.
///
/// # Errors
/// If the number or the unit cannot be read, or the time does not fit a [`Duration`].
pub fn parse_seconds(text: &str) -> Result<Duration, UnitError> {
    match text.trim().parse().map(Duration::try_from_secs_f64) {
        Ok(Ok(time)) => Ok(time),
        _ => parse_duration(text),
    }
}

/// Writes a rate in the largest byte unit that expresses it exactly.
pub fn format_rate(bytes_per_second: u64) -> String {
    let byte_units = BANDWIDTH
        .units
        .iter()
        .filter(|(unit, _)| unit.ends_with("B/s"));
    exact(
        bytes_per_second,
        byte_units.map(|(unit, bits)| (*unit, bits / 8)),
    )
}

/// Writes a rate for people: three digits, in the largest unit that gives at least one.
pub fn about_rate(bytes_per_second: u64) -> String {
    let units = BANDWIDTH
        .units
        .iter()
        .filter(|(unit, _)| unit.ends_with("B/s"));
    let mut units: Vec<_> = units.map(|(unit, bits)| (*unit, bits / 8)).collect();
    units.reverse();
    let written = |(unit, size): (&'static str, u64)| {
        let count = bytes_per_second as f64 / size as f64;
        let decimals = match count {
            // What rounds to ten has one decimal less.
            ..9.995 => 2,
            9.995..99.95 => 1,
            _ => 0,
        };
        (format!("{count:.decimals$}"), unit)
    };
    // Rounding may reach a thousand, which is one of the next unit.
    let fits = |(count, _): &(String, &str)| count.parse::<f64>().is_ok_and(|it| it < 1000.0);
    let found = units.iter().map(|unit| written(*unit)).find(fits);
    let (count, unit) = found.unwrap_or_else(|| written(units[units.len() - 1]));
    let count = match count.contains('.') {
        true => count.trim_end_matches('0').trim_end_matches('.'),
        false => &count,
    };
    format!("{count} {unit}")
}

/// Writes a time in the largest unit that expresses it exactly, to the nanosecond.
pub fn format_time(time: Duration) -> String {
    let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    exact(
        nanos,
        LATENCY
            .units
            .iter()
            .copied()
            .filter(|(unit, _)| unit.is_ascii()),
    )
}

impl Quantity {
    /// `number unit` as a count of the smallest unit.
    fn parse(&'static self, text: &str) -> Result<f64, UnitError> {
        self.scale(text.trim()).ok_or_else(|| UnitError {
            text: text.to_owned(),
            quantity: self,
        })
    }

    fn scale(&self, text: &str) -> Option<f64> {
        let end_of_number = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, unit) = text.split_at(end_of_number);
        let (_, size) = self.units.iter().find(|(name, _)| *name == unit.trim())?;
        let count = number.parse::<f64>().ok()? * *size as f64;
        count.is_finite().then_some(count)
    }
}

/// `count` of the smallest unit in the largest one that divides it.
fn exact<'a>(count: u64, units: impl Iterator<Item = (&'a str, u64)>) -> String {
    let mut smallest = "";
    for (unit, size) in units {
        if count >= size && count.is_multiple_of(size) {
            return format!("{} {unit}", count / size);
        }
        smallest = unit;
    }
    format!("{count} {smallest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_decimal_and_tell_bits_from_bytes() {
        assert_eq!(parse_rate("50 MB/s"), Ok(50_000_000));
        assert_eq!(parse_rate("80 Gb/s"), parse_rate("10 GB/s"));
        assert_eq!(parse_rate("1.5kB/s"), Ok(1_500));
        assert_eq!(parse_rate("0 MB/s"), Ok(0));
    }

    #[test]
    fn people_read_three_digits() {
        let about = [
            0,
            999,
            1_500,
            999_499,
            999_999,
            9_999_999,
            50_000_000,
            22_499_936_000,
            21_782_992_875,
            10_000_000_000,
            u64::MAX,
        ];
        assert_eq!(
            about.map(about_rate),
            [
                "0 B/s",
                "999 B/s",
                "1.5 kB/s",
                "999 kB/s",
                "1 MB/s",
                "10 MB/s",
                "50 MB/s",
                "22.5 GB/s",
                "21.8 GB/s",
                "10 GB/s",
                "18446744074 GB/s"
            ]
        );
    }

    #[test]
    fn times_go_down_to_a_nanosecond() {
        assert_eq!(parse_time("20 us"), Ok(Duration::from_micros(20)));
        assert_eq!(parse_time("20µs"), Ok(Duration::from_micros(20)));
        assert_eq!(parse_time("0.5 ms"), Ok(Duration::from_micros(500)));
    }

    #[test]
    fn a_time_without_a_unit_is_seconds_where_the_caller_says_so() {
        assert_eq!(parse_seconds("20"), parse_duration("20 s"));
        assert_eq!(parse_seconds("2.5"), Ok(Duration::from_millis(2500)));
        assert_eq!(parse_seconds("5 ms"), Ok(Duration::from_millis(5)));
        assert_eq!(parse_seconds("5 min"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_seconds("2h"), Ok(Duration::from_secs(7200)));
        for bad in ["", "-1", "inf", "NaN", "1e30", "5 minutes"] {
            assert!(parse_seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_binary_where_they_say_so_and_bytes_where_they_say_nothing() {
        assert_eq!(parse_size("4096"), parse_size("4 KiB"));
        assert_eq!(parse_size("16MiB"), Ok(16 << 20));
        assert_eq!(parse_size("1.5 MB"), Ok(1_500_000));
        assert!(
            parse_size("many")
                .unwrap_err()
                .to_string()
                .contains("16MiB")
        );
    }

    #[test]
    fn what_cannot_be_read_is_named_with_an_example() {
        for bad in [
            "",
            "50",
            "MB/s",
            "-1 MB/s",
            "50 MiB/s",
            "1.2.3 GB/s",
            "fast",
        ] {
            let message = parse_rate(bad).unwrap_err().to_string();
            assert!(
                message.contains(&format!("'{bad}'")) && message.contains("50 MB/s"),
                "{message}"
            );
        }
        assert!(
            parse_time("20 minutes")
                .unwrap_err()
                .to_string()
                .contains("20 us")
        );
    }

    #[test]
    fn writing_and_reading_is_exact() {
        for rate in [
            0,
            1,
            999,
            1_000,
            1_500,
            50_000_000,
            10_000_000_000,
            12_345_678_901,
        ] {
            assert_eq!(parse_rate(&format_rate(rate)), Ok(rate));
        }
        for ns in [0, 1, 1_500, 20_000, 3_000_000_000] {
            let time = Duration::from_nanos(ns);
            assert_eq!(parse_time(&format_time(time)), Ok(time));
        }
        assert_eq!(format_rate(50_000_000), "50 MB/s");
        assert_eq!(format_time(Duration::from_micros(20)), "20 us");
    }
}
