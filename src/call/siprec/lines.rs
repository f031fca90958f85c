//! The session description of a recording session: an `m=` line for each voice (RFC 7866 §7.3), where a leg knows one line only.
//! ```text
//!   offer   v= o= s= c= t=   m=audio a=label:1   m=audio a=label:2   m=video
//!              |                  |                   |                 |
//!              +--- and the ------+---> first leg     |                 |
//!              +--- and the ----------------------> second leg          |
//!                                 |                   |                 v
//!   answer  v= o= s= c= t=   m=audio             m=audio             m=video 0
//! ```
//! Each leg negotiates with a description that has nothing but its line; the answers are put together again, in the order
//! of the offer (RFC 3264 §6). Which line is whose is settled once: lines keep their places (§8).

use std::fmt::Write as _;

use bytes::Bytes;
use media::{Negotiated, Negotiator, SdpError};

/// The most media lines.
const MAX_LINES: usize = 32;

/// Who has which line.
#[derive(Debug)]
pub(super) struct Lines {
    session_id: u64,
    /// Of `o=`; 0 before the first description.
    version: u64,
    /// The last description without its `o=` line.
    last: String,
    /// By leg: the place of its line, and the label that it had last.
    places: [Option<usize>; 2],
    labels: [Option<String>; 2],
}

/// What one leg came to.
#[derive(Debug)]
pub(super) enum Agreed {
    /// There is no such line, or it is switched off.
    Off,
    /// Its voice comes like this.
    On(Box<Negotiated>),
    /// There is a line that cannot be used.
    Not(SdpError),
}

impl Lines {
    /// Nothing said yet. `session_id` goes into `o=`.
    pub(super) fn new(session_id: u64) -> Self {
        Self { session_id, version: 0, last: String::new(), places: [None; 2], labels: [None, None] }
    }

    /// What the lines of the legs are called.
    pub(super) fn labels(&self) -> [Option<&str>; 2] {
        [self.labels[0].as_deref(), self.labels[1].as_deref()]
    }

    /// An offer, first or again, and the answer to it. `order` are the labels of the lines as they are wished for the legs.
    ///
    /// # Errors
    /// When no line can be used.
    pub(super) fn answer<'a>(
        &mut self,
        offer: &[u8],
        order: impl Iterator<Item = &'a str>,
        negotiators: [&mut Negotiator; 2],
    ) -> Result<([Agreed; 2], Bytes), SdpError> {
        let text = String::from_utf8_lossy(offer);
        let offered = Offered::read(&text)?;
        self.settle(&offered, order);
        let mut lines: Vec<String> = offered.lines.iter().map(|line| line.refused()).collect();
        let mut head = None;
        let mut agreed = [Agreed::Off, Agreed::Off];
        for ((place, agreed), negotiator) in self.places.iter().zip(&mut agreed).zip(negotiators) {
            let line = place.and_then(|place| Some((place, offered.lines.get(place)?)));
            let Some((place, line)) = line.filter(|(_, line)| line.is_on()) else { continue };
            let alone = format!("{}{}", offered.session, line.text);
            match negotiator.handle_offer(alone.as_bytes()) {
                Ok((negotiated, answer)) => {
                    let answer = String::from_utf8_lossy(&answer).into_owned();
                    let at = answer.find("m=").unwrap_or(answer.len());
                    lines[place] = answer[at..].to_owned();
                    head.get_or_insert(answer[..at].to_owned());
                    *agreed = Agreed::On(Box::new(negotiated));
                }
                Err(error) => *agreed = Agreed::Not(error),
            }
        }
        let Some(head) = head else {
            let fault = agreed.into_iter().find_map(|one| match one {
                Agreed::Not(error) => Some(error),
                Agreed::On(_) | Agreed::Off => None,
            });
            return Err(fault.unwrap_or(SdpError::NoAudio));
        };
        for (label, place) in self.labels.iter_mut().zip(self.places) {
            let named = place.and_then(|place| offered.lines.get(place)?.label());
            *label = named.map(str::to_owned).or(label.take());
        }
        Ok((agreed, self.write(&head, &lines)))
    }

    /// Gives lines to legs that have none: those that are named first, else those that come first.
    fn settle<'a>(&mut self, offered: &Offered<'_>, order: impl Iterator<Item = &'a str>) {
        let named =
            order.filter_map(|label| offered.lines.iter().position(|line| line.label() == Some(label)));
        let wanted: Vec<usize> = named.chain(0..offered.lines.len()).collect();
        for place in wanted.into_iter().filter(|place| offered.lines[*place].is_on()) {
            let free = self.places.iter().position(Option::is_none);
            if let (Some(leg), false) = (free, self.places.contains(&Some(place))) {
                self.places[leg] = Some(place);
            }
        }
    }

    /// With an `o=` line of our own: its version rises when the rest says anything new.
    fn write(&mut self, head: &str, lines: &[String]) -> Bytes {
        let mut origin = format!("v=0\r\no=- {} ", self.session_id);
        let mut body = String::new();
        let mut net = "IN IP4 0.0.0.0";
        for line in head.split_inclusive('\n') {
            match line.strip_prefix("o=") {
                Some(theirs) => net = theirs.trim_end().splitn(4, ' ').nth(3).unwrap_or(net),
                None if line.starts_with("v=") => {}
                None => body.push_str(line),
            }
        }
        lines.iter().for_each(|line| body.push_str(line));
        if body != self.last {
            self.version += 1;
            self.last = body;
        }
        // Writing into a string cannot fail.
        let _ = write!(origin, "{} {net}\r\n", self.version);
        Bytes::from(origin + &self.last)
    }
}

