//! What a sender wants to be told about a delivery (RFC 3461).
//!
//! **Model.** Parameters of MAIL (RET, ENVID) and of RCPT (NOTIFY, ORCPT), written only where DSN is
//! offered. Text of a sender's choosing becomes [`Xtext`] once, here.
//! **Invariant.** An [`Xtext`] holds neither a space nor a line break, so no parameter can be added.
//! **Law `law_xtext_inverts`.**

use std::fmt::Write;

/// The longest envelope identifier in characters before encoding (RFC 3461, 4.4).
const MOST_ENVELOPE_ID: usize = 100;
/// The longest original recipient in octets, its encoding included (RFC 3461, 4.2).
const MOST_ORIGINAL: usize = 500;

/// Text in the encoding of RFC 3461, section 4.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Xtext(Box<str>);

/// Why a text cannot be a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum XtextError {
    /// Only printable ASCII and spaces may be in it.
    #[error("character {0:?} is not printable ASCII")]
    Character(char),
    /// Nothing, or more than RFC 3461 allows.
    #[error("empty, or longer than RFC 3461 allows")]
    Length,
}

impl Xtext {
    /// ENVID: the sender's name for the envelope.
    ///
    /// # Errors
    /// [`XtextError`] when the text is empty, longer than 100 characters or not printable ASCII.
    pub fn envelope_id(text: &str) -> Result<Self, XtextError> {
        let encoded = Self::encode(text)?;
        check_length(text.len(), MOST_ENVELOPE_ID)?;
        Ok(encoded)
    }

    /// ORCPT: the address the sender first gave, of type rfc822.
    ///
    /// # Errors
    /// [`XtextError`] when the address is empty, too long or not printable ASCII.
    pub fn original_recipient(address: &str) -> Result<Self, XtextError> {
        let encoded = Self::encode(address)?.0;
        check_length(encoded.len(), MOST_ORIGINAL - "rfc822;".len())?;
        Ok(Self(format!("rfc822;{encoded}").into()))
    }

    /// ENVID as another has encoded it (RFC 3461, 4.4).
    ///
    /// # Errors
    /// [`XtextError`] when it is no xtext or too long.
    pub fn received(text: &str) -> Result<Self, XtextError> {
        check_length(text.len(), MOST_ENVELOPE_ID)?;
        check_encoded(text).map(|()| Self(text.into()))
    }

    /// ORCPT as another has encoded it: an address type and xtext (RFC 3461, 4.2).
    ///
    /// # Errors
    /// [`XtextError`] when it is none or too long.
    pub fn received_original(text: &str) -> Result<Self, XtextError> {
        let (kind, address) = text.split_once(';').ok_or(XtextError::Length)?;
        check_length(text.len(), MOST_ORIGINAL)?;
        check_length(kind.len().min(address.len()), MOST_ORIGINAL)?;
        if let Some(wrong) = kind
            .chars()
            .find(|c| !c.is_ascii_alphanumeric() && *c != '-')
        {
            return Err(XtextError::Character(wrong));
        }
        check_encoded(address).map(|()| Self(text.into()))
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn encode(text: &str) -> Result<Self, XtextError> {
        let mut encoded = String::with_capacity(text.len());
        for character in text.chars() {
            match character {
                '+' | '=' | ' ' => {
                    // Writing to a text cannot fail.
                    let _ = write!(encoded, "+{:02X}", character as u32);
                }
                '!'..='~' => encoded.push(character),
                other => return Err(XtextError::Character(other)),
            }
        }
        Ok(Self(encoded.into()))
    }
}

fn check_encoded(text: &str) -> Result<(), XtextError> {
    let wrong = text.chars().find(|c| !matches!(c, '!'..='~') || *c == '=');
    wrong.map_or(Ok(()), |c| Err(XtextError::Character(c)))
}

fn check_length(length: usize, most: usize) -> Result<(), XtextError> {
    if (1..=most).contains(&length) {
        Ok(())
    } else {
        Err(XtextError::Length)
    }
}

/// How much of the message a report brings back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// All of it.
    Full,
    /// Its header.
    Headers,
}

/// What a recipient's report is wanted for; nothing chosen is NEVER.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// Delivery.
    pub success: bool,
    /// Final failure.
    pub failure: bool,
    /// Delay.
    pub delay: bool,
}

/// The parameters of one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipientDsn {
    /// NOTIFY; `None`: the receiver's default, failure.
    pub notify: Option<Notify>,
    /// ORCPT, with its address type.
    pub original: Option<Xtext>,
}

