//! Credentials for upstreams: which there are, links that bring values, and the log of who did what with them. No value ever
//! leaves by the API.
//! ```text
//!   admin: create --> admin: link --> whoever has the link: POST the value, once --> the configuration uses it
//! ```

use std::time::Duration;

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Api;
use super::auth::{Administer, Allowed, Source};
use super::body::{Json, Query};
use super::openapi::{BadBody, BadQuery, Conflict, Gone, NotFound};
use super::path::{LinkInPath, NameInPath};
use super::problem::{Code, Problem};
use crate::call::{TenantId, Timestamp};
use crate::crypto::SealingKey;
use crate::spelling;
use crate::store::{Actor, AuditRecord, HeldCredential, IntakeLink, NotCreated, NotTaken, PAGE};

/// How long a link is good when the request does not say, and the longest it may be.
const USUAL: Duration = Duration::from_secs(24 * 60 * 60);
const SHORTEST: u32 = 60;
const LONGEST: u32 = 7 * 24 * 60 * 60;

/// Audit records on a page when the request does not say.
const USUAL_PAGE: u32 = 50;

/// The longest note and the longest value, in bytes.
const NOTE_MAX: usize = 200;
const VALUE_MAX: usize = 16 * 1024;

/// What the configuration says about credentials.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// What values are sealed with; without it none can be held.
    pub key: Option<SealingKey>,
    /// Those held ones that the configuration refers to, as `TENANT/NAME`.
    pub held: Vec<String>,
    /// The secrets elsewhere that the configuration refers to, as far as they are one tenant's.
    pub references: Vec<ReferencedSecret>,
}

impl Credentials {
    /// Whether the configuration refers to the tenant's credential of this name.
    fn is_used(&self, tenant: &TenantId, name: &str) -> bool {
        self.held.iter().any(|held| held.split_once('/') == Some((tenant.as_str(), name)))
    }
}

/// A secret that lies elsewhere, and that the configuration refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencedSecret {
    /// Whose upstream it is for.
    pub tenant: TenantId,
    /// Section and key: `providers.sip-main.password`.
    pub name: String,
    /// Where it lies.
    pub kind: CredentialKind,
}

/// Where a credential lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// With the edge, sealed.
    Held,
    /// In an environment variable.
    Env,
    /// In a file.
    File,
    /// With systemd.
    Systemd,
}

/// A credential: everything but its value, which nobody gets.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Credential {
    /// Its name; of one that the configuration refers to, the section and the key.
    #[schema(example = "sip-password")]
    name: String,
    /// Where it lies.
    kind: CredentialKind,
    /// What it is for, in its maker's words.
    note: Option<String>,
    /// When it was made; null for what the configuration refers to.
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    /// When its value came; null when none came, and for what the configuration refers to.
    #[schema(value_type = Option<String>, format = DateTime)]
    set_at: Option<Timestamp>,
    /// When its value was read last; null when never, and for what the configuration refers to.
    #[schema(value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
}

impl From<HeldCredential> for Credential {
    fn from(held: HeldCredential) -> Self {
        Self {
            name: held.name,
            kind: CredentialKind::Held,
            note: Some(held.note).filter(|note| !note.is_empty()),
            created_at: Some(held.created_at),
            set_at: held.set_at,
            last_used_at: held.used_at,
        }
    }
}

impl From<&ReferencedSecret> for Credential {
    fn from(referenced: &ReferencedSecret) -> Self {
        Self {
            name: referenced.name.clone(),
            kind: referenced.kind,
            note: None,
            created_at: None,
            set_at: None,
            last_used_at: None,
        }
    }
}

/// All credentials of a tenant.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct CredentialList {
    /// Held ones by name, then those that the configuration refers to.
    credentials: Vec<Credential>,
}

/// A credential to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewCredential {
    /// 1 to 64 letters, digits, `-`, `_` or `.`.
    #[schema(example = "sip-password")]
    name: String,
    /// What it is for, at most 200 bytes.
    note: Option<String>,
}

