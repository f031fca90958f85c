//! What the doctor says: one finding a line, for people or for machines.
#![deny(clippy::disallowed_methods, clippy::disallowed_types)]

use std::fmt;

use serde::Serialize;

/// How bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Level {
    /// Looked at, and good.
    Ok,
    /// Calls go through; somebody should look at it all the same.
    Warning,
    /// Calls fail.
    Problem,
}

/// What was looked at. The words are for programs, and stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Check {
    Configuration,
    Listen,
    Address,
    Ports,
    Files,
    Memory,
    Buffers,
    Folder,
    Clock,
    Certificate,
    Trunk,
    Engine,
    Webhook,
}

impl Check {
    fn as_str(self) -> &'static str {
        match self {
            Self::Configuration => "configuration",
            Self::Listen => "listen",
            Self::Address => "address",
            Self::Ports => "ports",
            Self::Files => "files",
            Self::Memory => "memory",
            Self::Buffers => "buffers",
            Self::Folder => "folder",
            Self::Clock => "clock",
            Self::Certificate => "certificate",
            Self::Trunk => "trunk",
            Self::Engine => "engine",
            Self::Webhook => "webhook",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) check: Check,
    /// Which of several: an address, an engine's name; empty where there is only one.
    pub(super) about: String,
    /// What is so, and what to do where something is to be done.
    pub(super) text: String,
}

impl Finding {
    pub(super) fn new(level: Level, check: Check, about: &str, text: impl Into<String>) -> Self {
        Self { level, check, about: about.to_owned(), text: text.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "problem",
        };
        // A finding is one line, whatever a peer has put into its reason.
        let text = self.text.replace(['\n', '\r'], " ");
        write!(f, "{level:<8} {:<13} ", self.check.as_str())?;
        if !self.about.is_empty() {
            write!(f, "{}: ", self.about)?;
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_whatever_is_quoted_in_it() {
        let finding = Finding::new(Level::Problem, Check::Engine, "bot", "it said: no\r\nat all");

        assert_eq!(finding.to_string(), "problem  engine        bot: it said: no  at all");
    }
}
