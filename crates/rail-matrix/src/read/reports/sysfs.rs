//! Linux: line rates, from `/sys/class/infiniband/DEVICE/ports/1/rate`.

use std::collections::HashMap;

use super::lines::numbered;
use crate::read::{ReadError, text};

/// By device its rate in bytes per second, from lines such as
/// `/sys/class/infiniband/mlx5_0/ports/1/rate:100 Gb/sec (4X EDR)`. A port without a link
/// reports 0, which is no rate.
pub fn rates(bytes: &[u8]) -> Result<HashMap<&str, u64>, ReadError> {
    let rates = numbered(bytes)?.map(|(number, line)| {
        rate(line).ok_or_else(|| {
            let found = text::short(line);
            let what = format!("expected 'PATH/rate:NUMBER Gb/sec ...', found '{found}'");
            ReadError::line(number, what)
        })
    });
    let known = rates.filter(|rate| !matches!(rate, Ok((_, 0))));
    known.collect()
}

fn rate(line: &str) -> Option<(&str, u64)> {
    let (path, rate) = line.split_once(':')?;
    let (_, below) = path.split_once("/infiniband/")?;
    let (device, _) = below.split_once('/')?;
    let (gigabits, _) = rate.trim().split_once(" Gb/sec")?;
    let gigabits: f64 = gigabits.parse().ok()?;
    (gigabits.is_finite() && gigabits >= 0.0).then(|| (device, (gigabits * 1e9 / 8.0) as u64))
}
