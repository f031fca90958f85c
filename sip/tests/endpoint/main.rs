//! The endpoint from outside: whole calls between two of them in virtual time, and single ones against a scripted peer.

#[cfg(test)]
mod bench;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod chance;
#[cfg(test)]
mod credentials;
#[cfg(test)]
mod crossings;
#[cfg(test)]
mod dialogs;
#[cfg(test)]
mod forks;
#[cfg(test)]
mod offers;
#[cfg(test)]
mod owners;
#[cfg(test)]
mod races;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod reliable;
#[cfg(test)]
mod replaces;
#[cfg(test)]
mod served;
#[cfg(test)]
mod session_timers;
#[cfg(test)]
mod transfers;
#[cfg(test)]
mod updates;
