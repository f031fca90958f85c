//! Facts in, findings out: what makes a call fail in the first hour, and what to do about it. Pure.
//!
//! A problem is what keeps calls from coming about, or will within the week. A warning is what somebody should know before
//! there are many calls. What cannot be told is not held against the machine.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::net::IpAddr;

use super::facts::{
    Advertised, Asked, Bound, Clock, DaemonSeen, EngineSeen, Facts, Folder, Machine, Reached, ReceiverSeen,
    Shown, Socket, TrunkSeen,
};
use super::finding::{Check, Finding, Level};
use crate::call::EngineFailure;
use crate::webhook::{NetworkPolicy, Range, Refusal, Scheme};

/// Sockets of a call with one leg: RTP, RTCP, engine; a leg more takes two.
const FILES_A_CALL: u64 = 3;
const FILES_A_LEG: u64 = 2;
/// Files that are open without any call: listeners, store, threads.
const FILES_AT_REST: u64 = 256;
/// What a call is counted with, the kernel's buffers included, and the daemon without any.
const MEMORY_A_CALL: u64 = 256 * 1024;
const MEMORY_AT_REST: u64 = 64 * MEBIBYTE;
/// Below, a database that grows with every call is soon full; below the other one it is worth a look.
const FOLDER_FULL: u64 = 64 * MEBIBYTE;
const FOLDER_SMALL: u64 = 1024 * MEBIBYTE;
/// All SIP over UDP comes through one socket, so what waits in it while the edge is busy is of all calls. Linux gives 208 KiB.
const RECEIVE_USUAL: u64 = 212_992;
/// From so many calls on a burst of theirs does not fit that.
const MANY_CALLS: u64 = 2000;
const RECEIVE_MANY: u64 = MEBIBYTE;
/// 2026-01-01: this program is not older, so a clock that says less is wrong.
const NOT_BEFORE: i64 = 1_767_225_600;
const DAY: i64 = 86_400;
const MEBIBYTE: u64 = 1024 * 1024;

/// All findings, in the order in which a call would meet them.
pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(facts.sockets.iter().map(|socket| of_socket(socket, &facts.daemon)));
    findings.extend(facts.advertised.iter().map(|advertised| of_address(advertised, facts)));
    findings.extend(of_ports(&facts.machine, &facts.daemon));
    findings.push(of_files(&facts.machine));
    findings.extend(of_memory(&facts.machine));
    findings.extend(of_buffers(&facts.machine));
    findings.extend(facts.folders.iter().map(of_folder));
    findings.push(of_clock(facts.clock));
    findings.extend(facts.certificates.iter().flat_map(|shown| of_certificate(shown, facts)));
    findings.extend(facts.trunks.iter().map(of_trunk));
    findings.extend(facts.engines.iter().map(of_engine));
    findings.extend(facts.receivers.iter().map(of_receiver));
    findings
}

fn of_socket(socket: &Socket, daemon: &DaemonSeen) -> Finding {
    let say = |level, text: String| Finding::new(level, Check::Listen, &socket.what, text);
    match (&socket.bound, daemon) {
        (Bound::Free, DaemonSeen::Absent(_)) => say(Level::Ok, "can be listened on".to_owned()),
        (Bound::Free, DaemonSeen::Answers | DaemonSeen::AnswersWithOtherCertificate) => say(
            Level::Warning,
            "an edge runs, and does not listen here: restart it, if the address was changed since".to_owned(),
        ),
        (Bound::InUse, DaemonSeen::Answers | DaemonSeen::AnswersWithOtherCertificate) => {
            say(Level::Ok, "in use, and the running edge answers /healthz".to_owned())
        }
        (Bound::InUse, DaemonSeen::Absent(why)) => say(
            Level::Problem,
            format!(
                "another program listens there, and it is no edge that answers /healthz ({why}); end it (`ss -lnup`, \
                 `ss -lntp` say which), or write another port"
            ),
        ),
        (Bound::Forbidden, _) => say(
            Level::Problem,
            "this user may not listen on ports below 1024; write a higher one, or give the service \
             CAP_NET_BIND_SERVICE"
                .to_owned(),
        ),
        (Bound::NotOurs, _) => say(
            Level::Problem,
            "no interface of this machine has this address; write one that `ip address` shows, or 0.0.0.0"
                .to_owned(),
        ),
        (Bound::Failed(error), _) => say(Level::Problem, format!("cannot be listened on: {error}")),
    }
}

/// What an address is for, when it is not public.
fn range(address: IpAddr) -> Option<Range> {
    match NetworkPolicy::default().check(address, Scheme::Https) {
        Err(Refusal::Range(_, range)) => Some(range),
        Ok(()) | Err(Refusal::PlainHttp(_) | Refusal::NoAddress) => None,
    }
}

