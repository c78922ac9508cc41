//! Composing and signing: everything about a message that costs CPU, on threads of its own.
//!
//! **Model.** Paths ask ahead for as many messages as their connections can take next; workers
//! compose (mime) and sign (dkim) them and hand them back in small batches, one wake-up for
//! several. A signature of RSA-2048 is most of the CPU of a message, so a batch is handed over
//! after a few milliseconds even when more is to be done.
//! **Sharing.** Recipients of one message on one path that took the same route get the same octets:
//! they are composed and signed once and leave in one transaction.
//! **Invariant.** What comes back is fit for the wire: checked content, checked envelope.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use crossbeam_channel::Receiver;
use postalynk_dkim::{
    BodyHash, Canonicalization, Domain, Hashed, HeaderField, Key, MessageSigner, Selector, Signer,
};
use postalynk_mime::{Draft, Header, Origin};
use postalynk_record::v1::{self, message::Content as Kind};
use postalynk_smtp::{Content, ForwardPath, ReversePath};
use postalynk_template::Shelf;
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;
use crate::error::EngineError;
use crate::late::Late;
use crate::route::{HeaderOp, Job};
use crate::shard::ToShard;
use crate::shared::Shared;

/// A DKIM key as it is given.
#[derive(Clone)]
pub struct SignerKey {
    /// `d=`.
    pub domain: String,
    /// `s=`.
    pub selector: String,
    /// `rsa` or `ed25519`.
    pub algorithm: String,
    /// The private key, PKCS#8 DER.
    pub pkcs8_der: Vec<u8>,
}

/// All keys, parsed.
#[derive(Default)]
pub(crate) struct Signers {
    by_domain: HashMap<String, Vec<Signer>>,
}

impl Signers {
    pub(crate) fn new(keys: &[SignerKey]) -> Result<Self, EngineError> {
        let mut by_domain: HashMap<String, Vec<Signer>> = HashMap::new();
        for key in keys {
            let signer = key.parse().map_err(|cause| EngineError::Signer {
                domain: key.domain.clone(),
                selector: key.selector.clone(),
                cause,
            })?;
            by_domain
                .entry(signer.domain().as_str().to_owned())
                .or_default()
                .push(signer);
        }
        Ok(Self { by_domain })
    }

    fn of(&self, domain: &str) -> &[Signer] {
        self.by_domain.get(domain).map_or(&[], Vec::as_slice)
    }
}

impl SignerKey {
    fn parse(&self) -> Result<Signer, String> {
        let key = match self.algorithm.as_str() {
            "rsa" => Key::rsa_from_pkcs8_der(&self.pkcs8_der),
            "ed25519" => Key::ed25519_from_pkcs8_der(&self.pkcs8_der),
            other => return Err(format!("algorithm {other:?} is neither rsa nor ed25519")),
        };
        let signer = || {
            Ok(Signer::new(
                Domain::new(&self.domain)?,
                Selector::new(&self.selector)?,
                key?,
            ))
        };
        signer().map_err(|error: postalynk_dkim::Error| error.to_string())
    }
}

/// A message ready for a connection, with those of its recipients that share the transaction.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) reverse_path: ReversePath,
    /// At least one.
    pub(crate) recipients: Vec<Addressed>,
    pub(crate) content: Content,
    /// How often a connection was lost before it answered MAIL.
    pub(crate) requeued: u32,
}

/// One delivery and its RCPT TO.
#[derive(Debug)]
pub(crate) struct Addressed {
    pub(crate) job: Job,
    pub(crate) address: ForwardPath,
}

impl Mail {
    /// Keeps the first `at` recipients; the others leave in a transaction of their own.
    pub(crate) fn split_off(&mut self, at: usize) -> Box<Self> {
        Box::new(Self {
            reverse_path: self.reverse_path.clone(),
            recipients: self.recipients.split_off(at),
            content: self.content.clone(),
            requeued: self.requeued,
        })
    }

    pub(crate) fn into_jobs(self) -> impl Iterator<Item = Job> {
        self.recipients.into_iter().map(|to| to.job)
    }
}

/// Jobs for the pool that differ in nothing but the recipient, and where they go back to.
pub(crate) struct ToPrepare {
    pub(crate) jobs: Vec<Job>,
    pub(crate) shard: usize,
    pub(crate) path: u32,
    /// Its place among those of the path.
    pub(crate) place: u64,
}

/// What comes back.
pub(crate) struct Prepared {
    pub(crate) path: u32,
    pub(crate) place: u64,
    /// `None`: nothing can be sent.
    pub(crate) mail: Option<Box<Mail>>,
    pub(crate) unfit: Vec<(Job, Unfit)>,
}

/// Why a message cannot be sent as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// It can never be.
    Content(String),
    /// Its domain's key is not here (yet).
    NoKey(String),
}

/// Messages handed back at once.
const BATCH: usize = 8;
const LONGEST_BATCH: Duration = Duration::from_millis(3);

