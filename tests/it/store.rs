//! What every store promises, held against each; and what workers do with a table that they share, or that is
//! not there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;

use trailkeeper::args::Args;
use trailkeeper::clock;
use trailkeeper::event::EventId;
use trailkeeper::incident::{DeliveryErrors, Found, Restoration, Restored, Sighting};
use trailkeeper::retry::Failure;
use trailkeeper::state::{
    Asking, Claim, Claimed, Claims, Counts, DynamoStore, Ending, Key, MemoryStore, Notice, Opened, Session,
    Step, Steps, Store, StoreError,
};

use crate::support::aws::{Aws, Call, Fault, REGION, Stray};
use crate::support::events::{fixture, stop};
use crate::support::eventually;
use crate::support::process::Process;
use crate::support::slack::Slack;
use crate::support::worker::{Scene, Worker, args};

const LEASE: Duration = Duration::from_mins(2);
const REMEMBER: Duration = Duration::from_hours(1);
const TABLE: (&str, &str) = ("TRAILKEEPER_STATE_TABLE", "claims");

fn by(message: &str) -> Asking<'_> {
    Asking { message, redriven: false }
}

fn redriven(message: &str) -> Asking<'_> {
    Asking { message, redriven: true }
}

fn key(event: &str) -> Key {
    Key::Event(EventId::parse(event).expect("an id"))
}

async fn claim(store: &impl Store, event: &str) -> Claim {
    match store.claim(&key(event), LEASE, by("m-0")).await {
        Ok(Claimed::Yours(claim)) => claim,
        other => panic!("{event}: {other:?}"),
    }
}

async fn every_write_is_refused(store: &impl Store, claim: &Claim) {
    assert_eq!(store.extend(claim, LEASE).await, Err(StoreError::Lost));
    assert_eq!(store.record(claim, &[Step::Started]).await, Err(StoreError::Lost));
    assert_eq!(store.release(claim, Counts::Yes, &[]).await, Err(StoreError::Lost));
    assert_eq!(store.complete(claim, Ending::Done, &[]).await, Err(StoreError::Lost));
}

/// Stands for two workers: `one` and `other` share what they know.
pub(super) async fn promises(one: &impl Store, other: &impl Store) {
    // One holds it, the other does not.
    let first = claim(one, "e-1").await;
    assert_eq!((first.attempts, &first.steps), (1, &Steps::default()));
    for store in [
        one.claim(&key("e-1"), LEASE, by("m-0")).await,
        other.claim(&key("e-1"), LEASE, redriven("m-1")).await,
    ] {
        let Ok(Claimed::Held { ends_in }) = store else { panic!("{store:?}") };
        assert!(ends_in > LEASE / 2 && ends_in < LEASE * 2, "{ends_in:?}");
    }
    one.extend(&first, LEASE).await.expect("ours");

    // What one has done, the other finds done.
    let at = clock::now().replace_nanosecond(0).expect("whole");
    let told = Notice { at, text: "that it takes longer".to_owned() };
    let restored = Restored {
        outcome: Restoration::Refused { detail: "denied".to_owned() },
        at,
        stopped_at: Some(at),
        delivery: DeliveryErrors {
            log_files: Some("NoSuchBucket".to_owned()),
            log_group: Some("AccessDenied".to_owned()),
            ..DeliveryErrors::default()
        },
        before: Sighting::On { at, since: None },
        coverage: None,
    };
    let found = vec![Found { trail: "arn".to_owned(), restored: restored.clone() }];
    one.record(&first, &[Step::Started, Step::Announced(told.clone())]).await.expect("ours");
    let steps = [Step::Restored(restored.clone()), Step::Found(found.clone())];
    one.record(&first, &steps).await.expect("ours");
    let done = Steps {
        started: true,
        announced: Some(told.clone()),
        restored: Some(restored),
        found: Some(found),
        notified: None,
    };
    one.release(&first, Counts::Yes, &[]).await.expect("ours");
    every_write_is_refused(one, &first).await;
    let second = claim(other, "e-1").await;
    assert_eq!((second.attempts, &second.steps), (2, &done));
    assert!(second.fence > first.fence);
    assert!((second.first_claimed_at - first.first_claimed_at).abs() < Duration::from_millis(2));
    every_write_is_refused(one, &first).await;

    // What was no attempt is not counted.
    other.release(&second, Counts::No, &[]).await.expect("ours");
    let third = claim(one, "e-1").await;
    assert_eq!(third.attempts, 2);
    // Nor can the same worker by a claim that it had before.
    every_write_is_refused(one, &first).await;
    one.complete(&third, Ending::Done, &[]).await.expect("ours");
    every_write_is_refused(one, &third).await;
    let ended = Claimed::Ended { ending: Ending::Done, attempts: 2 };
    assert_eq!(
        other.claim(&key("e-1"), LEASE, redriven("m-1")).await,
        Ok(ended),
        "done is done, redriven or not"
    );

    // Dead is dead, until it is redriven.
    let doomed = claim(one, "e-2").await;
    one.record(&doomed, &[Step::Notified(told)]).await.expect("ours");
    let ending = Ending::Dead { reason: "restore-refused".to_owned(), detail: "denied".to_owned() };
    one.complete(&doomed, ending.clone(), &[]).await.expect("ours");
    let ended = Claimed::Ended { ending, attempts: 1 };
    assert_eq!(other.claim(&key("e-2"), LEASE, by("m-0")).await, Ok(ended));
    let Ok(Claimed::Yours(again)) = other.claim(&key("e-2"), LEASE, redriven("m-1")).await else {
        panic!("not reopened")
    };
    assert_eq!((again.attempts, &again.steps), (1, &Steps::default()));
    assert!(again.fence > doomed.fence);
    every_write_is_refused(one, &doomed).await;
    // Once for each message: the same one, received again, repeats nothing.
    let ending = Ending::Dead { reason: "notify-refused".to_owned(), detail: "no_service".to_owned() };
    other.complete(&again, ending.clone(), &[]).await.expect("ours");
    let ended = Claimed::Ended { ending, attempts: 1 };
    assert_eq!(one.claim(&key("e-2"), LEASE, redriven("m-1")).await, Ok(ended));
    let Ok(Claimed::Yours(third)) = one.claim(&key("e-2"), LEASE, redriven("m-2")).await else {
        panic!("not reopened by another message")
    };
    assert_eq!(third.attempts, 1);

    // A lease that runs out is taken over, and its owner can write no more.
    let Ok(Claimed::Yours(lapsed)) = one.claim(&key("e-3"), Duration::from_millis(100), by("m-0")).await
    else {
        panic!("not ours")
    };
    let taken =
        eventually("the lease to run out", async || match other.claim(&key("e-3"), LEASE, by("m-0")).await {
            Ok(Claimed::Yours(claim)) => Some(claim),
            Ok(Claimed::Held { ends_in }) => {
                tokio::time::sleep(ends_in.min(Duration::from_millis(100))).await;
                None
            }
            other => panic!("{other:?}"),
        })
        .await;
    assert_eq!((taken.attempts, taken.fence), (2, lapsed.fence + 1));
    every_write_is_refused(one, &lapsed).await;
}

