//! CloudTrail: the accounts and Regions in which trails are reached, the calls, what its errors mean, and seeing to it
//! that a trail logs.

pub mod accounts;
mod coverage;
mod history;
pub mod organization;
mod refusal;
mod restart;
pub mod role;
mod sessions;
pub mod trails;

pub use refusal::{Meaning, Refusal};
pub use restart::{Around, Earlier, Order, RestartError};