fn of_address(advertised: &Advertised, facts: &Facts) -> Finding {
    let Advertised { key, address, is_local, is_written } = advertised;
    let say = |level, text: String| Finding::new(level, Check::Address, key, text);
    let guessed = if *is_written { "" } else { " (taken from the routing table)" };
    let far = |wanted: fn(Option<Range>) -> bool| {
        facts.far_ends.iter().find(|(_, network)| wanted(range(network.addr())))
    };
    let public = far(|range| matches!(range, None | Some(Range::Documentation)));
    let elsewhere = far(|range| range != Some(Range::Loopback));
    match range(*address) {
        Some(Range::Unspecified | Range::Multicast) => say(
            Level::Problem,
            format!(
                "{address}{guessed} is no address that anybody can send to; write the one that callers reach"
            ),
        ),
        Some(Range::Loopback) => match elsewhere {
            Some((provider, network)) => say(
                Level::Problem,
                format!(
                    "{address}{guessed} is this machine itself, and `{provider}` is at {network}: it would send there \
                     what is for us; write the address that it reaches us at"
                ),
            ),
            None => say(Level::Ok, format!("{address}{guessed}: for this machine alone")),
        },
        Some(Range::Documentation) if !is_local => say(
            Level::Problem,
            format!("{address}{guessed} is an address that only examples have; write your own"),
        ),
        Some(inside) if inside != Range::Documentation && public.is_some() => {
            let (provider, network) = public.expect("just looked at");
            let lost = if key.starts_with("[media]") {
                "no caller would be heard"
            } else {
                "a BYE would not arrive"
            };
            say(
                Level::Problem,
                format!(
                    "{address}{guessed} is a {inside} address, and `{provider}` is on the internet ({network}): {lost}; \
                     write the public address, and forward the ports one to one"
                ),
            )
        }
        Some(_) | None if *is_local => say(Level::Ok, format!("{address}{guessed}")),
        Some(_) | None => say(
            Level::Warning,
            format!(
                "{address}{guessed} is not an address of an interface here: fine behind NAT that forwards the SIP and \
                 RTP ports one to one, else a mistake"
            ),
        ),
    }
}

fn of_ports(machine: &Machine, daemon: &DaemonSeen) -> Vec<Finding> {
    let (first, last) = (*machine.ports.start(), *machine.ports.end());
    let about = format!("{first}-{last}");
    let say = |level, text: String| Finding::new(level, Check::Ports, &about, text);
    let legs = (u64::from(last) + 1 - u64::from(first)) / 2;
    let calls = machine.max_calls;
    let mut findings = vec![if legs < calls {
        say(
            Level::Problem,
            format!("enough for {legs} legs, and `max_calls` is {calls}; write a wider range"),
        )
    } else if legs < calls * 2 {
        say(
            Level::Warning,
            format!(
                "enough for {legs} legs: not all of {calls} calls could have a second one for a human; write a wider range, \
                 if calls are handed over"
            ),
        )
    } else {
        say(Level::Ok, format!("enough for {legs} legs, and `max_calls` is {calls}"))
    }];
    if !machine.ports_taken.is_empty() && !daemon.runs() {
        let taken: Vec<String> = machine.ports_taken.iter().map(ToString::to_string).collect();
        findings.push(say(
            Level::Warning,
            format!(
                "other programs use some of these ({}); write a range that is the edge's alone",
                taken.join(", ")
            ),
        ));
    }
    if let Some(ephemeral) = &machine.ephemeral
        && ephemeral.start() <= &last
        && ephemeral.end() >= &first
    {
        findings.push(say(
            Level::Warning,
            format!(
                "the kernel hands out {}-{} to any program; write a range outside of it, or reserve this one: `sysctl \
                 net.ipv4.ip_local_reserved_ports={about}`",
                ephemeral.start(),
                ephemeral.end()
            ),
        ));
    }
    findings
}

fn of_files(machine: &Machine) -> Finding {
    let say = |level, text: String| Finding::new(level, Check::Files, "", text);
    let Some(limit) = machine.files else { return say(Level::Ok, "no limit of open files".to_owned()) };
    let at_least = machine.max_calls * FILES_A_CALL + machine.http_connections + FILES_AT_REST;
    let with_humans = at_least + machine.max_calls * FILES_A_LEG;
    let calls = machine.max_calls;
    let cure = "raise LimitNOFILE= in the unit (or `ulimit -Hn`), or write a smaller `max_calls`";
    if limit < at_least {
        say(
            Level::Problem,
            format!("this user may open {limit} files, and {calls} calls take up to {at_least}; {cure}"),
        )
    } else if limit < with_humans {
        say(
            Level::Warning,
            format!(
                "this user may open {limit} files: enough for {calls} calls, not for a second leg in each of them \
                 ({with_humans}); {cure}"
            ),
        )
    } else {
        say(Level::Ok, format!("{limit} files may be open, {calls} calls take up to {with_humans}"))
    }
}

