//! A message becomes its record and its ACCEPTED event: the fast pass.
//!
//! **Problem.** What a message must be is known above, where every case is told apart and every
//! refusal finds its words; but at thousands of messages a second only the plain case has time.
//! **Model.** [`judge`] takes a message that is plainly in order. Of every other it says nothing
//! (`None`): the pass above looks at it and answers, be it with a refusal or because it reads
//! forms this one does not.
//! **Invariant.** What is taken here would be taken above, and gives the same record and event:
//! `tests/property/test_submission_passes_agree.py`.
//! **Not here.** Idempotency keys, the policy's `accept`, every refusal.

use crate::desk::Message;
use crate::rules::{Organization, Rules};
use crate::shown::{Mailbox, clean, decoded, mailboxes, read_words};
use bytes::{Bytes, BytesMut};
use postalynk_mime::{parse_address, parse_mailbox};
use postalynk_record::v1::{
    self, Accepted, Dsn, Event, Kind, Lane, Notify, Recipient, Return, Tag, message::Content,
};
use postalynk_record::{MessageId, Record, encode, of_message};
use postalynk_smtp::server::Returns;
use std::collections::HashSet;
use std::fmt::Write;
use std::net::IpAddr;

/// Mailboxes of a field that a projection shows.
const MAX_SHOWN: usize = 50;
/// Characters of a header field; RFC 5322, 2.1.1.
const MAX_LINE: usize = 998;
const MAX_NAME: usize = 256;
const MAX_TAGS: usize = 50;

/// A message that is in order, ready for the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// Its identity.
    pub id: MessageId,
    /// Where its record goes.
    pub lane: Lane,
    /// Partition of both.
    pub partition: u32,
    /// For the lane's topic.
    pub record: Bytes,
    /// For `email.events`.
    pub event: Bytes,
}

/// The record and event of a message that is plainly in order, under the id given.
#[must_use]
pub fn judge(message: &Message, rules: &Rules, now_us: u64, id: MessageId) -> Option<Judged> {
    let (account, head) = (&message.account, &message.head);
    let organization = rules.organizations.get(&account.org)?;
    let is_known = account.key.is_empty() || rules.keys.contains(&account.key);
    if !is_known || !head.idempotency_key.is_empty() {
        return None;
    }
    let lane = lane(&head.priority)?;
    let parts = Parts {
        reverse_path: reverse_path(message, rules)?,
        sender: sender(message, rules)?,
        recipients: recipients(message)?,
        to: mailboxes(&head.to, MAX_SHOWN)?,
        cc: mailboxes(&head.cc, MAX_SHOWN)?,
        reply_to: mailboxes(&head.reply_to, MAX_SHOWN)?,
        subject: cut(decoded(&head.subject)?),
        tags: tags(&head.tags)?,
        lane,
        id,
        now_us,
    };
    let header_id = if head.message_id.is_empty() {
        format!("{id}@{}", parts.sender.domain)
    } else {
        head.message_id.clone()
    };
    let raw = whole(message, &rules.host, &header_id, &parts)?;
    let header_id = cut(clean(&header_id));
    let event = parts.event(message, raw.len(), header_id.clone());
    let first = parts.recipients.first().map_or("", |first| &first.address);
    let partition = of_message(&account.org, organization.salt, first, rules.partitions);
    let record = parts.record(message, organization, raw, header_id);
    Some(Judged {
        id,
        lane,
        partition,
        // More recipients than a record may have are refused above.
        record: Record::encode(record).ok()?.raw().clone(),
        event: encode(&event),
    })
}

/// What was read of a message.
struct Parts {
    id: MessageId,
    now_us: u64,
    lane: Lane,
    reverse_path: String,
    sender: Sender,
    recipients: Vec<Recipient>,
    to: Vec<Mailbox>,
    cc: Vec<Mailbox>,
    reply_to: Vec<Mailbox>,
    subject: String,
    tags: Vec<Tag>,
}

