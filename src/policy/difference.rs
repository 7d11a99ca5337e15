//! What changed between two texts of a policy, in lines. Pure.

use similar::{ChangeTag, TextDiff};

use crate::text::{MAX_VALUE_CHARS, harmless};

/// Lines that are shown; the message must fit.
const MAX_LINES: usize = 20;

/// Each line that is gone, and each that is new, in the order of the text.
#[must_use]
pub fn difference(before: &str, after: &str) -> Vec<String> {
    let difference = TextDiff::from_lines(before, after);
    let changed = difference.iter_all_changes().filter_map(|change| {
        let sign = match change.tag() {
            ChangeTag::Delete => '−',
            ChangeTag::Insert => '+',
            ChangeTag::Equal => return None,
        };
        let line = change.value().trim_end();
        (!line.is_empty()).then(|| format!("{sign} {}", harmless(line, MAX_VALUE_CHARS)))
    });
    let mut lines: Vec<_> = changed.collect();
    let more = lines.len().saturating_sub(MAX_LINES);
    if more > 0 {
        lines.truncate(MAX_LINES);
        lines.push(format!("and {more} more lines"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_gone_and_lines_that_are_new() {
        let before = "version = 1\n[defaults]\nstopped = \"restart\"\n";
        let after = "version = 1\n[defaults]\nstopped = \"notify\"\n\n[[rule]]\n";
        assert_eq!(
            difference(before, after),
            ["− stopped = \"restart\"", "+ stopped = \"notify\"", "+ [[rule]]"]
        );
        assert!(difference(before, before).is_empty());
    }

    #[test]
    fn a_great_difference_is_cut() {
        let after = format!("# {}\n", "x".repeat(500)).repeat(100);
        let lines = difference("", &after);
        assert_eq!((lines.len(), lines[MAX_LINES].as_str()), (MAX_LINES + 1, "and 80 more lines"));
        assert!(lines.iter().all(|line| line.chars().count() <= MAX_VALUE_CHARS + 3));
    }
}