fn of_memory(machine: &Machine) -> Option<Finding> {
    let available = machine.memory?;
    let wanted = MEMORY_AT_REST + machine.max_calls * MEMORY_A_CALL;
    let text = format!(
        "{} MiB can be had, {} calls are counted with {} MiB",
        available / MEBIBYTE,
        machine.max_calls,
        wanted / MEBIBYTE
    );
    Some(if available < wanted {
        let cure = "; write a smaller `max_calls`, or give the machine (or MemoryMax=) more";
        Finding::new(Level::Warning, Check::Memory, "", text + cure)
    } else {
        Finding::new(Level::Ok, Check::Memory, "", text)
    })
}

fn of_buffers(machine: &Machine) -> Option<Finding> {
    let buffer = machine.receive_buffer?;
    let wanted = if machine.max_calls < MANY_CALLS { RECEIVE_USUAL } else { RECEIVE_MANY };
    let text = format!("the kernel keeps {buffer} bytes for a socket that is not read at once");
    Some(if buffer < wanted {
        let cure = format!(
            ": SIP of {} calls is lost in a burst; `sysctl net.core.rmem_default={wanted} \
             net.core.rmem_max={wanted}`, and in /etc/sysctl.d for good",
            machine.max_calls
        );
        Finding::new(Level::Warning, Check::Buffers, "", text + &cure)
    } else {
        Finding::new(Level::Ok, Check::Buffers, "", text)
    })
}

fn of_folder(folder: &Folder) -> Finding {
    let say = |level, text: String| {
        Finding::new(level, Check::Folder, folder.key, format!("{}: {text}", folder.path))
    };
    if let Some(why) = &folder.refused {
        let cure =
            "make the directory, and let the user of the service write there (StateDirectory= in the unit)";
        return say(Level::Problem, format!("cannot be written ({why}); {cure}"));
    }
    match folder.free {
        Some(free) if free < FOLDER_FULL => say(
            Level::Problem,
            format!(
                "{} MiB are free: without room for events new calls are refused; make room",
                free / MEBIBYTE
            ),
        ),
        Some(free) if free < FOLDER_SMALL => say(
            Level::Warning,
            format!("{} MiB are free; make room, or keep less (`keep_hours`)", free / MEBIBYTE),
        ),
        Some(free) => say(Level::Ok, format!("can be written, {} MiB are free", free / MEBIBYTE)),
        None => say(Level::Ok, "can be written".to_owned()),
    }
}

fn of_clock(clock: Clock) -> Finding {
    let say = |level, text: &str| Finding::new(level, Check::Clock, "", text);
    if clock.now < NOT_BEFORE {
        return say(
            Level::Problem,
            "this machine's clock is years behind: certificates and signatures fail; set it (`timedatectl set-ntp true`)",
        );
    }
    match clock.synchronised {
        Some(true) => say(Level::Ok, "kept right by a time service"),
        Some(false) => say(
            Level::Warning,
            "nothing keeps the clock right: signatures of webhooks are refused when it is minutes off; \
             `timedatectl set-ntp true`",
        ),
        None => say(Level::Ok, "plausible; whether a time service keeps it right cannot be told here"),
    }
}

fn of_certificate(shown: &Shown, facts: &Facts) -> Vec<Finding> {
    let clock = facts.clock;
    let say = |level, text: String| Finding::new(level, Check::Certificate, &shown.section, text);
    let Some(read) = &shown.read else {
        return vec![say(
            Level::Warning,
            "cannot be read as a certificate; look at it with openssl x509".to_owned(),
        )];
    };
    let days = (read.until - clock.now).div_euclid(DAY);
    let names = if read.names.is_empty() { "nobody".to_owned() } else { read.names.join(", ") };
    let mut findings = vec![if read.until <= clock.now {
        say(
            Level::Problem,
            format!("for {names}, expired {} days ago; put a new one there, then SIGHUP", -days),
        )
    } else if read.from > clock.now {
        say(Level::Problem, format!("for {names}, not good yet; look at this machine's clock"))
    } else if days < 7 {
        say(
            Level::Problem,
            format!("for {names}, expires within {} days; put a new one there, then SIGHUP", days + 1),
        )
    } else if days < 21 {
        say(Level::Warning, format!("for {names}, good for {days} days; see whether its renewal works"))
    } else {
        say(Level::Ok, format!("for {names}, good for {days} days"))
    }];
    if facts.daemon == DaemonSeen::AnswersWithOtherCertificate && shown.section == "[http]" {
        let text = "the running edge shows another one: a new certificate of the API needs a restart";
        findings.push(say(Level::Warning, text.to_owned()));
    }
    if read.names.is_empty() {
        let text = "has no name in it that TLS looks at (subjectAltName); have it issued for the name that others call us by";
        findings.push(say(Level::Warning, text.to_owned()));
    }
    findings
}

