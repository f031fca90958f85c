//! What a recorder's client tells of the calls it records: `application/rs-metadata+xml` (RFC 7865, RFC 7866 §9).
//! ```text
//!   <recording>
//!     <datamode>complete | partial
//!     <session session_id>        <sipSessionID>
//!     <participant participant_id>  <nameID aor> <name>
//!     <stream stream_id>          <label>            the a=label of an m= line
//!     <participantstreamassoc participant_id> <send> stream_id: who is heard on which line
//!     <participantsessionassoc participant_id> <disassociate-time>: has left
//! ```
//! A complete document replaces what was told before, a partial one adds to it. Clients that were built after the drafts write
//! `id` for each of the ids and `<send>` into `<participant>`; both are read, in any namespace. Document types are refused, and with
//! them every entity but the five of XML. Whatever is not known here is passed over; what is kept is bounded.

use roxmltree::{Node, ParsingOptions};
use serde_json::{Value, json};

/// The longest document that is read.
const LONGEST: usize = 64 * 1024;
/// Elements, texts and comments of one document.
const NODES: u32 = 4_000;
/// Participants, and streams, that are kept.
const KEPT: usize = 16;
/// Bytes of one value that are kept.
const VALUE: usize = 256;

/// What is known of a recording session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    session: Option<String>,
    sip_session: Option<String>,
    participants: Vec<Participant>,
    streams: Vec<Stream>,
}

/// Somebody in the recorded call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Participant {
    id: String,
    pub(super) aor: Option<String>,
    pub(super) name: Option<String>,
    /// Ids of streams.
    sends: Vec<String>,
    has_left: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Stream {
    id: String,
    label: Option<String>,
}

/// Why a document tells nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Malformed {
    /// Longer than we read.
    #[error("the metadata is longer than {LONGEST} bytes")]
    TooLong,
    /// Not XML, or XML that we do not read.
    #[error("the metadata is not XML that can be read: {0}")]
    Xml(String),
    /// Another root.
    #[error("the metadata is no <recording>, but a <{0}>")]
    Root(String),
}

impl Metadata {
    /// Takes what a document says. What was known before is left alone by one that cannot be read.
    pub(super) fn learn(&mut self, document: &[u8]) -> Result<(), Malformed> {
        if document.len() > LONGEST {
            return Err(Malformed::TooLong);
        }
        let text = std::str::from_utf8(document).map_err(|error| Malformed::Xml(error.to_string()))?;
        // Some pad the part of a body, or end it as C ends its strings.
        let text = text.trim_matches(['\u{feff}', '\0', ' ', '\r', '\n', '\t']);
        let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES, ..ParsingOptions::default() };
        let tree = roxmltree::Document::parse_with_options(text, options)
            .map_err(|error| Malformed::Xml(error.to_string()))?;
        let root = tree.root_element();
        if !is(root, "recording") {
            return Err(Malformed::Root(bounded(root.tag_name().name())));
        }
        if !child(root, "datamode").is_some_and(|mode| mode.eq_ignore_ascii_case("partial")) {
            *self = Self::default();
        }
        elements(root).for_each(|element| self.describe(element));
        // Associations may stand before what they are about.
        elements(root).for_each(|element| self.associate(element));
        Ok(())
    }

    fn describe(&mut self, element: Node<'_, '_>) {
        if is(element, "session") {
            self.session = identity(element, "session_id").or(self.session.take());
            self.sip_session = child(element, "sipsessionid").or(self.sip_session.take());
        } else if is(element, "participant") {
            let Some(id) = identity(element, "participant_id") else { return };
            let Some(known) = known(&mut self.participants, |one| one.id == id) else { return };
            known.id = id;
            // The first of several identities is the one that was called, or called.
            if let Some(named) = elements(element).find(|within| is(*within, "nameid")) {
                known.aor = named.attribute("aor").map(bounded);
                known.name = child(named, "name");
            }
            known.hears_on(element);
        } else if is(element, "stream") {
            let Some(id) = identity(element, "stream_id") else { return };
            let Some(known) = known(&mut self.streams, |one| one.id == id) else { return };
            known.id = id;
            known.label = child(element, "label").or(known.label.take());
        }
    }

    fn associate(&mut self, element: Node<'_, '_>) {
        let id = || identity(element, "participant_id");
        if is(element, "participantstreamassoc") {
            let known = self.participants.iter_mut().find(|one| Some(&one.id) == id().as_ref());
            if let Some(known) = known {
                known.hears_on(element);
            }
        } else if is(element, "participantsessionassoc") {
            let known = self.participants.iter_mut().find(|one| Some(&one.id) == id().as_ref());
            if let Some(known) = known {
                known.has_left = child(element, "disassociate-time").is_some();
            }
        }
    }

    /// Whether it says anything at all.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The labels of lines, ordered by those who are heard there, in the order in which they are told of.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        let streams = self.participants.iter().flat_map(|one| &one.sends);
        streams.filter_map(|id| self.streams.iter().find(|stream| stream.id == *id)?.label.as_deref())
    }

    /// Who is heard on the line with this label.
    pub(super) fn heard_on(&self, label: &str) -> Option<&Participant> {
        let stream = self.streams.iter().find(|stream| stream.label.as_deref() == Some(label))?;
        self.participants.iter().find(|one| one.sends.contains(&stream.id))
    }

    /// All of it, for people and engines; `tracks` are the labels of the lines on each.
    pub(super) fn shown(&self, tracks: [Option<&str>; 2]) -> Value {
        let person = |one: &Participant| json!({ "aor": one.aor, "name": one.name, "left": one.has_left });
        let track = |label: Option<&str>| match label.and_then(|label| self.heard_on(label)) {
            Some(one) => json!({ "label": label, "aor": one.aor, "name": one.name }),
            None => json!({ "label": label }),
        };
        json!({
            "session_id": self.session,
            "sip_session_id": self.sip_session,
            "participants": self.participants.iter().map(person).collect::<Vec<_>>(),
            "tracks": tracks.map(track),
        })
    }
}

