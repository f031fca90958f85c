//! Instruments: a telephone, an echoing engine and a webhook receiver of our own. The demo and the bench use them; what
//! they speak is real SIP, RTP, websocket and HTTP on real sockets.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a shell: it has a clock and sockets"
)]

mod echo;
pub mod load;
mod phone;
mod receiver;

pub use echo::EchoEngine;
pub use phone::{Phone, PhoneError, Spoken};
pub use receiver::{Receipt, Receiver};