struct Sender {
    mailbox: Mailbox,
    domain: String,
    is_signing: bool,
}

impl Parts {
    fn event(&self, message: &Message, size: usize, message_id_header: String) -> Event {
        let shown = |list: &[Mailbox]| list.iter().map(Mailbox::shown).collect();
        let named = self.to.iter().chain(&self.cc);
        let named: HashSet<String> = named.map(|m| m.address.to_lowercase()).collect();
        let addresses = || self.recipients.iter().map(|r| &r.address);
        let hidden = addresses().filter(|address| !named.contains(&address.to_lowercase()));
        Event {
            message_id: Bytes::copy_from_slice(self.id.as_bytes()),
            org: message.account.org.clone(),
            kind: Kind::Accepted.into(),
            at_us: self.now_us,
            lane: self.lane.into(),
            accepted: Some(Accepted {
                from: self.sender.mailbox.shown(),
                to: shown(&self.to),
                cc: shown(&self.cc),
                bcc: hidden.cloned().collect(),
                reply_to: shown(&self.reply_to),
                subject: self.subject.clone(),
                tags: self.tags.clone(),
                size_bytes: u32::try_from(size).unwrap_or(u32::MAX),
                recipients: addresses().cloned().collect(),
                expires_at_us: 0,
                message_id_header,
            }),
            ..Event::default()
        }
    }

    fn record(
        self,
        message: &Message,
        organization: &Organization,
        raw: Bytes,
        message_id: String,
    ) -> v1::Message {
        let envelope = &message.envelope;
        let envelope_id = envelope.envelope_id.clone().unwrap_or_default();
        let is_asked = envelope.returns.is_some() || !envelope_id.is_empty();
        let dsn = is_asked.then(|| Dsn {
            ret: match envelope.returns {
                None => Return::Unspecified,
                Some(Returns::Full) => Return::Full,
                Some(Returns::Headers) => Return::Headers,
            }
            .into(),
            envelope_id,
        });
        v1::Message {
            id: Bytes::copy_from_slice(self.id.as_bytes()),
            org: message.account.org.clone(),
            accepted_at_us: self.now_us,
            lane: self.lane.into(),
            reverse_path: self.reverse_path,
            recipients: self.recipients,
            content: Some(Content::Raw(raw)),
            message_id,
            tags: self.tags,
            dkim_domain: if self.sender.is_signing {
                self.sender.domain
            } else {
                String::new()
            },
            plan: organization.plan.clone(),
            in_doubt: organization.in_doubt.into(),
            dsn,
            require_tls: envelope.requires_tls,
            tls_optional: message.head.is_tls_optional,
            ..v1::Message::default()
        }
    }
}

fn lane(priority: &str) -> Option<Lane> {
    match priority {
        "" => Some(Lane::Normal),
        given if given.eq_ignore_ascii_case("normal") => Some(Lane::Normal),
        given if given.eq_ignore_ascii_case("high") => Some(Lane::High),
        given if given.eq_ignore_ascii_case("bulk") => Some(Lane::Bulk),
        _ => None,
    }
}

/// Whether nothing in it may be read as more than it says, encoded or not.
fn is_innocent(text: &str) -> bool {
    let is_odd = |ch: char| ch.is_control() || matches!(ch, '\u{2028}' | '\u{2029}');
    !text.contains("%0") && !text.contains(is_odd)
}

/// MAIL FROM in its normal form: the null path, or of a domain of the organization.
fn reverse_path(message: &Message, rules: &Rules) -> Option<String> {
    let given = message.envelope.reverse_path.as_str();
    if given.is_empty() {
        return Some(String::new());
    }
    if given.contains("=?") || !is_innocent(given) {
        return None;
    }
    let address = parse_address(given).ok()?;
    let domain = rules.domains.get(address.domain())?;
    (domain.org == message.account.org).then(|| address.as_str().to_owned())
}

