//! A user's own rules for the names in a checkpoint.

use std::str::FromStr;

use regex::Regex;

/// Rules `regex=replacement` that names in a checkpoint go through before a network is looked for
/// among them, in order; `$1` in a replacement is the first group.
#[derive(Debug, Clone, Default)]
pub struct KeyMap(Vec<Rule>);

/// One rule of a [`KeyMap`].
#[derive(Debug, Clone)]
pub struct Rule {
    pattern: Regex,
    replacement: String,
}

impl FromStr for Rule {
    type Err = String;

    /// Parses `regex=replacement`; the first `=` parts them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pattern, replacement) = text
            .split_once('=')
            .ok_or("no `=`; hint: 'regex=replacement', as in '^net\\.=backbone.'")?;
        let pattern = Regex::new(pattern).map_err(|error| {
            // The last line says what is wrong, those before it draw where.
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default().trim();
            format!("`{pattern}` is no regular expression: {reason}")
        })?;
        Ok(Self {
            pattern,
            replacement: replacement.into(),
        })
    }
}

impl FromIterator<Rule> for KeyMap {
    fn from_iter<I: IntoIterator<Item = Rule>>(rules: I) -> Self {
        Self(rules.into_iter().collect())
    }
}

impl KeyMap {
    /// Whether there is no rule.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What the rules make of `name`.
    pub(crate) fn apply(&self, name: &str) -> String {
        self.0.iter().fold(name.to_owned(), |name, rule| {
            let replaced = rule.pattern.replace_all(&name, &rule.replacement);
            replaced.into_owned()
        })
    }

    /// The rules as text: the same for the same rules.
    pub(crate) fn text(&self) -> String {
        let rules = self.0.iter();
        rules
            .map(|rule| format!("{}={}\n", rule.pattern, rule.replacement))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_apply_in_order() {
        let rules = ["^net\\.=", "b(\\d)=block.$1", "x=y=z"];
        let rules: KeyMap = rules.iter().map(|rule| rule.parse().unwrap()).collect();
        assert_eq!(rules.apply("net.b7.x"), "block.7.y=z");
        assert!(!rules.is_empty() && KeyMap::default().is_empty());
        assert_eq!(KeyMap::default().apply("net"), "net");
    }

    #[test]
    fn nonsense_is_told_in_one_line() {
        for text in ["", "plain", "(=x"] {
            let error = text.parse::<Rule>().unwrap_err();
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
