//! What people see on a terminal: tables, progress, questions. Progress goes to standard error, and nowhere
//! unless that is a terminal.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::text::{harmless, is_hidden};

/// The width of a table that is not on a terminal: a wide window's.
const PAPER_WIDTH: u16 = 140;
/// The longest path shown, in characters.
const MAX_PATH_CHARS: usize = 300;

/// A table as wide as the terminal, its cells broken where they must be.
pub(super) fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    let width = Term::stdout().size_checked().map_or(PAPER_WIDTH, |(_rows, columns)| columns);
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    table.set_header(columns.iter().copied());
    table
}

/// Breaks no cell of this column, however narrow the terminal.
pub(super) fn keep_whole(table: &mut Table, column: usize) {
    if let Some(column) = table.column_mut(column) {
        column.set_constraint(ColumnConstraint::ContentWidth);
    }
}

/// JSON for machines, which may end up on a terminal: what is hidden there is escaped.
///
/// # Errors
/// When the value is none that JSON has.
pub fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut json = String::new();
    for char in serde_json::to_string_pretty(value)?.chars() {
        // A line's end is the layout's own: inside of a string it is escaped already.
        if char != '\n' && is_hidden(char) {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                // Writing to a string cannot fail.
                let _ = write!(json, "\\u{unit:04x}");
            }
        } else {
            json.push(char);
        }
    }
    Ok(json)
}

/// A file's name, which somebody else may have chosen.
pub(super) fn path(path: &Path) -> String {
    harmless(&path.to_string_lossy(), MAX_PATH_CHARS)
}

/// Between two looks of a spinner.
const TICK: Duration = Duration::from_millis(100);

/// A spinner beside what is being done, until it is told to finish.
pub(super) fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner().with_style(style("{spinner} {msg}"));
    spinner.enable_steady_tick(TICK);
    spinner
}

/// A bar that fills.
pub(super) fn bar() -> ProgressBar {
    ProgressBar::new(0).with_style(style("{bar:30} {pos}/{len} {wide_msg}"))
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Asks a question that is answered with yes or anything else; `None` if there is nobody to ask.
///
/// # Errors
/// When the terminal cannot be written to or read from.
pub fn asks(question: &str) -> std::io::Result<Option<bool>> {
    let (input, mut output) = (std::io::stdin(), std::io::stderr());
    if !input.is_terminal() || !output.is_terminal() {
        return Ok(None);
    }
    write!(output, "{question} [y/N] ")?;
    output.flush()?;
    let mut answer = String::new();
    input.lock().read_line(&mut answer)?;
    Ok(Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")))
}