fn store_of(aws: &Aws, owner: &str) -> DynamoStore {
    DynamoStore::new(&aws.sdk_config(), "claims".to_owned(), owner.to_owned(), REMEMBER)
}

/// An AWS with a state table and a stopped trail, a Slack, and what a worker on them is told.
async fn stopped() -> (Aws, Slack, Args) {
    let (aws, slack) = (with_table().await, Slack::start().await);
    aws.stopped_trail("audit", REGION).await;
    let mut args = args(&aws, &slack);
    args.set("TRAILKEEPER_STATE_TABLE", "claims");
    (aws, slack, args)
}

/// A worker that has found the table there and asks for messages.
async fn polling(aws: Aws, slack: Slack, args: &Args) -> Scene {
    let scene = Scene { worker: Worker::start_with(&aws, args), aws, slack };
    eventually("the first poll", async || scene.aws.calls("ReceiveMessage").pop()).await;
    scene
}

async fn with_table() -> Aws {
    let aws = Aws::start().await;
    aws.create_table("claims").await;
    aws
}

#[tokio::test]
async fn memory_keeps_the_promises_of_a_store() {
    let store = MemoryStore::new(REMEMBER);
    promises(&store, &store).await;
}

#[tokio::test]
async fn dynamodb_keeps_the_promises_of_a_store() {
    let aws = with_table().await;
    promises(&store_of(&aws, "one"), &store_of(&aws, "other")).await;
}

/// A step that the table did not take is not forgotten: the next that is recorded takes it along.
#[tokio::test]
async fn a_step_that_could_not_be_written_is_written_with_the_next() {
    let aws = with_table().await;
    let claims = Claims::new(store_of(&aws, "one"), MemoryStore::new(REMEMBER));
    let Opened::Yours(session) = Box::pin(Session::open(&claims, key("e-1"), LEASE, by("m-0"), 1)).await
    else {
        panic!("not ours")
    };
    aws.break_down("UpdateItem", Fault::Refuse(500, "InternalServerError"));
    session.record(Step::Started).await.expect("ours, as far as is known");
    assert!(session.may_repeat());
    aws.heal();
    let at = clock::now().replace_nanosecond(0).expect("whole");
    let notice = Notice { at, text: "so".to_owned() };
    session.record(Step::Notified(notice.clone())).await.expect("ours");
    session.release(Counts::Yes).await.expect("ours");
    let steps = Steps { started: true, notified: Some(notice), ..Steps::default() };
    assert_eq!(claim(&store_of(&aws, "other"), "e-1").await.steps, steps);
}

/// What workers of 0.1.0 have left in a table: an event that was given back in the middle of the work, one that another
/// or they themselves may have restarted, one that is done, one that is dead, and one whose worker has died.
async fn table_of_0_1_0(change: impl Fn(&mut Value)) -> Aws {
    let aws = with_table().await;
    let hour = clock::now() + REMEMBER;
    for mut item in items_of_0_1_0() {
        // Its hour was over long ago.
        item["expires_at"] = json!({ "N": hour.unix_timestamp().to_string() });
        change(&mut item);
        aws.dynamodb("PutItem", &json!({ "TableName": "claims", "Item": item })).await;
    }
    aws
}

fn items_of_0_1_0() -> Vec<Value> {
    fixture("state_table/0_1_0")["Items"].as_array().expect("items").clone()
}

