//! Prices as whole cents.

/// Reads a price such as `12`, `12.5` or `12.50`, in cents.
///
/// A sign, an exponent, a third decimal or more than nine digits before the point are refused.
pub fn parse(text: &str) -> Option<u64> {
    let (whole, decimals) = match text.split_once('.') {
        Some((whole, decimals)) if (1..=2).contains(&decimals.len()) => (whole, decimals),
        Some(_) => return None,
        None => (text, ""),
    };
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !(1..=9).contains(&whole.len()) || !digits(whole) || !digits(decimals) {
        return None;
    }
    format!("{whole}{decimals:0<2}").parse().ok()
}

/// Writes cents as a price with two decimals.
pub fn show(cents: u128) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

#[cfg(test)]
mod tests {
    use super::{parse, show};

    #[test]
    fn a_price_is_read_to_the_cent_and_nothing_else_is_a_price() {
        for (text, cents) in [("0", 0), ("12", 1200), ("12.5", 1250), ("999999999.99", 99999999999)]
        {
            assert_eq!(parse(text), Some(cents), "{text}");
        }
        for text in ["", ".5", "1.", "1.234", "-1", "+1", "1e3", "1,5", " 1", "1.+5", "١"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(show(1205), "12.05");
    }
}
