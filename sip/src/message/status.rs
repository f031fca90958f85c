//! Status codes of responses (RFC 3261 §21 and the IANA registry of SIP response codes).

use std::fmt;

/// The code of a response: three digits from 100 to 699.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StatusCode(u16);

/// The first digit of a status code (RFC 3261 §7.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StatusClass {
    /// 1xx: received, going on.
    Provisional,
    /// 2xx: done.
    Success,
    /// 3xx: try elsewhere.
    Redirection,
    /// 4xx: this request is at fault, or this server cannot serve it.
    ClientError,
    /// 5xx: the server failed.
    ServerError,
    /// 6xx: nobody anywhere will serve it.
    GlobalFailure,
}

macro_rules! status_codes {
    ($($code:literal $name:ident $reason:literal;)*) => {
        impl StatusCode {
            $(
                #[doc = concat!($code, " ", $reason)]
                pub const $name: Self = Self($code);
            )*

            /// The usual phrase for this code; that of its class when the code has none of its own.
            pub fn reason_phrase(self) -> &'static str {
                match self.0 {
                    $($code => $reason,)*
                    _ => match self.class() {
                        StatusClass::Provisional => "Session Progress",
                        StatusClass::Success => "OK",
                        StatusClass::Redirection => "Redirection",
                        StatusClass::ClientError => "Request Failure",
                        StatusClass::ServerError => "Server Failure",
                        StatusClass::GlobalFailure => "Global Failure",
                    },
                }
            }
        }
    };
}

status_codes! {
    100 TRYING "Trying";
    180 RINGING "Ringing";
    181 CALL_IS_BEING_FORWARDED "Call Is Being Forwarded";
    182 QUEUED "Queued";
    183 SESSION_PROGRESS "Session Progress";
    199 EARLY_DIALOG_TERMINATED "Early Dialog Terminated";
    200 OK "OK";
    202 ACCEPTED "Accepted";
    204 NO_NOTIFICATION "No Notification";
    300 MULTIPLE_CHOICES "Multiple Choices";
    301 MOVED_PERMANENTLY "Moved Permanently";
    302 MOVED_TEMPORARILY "Moved Temporarily";
    305 USE_PROXY "Use Proxy";
    380 ALTERNATIVE_SERVICE "Alternative Service";
    400 BAD_REQUEST "Bad Request";
    401 UNAUTHORIZED "Unauthorized";
    402 PAYMENT_REQUIRED "Payment Required";
    403 FORBIDDEN "Forbidden";
    404 NOT_FOUND "Not Found";
    405 METHOD_NOT_ALLOWED "Method Not Allowed";
    406 NOT_ACCEPTABLE "Not Acceptable";
    407 PROXY_AUTHENTICATION_REQUIRED "Proxy Authentication Required";
    408 REQUEST_TIMEOUT "Request Timeout";
    410 GONE "Gone";
    412 CONDITIONAL_REQUEST_FAILED "Conditional Request Failed";
    413 REQUEST_ENTITY_TOO_LARGE "Request Entity Too Large";
    414 REQUEST_URI_TOO_LONG "Request-URI Too Long";
    415 UNSUPPORTED_MEDIA_TYPE "Unsupported Media Type";
    416 UNSUPPORTED_URI_SCHEME "Unsupported URI Scheme";
    417 UNKNOWN_RESOURCE_PRIORITY "Unknown Resource-Priority";
    420 BAD_EXTENSION "Bad Extension";
    421 EXTENSION_REQUIRED "Extension Required";
    422 SESSION_INTERVAL_TOO_SMALL "Session Interval Too Small";
    423 INTERVAL_TOO_BRIEF "Interval Too Brief";
    428 USE_IDENTITY_HEADER "Use Identity Header";
    429 PROVIDE_REFERRER_IDENTITY "Provide Referrer Identity";
    430 FLOW_FAILED "Flow Failed";
    433 ANONYMITY_DISALLOWED "Anonymity Disallowed";
    436 BAD_IDENTITY_INFO "Bad Identity Info";
    437 UNSUPPORTED_CREDENTIAL "Unsupported Credential";
    438 INVALID_IDENTITY_HEADER "Invalid Identity Header";
    439 FIRST_HOP_LACKS_OUTBOUND_SUPPORT "First Hop Lacks Outbound Support";
    440 MAX_BREADTH_EXCEEDED "Max-Breadth Exceeded";
    469 BAD_INFO_PACKAGE "Bad Info Package";
    470 CONSENT_NEEDED "Consent Needed";
    480 TEMPORARILY_UNAVAILABLE "Temporarily Unavailable";
    481 CALL_OR_TRANSACTION_DOES_NOT_EXIST "Call/Transaction Does Not Exist";
    482 LOOP_DETECTED "Loop Detected";
    483 TOO_MANY_HOPS "Too Many Hops";
    484 ADDRESS_INCOMPLETE "Address Incomplete";
    485 AMBIGUOUS "Ambiguous";
    486 BUSY_HERE "Busy Here";
    487 REQUEST_TERMINATED "Request Terminated";
    488 NOT_ACCEPTABLE_HERE "Not Acceptable Here";
    489 BAD_EVENT "Bad Event";
    491 REQUEST_PENDING "Request Pending";
    493 UNDECIPHERABLE "Undecipherable";
    494 SECURITY_AGREEMENT_REQUIRED "Security Agreement Required";
    500 SERVER_INTERNAL_ERROR "Server Internal Error";
    501 NOT_IMPLEMENTED "Not Implemented";
    502 BAD_GATEWAY "Bad Gateway";
    503 SERVICE_UNAVAILABLE "Service Unavailable";
    504 SERVER_TIMEOUT "Server Time-out";
    505 VERSION_NOT_SUPPORTED "Version Not Supported";
    513 MESSAGE_TOO_LARGE "Message Too Large";
    580 PRECONDITION_FAILURE "Precondition Failure";
    600 BUSY_EVERYWHERE "Busy Everywhere";
    603 DECLINE "Decline";
    604 DOES_NOT_EXIST_ANYWHERE "Does Not Exist Anywhere";
    606 NOT_ACCEPTABLE_ANYWHERE "Not Acceptable";
    607 UNWANTED "Unwanted";
    608 REJECTED "Rejected";
}