/// An offer, taken apart.
struct Offered<'a> {
    /// All before the first `m=`.
    session: &'a str,
    lines: Vec<MediaLine<'a>>,
}

/// An `m=` line with what belongs to it.
struct MediaLine<'a> {
    text: &'a str,
}

impl<'a> Offered<'a> {
    fn read(text: &'a str) -> Result<Self, SdpError> {
        let text = text.trim_end_matches('\0');
        let mut starts: Vec<usize> =
            text.match_indices("\nm=").map(|(at, _)| at + 1).take(MAX_LINES + 1).collect();
        if starts.len() > MAX_LINES {
            return Err(SdpError::TooManyMedia { limit: MAX_LINES });
        }
        let session = &text[..starts.first().copied().unwrap_or(text.len())];
        starts.push(text.len());
        let lines = starts.windows(2).map(|ends| MediaLine { text: &text[ends[0]..ends[1]] }).collect();
        Ok(Self { session, lines })
    }
}

impl<'a> MediaLine<'a> {
    /// Kind, port, transport, formats.
    fn parts(&self) -> impl Iterator<Item = &'a str> {
        let first = self.text.lines().next().unwrap_or_default();
        first.trim_start_matches("m=").splitn(4, ' ').map(str::trim)
    }

    fn is_on(&self) -> bool {
        let mut parts = self.parts();
        let is_audio = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("audio"));
        is_audio && parts.next() != Some("0")
    }

    fn label(&self) -> Option<&'a str> {
        self.text.lines().find_map(|line| line.strip_prefix("a=label:")).map(str::trim)
    }

    fn refused(&self) -> String {
        let mut parts = self.parts();
        let kind = parts.next().unwrap_or_default();
        let (transport, formats) = (parts.nth(1).unwrap_or("RTP/AVP"), parts.next().unwrap_or("0"));
        format!("m={kind} 0 {transport} {formats}\r\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "v=0\r\no=SRC 1 1 IN IP4 10.0.0.9\r\ns=-\r\nc=IN IP4 10.0.0.9\r\nt=0 0\r\n";

    fn negotiator(port: u16) -> Negotiator {
        let local = media::LocalMedia {
            address: "10.0.0.1".parse().expect("an address"),
            port,
            codecs: vec![media::Codec::Pcmu],
            telephone_event: true,
            ptime_ms: 20,
        };
        let mut negotiator = Negotiator::new(local, 7);
        negotiator.want(media::Direction::RecvOnly);
        negotiator
    }

    fn line(port: u16, label: &str, direction: &str) -> String {
        format!("m=audio {port} RTP/AVP 0\r\na=label:{label}\r\na={direction}\r\n")
    }

    struct Server(Lines, Negotiator, Negotiator);

    impl Server {
        fn new() -> Self {
            Self(Lines::new(9), negotiator(20_000), negotiator(20_002))
        }

        fn answer(&mut self, lines: &str, order: &[&str]) -> (Vec<Option<(u16, bool)>>, String) {
            let Self(own, first, second) = self;
            let offer = format!("{HEAD}{lines}");
            let answered = own.answer(offer.as_bytes(), order.iter().copied(), [first, second]);
            let (agreed, answer) = answered.expect("an answer");
            let ports = agreed.into_iter().map(|one| match one {
                Agreed::On(negotiated) => Some((negotiated.rtp.port(), negotiated.direction.receives())),
                Agreed::Off | Agreed::Not(_) => None,
            });
            (ports.collect(), String::from_utf8(answer.to_vec()).expect("text"))
        }
    }

    fn summary(answer: &str) -> Vec<&str> {
        let told = |line: &&str| line.starts_with("m=") || *line == "a=recvonly" || *line == "a=inactive";
        answer.lines().filter(told).collect()
    }

    #[test]
    fn two_lines_are_answered_in_their_places_and_further_ones_refused() {
        let mut server = Server::new();
        let lines = line(4000, "1", "sendonly") + &line(4002, "2", "sendonly") + &line(4004, "3", "sendonly");

        let (ports, answer) = server.answer(&(lines + "m=video 4006 RTP/AVP 96 97\r\n"), &[]);

        assert_eq!(ports, [Some((4000, true)), Some((4002, true))]);
        assert!(
            answer.starts_with("v=0\r\no=- 9 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\nm="),
            "{answer}"
        );
        assert_eq!(
            summary(&answer),
            [
                "m=audio 20000 RTP/AVP 0",
                "a=recvonly",
                "m=audio 20002 RTP/AVP 0",
                "a=recvonly",
                "m=audio 0 RTP/AVP 0",
                "m=video 0 RTP/AVP 96 97"
            ]
        );
    }

    #[test]
    fn the_one_who_is_told_of_first_is_the_first_leg_wherever_its_line_stands() {
        let mut server = Server::new();
        let lines = line(4000, "agent", "sendonly") + &line(4002, "caller", "sendonly");

        let (ports, answer) = server.answer(&lines, &["caller", "nobody", "agent"]);

        assert_eq!(ports, [Some((4002, true)), Some((4000, true))]);
        assert_eq!(server.0.labels(), [Some("caller"), Some("agent")]);
        assert_eq!(summary(&answer)[0], "m=audio 20002 RTP/AVP 0");
    }

    #[test]
    fn a_line_is_held_switched_off_and_added_without_a_change_of_places() {
        let mut server = Server::new();
        let one = line(4000, "1", "sendonly");
        assert_eq!(server.answer(&one, &[]).0, [Some((4000, true)), None]);

        let (ports, answer) =
            server.answer(&(line(4000, "1", "inactive") + &line(4002, "2", "sendonly")), &["2", "1"]);
        assert_eq!(ports, [Some((4000, false)), Some((4002, true))]);
        assert!(answer.contains("o=- 9 2 "), "{answer}");
        assert_eq!(summary(&answer)[1], "a=inactive");

        let (ports, answer) =
            server.answer(&(line(0, "1", "sendonly") + &line(4002, "2", "sendonly")), &["2", "1"]);
        assert_eq!(ports, [None, Some((4002, true))]);
        assert_eq!(summary(&answer)[0], "m=audio 0 RTP/AVP 0");

        let again = server.answer(&(line(0, "1", "sendonly") + &line(4002, "2", "sendonly")), &["2", "1"]);
        assert_eq!(again.1, answer, "nothing new, the same version");
    }

    #[test]
    fn a_line_that_cannot_be_used_costs_only_itself_and_all_of_them_the_session() {
        let mut server = Server::new();
        let foreign = "m=audio 4002 RTP/AVP 3\r\na=label:2\r\na=sendonly\r\n";

        let (ports, answer) = server.answer(&(line(4000, "1", "sendonly") + foreign), &[]);
        assert_eq!(ports, [Some((4000, true)), None]);
        assert!(answer.contains("m=audio 0 RTP/AVP 3\r\n"), "{answer}");

        let Server(mut lines, mut first, mut second) = Server::new();
        let mut refused = |offer: &str| {
            lines.answer(offer.as_bytes(), std::iter::empty(), [&mut first, &mut second]).map(|_| ())
        };
        assert_eq!(refused(HEAD), Err(SdpError::NoAudio));
        assert_eq!(refused(""), Err(SdpError::NoAudio));
        assert_eq!(refused(&format!("{HEAD}{foreign}")), Err(SdpError::NoCommonCodec));
        let many = format!("{HEAD}{}", line(4000, "1", "sendonly").repeat(33));
        assert_eq!(refused(&many), Err(SdpError::TooManyMedia { limit: 32 }));
    }
}
