//! What is refused and in which words; what the example means.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::*;
use crate::call::{
    EngineName, Fallback, InboundAuth, InboundDigest, Mode, NumberPattern, Place, ProviderKey, TenantId,
    TrunkTarget,
};

/// The least that runs; `PROVIDER` and `TOP` are where tests write.
const LEAST: &str = r#"
media.advertise = "203.0.113.7"
[tenants.acme]
[engines.bot]
url = "ws://127.0.0.1:8765"
dialect = "twilio"
[providers.trunk]
kind = "sip-trunk"
tenant = "acme"
engine = "bot"
peers = ["203.0.113.0/24"]
"#;

#[test]
fn the_example_is_a_configuration_that_runs() {
    let config = Config::parse(EXAMPLE, &surroundings()).unwrap();

    let provider = &config.settings.providers[&ProviderKey::from("sip-main")];
    assert_eq!(provider.routes.len(), 1);
    assert!(provider.routes[0].number.matches("+18005551234"));
    assert_eq!(provider.default_mode, Mode::AiFirst);
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
    assert!(matches!(
        config.settings.engines[&EngineName::from("receptionist")].on_lost,
        Fallback::Announce(_)
    ));
}

/// Whoever removes the comment sign from a line of the example gets what the comment says.
#[test]
fn every_commented_line_of_the_example_is_a_known_key_with_its_default() {
    let mut text = String::new();
    for line in EXAMPLE.lines() {
        // Those that change what runs or need a file or a variable that a test machine has not.
        let kept = [
            "advertise = \"203",
            "tls_",
            "key =",
            "token =",
            "webhook_",
            "target",
            "username",
            "password",
            "inbound_",
            "path",
        ];
        let uncommented = line.strip_prefix("# ").filter(|rest| {
            rest.contains(" = ")
                && !rest.starts_with(' ')
                && !kept.iter().any(|start| rest.starts_with(start))
        });
        text.push_str(uncommented.unwrap_or(line));
        text.push('\n');
    }

    let plain = Config::parse(EXAMPLE, &surroundings()).unwrap();
    let written = Config::parse(&text, &surroundings()).unwrap();

    assert!(text.contains("\nworkers = 0"));
    assert_eq!(plain.needs_restart_for(&written), Vec::<&str>::new());
    assert_eq!(plain.settings.drain_limit, written.settings.drain_limit);
    assert_eq!(plain.settings.max_calls, written.settings.max_calls);
}

#[test]
fn what_a_trunk_proves_to_us_is_not_what_we_prove_to_it() {
    let text = format!("{LEAST}inbound_username = \"trunk\"\ninbound_password = {{ env = \"SECRET\" }}\n");
    let config = parse(&text).unwrap();

    let trunk = &config.settings.providers[&ProviderKey::from("trunk")].trunk;
    assert_eq!(trunk.inbound_auth.digest().unwrap().credentials.username, "trunk");
    assert_eq!(trunk.credentials, None);
}

#[test]
fn a_trunk_is_known_by_its_address_its_password_or_both() {
    let secret = "inbound_password = { env = \"SECRET\" }\n";
    let with = |lines: &str| {
        let config = parse(&format!("{LEAST}inbound_username = \"trunk\"\n{secret}{lines}")).unwrap();
        config.settings.providers[&ProviderKey::from("trunk")].trunk.inbound_auth.clone()
    };
    let algorithms = |auth: &InboundAuth| auth.digest().unwrap().algorithms.clone();

    let usual = with("");
    let named = with("inbound_auth = \"digest\"\ninbound_algorithms = [\"md5\", \"SHA-512-256\", \"MD5\"]\n");

    assert!(matches!(usual, InboundAuth::Both(_)));
    assert_eq!(algorithms(&usual), InboundDigest::USUAL);
    assert!(matches!(named, InboundAuth::Digest(_)));
    assert_eq!(algorithms(&named), [sip::auth::Algorithm::Md5, sip::auth::Algorithm::Sha512t256]);
    assert_eq!(mistakes(&format!("{LEAST}inbound_auth = \"digest\"\n")).len(), 1);
    assert_eq!(mistakes(&format!("{LEAST}inbound_algorithms = []\n")).len(), 1);
    assert_eq!(
        mistakes(&format!("{LEAST}inbound_username = \"u\"\n{secret}inbound_auth = \"address\"\n")).len(),
        1
    );
}

#[test]
fn a_trunk_that_is_known_by_its_password_alone_needs_no_peers_and_a_name_of_its_own() {
    let open = |name: &str| {
        format!(
            "[providers.{name}]\nkind = \"sip-trunk\"\ntenant = \"acme\"\nengine = \"bot\"\ninbound_auth = \"digest\"\n\
             inbound_username = \"u\"\ninbound_password = {{ env = \"SECRET\" }}\n"
        )
    };

    assert!(parse(&format!("{LEAST}{}", open("one"))).is_ok());
    let twice = mistakes(&format!("{LEAST}{}{}", open("one"), open("other")));
    assert_eq!(twice.len(), 1);
    assert!(twice[0].contains("names of their own"), "{twice:?}");
}

#[test]
fn defaults_are_those_of_the_documentation() {
    let config = parse(LEAST).unwrap();

    let provider = &config.settings.providers[&ProviderKey::from("trunk")];
    assert_eq!(config.sip.listen.len(), 2);
    assert_eq!(config.media.ports, 20_000..=29_999);
    assert_eq!(config.media.workers, None);
    assert_eq!(config.settings.sip_host, "203.0.113.7");
    assert_eq!(config.store.path, PathBuf::from("/etc/callingedge/callingedge.db"));
    assert_eq!(config.store.keep, Duration::from_secs(72 * 3600));
    assert_eq!(provider.trunk.targets, []);
    assert_eq!(provider.trunk.probe_interval, None);
    assert_eq!(provider.routes[0].number, NumberPattern::Prefix(String::new()));
}