/// A hand, a fault or a later version has written it: it is taken over once it has been watched for as long as its lease lasts.
#[tokio::test]
async fn an_item_that_says_nothing_blocks_nothing() {
    let aws = with_table().await;
    let store = store_of(&aws, "w-1");
    let odd = [
        ("lease_until", None),
        ("lease_until", Some(json!({ "NULL": true }))),
        ("lease_until", Some(json!({ "S": "soon" }))),
        ("lease_until", Some(json!({ "N": "1e30" }))),
        ("status", None),
        ("status", Some(json!({ "N": "1" }))),
        ("status", Some(json!({ "S": "unheard-of" }))),
    ];
    for (position, (name, value)) in odd.into_iter().enumerate() {
        let event = format!("e-{position}");
        let change = |item: &mut Value| match &value {
            Some(value) => item[name] = value.clone(),
            None => drop(item.as_object_mut().expect("an item").remove(name)),
        };
        put(&aws, &event, "held", change).await;
        let first = store.claim(&key(&event), LEASE, by("m-1")).await;
        let Ok(Claimed::Held { ends_in }) = first else { panic!("{name} {value:?}: {first:?}") };
        assert!(ends_in > Duration::ZERO && ends_in <= ODD_LEASE, "{name} {value:?}: {ends_in:?}");
        eventually("the item to be taken over", async || {
            tokio::time::sleep(ODD_LEASE / 10).await;
            match store.claim(&key(&event), LEASE, by("m-1")).await.expect("answered") {
                Claimed::Yours(claim) => Some(claim),
                _ => None,
            }
        })
        .await;
    }
    // Where it says nothing at all: after the lease of 0.1.0.
    aws.dynamodb("PutItem", &json!({ "TableName": "claims", "Item": { "pk": { "S": "event#e-bare" } } }))
        .await;
    let bare = store.claim(&key("e-bare"), LEASE, by("m-1")).await;
    let Ok(Claimed::Held { ends_in }) = bare else { panic!("{bare:?}") };
    assert!(ends_in > Duration::from_mins(1) && ends_in <= Duration::from_mins(2), "{ends_in:?}");
}

/// Nothing can be counted on in it: it is worked on without the table, and the table's answer names the item.
#[tokio::test]
async fn an_item_that_counts_wrong_is_no_claim() {
    let aws = with_table().await;
    let store = store_of(&aws, "w-1");
    let odd =
        [("attempts", "-5"), ("attempts", "4294967296"), ("fence", "-5"), ("fence", "99999999999999999999")];
    for (position, (name, number)) in odd.into_iter().enumerate() {
        let event = format!("e-{position}");
        put(&aws, &event, "free", |item| item[name] = json!({ "N": number })).await;
        let Err(StoreError::Refused(why)) = store.claim(&key(&event), LEASE, by("m-1")).await else {
            panic!("{name} {number}")
        };
        assert!(why.contains(&format!("event#{event}")), "{why}");
    }
}

/// How long the claims of [`put`] last.
const ODD_LEASE: Duration = Duration::from_millis(500);

/// Writes an item, as somebody else's worker does and then somebody changes it.
async fn put(aws: &Aws, event: &str, status: &str, change: impl Fn(&mut Value)) {
    let until = (clock::now() + Duration::from_hours(1)).unix_timestamp() * 1_000;
    let mut item = json!({
        "pk": { "S": format!("event#{event}") }, "status": { "S": status }, "owner": { "S": "w-2" },
        "token": { "S": "t" }, "lease_token": { "S": "t" }, "fence": { "N": "1" }, "attempts": { "N": "1" },
        "lease_until": { "N": until.to_string() }, "lease_ms": { "N": ODD_LEASE.as_millis().to_string() },
        "message": { "S": "m-2" }, "expires_at": { "N": (until / 1_000).to_string() },
    });
    change(&mut item);
    aws.dynamodb("PutItem", &json!({ "TableName": "claims", "Item": item })).await;
}

/// Every item in the table, by its key, without what differs each time.
async fn items(aws: &Aws) -> BTreeMap<String, Value> {
    let scanned = aws.dynamodb("Scan", &json!({ "TableName": "claims" })).await;
    scanned["Items"].as_array().expect("items").iter().cloned().map(without_what_differs).collect()
}

fn without_what_differs(mut item: Value) -> (String, Value) {
    let fields = item.as_object_mut().expect("an item");
    // The last three are this version's.
    for differs in
        ["token", "first_claimed_at", "lease_until", "expires_at", "lease_ms", "lease_token", "message"]
    {
        fields.remove(differs);
    }
    (item["pk"]["S"].as_str().expect("a key").to_owned(), item)
}

/// The steps of those items.
fn steps_of_0_1_0() -> (Steps, Notice) {
    let at = OffsetDateTime::from_unix_timestamp(1_795_166_109).expect("a time");
    let text = "mallory turned off CloudTrail logging in account 111122223333 at 2026-11-20T09:15:02Z. LOGGING IS \
                STILL OFF: the restart is being retried. StartLogging: ThrottlingException";
    let restored = Restored {
        outcome: Restoration::Restarted,
        at,
        stopped_at: Some(at - Duration::from_secs(7)),
        ..Restored::new(Restoration::Restarted, at)
    };
    let announced = Some(Notice { at, text: text.to_owned() });
    let steps = Steps { started: true, restored: Some(restored), announced, ..Steps::default() };
    (steps, Notice { at, text: "so".to_owned() })
}

/// Both versions run during a deploy: this one reads what 0.1.0 wrote.
#[tokio::test]
async fn what_the_version_before_wrote_is_read() {
    let aws = table_of_0_1_0(|_| {}).await;
    let store = store_of(&aws, "one");
    let (steps, _) = steps_of_0_1_0();
    let given_back = claim(&store, "e-free").await;
    assert_eq!((given_back.attempts, given_back.fence, &given_back.steps), (2, 2, &steps));
    let left_by_the_dead = claim(&store, "e-held").await;
    assert_eq!((left_by_the_dead.attempts, &left_by_the_dead.steps), (2, &steps));
    let restored = claim(&store, "e-already").await.steps.restored.expect("restored");
    assert!(
        matches!(restored.outcome, Restoration::AlreadyLogging { since: Some(_), perhaps_ours: true }),
        "{restored:?}"
    );
    let done = store.claim(&key("e-done"), LEASE, by("m-0")).await;
    assert_eq!(done, Ok(Claimed::Ended { ending: Ending::Done, attempts: 1 }));
    let (reason, detail) = ("restore-refused".to_owned(), "StartLogging: AccessDeniedException".to_owned());
    let dead = store.claim(&key("e-dead"), LEASE, by("m-0")).await;
    assert_eq!(dead, Ok(Claimed::Ended { ending: Ending::Dead { reason, detail }, attempts: 1 }));
}