/// One worker of the pool; ends when all shards are gone.
pub(crate) fn work(
    shared: &Shared,
    jobs: &Receiver<ToPrepare>,
    shards: &[UnboundedSender<ToShard>],
) {
    let mut back: Vec<Vec<Prepared>> = shards.iter().map(|_| Vec::new()).collect();
    let mut shelf = Shelf::default();
    while let Ok(first) = jobs.recv() {
        let began_at = clock::now();
        let signers = Arc::clone(&shared.signers.read());
        let mut next = Some(first);
        let mut count = 0;
        while let Some(ToPrepare {
            jobs: group,
            shard,
            path,
            place,
        }) = next
        {
            let (mail, unfit) = prepare(group, &signers, &mut shelf);
            back[shard].push(Prepared {
                path,
                place,
                mail,
                unfit,
            });
            count += 1;
            let is_over = count == BATCH || clock::now() - began_at >= LONGEST_BATCH;
            next = if is_over { None } else { jobs.try_recv().ok() };
        }
        for (shard, batch) in back
            .iter_mut()
            .enumerate()
            .filter(|(_, batch)| !batch.is_empty())
        {
            // A shard that is gone has stopped: its jobs stay in the log.
            let _ = shards[shard].send(ToShard::Prepared(std::mem::take(batch)));
        }
    }
}

fn prepare(
    jobs: Vec<Job>,
    signers: &Signers,
    shelf: &mut Shelf,
) -> (Option<Box<Mail>>, Vec<(Job, Unfit)>) {
    let (recipients, mut unfit) = address(jobs);
    let Some(first) = recipients.first() else {
        return (None, unfit);
    };
    let now_s = clock::wall_us() / 1_000_000;
    let (message, ops) = (first.job.delivery.message(), &first.job.route.headers);
    let signers = signers.of(&message.dkim_domain);
    let made = if signers.is_empty() && !message.dkim_domain.is_empty() {
        let reason = format!("no DKIM key for {} is loaded", message.dkim_domain);
        Err(Unfit::NoKey(reason))
    } else {
        // A bug in composing must cost its message, not the worker and all others.
        let making = AssertUnwindSafe(|| make(message, ops, (signers, now_s), shelf));
        catch_unwind(making)
            .unwrap_or_else(|_| Err("composing the message crashed".to_owned()))
            .map_err(Unfit::Content)
    };
    match made {
        Ok((reverse_path, content)) => {
            let mail = Mail {
                reverse_path,
                recipients,
                content,
                requeued: 0,
            };
            (Some(Box::new(mail)), unfit)
        }
        Err(reason) => {
            let jobs = recipients.into_iter().map(|to| to.job);
            unfit.extend(jobs.map(|job| (job, reason.clone())));
            (None, unfit)
        }
    }
}

/// An address that no RCPT can hold costs only itself.
fn address(jobs: Vec<Job>) -> (Vec<Addressed>, Vec<(Job, Unfit)>) {
    let mut recipients = Vec::with_capacity(jobs.len());
    let mut unfit = Vec::new();
    for job in jobs {
        match ForwardPath::new(job.delivery.address()) {
            Ok(address) => recipients.push(Addressed { job, address }),
            Err(error) => unfit.push((job, Unfit::Content(format!("RCPT TO: {error}")))),
        }
    }
    (recipients, unfit)
}

fn make(
    message: &v1::Message,
    ops: &[HeaderOp],
    signing: (&[Signer], u64),
    shelf: &mut Shelf,
) -> Result<(ReversePath, Content), String> {
    let reverse_path =
        ReversePath::new(&message.reverse_path).map_err(|e| format!("MAIL FROM: {e}"))?;
    let mut segments = match &message.content {
        Some(Kind::Composed(composed)) => compose(message, composed, ops, signing, shelf)?,
        Some(Kind::Raw(raw)) => pass_on(raw, ops, signing)?,
        None => return Err("the message has no content".to_owned()),
    };
    segments.retain(|segment| !segment.is_empty());
    let content = Content::new(segments).map_err(|error| error.to_string())?;
    Ok((reverse_path, content))
}

/// Writes and signs a message from its parts.
fn compose(
    message: &v1::Message,
    composed: &v1::Composed,
    ops: &[HeaderOp],
    (signers, now_s): (&[Signer], u64),
    shelf: &mut Shelf,
) -> Result<Vec<Bytes>, String> {
    let late = Late::of(composed, shelf)?;
    let draft = draft(message, composed, &late, ops).map_err(|error| error.to_string())?;
    let written = draft.compose();
    // Collecting results would grow the list step by step, for a result may end it early.
    let mut fields = Vec::with_capacity(written.fields.len());
    for (name, field) in written.fields() {
        fields.push(HeaderField::new(field, name).map_err(|error| error.to_string())?);
    }
    let mut segments = match u64::from(composed.dkim_expires_s) {
        0 => sign(&fields, written.body(), (signers, now_s))?,
        seconds => {
            let expiring = |signer: &Signer| signer.clone().expires_after_s(seconds);
            let signers: Vec<Signer> = signers.iter().map(expiring).collect();
            sign(&fields, written.body(), (&signers, now_s))?
        }
    };
    segments.push(Bytes::from(written.bytes));
    Ok(segments)
}

