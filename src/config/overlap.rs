//! Two providers must be told apart when a request comes in: by where it comes from, or else by the number it calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::mistake::Problem;
use super::providers::{describe, takes_all_of};
use super::section::Section;
use crate::call::{InboundAuth, NumberPattern, Provider, ProviderKey};

/// Notes every pair of providers that cannot be told apart.
pub(super) fn check(providers: &BTreeMap<ProviderKey, Arc<Provider>>, top: &mut Section<'_>) {
    let providers: Vec<&Provider> = providers.values().map(Arc::as_ref).collect();
    for (index, one) in providers.iter().enumerate() {
        for other in &providers[index + 1..] {
            if let Some(name) = common_name(one, other) {
                let problem = format!(
                    "[providers.{}] and [providers.{}] both take calls from anywhere with the `inbound_username` {name:?}; \
                     give them names of their own",
                    one.key, other.key,
                );
                top.object("providers", Problem::Conflict(problem));
                continue;
            }
            let Some(network) = common_network(one, other) else { continue };
            let Some((number, same)) = common_number(one, other) else { continue };
            let problem = format!(
                "[providers.{one}] and [providers.{other}] both take calls from {network}, and the route {number} of \
                 the one meets {same} of the other; give them separate `peers` or separate `routes`",
                one = one.key,
                other = other.key,
            );
            top.object("providers", Problem::Conflict(problem));
        }
    }
}

/// The user name that both are known by, wherever their calls come from.
fn common_name<'a>(one: &'a Provider, other: &Provider) -> Option<&'a str> {
    match (&one.trunk.inbound_auth, &other.trunk.inbound_auth) {
        (InboundAuth::Digest(one), InboundAuth::Digest(other)) => {
            let name = &one.credentials.username;
            (*name == other.credentials.username).then_some(name)
        }
        (
            InboundAuth::Digest(_) | InboundAuth::Both(_) | InboundAuth::Address | InboundAuth::Signed(_),
            _,
        ) => None,
    }
}

/// Where calls of both may come from, as far as they are known by that.
fn common_network(one: &Provider, other: &Provider) -> Option<IpNet> {
    let by_password = |provider: &Provider| matches!(provider.trunk.inbound_auth, InboundAuth::Digest(_));
    if by_password(one) || by_password(other) {
        return None;
    }
    one.trunk.peers.iter().find_map(|network| {
        let meets = |of_other: &&IpNet| of_other.contains(network) || network.contains(*of_other);
        other.trunk.peers.iter().find(meets).map(|of_other| narrower(*network, *of_other))
    })
}

fn common_number(one: &Provider, other: &Provider) -> Option<(String, String)> {
    let meet = |a: &NumberPattern, b: &NumberPattern| takes_all_of(a, b) || takes_all_of(b, a);
    one.routes.iter().find_map(|route| {
        let same = other.routes.iter().find(|of_other| meet(&route.number, &of_other.number))?;
        Some((describe(&route.number), describe(&same.number)))
    })
}

fn narrower(one: IpNet, other: IpNet) -> IpNet {
    if one.prefix_len() >= other.prefix_len() { one } else { other }
}
