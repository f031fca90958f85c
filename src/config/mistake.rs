//! What can be wrong with a configuration: where, what, and what to write instead.

use std::fmt;

/// One thing wrong, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Line in the file, counted from 1; none for what is missing altogether.
    pub line: Option<usize>,
    /// The table it stands in: `sip`, `providers.sip-main`; empty at the top.
    pub section: String,
    /// The key, when it is about one.
    pub key: Option<String>,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// Not TOML.
    Syntax(String),
    /// No such key.
    UnknownKey {
        /// The key that was probably meant.
        nearest: Option<&'static str>,
        /// All there are.
        known: Vec<&'static str>,
    },
    /// It must be there.
    Missing {
        /// What to write, as it would stand in the file.
        example: String,
    },
    /// Of another type.
    Type {
        /// What to write.
        expected: &'static str,
        /// What stands there.
        found: &'static str,
    },
    /// Of the right type, but not a value that can be used.
    Value {
        /// What stands there; never a secret.
        found: String,
        /// What is wrong and what to write.
        problem: String,
    },
    /// Names something that is not configured.
    UnknownName {
        /// `engine`, `tenant`.
        what: &'static str,
        /// As written.
        name: String,
        /// The configured one that was probably meant.
        nearest: Option<String>,
    },
    /// A secret that stands in the file itself.
    InlineSecret,
    /// Two things that cannot both hold.
    Conflict(String),
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Problem::UnknownKey { .. } = self.problem {
            f.write_str("unknown key ")?;
        }
        let section = &self.section;
        match &self.key {
            Some(key) if section.is_empty() => write!(f, "`{key}`")?,
            Some(key) => write!(f, "`{key}` in [{section}]")?,
            None if section.is_empty() => f.write_str("the file")?,
            None => write!(f, "[{section}]")?,
        }
        if let Some(line) = self.line {
            write!(f, " at line {line}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax(message) => write!(f, "not TOML: {message}"),
            Self::UnknownKey { nearest: Some(nearest), .. } => write!(f, "did you mean `{nearest}`?"),
            Self::UnknownKey { nearest: None, known } => {
                f.write_str("known here are ")?;
                list(f, known)
            }
            Self::Missing { example } => write!(f, "missing; write `{example}`"),
            Self::Type { expected, found } => write!(f, "write {expected}, not {found}"),
            Self::Value { found, problem } => write!(f, "`{found}` {problem}"),
            Self::UnknownName { what, name, nearest: Some(nearest) } => {
                write!(f, "there is no {what} `{name}`; did you mean `{nearest}`?")
            }
            Self::UnknownName { what, name, nearest: None } => {
                write!(f, "there is no {what} `{name}`; add [{what}s.{name}]")
            }
            Self::InlineSecret => f.write_str(
                "a secret does not stand in the file; write { env = \"NAME\" }, { file = \"path\" }, { \
                 credential = \"name\" } or { held = \"TENANT/name\" }",
            ),
            Self::Conflict(problem) => f.write_str(problem),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, names: &[&str]) -> fmt::Result {
    for (index, name) in names.iter().enumerate() {
        let separator = if index == 0 { "" } else { ", " };
        write!(f, "{separator}`{name}`")?;
    }
    Ok(())
}
