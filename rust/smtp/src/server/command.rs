//! Command lines become values, or the answer that says what is wrong with them.

use super::answer::Answer;
use super::envelope::{Notify, Recipient, Returns};
use crate::address::{AddressError, ForwardPath, ReversePath};

/// A command that is well formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Ehlo(&'a str),
    Helo(&'a str),
    Mail(Mail),
    Rcpt(Recipient, NeedsUtf8),
    Data,
    Bdat {
        size: u64,
        is_last: bool,
    },
    /// Mechanism, in upper case, and the initial response.
    Auth(String, Option<&'a str>),
    StartTls,
    Rset,
    Noop,
    Verify,
    Quit,
}

pub(super) type NeedsUtf8 = bool;

/// MAIL FROM with its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mail {
    pub(super) reverse_path: ReversePath,
    pub(super) size: u64,
    pub(super) is_eight_bit: bool,
    pub(super) is_smtputf8: bool,
    pub(super) requires_tls: bool,
    pub(super) returns: Option<Returns>,
    pub(super) envelope_id: Option<String>,
}

/// Reads a line without its CRLF.
pub(super) fn parse(line: &[u8]) -> Result<Command<'_>, Answer> {
    let text = std::str::from_utf8(line)
        .ok()
        .filter(|text| !text.contains(['\0', '\r', '\n']))
        .ok_or(Answer::fixed(
            "500 5.5.2 The command is not UTF-8 text on one line",
        ))?;
    let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim_matches(' ');
    match verb.to_ascii_uppercase().as_str() {
        "EHLO" if rest.is_empty() => {
            Err(Answer::fixed("501 5.5.4 Give a name: EHLO client.example"))
        }
        "EHLO" => Ok(Command::Ehlo(rest)),
        "HELO" => Ok(Command::Helo(rest)),
        "MAIL" => mail(rest),
        "RCPT" => rcpt(rest),
        "DATA" => no_argument(rest, Command::Data),
        "BDAT" => bdat(rest),
        "AUTH" => auth(rest),
        "STARTTLS" => no_argument(rest, Command::StartTls),
        "RSET" => no_argument(rest, Command::Rset),
        "NOOP" | "HELP" => Ok(Command::Noop),
        "VRFY" | "EXPN" => Ok(Command::Verify),
        "QUIT" => no_argument(rest, Command::Quit),
        _ => Err(Answer::fixed(
            "500 5.5.1 Unknown command; this is SMTP submission (RFC 6409)",
        )),
    }
}

fn no_argument<'a>(rest: &str, command: Command<'a>) -> Result<Command<'a>, Answer> {
    if rest.is_empty() {
        Ok(command)
    } else {
        Err(Answer::fixed("501 5.5.4 This command takes no argument"))
    }
}

fn bdat(rest: &str) -> Result<Command<'_>, Answer> {
    const SYNTAX: Answer = Answer::fixed("501 5.5.4 Syntax: BDAT size [LAST]");
    let mut words = rest.split_ascii_whitespace();
    let size = words.next().ok_or(SYNTAX)?;
    let is_number = size.len() <= 18 && size.bytes().all(|b| b.is_ascii_digit());
    let size = size.parse().ok().filter(|_| is_number).ok_or(SYNTAX)?;
    let is_last = match words.next() {
        None => false,
        Some(word) if word.eq_ignore_ascii_case("LAST") => true,
        Some(_) => return Err(SYNTAX),
    };
    match words.next() {
        None => Ok(Command::Bdat { size, is_last }),
        Some(_) => Err(SYNTAX),
    }
}

fn auth(rest: &str) -> Result<Command<'_>, Answer> {
    let (mechanism, initial) = match rest.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial.trim_matches(' '))),
        None => (rest, None),
    };
    Ok(Command::Auth(mechanism.to_ascii_uppercase(), initial))
}

