//! A call as Twilio shows it, and pages of calls.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::sync::Arc;

use serde_json::{Value, json};
use url::form_urlencoded::Serializer;

use super::order::Form;
use super::refusal::{Refusal, bad};
use crate::call::{Account, CallId, CallRecord, CallView, Status, words};
use crate::provider::twilio::API_VERSION;
use crate::store::{CallFilter, PAGE};

/// Calls on a page when the request does not say, and the most it can say: Twilio's own numbers.
const USUAL: usize = 50;
const MOST: usize = 1000;
/// So many of our pages are looked at for one of theirs.
const LOOKS: u32 = 10;

const STATUSES: [&str; 8] =
    ["queued", "ringing", "in-progress", "completed", "busy", "failed", "no-answer", "canceled"];

/// The resource.
pub(super) fn call(account: &Account, view: &CallView) -> Value {
    let sid = words::call_sid(view.call_id);
    let uri = format!("/{API_VERSION}/Accounts/{}/Calls/{sid}.json", account.sid);
    let inner = |name: &str| format!("/{API_VERSION}/Accounts/{}/Calls/{sid}/{name}.json", account.sid);
    let updated = view.ended_at.or(view.answered_at).unwrap_or(view.started_at);
    // Twilio counts an unanswered call as 0 seconds, and says nothing of one that runs.
    let duration = view.ended_at.map(|_| view.duration_sec.unwrap_or_default().to_string());
    json!({
        "sid": sid,
        "date_created": view.started_at.to_rfc2822(),
        "date_updated": updated.to_rfc2822(),
        "parent_call_sid": null,
        "account_sid": account.sid,
        "to": view.to,
        "to_formatted": view.to,
        "from": view.from,
        "from_formatted": view.from,
        "phone_number_sid": null,
        "status": words::status(view),
        "start_time": view.answered_at.or(view.ended_at).map(|at| at.to_rfc2822()),
        "end_time": view.ended_at.map(|at| at.to_rfc2822()),
        "duration": duration,
        "price": null,
        "price_unit": "USD",
        "direction": words::direction(view),
        "answered_by": view.answered_by.map(words::answered_by),
        "annotation": null,
        "api_version": API_VERSION,
        "forwarded_from": null,
        "group_sid": null,
        "caller_name": null,
        "queue_time": "0",
        "trunk_sid": null,
        "uri": uri,
        "subresource_uris": { "recordings": inner("Recordings"), "streams": inner("Streams") },
    })
}

/// Which calls are wanted.
#[derive(Debug)]
pub(super) struct Filter {
    status: Option<String>,
    to: Option<String>,
    from: Option<String>,
    size: usize,
    page: u64,
    before: Option<CallId>,
}

impl Filter {
    pub(super) fn of(query: &Form) -> Result<Self, Refusal> {
        let status = query.get("Status").map(str::to_owned);
        if let Some(status) = status.as_deref().filter(|status| !STATUSES.contains(status)) {
            return Err(bad(20001, format!("Status {status} is none of {}", STATUSES.join(", "))));
        }
        let number = |name: &str| query.get(name).map(|text| text.parse::<usize>()).transpose();
        let size = number("PageSize").map_err(|_| bad(20001, "PageSize is not a number"))?.unwrap_or(USUAL);
        let page = number("Page").map_err(|_| bad(20001, "Page is not a number"))?.unwrap_or(0);
        let token = query.get("PageToken").map(|token| token.strip_prefix("PA").and_then(words::call_of));
        let before = match token {
            Some(None) => return Err(bad(20001, "PageToken is not one; follow next_page_uri")),
            Some(Some(call)) => Some(call),
            None => None,
        };
        let text = |name: &str| query.get(name).map(str::to_owned);
        let size = size.clamp(1, MOST);
        Ok(Self { status, to: text("To"), from: text("From"), size, page: page as u64, before })
    }

    fn wants(&self, view: &CallView) -> bool {
        self.status.as_deref().is_none_or(|status| words::status(view) == status)
            && self.to.as_ref().is_none_or(|to| view.to == *to)
            && self.from.as_ref().is_none_or(|from| view.from == *from)
    }

    /// The store knows which calls are over.
    fn status(&self) -> Option<Status> {
        match self.status.as_deref() {
            Some("completed" | "busy" | "failed" | "no-answer" | "canceled") => Some(Status::Ended),
            Some(_) | None => None,
        }
    }
}

/// A page that is being filled.
#[derive(Debug)]
pub(super) struct Page {
    filter: Filter,
    found: Vec<Arc<CallRecord>>,
    /// The oldest call that was looked at.
    last: Option<CallId>,
    looks: u32,
    /// There is nothing older.
    exhausted: bool,
}

impl Page {
    pub(super) fn new(filter: Filter) -> Self {
        Self { last: filter.before, filter, found: Vec::new(), looks: 0, exhausted: false }
    }

    /// What is to be looked at next; nothing when the page is full, or all was seen.
    pub(super) fn wants(&mut self) -> Option<CallFilter> {
        if self.exhausted || self.looks == LOOKS || self.found.len() >= self.filter.size {
            return None;
        }
        self.looks += 1;
        let missing = u32::try_from(self.filter.size - self.found.len()).unwrap_or(PAGE);
        let narrow = self.filter.status.is_some() || self.filter.to.is_some() || self.filter.from.is_some();
        let limit = if narrow { PAGE } else { missing.min(PAGE) };
        Some(CallFilter { status: self.filter.status(), provider: None, before: self.last, limit })
    }

    pub(super) fn take(&mut self, records: Vec<Arc<CallRecord>>) {
        self.exhausted = true;
        for record in records {
            if self.found.len() == self.filter.size {
                self.exhausted = false;
                return;
            }
            self.last = Some(record.view.call_id);
            self.exhausted = false;
            if self.filter.wants(&record.view) {
                self.found.push(record);
            }
        }
    }

    pub(super) fn into_json(self, account: &Account) -> Value {
        let Self { filter, found, last, exhausted, .. } = self;
        let path = format!("/{API_VERSION}/Accounts/{}/Calls.json", account.sid);
        let uri = |page: u64, before: Option<CallId>| {
            let mut query = Serializer::new(String::new());
            for (name, value) in [("Status", &filter.status), ("To", &filter.to), ("From", &filter.from)] {
                if let Some(value) = value {
                    query.append_pair(name, value);
                }
            }
            query.append_pair("PageSize", &filter.size.to_string());
            query.append_pair("Page", &page.to_string());
            if let Some(before) = before {
                query.append_pair("PageToken", &format!("PA{}", words::call_sid(before)));
            }
            format!("{path}?{}", query.finish())
        };
        let next = last.filter(|_| !exhausted).map(|last| uri(filter.page + 1, Some(last)));
        let start = filter.page * filter.size as u64;
        json!({
            "calls": found.iter().map(|record| call(account, &record.view)).collect::<Vec<Value>>(),
            "first_page_uri": uri(0, None),
            "next_page_uri": next,
            "previous_page_uri": null,
            "uri": uri(filter.page, filter.before),
            "page": filter.page,
            "page_size": filter.size,
            "start": start,
            "end": start + (found.len() as u64).saturating_sub(1),
        })
    }
}
