//! Names of header fields: the ones we know, their compact forms, and how a name on the wire is recognised
//! (RFC 3261 §7.3.3, §20 and the IANA registry).

use std::fmt;

macro_rules! header_names {
    ($($variant:ident = $text:literal $(, $compact:literal)?;)*) => {
        /// A header field that this crate or its users know by name. Any other is an [`HeaderName::Extension`]; read it
        /// with `Message::header_named`.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum HeaderName {
            $(
                #[doc = concat!("`", $text, "`", $(" or `", $compact, "`")?)]
                $variant,
            )*
            /// A name that is not in this list.
            Extension,
        }

        /// Every spelling that is recognised, with what it means.
        const SPELLINGS: &[(&str, HeaderName)] =
            &[$(($text, HeaderName::$variant), $(($compact, HeaderName::$variant),)?)*];

        impl HeaderName {
            /// The full name as the RFC writes it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Extension => "an extension header",
                }
            }
        }
    };
}

header_names! {
    Accept = "Accept";
    AcceptContact = "Accept-Contact", "a";
    AcceptEncoding = "Accept-Encoding";
    AcceptLanguage = "Accept-Language";
    AlertInfo = "Alert-Info";
    Allow = "Allow";
    AllowEvents = "Allow-Events", "u";
    AuthenticationInfo = "Authentication-Info";
    Authorization = "Authorization";
    CallId = "Call-ID", "i";
    CallInfo = "Call-Info";
    Contact = "Contact", "m";
    ContentDisposition = "Content-Disposition";
    ContentEncoding = "Content-Encoding", "e";
    ContentLanguage = "Content-Language";
    ContentLength = "Content-Length", "l";
    ContentType = "Content-Type", "c";
    CSeq = "CSeq";
    Date = "Date";
    Diversion = "Diversion";
    ErrorInfo = "Error-Info";
    Event = "Event", "o";
    Expires = "Expires";
    FlowTimer = "Flow-Timer";
    From = "From", "f";
    Geolocation = "Geolocation";
    HistoryInfo = "History-Info";
    Identity = "Identity", "y";
    InfoPackage = "Info-Package";
    InReplyTo = "In-Reply-To";
    Join = "Join";
    MaxForwards = "Max-Forwards";
    MimeVersion = "MIME-Version";
    MinExpires = "Min-Expires";
    MinSe = "Min-SE";
    Organization = "Organization";
    PAccessNetworkInfo = "P-Access-Network-Info";
    PAssertedIdentity = "P-Asserted-Identity";
    PCalledPartyId = "P-Called-Party-ID";
    PChargingVector = "P-Charging-Vector";
    PEarlyMedia = "P-Early-Media";
    PPreferredIdentity = "P-Preferred-Identity";
    Path = "Path";
    Priority = "Priority";
    Privacy = "Privacy";
    ProxyAuthenticate = "Proxy-Authenticate";
    ProxyAuthorization = "Proxy-Authorization";
    ProxyRequire = "Proxy-Require";
    RAck = "RAck";
    Reason = "Reason";
    RecordRoute = "Record-Route";
    RecvInfo = "Recv-Info";
    ReferSub = "Refer-Sub";
    ReferTo = "Refer-To", "r";
    ReferredBy = "Referred-By", "b";
    RejectContact = "Reject-Contact", "j";
    RemotePartyId = "Remote-Party-ID";
    Replaces = "Replaces";
    ReplyTo = "Reply-To";
    RequestDisposition = "Request-Disposition", "d";
    Require = "Require";
    ResourcePriority = "Resource-Priority";
    RetryAfter = "Retry-After";
    Route = "Route";
    RSeq = "RSeq";
    Server = "Server";
    ServiceRoute = "Service-Route";
    SessionExpires = "Session-Expires", "x";
    SessionId = "Session-ID";
    SipEtag = "SIP-ETag";
    SipIfMatch = "SIP-If-Match";
    Subject = "Subject", "s";
    SubscriptionState = "Subscription-State";
    Supported = "Supported", "k";
    TargetDialog = "Target-Dialog";
    Timestamp = "Timestamp";
    To = "To", "t";
    Unsupported = "Unsupported";
    UserAgent = "User-Agent";
    UserToUser = "User-to-User";
    Via = "Via", "v";
    Warning = "Warning";
    WwwAuthenticate = "WWW-Authenticate";
}

impl HeaderName {
    /// The header of that name, in any case and also in its compact form.
    pub fn from_text(name: impl AsRef<[u8]>) -> Self {
        let name = name.as_ref();
        let mut slot = hash(name);
        // Open addressing with free slots left: a miss ends at the first free one.
        while let Some((spelling, found)) = TABLE[slot] {
            if spelling.as_bytes().eq_ignore_ascii_case(name) {
                return found;
            }
            slot = (slot + 1) % TABLE_SIZE;
        }
        Self::Extension
    }

    /// Whether `name` as it stands on the wire is this header. Always false for [`HeaderName::Extension`].
    pub fn is(self, name: impl AsRef<[u8]>) -> bool {
        self != Self::Extension && Self::from_text(name) == self
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

const TABLE_SIZE: usize = 512;

static TABLE: [Option<(&str, HeaderName)>; TABLE_SIZE] = table();

const fn table() -> [Option<(&'static str, HeaderName)>; TABLE_SIZE] {
    let mut table: [Option<(&'static str, HeaderName)>; TABLE_SIZE] = [None; TABLE_SIZE];
    let mut index = 0;
    while index < SPELLINGS.len() {
        let mut slot = hash(SPELLINGS[index].0.as_bytes());
        while table[slot].is_some() {
            slot = (slot + 1) % TABLE_SIZE;
        }
        table[slot] = Some(SPELLINGS[index]);
        index += 1;
    }
    table
}

/// Length and three letters tell the known names apart well enough; case does not matter.
const fn hash(name: &[u8]) -> usize {
    let length = name.len();
    if length == 0 {
        return 0;
    }
    let first = (name[0] | 0x20) as usize;
    let middle = (name[length / 2] | 0x20) as usize;
    let last = (name[length - 1] | 0x20) as usize;
    (length + first * 5 + middle * 31 + last * 67) % TABLE_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_recognised_in_any_case() {
        for (spelling, name) in SPELLINGS {
            assert_eq!(HeaderName::from_text(spelling), *name);
            assert_eq!(HeaderName::from_text(spelling.to_uppercase()), *name);
            assert_eq!(HeaderName::from_text(spelling.to_lowercase()), *name);
        }
    }

    #[test]
    fn a_name_that_only_looks_alike_is_an_extension() {
        for name in ["", "X-Anything", "Froms", "Fro", "T\u{1}", "C%6Fntact", "tx", "\u{14}"] {
            assert_eq!(HeaderName::from_text(name), HeaderName::Extension, "{name:?}");
        }
        assert!(!HeaderName::Extension.is("X-Anything"));
    }

    #[test]
    fn looking_up_a_name_takes_few_comparisons() {
        let longest_run = TABLE.split(Option::is_none).map(<[_]>::len).max();

        assert!(longest_run < Some(8), "{longest_run:?}");
    }
}