fn mail(rest: &str) -> Result<Command<'_>, Answer> {
    const SYNTAX: Answer = Answer::fixed("501 5.5.4 Syntax: MAIL FROM:<address> [parameters]");
    let (address, parameters) = path(rest, "FROM:").ok_or(SYNTAX)?;
    let mut mail = Mail {
        reverse_path: ReversePath::new(address).map_err(|e| bad_address("501 5.1.7", e))?,
        size: 0,
        is_eight_bit: false,
        is_smtputf8: false,
        requires_tls: false,
        returns: None,
        envelope_id: None,
    };
    for parameter in parameters.split_ascii_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match (
            name.to_ascii_uppercase().as_str(),
            value.to_ascii_uppercase().as_str(),
        ) {
            ("SIZE", size) if !size.is_empty() && size.bytes().all(|b| b.is_ascii_digit()) => {
                // More digits than a u64 holds is more than anybody takes.
                mail.size = size.parse().unwrap_or(u64::MAX);
            }
            ("BODY", "7BIT") => mail.is_eight_bit = false,
            ("BODY", "8BITMIME") => mail.is_eight_bit = true,
            ("SMTPUTF8", "") => mail.is_smtputf8 = true,
            ("REQUIRETLS", "") => mail.requires_tls = true,
            ("RET", "FULL") => mail.returns = Some(Returns::Full),
            ("RET", "HDRS") => mail.returns = Some(Returns::Headers),
            ("ENVID", _) if is_xtext(value, 100) => mail.envelope_id = Some(value.to_owned()),
            // RFC 4954, section 5: a server that trusts no other's identities ignores it.
            ("AUTH", _) if is_xtext(value, 500) => {}
            ("SIZE" | "BODY" | "SMTPUTF8" | "REQUIRETLS" | "RET" | "ENVID" | "AUTH", _) => {
                return Err(Answer::new(&format!("501 5.5.4 {name} has no such value")));
            }
            _ => {
                return Err(Answer::new(&format!(
                    "555 5.5.4 MAIL parameter {name} is unknown"
                )));
            }
        }
    }
    if mail.reverse_path.needs_smtputf8() && !mail.is_smtputf8 {
        return Err(NEEDS_UTF8);
    }
    Ok(Command::Mail(mail))
}

/// RFC 6531, section 3.5.
pub(super) const NEEDS_UTF8: Answer =
    Answer::fixed("553 5.6.7 This address needs the parameter SMTPUTF8 at MAIL FROM");

fn rcpt(rest: &str) -> Result<Command<'_>, Answer> {
    const SYNTAX: Answer = Answer::fixed("501 5.5.4 Syntax: RCPT TO:<address> [parameters]");
    let (address, parameters) = path(rest, "TO:").ok_or(SYNTAX)?;
    let path = ForwardPath::new(address).map_err(|e| bad_address("501 5.1.3", e))?;
    let needs_utf8 = path.needs_smtputf8();
    let mut recipient = Recipient {
        path,
        notify: None,
        original: None,
    };
    for parameter in parameters.split_ascii_whitespace() {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        match name.to_ascii_uppercase().as_str() {
            "NOTIFY" => recipient.notify = Some(notify(value)?),
            "ORCPT" if value.split_once(';').is_some_and(|(_, a)| is_xtext(a, 500)) => {
                recipient.original = Some(value.to_owned());
            }
            "ORCPT" => return Err(Answer::fixed("501 5.5.4 ORCPT has no such value")),
            _ => {
                return Err(Answer::new(&format!(
                    "555 5.5.4 RCPT parameter {name} is unknown"
                )));
            }
        }
    }
    Ok(Command::Rcpt(recipient, needs_utf8))
}

fn notify(value: &str) -> Result<Notify, Answer> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case("NEVER") {
        return Ok(notify);
    }
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return Err(Answer::fixed("501 5.5.4 NOTIFY has no such value")),
        }
    }
    Ok(notify)
}

fn bad_address(code: &str, error: AddressError) -> Answer {
    Answer::new(&format!("{code} The address is wrong: {error}"))
}

/// RFC 3461, section 4: printable ASCII without `=` and space.
fn is_xtext(text: &str, limit: usize) -> bool {
    (1..=limit).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'!'..=b'~') && b != b'=')
}

/// The address in the angle brackets after `keyword`, and what follows. A source route in front of
/// it is dropped, as RFC 5321, appendix C asks.
fn path<'a>(rest: &'a str, keyword: &str) -> Option<(&'a str, &'a str)> {
    let is_there = rest.get(..keyword.len())?.eq_ignore_ascii_case(keyword);
    // A space after the colon is wrong (RFC 5321, 3.3) and common.
    let bracketed = rest[keyword.len()..]
        .trim_start_matches(' ')
        .strip_prefix('<')?;
    let end = closing(bracketed)?;
    let (address, after) = (&bracketed[..end], &bracketed[end + 1..]);
    let address = match address
        .strip_prefix('@')
        .and_then(|route| route.split_once(':'))
    {
        Some((_, target)) => target,
        None => address,
    };
    (is_there && (after.is_empty() || after.starts_with(' '))).then_some((address, after))
}

