//! Writes recordings: one thread for all workers, behind a queue that is bounded. A worker never waits for a disk: what does
//! not fit the queue is left out of the recording and counted.
//!
//! After each chunk the header says how long the file is, so a recording is whole up to its last second whatever becomes of us.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use metrics::counter;
use tracing::{error, warn};

use super::tape::TapeLayout;
use crate::call::{CallId, RecordingSettings};

/// Chunks that wait: a second of audio each, 64 KB at most.
const QUEUE: usize = 1_024;
/// Bytes before the samples.
const HEADER: u64 = 44;
/// How often what is too old is removed.
const SWEEP: Duration = Duration::from_secs(3_600);

/// Where workers put what is to be written.
#[derive(Debug, Clone)]
pub(super) struct Recorder {
    queue: SyncSender<Piece>,
}

#[derive(Debug)]
struct Piece {
    call: CallId,
    to: Arc<RecordingSettings>,
    layout: TapeLayout,
    samples: Vec<i16>,
    last: bool,
}

impl Recorder {
    /// Starts the thread; it ends when no [`Recorder`] is left.
    pub(super) fn start() -> io::Result<(Self, JoinHandle<()>)> {
        let (queue, pieces) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || write_all(&pieces))?;
        Ok((Self { queue }, thread))
    }

    /// Has samples written; `last` closes the file.
    pub(super) fn write(
        &self,
        call: CallId,
        to: &Arc<RecordingSettings>,
        layout: TapeLayout,
        samples: Vec<i16>,
        last: bool,
    ) {
        let piece = Piece { call, to: to.clone(), layout, samples, last };
        match self.queue.try_send(piece) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => {
                counter!("callingedge_recording_chunks_dropped_total").increment(1);
            }
        }
    }
}

struct Open {
    file: File,
    bytes: u32,
}

#[expect(clippy::disallowed_methods, reason = "a shell: it has the clock and the disk")]
fn write_all(pieces: &Receiver<Piece>) {
    let mut open: HashMap<CallId, Open> = HashMap::new();
    let mut directories: HashMap<PathBuf, Duration> = HashMap::new();
    let mut sweep = Instant::now();
    loop {
        match pieces.recv_timeout(SWEEP) {
            Ok(piece) => {
                directories.insert(piece.to.directory.clone(), piece.to.keep);
                let call = piece.call;
                if let Err(error) = write(&mut open, piece) {
                    counter!("callingedge_recording_errors_total").increment(1);
                    error!(%call, %error, "a recording cannot be written");
                    open.remove(&call);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if sweep <= Instant::now() {
            sweep = Instant::now() + SWEEP;
            for (directory, keep) in &directories {
                if let Err(error) = remove_old(directory, SystemTime::now(), *keep) {
                    warn!(%error, directory = %directory.display(), "old recordings cannot be removed");
                }
            }
        }
    }
}

fn write(open: &mut HashMap<CallId, Open>, piece: Piece) -> io::Result<()> {
    let Piece { call, to, layout, samples, last } = piece;
    let known = match open.get_mut(&call) {
        Some(known) => known,
        None => {
            fs::create_dir_all(&to.directory)?;
            let mut file = File::create(to.file_of(call))?;
            file.write_all(&header(layout, 0))?;
            open.entry(call).or_insert(Open { file, bytes: 0 })
        }
    };
    let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    known.file.seek(SeekFrom::Start(HEADER + u64::from(known.bytes)))?;
    known.file.write_all(&bytes)?;
    known.bytes = known.bytes.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    known.file.seek(SeekFrom::Start(0))?;
    known.file.write_all(&header(layout, known.bytes))?;
    if last && let Some(Open { file, .. }) = open.remove(&call) {
        file.sync_data()?;
    }
    Ok(())
}

/// RIFF, WAVE, `fmt ` of 16-bit PCM, and `data` of so many bytes.
fn header(layout: TapeLayout, bytes: u32) -> [u8; HEADER as usize] {
    let TapeLayout { channels, rate } = layout;
    let (block, rate) = (channels * 2, rate.hertz());
    let mut header = [0; HEADER as usize];
    let fields: [&[u8]; 13] = [
        b"RIFF",
        &bytes.saturating_add(36).to_le_bytes(),
        b"WAVE",
        b"fmt ",
        &16_u32.to_le_bytes(),
        &1_u16.to_le_bytes(),
        &channels.to_le_bytes(),
        &rate.to_le_bytes(),
        &(rate * u32::from(block)).to_le_bytes(),
        &block.to_le_bytes(),
        &16_u16.to_le_bytes(),
        b"data",
        &bytes.to_le_bytes(),
    ];
    let mut at = 0;
    for field in fields {
        header[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    }
    header
}

/// Removes recordings that nobody has written to for longer than `keep`.
fn remove_old(directory: &Path, now: SystemTime, keep: Duration) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_ours = entry.path().extension().is_some_and(|extension| extension == "wav")
            && entry.file_name().to_string_lossy().starts_with("call_");
        let age = now.duration_since(entry.metadata()?.modified()?).unwrap_or_default();
        if is_ours && age > keep {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAPE: TapeLayout = TapeLayout { channels: 2, rate: media::SampleRate::Hz16000 };

    fn settings(name: &str) -> Arc<RecordingSettings> {
        let directory = std::env::temp_dir().join(format!("callingedge-{name}-{}", std::process::id()));
        Arc::new(RecordingSettings { directory, keep: Duration::from_secs(3_600) })
    }

    fn call() -> CallId {
        "call_01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().expect("a call id")
    }

    #[test]
    fn a_recording_is_whole_after_every_chunk() {
        let (to, mut open) = (settings("whole"), HashMap::new());
        for count in 1..=3 {
            let last = count == 3;
            write(
                &mut open,
                Piece { call: call(), to: to.clone(), layout: TAPE, samples: vec![count; 1_600], last },
            )
            .expect("a place to write to");

            let file = fs::read(to.file_of(call())).expect("the file");
            let wav = media::Wav::parse(&file).expect("a WAV file at any time");
            assert_eq!((wav.channels, wav.rate, wav.data.len()), (2, 16_000, 3_200 * count as usize));
            assert_eq!(wav.channel(1).last(), Some(&count));
        }
        assert!(open.is_empty(), "the last chunk closes it");
        fs::remove_dir_all(&to.directory).expect("it is ours");
    }

    #[test]
    fn only_old_recordings_are_removed() {
        let to = settings("old");
        fs::create_dir_all(&to.directory).expect("a place to write to");
        for name in ["call_a.wav", "mine.wav", "call_a.txt"] {
            fs::write(to.directory.join(name), "x").expect("a place to write to");
        }
        let modified =
            fs::metadata(to.directory.join("call_a.wav")).and_then(|data| data.modified()).expect("a time");

        remove_old(&to.directory, modified + to.keep, to.keep).expect("readable");
        assert!(to.directory.join("call_a.wav").exists());
        remove_old(&to.directory, modified + to.keep * 2, to.keep).expect("readable");

        let mut left: Vec<String> = fs::read_dir(&to.directory)
            .expect("readable")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        left.sort();
        assert_eq!(left, ["call_a.txt", "mine.wav"]);
        fs::remove_dir_all(&to.directory).expect("it is ours");
    }
}
