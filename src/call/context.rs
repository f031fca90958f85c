//! The context of a call: one JSON object that rides along every leg, transfer and event. On SIP it travels as
//! `User-to-User` (RFC 7433, hex) and as `X-CallingEdge-…` headers for systems that read no JSON.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ids::CallId;

/// The longest header value we write (CONTRACT §2).
const HEADER_MAX: usize = 1024;
/// Where the whole does not fit: what `GET /api/context/{ref}` is to be asked for.
const REFERENCE: &str = "X-CallingEdge-Context-Ref";
/// RFC 7433 §4.1: which application the data is for, and what it is.
const UUI_PARAMETERS: &str = ";encoding=hex;purpose=callingedge;content=callingedge-context";

/// Who and what a call is about (CONTRACT §1). `merge_fields` is the customer's own JSON and never read by us.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// The customer's own tenant identifier.
    #[serde(default)]
    pub tenant_id: Option<String>,
    /// The campaign the call belongs to.
    #[serde(default)]
    pub campaign_id: Option<String>,
    /// The person called or calling.
    #[serde(default)]
    pub contact_id: Option<String>,
    /// What the call is for.
    #[serde(default)]
    pub intent: Option<String>,
    /// Any further values.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub merge_fields: Map<String, Value>,
}

impl Context {
    /// Takes what `newer` says and keeps the rest; merge fields are replaced one by one.
    pub fn merge(&mut self, newer: Self) {
        let Self { tenant_id, campaign_id, contact_id, intent, merge_fields } = newer;
        self.tenant_id = tenant_id.or(self.tenant_id.take());
        self.campaign_id = campaign_id.or(self.campaign_id.take());
        self.contact_id = contact_id.or(self.contact_id.take());
        self.intent = intent.or(self.intent.take());
        self.merge_fields.extend(merge_fields);
    }

    /// The headers of a leg or REFER. Where the whole does not fit, they carry what `refer_to` makes of it, whose JSON has
    /// that many bytes.
    pub(super) fn to_sip(&self, call: CallId, refer_to: impl FnOnce(usize) -> String) -> sip::Headers {
        let mut headers = sip::Headers::from([("X-CallingEdge-Call-Id".into(), call.to_string())]);
        let short = [
            ("X-CallingEdge-Tenant", &self.tenant_id),
            ("X-CallingEdge-Campaign", &self.campaign_id),
            ("X-CallingEdge-Contact", &self.contact_id),
            ("X-CallingEdge-Intent", &self.intent),
        ];
        for (name, value) in short {
            if let Some(value) = value.as_ref().filter(|value| value.len() <= HEADER_MAX) {
                headers.push((name.into(), value.clone()));
            }
        }
        if *self != Self::default() {
            let json = serde_json::to_vec(self).expect("a context has only string keys and finite numbers");
            let uui = if json.len() * 2 + UUI_PARAMETERS.len() <= HEADER_MAX {
                hex(&json) + UUI_PARAMETERS
            } else {
                let reference = refer_to(json.len());
                headers.push((REFERENCE.into(), reference.clone()));
                hex(reference.as_bytes()) + UUI_PARAMETERS + "-ref"
            };
            headers.push(("User-to-User".into(), uui));
        }
        headers
    }

    /// What an INVITE carries of a context: ours from `User-to-User`, single values from the `X-` headers.
    pub(super) fn from_sip(request: &sip::Message) -> Self {
        let uui = request.headers_named("User-to-User").find_map(|value| from_uui(&value.text()));
        let mut context = uui.unwrap_or_default();
        let one = |name| request.headers_named(name).next().map(|value| value.text().into_owned());
        context.merge(Self {
            tenant_id: one("X-CallingEdge-Tenant"),
            campaign_id: one("X-CallingEdge-Campaign"),
            contact_id: one("X-CallingEdge-Contact"),
            intent: one("X-CallingEdge-Intent"),
            merge_fields: Map::new(),
        });
        context
    }
}

/// The reference that an INVITE carries where its context did not fit.
pub(super) fn reference(request: &sip::Message) -> Option<String> {
    let named = request.headers_named(REFERENCE).next().map(|value| value.text().into_owned());
    named.or_else(|| {
        let values = request.headers_named("User-to-User");
        let referring = values.filter(|value| value.text().ends_with("content=callingedge-context-ref"));
        referring.filter_map(|value| String::from_utf8(bytes_of(&value.text())?).ok()).next()
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Our own user-to-user data; another application's is not ours to read.
fn from_uui(value: &str) -> Option<Context> {
    serde_json::from_slice(&bytes_of(value)?).ok()
}

/// RFC 7433 §4.1.
fn bytes_of(value: &str) -> Option<Vec<u8>> {
    let (hex, parameters) = value.split_once(';')?;
    if !parameters.split(';').any(|parameter| parameter.trim().eq_ignore_ascii_case("encoding=hex")) {
        return None;
    }
    let digits = hex.trim().as_bytes();
    let pairs = digits.chunks(2).map(|pair| {
        let text = std::str::from_utf8(pair).ok().filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_values_win_and_merge_fields_are_replaced_one_by_one() {
        let mut context: Context =
            serde_json::from_str(r#"{"intent": "a", "contact_id": "c", "merge_fields": {"x": 1, "y": 2}}"#)
                .unwrap();

        context.merge(serde_json::from_str(r#"{"intent": "b", "merge_fields": {"y": 3}}"#).unwrap());

        assert_eq!(context.intent.as_deref(), Some("b"));
        assert_eq!(context.contact_id.as_deref(), Some("c"));
        assert_eq!(context.merge_fields["x"], 1);
        assert_eq!(context.merge_fields["y"], 3);
    }

    #[test]
    fn user_to_user_reads_back_and_foreign_data_is_ignored() {
        let context: Context =
            serde_json::from_str(r#"{"intent": "ü", "merge_fields": {"x": [1]}}"#).unwrap();
        let headers = context.to_sip(CallId::NOBODY, |_| panic!("it fits"));

        let (_, uui) = headers.iter().find(|(name, _)| name == "User-to-User").unwrap();
        assert_eq!(from_uui(uui), Some(context));
        assert_eq!(from_uui("00FA08003A;encoding=hex"), None);
        assert_eq!(from_uui("0;encoding=hex"), None);
        assert_eq!(from_uui("7b7d"), None);
    }

    #[test]
    fn a_context_too_large_for_a_header_travels_as_a_reference() {
        let context = Context { intent: Some("i".repeat(600)), ..Context::default() };

        let headers = context.to_sip(CallId::NOBODY, |bytes| format!("ref-to-{bytes}"));

        let value = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
        let reference = value("X-CallingEdge-Context-Ref");
        assert!(reference.starts_with("ref-to-6"), "{reference}");
        let uui = value("User-to-User");
        assert!(uui.ends_with(";content=callingedge-context-ref"), "{uui}");
        assert_eq!(bytes_of(&uui).unwrap(), reference.as_bytes());
        assert_eq!(from_uui(&uui), None, "no context by itself");
        assert!(headers.iter().all(|(_, value)| value.len() <= HEADER_MAX));
    }
}
