//! `callingedge demo`: the whole edge on this machine, with an engine, a webhook receiver and a telephone of its own. A call with
//! recorded speech goes through it by real SIP, RTP, websocket and HTTP; what came back is compared with what was said.
#![expect(clippy::disallowed_types, reason = "a shell: it has sockets")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use media::{Wav, correlate};
use serde::Serialize;

use super::directory::Directory;
use super::run::{control_runtime, start_log};
use super::{Outcome, print};
use crate::call::{CallId, CallView, EventKind, Milestone, TenantId};
use crate::config::{Config, ConfigError, Log, LogFormat, Surroundings};
use crate::crypto;
use crate::daemon::Daemon;
use crate::lab::{EchoEngine, Phone, Receiver};
use crate::store::{CallFilter, Location, Scope, Store};

/// What the telephone says.
const SPEECH: &[u8] = include_bytes!("../../fixtures/audio/greeting.wav");
/// The number it calls.
const NUMBER: &str = "+18005551234";
/// How long it listens after the last word.
const LISTEN: Duration = Duration::from_millis(700);
/// How long events may take after the call.
const EVENTS: Duration = Duration::from_secs(10);
/// How often the timeline is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The least that what was heard must have in common with what was said.
const MATCH: f32 = 0.99;
const TENANT: &str = "demo";

/// How the demonstration runs.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// One call, then end; exit code 0 only if everything held.
    #[arg(long)]
    pub(super) once: bool,
    /// Print one JSON object instead of prose.
    #[arg(long, requires = "once")]
    pub(super) json: bool,
}

/// Runs the demonstration.
pub(super) fn run(options: &Options) -> Outcome {
    start_log(&Log { level: "warn".into(), format: LogFormat::Text })?;
    control_runtime()?.block_on(demonstrate(options))
}

/// What one call came to.
#[derive(Debug, Serialize)]
struct Outcomes {
    ok: bool,
    call_id: CallId,
    setup_ms: f64,
    first_audio_ms: Option<f64>,
    frames_up: u64,
    frames_down: u64,
    events: Vec<EventKind>,
    signatures_verified: bool,
    audio_match: f32,
}

/// The edge and what stands around it. The directory goes with it.
struct Stage {
    daemon: Daemon,
    receiver: Receiver,
    /// Kept for as long as calls may come.
    _engine: EchoEngine,
    _directory: Directory,
    dial: SocketAddr,
    token: String,
}

async fn demonstrate(options: &Options) -> Outcome {
    let mut stage = set(options.once).await?;
    if !options.json {
        print(&welcome(&stage))?;
    }
    let outcomes = one_call(&mut stage, options.json).await?;
    if options.json {
        print(&format!("{}\n", serde_json::to_string(&outcomes)?))?;
    } else {
        print(&told(&outcomes))?;
    }
    if !options.once {
        print(&invitation(&stage))?;
        attend(&mut stage).await?;
    }
    let ok = outcomes.ok;
    stage.daemon.drain().await;
    stage.daemon.stopped().await;
    if ok { Ok(()) } else { Err("the demonstration's call did not go as it should".into()) }
}

/// Starts everything. A demonstration that ends by itself takes any free port; one that stays takes those that
/// people expect, if they are free.
async fn set(once: bool) -> Result<Stage, Box<dyn std::error::Error + Send + Sync>> {
    let directory = Directory::new("demo")?;
    let secret = format!("whsec_{}", STANDARD.encode(crypto::random::<32>()));
    std::fs::write(directory.path().join("secret"), &secret)?;
    let engine = EchoEngine::start()?;
    let receiver = Receiver::start(&secret).await?;
    let (ip, sip_port, http_port) = if once {
        (IpAddr::V4(Ipv4Addr::LOCALHOST), 0, 0)
    } else {
        (outward(), free_sip_port(5060), free_http_port(8080))
    };
    let text = configuration(ip, sip_port, http_port, &engine.url(), &receiver.url());
    let path = directory.path().join("callingedge.toml");
    let config = Config::parse(&text, &Surroundings::of(&path))
        .map_err(|mistakes| ConfigError::Mistakes { path, mistakes })?;
    let daemon = Daemon::start(config.clone(), Location::File(config.store.path.clone())).await?;
    let token = daemon.store.tokens()?.create(
        &TENANT.into(),
        "demo",
        &[Scope::CallsRead, Scope::CallsWrite, Scope::EventsRead],
    )?;
    let port = daemon.sip.first().map_or(sip_port, |(_, address)| address.port());
    Ok(Stage {
        daemon,
        receiver,
        _engine: engine,
        _directory: directory,
        dial: SocketAddr::new(ip, port),
        token,
    })
}

