//! The state of a dialog: RFC 3261 §12.
//!
//! ```text
//!   identity    Call-ID, our tag, their tag
//!   order       our CSeq counts up by one; theirs may not go back
//!   way         remote target (their Contact, newest wins), route set (Record-Route, never changes)
//!   flow        where their last message came from: the way out when the names on that way are no addresses
//! ```

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::flow::{ConnectionId, Flow, Target, Transport};
use crate::{BRANCH_COOKIE, HeaderName, Message, NameAddr, Scheme, Uri};

/// What two sides share of one call.
#[derive(Debug, Clone)]
pub(crate) struct Dialog {
    call_id: Arc<str>,
    local: NameAddr,
    remote: NameAddr,
    local_seq: u32,
    remote_seq: Option<u32>,
    routes: Vec<NameAddr>,
    target: Uri,
    flow: Flow,
}

/// A request came with a lower CSeq than the one before it (RFC 3261 §12.2.2: answer 500).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OutOfOrder;

/// The Request-URI and the Route headers of a request within the dialog, and the hop that gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) uri: Uri,
    pub(crate) routes: Vec<NameAddr>,
    pub(crate) hop: Target,
}

impl Dialog {
    /// The callee's side, from the INVITE it received (RFC 3261 §12.1.1). `to` is the To of the INVITE with our tag. `None`
    /// if the INVITE has no Contact that could be reached.
    pub(crate) fn of_callee(invite: &Message, to: NameAddr, flow: Flow) -> Option<Self> {
        let target = target_of(invite).or_else(|| old_target_of(invite))?;
        let routes: Vec<_> = invite.record_routes().collect::<Result<_, _>>().ok()?;
        if !routes.iter().all(|route| is_sip(route.uri())) {
            return None;
        }
        Some(Self {
            call_id: invite.call_id().ok()?.into(),
            local: to,
            remote: invite.from().ok()?,
            local_seq: 0,
            remote_seq: Some(invite.cseq().ok()?.number),
            routes,
            target,
            flow,
        })
    }

    /// The caller's side, from a response to its INVITE (RFC 3261 §12.1.2). A response without Contact leaves the
    /// Request-URI as target.
    pub(crate) fn of_caller(
        call_id: Arc<str>,
        from: NameAddr,
        seq: u32,
        request_uri: &Uri,
        response: &Message,
        flow: Flow,
    ) -> Option<Self> {
        let mut dialog = Self {
            call_id,
            local: from,
            remote: response.to().ok()?,
            local_seq: seq,
            remote_seq: None,
            routes: Vec::new(),
            target: request_uri.clone(),
            flow,
        };
        dialog.confirm(response, flow);
        Some(dialog)
    }

    /// A later response of the same fork, at last the 2xx: its route set and target replace those of the earlier ones
    /// (RFC 3261 §13.2.2.4).
    pub(crate) fn confirm(&mut self, response: &Message, flow: Flow) {
        let mut routes: Vec<NameAddr> = response.record_routes().flatten().collect();
        routes.retain(|route| is_sip(route.uri()));
        routes.reverse();
        self.routes = routes;
        self.refresh_target(response);
        self.flow = flow;
    }

    /// Takes a route set from elsewhere.
    pub(crate) fn follow(&mut self, routes: &[NameAddr]) {
        self.routes = routes.to_vec();
    }

    /// The remote target moves: 2xx to our re-INVITE, or their accepted re-INVITE or UPDATE (RFC 3261 §12.2).
    pub(crate) fn refresh_target(&mut self, message: &Message) {
        if let Some(target) = target_of(message) {
            self.target = target;
        }
    }

    pub(crate) fn call_id(&self) -> &Arc<str> {
        &self.call_id
    }

    pub(crate) fn local(&self) -> &NameAddr {
        &self.local
    }

    pub(crate) fn remote(&self) -> &NameAddr {
        &self.remote
    }

    /// Empty for a peer of RFC 2543, which has none (RFC 3261 §12.1.1).
    pub(crate) fn remote_tag(&self) -> &str {
        self.remote.tag().unwrap_or_default()
    }

