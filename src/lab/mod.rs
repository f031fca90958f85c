//! Instruments: a telephone, an echoing engine and a webhook receiver of our own. The demo and the bench use them; what
//! they speak is real SIP, RTP, websocket and HTTP on real sockets.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a shell: it has a clock and sockets"
)]

mod bot;
mod echo;
pub mod load;
mod mock_engine;
mod phone;
mod receiver;

pub use bot::{Bot, Heard};
pub use echo::EchoEngine;
pub use mock_engine::{MockEngine, Step, Talk};
pub use phone::{Phone, PhoneError, Spoken};
pub use receiver::{Receipt, Receiver};