fn sender(message: &Message, rules: &Rules) -> Option<Sender> {
    let text = message.head.from.replace('\t', " ");
    // A parenthesis may begin a name after the address, as cron writes it.
    if text.contains('(') || text.len() > MAX_NAME || !is_innocent(&text) {
        return None;
    }
    let mailbox = parse_mailbox(&text).ok()?;
    let address = mailbox.address();
    if address.as_str().contains("=?") {
        return None;
    }
    // A control character within an encoded word is refused above, or shown as a space.
    let name = read_words(mailbox.name()).filter(|name| is_innocent(name))?;
    let domain = rules.domains.get(address.domain())?;
    (domain.org == message.account.org).then(|| Sender {
        mailbox: Mailbox {
            name,
            address: address.as_str().to_owned(),
        },
        domain: address.domain().to_owned(),
        is_signing: domain.is_signing,
    })
}

/// Each address once; what the first asked for counts.
fn recipients(message: &Message) -> Option<Vec<Recipient>> {
    let given = &message.envelope.recipients;
    let mut seen = HashSet::with_capacity(given.len());
    let mut found = Vec::with_capacity(given.len());
    for recipient in given {
        let address = parse_address(recipient.path.as_str()).ok()?;
        // How letters fold beyond ASCII is decided above.
        if !address.as_str().is_ascii() {
            return None;
        }
        if seen.insert(address.as_str().to_owned()) {
            found.push(Recipient {
                address: address.as_str().to_owned(),
                notify: recipient.notify.map(|notify| Notify {
                    success: notify.success,
                    failure: notify.failure,
                    delay: notify.delay,
                }),
                orcpt: recipient.original.clone().unwrap_or_default(),
            });
        }
    }
    Some(found)
}

fn tags(given: &[String]) -> Option<Vec<Tag>> {
    if given.len() > MAX_TAGS {
        return None;
    }
    let mut names = HashSet::new();
    let is_tag = |text: &str| {
        let is_sign = |ch: u8| ch.is_ascii_alphanumeric() || matches!(ch, b'-' | b'_');
        (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_sign)
    };
    let tag = |text: &String| {
        let (name, value) = text.split_once('=')?;
        let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
        let is_fine = is_tag(&name) && is_tag(&value) && names.insert(name.clone());
        is_fine.then_some(Tag { name, value })
    };
    given.iter().map(tag).collect()
}

/// At most as many characters as a line may have.
fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_LINE) {
        Some((at, _)) => text[..at].to_owned(),
        None => text,
    }
}

/// The message with Received (RFC 5321, 4.4) and the fields it lacks (RFC 6409, 8.2 and 8.3).
///
/// No FOR clause: it could show a Bcc recipient to the others (RFC 5321, 7.6).
fn whole(message: &Message, host: &str, header_id: &str, parts: &Parts) -> Option<Bytes> {
    let (origin, head) = (&message.origin, &message.head);
    let seconds = i64::try_from(parts.now_us / 1_000_000).ok()?;
    let date = jiff::Timestamp::from_second(seconds).ok()?;
    let date = date.strftime("%a, %d %b %Y %H:%M:%S +0000");
    let literal = match origin.ip {
        IpAddr::V4(ip) => format!("[{ip}]"),
        IpAddr::V6(ip) => format!("[IPv6:{ip}]"),
    };
    let name = if origin.name.is_empty() {
        &literal
    } else {
        &origin.name
    };
    let (protocol, id) = (&origin.protocol, parts.id);
    let mut front = String::with_capacity(512);
    write!(
        front,
        "Received: from {name} ({literal})\r\n\tby {host} with {protocol} id {id};\r\n\t{date}\r\n"
    )
    .ok()?;
    if head.message_id.is_empty() {
        write!(front, "Message-ID: <{header_id}>\r\n").ok()?;
    }
    if !head.has_date {
        write!(front, "Date: {date}\r\n").ok()?;
    }
    let mut raw = BytesMut::with_capacity(front.len() + head.raw.len());
    raw.extend_from_slice(front.as_bytes());
    raw.extend_from_slice(&head.raw);
    Some(raw.freeze())
}