/// The same that a user would write. Whoever is on this machine or its private network may call.
fn configuration(ip: IpAddr, sip_port: u16, http_port: u16, engine: &str, receiver: &str) -> String {
    let listen = if ip.is_loopback() { ip } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    format!(
        r#"[sip]
listen = ["udp:{listen}:{sip_port}", "tcp:{listen}:{sip_port}"]
advertise = "{ip}"

[media]
advertise = "{ip}"
workers = 1

[http]
listen = "127.0.0.1:{http_port}"

[store]
path = "demo.db"

[webhooks]
allow_private = true

[tenants.{TENANT}]
webhook_url = "{receiver}"
webhook_secret = {{ file = "secret" }}

[engines.echo]
url = "{engine}"
dialect = "edge.v1"

[providers.softphone]
kind = "sip-trunk"
tenant = "{TENANT}"
peers = ["127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"]
engine = "echo"
mode = "ai_only"
"#
    )
}

/// One call by the telephone, with its timeline as it grows.
async fn one_call(
    stage: &mut Stage,
    quiet: bool,
) -> Result<Outcomes, Box<dyn std::error::Error + Send + Sync>> {
    let said = Wav::parse(SPEECH)?;
    let phone = Phone::new(u64::from_le_bytes(crypto::random())).await?;
    let edge = SocketAddr::new(stage.dial.ip(), stage.dial.port());
    let store = stage.daemon.store.clone();
    let speaking = phone.call(edge, NUMBER, said.data, LISTEN);
    tokio::pin!(speaking);
    let mut printer = Printer::default();
    let spoken = loop {
        tokio::select! {
            spoken = &mut speaking => break spoken?,
            () = tokio::time::sleep(LOOK), if !quiet => printer.look(&store).await?,
        }
    };
    let (events, verified, call_id) = events_of_one_call(&mut stage.receiver).await?;
    let view = ended(&store, call_id).await?;
    if !quiet {
        printer.look(&store).await?;
    }
    let heard = correlate(&said.to_linear(), &spoken.heard);
    let leg = view.legs.first();
    let (frames_up, frames_down) = leg.map_or((0, 0), |leg| (leg.frames_up, leg.frames_down));
    let expected = [EventKind::InboundRinging, EventKind::Answered, EventKind::Ended];
    let ok = events == expected && verified && heard.value >= MATCH && frames_up > 0 && frames_down > 0;
    Ok(Outcomes {
        ok,
        call_id,
        setup_ms: spoken.setup.as_secs_f64() * 1000.0,
        first_audio_ms: spoken.first_audio.map(|after| after.as_secs_f64() * 1000.0),
        frames_up,
        frames_down,
        events,
        signatures_verified: verified,
        audio_match: heard.value,
    })
}

/// What the receiver gets until the last event.
async fn events_of_one_call(
    receiver: &mut Receiver,
) -> Result<(Vec<EventKind>, bool, CallId), Box<dyn std::error::Error + Send + Sync>> {
    let mut events = Vec::new();
    let mut verified = true;
    loop {
        let receipt = tokio::time::timeout(EVENTS, receiver.next()).await;
        let receipt = receipt.ok().flatten().ok_or("the last event did not reach the webhook receiver")?;
        events.push(receipt.event.kind);
        verified &= receipt.verified;
        if receipt.event.is_last() {
            return Ok((events, verified, receipt.event.call_id));
        }
    }
}

