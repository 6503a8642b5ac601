//! An amount of bytes as a person writes it: `256MiB`.

use super::Problem;

const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Reads a whole number and its unit, between `least` and `most`.
pub(super) fn amount(text: &str, least: &'static str, most: &'static str) -> Result<u64, Problem> {
    let amount = parse(text).ok_or_else(|| Problem::Amount(text.to_owned()))?;
    let within =
        |bound, beyond: fn(&u64, &u64) -> bool| parse(bound).is_none_or(|bound| !beyond(&amount, &bound));
    if within(least, u64::lt) && within(most, u64::gt) {
        return Ok(amount);
    }
    Err(Problem::OutOfRange { written: text.to_owned(), least, most })
}

fn parse(text: &str) -> Option<u64> {
    let (unit, factor) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    let number = text.strip_suffix(unit)?.trim_end();
    // A plus sign would be taken too.
    number
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| number.parse().ok())?
        .and_then(|n: u64| n.checked_mul(factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_are_an_amount() {
        for (text, bytes) in [("16MiB", 16 << 20), ("1 GiB", 1 << 30), ("32768KiB", 32 << 20)] {
            assert_eq!(amount(text, "16MiB", "1GiB").unwrap(), bytes, "{text}");
        }
        for text in
            ["", "MiB", "16", "16MB", "+16MiB", "-1MiB", "1.5GiB", "99999999999999999999GiB", "15MiB", "2GiB"]
        {
            assert!(amount(text, "16MiB", "1GiB").is_err(), "{text}");
        }
    }
}
