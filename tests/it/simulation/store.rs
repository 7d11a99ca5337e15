//! The store that the workers share: [`MemoryStore`], whose promises are DynamoDB's, behind a network on which
//! writes are throttled, lost, or carried out without anybody hearing of it.

use std::time::Duration;

use trailkeeper::consumer::RetryPolicy;
use trailkeeper::event::EventId;
use trailkeeper::state::{Attempt, Claim, Claimed, Ending, Store, StoreError};

use super::world::{Process, Side};

/// As in the adapter for DynamoDB.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Likewise.
const TRIES: RetryPolicy =
    RetryPolicy { max_attempts: 4, base: Duration::from_millis(100), max: Duration::from_secs(1) };

impl Process {
    /// Sends a write until it is answered, as the adapter for DynamoDB does: a write that was carried out
    /// without being heard of is asked for again.
    async fn write<T, F: Future<Output = Result<T, StoreError>>>(
        &self,
        what: &str,
        act: impl Fn() -> F,
    ) -> Result<T, StoreError> {
        let world = &self.world;
        let mut waits = TRIES.waits();
        loop {
            self.outward().await;
            let down = world.is_down(Side::Store);
            if !down && !world.fails(world.rates.throttled) {
                let unheard = world.fails(world.rates.unheard);
                if !unheard || world.coin() {
                    let answer = act().await;
                    if !unheard {
                        self.homeward().await;
                        return answer;
                    }
                    world.book().note(&format!("{self:?} does not hear of its {what}"));
                }
                tokio::time::sleep(ANSWER_TIMEOUT).await;
            }
            self.homeward().await;
            let Some(wait) = waits.next() else {
                world.book().note(&format!("{self:?} could not {what}"));
                return Err(StoreError::Unavailable("as the seed wants it".to_owned()));
            };
            tokio::time::sleep(wait).await;
        }
    }
}

impl Store for Process {
    async fn claim(
        &self,
        event: &EventId,
        lease: Duration,
        reopen: Option<&str>,
    ) -> Result<Claimed, StoreError> {
        let world = &self.world;
        let claimed = self
            .write("claim", move || async move {
                let claimed = world.store.claim(event, lease, reopen).await;
                world.book().claimed(self.name, event, &claimed, lease);
                claimed
            })
            .await;
        if claimed.is_err() {
            world.book().unclaimed(self.name, event);
        }
        claimed
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        let world = &self.world;
        self.write("extend", move || async move {
            let extended = world.store.extend(claim, lease).await;
            world.book().extended(self.name, claim, &extended, lease);
            extended
        })
        .await
    }

    async fn record(&self, claim: &Claim) -> Result<(), StoreError> {
        let world = &self.world;
        world.book().recording(self.name, claim);
        self.write("record", move || async move {
            let recorded = world.store.record(claim).await;
            world.book().recorded(self.name, claim, &recorded);
            recorded
        })
        .await
    }

    async fn release(&self, claim: &Claim, attempt: Attempt) -> Result<(), StoreError> {
        let world = &self.world;
        self.write("release", move || async move {
            let released = world.store.release(claim, attempt).await;
            world.book().released(self.name, claim, attempt, &released);
            released
        })
        .await
    }

    async fn complete(&self, claim: &Claim, ending: Ending) -> Result<(), StoreError> {
        let (world, ending) = (&self.world, &ending);
        let completed = self
            .write("complete", move || async move {
                let completed = world.store.complete(claim, ending.clone()).await;
                world.book().completed(self.name, claim, ending, &completed);
                completed
            })
            .await;
        if let Err(StoreError::Unavailable(_)) = completed {
            world.book().end_unwritten(self.name, claim);
        }
        completed
    }
}
