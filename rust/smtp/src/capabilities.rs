//! What a receiver said it can do (RFC 5321, 4.1.1.1).
//!
//! **Model.** Only the first reply line is a greeting; each other line is a keyword with
//! parameters. Unknown keywords are ignored, and so are parameters nobody defined, such as those
//! some receivers put after SMTPUTF8 (RFC 6531 forbids them).

use crate::limits::Limits;
use crate::reply::Reply;

/// Extensions a receiver offers on this connection. Those seen before STARTTLS are forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// EHLO was understood; false after a fallback to HELO.
    pub extended: bool,
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870: SIZE may be declared.
    pub size: bool,
    /// RFC 1870: the largest message in octets; `None` when the receiver states no limit.
    pub size_limit: Option<u64>,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtp_utf8: bool,
    /// RFC 3207.
    pub starttls: bool,
    /// RFC 3030.
    pub chunking: bool,
    /// RFC 2034.
    pub enhanced_status_codes: bool,
    /// RFC 3461.
    pub dsn: bool,
    /// RFC 8689: it keeps a message that requires TLS on TLS.
    pub require_tls: bool,
    /// AUTH PLAIN (RFC 4954, RFC 4616).
    pub auth_plain: bool,
    /// AUTH LOGIN.
    pub auth_login: bool,
    /// RFC 9422.
    pub limits: Limits,
}

impl Capabilities {
    /// Reads the 250 reply to EHLO.
    #[must_use]
    pub fn from_ehlo(reply: &Reply) -> Self {
        let mut found = Self {
            extended: true,
            ..Self::default()
        };
        for line in reply.lines().skip(1) {
            found.read_keyword(line);
        }
        found
    }

    fn read_keyword(&mut self, line: &str) {
        let line = line.trim_ascii();
        let mut words = line.split_ascii_whitespace();
        let Some(keyword) = words.next() else { return };
        match keyword.to_ascii_uppercase().as_str() {
            "PIPELINING" => self.pipelining = true,
            "SIZE" => {
                self.size = true;
                // Zero means "no fixed maximum" (RFC 1870, section 4); junk means the same to us.
                self.size_limit = words.next().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
            }
            "8BITMIME" => self.eight_bit_mime = true,
            "SMTPUTF8" => self.smtp_utf8 = true,
            "STARTTLS" => self.starttls = true,
            "CHUNKING" => self.chunking = true,
            "DSN" => self.dsn = true,
            "REQUIRETLS" => self.require_tls = true,
            "AUTH" => words.for_each(|mechanism| self.read_mechanism(mechanism)),
            "LIMITS" => self.limits = Limits::parse(&line[keyword.len()..]),
            "ENHANCEDSTATUSCODES" => self.enhanced_status_codes = true,
            _ => {}
        }
    }

    fn read_mechanism(&mut self, name: &str) {
        self.auth_plain |= name.eq_ignore_ascii_case("PLAIN");
        self.auth_login |= name.eq_ignore_ascii_case("LOGIN");
    }
}