/// Where the bracket closes: not inside a quoted local part.
fn closing(text: &str) -> Option<usize> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for (at, b) in text.bytes().enumerate() {
        match b {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            b'>' if !is_quoted => return Some(at),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn refusal(line: &str) -> String {
        parse(line.as_bytes()).unwrap_err().as_str()[..9].to_owned()
    }

    #[test]
    fn mail_is_read_with_every_parameter() {
        let line = "mail FROM:<\"a>b\\\"\"@x.example> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=hdrs ENVID=a+2B AUTH=<>";
        assert!(parse(line.replace("a>b", "ab").as_bytes()).is_ok());
        let Ok(Command::Mail(mail)) =
            parse(b"MAIL FROM: <@a.example,@b.example:u@x.example> size=7 ENVID=q RET=FULL")
        else {
            panic!("refused")
        };
        assert_eq!(mail.reverse_path.as_str(), "u@x.example");
        assert_eq!((mail.size, mail.returns), (7, Some(Returns::Full)));
        assert_eq!(mail.envelope_id.as_deref(), Some("q"));
        assert!(
            matches!(parse(b"MAIL FROM:<>"), Ok(Command::Mail(m)) if m.reverse_path == ReversePath::null())
        );
    }

    #[test]
    fn rcpt_is_read_with_its_notifications() {
        let Ok(Command::Rcpt(to, false)) =
            parse(b"RCPT TO:<a@b.example> NOTIFY=SUCCESS,delay ORCPT=rfc822;a@b.example")
        else {
            panic!("refused")
        };
        let notify = Notify {
            success: true,
            failure: false,
            delay: true,
        };
        assert_eq!(to.notify, Some(notify));
        assert_eq!(to.original.as_deref(), Some("rfc822;a@b.example"));
        assert!(matches!(
            parse("RCPT TO:<ü@b.example>".as_bytes()),
            Ok(Command::Rcpt(_, true))
        ));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (line, code) in [
            ("MAIL FROM:a@b.example", "501 5.5.4"),
            ("MAIL FROM:<a@b.example", "501 5.5.4"),
            ("MAIL FROM:<a b@c.example>", "501 5.1.7"),
            ("MAIL FROM:<a@b.example>SIZE=1", "501 5.5.4"),
            ("MAIL FROM:<a@b.example> SIZE=x", "501 5.5.4"),
            ("MAIL FROM:<a@b.example> BODY=BINARYMIME", "501 5.5.4"),
            ("MAIL FROM:<a@b.example> XFOO=1", "555 5.5.4"),
            ("MAIL FROM:<a@b.example> REQUIRETLS=1", "501 5.5.4"),
            ("MAIL FROM:<ü@b.example>", "553 5.6.7"),
            ("RCPT TO:<>", "501 5.1.3"),
            ("RCPT TO:<postmaster>", "501 5.1.3"),
            ("RCPT TO:<a@b.example> NOTIFY=NEVER,SUCCESS", "501 5.5.4"),
            ("BDAT", "501 5.5.4"),
            ("BDAT -1", "501 5.5.4"),
            ("BDAT 1 LATER", "501 5.5.4"),
            ("DATA now", "501 5.5.4"),
            ("EHLO", "501 5.5.4"),
            ("GET / HTTP/1.1", "500 5.5.1"),
            ("NOOP \0", "500 5.5.2"),
        ] {
            assert_eq!(refusal(line), code, "{line}");
        }
    }

    proptest! {
        /// Law: no line makes the parser panic, and no address it yields can split a command.
        #[test]
        fn law_commands_never_panic(line in "(MAIL FROM:|RCPT TO:|BDAT |AUTH |)[ -~ü\\x00-\\x1f]{0,40}") {
            match parse(line.as_bytes()) {
                Ok(Command::Rcpt(to, _)) => prop_assert!(!to.path.as_str().contains(['<', '>', ' '])),
                Ok(Command::Mail(m)) => prop_assert!(!m.reverse_path.as_str().contains(['<', '>', ' '])),
                Err(answer) => prop_assert!(answer.as_str().starts_with('5')),
                Ok(_) => {}
            }
        }
    }
}