/// A link to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewLink {
    /// Whose value it is to bring.
    #[schema(example = "sip-password")]
    name: String,
    /// How long it is good; a day when not given.
    #[schema(minimum = 60, maximum = 604_800)]
    expires_in_sec: Option<u32>,
}

/// A link that was made. This answer is its only copy.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct MadeLink {
    /// Its public half, as the audit log has it.
    id: String,
    /// Whose value it brings.
    name: String,
    /// Where to POST `{"value": "…"}`, once, without a token: whoever has this can.
    #[schema(
        example = "/api/credentials/intake/ci_0011223344556677_8899aabbccddeeff00112233445566778899aabb"
    )]
    link: String,
    /// Until when.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

/// A link that is open.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct OpenLink {
    /// Its public half.
    id: String,
    /// Whose value it brings.
    name: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Until when it is good.
    #[schema(value_type = String, format = DateTime)]
    expires_at: Timestamp,
}

impl From<IntakeLink> for OpenLink {
    fn from(link: IntakeLink) -> Self {
        let IntakeLink { id, name, created_at, expires_at } = link;
        Self { id, name, created_at, expires_at }
    }
}

/// All open links of a tenant.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct LinkList {
    /// Newest first.
    links: Vec<OpenLink>,
}

/// A value that comes by a link.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewValue {
    /// The secret itself, at most 16 KiB; a line break at its end is left out.
    #[schema(format = Password, write_only)]
    value: String,
}

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct AuditPage {
    /// The records.
    records: Vec<AuditRecord>,
    /// The `cursor` of the next page; null on the last one.
    next_cursor: Option<String>,
}

/// Lists credentials of the token's tenant, without their values.
#[utoipa::path(get, path = "/api/credentials", tag = "credentials", operation_id = "listCredentials",
    security(("bearer" = ["admin"])),
    responses((status = 200, description = "All of them.", body = CredentialList)))]
pub(crate) async fn list(
    State(api): State<Api>,
    bearer: Allowed<Administer>,
) -> Result<axum::Json<CredentialList>, Problem> {
    let held = api.store.credentials(bearer.tenant.clone()).await?;
    let mut credentials: Vec<Credential> = held.into_iter().map(Credential::from).collect();
    let configured = api.credentials();
    let of_tenant = configured.references.iter().filter(|referenced| referenced.tenant == bearer.tenant);
    credentials.extend(of_tenant.map(Credential::from));
    Ok(axum::Json(CredentialList { credentials }))
}

/// Makes a credential; its value comes by a link.
#[utoipa::path(post, path = "/api/credentials", tag = "credentials", operation_id = "createCredential",
    security(("bearer" = ["admin"])), request_body = NewCredential,
    responses((status = 201, description = "It is there, without a value.", body = Credential),
        (status = 409, response = Conflict), (status = 422, response = BadBody)))]
pub(crate) async fn create(
    State(api): State<Api>,
    bearer: Allowed<Administer>,
    source: Source,
    Json { value: wanted, .. }: Json<NewCredential>,
) -> Result<(StatusCode, axum::Json<Credential>), Problem> {
    api.sealing_key()?;
    let name = match wanted.name.as_str() {
        // It stands where links are made.
        "intake" => Err("is taken; write another name"),
        name => spelling::name(name),
    };
    name.map_err(|rule| Problem::invalid("name", &wanted.name, rule))?;
    let note = wanted.note.unwrap_or_default();
    if note.len() > NOTE_MAX {
        return Err(Problem::invalid("note", &note, "is too long; write at most 200 bytes"));
    }
    let actor = bearer.actor(source);
    let tenant = bearer.tenant.clone();
    let made = api.store.vault(move |vault| vault.create(&tenant, &wanted.name, &note, &actor)).await?;
    match made {
        Ok(held) => Ok((StatusCode::CREATED, axum::Json(held.into()))),
        Err(NotCreated::Exists) => Err(Problem::new(
            Code::CredentialExists,
            "There is a credential of this name; make a link for it to replace its value, or delete it first.",
        )
        .at("name")),
        Err(NotCreated::TooMany) => Err(Problem::new(
            Code::CredentialTooMany,
            "The tenant holds 200 credentials; delete those that nothing uses.",
        )),
    }
}