/// The parameters of a transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dsn {
    /// RET.
    pub ret: Option<Return>,
    /// ENVID.
    pub envelope_id: Option<Xtext>,
    /// In the order of the recipients; those beyond its end have no parameter.
    pub recipients: Vec<RecipientDsn>,
}

impl Dsn {
    /// Appends the parameters of MAIL, each after a space.
    pub(crate) fn write_mail(&self, command: &mut impl Write) -> std::fmt::Result {
        match self.ret {
            Some(Return::Full) => command.write_str(" RET=FULL")?,
            Some(Return::Headers) => command.write_str(" RET=HDRS")?,
            None => {}
        }
        if let Some(id) = &self.envelope_id {
            write!(command, " ENVID={}", id.as_str())?;
        }
        Ok(())
    }

    /// Appends the parameters of one RCPT, each after a space.
    pub(crate) fn write_rcpt(&self, index: usize, command: &mut impl Write) -> std::fmt::Result {
        let Some(recipient) = self.recipients.get(index) else {
            return Ok(());
        };
        if let Some(notify) = recipient.notify {
            let wanted = [
                (notify.success, "SUCCESS"),
                (notify.failure, "FAILURE"),
                (notify.delay, "DELAY"),
            ];
            let wanted: Vec<&str> = wanted.iter().filter(|(is, _)| *is).map(|w| w.1).collect();
            let list = if wanted.is_empty() {
                "NEVER".to_owned()
            } else {
                wanted.join(",")
            };
            write!(command, " NOTIFY={list}")?;
        }
        if let Some(original) = &recipient.original {
            write!(command, " ORCPT={}", original.as_str())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(xtext: &str) -> String {
        let mut text = String::new();
        let mut rest = xtext;
        while let Some(at) = rest.find('+') {
            text.push_str(&rest[..at]);
            let code = u8::from_str_radix(&rest[at + 1..at + 3], 16).expect("two hex digits");
            text.push(char::from(code));
            rest = &rest[at + 3..];
        }
        text + rest
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let error = |text: &str| Xtext::envelope_id(text).unwrap_err();
        assert_eq!(error("a\r\nDATA"), XtextError::Character('\r'));
        assert_eq!(error("\u{fc}"), XtextError::Character('\u{fc}'));
        assert_eq!(error(""), XtextError::Length);
        assert_eq!(error(&"x".repeat(101)), XtextError::Length);
        assert_eq!(
            Xtext::original_recipient(&"+".repeat(165)).unwrap_err(),
            XtextError::Length
        );
    }

    #[test]
    fn parameters_are_written_as_the_rfc_says() {
        let dsn = Dsn {
            ret: Some(Return::Headers),
            envelope_id: Some(Xtext::envelope_id("a=1 +b").unwrap()),
            recipients: vec![
                RecipientDsn {
                    notify: Some(Notify {
                        success: true,
                        failure: true,
                        delay: false,
                    }),
                    original: Some(Xtext::original_recipient("a+b@x.test").unwrap()),
                },
                RecipientDsn {
                    notify: Some(Notify::default()),
                    original: None,
                },
            ],
        };
        let mut mail = String::new();
        dsn.write_mail(&mut mail).unwrap();
        assert_eq!(mail, " RET=HDRS ENVID=a+3D1+20+2Bb");
        let rcpt = |index| {
            let mut rcpt = String::new();
            dsn.write_rcpt(index, &mut rcpt).unwrap();
            rcpt
        };
        assert_eq!(rcpt(0), " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;a+2Bb@x.test");
        assert_eq!((rcpt(1).as_str(), rcpt(2).as_str()), (" NOTIFY=NEVER", ""));
    }

    #[test]
    fn what_came_from_others_is_passed_on_only_if_it_is_xtext() {
        for good in ["rfc822;a+2Bb@x.test", "utf-8;\\x{FC}@x.test"] {
            assert_eq!(Xtext::received_original(good).unwrap().as_str(), good);
        }
        for bad in [
            "a@x.test",
            "rfc822;",
            "rfc822;a b",
            "rfc 822;a",
            "rfc822;a=b",
            ";a",
        ] {
            assert!(Xtext::received_original(bad).is_err(), "{bad}");
        }
        assert!(Xtext::received("QQ314159").is_ok());
        assert!(Xtext::received("a\r\nRSET").is_err() && Xtext::received("").is_err());
    }

    proptest! {
        /// Law: decoding gives back the text, and no value can end the command or add to it.
        #[test]
        fn law_xtext_inverts(text in "[ -~]{1,100}") {
            let xtext = Xtext::envelope_id(&text).unwrap();
            prop_assert!(xtext.as_str().bytes().all(|b| b.is_ascii_graphic() && b != b'='));
            prop_assert_eq!(decode(xtext.as_str()), text);
        }
    }
}
