//! What a body must say beyond its types. Everything here is about the words alone; what depends on the state of calls,
//! trunks and engines is decided in `call`.

use crate::call::{
    Context, PlaceCall, Platform, SwitchEngine, SwitchMode, TransferCall, TransferTarget, WrapUp,
};
use crate::spelling;

use super::problem::{Code, Problem};

/// Headers of one call.
const HEADERS: usize = 32;

/// Targets of one transfer, the first one aside.
const FURTHER_TARGETS: usize = 8;

/// The body of `POST …/calls`.
pub(crate) fn place(call: &PlaceCall) -> Result<(), Problem> {
    spelled("to", &call.to, spelling::dialable)?;
    optional("from", call.from.as_deref(), spelling::dialable)?;
    context("context", &call.context)?;
    seconds("ring_timeout_sec", call.ring_timeout_sec, 600)?;
    seconds("max_duration_sec", call.max_duration_sec, 86_400)?;
    optional("webhook_url", call.webhook_url.as_deref(), spelling::webhook_url)?;
    optional("engine", call.engine.as_deref(), short)?;
    optional("workflow", call.workflow.as_deref(), short)?;
    optional("stir", call.stir.as_deref(), spelling::identity)?;
    headers(call)?;
    supported(call)
}

/// What is in the contract and not built yet is refused, not forgotten.
fn supported(call: &PlaceCall) -> Result<(), Problem> {
    let unsupported = |field: &str, detail: &str| Err(Problem::new(Code::CallUnsupported, detail).at(field));
    match &call.platform {
        Some(platform) if *platform != Platform::default() => unsupported(
            "platform",
            "A SIP trunk knows no entry points, flows, queues or agents; leave `platform` out.",
        ),
        Some(_) | None => Ok(()),
    }
}

fn headers(call: &PlaceCall) -> Result<(), Problem> {
    if call.headers.len() > HEADERS {
        let detail = format!("`headers` has {} entries; write at most {HEADERS}.", call.headers.len());
        return Err(Problem::new(Code::FieldInvalid, detail).at("headers"));
    }
    for (name, value) in &call.headers {
        let field = format!("headers.{name}");
        let lower = name.to_ascii_lowercase();
        if !lower.starts_with("x-") || lower.len() < 3 {
            return Err(Problem::invalid(field, name, "cannot be set; write a name that begins with X-"));
        }
        if lower.starts_with("x-callingedge-") {
            let problem = "is one of the edge's own headers; write another name, or use `context`";
            return Err(Problem::invalid(field, name, problem));
        }
        spelling::header_name(name).map_err(|problem| Problem::invalid(field.as_str(), name, problem))?;
        spelling::header_value(value).map_err(|problem| Problem::invalid(field.as_str(), value, problem))?;
    }
    Ok(())
}

/// The body of `POST …/transfer`.
pub(crate) fn transfer(transfer: &TransferCall) -> Result<(), Problem> {
    target("to", &transfer.to)?;
    if transfer.then.len() > FURTHER_TARGETS {
        let detail = format!("`then` has {} targets; write at most {FURTHER_TARGETS}.", transfer.then.len());
        return Err(Problem::new(Code::FieldInvalid, detail).at("then"));
    }
    for (index, further) in transfer.then.iter().enumerate() {
        target(&format!("then[{index}]"), further)?;
    }
    optional("reason", transfer.reason.as_deref(), short)?;
    transfer.context.as_ref().map_or(Ok(()), |given| context("context", given))
}

/// The body of `POST …/mode`.
pub(crate) fn switch_mode(switch: &SwitchMode) -> Result<(), Problem> {
    if let Some(to) = &switch.to {
        target("to", to)?;
    }
    optional("reason", switch.reason.as_deref(), short)
}

/// The body of `POST …/engine`.
pub(crate) fn switch_engine(switch: &SwitchEngine) -> Result<(), Problem> {
    optional("reason", switch.reason.as_deref(), short)
}

fn target(path: &str, target: &TransferTarget) -> Result<(), Problem> {
    let TransferTarget { number, sip_uri, queue_id, agent_id, entry_point_id, flow_id } = target;
    let fields = [number, sip_uri, queue_id, agent_id, entry_point_id, flow_id];
    if fields.iter().filter(|field| field.is_some()).count() != 1 {
        let detail = format!(
            "`{path}` names exactly one target; write one of `number`, `sip_uri`, `queue_id`, `agent_id`, \
             `entry_point_id`, `flow_id`."
        );
        return Err(Problem::new(Code::FieldInvalid, detail).at(path));
    }
    optional(&format!("{path}.number"), number.as_deref(), spelling::number)?;
    optional(&format!("{path}.sip_uri"), sip_uri.as_deref(), spelling::sip_uri)?;
    for (name, id) in [
        ("queue_id", queue_id),
        ("agent_id", agent_id),
        ("entry_point_id", entry_point_id),
        ("flow_id", flow_id),
    ] {
        optional(&format!("{path}.{name}"), id.as_deref(), short)?;
    }
    Ok(())
}

/// The body of `POST …/wrap-up`.
pub(crate) fn wrap_up(wrap_up: &WrapUp) -> Result<(), Problem> {
    spelled("disposition", &wrap_up.disposition, short)?;
    match &wrap_up.notes {
        Some(notes) if notes.len() > 4096 => {
            Err(Problem::new(Code::FieldInvalid, "`notes` is longer than 4096 bytes; write less.")
                .at("notes"))
        }
        Some(_) | None => Ok(()),
    }
}

