//! Composing and signing: everything about a message that costs CPU, on threads of its own.
//!
//! **Model.** Paths ask ahead for as many messages as their connections can take next; workers
//! compose (mime) and sign (dkim) them and hand them back in small batches, one wake-up for
//! several. A signature of RSA-2048 is most of the CPU of a message, so a batch is handed over
//! after a few milliseconds even when more is to be done.
//! **Sharing.** Recipients of one message on one path that took the same route get the same octets:
//! they are composed and signed once and leave in one transaction.
//! **Invariant.** What comes back is fit for the wire: checked content, checked envelope.
//! **Not here.** How a message is made: `make`.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use postalynk_dkim::{Domain, Key, Lanes, Selector, Signer};
use postalynk_mime::NotSevenBit;
use postalynk_smtp::{Content, ForwardPath, ReversePath};
use postalynk_template::Shelf;
use tokio::sync::mpsc::UnboundedSender;

use crate::clock;
use crate::error::EngineError;
use crate::make::{Made, Signing, make};
use crate::route::Job;
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
    /// Where it signs side by side with others; `None`: alone.
    pub lanes: Option<Arc<Lanes>>,
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
            let key = match &self.lanes {
                Some(lanes) => key?.with_lanes(Arc::clone(lanes)),
                None => key?,
            };
            Ok(Signer::new(
                Domain::new(&self.domain)?,
                Selector::new(&self.selector)?,
                key,
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
    /// Why it has 8-bit octets although the path's receiver takes none.
    pub(crate) eight_bit: Option<NotSevenBit>,
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
    /// Whether its partition is another worker's now; all recipients are of one message.
    pub(crate) fn is_over(&self) -> bool {
        let first = self.recipients.first();
        first.is_some_and(|to| to.job.delivery.tenure.is_over())
    }

    /// Keeps the first `at` recipients; the others leave in a transaction of their own.
    pub(crate) fn split_off(&mut self, at: usize) -> Box<Self> {
        Box::new(Self {
            reverse_path: self.reverse_path.clone(),
            recipients: self.recipients.split_off(at),
            content: self.content.clone(),
            eight_bit: self.eight_bit,
            requeued: self.requeued,
        })
    }

    /// REQUIRETLS (RFC 8689); a message's recipients are all alike in it.
    pub(crate) fn requires_tls(&self) -> bool {
        let first = self.recipients.first();
        first.is_some_and(|to| to.job.delivery.message().require_tls)
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
    /// The receiver takes no 8-bit octets.
    pub(crate) is_seven_bit: bool,
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
        while let Some(asked) = next {
            let (shard, path, place) = (asked.shard, asked.path, asked.place);
            let (mail, unfit) = prepare(asked, &signers, &mut shelf);
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
    asked: ToPrepare,
    signers: &Signers,
    shelf: &mut Shelf,
) -> (Option<Box<Mail>>, Vec<(Job, Unfit)>) {
    let (recipients, mut unfit) = address(asked.jobs);
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
        let signing = Signing {
            signers,
            now_s,
            is_seven_bit: asked.is_seven_bit,
        };
        let making = AssertUnwindSafe(|| make(message, ops, signing, shelf));
        catch_unwind(making)
            .unwrap_or_else(|_| Err("composing the message crashed".to_owned()))
            .map_err(Unfit::Content)
    };
    match made {
        Ok(made) => {
            let Made {
                reverse_path,
                content,
                eight_bit,
            } = made;
            let mail = Mail {
                reverse_path,
                recipients,
                content,
                eight_bit,
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
