//! Calls in the words of Twilio's REST API, so that an application written for it runs with another base URL.
//! ```text
//!   Basic AccountSid:token --> Account of the tenant
//!   form --> Order --> Command --> call          CallView --> call resource
//! ```
//! Only the language is another one: tokens, scopes, tenants, limits and calls are the same. `order` and `resource` translate and
//! know nothing of HTTP; every mistake is told as Twilio tells it (`refusal`).

mod order;
mod refusal;
mod resource;

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request, State};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use self::order::{Form, Update};
use self::refusal::Refusal;
use self::resource::{Filter, Page};
use super::body::Raw;
use super::{Api, calls};
use crate::call::{Account, Answer, CallId, CallRecord, Command, TenantId, words};
use crate::store::Scope;

/// The paths; they are Twilio's, and its own document describes them.
pub(super) fn routes() -> Vec<(&'static str, MethodRouter<Api>)> {
    vec![
        ("/2010-04-01/Accounts/{account}/Calls.json", get(list).post(create)),
        ("/2010-04-01/Accounts/{account}/Calls/{call}", post(update).get(fetch)),
    ]
}

/// Whose request it is, and for which account.
struct Owner {
    tenant: TenantId,
    account: Arc<Account>,
}

async fn create(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let (owner, _, form) = read(&api, request, Scope::CallsWrite).await?;
    let order = order::place(&Form::of(&form))?;
    super::check::place(&order.call).map_err(|problem| refusal::of_problem(&problem))?;
    let Owner { tenant, account } = &owner;
    let command =
        Command::PlaceFor { tenant: tenant.clone(), call: Box::new(order.call), run: Box::new(order.run) };
    let answer = api.commands.command(command).await.map_err(refusal::unanswered)?;
    let Answer::Placed(record) = answer else { return Err(refusal::of_answer(&answer)) };
    Ok((StatusCode::CREATED, axum::Json(resource::call(account, &record.view))).into_response())
}

async fn fetch(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let owner = owner(&api, &mut parts, Scope::CallsRead).await?;
    let record = call_in(&api, &owner, &mut parts).await?;
    Ok(axum::Json(resource::call(&owner.account, &record.view)).into_response())
}

async fn update(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let (owner, mut parts, form) = read(&api, request, Scope::CallsWrite).await?;
    let record = call_in(&api, &owner, &mut parts).await?;
    let (tenant, call) = (owner.tenant.clone(), record.view.call_id);
    let command = match order::update(&Form::of(&form))? {
        Update::Nothing => {
            return Ok(axum::Json(resource::call(&owner.account, &record.view)).into_response());
        }
        Update::Run(run) => Command::Run { tenant, call, run },
        Update::Complete => Command::End { tenant, call, only_before_answer: false },
        Update::Cancel => Command::End { tenant, call, only_before_answer: true },
    };
    let answer = api.commands.command(command).await.map_err(refusal::unanswered)?;
    let Answer::Accepted = answer else { return Err(refusal::of_answer(&answer)) };
    let record = find(&api, &owner, call, &parts.uri).await?;
    Ok(axum::Json(resource::call(&owner.account, &record.view)).into_response())
}

async fn list(State(api): State<Api>, request: Request) -> Result<Response, Refusal> {
    let (mut parts, _) = request.into_parts();
    let owner = owner(&api, &mut parts, Scope::CallsRead).await?;
    let filter = Filter::of(&Form::of(parts.uri.query().unwrap_or_default().as_bytes()))?;
    let mut page = Page::new(filter);
    // What is looked for may be far back: a page is as far as one request looks, the next one goes on from there.
    while let Some(wanted) = page.wants() {
        let records = calls::page(&api, &owner.tenant, wanted)
            .await
            .map_err(|problem| refusal::of_problem(&problem))?;
        page.take(records);
    }
    Ok(axum::Json(page.into_json(&owner.account)).into_response())
}

/// The account, the head and the body of a request that changes something.
async fn read(api: &Api, request: Request, scope: Scope) -> Result<(Owner, Parts, Vec<u8>), Refusal> {
    let (mut parts, body) = request.into_parts();
    let owner = owner(api, &mut parts, scope).await?;
    let body = Raw::from_request(Request::from_parts(parts.clone(), body), &()).await;
    let Raw(body) = body.map_err(|problem| refusal::of_problem(&problem))?;
    Ok((owner, parts, body.to_vec()))
}

/// Who asks. Whatever is wrong with that is told in one way, so that nobody learns which accounts there are.
async fn owner(api: &Api, parts: &mut Parts, scope: Scope) -> Result<Owner, Refusal> {
    let (user, token) = basic(&parts.headers).ok_or_else(refusal::unauthorized)?;
    let sid = variable(api, parts, "account").await;
    let token = api.store.verify(token).await.map_err(|_| refusal::unavailable())?;
    let token = token.ok_or_else(refusal::unauthorized)?;
    let settings = api.settings();
    let account = settings.tenants.get(&token.tenant).and_then(|tenant| tenant.account.clone());
    let account = account.filter(|account| account.sid == sid).ok_or_else(refusal::unauthorized)?;
    // An API key of theirs names itself; what it may do is the token's business here.
    if user != account.sid && !user.starts_with("SK") {
        return Err(refusal::unauthorized());
    }
    if !token.allows(scope) {
        return Err(refusal::forbidden(scope));
    }
    Ok(Owner { tenant: token.tenant, account })
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, credentials) = value.split_once(' ')?;
    let decoded =
        STANDARD.decode(credentials.trim()).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let text = String::from_utf8(decoded).ok()?;
    let (user, token) = text.split_once(':')?;
    Some((user.to_owned(), token.to_owned()))
}

/// The call in the path: one of the owner's, whoever placed it.
async fn call_in(api: &Api, owner: &Owner, parts: &mut Parts) -> Result<Arc<CallRecord>, Refusal> {
    let name = variable(api, parts, "call").await;
    let call = name.strip_suffix(".json").and_then(words::call_of);
    let call = call.ok_or_else(|| refusal::not_found(parts.uri.path()))?;
    find(api, owner, call, &parts.uri).await
}

async fn find(api: &Api, owner: &Owner, call: CallId, uri: &Uri) -> Result<Arc<CallRecord>, Refusal> {
    calls::find(api, &owner.tenant, call).await.map_err(|problem| {
        if problem.code == super::Code::CallNotFound {
            refusal::not_found(uri.path())
        } else {
            refusal::of_problem(&problem)
        }
    })
}

/// A variable part of the path; empty where it cannot be read.
async fn variable(api: &Api, parts: &mut Parts, name: &str) -> String {
    let Ok(params) = RawPathParams::from_request_parts(parts, api).await else { return String::new() };
    params.iter().find(|(found, _)| *found == name).map(|(_, value)| value.to_owned()).unwrap_or_default()
}
