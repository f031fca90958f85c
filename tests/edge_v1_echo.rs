//! The engine of `examples/edge_v1_echo.py` on a call. Needs Python with `websockets`; says so and proves nothing where
//! there is none.
#![expect(clippy::unwrap_used, reason = "a test may fail that way, in its helpers too")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a test looks for one thing among many")]

#[path = "support/voice_rig.rs"]
mod voice_rig;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use callingedge::call::{Dialect, EngineCommand, VoiceFact};
use voice_rig::{Rig, call, config, speech};

#[test]
fn the_echo_engine_echoes_hears_keys_and_answers() {
    let Some(mut engine) = Echo::start() else { return };
    let mut rig = Rig::new(config());
    let port = rig.open(call(1));
    rig.dial(call(1), format!("ws://127.0.0.1:{}/", engine.port), Dialect::EdgeV1);
    let mut far_end = rig.answer(call(1), port);
    rig.until(call(1), |fact| matches!(fact, VoiceFact::Engine(EngineCommand::Accept)).then_some(()));

    let spoken = speech(160 * 25);
    for frame in spoken.chunks(160) {
        far_end.say(frame);
    }

    assert_eq!(far_end.hear(&spoken[..160], spoken.len()), spoken);
    far_end.press(5);
    engine.until("digit 5");
    assert!(engine.until(r#""name": "digit 5""#).contains(r#""result": "played""#));
    far_end.press(10);
    assert!(engine.until("cleared").contains(r#""re": "c1""#));
    far_end.say(&[9; 160]);
    far_end.hear(&[9; 160], 160);
    rig.close(call(1));
    engine.until("remote_hung_up");
}

struct Echo {
    process: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
    port: u16,
}

impl Echo {
    fn start() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let ours = root.join(".venv/bin/python3");
        let python = if ours.exists() { ours } else { PathBuf::from("python3") };
        let has_websockets = Command::new(&python)
            .args(["-c", "import websockets.asyncio.server"])
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        if !has_websockets {
            println!("skipped: {} has no websockets", python.display());
            return None;
        }
        let port = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
        let mut process = Command::new(python)
            .arg("-u")
            .arg(root.join("examples/edge_v1_echo.py"))
            .arg(port.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut echo = Self { process, lines, port };
        echo.until("listening");
        Some(echo)
    }

    /// The first line it prints that has this in it.
    fn until(&mut self, part: &str) -> String {
        self.lines.by_ref().map(Result::unwrap).find(|line| line.contains(part)).unwrap()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
