//! The context of a call: one JSON object that rides along every leg, transfer and event.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

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
}
