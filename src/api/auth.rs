//! Who asks, and what they may do: bearer tokens (RFC 6750) with scopes. A handler that takes an [`Allowed`] cannot be
//! reached without the scope in its type.

use std::convert::Infallible;
use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::Api;
use super::problem::{Code, Problem, scope_missing};
use super::serve::Peer;
use crate::call::TenantId;
use crate::store::Scope;

/// What a handler needs.
pub(crate) trait Needs: Send + Sync + 'static {
    /// The scope of the token.
    const SCOPE: Scope;
}

/// Reading calls and providers.
#[derive(Debug)]
pub(crate) struct ReadCalls;

impl Needs for ReadCalls {
    const SCOPE: Scope = Scope::CallsRead;
}

/// Placing and controlling calls.
#[derive(Debug)]
pub(crate) struct WriteCalls;

impl Needs for WriteCalls {
    const SCOPE: Scope = Scope::CallsWrite;
}

/// Following events, listing and replaying deliveries.
#[derive(Debug)]
pub(crate) struct ReadEvents;

impl Needs for ReadEvents {
    const SCOPE: Scope = Scope::EventsRead;
}

/// What concerns the edge itself.
#[derive(Debug)]
pub(crate) struct Administer;

impl Needs for Administer {
    const SCOPE: Scope = Scope::Admin;
}

/// A bearer whose token has the scope.
#[derive(Debug)]
pub(crate) struct Allowed<N> {
    /// Whose calls they may see.
    pub(crate) tenant: TenantId,
    /// The public half of the token.
    pub(crate) token: String,
    needs: PhantomData<N>,
}

impl<N: Needs> FromRequestParts<Api> for Allowed<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let presented = bearer(parts)?;
        let token = api.store.verify(presented).await?.ok_or_else(|| {
            Problem::new(
                Code::AuthInvalid,
                "The token is unknown or revoked; make one with `callingedge token create`.",
            )
        })?;
        if !token.allows(N::SCOPE) {
            return Err(scope_missing(N::SCOPE));
        }
        Ok(Self { tenant: token.tenant, token: token.id, needs: PhantomData })
    }
}

/// The address at the other end of the connection, for the audit log; a proxy's own where one stands between.
#[derive(Debug)]
pub(crate) struct Source(pub(crate) Option<String>);

impl FromRequestParts<Api> for Source {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, Infallible> {
        Ok(Self(parts.extensions.get::<Peer>().map(|peer| peer.0.ip().to_canonical().to_string())))
    }
}

fn bearer(parts: &Parts) -> Result<String, Problem> {
    let missing =
        || Problem::new(Code::AuthMissing, "Send `Authorization: Bearer <token>`.").at("Authorization");
    let value = parts.headers.get(AUTHORIZATION).ok_or_else(missing)?;
    let (scheme, token) = value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.trim().is_empty() {
        return Err(missing());
    }
    Ok(token.trim().to_owned())
}