#[test]
fn a_trunk_says_how_the_keys_of_offers_to_it_are_agreed_on() {
    let trunk = |lines: &str| {
        let config = Config::parse(&format!("{LEAST}{lines}"), &surroundings());
        config.map(|config| config.settings.providers[&ProviderKey::from("trunk")].trunk.clone())
    };

    assert_eq!(trunk("").unwrap().srtp_keys, media::SrtpKeying::Sdes);
    assert_eq!(trunk("srtp_keys = \"sdes\"\n").unwrap().srtp_keys, media::SrtpKeying::Sdes);
    assert!(trunk("srtp_keys = \"zrtp\"\n").is_err());
    assert_eq!(trunk("srtp_keys = \"dtls\"\n").is_ok(), cfg!(feature = "dtls"));
    assert!(trunk("srtp = \"off\"\n").unwrap().dtls.is_none());
    assert_eq!(trunk("srtp = \"prefer\"\n").unwrap().dtls.is_some(), cfg!(feature = "dtls"));
}

#[test]
fn a_trunk_says_whether_offers_to_it_share_the_port_of_rtp_with_rtcp() {
    let shares = |lines: &str| {
        let config = Config::parse(&format!("{LEAST}{lines}"), &surroundings());
        config.map(|config| config.settings.providers[&ProviderKey::from("trunk")].trunk.rtcp_mux)
    };

    assert_eq!(shares("").ok(), Some(false));
    assert_eq!(shares("rtcp_mux = true\n").ok(), Some(true));
    assert!(shares("rtcp_mux = \"yes\"\n").is_err());
}

#[test]
fn a_trunk_says_whether_its_audio_is_encrypted() {
    let srtp = |lines: &str| {
        let config = Config::parse(&format!("{LEAST}{lines}"), &surroundings());
        config.map(|config| config.settings.providers[&ProviderKey::from("trunk")].trunk.srtp)
    };

    assert_eq!(srtp("").unwrap(), media::SrtpPolicy::Off);
    assert_eq!(srtp("srtp = \"off\"\n").unwrap(), media::SrtpPolicy::Off);
    assert_eq!(srtp("srtp = \"prefer\"\n").unwrap(), media::SrtpPolicy::Prefer);
    assert_eq!(srtp("srtp = \"require\"\n").unwrap(), media::SrtpPolicy::Require);
    assert!(srtp("srtp = true\n").is_err());
    assert!(srtp("srtp = \"sometimes\"\n").is_err());
}

#[test]
fn a_trunk_says_which_sip_extensions_its_calls_use() {
    let policy = |lines: &str| {
        let config = Config::parse(&format!("{LEAST}{lines}"), &surroundings()).unwrap();
        config.settings.providers[&ProviderKey::from("trunk")].trunk.policy
    };
    let said =
        policy("session_timers = \"ask\"\nsession_expires_sec = 600\nreliable_provisionals = \"required\"\n");
    let too_short = Config::parse(&format!("{LEAST}session_expires_sec = 89\n"), &surroundings());

    assert_eq!(policy(""), sip::Policy::default());
    assert_eq!(said.session_timers.mode, sip::SessionTimerMode::Ask);
    assert_eq!(said.session_timers.expires, Duration::from_secs(600));
    assert_eq!(said.reliable_provisionals, sip::ReliableProvisionals::Required);
    assert!(too_short.is_err());
}

