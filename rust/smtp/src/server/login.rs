//! AUTH PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login): an exchange of base64 lines.

use super::answer::Answer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use std::fmt;

/// What a client proves itself with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The authentication identity; may be empty.
    pub username: String,
    /// The secret.
    pub password: String,
}

impl fmt::Debug for Credentials {
    /// Secrets never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

/// Where an exchange stands.
#[derive(Debug)]
pub(super) enum Login {
    Plain,
    Username,
    Password(String),
}

/// What comes next.
pub(super) enum Step {
    /// Ask with this challenge.
    Challenge(Login, &'static str),
    Done(Credentials),
}

pub(super) const MALFORMED: Answer = Answer::fixed("501 5.5.2 That is not what AUTH asked for");

impl Login {
    /// Begins with a mechanism in upper case.
    pub(super) fn begin(mechanism: &str, initial: Option<&str>) -> Result<Step, Answer> {
        let (login, challenge) = match mechanism {
            "PLAIN" => (Self::Plain, "334 "),
            "LOGIN" => (Self::Username, USERNAME),
            _ => return Err(Answer::fixed("504 5.5.4 Use AUTH PLAIN or AUTH LOGIN")),
        };
        match initial {
            None => Ok(Step::Challenge(login, challenge)),
            // An empty initial response is written `=` (RFC 4954, section 4).
            Some("=") => login.step(b""),
            Some(initial) => login.step(initial.as_bytes()),
        }
    }

    /// Takes the client's next line.
    pub(super) fn step(self, line: &[u8]) -> Result<Step, Answer> {
        if line == b"*" {
            return Err(Answer::fixed("501 5.7.0 AUTH was cancelled"));
        }
        let octets = STANDARD.decode(line).map_err(|_| MALFORMED)?;
        let text = String::from_utf8(octets).map_err(|_| MALFORMED)?;
        match self {
            Self::Plain => {
                let mut parts = text.split('\0');
                let (Some(_authzid), Some(username), Some(password), None) =
                    (parts.next(), parts.next(), parts.next(), parts.next())
                else {
                    return Err(MALFORMED);
                };
                Ok(done(username, password))
            }
            Self::Username => Ok(Step::Challenge(Self::Password(text), PASSWORD)),
            Self::Password(username) => Ok(done(&username, &text)),
        }
    }
}

/// `Username:` and `Password:`, the only challenges old clients know.
const USERNAME: &str = "334 VXNlcm5hbWU6";
const PASSWORD: &str = "334 UGFzc3dvcmQ6";

fn done(username: &str, password: &str) -> Step {
    Step::Done(Credentials {
        username: username.to_owned(),
        password: password.to_owned(),
    })
}
