//! What changes calls: place, transfer, wrap up, send digits. Each becomes one [`Command`] and waits for its answer.

use axum::extract::{Request, State};
use axum::http::header::{ALLOW, LOCATION};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

use super::Api;
use super::auth::{Allowed, WriteCalls};
use super::body::Json;
use super::openapi::{BadBody, Conflict, NotFound, TooMany};
use super::path::{CallInPath, ReferenceInPath, Segment};
use super::problem::{Code, Problem};
use super::{check, finish, providers};
use crate::call::{
    Answer, CallId, CallView, Command, Context, Control, Idempotency, Mode, PlaceCall, ProviderKey, Status,
    SwitchEngine, SwitchMode, TransferCall, Voice, WrapUp,
};
use crate::crypto;

/// A call that is on its way.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(example = json!({"call_id": "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D", "provider": "sip-main",
    "status": "placing", "mode": "ai_first"}))]
pub(crate) struct Placed {
    /// Its name from now on.
    #[schema(value_type = String)]
    call_id: CallId,
    /// Over which provider.
    #[schema(value_type = String)]
    provider: ProviderKey,
    /// Always `placing`, also when the request is repeated later.
    status: Status,
    /// Who owns the conversation.
    mode: Mode,
}

/// Something is under way; its outcome comes as events.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Accepted {
    /// The call.
    #[schema(value_type = String, example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")]
    call_id: CallId,
    /// Always `accepted`.
    #[schema(example = "accepted")]
    status: &'static str,
}

/// Digits to send.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SendDigits {
    /// `0`–`9`, `*`, `#`, `A`–`D`, 1 to 64 of them.
    #[schema(example = "1234#", pattern = "^[0-9*#A-D]{1,64}$")]
    digits: String,
}

/// What to play.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Play {
    /// One of `[announcements]` of the configuration.
    #[schema(example = "please_wait")]
    announcement: String,
}

/// Whom to mute.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mute {
    /// The caller when not given.
    #[serde(default = "caller")]
    who: Voice,
    /// False to let them be heard again; true when not given.
    #[serde(default = "yes")]
    muted: bool,
}

/// Whether keys are masked.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mask {
    /// False to tell keys again; true when not given.
    #[serde(default = "yes")]
    masked: bool,
}

/// Whether the recording is silent.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseRecording {
    /// True for silence, false for sound again.
    paused: bool,
}

fn caller() -> Voice {
    Voice::Caller
}

fn yes() -> bool {
    true
}

/// Places an outbound call. Only `to` is required.
///
/// With an `Idempotency-Key` the same request may be sent again for 24 hours: it gets the same answer and makes no
/// second call. What becomes of the call is told by events.
#[utoipa::path(post, path = "/api/integrations/providers/{key}/calls", tag = "calls", operation_id = "placeCall",
    security(("bearer" = ["calls:write"])),
    params(
        ("key" = String, Path, description = "The provider.", example = "sip-main"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters."),
    ),
    request_body(content = PlaceCall, example = json!({"to": "+16505824074", "engine": "receptionist",
        "context": {"campaign_id": "cmp_7", "merge_fields": {"first_name": "Sam"}}})),
    responses(
        (status = 202, description = "The call is on its way.", body = Placed,
            headers(("Location" = String, description = "Where the call can be read."))),
        (status = 400, response = super::openapi::BadRequest), (status = 404, response = NotFound),
        (status = 422, response = BadBody), (status = 429, response = TooMany),
    ))]
