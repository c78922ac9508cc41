//! Why a template cannot be compiled or rendered: always the part, always one reason.

use std::fmt;

use minijinja::ErrorKind;

/// A source of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The subject: one line, nothing escaped.
    Subject,
    /// HTML: values are escaped.
    Html,
    /// Plain text: nothing escaped.
    Text,
}

impl Part {
    /// As the field of a template is called.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Subject => "subject",
            Self::Html => "html",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What is wrong. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A source that is no template.
    #[error("line {line}: {reason}")]
    Source {
        /// Which.
        part: Part,
        /// Where.
        line: usize,
        /// In words.
        reason: String,
    },
    /// A source that is not UTF-8.
    #[error("is not UTF-8")]
    NotUtf8 {
        /// Which.
        part: Part,
    },
    /// A source beyond [`crate::MAX_SOURCE`].
    #[error("has {octets} octets, the limit is {limit}", limit = crate::MAX_SOURCE)]
    SourceTooLong {
        /// Which.
        part: Part,
        /// The length found.
        octets: usize,
    },
    /// Variables that are no JSON object.
    #[error("the variables are no JSON object: {0}")]
    Variables(String),
    /// Variables beyond [`crate::MAX_VARIABLES`].
    #[error("the variables have {0} octets, the limit is {limit}", limit = crate::MAX_VARIABLES)]
    VariablesTooLong(usize),
    /// A variable the template names and the message does not give.
    #[error("{name} is not given ({part}, line {line})")]
    Undefined {
        /// Where it is used.
        part: Part,
        /// Where in there.
        line: usize,
        /// The expression, such as `order.total`.
        name: String,
    },
    /// A value the template cannot work with.
    #[error("{part}, line {line}: {reason}")]
    Failed {
        /// Which.
        part: Part,
        /// Where.
        line: usize,
        /// In words.
        reason: String,
    },
    /// More work than [`crate::FUEL`] pays for.
    #[error("{part}: rendering takes too long")]
    OutOfFuel {
        /// Which.
        part: Part,
    },
    /// A part that came out too long.
    #[error("{part}: the result is longer than {limit} octets")]
    TooLong {
        /// Which.
        part: Part,
        /// What is allowed.
        limit: usize,
    },
}

impl Error {
    /// The part it is about; none for the variables as a whole.
    #[must_use]
    pub fn part(&self) -> Option<Part> {
        match self {
            Self::Source { part, .. }
            | Self::NotUtf8 { part }
            | Self::SourceTooLong { part, .. }
            | Self::Undefined { part, .. }
            | Self::Failed { part, .. }
            | Self::OutOfFuel { part }
            | Self::TooLong { part, .. } => Some(*part),
            Self::Variables(_) | Self::VariablesTooLong(_) => None,
        }
    }

    /// What its author should do.
    #[must_use]
    pub fn fix(&self) -> String {
        match self {
            Self::Source { reason, .. } if reason.contains("'{'") || reason.contains("`{`") => {
                "write variables as {{ name }}".to_owned()
            }
            Self::Source { .. } => "correct the template at that line".to_owned(),
            Self::NotUtf8 { .. } => "send it as UTF-8".to_owned(),
            Self::SourceTooLong { .. } => "shorten it, or link to images".to_owned(),
            Self::Variables(_) => "send an object of names and values".to_owned(),
            Self::VariablesTooLong(_) => "send less".to_owned(),
            Self::Undefined { name, .. } => {
                format!("give it in template.variables, or write {{{{ {name}|default(\"\") }}}}")
            }
            Self::Failed { .. } => "give values of the kind the template works with".to_owned(),
            Self::OutOfFuel { .. } => "loop over less, or split the message".to_owned(),
            Self::TooLong { .. } => "shorten the template or its variables".to_owned(),
        }
    }

    pub(crate) fn of_source(part: Part, error: &minijinja::Error) -> Self {
        Self::Source {
            part,
            line: error.line().unwrap_or(1),
            reason: reason(error),
        }
    }

    pub(crate) fn of_rendering(part: Part, source: &str, error: &minijinja::Error) -> Self {
        let line = error.line().unwrap_or(1);
        match error.kind() {
            ErrorKind::OutOfFuel => Self::OutOfFuel { part },
            ErrorKind::UndefinedError => {
                // The engine says which expression, if it knows; else where it stood.
                let told = error.detail().and_then(|detail| {
                    let (before, _) = detail.split_once("` is undefined")?;
                    before.rsplit('`').next()
                });
                let seen = || error.range().and_then(|range| source.get(range));
                let name = told.or_else(seen).unwrap_or("a variable");
                let name = name.chars().take(100).collect();
                Self::Undefined { part, line, name }
            }
            _ => Self::Failed {
                part,
                line,
                reason: reason(error),
            },
        }
    }
}

fn reason(error: &minijinja::Error) -> String {
    let text = error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned);
    text.chars().take(300).collect()
}