/// The call when its worker has told what it knew.
async fn ended(store: &Store, call: CallId) -> Result<CallView, Box<dyn std::error::Error + Send + Sync>> {
    let counted = async {
        loop {
            if let Ok(Some(record)) = store.call(TENANT.into(), call).await
                && record.view.legs.iter().any(|leg| leg.frames_up > 0)
            {
                return record.view;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    Ok(tokio::time::timeout(EVENTS, counted).await.map_err(|_| "the call carried no audio")?)
}

/// Stays for whoever calls, and tells what happens, until interrupted.
async fn attend(stage: &mut Stage) -> Outcome {
    let mut printer = Printer::default();
    let store = stage.daemon.store.clone();
    printer.pass_over(&store).await?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    loop {
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
            _ = terminate.recv() => return Ok(()),
            receipt = stage.receiver.next() => {
                let receipt = receipt.ok_or("the webhook receiver has ended")?;
                let signatures = if receipt.verified { "signatures right" } else { "SIGNATURES WRONG" };
                print(&format!("  webhook   {} ({signatures})\n", receipt.event.kind.as_str()))?;
            }
            () = tokio::time::sleep(LOOK) => printer.look(&store).await?,
        }
    }
}

/// Prints every milestone once.
#[derive(Default)]
struct Printer {
    printed: HashMap<CallId, usize>,
}

impl Printer {
    async fn look(&mut self, store: &Store) -> Outcome {
        for (call, timeline) in timelines(store).await? {
            let printed = self.printed.entry(call).or_default();
            for milestone in timeline.iter().skip(*printed) {
                print(&line(milestone))?;
            }
            *printed = timeline.len();
        }
        Ok(())
    }

    /// What happened so far is not printed.
    async fn pass_over(&mut self, store: &Store) -> Outcome {
        for (call, timeline) in timelines(store).await? {
            self.printed.insert(call, timeline.len());
        }
        Ok(())
    }
}

async fn timelines(
    store: &Store,
) -> Result<Vec<(CallId, Vec<Milestone>)>, Box<dyn std::error::Error + Send + Sync>> {
    let tenant = TenantId::from(TENANT);
    let newest = store.calls(tenant.clone(), CallFilter { limit: 8, ..CallFilter::default() }).await?;
    let mut timelines = Vec::new();
    for record in newest.into_iter().rev() {
        let call = record.view.call_id;
        timelines.extend(store.timeline(tenant.clone(), call).await?.map(|timeline| (call, timeline)));
    }
    Ok(timelines)
}

fn line(milestone: &Milestone) -> String {
    let layer = format!("{:?}", milestone.layer).to_lowercase();
    let detail = milestone.detail.as_deref().unwrap_or_default();
    format!("  {:>6} ms  {layer:<10}  {:<26} {detail}\n", milestone.since_start_ms, milestone.what)
}

fn welcome(stage: &Stage) -> String {
    format!(
        "callingedge runs here: SIP on {}, API on http://{}\n\
         A telephone calls {NUMBER} now and says a sentence; the engine says it back.\n\n",
        stage.dial, stage.daemon.http
    )
}

fn told(outcomes: &Outcomes) -> String {
    let mut text = String::new();
    let kinds: Vec<&str> = outcomes.events.iter().map(|kind| kind.as_str()).collect();
    let first = outcomes.first_audio_ms.map_or("none".to_owned(), |ms| format!("{ms:.0} ms"));
    // Writing to a String cannot fail.
    let _ = writeln!(text, "\n  call          {}", outcomes.call_id);
    let _ = writeln!(text, "  set up in     {:.1} ms, first audio after {first}", outcomes.setup_ms);
    let _ = writeln!(text, "  frames        {} up, {} down", outcomes.frames_up, outcomes.frames_down);
    let signatures = if outcomes.signatures_verified { "all signatures right" } else { "SIGNATURES WRONG" };
    let _ = writeln!(text, "  webhooks      {} ({signatures})", kinds.join(", "));
    let _ = writeln!(text, "  heard = said  {:.4} (1 is identical)", outcomes.audio_match);
    let _ = writeln!(text, "\n{}", if outcomes.ok { "All as it should be." } else { "NOT as it should be." });
    text
}

fn invitation(stage: &Stage) -> String {
    format!(
        "\nNow you: call  sip:hello@{}  with any softphone (no registration), speak, and hear the engine say it back.\n\
         Watch it:      http://{}/#token={}\n\
         Ctrl-C ends it.\n\n",
        stage.dial, stage.daemon.http, stage.token
    )
}

/// The address that others on this network see. Connecting a datagram socket sends nothing.
fn outward() -> IpAddr {
    let somewhere = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 9));
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
        .and_then(|socket| socket.connect(somewhere).and_then(|()| socket.local_addr()));
    asked.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

fn free_sip_port(wanted: u16) -> u16 {
    let free = |port: &u16| {
        UdpSocket::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()
            && TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok()
    };
    (wanted..wanted + 100).step_by(2).find(free).unwrap_or(0)
}

fn free_http_port(wanted: u16) -> u16 {
    let free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (wanted..wanted + 100).find(free).unwrap_or(0)
}