/// And 0.1.0 reads what this one writes, since it is the same.
#[tokio::test]
async fn what_is_written_is_as_the_version_before_wrote_it() {
    let aws = with_table().await;
    let store = store_of(&aws, "0123456789abcdef0123456789abcdef");
    let (steps, notice) = steps_of_0_1_0();
    let (announced, restarted) = (steps.announced.expect("announced"), steps.restored.expect("restored"));
    for event in ["e-free", "e-done", "e-dead", "e-held", "e-already"] {
        let ours = claim(&store, event).await;
        store.record(&ours, &[Step::Announced(announced.clone()), Step::Started]).await.expect("ours");
        let detail = "StartLogging: AccessDeniedException".to_owned();
        let outcome = match event {
            "e-dead" => Restoration::Refused { detail: detail.clone() },
            "e-already" => Restoration::AlreadyLogging { since: Some(restarted.at), perhaps_ours: true },
            _ => Restoration::Restarted,
        };
        let restored = Restored { outcome, ..restarted.clone() };
        store.record(&ours, &[Step::Restored(restored)]).await.expect("ours");
        let notified = [Step::Notified(notice.clone())];
        match event {
            "e-free" | "e-already" => store.release(&ours, Counts::Yes, &[]).await.expect("ours"),
            "e-done" => {
                store.record(&ours, &notified).await.expect("ours");
                store.complete(&ours, Ending::Done, &[]).await.expect("ours");
            }
            "e-dead" => {
                store.record(&ours, &notified).await.expect("ours");
                let ending = Ending::Dead { reason: "restore-refused".to_owned(), detail };
                store.complete(&ours, ending, &[]).await.expect("ours");
            }
            _ => {}
        }
    }
    let theirs: BTreeMap<_, _> = items_of_0_1_0().into_iter().map(without_what_differs).collect();
    assert_eq!(items(&aws).await, theirs);
}

/// What a later version has written beside, or in another form, stays; and it hides nothing else.
#[tokio::test]
async fn what_is_not_known_is_kept_and_takes_nothing_with_it() {
    let later = json!({ "S": "of a later version" });
    let aws = table_of_0_1_0(|item| {
        item["later"] = later.clone();
        item["steps"]["M"]["shown"] = later.clone();
        item["steps"]["M"]["restored"] = json!({ "S": "{\"outcome\":\"put_back\"}" });
    })
    .await;
    let store = store_of(&aws, "one");
    let (steps, notice) = steps_of_0_1_0();
    let ours = claim(&store, "e-free").await;
    assert_eq!(ours.steps, Steps { restored: None, ..steps }, "what cannot be read is not done, the rest is");
    store.record(&ours, &[Step::Notified(notice)]).await.expect("ours");
    store.extend(&ours, LEASE).await.expect("ours");
    store.release(&ours, Counts::Yes, &[]).await.expect("ours");
    let ours = claim(&store, "e-free").await;
    store.complete(&ours, Ending::Done, &[]).await.expect("ours");
    let item = &items(&aws).await["event#e-free"];
    assert_eq!((&item["later"], &item["steps"]["M"]["shown"]), (&later, &later));
    assert_eq!(item["steps"]["M"]["restored"]["S"], "{\"outcome\":\"put_back\"}");
}

