//! `[tenants.….twilio]`: a tenant as applications for Twilio know it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::mistake::Problem;
use super::names::url;
use super::section::{Section, article};
use super::surroundings::Surroundings;
use crate::call::{Account, AccountVoice, Announcement, Provider, ProviderKey, Tenant, TenantId};
use crate::provider::twilio::{Method, WebAddress};
use crate::spelling;

/// Nothing where the section is not there.
pub(super) fn account(mut section: Section<'_>, surroundings: &Surroundings) -> Option<Arc<Account>> {
    if !section.is_written() {
        section.finish();
        return None;
    }
    let sid = section.parsed("account_sid", |text| {
        let digits = text.strip_prefix("AC").filter(|digits| digits.len() == 32);
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let right = digits.is_some_and(|digits| digits.bytes().all(hex));
        let rule = "is not an account; write AC and 32 digits of 0-9 and a-f, any that you like";
        right.then(|| text.to_owned()).ok_or_else(|| rule.to_owned())
    });
    if sid.is_none() {
        section.missing("account_sid", "\"AC00000000000000000000000000000001\"");
    }
    let provider = section.text("provider");
    if provider.is_none() {
        section.missing("provider", "\"sip-main\"");
    }
    let token = section.secret("auth_token", surroundings);
    if token.is_none() {
        section.missing("auth_token", "{ env = \"TWILIO_AUTH_TOKEN\" }");
    }
    let method =
        section.choice("voice_method", &[("POST", Method::Post), ("GET", Method::Get)]).unwrap_or_default();
    let voice_url = section.parsed("voice_url", url(spelling::webhook_url));
    let fallback = section.parsed("voice_fallback_url", url(spelling::webhook_url));
    let status = section.parsed("status_callback", url(spelling::webhook_url));
    if voice_url.is_none() && (fallback.is_some() || status.is_some()) {
        section.missing("voice_url", "\"https://app.example.com/voice\"");
    }
    let stream_hosts = section.list("stream_hosts", |text| match stream_host(text) {
        true => Ok(text.to_owned()),
        false => Err("is not a host; write one like bots.example.com or bots.example.com:8443".to_owned()),
    });
    let say = section.text("say");
    let sounds = sounds(&mut section);
    section.finish();
    let posted = |url| WebAddress { url, method: Method::Post };
    Some(Arc::new(Account {
        sid: sid?,
        provider: provider?.as_str().into(),
        token: token?.reveal().to_owned(),
        voice: voice_url.map(|url| AccountVoice {
            at: WebAddress { url, method },
            fallback: fallback.map(posted),
            status: status.map(posted),
        }),
        stream_hosts: stream_hosts.unwrap_or_default(),
        sounds,
        say,
    }))
}

/// A host with or without a port, as a URL has it.
fn stream_host(text: &str) -> bool {
    let parsed = url::Url::parse(&format!("wss://{text}/"));
    parsed.is_ok_and(|url| {
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        url.host_str().is_some_and(|host| text == format!("{host}{port}") || text == format!("{host}:443"))
    })
}

fn sounds(section: &mut Section<'_>) -> BTreeMap<String, String> {
    let mut sounds = BTreeMap::new();
    for (said, value) in section.entries("sounds") {
        match value.get_ref().as_str() {
            Some(name) => drop(sounds.insert(said.to_owned(), name.to_owned())),
            None => {
                let found = article(value.get_ref());
                section.note("sounds", value, Problem::Type { expected: "names of announcements", found });
            }
        }
    }
    sounds
}

/// What can only be said when all is read: providers, announcements, and that no account is two tenants'.
pub(super) fn check(
    tenants: &BTreeMap<TenantId, Tenant>,
    providers: &BTreeMap<ProviderKey, Arc<Provider>>,
    announcements: &BTreeMap<String, Arc<Announcement>>,
    top: &mut Section<'_>,
) {
    let mut sids = BTreeSet::new();
    for (tenant, account) in tenants.iter().filter_map(|(id, tenant)| Some((id, tenant.account.as_ref()?))) {
        let section = format!("[tenants.{tenant}.twilio]");
        let conflict = |top: &mut Section<'_>, problem| top.object("tenants", Problem::Conflict(problem));
        if providers.get(&account.provider).is_none_or(|provider| provider.tenant != *tenant) {
            let key = &account.provider;
            conflict(
                top,
                format!("`provider` of {section} names {key}, and the tenant has no such provider"),
            );
        }
        for name in account.sounds.values().chain(&account.say) {
            if !announcements.contains_key(name) {
                conflict(
                    top,
                    format!("{section} names the announcement {name}, and [announcements] has none such"),
                );
            }
        }
        if !sids.insert(&account.sid) {
            conflict(
                top,
                format!("`account_sid` of {section} is another tenant's already; write another one"),
            );
        }
    }
}
