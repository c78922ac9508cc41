//! The connections of one path without the engine around them, for `benches/` (feature `bench`).
//!
//! **Question it serves.** What does sending cost from a prepared message to its outcome? Composing,
//! signing, the queue and the record are not part of it; connections, their slow start, the journal,
//! the protocol core, transcripts and outcomes are, and they are the code that runs in the engine:
//! a shard, a path and its connections, on the calling thread.
//! **Model.** The path always has [`AHEAD`] messages ready, all of the same content; whoever records
//! outcomes in the engine is here a loop that counts them and frees their slots of the journal.

use std::rc::Rc;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use postalynk_record::v1::{self, message};
use postalynk_record::{MessageId, Record, SEND_NORMAL};
use postalynk_smtp::{Content, EhloName, ForwardPath, ReversePath};
use tokio::sync::mpsc::unbounded_channel;
use tokio::task::LocalSet;

use crate::clock;
use crate::delivery::{Delivery, History, Origin};
use crate::destination::Destination;
use crate::error::EngineError;
use crate::outcome::End;
use crate::path::Path;
use crate::pools::Source;
use crate::prepare::{Addressed, Mail};
use crate::route::{Job, RouteSpec};
use crate::settings::Settings;
use crate::shard::{Shard, ShardLinks};
use crate::shared::Shared;
use crate::stream::Tls;
use crate::threads::runtime;

/// Messages ready beside those on connections: enough for a round of the loop below.
const AHEAD: usize = 2_000;
/// How often outcomes are taken and messages given; the engine's callers come as often.
const ROUND: Duration = Duration::from_millis(2);
const SENDER: &str = "bounce@sender.example";
const RECIPIENT: &str = "someone@receiver.example";

/// What a run came to.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// From before the first connection to the last outcome.
    pub took: Duration,
    /// Messages the receiver took.
    pub delivered: usize,
}

/// Sends `content` so many times to the settings' smart host.
///
/// # Errors
/// Settings that are wrong or name no smart host, content that is unfit, no thread.
pub fn send(settings: Settings, content: Vec<Bytes>, messages: usize) -> Result<Sent, EngineError> {
    let bad = |cause: String| EngineError::Settings(cause);
    let content = Content::new(content).map_err(|cause| bad(cause.to_string()))?;
    let job = job(&settings)?;
    let shared = Arc::new(Shared::open(settings)?);
    // Nothing is composed and nothing is asked of DNS, so nobody listens.
    let (to_prepare, _) = crossbeam_channel::unbounded();
    let (resolver, _) = unbounded_channel();
    let links = ShardLinks {
        index: 0,
        shared: Arc::clone(&shared),
        to_prepare,
        resolver,
        tls: Tls::new()?,
    };
    let shard = Rc::new(Shard::new(links));
    let path = shard
        .path_of(&job, &shared.shaping.rules())
        .ok_or_else(|| bad("there is no destination".to_owned()))?;
    let mail = Mail {
        reverse_path: ReversePath::new(SENDER).map_err(|cause| bad(cause.to_string()))?,
        recipients: Vec::new(),
        content,
        eight_bit: None,
        requeued: 0,
    };
    let feed = Feed {
        shard,
        path,
        address: ForwardPath::new(RECIPIENT).map_err(|cause| bad(cause.to_string()))?,
        job,
        mail,
    };
    LocalSet::new().block_on(&runtime()?, feed.run(messages))
}

struct Feed {
    shard: Rc<Shard>,
    path: Rc<Path>,
    address: ForwardPath,
    job: Job,
    mail: Mail,
}

impl Feed {
    async fn run(self, messages: usize) -> Result<Sent, EngineError> {
        let shared = &self.shard.links.shared;
        let began = clock::now();
        let (mut given, mut ended, mut delivered) = (0, 0, 0);
        let mut slots = Vec::new();
        while ended < messages {
            let waiting = self.path.state.borrow().backlog();
            let more = AHEAD.saturating_sub(waiting).min(messages - given);
            given += more;
            self.give(more);
            tokio::time::sleep(ROUND).await;
            let outcomes = shared.outcomes.take(usize::MAX, Duration::ZERO, began);
            ended += outcomes.len();
            for outcome in outcomes {
                delivered += usize::from(outcome.end == End::Delivered);
                slots.extend(outcome.slot);
            }
            let freed = shared.journal.end(std::mem::take(&mut slots));
            freed.map_err(|cause| EngineError::Journal {
                path: shared.settings.journal.display().to_string(),
                cause,
            })?;
        }
        let took = clock::now() - began;
        Ok(Sent { took, delivered })
    }

    fn give(&self, messages: usize) {
        let mut state = self.path.state.borrow_mut();
        for _ in 0..messages {
            let place = state.prepared.reserve();
            let mail = Mail {
                recipients: vec![Addressed {
                    job: self.job.clone(),
                    address: self.address.clone(),
                }],
                reverse_path: self.mail.reverse_path.clone(),
                content: self.mail.content.clone(),
                eight_bit: None,
                requeued: 0,
            };
            state.prepared.fill(place, Some(Box::new(mail)));
        }
        drop(state);
        self.shard.pump(&self.path);
    }
}

fn job(settings: &Settings) -> Result<Job, EngineError> {
    let record = Record::encode(v1::Message {
        id: Bytes::copy_from_slice(MessageId::new(clock::wall_us() / 1_000, [7; 10]).as_bytes()),
        org: "org_bench".into(),
        accepted_at_us: clock::wall_us(),
        reverse_path: SENDER.into(),
        recipients: vec![v1::Recipient {
            address: RECIPIENT.into(),
            ..Default::default()
        }],
        content: Some(message::Content::Raw(Bytes::from_static(
            b"Subject: \r\n\r\n",
        ))),
        ..Default::default()
    });
    let record = record.map_err(|cause| EngineError::Misuse(cause.to_string()))?;
    let destination = Destination::of_smart_host(settings, "receiver.example");
    let ehlo = EhloName::new(settings.ehlo_name());
    let ehlo = ehlo.map_err(|cause| EngineError::Settings(cause.to_string()))?;
    Ok(Job {
        delivery: Arc::new(Delivery {
            weight: record.raw().len(),
            record: Arc::new(record),
            recipient: 0,
            partition: 0,
            origin: Origin::Log {
                topic: SEND_NORMAL,
                offset: 0,
            },
            history: History::default(),
            destination: destination.map(Arc::new),
            doubtful_slot: None,
            suppressed_at_us: AtomicU64::new(0),
            explanation: OnceLock::new(),
            tenure: Arc::default(),
        }),
        route: Arc::new(RouteSpec {
            pool: "default".into(),
            ..RouteSpec::default()
        }),
        pool: "default".into(),
        source: Arc::new(Source {
            name: "default".into(),
            ip: None,
            ehlo,
            relay: None,
        }),
        ready_at: Instant::now(),
        ticket: None,
        note: None,
    })
}
