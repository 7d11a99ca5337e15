//! Patterns of ARNs, as IAM has them: `*` is any text, also none, and `?` is any one character.

use std::fmt;

use wildmatch::WildMatch;

/// The longest pattern taken, in bytes: no ARN is longer.
const MAX_PATTERN_BYTES: usize = 2_048;
/// `arn`, partition, service, Region, account, resource.
const PARTS: usize = 6;

/// A pattern of ARNs. Each of its six parts is compared by itself, as IAM's `ArnLike` does: a wildcard ends at the next
/// colon, except in the resource. A role's path may hold colons, so that otherwise somebody could choose one that fits the
/// pattern of another account's role.
#[derive(Debug, Clone, PartialEq)]
pub struct ArnPattern {
    text: String,
    parts: [WildMatch; PARTS],
}

impl Eq for ArnPattern {}

impl ArnPattern {
    /// `None` unless `text` has the six parts of an ARN, and `arn` for the first.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts = parts(text).filter(|[first, ..]| *first == "arn")?;
        let fits = text.len() <= MAX_PATTERN_BYTES && !text.contains(|char: char| !char.is_ascii_graphic());
        fits.then(|| Self { text: text.to_owned(), parts: parts.map(WildMatch::new) })
    }

    #[must_use]
    pub fn matches(&self, arn: &str) -> bool {
        parts(arn).is_some_and(|arn| self.parts.iter().zip(arn).all(|(pattern, part)| pattern.matches(part)))
    }
}

impl fmt::Display for ArnPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

fn parts(arn: &str) -> Option<[&str; PARTS]> {
    arn.splitn(PARTS, ':').collect::<Vec<_>>().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, arn: &str) -> bool {
        ArnPattern::parse(pattern).expect("a pattern").matches(arn)
    }

    #[test]
    fn wildcards_stand_for_any_text_or_one_character() {
        let role = "arn:aws:iam::111122223333:role/deploy";
        for (pattern, fits) in [
            ("arn:aws:iam::111122223333:role/deploy", true),
            ("arn:aws:iam::111122223333:role/*", true),
            ("arn:aws:iam::*:role/deploy", true),
            ("arn:*:*:*:*:*", true),
            ("arn:aws:iam::111122223333:role/deplo?", true),
            ("arn:aws:iam::111122223333:role/deploy?", false),
            ("arn:aws:iam::111122223333:role/Deploy", false),
            ("arn:aws:iam::1111*:user/deploy", false),
            ("arn:aws:iam::11112222333?:*/deploy", true),
        ] {
            assert_eq!(matches(pattern, role), fits, "{pattern}");
        }
    }

    #[test]
    fn no_wildcard_before_the_resource_goes_past_a_colon() {
        let forged = "arn:aws:iam::666666666666:role/:x:role/deploy";
        assert!(!matches("arn:aws:iam::*:role/deploy", forged));
        assert!(!matches("arn:*:role/deploy:*:*:*", "arn:aws:iam::666666666666:role/deploy"));
        assert!(matches("arn:aws:iam::*:role/*", forged));
    }

    #[test]
    fn what_is_no_pattern_of_an_arn_is_none() {
        for text in [
            "",
            "*",
            "deploy",
            "arn:aws:iam::role/deploy",
            "aws:arn:iam::1:role/x",
            "arn:aws:iam::1:role/a b",
        ] {
            assert_eq!(ArnPattern::parse(text), None, "{text}");
        }
        assert_eq!(ArnPattern::parse(&format!("arn:aws:iam::1:{}", "x".repeat(MAX_PATTERN_BYTES))), None);
        assert!(!matches("arn:aws:iam::*:*", "no ARN"));
    }

    /// Whoever goes back over every `*` before it does not come to an end.
    #[test]
    fn the_worst_pattern_comes_to_an_end() {
        let (pattern, arn) = ("*a".repeat(1_000), "a".repeat(2_000));
        assert!(!matches(&format!("arn:aws:iam::1:{pattern}b"), &format!("arn:aws:iam::1:{arn}")));
    }
}