/// Removes a credential with its value and its links.
#[utoipa::path(delete, path = "/api/credentials/{name}", tag = "credentials", operation_id = "deleteCredential",
    security(("bearer" = ["admin"])),
    params(("name" = String, Path, description = "The credential's name.", example = "sip-password")),
    responses((status = 204, description = "It is gone."), (status = 404, response = NotFound),
        (status = 409, response = Conflict)))]
pub(crate) async fn delete(
    State(api): State<Api>,
    bearer: Allowed<Administer>,
    source: Source,
    NameInPath(name): NameInPath,
) -> Result<StatusCode, Problem> {
    if api.credentials().is_used(&bearer.tenant, &name) {
        return Err(Problem::new(
            Code::CredentialInUse,
            "The configuration refers to this credential; take the reference out of it first.",
        ));
    }
    let actor = bearer.actor(source);
    let tenant = bearer.tenant.clone();
    match api.store.vault(move |vault| vault.delete(&tenant, &name, &actor)).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(no_such_credential()),
    }
}

/// Lists the links that are open.
#[utoipa::path(get, path = "/api/credentials/intake", tag = "credentials", operation_id = "listIntakeLinks",
    security(("bearer" = ["admin"])),
    responses((status = 200, description = "Those that are neither used nor expired.", body = LinkList)))]
pub(crate) async fn links(
    State(api): State<Api>,
    bearer: Allowed<Administer>,
) -> Result<axum::Json<LinkList>, Problem> {
    let links = api.store.intake_links(bearer.tenant.clone()).await?;
    Ok(axum::Json(LinkList { links: links.into_iter().map(OpenLink::from).collect() }))
}

/// Makes a link by which whoever has it brings one value, once.
///
/// An earlier link of the same credential is over with it. The link is shown here and never again.
#[utoipa::path(post, path = "/api/credentials/intake", tag = "credentials", operation_id = "createIntakeLink",
    security(("bearer" = ["admin"])), request_body = NewLink,
    responses((status = 201, description = "The link.", body = MadeLink),
        (status = 404, response = NotFound), (status = 422, response = BadBody)))]
pub(crate) async fn link(
    State(api): State<Api>,
    bearer: Allowed<Administer>,
    source: Source,
    Json { value: wanted, .. }: Json<NewLink>,
) -> Result<Response, Problem> {
    api.sealing_key()?;
    let good_for = match wanted.expires_in_sec {
        None => USUAL,
        Some(seconds) if (SHORTEST..=LONGEST).contains(&seconds) => Duration::from_secs(seconds.into()),
        Some(seconds) => {
            let rule = "is not a time that a link may be good; write 60 to 604800";
            return Err(Problem::invalid("expires_in_sec", &seconds.to_string(), rule));
        }
    };
    let actor = bearer.actor(source);
    let tenant = bearer.tenant.clone();
    let made = api.store.vault(move |vault| vault.link(&tenant, &wanted.name, good_for, &actor)).await?;
    let (made, token) = made.ok_or_else(|| no_such_credential().at("name"))?;
    let link = format!("/api/credentials/intake/{token}");
    let location = HeaderValue::try_from(&link).expect("hexadecimal is visible ASCII");
    let body = axum::Json(MadeLink { id: made.id, name: made.name, link, expires_at: made.expires_at });
    Ok((StatusCode::CREATED, [(LOCATION, location)], body).into_response())
}

