//! `[intakes.…]`: where platforms bring their events, and what they prove themselves with.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::names::Named;
use super::section::Section;
use crate::api::Intake;
use crate::call::{Tenant, TenantId};
use crate::provider::{Platform, TelnyxKey};

/// What of the platforms can be configured.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Telnyx,
}

pub(super) fn intakes(
    sections: Vec<(String, Section<'_>)>,
    tenants: &Named<TenantId, Tenant>,
) -> Arc<BTreeMap<String, Intake>> {
    let intakes = sections.into_iter().filter_map(|(name, section)| Some((name, intake(section, tenants)?)));
    Arc::new(intakes.collect())
}

fn intake(mut section: Section<'_>, tenants: &Named<TenantId, Tenant>) -> Option<Intake> {
    let tenant = tenants.read(&mut section, "tenant", "tenant");
    if tenant.is_none() {
        section.missing("tenant", "\"acme\" # one of [tenants.…]");
    }
    let kind = section.choice("platform", &[("telnyx", Kind::Telnyx)]);
    if kind.is_none() {
        section.missing("platform", "\"telnyx\"");
    }
    let key =
        section.parsed("public_key", |text| text.parse::<TelnyxKey>().map_err(|problem| problem.to_string()));
    if key.is_none() {
        section.missing("public_key", "\"…\" # as Telnyx shows it for the account");
    }
    section.finish();
    let platform = match kind? {
        Kind::Telnyx => Platform::Telnyx(key?),
    };
    Some(Intake { tenant: tenant?.as_str().into(), platform })
}
