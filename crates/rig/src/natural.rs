//! Natural order: `cable-2` before `cable-10`.

use std::cmp::Ordering;

/// Compares two names, runs of ASCII digits by value and everything else by
/// byte. Names that differ only in leading zeros fall back to plain order, so
/// the order is total and distinct names never compare equal.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut left, mut right) = (a.as_bytes(), b.as_bytes());
    while let (Some(l), Some(r)) = (left.first(), right.first()) {
        let order = if l.is_ascii_digit() && r.is_ascii_digit() {
            let (number_l, number_r) = (take_number(&mut left), take_number(&mut right));
            number_l
                .len()
                .cmp(&number_r.len())
                .then_with(|| number_l.cmp(number_r))
        } else {
            left = &left[1..];
            right = &right[1..];
            l.cmp(r)
        };
        if order.is_ne() {
            return order;
        }
    }
    left.len().cmp(&right.len()).then_with(|| a.cmp(b))
}

/// Splits the leading digits off `text` and returns them without leading zeros, so that a
/// longer run is a larger number whatever its size.
fn take_number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text
        .iter()
        .position(|c| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().take_while(|c| **c == b'0').count();
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_compare_by_value() {
        let mut names = ["cable-10", "cable-2", "b", "cable-02", "cable", "cable-1"];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(
            names,
            ["b", "cable", "cable-1", "cable-02", "cable-2", "cable-10"]
        );
    }

    #[test]
    fn numbers_too_large_for_any_integer_still_have_an_order() {
        let huge = "9".repeat(60);
        assert_eq!(compare(&huge, &format!("1{huge}")), Ordering::Less);
    }
}