impl Participant {
    /// The streams that `<send>` names in an element.
    fn hears_on(&mut self, element: Node<'_, '_>) {
        let named: Vec<String> =
            elements(element).filter(|one| is(*one, "send")).filter_map(text).take(KEPT).collect();
        if !named.is_empty() {
            self.sends = named;
        }
    }
}

/// The one that is meant, or room for one more.
fn known<T: Default>(all: &mut Vec<T>, is_meant: impl Fn(&T) -> bool) -> Option<&mut T> {
    match all.iter().position(is_meant) {
        Some(place) => all.get_mut(place),
        None if all.len() < KEPT => {
            all.push(T::default());
            all.last_mut()
        }
        None => None,
    }
}

fn is(node: Node<'_, '_>, name: &str) -> bool {
    node.tag_name().name().eq_ignore_ascii_case(name)
}

fn elements<'a, 'i>(node: Node<'a, 'i>) -> impl Iterator<Item = Node<'a, 'i>> {
    node.children().filter(Node::is_element)
}

fn child(node: Node<'_, '_>, name: &str) -> Option<String> {
    elements(node).find(|one| is(*one, name)).and_then(text)
}

fn text(node: Node<'_, '_>) -> Option<String> {
    let text = node.text().map(str::trim).filter(|text| !text.is_empty())?;
    Some(bounded(text))
}

fn identity(node: Node<'_, '_>, name: &str) -> Option<String> {
    node.attribute(name).or_else(|| node.attribute("id")).filter(|id| !id.is_empty()).map(bounded)
}