/// Takes a value by its link: once, without a token.
#[utoipa::path(post, path = "/api/credentials/intake/{link}", tag = "credentials", operation_id = "bringValue",
    params(("link" = String, Path, description = "What the link ends with: `ci_…`.")),
    request_body = NewValue,
    responses((status = 200, description = "The value is held.", body = Credential),
        (status = 404, response = NotFound), (status = 410, response = Gone), (status = 422, response = BadBody)))]
pub(crate) async fn bring(
    State(api): State<Api>,
    source: Source,
    LinkInPath(token): LinkInPath,
    Json { value: brought, .. }: Json<NewValue>,
) -> Result<axum::Json<Credential>, Problem> {
    let key = api.sealing_key()?;
    let value = brought.value.trim_end_matches(['\r', '\n']).to_owned();
    // What stands there is not quoted: it may be most of a secret.
    let wrong = |rule: &str| Problem::new(Code::FieldInvalid, format!("`value` {rule}.")).at("value");
    if value.is_empty() {
        return Err(wrong("is empty; write the secret"));
    }
    if value.len() > VALUE_MAX {
        return Err(wrong("is too long; write at most 16384 bytes"));
    }
    let taken = api.store.take_value(token, value, key, source.0).await?;
    let (tenant, held) = taken.map_err(|refusal| match refusal {
        NotTaken::Unknown => Problem::new(
            Code::IntakeNotFound,
            "There is no such link. Links are good once; ask for a new one.",
        ),
        NotTaken::Used => Problem::new(
            Code::IntakeUsed,
            "A value came by this link before. If it was not yours, say so to who gave you the link.",
        ),
        NotTaken::Expired => Problem::new(
            Code::IntakeExpired,
            "The link is too old, or a newer one took its place; ask for a new one.",
        ),
    })?;
    tracing::info!(tenant = tenant.as_str(), credential = held.name, "a value was brought");
    if api.credentials().is_used(&tenant, &held.name) {
        api.brought.send_modify(|count| *count += 1);
    }
    Ok(axum::Json(held.into()))
}

/// Tells who did what with credentials, newest first.
#[utoipa::path(get, path = "/api/audit", tag = "credentials", operation_id = "listAuditRecords",
    security(("bearer" = ["admin"])),
    params(
        ("limit" = Option<u32>, Query, description = "How many, 50 when not given.", minimum = 1, maximum = 200),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before."),
    ),
    responses((status = 200, description = "A page of the log.", body = AuditPage),
        (status = 422, response = BadQuery)))]
pub(crate) async fn audit(
    State(api): State<Api>,
    bearer: Allowed<Administer>,
    uri: Uri,
) -> Result<axum::Json<AuditPage>, Problem> {
    let query = Query::read(&uri, &["limit", "cursor"])?;
    let cursor = "is not a cursor; write `next_cursor` of the page before";
    let before = query.parsed("cursor", cursor, |text| text.parse::<i64>().ok())?;
    let limit = query.limit(USUAL_PAGE, PAGE)?;
    let records = api.store.audit(bearer.tenant.clone(), before, limit).await?;
    let full = records.len() == limit as usize;
    let next_cursor = records.last().map(|record| record.id.clone()).filter(|_| full);
    Ok(axum::Json(AuditPage { records, next_cursor }))
}

impl Allowed<Administer> {
    fn actor(&self, source: Source) -> Actor {
        Actor { who: format!("token {}", self.token), source: source.0 }
    }
}

impl Api {
    /// What values are sealed with; a problem where nothing can be held.
    fn sealing_key(&self) -> Result<SealingKey, Problem> {
        self.credentials().key.clone().ok_or_else(|| {
            Problem::new(
                Code::CredentialNoKey,
                "This edge holds no credentials: write `key` in [credentials] of the configuration.",
            )
        })
    }
}

fn no_such_credential() -> Problem {
    Problem::new(
        Code::CredentialNotFound,
        "There is no such credential that is held; GET /api/credentials lists them, POST makes one.",
    )
}