pub(crate) async fn place(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    Segment(key): Segment,
    headers: HeaderMap,
    body: Result<Json<PlaceCall>, Problem>,
) -> Result<Response, Problem> {
    let provider = providers::own(&api, &bearer.tenant, &key)?;
    let Json { value: call, bytes } = body?;
    check::place(&call)?;
    if call.webhook_url.is_some()
        && !api.settings().tenants.get(&bearer.tenant).is_some_and(|own| own.signs_webhooks)
    {
        let detail =
            "Events are signed, and this tenant has no `webhook_secret` in the configuration to sign with.";
        return Err(Problem::new(Code::CallUnsupported, detail).at("webhook_url"));
    }
    let idempotency = idempotency(&headers)?.map(|key| Idempotency {
        key,
        fingerprint: crypto::hex(&crypto::sha256(&[provider.as_str().as_bytes(), b"\n", &bytes].concat())),
    });

    let tenant = bearer.tenant.clone();
    let answer = api
        .commands
        .command(Command::Place { tenant, provider: provider.clone(), call: Box::new(call), idempotency })
        .await?;
    let Answer::Placed(record) = answer else { return Err(refused(answer)) };
    let view = &record.view;
    let location = format!("/api/integrations/providers/{}/calls/{}", view.provider, view.call_id);
    let placed = Placed {
        call_id: view.call_id,
        provider: view.provider.clone(),
        // The same words for a repeated request, whatever became of the call.
        status: Status::Placing,
        mode: view.mode,
    };
    Ok((StatusCode::ACCEPTED, [(LOCATION, location)], axum::Json(placed)).into_response())
}

/// Hands a call over. The outcome arrives as events: `transferred`, or `error` with the call going on as before.
#[utoipa::path(post, path = "/api/integrations/providers/{key}/transfer", tag = "calls",
    operation_id = "transferCall", security(("bearer" = ["calls:write"])),
    params(("key" = String, Path, description = "The provider.", example = "sip-main")),
    request_body(content = TransferCall, example = json!({"call_id": "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D",
        "to": {"number": "+16505824075"}, "style": "auto", "reason": "requested_transfer"})),
    responses((status = 202, description = "It is under way.", body = Accepted),
        (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = BadBody)))]
pub(crate) async fn transfer(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    Segment(key): Segment,
    body: Result<Json<TransferCall>, Problem>,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    let provider = providers::own(&api, &bearer.tenant, &key)?;
    let Json { value: transfer, .. } = body?;
    check::transfer(&transfer)?;
    let call_id = transfer.call_id;
    let tenant = bearer.tenant.clone();
    accepted(&api, call_id, Command::Transfer { tenant, provider, transfer: Box::new(transfer) }).await
}

/// Sets the disposition of a call and ends it. A call that is over for less than an hour keeps its end and gets the
/// disposition.
#[utoipa::path(post, path = "/api/integrations/providers/{key}/wrap-up", tag = "calls", operation_id = "wrapUpCall",
    security(("bearer" = ["calls:write"])),
    params(("key" = String, Path, description = "The provider.", example = "sip-main")),
    request_body(content = WrapUp, example = json!({"call_id": "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D",
        "disposition": "appointment_made"})),
    responses((status = 200, description = "The call as it is now.", body = CallView),
        (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = BadBody)))]
pub(crate) async fn wrap_up(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    Segment(key): Segment,
    body: Result<Json<WrapUp>, Problem>,
) -> Result<axum::Json<CallView>, Problem> {
    let provider = providers::own(&api, &bearer.tenant, &key)?;
    let Json { value: wrap_up, .. } = body?;
    check::wrap_up(&wrap_up)?;
    let command = Command::WrapUp { tenant: bearer.tenant.clone(), provider, wrap_up };
    let answer = api.commands.command(command).await?;
    let Answer::WrappedUp(view) = answer else { return Err(refused(answer)) };
    Ok(axum::Json(*view))
}

