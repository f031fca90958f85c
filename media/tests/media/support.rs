//! What several test files need.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use media::{Session, SessionFact, Wav};

/// A file or folder of the shared test data, which is not part of this repository: under `$FIXTURES`, else
/// beside the checkout. Says so when it is not there, and the test that asked proves nothing then.
pub(crate) fn fixture(path: &str) -> Option<PathBuf> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/fixtures");
    let root = std::env::var_os("FIXTURES").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: there is no {}", path.display());
    None
}

/// All files below a folder, in the order of their names.
pub(crate) fn files(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// A folder of recordings with their labels.
pub(crate) struct Recordings {
    folder: PathBuf,
    /// A row of `labels.csv`, by the names in its head.
    pub(crate) rows: Vec<BTreeMap<String, String>>,
}

impl Recordings {
    /// The recordings in this folder of the shared test data.
    pub(crate) fn labelled(folder: &str) -> Option<Self> {
        let folder = fixture(&format!("audio/{folder}"))?;
        let text = std::fs::read_to_string(folder.join("labels.csv")).unwrap();
        let mut lines = text.lines().map(cells);
        let head = lines.next().unwrap();
        let rows = lines.map(|cells| head.iter().cloned().zip(cells).collect()).collect();
        Some(Self { folder, rows })
    }

    /// What a telephone would carry of one of them.
    pub(crate) fn samples(&self, file: &str) -> Vec<i16> {
        telephone(&self.folder.join(file))
    }
}

/// The cells of a line of CSV; a quoted one may hold commas.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cells.last_mut().unwrap().push(other),
        }
    }
    cells
}

/// All WAV files in a folder of the shared test data.
pub(crate) fn wavs(folder: &str) -> Option<Vec<PathBuf>> {
    let mut found = files(&fixture(&format!("audio/{folder}"))?);
    found.retain(|file| file.extension().is_some_and(|extension| extension == "wav"));
    Some(found)
}

/// The first channel of a WAV file; of one at 16 kHz every other sample.
pub(crate) fn telephone(file: &Path) -> Vec<i16> {
    let bytes = std::fs::read(file).unwrap();
    let wav = Wav::parse(&bytes).unwrap();
    wav.channel(0).into_iter().step_by(wav.rate as usize / 8_000).collect()
}

/// Chance that can be repeated, for noise and for choices.
pub(crate) struct Noise(u64);

impl Noise {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Between 0 and 1.
    pub(crate) fn unit(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Mean 0, deviation 1, nearly normal: the sum of twelve uniform ones.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

/// Failing cases are printed, not written into the tree; they become tests of their own.
pub(crate) fn config() -> proptest::test_runner::Config {
    proptest::test_runner::Config { failure_persistence: None, ..Default::default() }
}

/// The one moment a test begins at.
#[expect(clippy::disallowed_methods, reason = "a test asks once, for its beginning")]
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// Milliseconds.
pub(crate) fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// An RTP packet to be written; 20 ms of PCMU unless said otherwise.
#[derive(Debug, Clone)]
pub(crate) struct Rtp {
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    pub(crate) payload: Vec<u8>,
}

impl Rtp {
    /// The packet with this index of a stream that begins at 0; its payload is its index.
    pub(crate) fn nth(index: u32) -> Self {
        Self {
            ssrc: 0x5EED,
            sequence: index as u16,
            timestamp: index.wrapping_mul(160),
            payload_type: 0,
            marker: false,
            payload: vec![index as u8; 160],
        }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut packet = vec![0x80, self.payload_type | u8::from(self.marker) << 7];
        packet.extend(self.sequence.to_be_bytes());
        packet.extend(self.timestamp.to_be_bytes());
        packet.extend(self.ssrc.to_be_bytes());
        packet.extend(&self.payload);
        packet
    }
}

/// A frame as a test compares it: the first byte of its payload, its media time, whether it is broken.
pub(crate) type Seen = (u8, u32, bool);

/// All frames that are ready.
pub(crate) fn frames(session: &mut Session, now: Instant) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(frame) = session.next_frame(now) {
        seen.push((frame.payload[0], frame.media_time, frame.discontinuity));
    }
    seen
}

/// All facts that are ready.
pub(crate) fn facts(session: &mut Session) -> Vec<SessionFact> {
    std::iter::from_fn(|| session.next_fact()).collect()
}

/// Everything the session sends on so many beats.
pub(crate) fn beats(session: &mut Session, now: Instant, count: u64) -> Vec<Option<(Vec<u8>, SocketAddr)>> {
    let mut buffer = [0; media::PACKET_MAX];
    (0..count)
        .map(|beat| {
            let (length, to) = session.next_packet(now + ms(20 * beat), &mut buffer)?;
            Some((buffer[..length].to_vec(), to))
        })
        .collect()
}

/// One case of telephone events.
#[derive(Debug, Default)]
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) digits: String,
    pub(crate) packets: Vec<Arrival>,
}

/// A packet and when it comes.
#[derive(Debug)]
pub(crate) struct Arrival {
    pub(crate) at_ms: u64,
    pub(crate) rtp: Rtp,
}

/// Reads the scenarios' own flat JSON: objects of texts and numbers, nothing escaped.
pub(crate) fn scenarios(text: &str) -> Vec<Scenario> {
    let value = |object: &str, key: &str| -> Option<String> {
        let after = object.split_once(&format!("\"{key}\":"))?.1;
        Some(after.trim_start_matches('"').split(['"', ',', '}']).next()?.to_owned())
    };
    let number = |object: &str, key: &str| -> u64 {
        value(object, key).and_then(|text| text.parse().ok()).expect("a number")
    };
    let packet = |object: &str| Arrival {
        at_ms: number(object, "at_ms"),
        rtp: Rtp {
            ssrc: 1,
            sequence: number(object, "seq") as u16,
            timestamp: number(object, "ts") as u32,
            payload_type: number(object, "pt") as u8,
            marker: number(object, "m") == 1,
            payload: {
                let [high, low] = (number(object, "dur") as u16).to_be_bytes();
                vec![
                    number(object, "event") as u8,
                    (number(object, "e") as u8) << 7 | number(object, "vol") as u8,
                    high,
                    low,
                ]
            },
        },
    };
    text.split("{\"name\":")
        .skip(1)
        .map(|scenario| {
            let scenario = format!("\"name\":{scenario}");
            let packets = scenario.split("{\"at_ms\"").skip(1);
            Scenario {
                name: value(&scenario, "name").expect("a name"),
                digits: value(&scenario, "expect_digits").expect("digits"),
                packets: packets.map(|object| packet(&format!("\"at_ms\"{object}"))).collect(),
            }
        })
        .collect()
}