impl StatusCode {
    /// A code by its number, `None` outside 100 to 699.
    pub const fn new(code: u16) -> Option<Self> {
        if code >= 100 && code <= 699 { Some(Self(code)) } else { None }
    }

    /// The number.
    pub const fn code(self) -> u16 {
        self.0
    }

    /// What kind of answer this is.
    pub const fn class(self) -> StatusClass {
        match self.0 / 100 {
            1 => StatusClass::Provisional,
            2 => StatusClass::Success,
            3 => StatusClass::Redirection,
            4 => StatusClass::ClientError,
            5 => StatusClass::ServerError,
            _ => StatusClass::GlobalFailure,
        }
    }

    /// 1xx.
    pub const fn is_provisional(self) -> bool {
        matches!(self.class(), StatusClass::Provisional)
    }

    /// 2xx.
    pub const fn is_success(self) -> bool {
        matches!(self.class(), StatusClass::Success)
    }

    /// 2xx to 6xx.
    pub const fn is_final(self) -> bool {
        !self.is_provisional()
    }
}

impl fmt::Display for StatusCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_three_digits_from_100_to_699_are_a_code() {
        assert_eq!(StatusCode::new(699).map(StatusCode::class), Some(StatusClass::GlobalFailure));
        assert_eq!((StatusCode::new(99), StatusCode::new(700), StatusCode::new(5)), (None, None, None));
    }

    #[test]
    fn a_code_without_a_phrase_of_its_own_has_that_of_its_class() {
        assert_eq!(StatusCode::BUSY_HERE.reason_phrase(), "Busy Here");
        assert_eq!(StatusCode::new(499).unwrap().reason_phrase(), "Request Failure");
    }
}
