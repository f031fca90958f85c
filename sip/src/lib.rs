//! SIP messages, transactions and dialogs, sans-IO.
