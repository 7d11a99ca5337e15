//! An AWS Organization of the tests' own: accounts with their roles, Regions, trails and quotas. It is a model with rules, and each
//! rule is one that AWS documents or recordings show; what is not confirmed is said.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "shared with the demo and the benchmark, each of which uses a part"
)]

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use trailkeeper::clock;
use trailkeeper::event::TrailArn;

use super::aws::{ACCOUNT, Aws, Call, Fault, Watch};
use super::cloudtrail::{Caller, Trail};

/// The role that the accounts have, and what it asks for.
pub const ROLE: &str = "trailkeeper-member";
pub const EXTERNAL_ID: &str = "o-keeper/1";
/// The management account.
pub const MANAGEMENT: &str = "999900001111";
/// Accounts in a page of `ListAccounts`: AWS gives twenty at most.
const PAGE: usize = 20;
/// A role that is assumed by another role's session lasts an hour at most.
const MAX_SESSION: Duration = Duration::from_hours(1);
/// Events in a page of `LookupEvents`: AWS gives fifty at most.
const HISTORY_PAGE: usize = 50;
/// CloudTrail takes two `LookupEvents` a second of an account in a Region; likewise.
const LOOKUP_PACE: Duration = Duration::from_millis(450);
/// The calls that are played; others are the server's own.
const PLAYED: [&str; 6] =
    ["DescribeTrails", "GetEventSelectors", "GetTrailStatus", "ListTrails", "LookupEvents", "StartLogging"];
/// CloudTrail takes one `StartLogging` a second of an account in a Region. To the millisecond nobody measures it, and a request may be
/// on its way for longer than the one before.
const START_PACE: Duration = Duration::from_millis(900);

/// An account.
#[derive(Debug, Clone)]
pub struct Account {
    pub id: String,
    pub name: String,
    /// `ACTIVE`, `SUSPENDED` and so on.
    pub state: String,
    /// Whether it has the role, and lets the worker in.
    pub has_role: bool,
    pub external_id: String,
    pub session_lasts: Duration,
    /// Regions that are not enabled.
    pub without: HashSet<String>,
    /// Every call of CloudTrail's is one too many.
    pub throttles: bool,
}

impl Account {
    pub fn new(id: &str, name: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            state: "ACTIVE".to_owned(),
            has_role: true,
            external_id: EXTERNAL_ID.to_owned(),
            session_lasts: MAX_SESSION,
            without: HashSet::new(),
            throttles: false,
        }
    }
}

/// A trail, and who has copies of it.
#[derive(Debug, Clone)]
struct Placed {
    trail: Trail,
    is_multi_region: bool,
    /// It is the organization's: members see it, and may not start it.
    is_organizations: bool,
}

#[derive(Debug, Default)]
struct World {
    accounts: Vec<Account>,
    /// Those that may list accounts and start the organization's trails.
    delegated: HashSet<String>,
    trails: Vec<Placed>,
    /// By access key: whose session it is, and until when.
    sessions: HashMap<String, (String, Instant)>,
    /// By account and Region.
    started_at: HashMap<(String, String), Instant>,
    /// A page without accounts follows each page.
    has_empty_pages: bool,
    throttled: usize,
    /// The event history: records of CloudTrail.
    history: Vec<Value>,
    looked_up_at: HashMap<(String, String), Instant>,
    /// When each `StartLogging` was carried out.
    starts: Vec<Instant>,
}

/// The organization, in the place of the server's own CloudTrail.
#[derive(Debug, Clone, Default)]
pub struct Organization(Arc<Mutex<World>>);