    pub(crate) fn flow(&self) -> Flow {
        self.flow
    }

    /// Numbers up to this one have been used.
    pub(crate) fn skip_to(&mut self, seq: u32) {
        self.local_seq = self.local_seq.max(seq);
    }

    /// The number for our next request.
    pub(crate) fn next_seq(&mut self) -> u32 {
        self.local_seq += 1;
        self.local_seq
    }

    /// Takes the number of a request that is neither ACK nor CANCEL. Gaps are allowed, going back is not.
    pub(crate) fn receive_seq(&mut self, seq: u32) -> Result<(), OutOfOrder> {
        if self.remote_seq.is_some_and(|latest| seq < latest) {
            return Err(OutOfOrder);
        }
        self.remote_seq = Some(seq);
        Ok(())
    }

    /// A request came in: from the same address, over a new port or connection, it shows the way back.
    pub(crate) fn receive_from(&mut self, flow: Flow) {
        if flow.peer.ip() == self.flow.peer.ip() && flow.transport == self.flow.transport {
            self.flow = flow;
        }
    }

    /// A connection is gone; if it is the flow's, the next request has to open another.
    pub(crate) fn lose_connection(&mut self, connection: ConnectionId) {
        if self.flow.connection == Some(connection) {
            self.flow.connection = None;
        }
    }

    /// How a request within the dialog is addressed (RFC 3261 §12.2.1.1), loose and strict routers alike.
    pub(crate) fn route(&self) -> Route {
        let Some(first) = self.routes.first() else {
            return Route {
                uri: self.target.without_headers(),
                routes: Vec::new(),
                hop: self.hop(&self.target),
            };
        };
        let hop = self.hop(first.uri());
        if first.uri().param("lr").is_some() {
            return Route { uri: self.target.without_headers(), routes: self.routes.clone(), hop };
        }
        let mut routes = self.routes[1..].to_vec();
        routes.push(NameAddr::new(self.target.clone()));
        Route { uri: first.uri().without_headers(), routes, hop }
    }

    /// Where a URI points when its host is an address that can be reached; else where their messages come from. Names are
    /// not resolved here. A private address named by a public peer is one behind its NAT, which only the flow gets
    /// through.
    fn hop(&self, uri: &Uri) -> Target {
        let from_flow = Target { transport: self.flow.transport, address: self.flow.peer };
        let Some(ip) = uri.host().and_then(|host| host.ip()) else { return from_flow };
        if is_nearby(ip) && !is_nearby(self.flow.peer.ip().to_canonical()) {
            return from_flow;
        }
        let named = uri.param("transport").and_then(Transport::from_param);
        let transport = named.unwrap_or(match uri.scheme() {
            Scheme::Sips => Transport::Tls,
            Scheme::Sip | Scheme::Tel | Scheme::Other => self.flow.transport,
        });
        let port = uri.port().unwrap_or(transport.default_port());
        Target { transport, address: SocketAddr::new(ip, port) }
    }
}

/// The Contact, where requests can be sent to: a SIP URI (RFC 3261 §8.1.1.8).
fn target_of(message: &Message) -> Option<Uri> {
    let contact = message.contact().ok()??;
    is_sip(contact.uri()).then(|| contact.uri().clone())
}

/// RFC 2543 §6.13: a caller of old may leave its Contact out and is then called back as who it is.
fn old_target_of(invite: &Message) -> Option<Uri> {
    let is_old = !invite.via().ok()?.branch().unwrap_or_default().starts_with(BRANCH_COOKIE);
    let from = invite.header(HeaderName::Contact).is_none().then(|| invite.from().ok())??;
    (is_old && is_sip(from.uri())).then(|| from.uri().clone())
}

fn is_sip(uri: &Uri) -> bool {
    matches!(uri.scheme(), Scheme::Sip | Scheme::Sips)
}

/// Addresses that mean something only to their neighbours.
fn is_nearby(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // 100.64.0.0/10 is the carriers' own NAT (RFC 6598).
            let is_shared = a == 100 && (64..128).contains(&b);
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified() || is_shared
        }
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
    }
}