#[test]
fn a_mistake_names_its_line_and_says_what_to_write() {
    let cases: &[(&str, &str)] = &[
        (
            "[sip]\nuser_agent = \"x\"\n\nliste = [\"udp:0.0.0.0:5060\"]",
            "unknown key `liste` in [sip] at line 15: did you mean `listen`?",
        ),
        (
            "[sip]\nlisten = []",
            "`listen` in [sip] at line 13: write at least one address, like \"udp:0.0.0.0:5060\"",
        ),
        ("[sipp]", "unknown key `sipp` at line 12: did you mean `sip`?"),
        (
            "[log]\ncolour = true",
            "unknown key `colour` in [log] at line 13: known here are `level`, `format`",
        ),
        (
            "[sip]\nlisten = [\"udp:0.0.0.0:5060\", \"udb:1\"]",
            "`listen` in [sip] at line 13: `udb:1` is not an address to listen on; write udp:, tcp: or tls:, an IP \
             address and a port, like udp:0.0.0.0:5060",
        ),
        (
            "[sip]\nlisten = [\"tls:0.0.0.0:5061\"]",
            "`tls_certificate` in [sip] at line 12: missing; write `tls_certificate = \"tls/certificate.pem\" # and tls_key = { \
             credential = \"sip_tls_key\" }`",
        ),
        (
            "[sip]\nlisten = \"udp:0.0.0.0:5060\"",
            "`listen` in [sip] at line 13: write a list of strings, not a string",
        ),
        (
            "[sip]\nadvertise = \"0.0.0.0\"",
            "`advertise` in [sip] at line 13: `0.0.0.0` is not an address that others can reach; write one like \
             203.0.113.7",
        ),
        (
            "[sip]\nunknown_sources = \"dorp\"",
            "`unknown_sources` in [sip] at line 13: `dorp` is not known here; write \"drop\" or \"refuse\"",
        ),
        (
            "[limits]\nmax_calls = \"10\"",
            "`max_calls` in [limits] at line 13: write a whole number, not a string",
        ),
        (
            "[limits]\nmax_calls = 0",
            "`max_calls` in [limits] at line 13: `0` is out of range; write 1 to 100000",
        ),
        (
            "[limits]\nmax_calls = -3",
            "`max_calls` in [limits] at line 13: `-3` is out of range; write 1 to 100000",
        ),
        (
            "[store]\nkeep_hours = 1",
            "`keep_hours` in [store] at line 13: `1` is out of range; write 24 to 8760",
        ),
        (
            "[log]\nlevel = \"loud,,=\"",
            "`level` in [log] at line 13: `loud,,=` is not a log level; write error, warn, info, debug or trace, or a \
             filter like info,callingedge::api=debug",
        ),
        (
            "[http]\nlisten = \"0.0.0.0:8080\"",
            "`listen` in [http] at line 13: tokens would cross the network in the clear; give `tls_certificate` and \
             `tls_key`, listen on 127.0.0.1 behind a proxy, or write `plain_http = true` if the network is yours alone",
        ),
        (
            "[http]\ntls_certificate = \"a.pem\"",
            "`tls_key` in [http] at line 12: missing; write `tls_key = { credential = \"tls_key\" }`",
        ),
        (
            "[http]\nplain_http = 1",
            "`plain_http` in [http] at line 13: write true or false, not a whole number",
        ),
        (
            "[webhooks]\nallow_networks = [\"10.0.0.1/8\"]",
            "`allow_networks` in [webhooks] at line 13: `10.0.0.1/8` has bits set behind its prefix; write 10.0.0.0/8",
        ),
        (
            "[tenants.\"a b\"]",
            "[tenants] at line 12: `a b` cannot be a name; write 1 to 64 letters, digits, `-`, `_` or `.`",
        ),
        (
            "[tenants.b]\nwebhook_url = \"https://example.com/\"",
            "`webhook_secret` in [tenants.b] at line 12: missing; write `webhook_secret = { env = \"WEBHOOK_SECRET\" }`",
        ),
        (
            "[tenants.b]\nwebhook_secret = \"hunter2\"",
            "`webhook_secret` in [tenants.b] at line 13: a secret does not stand in the file; write { env = \"NAME\" }, \
             { file = \"path\" }, { credential = \"name\" } or { held = \"TENANT/name\" }",
        ),
        (
            "[tenants.b]\nwebhook_secret = { env = \"UNSET\" }",
            "`webhook_secret` in [tenants.b] at line 13: `UNSET` is not set in the environment (or not as UTF-8); set \
             it, or name another",
        ),
        (
            "[tenants.b]\nwebhook_secret = { env = \"SECRET\", file = \"x\" }",
            "`webhook_secret` in [tenants.b] at line 13: a secret does not stand in the file; write { env = \"NAME\" }, \
             { file = \"path\" }, { credential = \"name\" } or { held = \"TENANT/name\" }",
        ),
        (
            "[tenants.b]\nwebhook_url = \"https://u:p@example.com/\"\nwebhook_secret = { env = \"SECRET\" }",
            "`webhook_url` in [tenants.b] at line 13: `https://u:p@example.com/` has a user or password in it; leave \
             them out of the URL",
        ),
        (
            "[engines.b]\ndialect = \"twilio\"",
            "`url` in [engines.b] at line 12: missing; write `url = \"wss://bot.example.com/ws\"`",
        ),
        (
            "[engines.b]\nurl = \"https://b/\"\ndialect = \"twilio\"",
            "`url` in [engines.b] at line 13: `https://b/` is not a websocket URL; write one like \
             wss://bot.example.com/ws",
        ),
        (
            "[engines.b]\nurl = \"ws://b/\"\ndialect = \"twillio\"",
            "`dialect` in [engines.b] at line 14: `twillio` is not known here; write \"edge.v1\" or \
             \"edge.mux.v1\" or \"twilio\" or \"telnyx\" or \"plivo\" or \"exotel\" or \"vonage\" or \"jambonz\" or \"asterisk\" or \"asterisk-json\" or \
             \"pipecat\" or \"openai-realtime\" or \"openai-realtime-beta\" or \"gemini-live\" or \"elevenlabs\" or \
             \"deepgram\" or \"ultravox\"",
        ),
        (
            "[engines.b]\nurl = \"ws://bot.example.com/\"\ndialect = \"twilio\"\nsample_rate = 16000",
            "`sample_rate` in [engines.b] at line 15: this dialect has a rate of its own; leave it out",
        ),
        (
            "[engines.b]\nurl = \"ws://bot.example.com/\"\ndialect = \"vonage\"\nsample_rate = 44100",
            "`sample_rate` in [engines.b] at line 15: 44100 Hz is none of 8000, 16000, 24000 and 48000; write one of them",
        ),
        (
            "[engines.b]\nurl = \"ws://b/\"\ndialect = \"twilio\"\nheaders = { Host = \"x\" }",
            "`headers` in [engines.b] at line 15: `Host` belongs to the websocket's own upgrade; leave it out",
        ),
        (
            "[engines.b]\nurl = \"ws://b/\"\ndialect = \"twilio\"\nfallback = \"b\"",
            "`fallback` in [engines.b] at line 15: an engine does not stand in for itself; name another one, or leave it out",
        ),
        (
            "[engines.b]\nurl = \"ws://b/\"\ndialect = \"twilio\"\nfallback = \"receptionists\"",
            "`fallback` in [engines.b] at line 15: there is no engine `receptionists`; add [engines.receptionists]",
        ),
        (
            "[engines.b]\nurl = \"ws://b/\"\ndialect = \"twilio\"\nparameters = { speed = 1 }",
            "`parameters` in [engines.b] at line 15: write strings only, not a whole number",
        ),
        (
            "[engines.b]\nurl = \"ws://b/\"\ndialect = \"twilio\"\non_lost = \"hang_up\"\nannouncement = \"no.wav\"",
            "`announcement` in [engines.b] at line 16: `no.wav` cannot be read: No such file or directory (os error 2)",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acne\"\npeers = [\"10.0.0.1\"]",
            "`tenant` in [providers.b] at line 14: there is no tenant `acne`; did you mean `acme`?",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\npeers = [\"10.0.0.1\"]\nengine = \"receptionist\"",
            "`engine` in [providers.b] at line 16: there is no engine `receptionist`; add [engines.receptionist]",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"",
            "`peers` in [providers.b] at line 12: missing; write `peers = [\"203.0.113.0/24\"] # or a `target`, or both`",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\npeers = [\"10.0.0.1\"]\n\
             webhook_url = \"https://example.com/\"",
            "`webhook_url` in [providers.b] at line 16: events are signed, and the tenant `acme` has no secret; write \
             `webhook_secret = { env = \"WEBHOOK_SECRET\" }` in [tenants.acme]",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\ntarget = \"203.0.113.10\"",
            "`target` in [providers.b] at line 15: `203.0.113.10` is not a target; write one like \
             sip:203.0.113.10:5060;transport=udp",
        ),
        (
            "[dns]\nservers = [\"ns.example.com\"]",
            "`servers` in [dns] at line 13: `ns.example.com` is not the address of a name server; write one like \
             192.0.2.53 or 127.0.0.1:5353",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\npeers = [\"10.0.0.1\"]\ninbound_username = \"u\"",
            "`inbound_password` in [providers.b] at line 12: missing; write `inbound_password = { env = \"SIP_PASSWORD\" }`",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\npeers = [\"10.0.0.1\"]\nusername = \"u\"",
            "`password` in [providers.b] at line 12: missing; write `password = { env = \"SIP_PASSWORD\" }`",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\npeers = [\"10.0.0.1\"]\ncodecs = [\"G729\"]",
            "`codecs` in [providers.b] at line 16: `G729` is not a codec of this edge; write \"PCMU\" or \"PCMA\" or \"G722\" or \"opus\"",
        ),
        (
            "[workflows.w]\nengine = \"bot\"\nmode = \"routing\"",
            "`humans` in [workflows.w] at line 12: missing; write `humans = [\"+16505550100\"] # who is called`",
        ),
        (
            "[workflows.w]\nengine = \"bot\"\nhuman_key = \"00\"\nhumans = [\"1\"]",
            "`human_key` in [workflows.w] at line 14: `00` is not a key; write one of 0-9, *, #, A-D",
        ),
        (
            "[workflows.w]\nengine = \"bot\"\n[[workflows.w.rules]]\nwhen = \"key\"\nthen = \"human\"\nkey = \"9\"",
            "`then` in [workflows.w.rules] at line 16: nobody can be called: write `humans` in the workflow",
        ),
        (
            "[workflows.w]\nengine = \"bot\"\n[[workflows.w.rules]]\nwhen = \"caller_silent\"\nthen = \"hang_up\"\nkey = \"9\"\nafter_sec = 5",
            "`key` in [workflows.w.rules] at line 17: it belongs to `when = \"key\"`; leave it out",
        ),
        (
            "[workflows.w]\nengine = \"bot\"\nhours = \"office\"\nclosed = \"w\"\n[hours.office]\nzone = \"Europe/Berlin\"\nopen = [\"mon-fri 09:00-17:00\"]",
            "`closed` in [workflows.w] at line 15: that workflow has `hours` itself; name one that is always there",
        ),
        (
            "[hours.office]\nzone = \"Europe/Berlni\"\nopen = [\"mon-fri 09:00-17:00\"]",
            "`zone` in [hours.office] at line 13: `Europe/Berlni` is no time zone; write one like Europe/Berlin or America/New_York",
        ),
        (
            "[hours.office]\nzone = \"Europe/Berlin\"\nopen = [\"mon-fri 9-17\"]",
            "`open` in [hours.office] at line 14: `mon-fri 9-17` is no opening; write days and a time, like \"mon-fri 09:00-17:00\"",
        ),
        (
            "[workflows.w]\nengine = \"bot\"\nhuman_key = \"0\"",
            "`human_key` in [workflows.w] at line 14: nobody can be called: write `humans` as well",
        ),
        (
            "[workflows.desk]\nengine = \"bot\"\n[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\n\
             peers = [\"10.0.0.1\"]\nworkflow = \"dsk\"",
            "`workflow` in [providers.b] at line 18: there is no workflow `dsk`; did you mean `desk`?",
        ),
        (
            "[workflows.desk]\nengine = \"bot\"\n[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\n\
             peers = [\"10.0.0.1\"]\nworkflow = \"desk\"\nengine = \"bot\"",
            "`engine` in [providers.b] at line 19: the workflow says it already; write one of the two",
        ),
        (
            "[recording]\nkeep_hours = 24",
            "`directory` in [recording] at line 12: missing; write `directory = \"recordings\"`",
        ),
        (
            "[announcements]\nhello = \"no-such-file.wav\"",
            "`announcements` at line 13: `no-such-file.wav` cannot be read: No such file or directory (os error 2)",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\npeers = [\"10.0.0.1\"]\nmode = \"assist\"",
            "`mode` in [providers.b] at line 16: `assist` is not known here; write \"ai_only\" or \"ai_first\"",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\npeers = [\"10.0.0.1\"]\n[[providers.b.routes]]\n\
             engine = \"bot\"",
            "`number` in [providers.b.routes] at line 16: missing; write `number = \"+18005551234\" # or prefix = \
             \"+1\", or prefix = \"\" for all`",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\npeers = [\"10.0.0.1\"]\n[[providers.b.routes]]\n\
             prefix = \"+1\"\nengine = \"bot\"\n[[providers.b.routes]]\nnumber = \"+18005551234\"\nengine = \"bot\"",
            "[providers.b.routes] at line 19: is never reached: the route `prefix = \"+1\"` stands before it",
        ),
        (
            "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\npeers = [\"203.0.113.9\"]\nengine = \"bot\"",
            "`providers` at line 7: [providers.b] and [providers.trunk] both take calls from 203.0.113.9/32, and the \
             route `prefix = \"\"` of the one meets `prefix = \"\"` of the other; give them separate `peers` or \
             separate `routes`",
        ),
    ];
    for (added, expected) in cases {
        assert_eq!(mistakes(&format!("{LEAST}{added}\n")), [*expected], "{added}");
    }
}

#[test]
fn what_is_missing_altogether_is_told_too() {
    assert_eq!(
        mistakes(""),
        [
            "`advertise` in [media]: missing; write `advertise = \"203.0.113.7\" # the address that callers send \
             their audio to`",
            "the file: no provider, so no call could come or go; write a [providers.NAME]",
        ]
    );
}

#[test]
fn all_mistakes_are_told_in_the_order_of_the_file() {
    let text =
        LEAST.replace("ws://", "http://").replace("\"acme\"", "\"acne\"").replace("media.", "[log]\nx=1\n#");

    let mistakes = mistakes(&text);

    let lines: Vec<Option<&str>> = mistakes.iter().map(|text| text.split(" at line ").nth(1)).collect();
    assert_eq!(mistakes.len(), 4, "{mistakes:#?}");
    assert!(lines[0].is_some_and(|line| line.starts_with("3:")), "{lines:?}");
    assert!(lines[1].is_some_and(|line| line.starts_with("7:")), "{lines:?}");
    assert!(lines[2].is_some_and(|line| line.starts_with("11:")), "{lines:?}");
    assert!(mistakes[3].starts_with("`advertise` in [media]: missing"), "{}", mistakes[3]);
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let mistakes = mistakes("[sip]\nlisten = [\"udp:0.0.0.0:5060\"\n[media]\nports 1\n");

    assert!(mistakes[0].starts_with("the file at line "), "{mistakes:#?}");
    assert!(mistakes[0].contains("not TOML: "), "{mistakes:#?}");
}

#[test]
fn too_few_ports_for_the_calls_are_a_mistake() {
    let text = LEAST.replace("media.advertise", "media.ports = \"20000-20099\"\nmedia.advertise");

    assert_eq!(
        mistakes(&text),
        [
            "`ports` in [media] at line 2: these ports are enough for 50 calls, fewer than `max_calls` in [limits], \
          1000; write a wider range or a smaller `max_calls`"
        ]
    );
    for (ports, problem) in [
        ("20001-29999", "splits a pair"),
        ("20000-29998", "splits a pair"),
        ("29999-20000", "splits a pair"),
        ("20000", "is not a range"),
        ("80-29999", "begins below 1024"),
    ] {
        let text = LEAST.replace("media.advertise", &format!("media.ports = \"{ports}\"\nmedia.advertise"));
        assert!(mistakes(&text)[0].contains(problem), "{ports}: {:?}", mistakes(&text));
    }
}

#[test]
fn peers_that_meet_are_told_apart_by_their_numbers() {
    let other = "[providers.b]\nkind = \"sip-trunk\"\ntenant = \"acme\"\npeers = [\"203.0.113.0/25\"]\n\
                 [[providers.b.routes]]\nnumber = \"200\"\nengine = \"bot\"\n";
    let first = "[[providers.trunk.routes]]\nnumber = \"100\"\nengine = \"bot\"\n";

    assert!(parse(&format!("{LEAST}{first}{other}")).is_ok());
    assert_eq!(mistakes(&format!("{LEAST}{other}")).len(), 1);
}

#[test]
fn a_target_that_is_an_address_is_a_peer_when_none_is_named() {
    for (target, address, transport) in [
        ("sip:203.0.113.10", "203.0.113.10:5060", sip::Transport::Udp),
        ("sip:203.0.113.10:5080;transport=TCP", "203.0.113.10:5080", sip::Transport::Tcp),
        ("sip:[2001:db8::1]:5080", "[2001:db8::1]:5080", sip::Transport::Udp),
        ("sip:[2001:db8::1]", "[2001:db8::1]:5060", sip::Transport::Udp),
    ] {
        let text = LEAST.replace("peers = [\"203.0.113.0/24\"]", &format!("target = \"{target}\""));
        let config = parse(&text).unwrap();

        let trunk = &config.settings.providers[&ProviderKey::from("trunk")].trunk;
        let expected = sip::Target { transport, address: address.parse().unwrap() };
        assert_eq!(trunk.targets[0].target, expected, "{target}");
        assert_eq!(trunk.peers, [IpNet::from(expected.address.ip())]);
        assert_eq!(trunk.probe_interval, Some(Duration::from_secs(30)));
    }
}

#[test]
fn targets_stand_in_the_order_of_preference_unless_they_say_otherwise() {
    let targets = |written: &str| {
        let text = LEAST.replace("peers = [\"203.0.113.0/24\"]", &format!("targets = [{written}]"));
        parse(&text).map(|config| config.settings.providers[&ProviderKey::from("trunk")].trunk.clone())
    };

    let trunk = targets(
        "\"sip:192.0.2.2;priority=7\", \"sip:192.0.2.3\", \"sip:192.0.2.1;transport=tcp;priority=1;weight=9\"",
    );
    let trunk = trunk.unwrap();

    let shown = |at: &TrunkTarget| format!("{} {} {} {}", at.host, at.target.address, at.priority, at.weight);
    assert_eq!(
        trunk.targets.iter().map(shown).collect::<Vec<_>>(),
        [
            "192.0.2.1:5060 192.0.2.1:5060 1 9",
            "192.0.2.3:5060 192.0.2.3:5060 2 1",
            "192.0.2.2:5060 192.0.2.2:5060 7 1"
        ]
    );
    assert_eq!(trunk.peers.len(), 3, "who is called usually calls from there as well");
    for wrong in
        ["", "\"sip:192.0.2.2;weight=x\"", "\"sip:192.0.2.2;priority=70000\"", "\"sip:192.0.2.2;q=1\""]
    {
        assert!(targets(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn targets_that_are_names_are_found_while_the_edge_runs() {
    let text = LEAST.replace(
        "peers = [\"203.0.113.0/24\"]",
        "targets = [\"sip:Trunk.Example.com\", \"sip:192.0.2.1\", \"sip:b.example.com:5070;weight=3\"]",
    );
    let config = parse(&text).unwrap();
    let trunk =
        |settings: &crate::call::Settings| settings.providers[&ProviderKey::from("trunk")].trunk.clone();
    let place = |last: u8, rank, weight| sip::locate::Place {
        target: sip::Target {
            transport: sip::Transport::Udp,
            address: SocketAddr::from(([198, 51, 100, last], 5060)),
        },
        rank,
        weight,
    };

    let before = trunk(&config.settings);
    assert_eq!(before.targets.len(), 1);
    assert_eq!(
        before.names.missing,
        ["trunk.example.com is being looked up", "b.example.com is being looked up"]
    );
    assert!(before.is_outbound());

    let [first, second] = config.settings.names().try_into().unwrap();
    assert_eq!((&*first.host, first.port, &*second.host), ("b.example.com", Some(5070), "trunk.example.com"));
    let mut located = crate::call::Located::new();
    located.insert(first, Ok(vec![place(3, 0, 2)]));
    located.insert(second, Ok(vec![place(1, 0, 5), place(2, 1, 0)]));
    let after = trunk(&config.located(&located).0);

    let shown = |at: &TrunkTarget| format!("{} {} {} {}", at.host, at.target.address, at.priority, at.weight);
    assert_eq!(
        after.targets.iter().map(shown).collect::<Vec<_>>(),
        [
            "trunk.example.com 198.51.100.1:5060 1 5",
            "trunk.example.com 198.51.100.2:5060 2 0",
            "192.0.2.1:5060 192.0.2.1:5060 3 1",
            "b.example.com:5070 198.51.100.3:5060 4 6",
        ]
    );
    assert_eq!(after.names.missing, Vec::<String>::new());
}

#[test]
fn a_name_whose_transport_is_written_needs_a_listener_for_it() {
    let listening = "sip.listen = [\"tcp:0.0.0.0:5060\"]\n";
    for (target, is_heard) in [
        ("sip:example.com", true),
        ("sip:example.com;transport=tcp", true),
        ("sip:example.com:5060", false),
        ("sip:example.com;transport=udp", false),
        ("sips:example.com", false),
    ] {
        let text = LEAST.replace("peers = [\"203.0.113.0/24\"]", &format!("target = \"{target}\""));

        assert_eq!(parse(&format!("{listening}{text}")).is_ok(), is_heard, "{target}");
    }
}

#[test]
fn a_target_over_tls_needs_a_listener_that_its_requests_can_come_to() {
    let surroundings = Surroundings { secrets: SecretsAre::LeftAlone, ..surroundings() };
    let listening = "sip.listen = [\"tls:0.0.0.0:5061\"]\nsip.tls_certificate = \"a.pem\"\nsip.tls_key = { env = \"K\" }\n";
    for (target, address) in [
        ("sip:203.0.113.10;transport=tls", "203.0.113.10:5061"),
        ("sips:203.0.113.11:5099;transport=tcp", "203.0.113.11:5099"),
    ] {
        let text = LEAST.replace("peers = [\"203.0.113.0/24\"]", &format!("target = \"{target}\""));

        let config = Config::parse(&format!("{listening}{text}"), &surroundings).unwrap();
        let deaf = Config::parse(&text, &surroundings).unwrap_err();

        let trunk = &config.settings.providers[&ProviderKey::from("trunk")].trunk;
        let expected = sip::Target { transport: sip::Transport::Tls, address: address.parse().unwrap() };
        assert_eq!(trunk.targets[0].target, expected, "{target}");
        assert!(deaf[0].to_string().contains("add \"tls:0.0.0.0:5061\" to `listen`"), "{}", deaf[0]);
    }
}

#[test]
fn no_secret_shows_in_debug_output_of_its_holders() {
    let text = format!(
        "{LEAST}username = \"u\"\npassword = {{ env = \"SECRET\" }}\n[tenants.b]\nwebhook_secret = {{ env = \"SECRET\" }}\n"
    );

    let config = parse(&text).unwrap();

    assert_eq!(config.webhooks.secrets.len(), 1);
    assert!(!format!("{:?}", config.webhooks).contains("hunter2"));
}

#[test]
fn the_key_of_credentials_is_a_secret_of_64_hexadecimal_digits() {
    let written = format!("{LEAST}[credentials]\nkey = {{ env = \"KEY\" }}\n");
    let with = |value: &str| {
        let mut surroundings = surroundings();
        surroundings.variables.insert("KEY".to_owned(), value.to_owned());
        Config::parse(&written, &surroundings)
    };

    let good = with(&"5a".repeat(32)).unwrap();
    let short = with("5a").unwrap_err();
    let inline = mistakes(&format!("{LEAST}[credentials]\nkey = \"{}\"\n", "5a".repeat(32)));

    assert!(good.credentials.key.is_some());
    assert!(!format!("{good:?}").contains("5a5a"));
    assert!(short[0].to_string().contains("`openssl rand -hex 32`"), "{}", short[0]);
    assert!(inline[0].contains("a secret does not stand in the file"), "{inline:?}");
    assert_eq!(parse(LEAST).unwrap().credentials.key, None);
}

#[test]
fn an_intake_has_a_tenant_a_platform_and_a_key_of_32_bytes() {
    let intake = |keys: &str| format!("{LEAST}[intakes.telnyx-main]\n{keys}\n");
    let key = "6kpsY+KcUgq+9VB7Ey7F+ZVHdq6+vnuSQh7qaRRG0iw=";
    let whole = format!("tenant = \"acme\"\nplatform = \"telnyx\"\npublic_key = \"{key}\"");

    let config = parse(&intake(&whole)).unwrap();

    assert_eq!(config.intakes["telnyx-main"].tenant.as_str(), "acme");
    assert_eq!(config.intakes["telnyx-main"].platform.as_str(), "telnyx");
    let missing = mistakes(&intake(""));
    assert_eq!(missing.len(), 3, "{missing:?}");
    let short = mistakes(&intake(&whole.replace(key, "AAAA")));
    assert!(short[0].contains("44 characters of base64"), "{short:?}");
    let other = mistakes(&intake(&whole.replace("\"telnyx\"", "\"telnix\"")));
    assert!(other[0].contains("telnyx"), "{other:?}");
}

#[test]
fn a_held_secret_is_named_by_tenant_and_name_and_one_that_cannot_be_had_says_why() {
    let text = format!("{LEAST}username = \"u\"\npassword = {{ held = \"acme/sip\" }}\n");
    let with = |held: Held| Config::parse(&text, &Surroundings { held, ..surroundings() });
    let one = |value: Result<Secret, String>| Held::from([("acme/sip".to_owned(), value)]);

    let good = with(one(Ok(Secret::from("hunter2".to_owned())))).unwrap();
    let empty = with(one(Err("has no value yet".to_owned()))).unwrap_err();
    let absent = with(Held::new()).unwrap_err();

    let trunk = &good.settings.providers[&ProviderKey::from("trunk")].trunk;
    assert_eq!(trunk.credentials.as_ref().unwrap().password, "hunter2");
    assert_eq!(good.credentials.held, ["acme/sip"]);
    assert_eq!(good.credentials.references, [], "it is listed among the held ones");
    assert!(empty[0].to_string().contains("`acme/sip` has no value yet"), "{}", empty[0]);
    assert!(absent[0].to_string().contains("`acme/sip` is not held here"), "{}", absent[0]);
}

#[test]
fn an_integration_of_audiohook_has_keys_of_its_own_and_nothing_of_sip() {
    let hook = |keys: &str| {
        format!(
            "{LEAST}[providers.genesys]\nkind = \"audiohook\"\ntenant = \"acme\"\nengine = \"bot\"\n{keys}\n"
        )
    };
    let keys = "api_key = { env = \"SECRET\" }\nclient_secret = { env = \"HOOK_SECRET\" }\nmax_calls = 7";

    let config = parse(&hook(keys)).unwrap();
    let provider = &config.settings.providers["genesys"];
    let mistakes = |keys: &str| mistakes(&hook(keys));

    assert!(matches!(provider.trunk.inbound_auth, InboundAuth::Signed(_)));
    assert_eq!((provider.kind.as_str(), provider.trunk.max_calls), ("audiohook", Some(7)));
    assert!(!provider.trunk.is_outbound() && provider.trunk.peers.is_empty());
    assert_eq!(mistakes("").len(), 2);
    assert_eq!(mistakes(&keys.replace("HOOK_SECRET", "SECRET")).len(), 1, "what is no base64");
    assert_eq!(mistakes(&format!("{keys}\npeers = [\"192.0.2.1\"]")).len(), 1);
}

#[test]
fn the_secrets_that_are_one_tenants_are_known_by_section_key_and_kind() {
    let text = LEAST.replace("[tenants.acme]", "[tenants.acme]\nwebhook_secret = { env = \"SECRET\" }");
    let text = text.replace("[engines.bot]", "[engines.bot]\ntoken = { env = \"SECRET\" }");

    let config = parse(&format!("{text}username = \"u\"\npassword = {{ env = \"SECRET\" }}\n")).unwrap();

    let names: Vec<(&str, &str)> =
        config.credentials.references.iter().map(|of| (of.tenant.as_str(), of.name.as_str())).collect();
    assert_eq!(names, [("acme", "tenants.acme.webhook_secret"), ("acme", "providers.trunk.password")]);
}

#[test]
fn a_reload_tells_which_sections_only_a_restart_changes() {
    let old = parse(LEAST).unwrap();

    let newer = parse(&format!("{LEAST}[sip]\nuser_agent = \"x\"\n[limits]\nmax_calls = 10\n")).unwrap();

    assert_eq!(old.needs_restart_for(&newer), ["sip"]);
    assert_eq!(newer.settings.max_calls, 10);
}

#[test]
fn destinations_are_numbers_hosts_domains_and_networks() {
    let trunk = |keys: &str| {
        let text = LEAST.replace("peers = ", &format!("{keys}\npeers = "));
        parse(&text).unwrap().settings.providers[&ProviderKey::from("trunk")].trunk.clone()
    };

    let written = trunk(
        "allow_destinations = [\"+49\", \"*72\", \"sip:PBX.example.com\", \"sip:*.example.com\", \
         \"sip:203.0.113.7/24\", \"sip:[2001:db8::1]\", \"*\"]\ndeny_destinations = [\"+1900\"]",
    );
    let allow = [
        Place::Number("+49".into()),
        Place::Number("*72".into()),
        Place::Host("pbx.example.com".into()),
        Place::Below("example.com".into()),
        Place::Network("203.0.113.0/24".parse().unwrap()),
        Place::Network("2001:db8::1/128".parse().unwrap()),
        Place::Anywhere,
    ];
    assert_eq!(written.destinations.allow, Some(allow.to_vec()));
    assert_eq!(written.destinations.deny, [Place::Number("+1900".into())]);

    let unwritten = trunk("from = \"+4930123456\"");
    assert_eq!(unwritten.destinations.allow, None);
    assert_eq!(unwritten.destinations.home, ["+49"]);

    for wrong in ["", "+", "example.com", "sip:", "sip:alice@example.com", "sip:*.203.0.113.7", "+4 9"] {
        let text = LEAST.replace("peers = ", &format!("allow_destinations = [\"{wrong}\"]\npeers = "));
        assert!(mistakes(&text)[0].contains("is not a destination"), "{wrong}");
    }
}

#[test]
fn numbers_that_are_not_to_be_called_come_from_a_file() {
    let directory = std::env::temp_dir().join(format!("callingedge-do-not-call-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join("good.txt"), "# asked us\n+16505824074\n").unwrap();
    std::fs::write(directory.join("bad.txt"), "+16505824074\n0650\n").unwrap();
    let with = |file: &str| {
        let text = LEAST.replace("peers = ", &format!("do_not_call = \"{file}\"\npeers = "));
        Config::parse(&text, &Surroundings { directory: directory.clone(), ..surroundings() })
    };

    let good = with("good.txt").unwrap();
    let destinations = good.settings.providers[&ProviderKey::from("trunk")].trunk.destinations.clone();
    assert!(destinations.do_not_call.holds("+16505824074"));
    for (file, problem) in [("bad.txt", "has no number in line 2"), ("none.txt", "cannot be read")] {
        let Err(mistakes) = with(file) else { panic!("{file} is taken") };
        assert!(mistakes[0].to_string().contains(problem), "{mistakes:?}");
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// An unknown key makes a section tell all that it knows.
#[test]
fn the_documentation_has_every_key_of_every_section_and_no_other() {
    let documentation = include_str!("../../docs/configuration.md");
    let unknown = "[SECTION]\nno_such_key = 1\n";
    for (heading, section) in [
        ("## `[sip]`", "sip"),
        ("## `[media]`", "media"),
        ("## `[http]`", "http"),
        ("## `[store]`", "store"),
        ("## `[credentials]`", "credentials"),
        ("## `[log]`", "log"),
        ("## `[limits]`", "limits"),
        ("## `[webhooks]`", "webhooks"),
        ("## `[tenants.NAME]`", "tenants.x"),
        ("## `[tenants.NAME.twilio]`", "tenants.x.twilio"),
        ("## `[engines.NAME]`", "engines.x"),
        ("## `[intakes.NAME]`", "intakes.x"),
        ("## `[recording]`", "recording"),
        ("## `[workflows.NAME]`", "workflows.x"),
        ("## `[providers.NAME]`", "providers.x"),
        (
            "## `[providers.NAME]` of `kind = \"audiohook\"`",
            "providers.x]\nkind = \"audiohook\"\n[providers.x.no_such_key_either",
        ),
        ("## `[[providers.NAME.routes]]`", "[providers.trunk.routes]"),
    ] {
        let text =
            format!("{}{}", LEAST.replace("media.advertise", "#"), unknown.replace("SECTION", section));
        let known = parse(&text).unwrap_err().into_iter().find_map(|mistake| match mistake.problem {
            Problem::UnknownKey { known, .. } => Some(known),
            Problem::Syntax(_)
            | Problem::Missing { .. }
            | Problem::Type { .. }
            | Problem::Value { .. }
            | Problem::UnknownName { .. }
            | Problem::InlineSecret
            | Problem::Conflict(_) => None,
        });
        let (_, described) = documentation.split_once(&format!("{heading}\n")).unwrap();
        let described = described.split("\n## ").next().unwrap();
        let rows = described.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());

        let documented: BTreeSet<&str> = rows.collect();
        let mut known: BTreeSet<&str> = known.unwrap().into_iter().collect();
        known.remove("routes");
        known.remove("twilio");

        assert_eq!(documented, known, "{heading}");
    }
}

const ACCOUNT: &str = r#"
[tenants.acme.twilio]
account_sid = "AC00000000000000000000000000000001"
provider = "trunk"
auth_token = { env = "SECRET" }
"#;

#[test]
fn an_account_of_a_tenant_is_read_with_its_defaults() {
    let account = |more: &str| {
        let config = parse(&format!("{LEAST}{ACCOUNT}{more}")).unwrap();
        config.settings.tenants[&TenantId::from("acme")].account.clone().unwrap()
    };

    let least = account("");
    assert_eq!((least.voice.as_ref(), least.stream_hosts.len(), least.say.as_deref()), (None, 0, None));
    assert!(!format!("{least:?}").contains(&least.token), "a token is never printed");
    let more = account(
        "voice_url = \"https://app.example.com/voice\"\nvoice_method = \"GET\"\nstatus_callback = \"https://app.example.com/s\"\n\
         stream_hosts = [\"bots.example.com\", \"10.0.0.7:8765\", \"[2001:db8::1]\"]\n",
    );
    assert_eq!(more.stream_hosts, ["bots.example.com", "10.0.0.7:8765", "[2001:db8::1]"]);
    let voice = more.voice.as_ref().unwrap();
    assert_eq!((voice.at.url.as_str(), voice.at.method.as_str()), ("https://app.example.com/voice", "GET"));
    assert!(voice.status.is_some() && voice.fallback.is_none());
}

#[test]
fn an_account_that_cannot_work_is_refused_with_what_to_write() {
    let told = |account: &str| {
        let mistakes = parse(&format!("{LEAST}{account}")).unwrap_err();
        mistakes.iter().map(ToString::to_string).collect::<Vec<String>>().join("\n")
    };

    for (from, to, expected) in [
        ("AC0", "XX0", "is not an account"),
        ("\"trunk\"", "\"none\"", "the tenant has no such provider"),
        ("auth_token = { env = \"SECRET\" }", "", "auth_token = "),
        ("auth_token = { env = \"SECRET\" }", "auth_token = \"inline\"", "auth_token"),
    ] {
        let text = told(&ACCOUNT.replace(from, to));
        assert!(text.contains(expected), "{to}: {text}");
    }
    for (more, expected) in [
        ("stream_hosts = [\"wss://bots.example.com/\"]", "is not a host"),
        ("say = \"welcome\"", "[announcements] has none such"),
        ("[tenants.acme.twilio.sounds]\nHello = \"hello\"", "[announcements] has none such"),
        ("voice_fallback_url = \"https://app.example.com/\"", "voice_url = "),
        ("voice = \"https://app.example.com/\"", "known here are"),
    ] {
        let text = told(&format!("{ACCOUNT}{more}\n"));
        assert!(text.contains(expected), "{more}: {text}");
    }
    let twice = format!(
        "{ACCOUNT}[tenants.other]\n{}",
        ACCOUNT.replace("acme", "other").replace("\"trunk\"", "\"second\"")
    );
    let second = "[providers.second]\nkind = \"sip-trunk\"\ntenant = \"other\"\nengine = \"bot\"\npeers = [\"203.0.114.0/24\"]\n";
    assert!(told(&format!("{twice}{second}")).contains("another tenant's already"));
}

fn parse(text: &str) -> Result<Config, Vec<Mistake>> {
    Config::parse(text, &surroundings())
}

fn mistakes(text: &str) -> Vec<String> {
    parse(text).unwrap_err().iter().map(ToString::to_string).collect()
}

fn surroundings() -> Surroundings {
    Surroundings {
        directory: PathBuf::from("/etc/callingedge"),
        variables: BTreeMap::from([
            ("SECRET".to_owned(), "hunter2".to_owned()),
            ("HOOK_SECRET".to_owned(), "aHVudGVyMmh1bnRlcjI=".to_owned()),
        ]),
        secrets: SecretsAre::Needed,
        held: Held::new(),
    }
}
