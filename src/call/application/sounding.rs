//! What the caller hears for an application: an announcement of the configuration, or a WAV file that is fetched from where its
//! document says. Where there is nothing to hear, the timeline says so and the program goes on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::account::Account;
use super::super::one::{Call, Hands};
use super::super::output::Output;
use super::super::program::Sound;
use super::super::record::Layer;
use super::super::settings::Settings;
use super::super::voice::{Announcement, VoiceOrder};
use super::super::web::{FetchId, WebAnswer, WebFailure, WebRequest};
use super::shown;
use crate::provider::twilio::{Method, WebAddress};

/// How long a sound may take to come: the shell gives up at 15 s and tells why.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest file: a minute of 16 bit at 8,000 Hz, and its head.
const LONGEST: usize = 1 << 20;

/// The sounds of one call.
#[derive(Debug, Default)]
pub(super) struct Sounds {
    /// Ordered and not told as heard.
    waiting: u32,
    /// On its way here.
    fetching: Option<Fetching>,
    /// The one that was fetched last: what is repeated is not fetched again.
    last: Option<(String, Arc<Announcement>)>,
    fetched: u32,
}

#[derive(Debug)]
struct Fetching {
    number: u32,
    sound: String,
    give_up: Instant,
}

impl Sounds {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.fetching.as_ref().map(|fetching| fetching.give_up)
    }

    /// One was heard, or gave way. Whether none is left.
    pub(super) fn heard(&mut self) -> bool {
        self.waiting = self.waiting.saturating_sub(1);
        self.waiting == 0
    }
}

impl Call {
    pub(super) fn sound(&mut self, hands: &mut Hands<'_>, sound: Sound) {
        let Some(application) = &mut self.application else { return };
        if let Some(audio) = known(&application.account, hands.settings, &sound) {
            return self.play(hands, audio);
        }
        let url = match sound {
            Sound::Say(text) => return self.skip(hands, "say skipped", text),
            Sound::Play(url) => url,
        };
        let sounds = &mut application.sounds;
        if let Some((_, audio)) = sounds.last.as_ref().filter(|(known, _)| *known == url) {
            let audio = audio.clone();
            return self.play(hands, audio);
        }
        if !(url.starts_with("http://") || url.starts_with("https://")) {
            return self.skip(hands, "play skipped", format!("{url} is no URL and no announcement"));
        }
        sounds.fetched += 1;
        let number = sounds.fetched;
        let at = WebAddress { url: url.clone(), method: Method::Get };
        sounds.fetching = Some(Fetching { number, sound: url, give_up: hands.now + PATIENCE });
        let request = WebRequest::new(&application.account.token, &at, &[], LONGEST);
        let id = FetchId::Sound { call: self.id, number };
        hands.outputs.push(Output::Fetch { id, request: Box::new(request) });
        self.milestone(hands, Layer::Media, "sound fetched", Some(shown(&at.url)));
    }

    /// The file that the caller is to hear, or why there is none.
    pub(in crate::call) fn sound_fetched(
        &mut self,
        hands: &mut Hands<'_>,
        number: u32,
        outcome: Result<WebAnswer, WebFailure>,
    ) {
        let Some(sounds) = self.application.as_mut().map(|application| &mut application.sounds) else {
            return;
        };
        let Some(fetching) = sounds.fetching.take_if(|fetching| fetching.number == number) else { return };
        let Fetching { sound, .. } = fetching;
        let audio = match outcome {
            Ok(WebAnswer { status: 200..300, body }) => Announcement::of_wav(&shown(&sound), &body),
            Ok(WebAnswer { status, .. }) => Err(format!("HTTP status {status}")),
            Err(failure) => Err(failure.to_string()),
        };
        match audio {
            Ok(audio) => {
                let audio = Arc::new(audio);
                sounds.last = Some((sound, audio.clone()));
                self.play(hands, audio);
            }
            Err(why) => self.skip(hands, "play skipped", format!("{}: {why}", shown(&sound))),
        }
    }

    /// A file that does not come is not waited for.
    pub(in crate::call) fn handle_sound_timeout(&mut self, hands: &mut Hands<'_>) {
        let fetching = self.application.as_ref().and_then(|application| application.sounds.fetching.as_ref());
        let due = fetching.filter(|fetching| fetching.give_up <= hands.now).map(|fetching| fetching.number);
        if let Some(number) = due {
            self.sound_fetched(hands, number, Err(WebFailure::TimedOut));
        }
    }

    /// An empty announcement takes the place of the one that is heard.
    pub(super) fn silence(&mut self, hands: &mut Hands<'_>) {
        let Some(application) = &mut self.application else { return };
        application.sounds.fetching = None;
        if application.sounds.waiting > 0 {
            application.sounds.waiting += 1;
            let audio = Arc::new(Announcement { name: "silence".to_owned(), pcmu: Vec::new() });
            hands.outputs.voice(self.id, VoiceOrder::Announce { leg: self.leg.id, audio });
        }
    }

    fn play(&mut self, hands: &mut Hands<'_>, audio: Arc<Announcement>) {
        if let Some(application) = &mut self.application {
            application.sounds.waiting += 1;
        }
        self.milestone(hands, Layer::Media, "played", Some(audio.name.clone()));
        hands.outputs.voice(self.id, VoiceOrder::Announce { leg: self.leg.id, audio });
    }

    fn skip(&mut self, hands: &mut Hands<'_>, what: &str, detail: String) {
        self.milestone(hands, Layer::Media, what, Some(detail));
        self.with_program(hands, |program, now| program.heard(now));
    }
}

/// What stands for a text or a sound in the configuration.
fn known(account: &Account, settings: &Settings, sound: &Sound) -> Option<Arc<Announcement>> {
    let named = |name: &String| settings.announcements.get(name).cloned();
    match sound {
        Sound::Say(text) => account.sounds.get(text).or(account.say.as_ref()).and_then(named),
        Sound::Play(sound) => account.sounds.get(sound).and_then(named).or_else(|| named(sound)),
    }
}
