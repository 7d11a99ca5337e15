//! A Slack that is busy, down, has had enough of us, or takes a message and does not say so.

use std::time::Duration;

use async_trait::async_trait;
use trailkeeper::tell::{Channel, ShowError, View};

use super::world::{Process, Side};

/// As in the adapter for Slack.
const POST_TIMEOUT: Duration = Duration::from_secs(10);

/// What became of a request to post.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Posted,
    Busy,
    Refused,
    Failed,
    /// No answer; the message may have been posted.
    Unanswered,
}

impl Process {
    /// Nobody is told that a trail logs unless it does, that it is off unless that was seen, nor that we left it alone
    /// unless we did.
    fn check_truth(&self, event: &str, text: &str) {
        let says_off = text.contains(" OFF");
        // Of several trails, one may be on and another not.
        let is_in_doubt = says_off || text.contains("could not look");
        let says_on = text.contains("restarted and verified") || text.contains("on again");
        let trail = self.world.book().trail_of(event);
        let is_on = trail.as_deref().is_some_and(|trail| self.world.is_logging(trail));
        if says_on && !is_on && !is_in_doubt {
            self.world.book().fault(format!("{event}: it was told that logging is on, and it is off"));
        }
        if says_off && !self.world.book().was_seen_off(event) {
            self.world.book().fault(format!("{event}: it was told that logging is off, and nobody saw that"));
        }
        if text.contains("None was seen to have stopped") && !is_on {
            self.world.book().fault(format!("{event}: it was told that no trail is off, and one is"));
        }
        let was_started = trail.is_some_and(|trail| self.world.was_started(&trail));
        if text.contains("nothing was restarted") && was_started && self.world.book().is_alone(event) {
            self.world.book().fault(format!("{event}: it was told that nothing was restarted, and we did"));
        }
    }

    fn fate(&self) -> Fate {
        let world = &self.world;
        let rates = &world.rates;
        if world.fails(rates.post_refused) {
            Fate::Refused
        } else if world.fails(rates.rate_limited) {
            Fate::Busy
        } else if world.is_down(Side::Slack) || world.fails(rates.post_fails) {
            if world.coin() { Fate::Failed } else { Fate::Unanswered }
        } else {
            Fate::Posted
        }
    }
}

#[async_trait]
impl Channel for Process {
    async fn show(&self, view: &View) -> Result<(), ShowError> {
        self.alive().await;
        let world = &self.world;
        let post = world.book().posting(self.name, view);
        if world.sweep.is_none() {
            self.check_truth(&post.0, &view.text());
        }
        self.outward().await;
        let fate = self.fate();
        if fate == Fate::Posted || (fate == Fate::Unanswered && world.coin()) {
            world.book().posted(&post);
        }
        if fate == Fate::Unanswered {
            tokio::time::sleep(POST_TIMEOUT).await;
        }
        self.homeward().await;
        world.book().note(&format!("{self:?} hears of its post: {fate:?}"));
        match fate {
            Fate::Posted => {
                world.book().post_answered(&post);
                Ok(())
            }
            Fate::Busy => Err(ShowError::NotOurTurn { after: world.millis(1_000..=60_000) }),
            Fate::Refused => {
                world.book().post_refused(&post);
                Err(ShowError::Refused("refused, as the seed wants it".to_owned()))
            }
            Fate::Failed | Fate::Unanswered => {
                Err(ShowError::Failed("failed, as the seed wants it".to_owned()))
            }
        }
    }
}
