//! The crate from outside: behaviour across its modules, on wire data of others where that is present.

#[cfg(test)]
mod concealed;
#[cfg(feature = "dtls")]
#[cfg(test)]
mod dtls;
#[cfg(test)]
mod g711;
#[cfg(test)]
mod g722;
#[cfg(test)]
mod hearing;
#[cfg(test)]
mod jitter;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod pcap;
#[cfg(test)]
mod playout;
#[cfg(test)]
mod recordings;
#[cfg(test)]
mod replay;
#[cfg(test)]
mod sdes;
#[cfg(test)]
mod sdp;
#[cfg(test)]
mod session_down;
#[cfg(test)]
mod session_up;
#[cfg(test)]
mod srtp;
#[cfg(test)]
mod support;
#[cfg(test)]
mod wide;
