//! The endpoint from outside: whole calls between two of them in virtual time, and single ones against a scripted peer.

mod bench;
mod calls;
mod chance;
mod crossings;
mod offers;
mod owners;
