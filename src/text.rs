//! Text that somebody else chose, made harmless; durations and times for people. Pure.

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The longest value of an event shown to people, in characters: AWS's names end at 128, and with every character
/// escaped a whole message stays below Slack's limits.
pub const MAX_VALUE_CHARS: usize = 128;

/// A value without control and direction marks, of at most `max` characters.
#[must_use]
pub fn harmless(value: &str, max: usize) -> String {
    let mut harmless = String::with_capacity(value.len().min(max) + 8);
    for (position, char) in value.chars().enumerate() {
        if position == max {
            harmless.push('…');
            break;
        }
        harmless.push(if is_hidden(char) { '\u{fffd}' } else { char });
    }
    harmless
}

/// Control marks, and marks that change the direction of text or hide in it.
#[must_use]
pub fn is_hidden(char: char) -> bool {
    char.is_control()
        || matches!(char,
        '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `2026-11-20T09:15:02Z`, in whole seconds.
#[must_use]
pub fn stamp(time: OffsetDateTime) -> String {
    let whole = time.replace_nanosecond(0).unwrap_or(time);
    whole.format(&Rfc3339).unwrap_or_else(|_| "an unknown time".to_owned())
}

/// `3 s`, `4 min 10 s`, `2 h 5 min`, `3 d 1 h`: two units say enough.
#[must_use]
pub fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, 0) => "less than 1 s".to_owned(),
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, _, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_two_units() {
        let told = |seconds| duration(Duration::from_secs(seconds));
        let all = [0, 1, 59, 60, 250, 3_600, 7_500, 86_400, 266_400].map(told);
        let expected = [
            "less than 1 s",
            "1 s",
            "59 s",
            "1 min 0 s",
            "4 min 10 s",
            "1 h 0 min",
            "2 h 5 min",
            "1 d 0 h",
            "3 d 2 h",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn what_is_hidden_or_too_long_is_seen_to_be() {
        assert_eq!(harmless("a\u{1b}[2J\u{202e}b", 64), "a\u{fffd}[2J\u{fffd}b");
        assert_eq!(harmless("abc", 3), "abc");
        assert_eq!(harmless("abcd", 3), "abc…");
    }
}
