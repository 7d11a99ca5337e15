//! Where people are notified.

use std::time::Duration;

use async_trait::async_trait;

use super::view::View;

#[async_trait]
pub trait Channel: Send + Sync + 'static {
    /// Shows one view. The future may be dropped at any await; people may then have been shown it.
    async fn show(&self, view: &View) -> Result<(), ShowError>;
}

/// Why a channel did not show a view. The texts hold neither its secrets nor the view.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShowError {
    /// The channel asks for patience, or did before and it is not our turn: nothing is wrong with the view.
    #[error("the channel limits the rate: our turn is in {} s", after.as_secs())]
    NotOurTurn { after: Duration },
    /// Not now.
    #[error("{0}")]
    Failed(String),
    /// Not until somebody changes the channel or its configuration.
    #[error("{0}")]
    Refused(String),
}
