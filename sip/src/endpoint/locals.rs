//! Our listeners, and how they are written into Via and Contact.

use std::net::SocketAddr;

use super::config::Local;
use crate::flow::{Flow, Transport};
use crate::{Host, NameAddr, Uri, Via, ViaTransport};

/// All listeners in the order of the configuration.
#[derive(Debug)]
pub(crate) struct Locals(Vec<Listener>);

/// One listener with its address read.
#[derive(Debug)]
pub(crate) struct Listener {
    local: Local,
    /// `sip:host:port`
    uri: Uri,
}

impl Locals {
    pub(crate) fn new(locals: &[Local]) -> Self {
        Self(locals.iter().map(Listener::new).collect())
    }

    /// The listener that a request to `to` goes out from: the one at `near` if it fits; else, among those of the same
    /// transport and address family, one that is on loopback just as `to` is; else the first.
    pub(crate) fn towards(
        &self,
        transport: Transport,
        to: SocketAddr,
        near: Option<SocketAddr>,
    ) -> Option<&Listener> {
        let fits = |listener: &&Listener| {
            listener.local.transport == transport && listener.local.bind.is_ipv4() == to.is_ipv4()
        };
        let fitting = || self.0.iter().filter(fits);
        let is_near = |listener: &&Listener| near.is_some_and(|near| listener.local.bind == near);
        let shares_address =
            |listener: &&Listener| near.is_some_and(|near| listener.local.bind.ip() == near.ip());
        let is_alike = |listener: &&Listener| listener.local.bind.ip().is_loopback() == to.ip().is_loopback();
        fitting()
            .find(is_near)
            .or_else(|| fitting().find(shares_address))
            .or_else(|| fitting().find(is_alike))
            .or_else(|| fitting().next())
    }

    /// The Contact for whoever is at the other end of a flow; without a listener that fits, the address they reached.
    pub(crate) fn contact(&self, flow: Flow, user: Option<&str>) -> NameAddr {
        let listener = self.towards(flow.transport, flow.peer, Some(flow.local));
        match listener {
            Some(listener) => listener.contact(user),
            None => Listener::new(&Local::new(flow.transport, flow.local)).contact(user),
        }
    }
}

impl Listener {
    fn new(local: &Local) -> Self {
        let written = Uri::parse(format!("sip:{}:{}", local.host, local.port));
        let uri = written.ok().filter(|uri| uri.host().is_some()).or_else(|| {
            // A host that cannot be written is worth less than the bare address.
            Uri::sip(None, Host::from(local.bind.ip()), Some(local.port)).ok()
        });
        Self { local: local.clone(), uri: uri.expect("an address and a port make a URI") }
    }

    pub(crate) fn bind(&self) -> SocketAddr {
        self.local.bind
    }

    /// The Via of a request that goes out here.
    pub(crate) fn via(&self, branch: &str) -> Via {
        let transport = match self.local.transport {
            Transport::Udp => ViaTransport::Udp,
            Transport::Tcp => ViaTransport::Tcp,
            Transport::Tls => ViaTransport::Tls,
        };
        let host = self.uri.host().expect("checked when it was made");
        Via::new(transport, host, Some(self.local.port), branch)
    }

    /// Where requests to us shall come.
    pub(crate) fn contact(&self, user: Option<&str>) -> NameAddr {
        let host = self.uri.host().expect("checked when it was made");
        let uri = Uri::sip(user, host, Some(self.local.port)).unwrap_or_else(|_| self.uri.clone());
        NameAddr::new(match self.local.transport {
            Transport::Udp => uri,
            Transport::Tcp | Transport::Tls => {
                uri.with_param("transport", Some(self.local.transport.as_param()))
            }
        })
    }
}
