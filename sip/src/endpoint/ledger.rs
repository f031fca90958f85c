//! What the endpoint holds and what it has thrown away: for leak checks and metrics.

/// What an [`super::Endpoint`] holds at this moment. All zero when every call is over and forgotten.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Client transactions, those that only absorb repetitions included.
    pub client_transactions: usize,
    /// Server transactions, those that only absorb repetitions included.
    pub server_transactions: usize,
    /// Dialogs and INVITEs that are to become one.
    pub dialogs: usize,
    /// Deadlines.
    pub timers: usize,
}

/// What came and was thrown away, since the beginning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Neither a request that could be answered nor a response that could be read.
    pub malformed: u64,
    /// Malformed requests beyond what is answered in a second ([`super::Limits`]).
    pub unanswered: u64,
    /// Responses to nothing that we have sent, or have long forgotten.
    pub stray_responses: u64,
    /// ACKs that acknowledge nothing.
    pub stray_acks: u64,
    /// Requests answered 503 because of [`super::Limits`].
    pub overload: u64,
}
