//! A message that came whole: it leaves as it is but for what the policy and the receiver ask.
//!
//! **Model.** Beside the octets stands the list of the names their header fields are meant to have,
//! kept by what is asked and not by what was written, so that one can be held against the other.

use bytes::Bytes;
use postalynk_dkim::HeaderField;
use postalynk_mime::{Header, NotSevenBit, to_seven_bit};

use crate::route::HeaderOp;

/// See the module.
pub(crate) struct Raw<'a> {
    octets: Bytes,
    names: Vec<&'a [u8]>,
}

impl<'a> Raw<'a> {
    /// With the policy's operations applied: added fields go in front, set and removed ones out.
    ///
    /// # Errors
    /// In words: a header that is none.
    pub(crate) fn new(raw: &'a Bytes, ops: &'a [HeaderOp]) -> Result<Self, String> {
        let (fields, body) = postalynk_dkim::split(raw).map_err(|error| error.to_string())?;
        let kept = || fields.iter().filter(|field| !is_dropped(field, ops));
        let added = || ops.iter().filter_map(added);
        let names = added().map(|(name, _)| name.as_bytes());
        Ok(Self {
            names: names.chain(kept().map(HeaderField::name)).collect(),
            octets: if ops.is_empty() {
                raw.clone()
            } else {
                edited(added(), kept(), body)
            },
        })
    }

    pub(crate) fn octets(&self) -> &Bytes {
        &self.octets
    }

    /// The names of the header fields that are meant to be there, in order.
    pub(crate) fn field_names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.names.iter().copied()
    }

    /// Takes out 8-bit octets by encoding the parts they are in.
    ///
    /// # Errors
    /// [`NotSevenBit`]: it is as it was.
    pub(crate) fn re_encode(&mut self) -> Result<(), NotSevenBit> {
        if self.octets.is_ascii() {
            return Ok(());
        }
        let encoded = to_seven_bit(&self.octets)?;
        self.octets = Bytes::from(encoded.bytes);
        let added = encoded.added_fields.iter().map(|name| name.as_bytes());
        self.names.extend(added);
        Ok(())
    }
}

fn is_dropped(field: &HeaderField<'_>, ops: &[HeaderOp]) -> bool {
    ops.iter().any(|op| match op {
        HeaderOp::Set(name, _) | HeaderOp::Remove(name) => {
            field.name().eq_ignore_ascii_case(name.as_bytes())
        }
        HeaderOp::Add(..) => false,
    })
}

/// What an operation adds, if it is allowed and needs neither encoding nor folding: printable ASCII
/// on one line.
fn added(op: &HeaderOp) -> Option<(&str, &str)> {
    let (HeaderOp::Set(name, value) | HeaderOp::Add(name, value)) = op else {
        return None;
    };
    let is_plain = value.len() < 900
        && value.bytes().all(|b| (b' '..=b'~').contains(&b))
        && Header::new(name, value).is_ok();
    is_plain.then_some((name, value))
}

fn edited<'o, 'f, 'm: 'f>(
    added: impl Iterator<Item = (&'o str, &'o str)>,
    kept: impl Iterator<Item = &'f HeaderField<'m>>,
    body: &[u8],
) -> Bytes {
    let mut octets = Vec::with_capacity(body.len() + 4_096);
    for (name, value) in added {
        octets.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    for field in kept {
        octets.extend_from_slice(field.name());
        octets.push(b':');
        octets.extend_from_slice(field.value());
        octets.extend_from_slice(b"\r\n");
    }
    octets.extend_from_slice(b"\r\n");
    octets.extend_from_slice(body);
    octets.into()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]
mod tests {
    use super::*;
    use postalynk_mime::check_fields;

    fn set(name: &str, value: &str) -> HeaderOp {
        HeaderOp::Set(name.to_owned(), value.to_owned())
    }

    #[test]
    fn operations_change_what_they_name_and_nothing_else() {
        let message =
            Bytes::from_static(b"From: a@b.example\r\nX-A: 1\r\nx-a: 2\r\nX-B: 3\r\n\r\nHi\r\n");
        let ops = [
            set("X-A", "9"),
            HeaderOp::Remove("X-B".to_owned()),
            set("X-C", "a\r\nBcc: x"),
        ];
        let raw = Raw::new(&message, &ops).unwrap();
        assert_eq!(
            &raw.octets()[..],
            b"X-A: 9\r\nFrom: a@b.example\r\n\r\nHi\r\n"
        );
        assert_eq!(check_fields(&[raw.octets()], raw.field_names()), Ok(()));
    }

    /// However a raw message is made, it leaves as it was or with what was asked, or not at all.
    #[test]
    fn fuzz_pass_on() {
        let iterations = std::env::var("BOLERO_RANDOM_ITERATIONS").ok();
        bolero::check!()
            .with_iterations(iterations.and_then(|n| n.parse().ok()).unwrap_or(3_000))
            .with_type::<(Vec<u8>, String, Vec<u8>)>()
            .for_each(|(head, value, body)| {
                let near = [
                    b"From: a@b.example\r\nX-B: ",
                    value.as_bytes(),
                    b"\r\n",
                    head,
                    b"\r\n\r\n",
                    body,
                ];
                let ops = [
                    set("X-A", value),
                    set(value, "x"),
                    HeaderOp::Remove("X-B".to_owned()),
                ];
                for message in [near.concat(), head.clone()].map(Bytes::from) {
                    for ops in [&ops[..], &[]] {
                        let Ok(mut raw) = Raw::new(&message, ops) else {
                            continue;
                        };
                        if ops.is_empty() {
                            assert_eq!(raw.octets(), &message);
                        }
                        // A bare line end may show another field than the one signed; such a message
                        // is refused when its content is checked.
                        let is_sound = postalynk_dkim::check_line_ends(&message).is_ok();
                        for _ in 0..2 {
                            if is_sound {
                                assert_eq!(
                                    check_fields(&[raw.octets()], raw.field_names()),
                                    Ok(())
                                );
                            }
                            if raw.re_encode().is_ok() {
                                assert!(raw.octets().is_ascii());
                            }
                        }
                    }
                }
            });
    }
}
