//! Two providers must be told apart when a request comes in: by where it comes from, or else by the number it calls.

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::IpNet;

use super::mistake::Problem;
use super::providers::{describe, takes_all_of};
use super::section::Section;
use crate::call::{NumberPattern, Provider, ProviderKey};

/// Notes every pair of providers that cannot be told apart.
pub(super) fn check(providers: &BTreeMap<ProviderKey, Arc<Provider>>, top: &mut Section<'_>) {
    let providers: Vec<&Provider> = providers.values().map(Arc::as_ref).collect();
    for (index, one) in providers.iter().enumerate() {
        for other in &providers[index + 1..] {
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

fn common_network(one: &Provider, other: &Provider) -> Option<IpNet> {
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
