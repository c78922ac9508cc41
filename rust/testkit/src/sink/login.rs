//! AUTH PLAIN and LOGIN, as much of them as a client must be shown.

use std::sync::Arc;

/// Where an exchange stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Login {
    Plain,
    Username,
    /// The user name came.
    Password(Arc<[u8]>),
    /// No mechanism of ours.
    Unknown,
}

impl Login {
    /// By the argument of AUTH; and the initial response, if one came along.
    pub(super) fn begin(argument: &[u8]) -> (Self, Option<&[u8]>) {
        let mut words = argument.splitn(2, |octet| *octet == b' ');
        let login = match words.next() {
            Some(b"PLAIN") => Self::Plain,
            Some(b"LOGIN") => Self::Username,
            // Whatever it is answered is wrong.
            _ => return (Self::Unknown, Some(b"")),
        };
        (login, words.next())
    }

    pub(super) fn challenge(&self) -> &'static str {
        match self {
            Self::Username => "334 VXNlcm5hbWU6",
            Self::Password(_) => "334 UGFzc3dvcmQ6",
            Self::Plain | Self::Unknown => "334 ",
        }
    }

    /// Takes the client's line: what is asked next, or whether the login is right.
    pub(super) fn step(self, line: &[u8], wanted: Option<&(String, String)>) -> Result<Self, bool> {
        let (Some((user, password)), Some(octets)) = (wanted, decoded(line)) else {
            return Err(false);
        };
        match self {
            Self::Unknown => Err(false),
            Self::Plain => Err(octets == format!("\0{user}\0{password}").as_bytes()),
            Self::Username => Ok(Self::Password(octets.into())),
            Self::Password(name) => Err(*name == *user.as_bytes() && octets == password.as_bytes()),
        }
    }
}

/// Base64 (RFC 4648 section 4); `None`: it is none.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let digits = text.strip_suffix(b"==").or(text.strip_suffix(b"="));
    let (mut bits, mut count, mut octets) = (0u32, 0, Vec::new());
    for digit in digits.unwrap_or(text) {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            octets.push((bits >> count & 0xff) as u8);
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_are_told_right_from_wrong() {
        let wanted = ("user".to_owned(), "p\u{e4}ss".to_owned());
        let step = |login: Login, line: &[u8]| login.step(line, Some(&wanted));
        let (plain, line) = Login::begin(b"PLAIN AHVzZXIAcMOkc3M=");
        assert_eq!(step(plain, line.unwrap_or_default()), Err(true));
        assert_eq!(step(Login::Plain, b"AHVzZXIAeA=="), Err(false));
        assert_eq!(step(Login::Plain, b"not base64"), Err(false));
        let (login, none) = Login::begin(b"LOGIN");
        assert_eq!(none, None);
        let Ok(asked) = step(login, b"dXNlcg==") else {
            panic!("the password is asked for");
        };
        assert_eq!(step(asked.clone(), b"cMOkc3M="), Err(true));
        assert_eq!(step(asked, b"eA=="), Err(false));
        let (other, line) = Login::begin(b"XOAUTH2 x");
        assert_eq!(step(other, line.unwrap_or_default()), Err(false));
    }
}