/// Digits to send.
pub(crate) fn digits(digits: &str) -> Result<(), Problem> {
    let known = |digit: char| matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D');
    if (1..=64).contains(&digits.len()) && digits.chars().all(known) {
        Ok(())
    } else {
        Err(Problem::invalid("digits", digits, "cannot be sent; write 1 to 64 of 0-9, *, #, A-D"))
    }
}

/// The identifiers travel in SIP headers, each on its line.
fn context(path: &str, context: &Context) -> Result<(), Problem> {
    let Context { tenant_id, campaign_id, contact_id, intent, merge_fields: _ } = context;
    let fields = [
        ("tenant_id", tenant_id),
        ("campaign_id", campaign_id),
        ("contact_id", contact_id),
        ("intent", intent),
    ];
    fields
        .into_iter()
        .try_for_each(|(name, value)| optional(&format!("{path}.{name}"), value.as_deref(), short))
}

fn short(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 256 {
        return Err("has no bytes or more than 256; write something short");
    }
    spelling::header_value(text).map_err(|_| "has control characters; write one line of text")
}

fn seconds(field: &str, seconds: Option<u32>, most: u32) -> Result<(), Problem> {
    match seconds {
        Some(seconds) if !(1..=most).contains(&seconds) => {
            let problem = format!("is out of range; write 1 to {most} seconds");
            Err(Problem::invalid(field, &seconds.to_string(), &problem))
        }
        Some(_) | None => Ok(()),
    }
}

fn spelled(field: &str, text: &str, rule: fn(&str) -> Result<(), &'static str>) -> Result<(), Problem> {
    rule(text).map_err(|problem| Problem::invalid(field, text, problem))
}

fn optional(
    field: &str,
    text: Option<&str>,
    rule: fn(&str) -> Result<(), &'static str>,
) -> Result<(), Problem> {
    text.map_or(Ok(()), |text| spelled(field, text, rule))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_call_that_can_be_placed_is_not_refused() {
        for good in [
            json!({"to": "+16505824074"}),
            json!({"to": "sip:alice@example.com", "from": "100", "mode": "ai_only", "record": "off",
                   "ring_timeout_sec": 600, "max_duration_sec": 1, "webhook_url": "https://example.com/x",
                   "answering_machine": {"detect": false}, "platform": {}, "headers": {"x-anything": "ünïcode"}}),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
        }
    }

    #[test]
    fn a_field_that_cannot_be_used_is_named() {
        let cases = [
            (json!({"to": ""}), "to", Code::FieldInvalid),
            (json!({"to": "alice"}), "to", Code::FieldInvalid),
            (json!({"to": "sip:a@b\r\nX: y"}), "to", Code::FieldInvalid),
            (json!({"to": "1", "from": "sip:a@b?Replaces=x"}), "from", Code::FieldInvalid),
            (json!({"to": "1", "ring_timeout_sec": 0}), "ring_timeout_sec", Code::FieldInvalid),
            (json!({"to": "1", "max_duration_sec": 86_401}), "max_duration_sec", Code::FieldInvalid),
            (json!({"to": "1", "webhook_url": "file:///etc/passwd"}), "webhook_url", Code::FieldInvalid),
            (json!({"to": "1", "headers": {"Via": "x"}}), "headers.Via", Code::FieldInvalid),
            (json!({"to": "1", "headers": {"X-": "x"}}), "headers.X-", Code::FieldInvalid),
            (json!({"to": "1", "headers": {"X-A:B": "x"}}), "headers.X-A:B", Code::FieldInvalid),
            (json!({"to": "1", "headers": {"X-A": "a\r\nb"}}), "headers.X-A", Code::FieldInvalid),
            (
                json!({"to": "1", "headers": {"x-callingedge-tenant": "b"}}),
                "headers.x-callingedge-tenant",
                Code::FieldInvalid,
            ),
            (json!({"to": "1", "context": {"intent": "a\nb"}}), "context.intent", Code::FieldInvalid),
            (json!({"to": "1", "engine": ""}), "engine", Code::FieldInvalid),
            (json!({"to": "1", "workflow": ""}), "workflow", Code::FieldInvalid),
            (json!({"to": "1", "platform": {"queue_id": "q"}}), "platform", Code::CallUnsupported),
        ];
        for (body, field, code) in cases {
            let problem = check(&body).unwrap_err();

            assert_eq!((problem.field.as_deref(), problem.code), (Some(field), code), "{body}");
        }
    }

    #[test]
    fn a_transfer_names_exactly_one_target() {
        let cases = [
            (json!({}), Some("to")),
            (json!({"number": "1", "queue_id": "q"}), Some("to")),
            (json!({"number": "alice"}), Some("to.number")),
            (json!({"sip_uri": "tel:+1"}), Some("to.sip_uri")),
            (json!({"sip_uri": "sip:a@b"}), None),
            (json!({"agent_id": "a\nb"}), Some("to.agent_id")),
        ];
        for (to, field) in cases {
            let body = json!({"call_id": "call_00000000000000000000000001", "to": to});

            let refused = transfer(&serde_json::from_value(body).unwrap()).err();

            assert_eq!(refused.and_then(|problem| problem.field).as_deref(), field, "{to}");
        }
    }

    #[test]
    fn digits_are_those_of_a_telephone() {
        assert_eq!(digits("0123456789*#ABCD"), Ok(()));
        for bad in ["", "12 3", "a", "E", &"1".repeat(65)] {
            assert!(digits(bad).is_err(), "{bad}");
        }
    }

    fn check(body: &Value) -> Result<(), Problem> {
        place(&serde_json::from_value(body.clone()).unwrap())
    }
}