#[tokio::test]
async fn of_many_that_claim_at_once_one_gets_it() {
    let aws = with_table().await;
    for round in 0..20 {
        let event = format!("e-{round}");
        let claims = (0..8).map(|owner| {
            let store = store_of(&aws, &format!("w{owner}"));
            let event = key(&event);
            tokio::spawn(async move { store.claim(&event, LEASE, by("m-0")).await })
        });
        let mut won = 0;
        for claim in claims.collect::<Vec<_>>() {
            won += usize::from(matches!(claim.await.expect("no panic"), Ok(Claimed::Yours(_))));
        }
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn an_ended_event_is_forgotten_when_its_time_is_over_though_the_table_still_has_it() {
    let aws = with_table().await;
    let store = DynamoStore::new(&aws.sdk_config(), "claims".to_owned(), "one".to_owned(), Duration::ZERO);
    let done = claim(&store, "e-1").await;
    store.complete(&done, Ending::Done, &[]).await.expect("ours");
    assert_eq!(claim(&store, "e-1").await.attempts, 1);
}

#[tokio::test]
async fn throttling_is_waited_out_and_an_outage_is_told() {
    let aws = with_table().await;
    let store = store_of(&aws, "one");
    aws.fault("UpdateItem", 2, Fault::Refuse(400, "ProvisionedThroughputExceededException"));
    assert_eq!(claim(&store, "e-1").await.attempts, 1);
    aws.break_down("UpdateItem", Fault::Refuse(500, "InternalServerError"));
    let outage = store.claim(&key("e-2"), LEASE, by("m-0")).await;
    assert_eq!(outage, Err(StoreError::Silent("InternalServerError".to_owned())));
}

/// What arrives after its caller has given up on it, and after later writes, takes nothing back.
#[tokio::test]
async fn a_write_that_arrives_late_takes_nothing_back() {
    let aws = with_table().await;
    let store = store_of(&aws, "one");
    let ours = claim(&store, "e-1").await;
    let stray = || {
        let stray = Arc::new(Stray::default());
        aws.fault("UpdateItem", 1, Fault::Stray(Arc::clone(&stray)));
        stray
    };
    let told = Notice { at: clock::now().replace_nanosecond(0).expect("whole"), text: "so".to_owned() };
    let record = stray();
    store.record(&ours, &[Step::Announced(told.clone())]).await.expect("ours, at the second try");
    let extension = stray();
    store.extend(&ours, LEASE).await.expect("ours, at the second try");
    store.record(&ours, &[Step::Notified(told.clone())]).await.expect("ours");
    store.extend(&ours, 3 * LEASE).await.expect("ours");
    record.arrive().await;
    extension.arrive().await;
    let Ok(Claimed::Held { ends_in }) = store.claim(&key("e-1"), LEASE, by("m-0")).await else {
        panic!("not held")
    };
    assert!(ends_in > 2 * LEASE, "{ends_in:?}");
    // One that is overtaken while its caller still waits has done what it should.
    store.extend(&ours, LEASE).await.expect("ours");
    store.release(&ours, Counts::Yes, &[]).await.expect("ours");
    let both = Steps { announced: Some(told.clone()), notified: Some(told), ..Steps::default() };
    assert_eq!(claim(&store, "e-1").await.steps, both);
}

/// A write that was carried out and never answered is made again, and comes to the same end.
#[tokio::test]
async fn a_write_whose_answer_is_lost_is_known_again() {
    let aws = with_table().await;
    let store = store_of(&aws, "one");
    let lose = || aws.fault("UpdateItem", 1, Fault::Lose);
    lose();
    let first = claim(&store, "e-1").await;
    assert_eq!((first.attempts, first.fence), (1, 1));
    lose();
    store.record(&first, &[Step::Started]).await.expect("ours");
    lose();
    store.extend(&first, LEASE).await.expect("ours");
    lose();
    store.release(&first, Counts::Yes, &[]).await.expect("ours");
    let second = claim(&store, "e-1").await;
    lose();
    let ending = Ending::Dead { reason: "restore-refused".to_owned(), detail: "denied".to_owned() };
    store.complete(&second, ending, &[]).await.expect("ours");
    lose();
    let Ok(Claimed::Yours(third)) = store.claim(&key("e-1"), LEASE, redriven("m-1")).await else {
        panic!("not reopened")
    };
    lose();
    store.complete(&third, Ending::Done, &[]).await.expect("ours");
    every_write_is_refused(&store, &third).await;
}

#[tokio::test]
async fn an_event_that_goes_well_takes_three_writes() {
    let (aws, slack, args) = stopped().await;
    let worker = Worker::start_with(&aws, &args);
    eventually("the probe", async || aws.calls("UpdateItem").pop()).await;
    let scene = Scene { aws, slack, worker };
    scene.handle(stop("e-1", "audit")).await;
    let of_events =
        |call: &Call| call.body["Key"]["pk"]["S"].as_str().is_some_and(|key| key.starts_with("event#"));
    assert_eq!(scene.aws.calls("UpdateItem").iter().filter(|call| of_events(call)).count(), 3);
    assert!(!scene.slack.texts().await[0].contains("twice"));
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_duplicate_that_reaches_another_worker_repeats_nothing() {
    let (aws, slack, shared) = stopped().await;
    let first = Worker::start_with(&aws, &shared);
    let scene = Scene { aws, slack, worker: first };
    scene.handle(stop("e-1", "audit")).await;
    scene.worker.drain();
    let Scene { aws, slack, worker } = scene;
    worker.stop().await;
    let scene = Scene { worker: Worker::start_with(&aws, &shared), aws, slack };
    scene.handle(stop("e-1", "audit")).await;
    assert_eq!(scene.aws.calls("StartLogging").len(), 1);
    assert_eq!(scene.slack.posts().await.len(), 1);
    scene.worker.stop().await;
}

/// What one worker had to leave, the next goes on with: Slack fails for the first, and the second restarts nothing.
#[tokio::test]
async fn a_retry_goes_on_where_another_worker_stopped() {
    let (aws, slack, mut shared) = stopped().await;
    slack.next(1, wiremock::ResponseTemplate::new(500)).await;
    shared.set("TRAILKEEPER_RETRY_BASE_SECONDS", "3");
    shared.set("TRAILKEEPER_RETRY_MAX_SECONDS", "3");
    let first = Worker::start_with(&aws, &shared);
    aws.send(stop("e-1", "audit").to_string()).await;
    eventually("the failed post", async || slack.posts().await.pop()).await;
    first.stop().await;
    let scene = Scene { worker: Worker::start_with(&aws, &shared), aws, slack };
    scene.settled().await;
    assert_eq!(scene.aws.calls("StartLogging").len(), 1);
    assert_eq!(scene.slack.posts().await.len(), 2);
    scene.worker.stop().await;
}

#[tokio::test]
async fn a_trail_is_not_left_stopped_because_the_table_is_down() {
    for fault in [Fault::Refuse(500, "InternalServerError"), Fault::Refuse(400, "ThrottlingException")] {
        let (aws, slack, args) = stopped().await;
        let worker = Worker::start_with(&aws, &args);
        eventually("the probe", async || aws.calls("UpdateItem").pop()).await;
        aws.break_down("UpdateItem", fault);
        let scene = Scene { aws, slack, worker };
        scene.handle(stop("e-1", "audit")).await;
        assert!(scene.aws.is_logging("audit", REGION).await);
        let texts = scene.slack.texts().await;
        assert_eq!(texts.len(), 1);
        assert!(
            texts[0].ends_with("(The state table is not available: this message may come twice.)"),
            "{texts:?}"
        );
        scene.worker.stop().await;
    }
}

/// Receives are no executions: one that was received more often than it may be tried is restarted all the same,
/// with a lease that is not over before the table has been given up on.
#[tokio::test]
async fn a_message_often_received_is_restarted_though_nobody_can_count() {
    let (aws, slack, mut args) = stopped().await;
    args.set("TRAILKEEPER_MAX_ATTEMPTS", "2");
    args.set("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "6");
    aws.send(stop("e-1", "audit").to_string()).await;
    for _ in 0..3 {
        eventually("a receive", async || {
            let request = aws.sqs().receive_message().queue_url(aws.queue_url("events"));
            request.visibility_timeout(1).send().await.expect("an answer").messages?.pop()
        })
        .await;
    }
    // Two probes and the claim's tries: the table takes longer than the visibility timeout to be given up on.
    aws.break_down("UpdateItem", Fault::Delay(Duration::from_mins(1)));
    let scene = Scene { worker: Worker::start_with(&aws, &args), aws, slack };
    scene.settled().await;
    assert!(scene.aws.is_logging("audit", REGION).await);
    assert_eq!(scene.aws.depth("poison"), 0);
    scene.worker.stop().await;
}

/// The table goes away between the claim and the record of the restart.
#[tokio::test]
async fn a_table_that_goes_away_midway_stops_nothing() {
    let (aws, slack, args) = stopped().await;
    aws.fault("StartLogging", 1, Fault::Delay(Duration::from_secs(2)));
    let worker = Worker::start_with(&aws, &args);
    aws.send(stop("e-1", "audit").to_string()).await;
    eventually("the restart", async || aws.calls("StartLogging").pop()).await;
    aws.break_down("UpdateItem", Fault::Refuse(500, "InternalServerError"));
    let scene = Scene { aws, slack, worker };
    scene.settled().await;
    assert!(scene.slack.texts().await[0].contains("this message may come twice"));
    assert_eq!(scene.aws.depth("poison"), 0);
    scene.worker.stop().await;
}

/// A table that answers with an error for now, from here on.
const SILENT: Fault = Fault::Refuse(500, "InternalServerError");

/// Two copies of an event that reach one worker at once while the table does not answer: one of them is a duplicate.
#[tokio::test]
async fn without_the_table_a_copy_in_the_same_worker_is_a_duplicate() {
    let (aws, slack, args) = stopped().await;
    let scene = polling(aws, slack, &args).await;
    scene.aws.break_down("UpdateItem", SILENT);
    let copies = [stop("e-1", "audit"), stop("e-1", "audit"), stop("e-1", "audit")];
    scene.aws.send_many("events", copies.iter().map(Value::to_string)).await;
    scene.settled().await;
    // One more, once all that is over.
    scene.handle(stop("e-1", "audit")).await;
    assert_eq!(scene.aws.calls("StartLogging").len(), 1);
    let texts = scene.slack.texts().await;
    assert!(texts.len() == 1 && texts[0].contains("this message may come twice"), "{texts:?}");
    scene.worker.stop().await;
}

/// What needs no look is reported at once while the table does not answer; and where it refuses, so is what is on.
#[tokio::test]
async fn without_the_table_what_cannot_wait_is_reported_at_once() {
    let mut deleted = stop("e-deleted", "audit");
    deleted["detail"]["eventName"] = json!("DeleteTrail");
    let mut attempted = stop("e-attempted", "audit");
    attempted["detail"]["errorCode"] = json!("AccessDenied");
    let refuses = Fault::Refuse(400, "AccessDeniedException");
    for (fault, event, is_on) in
        [(SILENT, deleted, false), (SILENT, attempted, false), (refuses, stop("e-on", "audit"), true)]
    {
        let (aws, slack, args) = stopped().await;
        if is_on {
            let client = aws.cloudtrail(REGION);
            client.start_logging().name("audit").send().await.expect("started by somebody else");
        }
        let scene = polling(aws, slack, &args).await;
        scene.aws.break_down("UpdateItem", fault);
        scene.handle(event).await;
        let texts = scene.slack.texts().await;
        assert!(texts.len() == 1 && texts[0].contains("this message may come twice"), "{texts:?}");
        assert!(scene.aws.calls("ChangeMessageVisibilityBatch").is_empty(), "it was not given back");
        scene.worker.stop().await;
    }
}

/// That people were told that it takes longer, a worker knows also where it could not write that down.
#[tokio::test]
async fn without_the_table_a_delay_is_told_once() {
    let (aws, slack, mut args) = stopped().await;
    args.set("TRAILKEEPER_MAX_ATTEMPTS", "20");
    let scene = polling(aws, slack, &args).await;
    scene.aws.break_down("UpdateItem", SILENT);
    scene.aws.break_down("StartLogging", Fault::Refuse(400, "ConflictException"));
    scene.aws.send(stop("e-1", "audit").to_string()).await;
    let tries = async || Some(scene.aws.calls("StartLogging")).filter(|tries| tries.len() >= 10);
    eventually("several attempts", tries).await;
    scene.aws.heal();
    scene.settled().await;
    let texts = scene.slack.texts().await;
    let delayed = texts.iter().filter(|text| text.contains("the restart is not done yet")).count();
    assert_eq!((delayed, texts.len()), (1, 2), "{texts:?}");
    scene.worker.stop().await;
}

/// The table goes away before the end could be written down, and is written to once it is back; so is what was done without a claim.
#[tokio::test]
async fn what_the_table_has_missed_is_written_down_when_it_is_back() {
    let (aws, slack, args) = stopped().await;
    aws.fault("StartLogging", 1, Fault::Late(Duration::from_secs(1)));
    let scene = Scene { worker: Worker::start_with(&aws, &args), aws, slack };
    scene.aws.send(stop("e-claimed", "audit").to_string()).await;
    eventually("the restart", async || scene.aws.calls("StartLogging").pop()).await;
    scene.aws.break_down("UpdateItem", SILENT);
    scene.settled().await;
    scene.aws.stopped_trail("other", REGION).await;
    scene.handle(stop("e-unclaimed", "other")).await;
    assert!(!items(&scene.aws).await.contains_key("event#e-unclaimed"));
    scene.aws.heal();
    for event in ["event#e-claimed", "event#e-unclaimed"] {
        let is_done =
            async || items(&scene.aws).await.get(event).filter(|item| item["status"]["S"] == "done").cloned();
        eventually("the end", is_done).await;
    }
    // A copy that reaches another worker is a duplicate.
    scene.worker.stop().await;
    let scene = Scene { worker: Worker::start_with(&scene.aws, &args), aws: scene.aws, slack: scene.slack };
    scene.handle(stop("e-unclaimed", "other")).await;
    assert_eq!(scene.slack.posts().await.len(), 2);
    scene.worker.stop().await;
}

/// What is written down late is never written over the claim of somebody who is at work.
#[tokio::test]
async fn what_the_table_has_missed_takes_no_live_claim() {
    let (aws, slack, args) = stopped().await;
    let scene = polling(aws, slack, &args).await;
    scene.aws.break_down("UpdateItem", SILENT);
    scene.handle(stop("e-1", "audit")).await;
    let now = clock::now().unix_timestamp() * 1_000;
    let theirs = json!({
        "pk": { "S": "event#e-1" }, "status": { "S": "held" }, "owner": { "S": "other" }, "token": { "S": "theirs" },
        "fence": { "N": "1" }, "attempts": { "N": "1" }, "message": { "S": "m-other" },
        "first_claimed_at": { "N": now.to_string() }, "lease_until": { "N": (now + 600_000).to_string() },
        "lease_ms": { "N": "600000" }, "expires_at": { "N": (now / 1_000 + 3_600).to_string() },
    });
    scene.aws.dynamodb("PutItem", &json!({ "TableName": "claims", "Item": theirs })).await;
    scene.aws.heal();
    scene.aws.forget();
    eventually("a look at what is owed", async || {
        scene.aws.calls("UpdateItem").into_iter().find(|call| call.body["Key"]["pk"]["S"] == "event#e-1")
    })
    .await;
    scene.worker.stop().await;
    let scanned = scene.aws.dynamodb("Scan", &json!({ "TableName": "claims" })).await;
    let of_events = |item: &&Value| item["pk"]["S"] != "policy";
    let items: Vec<_> = scanned["Items"].as_array().expect("a list").iter().filter(of_events).collect();
    assert_eq!(items, [&theirs]);
}

/// A lease that ran out during a slow call, and could not be extended: no effect follows before the event is
/// claimed again.
#[tokio::test]
async fn no_effect_follows_once_the_lease_is_over() {
    // Longer than the lease, and shorter than it takes until people are told of a slow restart.
    let slow = Duration::from_secs(4);
    for (slow_call, fault) in [("GetTrailStatus", Fault::Delay(slow)), ("StartLogging", Fault::Late(slow))] {
        let (aws, slack, mut args) = stopped().await;
        args.set("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "3");
        aws.fault(slow_call, 1, fault);
        let worker = Worker::start_with(&aws, &args);
        aws.send(stop("e-1", "audit").to_string()).await;
        eventually("the slow call", async || aws.calls(slow_call).pop()).await;
        aws.break_down("UpdateItem", Fault::Refuse(500, "InternalServerError"));
        eventually("the event to be let go", async || {
            let writes = aws.calls("UpdateItem");
            writes.into_iter().find(|call| !call.body["ExpressionAttributeValues"][":counted"].is_null())
        })
        .await;
        assert_eq!(aws.calls("StartLogging").len(), usize::from(slow_call == "StartLogging"));
        assert!(slack.posts().await.is_empty());
        aws.heal();
        let scene = Scene { aws, slack, worker };
        scene.settled().await;
        assert_eq!(scene.aws.calls("StartLogging").len(), 1);
        assert_eq!(scene.slack.posts().await.len(), 1);
        scene.worker.stop().await;
    }
}

#[tokio::test]
async fn a_table_that_is_wrong_is_told_at_start() {
    let (aws, slack) = (Aws::start().await, Slack::start().await);
    for (code, told) in [
        ("ResourceNotFoundException", "there is no table claims in this account and region"),
        (
            "ValidationException",
            "the key of the table claims is not a partition key `pk` of type string alone",
        ),
        ("AccessDeniedException", "allow dynamodb:UpdateItem on the table claims to the worker's role"),
    ] {
        aws.fault("UpdateItem", 1, Fault::Refuse(400, code));
        let wrong = Process::start(&aws, &slack, &[TABLE]).ended().await;
        assert_eq!(wrong.status, Some(2));
        assert!(wrong.stderr.contains(told), "{}", wrong.stderr);
    }
}

/// The work of a worker that was killed is taken up by the next, which knows no better than it can who restarted
/// the trail.
#[tokio::test]
async fn the_event_of_a_killed_worker_is_finished_by_another() {
    let slow = Duration::from_secs(20);
    for (fault, told) in [
        (Fault::Delay(slow), "Logging was restarted and verified"),
        (Fault::Late(slow), "an earlier attempt by trailkeeper, or somebody else"),
    ] {
        let (aws, slack, _) = stopped().await;
        aws.fault("StartLogging", 1, fault);
        let short = ("TRAILKEEPER_VISIBILITY_TIMEOUT_SECONDS", "3");
        let killed = Process::start(&aws, &slack, &[TABLE, short]);
        aws.send(stop("e-1", "audit").to_string()).await;
        eventually("work to begin", async || aws.calls("StartLogging").pop()).await;
        drop(killed);
        let next = Process::start(&aws, &slack, &[TABLE, short]);
        eventually("the queue to be empty", async || (aws.depth("events") == 0).then_some(())).await;
        assert!(aws.is_logging("audit", REGION).await);
        let texts = slack.texts().await;
        assert_eq!(texts.len(), 1);
        assert!(texts[0].contains(told), "{texts:?}");
        assert_eq!(aws.depth("poison"), 0);
        next.terminate().await;
        assert_eq!(next.ended().await.status, Some(0));
    }
}

/// A store whose extensions fail, or hang, so many times.
struct Failing {
    store: MemoryStore,
    fails: AtomicUsize,
    hangs: bool,
    extensions: Arc<Mutex<Vec<Instant>>>,
}

impl Store for Failing {
    async fn claim(&self, key: &Key, lease: Duration, asking: Asking<'_>) -> Result<Claimed, StoreError> {
        self.store.claim(key, lease, asking).await
    }

    async fn extend(&self, claim: &Claim, lease: Duration) -> Result<(), StoreError> {
        self.extensions.lock().expect("whole").push(Instant::now());
        if self.fails.load(Ordering::SeqCst) > 0 {
            self.fails.fetch_sub(1, Ordering::SeqCst);
            if self.hangs {
                std::future::pending::<()>().await;
            }
            return Err(StoreError::Silent("as the test asked for".to_owned()));
        }
        self.store.extend(claim, lease).await
    }

    async fn record(&self, claim: &Claim, steps: &[Step]) -> Result<(), StoreError> {
        self.store.record(claim, steps).await
    }

    async fn release(&self, claim: &Claim, counts: Counts, steps: &[Step]) -> Result<(), StoreError> {
        self.store.release(claim, counts, steps).await
    }

    async fn complete(&self, claim: &Claim, ending: Ending, steps: &[Step]) -> Result<(), StoreError> {
        self.store.complete(claim, ending, steps).await
    }

    async fn probe(&self) -> Result<(), Failure> {
        self.store.probe().await
    }
}

/// At each tick while the lease lasts: two failures in a row do not lose it, nor do two requests that hang.
#[tokio::test(start_paused = true)]
async fn an_extension_that_fails_is_tried_again_while_the_lease_lasts() {
    for hangs in [false, true] {
        let (store, fails) = (MemoryStore::new(REMEMBER), AtomicUsize::new(2));
        let extensions = Arc::<Mutex<Vec<Instant>>>::default();
        let store = Failing { store, fails, hangs, extensions: Arc::clone(&extensions) };
        let claims = Claims::new(store, MemoryStore::new(REMEMBER));
        let started_at = Instant::now();
        let Opened::Yours(session) = Session::open(&claims, key("e-1"), LEASE, by("m-0"), 1).await else {
            panic!("it is new")
        };
        let kept = tokio::time::timeout(LEASE * 5 / 2, session.keep()).await;
        assert!(kept.is_err(), "the claim is lost");
        assert!(session.still_ours().is_ok(), "hangs: {hangs}");
        let extensions = extensions.lock().expect("whole").clone();
        let asked: Vec<_> = extensions.iter().map(|at| (*at - started_at).as_secs()).take(3).collect();
        let tick = LEASE.as_secs() / 6;
        assert_eq!(asked, [3, 4, 5].map(|ticks| ticks * tick), "hangs: {hangs}");
    }
}

/// A store that answers nothing, and gives up only after a while, as a table that hangs does.
struct Hanging(MemoryStore);

/// The tries of one write.
const GIVES_UP: Duration = Duration::from_secs(9);

async fn hang<T>() -> Result<T, StoreError> {
    tokio::time::sleep(GIVES_UP).await;
    Err(StoreError::Silent("no answer".to_owned()))
}

impl Store for Hanging {
    async fn claim(&self, key: &Key, lease: Duration, asking: Asking<'_>) -> Result<Claimed, StoreError> {
        if key.to_string().contains("hangs") { hang().await } else { self.0.claim(key, lease, asking).await }
    }

    async fn extend(&self, _: &Claim, _: Duration) -> Result<(), StoreError> {
        hang().await
    }

    async fn record(&self, _: &Claim, _: &[Step]) -> Result<(), StoreError> {
        hang().await
    }

    async fn release(&self, _: &Claim, _: Counts, _: &[Step]) -> Result<(), StoreError> {
        hang().await
    }

    async fn complete(&self, _: &Claim, _: Ending, _: &[Step]) -> Result<(), StoreError> {
        hang().await
    }

    async fn probe(&self) -> Result<(), Failure> {
        self.0.probe().await
    }
}

/// Who finds it out waits for it; nobody after that does, until it answers.
#[tokio::test(start_paused = true)]
async fn a_table_that_hangs_holds_up_one_write_and_the_next_only_briefly() {
    let claims = Claims::new(Hanging(MemoryStore::new(REMEMBER)), MemoryStore::new(REMEMBER));
    let took = async |id: &str, claims: &Claims<Hanging>| {
        let mut at = vec![Instant::now()];
        let Opened::Yours(session) = Box::pin(Session::open(claims, key(id), LEASE, by(id), 1)).await else {
            panic!("it is new")
        };
        at.push(Instant::now());
        let _ = session.record(Step::Started).await;
        at.push(Instant::now());
        let _ = session.complete(Ending::Done).await;
        at.push(Instant::now());
        at.windows(2).map(|at| at[1].duration_since(at[0]).as_secs()).collect::<Vec<_>>()
    };
    claims.probe().await.expect("it answers");
    assert_eq!(took("hangs-1", &claims).await, [9, 0, 0]);
    assert_eq!(took("hangs-2", &claims).await, [2, 0, 0]);
    claims.probe().await.expect("it answers again");
    assert_eq!(took("e-1", &claims).await, [0, 9, 2], "the writes after the claim likewise");
    assert_eq!(took("hangs-3", &claims).await, [2, 0, 0]);
}
