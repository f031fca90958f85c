//! Looks at this machine: sockets, limits, folders, clock. Changes nothing that outlives it.
#![expect(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    unsafe_code,
    reason = "a shell: it asks the system; the kernel's state of the clock has no safe form in our dependencies"
)]

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit};

use super::facts::{Advertised, Bound, Clock, Folder, Machine, Socket};
use crate::config::Config;

/// So many of the RTP ports are tried.
const PORTS_TRIED: u16 = 16;

/// Every address that would be listened on.
pub(super) fn sockets(config: &Config) -> Vec<Socket> {
    let sip = config.sip.listen.iter().map(|listen| {
        let what = format!("{} {}", listen.transport.as_param(), listen.address);
        let bound = match listen.transport {
            sip::Transport::Udp => bound(UdpSocket::bind(listen.address)),
            sip::Transport::Tcp | sip::Transport::Tls => bound(TcpListener::bind(listen.address)),
        };
        Socket { what, bound }
    });
    let api = config.http.listen;
    let scheme = if config.http.tls.is_some() { "https" } else { "http" };
    let api = Socket { what: format!("{scheme} {api}"), bound: bound(TcpListener::bind(api)) };
    sip.chain([api]).collect()
}

fn bound<T>(outcome: std::io::Result<T>) -> Bound {
    let Err(error) = outcome else { return Bound::Free };
    let known = [
        (ErrorKind::AddrInUse, Bound::InUse),
        (ErrorKind::PermissionDenied, Bound::Forbidden),
        (ErrorKind::AddrNotAvailable, Bound::NotOurs),
    ];
    let known = known.into_iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| Bound::Failed(error.to_string()), |(_, bound)| bound)
}

/// What others are told. `outward` is the address of ours that routes lead out from.
pub(super) fn advertised(config: &Config, outward: Option<IpAddr>) -> Vec<Advertised> {
    let one = |key, address: IpAddr, is_written| {
        let is_local = UdpSocket::bind(SocketAddr::new(address, 0)).is_ok();
        Advertised { key, address, is_local, is_written }
    };
    let everywhere = config.sip.listen.iter().any(|listen| listen.address.ip().is_unspecified());
    let sip = match (config.sip.advertise, everywhere) {
        (Some(address), _) => Some(one("[sip] advertise", address, true)),
        (None, true) => outward.map(|address| one("[sip] advertise", address, false)),
        (None, false) => {
            config.sip.listen.first().map(|listen| one("[sip] listen", listen.address.ip(), true))
        }
    };
    sip.into_iter().chain([one("[media] advertise", config.media.advertise, true)]).collect()
}

/// The address that this machine would use towards `far`. Connecting a datagram socket sends nothing.
pub(super) fn outward(far: Option<IpAddr>) -> Option<IpAddr> {
    let far = SocketAddr::new(far.unwrap_or(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1))), 9);
    let any = if far.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(far).ok()?;
    socket.local_addr().ok().map(|local| local.ip())
}

/// What it has, beside what the configuration asks of it.
pub(super) fn machine(config: &Config) -> Machine {
    let ports = config.media.ports.clone();
    Machine {
        max_calls: config.settings.max_calls as u64,
        http_connections: config.http.max_connections as u64,
        ports_taken: taken(config.media.address, &ports),
        ports,
        ephemeral: read("/proc/sys/net/ipv4/ip_local_port_range").and_then(|text| range(&text)),
        files: getrlimit(Resource::Nofile).maximum,
        memory: memory(),
        receive_buffer: read("/proc/sys/net/core/rmem_default").and_then(|text| text.trim().parse().ok()),
    }
}

/// Some of the ports, spread over all of them, that cannot be had.
fn taken(address: IpAddr, ports: &RangeInclusive<u16>) -> Vec<u16> {
    let step = ((ports.end() - ports.start()) / PORTS_TRIED).max(2) & !1;
    let tried = ports.clone().step_by(usize::from(step));
    tried.filter(|port| bound(UdpSocket::bind(SocketAddr::new(address, *port))) == Bound::InUse).collect()
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut words = text.split_whitespace();
    Some(words.next()?.parse().ok()?..=words.next()?.parse().ok()?)
}

/// The smaller of what the machine has and what our control group leaves.
fn memory() -> Option<u64> {
    let text = read("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let available = line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024;
    let number = |path| read(path).and_then(|text| text.trim().parse::<u64>().ok());
    let left = number("/sys/fs/cgroup/memory.max")
        .and_then(|most| Some(most.saturating_sub(number("/sys/fs/cgroup/memory.current")?)));
    Some(left.map_or(available, |left| left.min(available)))
}

/// Every directory that is written to.
pub(super) fn folders(config: &Config) -> Vec<Folder> {
    let store = config.store.path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let mut folders = vec![folder("[store] path", store.unwrap_or(Path::new(".")))];
    if folders[0].refused.is_none()
        && config.store.path.exists()
        && let Err(error) = std::fs::OpenOptions::new().append(true).open(&config.store.path)
    {
        folders[0].path = config.store.path.display().to_string();
        folders[0].refused = Some(error.to_string());
    }
    if let Some(recording) = &config.settings.recording {
        folders.push(folder("[recording] directory", &recording.directory));
    }
    folders
}

fn folder(key: &'static str, path: &Path) -> Folder {
    let free = rustix::fs::statvfs(path).ok().map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    Folder { key, path: path.display().to_string(), refused: refused(path).err(), free }
}

/// Writes a file there, and takes it away again.
fn refused(directory: &Path) -> Result<(), String> {
    let probe: PathBuf = directory.join(format!(".callingedge-doctor-{}", std::process::id()));
    let said = |error: std::io::Error| error.to_string();
    std::fs::OpenOptions::new().write(true).create_new(true).open(&probe).map_err(said)?;
    std::fs::remove_file(&probe).map_err(said)
}

/// What time it is, and whether anybody sees to it.
pub(super) fn clock() -> Clock {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    Clock { now, synchronised: synchronised() }
}

fn synchronised() -> Option<bool> {
    // SAFETY: `timex` is plain numbers, for which zeroes are values; with `modes` 0 the call only reads.
    let (outcome, state) = unsafe {
        let mut state: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut state), state)
    };
    (outcome >= 0).then_some(state.status & libc::STA_UNSYNC == 0)
}