/// As much of a value as is kept.
fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(VALUE)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
        <recording xmlns="urn:ietf:params:xml:ns:recording:1">
          <datamode>complete</datamode>
          <session session_id="S1"><sipSessionID>aa;remote=bb</sipSessionID></session>
          <participantstreamassoc participant_id="PA"><send>T2</send><recv>T1</recv></participantstreamassoc>
          <participant participant_id="PC">
            <nameID aor="sip:+4930111@caller.example"><name xml:lang="de">Carla &amp; Co</name></nameID>
          </participant>
          <participant participant_id="PA"><nameID aor="sip:agent7@desk.example"/></participant>
          <stream stream_id="T2" session_id="S1"><label>20</label></stream>
          <stream stream_id="T1" session_id="S1"><label>10</label></stream>
          <participantstreamassoc participant_id="PC"><send>T1</send><recv>T2</recv></participantstreamassoc>
        </recording>"#;

    fn told(documents: &[&str]) -> Metadata {
        let mut metadata = Metadata::default();
        documents.iter().for_each(|document| metadata.learn(document.as_bytes()).expect("metadata"));
        metadata
    }

    #[test]
    fn who_is_heard_on_which_line_is_read_in_the_order_of_the_participants() {
        let metadata = told(&[COMPLETE]);

        assert_eq!(metadata.labels().collect::<Vec<_>>(), ["10", "20"]);
        let caller = metadata.heard_on("10").expect("the caller");
        assert_eq!(caller.aor.as_deref(), Some("sip:+4930111@caller.example"));
        assert_eq!(caller.name.as_deref(), Some("Carla & Co"));
        assert_eq!(metadata.heard_on("30"), None);
        let shown = metadata.shown([Some("10"), Some("20")]);
        assert_eq!(shown["session_id"], "S1");
        assert_eq!(shown["sip_session_id"], "aa;remote=bb");
        assert_eq!(shown["tracks"][0]["name"], "Carla & Co");
        assert_eq!(shown["tracks"][1]["aor"], "sip:agent7@desk.example");
    }

    #[test]
    fn a_partial_document_adds_to_what_is_known_and_a_complete_one_replaces_it() {
        let partial = r#"<recording xmlns="urn:ietf:params:xml:ns:recording:1"><datamode>partial</datamode>
            <participant participant_id="PB"><nameID aor="sip:boss@desk.example"/></participant>
            <participantstreamassoc participant_id="PB"><send>T2</send></participantstreamassoc>
            <participantsessionassoc participant_id="PA"><disassociate-time>2026-01-01T00:00:00Z</disassociate-time>
            </participantsessionassoc></recording>"#;
        let other = "<recording><session session_id='S2'/></recording>";

        let added = told(&[COMPLETE, partial]).shown([None, None]);
        assert_eq!(added["session_id"], "S1");
        let people: Vec<&Value> = added["participants"].as_array().expect("people").iter().collect();
        assert_eq!(people.len(), 3);
        assert_eq!((&people[1]["left"], &people[2]["aor"]), (&json!(true), &json!("sip:boss@desk.example")));

        let replaced = told(&[COMPLETE, other]).shown([None, None]);
        assert_eq!((&replaced["session_id"], &replaced["participants"]), (&json!("S2"), &json!([])));
    }

    #[test]
    fn what_the_drafts_wrote_is_read_as_well() {
        let draft = r#"<recording xmlns="urn:ietf:params:xml:ns:recording"><dataMode>complete</dataMode>
            <session id="S1"/><participant id="P1" session="S1"><nameID aor="sip:1@h"/><send>T1</send></participant>
            <stream id="T1" session="S1"><mode>separate</mode><label>1</label></stream></recording>"#;

        let metadata = told(&[draft]);

        assert_eq!(metadata.heard_on("1").and_then(|one| one.aor.as_deref()), Some("sip:1@h"));
        assert_eq!(metadata.shown([None, None])["session_id"], "S1");
    }

    #[test]
    fn what_cannot_be_read_changes_nothing_and_nothing_can_be_made_to_grow() {
        let mut metadata = told(&[COMPLETE]);
        let before = metadata.clone();
        let long = format!("<recording>{}</recording>", " ".repeat(LONGEST));
        let deep = format!("<recording>{}</recording>", "<a/>".repeat(5_000));
        let entities = "<!DOCTYPE r [<!ENTITY a 'b'>]><recording>&a;</recording>";

        for document in [long.as_str(), &deep, entities, "<recording>", "<note/>", "", "\u{0}"] {
            assert!(metadata.learn(document.as_bytes()).is_err(), "{document:.40}");
            assert_eq!(metadata, before);
        }
        assert!(metadata.learn(b"<recording>\xff</recording>").is_err());

        let crowd: String = (0..100).map(|one| format!("<participant participant_id='{one}'/>")).collect();
        let name = "ü".repeat(400);
        let crowd = format!("<recording>{crowd}<session session_id='{name}'/></recording>");
        metadata.learn(crowd.as_bytes()).expect("metadata");
        assert_eq!(metadata.participants.len(), KEPT);
        assert!(metadata.session.expect("a session").len() <= VALUE);
    }

    proptest::proptest! {
        #[test]
        fn no_document_panics(document in "(<recording>|</recording>|<participant id='1'>|</participant>|<send>|</send>|<stream id='|'/>|&lt;|[ -~]){0,30}") {
            let _ = Metadata::default().learn(document.as_bytes());
        }
    }
}
