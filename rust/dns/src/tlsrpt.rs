//! Who wants reports about TLS (RFC 8460 section 3): the TXT record at `_smtp._tls.`.
//!
//! **Model.** A record is a list of addresses, `mailto:` and `https:`; others are skipped. Of several
//! records none counts. Commas, exclamation marks and semicolons inside an address are
//! percent-encoded, and undone here for `mailto:` (RFC 6068).
//! **Bounds.** [`MOST`] addresses.

/// Where a report goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rua {
    /// To a mailbox.
    Mailto(String),
    /// By POST to this URL.
    Https(String),
}

/// Addresses served; a longer list would make us send mail for somebody else.
const MOST: usize = 8;

/// The addresses of a domain's record; empty: it wants no reports.
#[must_use]
pub fn tlsrpt_rua<T: AsRef<str>>(texts: &[T]) -> Vec<Rua> {
    let mut ours = texts.iter().map(AsRef::as_ref).filter(|text| {
        let rest = text.strip_prefix("v=TLSRPTv1");
        rest.is_some_and(|rest| rest.trim_ascii_start().starts_with(';'))
    });
    let (Some(record), None) = (ours.next(), ours.next()) else {
        return Vec::new();
    };
    let list = record.split(';').skip(1).find_map(|field| {
        let (name, value) = field.split_once('=')?;
        (name.trim_ascii() == "rua").then_some(value)
    });
    let addresses = list.unwrap_or_default().split(',');
    addresses
        .filter_map(|uri| rua(uri.trim_ascii()))
        .take(MOST)
        .collect()
}

fn rua(uri: &str) -> Option<Rua> {
    if !uri.bytes().all(|b| b.is_ascii_graphic()) {
        return None;
    }
    let (scheme, rest) = uri.split_once(':')?;
    match scheme.to_ascii_lowercase().as_str() {
        "mailto" => {
            let address = percent_decoded(rest.split('?').next()?)?;
            let (local, domain) = address.rsplit_once('@')?;
            let is_mailbox = !local.is_empty()
                && !domain.is_empty()
                && address
                    .bytes()
                    .all(|b| b.is_ascii_graphic() && !b"<>,\"\\".contains(&b));
            is_mailbox.then_some(Rua::Mailto(address))
        }
        "https" => rest
            .strip_prefix("//")
            .is_some_and(|host| !host.is_empty() && !host.starts_with(['/', '?', '#']))
            .then(|| Rua::Https(format!("https:{rest}"))),
        _ => None,
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut octets = text.bytes();
    while let Some(octet) = octets.next() {
        if octet != b'%' {
            decoded.push(octet);
            continue;
        }
        let digit = |octet: Option<u8>| char::from(octet?).to_digit(16);
        let (high, low) = (digit(octets.next())?, digit(octets.next())?);
        decoded.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read() {
        let texts = ["v=TLSRPTv1; rua=mailto:tls%21a@example.com?subject=x, https://r.example/v1;"];
        let expected = [
            Rua::Mailto("tls!a@example.com".into()),
            Rua::Https("https://r.example/v1".into()),
        ];
        assert_eq!(tlsrpt_rua(&texts), expected);
    }

    #[test]
    fn what_is_no_address_is_skipped() {
        for text in [
            "v=TLSRPTv1;rua=mailto:nobody",
            "v=TLSRPTv1;rua=mailto:a%0D%0Ab@example.com",
            "v=TLSRPTv1;rua=mailto:a%2Cb@example.com",
            "v=TLSRPTv1;rua=http://example.com/",
            "v=TLSRPTv1;rua=https:///path",
            "v=TLSRPTv1;rua=mailto:%zz@example.com",
            "v=TLSRPTv1",
            "v=spf1 -all",
        ] {
            assert_eq!(tlsrpt_rua(&[text]), [], "{text}");
        }
        let one = "v=TLSRPTv1;rua=mailto:a@example.com";
        assert_eq!(tlsrpt_rua(&[one, one]), [], "of two records none counts");
    }

    proptest! {
        /// Law `no_address_has_a_line_break`: whatever the record, what comes out fits a header.
        #[test]
        fn law_no_address_has_a_line_break(rua in "(mailto:|https://)?[ -~]{0,40}(,mailto:[ -~]{0,20})?") {
            for found in tlsrpt_rua(&[format!("v=TLSRPTv1;rua={rua}")]) {
                let (Rua::Mailto(text) | Rua::Https(text)) = found;
                prop_assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{}", text);
            }
        }
    }
}
