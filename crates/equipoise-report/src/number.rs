//! Numbers as tables and figures show them.

/// Three digits, or all before the point; two of what is small.
pub fn rounded(number: f64) -> String {
    match number {
        100.0.. => format!("{number:.0}"),
        10.0.. => format!("{number:.1}"),
        0.1.. => format!("{number:.2}"),
        0.01.. => format!("{number:.3}"),
        0.001.. => format!("{number:.4}"),
        0.0 => "0".into(),
        _ => format!("{number:.1e}"),
    }
}

#[cfg(test)]
mod tests {
    use super::rounded;

    #[test]
    fn numbers_have_three_digits() {
        let numbers = [0.123, 1.234, 12.34, 123.4, 12_345.6].map(rounded);
        assert_eq!(numbers, ["0.12", "1.23", "12.3", "123", "12346"]);
        let small = [0.0, 1.234e-5, 0.00234, 0.0346].map(rounded);
        assert_eq!(small, ["0", "1.2e-5", "0.0023", "0.035"]);
    }
}