fn of_trunk(seen: &TrunkSeen) -> Finding {
    let about = format!("{} at {}", seen.provider, seen.target);
    let say = |level, text: String| Finding::new(level, Check::Trunk, &about, text);
    match &seen.asked {
        Asked::NotFound(why) => say(
            Level::Problem,
            format!(
                "its name leads nowhere: {why}; look at `target` and at the name servers ([dns] servers)"
            ),
        ),
        Asked::Silent(waited) => say(
            Level::Problem,
            format!(
                "no answer to OPTIONS within {} s; look at the address, the firewall, and whether the trunk knows ours",
                waited.as_secs()
            ),
        ),
        Asked::NotSent(why) => say(
            Level::Problem,
            format!("cannot be reached: {why}; look at the address, the firewall and the transport"),
        ),
        Asked::Answered { status, reason, took } => {
            let answered = format!("answered OPTIONS with {status} {reason} in {} ms", took.as_millis());
            match status {
                401 | 407 if seen.has_credentials => say(
                    Level::Problem,
                    format!("{answered}, and does not take our password; look at `username` and `password`"),
                ),
                401 | 407 => say(
                    Level::Warning,
                    format!(
                        "{answered}: it may want a password for calls, too; write `username` and `password`"
                    ),
                ),
                403 => say(
                    Level::Warning,
                    format!("{answered}: it may not know our address; have it allowed there"),
                ),
                500..=599 => {
                    say(Level::Warning, format!("{answered}: it is there and may take no calls now"))
                }
                _ => say(Level::Ok, answered),
            }
        }
    }
}

fn of_engine(seen: &EngineSeen) -> Finding {
    let about = format!("{} at {}", seen.name, seen.url);
    let say = |level, text: String| Finding::new(level, Check::Engine, &about, text);
    let failure = match &seen.dialled {
        Ok(took) => return say(Level::Ok, format!("takes our websocket, in {} ms", took.as_millis())),
        Err(failure) => failure,
    };
    let cure = match failure {
        EngineFailure::Dns => "look at `url` and at this machine's name servers",
        EngineFailure::Connect(_) => "is it running, and may we through the firewall?",
        EngineFailure::Tls(_) => {
            "its certificate must be for that name and of an authority that everybody trusts"
        }
        EngineFailure::Http { status: 401 | 403, .. } => "look at `token` and `headers`",
        EngineFailure::Http { status: 404 | 405 | 426, .. } => "look at the path in `url`",
        EngineFailure::Http { status: 400, .. } | EngineFailure::Upgrade(_) | EngineFailure::Protocol(_) => {
            "does it speak the configured `dialect`? `callingedge engine-test` tells more"
        }
        EngineFailure::Http { .. } => "look at the engine's own log",
        EngineFailure::Timeout => "look at the network between, or write a longer `connect_timeout_ms`",
        EngineFailure::Closed { .. }
        | EngineFailure::Broken(_)
        | EngineFailure::Stalled
        | EngineFailure::Full => "look at the engine's own log",
    };
    say(Level::Problem, format!("{failure}; {cure}"))
}

fn of_receiver(seen: &ReceiverSeen) -> Finding {
    let about = format!("{} at {}", seen.section, seen.place);
    let say = |level, text: String| Finding::new(level, Check::Webhook, &about, text);
    match &seen.reached {
        Reached::Yes(took) => say(Level::Ok, format!("can be reached, in {} ms", took.as_millis())),
        Reached::NotFound(why) => {
            say(Level::Problem, format!("its name does not resolve ({why}); look at `webhook_url`"))
        }
        Reached::Refused(refusal) => {
            let cure = match refusal {
                Refusal::PlainHttp(_) => "write an https address",
                Refusal::Range(..) => {
                    "if the receiver is in your own network, write `allow_networks` in [webhooks]"
                }
                Refusal::NoAddress => "look at `webhook_url`",
            };
            say(Level::Problem, format!("events would not be sent: {refusal}; {cure}"))
        }
        Reached::No(why) => say(
            Level::Problem,
            format!("cannot be reached ({why}): events wait and are given up after a day; is it running?"),
        ),
    }
}

#[cfg(test)]
mod tests;