/// Gives the conversation another owner. `assist` and `routing` need a human: the one in the call, or one who is called
/// now. Told by the event `transferred` with `edge.mode`, when the new owner has the caller.
#[utoipa::path(post, path = "/api/calls/{call_id}/mode", tag = "calls", operation_id = "switchMode",
    security(("bearer" = ["calls:write"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    request_body(content = SwitchMode, example = json!({"mode": "assist", "to": {"number": "+16505824075"},
        "reason": "angry_caller"})),
    responses((status = 202, description = "It is under way.", body = Accepted),
        (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = BadBody)))]
pub(crate) async fn switch_mode(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    CallInPath(call): CallInPath,
    Json { value: switch, .. }: Json<SwitchMode>,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    check::switch_mode(&switch)?;
    let tenant = bearer.tenant.clone();
    accepted(&api, call, Command::SwitchMode { tenant, call, switch: Box::new(switch) }).await
}

/// Gives the conversation to another engine: the one before is told `stop`, and the caller waits until the other one is there. Where a
/// human has the caller, it is the engine that the call has next. The timeline tells of it.
#[utoipa::path(post, path = "/api/calls/{call_id}/engine", tag = "calls", operation_id = "switchEngine",
    security(("bearer" = ["calls:write"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    request_body(content = SwitchEngine, example = json!({"engine": "billing", "reason": "asks_about_an_invoice"})),
    responses((status = 202, description = "It is under way.", body = Accepted),
        (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = BadBody), (status = 429, response = TooMany)))]
pub(crate) async fn switch_engine(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    CallInPath(call): CallInPath,
    Json { value: switch, .. }: Json<SwitchEngine>,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    check::switch_engine(&switch)?;
    let tenant = bearer.tenant.clone();
    accepted(&api, call, Command::SwitchEngine { tenant, call, switch: Box::new(switch) }).await
}

/// Puts the caller on hold: nobody hears them, and they hear music or ringback.
#[utoipa::path(post, path = "/api/calls/{call_id}/hold", tag = "calls", operation_id = "holdCall",
    security(("bearer" = ["calls:write"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    responses((status = 202, description = "It is on hold.", body = Accepted),
        (status = 404, response = NotFound), (status = 409, response = Conflict)))]
pub(crate) async fn hold(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    CallInPath(call): CallInPath,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    control(&api, &bearer, call, Control::Hold).await
}

/// Ends the hold.
#[utoipa::path(post, path = "/api/calls/{call_id}/resume", tag = "calls", operation_id = "resumeCall",
    security(("bearer" = ["calls:write"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    responses((status = 202, description = "It goes on.", body = Accepted),
        (status = 404, response = NotFound), (status = 409, response = Conflict)))]
pub(crate) async fn resume(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    CallInPath(call): CallInPath,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    control(&api, &bearer, call, Control::Resume).await
}

/// Plays an announcement of the configuration to the caller. What the engine had ready is thrown away, and what it says
/// meanwhile is refused.
#[utoipa::path(post, path = "/api/calls/{call_id}/play", tag = "calls", operation_id = "playToCall",
    security(("bearer" = ["calls:write"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    request_body(content = Play),
    responses((status = 202, description = "It is being played.", body = Accepted),
        (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = BadBody)))]
pub(crate) async fn play(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    CallInPath(call): CallInPath,
    Json { value: Play { announcement }, .. }: Json<Play>,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    control(&api, &bearer, call, Control::Play { announcement }).await
}

/// Lets nobody hear one of those in the call, or everyone again.
#[utoipa::path(post, path = "/api/calls/{call_id}/mute", tag = "calls", operation_id = "muteInCall",
    security(("bearer" = ["calls:write"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    request_body(content = Mute),
    responses((status = 202, description = "It is so.", body = Accepted),
        (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = BadBody)))]
pub(crate) async fn mute(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    CallInPath(call): CallInPath,
    Json { value: Mute { who, muted }, .. }: Json<Mute>,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    control(&api, &bearer, call, Control::Mute { who, muted }).await
}

/// Keeps the keys that are pressed from the engine and the recording, or tells them again: for card numbers.
///
/// Other legs hear them. Of a leg whose keys come as tones, engine and recording hear nothing meanwhile.
#[utoipa::path(post, path = "/api/calls/{call_id}/mask", tag = "calls", operation_id = "maskKeys",
    security(("bearer" = ["calls:write"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    request_body(content = Mask),
    responses((status = 202, description = "It is so.", body = Accepted),
        (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = BadBody)))]
pub(crate) async fn mask(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    CallInPath(call): CallInPath,
    Json { value: Mask { masked }, .. }: Json<Mask>,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    control(&api, &bearer, call, Control::MaskKeys { masked }).await
}

/// Records silence from now on, or sound again: for what must not be kept.
#[utoipa::path(post, path = "/api/calls/{call_id}/recording", tag = "calls", operation_id = "pauseRecording",
    security(("bearer" = ["calls:write"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    request_body(content = PauseRecording),
    responses((status = 202, description = "It is so.", body = Accepted),
        (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = BadBody)))]
pub(crate) async fn pause_recording(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    CallInPath(call): CallInPath,
    Json { value: PauseRecording { paused }, .. }: Json<PauseRecording>,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    control(&api, &bearer, call, Control::PauseRecording { paused }).await
}

async fn control(
    api: &Api,
    bearer: &Allowed<WriteCalls>,
    call: CallId,
    control: Control,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    accepted(api, call, Command::Control { tenant: bearer.tenant.clone(), call, control }).await
}

/// Sends digits to the far end of a running call.
#[utoipa::path(post, path = "/api/calls/{call_id}/dtmf", tag = "calls", operation_id = "sendDigits",
    security(("bearer" = ["calls:write"])),
    params(("call_id" = String, Path, description = "The call.", example = "call_01JVNT5C8Z3W5Q2R8K6M0X4H7D")),
    request_body(content = SendDigits),
    responses((status = 202, description = "They are being sent.", body = Accepted),
        (status = 404, response = NotFound), (status = 409, response = Conflict),
        (status = 422, response = BadBody)))]
pub(crate) async fn send_digits(
    State(api): State<Api>,
    bearer: Allowed<WriteCalls>,
    CallInPath(call): CallInPath,
    Json { value: body, .. }: Json<SendDigits>,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    check::digits(&body.digits)?;
    let tenant = bearer.tenant.clone();
    accepted(&api, call, Command::SendDtmf { tenant, call, digits: body.digits }).await
}

/// The context that a reference in `X-CallingEdge-Context-Ref` or `User-to-User` stands for.
///
/// The reference is the key: no token is asked for. It is good once, within an hour.
#[utoipa::path(get, path = "/api/context/{ref}", tag = "calls", operation_id = "takeContext",
    params(("ref" = String, Path, description = "The reference, as the header has it.",
        example = "0f8c2b6d5a4e4f0b9c1d7e3a5b6c8d90")),
    responses((status = 200, description = "The context.", body = Context),
        (status = 404, response = NotFound)))]
pub(crate) async fn take_context(
    State(api): State<Api>,
    ReferenceInPath(reference): ReferenceInPath,
) -> Result<axum::Json<Context>, Problem> {
    let answer = api.commands.command(Command::TakeContext { reference }).await?;
    let Answer::Context(context) = answer else { return Err(refused(answer)) };
    Ok(axum::Json(context))
}

/// HEAD would use the reference up without telling what it stood for.
pub(crate) async fn no_head(request: Request) -> impl IntoResponse {
    ([(ALLOW, "GET")], finish::no_such_method(request).await)
}

async fn accepted(
    api: &Api,
    call_id: CallId,
    command: Command,
) -> Result<(StatusCode, axum::Json<Accepted>), Problem> {
    let answer = api.commands.command(command).await?;
    let Answer::Accepted = answer else { return Err(refused(answer)) };
    Ok((StatusCode::ACCEPTED, axum::Json(Accepted { call_id, status: "accepted" })))
}

/// An answer that does not belong to the question is a mistake of ours, not a panic.
fn refused(answer: Answer) -> Problem {
    match answer {
        Answer::Refused(error) => error.into(),
        Answer::Placed(_) | Answer::Accepted | Answer::WrappedUp(_) | Answer::Context(_) => {
            tracing::error!("a command was answered with another one's answer");
            Problem::new(Code::EdgeFailed, "The edge answered something else; report the id in `instance`.")
        }
    }
}

/// 1 to 255 visible characters, once.
fn idempotency(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let visible = |byte: &u8| byte.is_ascii_graphic();
    let key =
        key.to_str().ok().filter(|key| (1..=255).contains(&key.len()) && key.as_bytes().iter().all(visible));
    match (key, keys.next()) {
        (Some(key), None) => Ok(Some(key.to_owned())),
        (Some(_) | None, Some(_) | None) => {
            let detail = "Send one Idempotency-Key of 1 to 255 visible ASCII characters.";
            Err(Problem::new(Code::IdempotencyKeyInvalid, detail).at("Idempotency-Key"))
        }
    }
}