impl Organization {
    /// The worker's account is a delegated administrator; these are the others.
    pub fn of(aws: &Aws, accounts: impl IntoIterator<Item = Account>) -> Self {
        let organization = Self::default();
        {
            let mut world = organization.world();
            world.accounts =
                [Account::new(ACCOUNT, "security"), Account::new(MANAGEMENT, "management")].into();
            world.accounts.extend(accounts);
            world.delegated = [ACCOUNT, MANAGEMENT].map(str::to_owned).into();
        }
        aws.watch(Arc::new(organization.clone()));
        organization
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn add(&self, account: Account) {
        self.world().accounts.push(account);
    }

    /// The account has left the organization.
    pub fn remove(&self, id: &str) {
        self.world().accounts.retain(|account| account.id != id);
    }

    pub fn change(&self, id: &str, change: impl FnOnce(&mut Account)) {
        change(self.world().accounts.iter_mut().find(|account| account.id == id).expect("an account"));
    }

    /// The worker's account is no delegated administrator any more.
    pub fn undelegate(&self) {
        self.world().delegated.remove(ACCOUNT);
    }

    pub fn with_empty_pages(&self) {
        self.world().has_empty_pages = true;
    }

    pub fn add_trail(&self, trail: Trail) {
        self.world().trails.push(Placed { trail, is_multi_region: true, is_organizations: false });
    }

    pub fn add_organization_trail(&self, trail: Trail) {
        self.world().trails.push(Placed { trail, is_multi_region: true, is_organizations: true });
    }

    /// Somebody stops a trail, as of then.
    pub fn stop(&self, arn: &str, at: OffsetDateTime) {
        self.change_trail(arn, |trail| (trail.logging, trail.stopped_at) = (false, Some(at)));
    }

    pub fn change_trail(&self, arn: &str, change: impl FnOnce(&mut Trail)) {
        let mut world = self.world();
        let placed = world.trails.iter_mut().find(|placed| placed.trail.arn == arn).expect("a trail");
        change(&mut placed.trail);
    }

    /// Somebody deletes a trail.
    pub fn delete(&self, arn: &str) {
        self.world().trails.retain(|placed| placed.trail.arn != arn);
    }

    /// The event history has this record from now on, in the account and the Region in which the call was made.
    pub fn record(&self, record: &Value) {
        self.world().history.push(record.clone());
    }

    /// Whether this trail logs.
    pub fn is_logging(&self, arn: &str) -> bool {
        self.world().trails.iter().any(|placed| placed.trail.arn == arn && placed.trail.logging)
    }

    /// All sessions end now.
    pub fn end_sessions(&self) {
        for (_, until) in self.world().sessions.values_mut() {
            *until = Instant::now();
        }
    }

    pub fn throttled(&self) -> usize {
        self.world().throttled
    }

    pub fn starts(&self) -> Vec<Instant> {
        self.world().starts.clone()
    }
}

impl World {
    fn account(&self, id: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    /// A role that is not there and one that does not trust get the same answer. What STS answers for an account that is suspended is
    /// not confirmed: it is taken for this one.
    fn assume(&mut self, body: &Value) -> Fault {
        const DENIED: Fault = Fault::Refuse(403, "AccessDenied");
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        let role = text("RoleArn");
        let mut parts = role.splitn(6, ':').skip(4);
        let (id, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let asked = Duration::from_secs(text("DurationSeconds").parse().unwrap_or(3_600));
        if asked > MAX_SESSION {
            return Fault::Refuse(400, "ValidationError");
        }
        let Some(account) = self.account(id) else { return DENIED };
        let lets_in =
            account.has_role && account.state == "ACTIVE" && account.external_id == text("ExternalId");
        if name != format!("role/{ROLE}") || !lets_in {
            return DENIED;
        }
        let lasts = account.session_lasts.min(asked);
        let key = format!("ASIA{:016}", self.sessions.len());
        self.sessions.insert(key.clone(), (id.to_owned(), Instant::now() + lasts));
        let expires = (clock::now() + lasts).format(&Rfc3339).expect("a time");
        Fault::Answer(json!({
            "AccessKeyId": key, "SecretAccessKey": "secret", "SessionToken": "token", "Expiration": expires,
        }))
    }

    /// Twenty accounts a page at most, and pages without any happen.
    fn list(&self, caller: &str, body: &Value) -> Fault {
        if !self.delegated.contains(caller) {
            return Fault::Refuse(400, "AccessDeniedException");
        }
        let page: usize = body["NextToken"].as_str().and_then(|token| token.parse().ok()).unwrap_or_default();
        let step = if self.has_empty_pages { 2 } else { 1 };
        let is_empty = !page.is_multiple_of(step);
        let first = page / step * PAGE;
        let listed: Vec<_> = self
            .accounts
            .iter()
            .skip(first)
            .take(if is_empty { 0 } else { PAGE })
            .map(|one| json!({ "Id": one.id, "Name": one.name, "State": one.state }))
            .collect();
        let last = self.accounts.len().div_ceil(PAGE) * step;
        let next = (page + 1 < last).then(|| json!((page + 1).to_string()));
        Fault::Answer(json!({ "Accounts": listed, "NextToken": next }))
    }

    /// Who an account is to a trail's.
    fn caller(&self, placed: &Placed, account: &str) -> Caller {
        let owner = TrailArn::parse(&placed.trail.arn).expect("an ARN").account().to_string();
        match (owner == account, placed.is_organizations) {
            (true, _) => Caller::Owner,
            (false, true) if self.delegated.contains(account) => Caller::Delegated,
            (false, true) => Caller::Member,
            (false, false) => Caller::Stranger,
        }
    }

    /// Of the caller's own account and the Region alone, by one attribute, newest first; a token is good for the same parameters only.
    fn look_up(&mut self, caller: &str, call: &Call) -> Fault {
        let (now, lane) = (Instant::now(), (caller.to_owned(), call.region.clone()));
        if self.looked_up_at.get(&lane).is_some_and(|before| now - *before < LOOKUP_PACE) {
            self.throttled += 1;
            return Fault::Refuse(400, "ThrottlingException");
        }
        self.looked_up_at.insert(lane, now);
        let [wanted] = call.body["LookupAttributes"].as_array().expect("attributes").as_slice() else {
            return Fault::Refuse(400, "InvalidLookupAttributesException");
        };
        assert_eq!(wanted["AttributeKey"], "EventName", "no other is played");
        let bound = |name: &str| call.body[name].as_f64().expect("a time");
        let (from, until) = (bound("StartTime"), bound("EndTime"));
        let asked = format!("{wanted} {from} {until} ");
        let skipped = call.body["NextToken"]
            .as_str()
            .map_or(Some(0), |token| token.strip_prefix(&asked).and_then(|page| page.parse().ok()));
        let Some(skipped) = skipped else {
            return Fault::Refuse(400, "InvalidNextTokenException");
        };
        let time = |record: &Value| {
            let time = OffsetDateTime::parse(record["eventTime"].as_str().expect("a time"), &Rfc3339);
            time.expect("a time").unix_timestamp()
        };
        #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
        let is_within = |record: &Value| (from..=until).contains(&(time(record) as f64));
        let mut found: Vec<_> = self
            .history
            .iter()
            .filter(|record| {
                record["recipientAccountId"] == caller && record["awsRegion"] == call.region.as_str()
            })
            .filter(|record| record["eventName"] == wanted["AttributeValue"] && is_within(record))
            .collect();
        found.sort_by_key(|record| std::cmp::Reverse(time(record)));
        let page = found.iter().skip(skipped).take(HISTORY_PAGE);
        let events: Vec<_> = page
            .map(|record| json!({ "EventId": record["eventID"], "CloudTrailEvent": record.to_string() }))
            .collect();
        let next = skipped + HISTORY_PAGE;
        let token = (next < found.len()).then(|| format!("{asked}{next}"));
        Fault::Answer(json!({ "Events": events, "NextToken": token }))
    }

    fn cloudtrail(&mut self, call: &Call) -> Option<Fault> {
        let caller = match self.sessions.get(&call.key) {
            Some((_, until)) if *until <= Instant::now() => {
                return Some(Fault::Refuse(400, "ExpiredTokenException"));
            }
            Some((account, _)) => account.clone(),
            None => ACCOUNT.to_owned(),
        };
        if !PLAYED.contains(&call.operation.as_str()) {
            return None;
        }
        let account = self.account(&caller)?;
        if account.without.contains(&call.region) {
            return Some(Fault::Refuse(400, "UnrecognizedClientException"));
        }
        if account.throttles {
            self.throttled += 1;
            return Some(Fault::Refuse(400, "ThrottlingException"));
        }
        if call.operation == "LookupEvents" {
            return Some(self.look_up(&caller, call));
        }
        // All Regions in one call, an organization's trails in its members too.
        if call.operation == "ListTrails" {
            let list: Vec<_> = self
                .trails
                .iter()
                .filter(|placed| self.caller(placed, &caller) != Caller::Stranger)
                .map(|placed| json!({ "TrailARN": placed.trail.arn, "HomeRegion": placed.trail.home() }))
                .collect();
            return Some(Fault::Answer(json!({ "Trails": list })));
        }
        if call.operation == "DescribeTrails" {
            let named = call.body["trailNameList"].as_array();
            let list: Vec<_> = self
                .trails
                .iter()
                .filter(|placed| match self.caller(placed, &caller) {
                    Caller::Owner => placed.is_multi_region || placed.trail.home() == call.region,
                    Caller::Delegated | Caller::Member => true,
                    Caller::Stranger => false,
                })
                .filter(|placed| named.is_none_or(|named| named.contains(&json!(placed.trail.arn))))
                .map(|placed| {
                    json!({
                        "TrailARN": placed.trail.arn,
                        "HomeRegion": placed.trail.home(),
                        "IsOrganizationTrail": placed.is_organizations,
                        "HasCustomEventSelectors": placed.trail.selectors.is_some(),
                    })
                })
                .collect();
            return Some(Fault::Answer(json!({ "trailList": list })));
        }
        let name = call.body["Name"].as_str().or(call.body["TrailName"].as_str()).unwrap_or_default();
        let found = self.trails.iter().position(|placed| placed.trail.arn == name);
        let who = found.map_or(Caller::Stranger, |at| self.caller(&self.trails[at], &caller));
        let Some(at) = found.filter(|_| who != Caller::Stranger) else {
            return Some(Fault::Refuse(400, "TrailNotFoundException"));
        };
        if call.operation == "GetTrailStatus" {
            return Some(self.trails[at].trail.status());
        }
        if call.operation == "GetEventSelectors" {
            // Whether a member may see them is not confirmed: by some reports it may not.
            let of_a_new_trail =
                json!({ "EventSelectors": [{ "IncludeManagementEvents": true, "ReadWriteType": "All" }] });
            let selectors = self.trails[at].trail.selectors.clone().unwrap_or(of_a_new_trail);
            let is_shown = who != Caller::Member;
            return Some(if is_shown {
                Fault::Answer(selectors)
            } else {
                Fault::Refuse(400, "CloudTrailARNInvalidException")
            });
        }
        let now = Instant::now();
        let lane = (caller, call.region.clone());
        if self.started_at.get(&lane).is_some_and(|before| now - *before < START_PACE) {
            self.throttled += 1;
            return Some(Fault::Refuse(400, "ThrottlingException"));
        }
        self.started_at.insert(lane, now);
        self.starts.push(now);
        let trail = &mut self.trails[at].trail;
        trail.caller = who;
        Some(trail.start(&call.region))
    }
}

impl Watch for Organization {
    fn fault(&self, call: &Call) -> Option<Fault> {
        let mut world = self.world();
        match call.operation.as_str() {
            "AssumeRole" => Some(world.assume(&call.body)),
            "ListAccounts" => Some(world.list(ACCOUNT, &call.body)),
            _ => world.cloudtrail(call),
        }
    }

    fn carried_out(&self, _: &Call, _: u16) {}
}