fn draft<'a>(
    message: &'a v1::Message,
    composed: &'a v1::Composed,
    late: &'a Late,
    ops: &'a [HeaderOp],
) -> Result<Draft<'a>, postalynk_mime::Error> {
    let from = composed.from.as_ref();
    let mut draft = Draft::new(Origin {
        from_name: from.map_or("", |from| &from.name),
        from_address: from.map_or("", |from| &from.address),
        message_id: &message.message_id,
        date_s: message.accepted_at_us / 1_000_000,
        // The same message composes to the same octets on every attempt.
        seed: xxhash_rust::xxh3::xxh3_64(&message.id),
    })?;
    for mailbox in &composed.reply_to {
        draft.reply_to(&mailbox.name, &mailbox.address)?;
    }
    for mailbox in &composed.to {
        draft.to(&mailbox.name, &mailbox.address)?;
    }
    for mailbox in &composed.cc {
        draft.cc(&mailbox.name, &mailbox.address)?;
    }
    draft.subject(late.subject(composed))?;
    let (text, html) = (late.text(composed), late.html(composed));
    if !text.is_empty() {
        draft.text(text)?;
    }
    if !html.is_empty() {
        draft.html(html)?;
    }
    if !composed.no_plain_text {
        draft.auto_text();
    }
    if let Some(calendar) = &composed.calendar {
        draft.calendar(&calendar.method, &calendar.object)?;
    }
    for (name, value) in custom_headers(late.headers(composed), ops) {
        draft.header(name, value)?;
    }
    for a in &composed.attachments {
        draft.attach(&a.filename, &a.content_type, &a.content_id, &a.content)?;
    }
    Ok(draft)
}

/// The message's own headers with the policy's operations applied. An operation that is not allowed
/// is left out: a policy that errs costs no message (G4).
fn custom_headers<'a>(
    mut headers: Vec<(&'a str, &'a str)>,
    ops: &'a [HeaderOp],
) -> Vec<(&'a str, &'a str)> {
    for op in ops {
        if let HeaderOp::Set(name, _) | HeaderOp::Remove(name) = op {
            headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        }
        if let HeaderOp::Set(name, value) | HeaderOp::Add(name, value) = op
            && Header::new(name, value).is_ok()
        {
            headers.push((name, value));
        }
    }
    headers
}

/// Signs a raw message; added headers go in front, and set and removed ones out of it.
fn pass_on(raw: &Bytes, ops: &[HeaderOp], signing: (&[Signer], u64)) -> Result<Vec<Bytes>, String> {
    let raw = if ops.is_empty() {
        raw.clone()
    } else {
        edit(raw, ops)?
    };
    let (fields, body) = postalynk_dkim::split(&raw).map_err(|error| error.to_string())?;
    let mut segments = sign(&fields, body, signing)?;
    segments.push(raw);
    Ok(segments)
}

fn edit(raw: &Bytes, ops: &[HeaderOp]) -> Result<Bytes, String> {
    let (fields, body) = postalynk_dkim::split(raw).map_err(|error| error.to_string())?;
    let is_dropped = |field: &HeaderField<'_>| {
        ops.iter().any(|op| match op {
            HeaderOp::Set(name, _) | HeaderOp::Remove(name) => {
                field.name().eq_ignore_ascii_case(name.as_bytes())
            }
            HeaderOp::Add(..) => false,
        })
    };
    let mut edited = Vec::with_capacity(raw.len() + 256);
    for op in ops {
        if let HeaderOp::Set(name, value) | HeaderOp::Add(name, value) = op
            // Printable ASCII on one line needs neither encoding nor folding.
            && value.len() < 900
            && value.bytes().all(|b| (b' '..=b'~').contains(&b))
            && Header::new(name, value).is_ok()
        {
            edited.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
    }
    for field in fields.iter().filter(|field| !is_dropped(field)) {
        edited.extend_from_slice(field.name());
        edited.push(b':');
        edited.extend_from_slice(field.value());
        edited.extend_from_slice(b"\r\n");
    }
    edited.extend_from_slice(b"\r\n");
    edited.extend_from_slice(body);
    Ok(edited.into())
}

/// One signature header per key; the message is read once for all of them.
fn sign(
    fields: &[HeaderField<'_>],
    body: &[u8],
    (signers, now_s): (&[Signer], u64),
) -> Result<Vec<Bytes>, String> {
    if signers.is_empty() {
        return Ok(Vec::new());
    }
    let hashed = Hashed::new(fields, BodyHash::of(Canonicalization::Relaxed, [body]))
        .map_err(|error| error.to_string())?;
    let header = |signer: &Signer| {
        signer
            .sign(&hashed, now_s)
            .map(Bytes::from)
            .map_err(|error| error.to_string())
    };
    signers.iter().map(header).collect()
}
