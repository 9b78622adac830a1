//! Durations as people write them: a number and one of `s`, `m`, `h`, `d`. What bounds hold for one is for whoever asks for it.

/// Seconds out of a number and its unit: `90d`, `12h`, `30m`, `1s`. `None` where the text is something else.
pub fn seconds(text: &str) -> Option<i64> {
    let split = text.len().checked_sub(1)?;
    let (number, unit) = (text.get(..split)?, text.get(split..)?);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        _ => return None,
    };
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<i64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_its_unit() {
        for (text, expected) in [("0s", 0), ("30m", 1800), ("12h", 43_200), ("90d", 7_776_000)] {
            assert_eq!(seconds(text), Some(expected), "{text}");
        }
        for text in ["", "s", "90", "-1d", "+1d", "1.5h", "1 d", "1w", "9223372036854775807d", "1é"] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }
}
