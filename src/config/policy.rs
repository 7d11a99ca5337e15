//! The policy in a file.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::Fault;
use crate::policy::{MAX_BYTES, Policy};

/// Reads the policy in a file.
///
/// # Errors
/// Every fault there is, each with the file's name and the line.
pub fn read_policy(file: &Path) -> Result<Policy, Vec<Fault>> {
    let named = |what: String| Fault(format!("{}: {what}", file.display()));
    let mut text = String::new();
    // One more than may be: a longer one is refused, and not cut.
    let limit = MAX_BYTES as u64 + 1;
    let read = File::open(file).and_then(|file| file.take(limit).read_to_string(&mut text));
    read.map_err(|error| vec![named(error.to_string())])?;
    Policy::parse(&text).map_err(|faults| faults.into_iter().map(|fault| named(fault.to_string())).collect())
}
