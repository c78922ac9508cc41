//! Laws of the whole client, whatever the receiver says and however it is cut.

mod talk;

use postalynk_smtp::{Event, StartTls};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeMap;
use talk::{CHUNKING, PIPELINING, Talk, message};

/// Replies a receiver may give, sensible and not, with and without their line break.
fn replies() -> impl Strategy<Value = Vec<u8>> {
    let sensible = prop::sample::select(vec![
        "220 mx\r\n",
        PIPELINING,
        CHUNKING,
        "250 mx\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "250 ok\r\n",
        "354 go\r\n",
        "354 go\r\n",
        "550 5.1.1 no\r\n",
        "450-4.2.1 a\r\n450 b\r\n",
        "503 what\r\n",
        "221 bye\r\n",
        "421 closing\r\n",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    let hostile = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        prop::sample::select(vec!["250-", "\r", "\n", "25", "250 a\rb\r\n", "999 x\r\n"])
            .prop_map(|text| text.as_bytes().to_vec()),
    ];
    let start = prop::sample::select(vec![PIPELINING, CHUNKING])
        .prop_map(|ehlo| [b"220 mx\r\n", ehlo.as_bytes()].concat());
    let rest = prop::collection::vec(prop_oneof![12 => sensible, 1 => hostile], 0..40);
    (prop::option::weighted(0.9, start), rest)
        .prop_map(|(start, rest)| [start.unwrap_or_default(), rest.concat()].concat())
}

/// Feeds the pieces octet order kept, offering messages and writing all output as a driver does
/// after each reply; `step` is the longest piece the driver sees at once.
fn run(pieces: &[&[u8]]) -> (Vec<Event>, Vec<u8>, Talk, u64) {
    let mut talk = Talk::new(StartTls::Never);
    let (mut events, mut sent, mut submitted) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        talk.client.receive(piece);
        while let Some(event) = talk.event() {
            events.push(event);
        }
        while talk.client.wants_transaction() {
            submitted += 1;
            talk.submit(message(submitted, &["a@y.test", "b@y.test"]));
        }
        sent.extend(talk.sent().into_bytes());
    }
    (events, sent, talk, submitted)
}

/// The pieces between two cuts of `whole`, cut at every line end as well: a driver writes between
/// replies, so only cuts inside of them may make no difference.
fn cut<'a>(whole: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let line_ends = whole
        .iter()
        .enumerate()
        .filter(|(_, octet)| **octet == b'\n')
        .map(|(at, _)| at + 1);
    let mut at: Vec<usize> = cuts
        .iter()
        .map(|cut| cut.index(whole.len() + 1))
        .chain(line_ends)
        .collect();
    at.sort_unstable();
    at.dedup();
    let mut start = 0;
    let mut pieces: Vec<&[u8]> = Vec::new();
    for end in at.into_iter().chain([whole.len()]) {
        pieces.push(&whole[start..end]);
        start = end;
    }
    pieces
}

proptest! {
    /// Law: where the receiver's octets are split changes neither events nor output.
    #[test]
    fn law_any_split_same_events(heard in replies(), cuts in prop::collection::vec(any::<Index>(), 0..30)) {
        let (events, sent, ..) = run(&cut(&heard, &[]));
        let (split_events, split_sent, ..) = run(&cut(&heard, &cuts));
        prop_assert_eq!(events, split_events);
        prop_assert_eq!(sent, split_sent);
    }

    /// Law: the same without a driver between: all replies of a group in one read or octet by octet.
    #[test]
    fn law_one_read_or_many_same_events(heard in replies()) {
        let listen = |pieces: Vec<&[u8]>| {
            let mut talk = Talk::ready(PIPELINING);
            talk.submit(message(1, &["a@y.test", "b@y.test"]));
            talk.sent();
            pieces.iter().for_each(|piece| talk.client.receive(piece));
            let events: Vec<_> = std::iter::from_fn(|| talk.event()).collect();
            (events, talk.client.connection_lost())
        };
        prop_assert_eq!(listen(vec![&heard]), listen(heard.chunks(1).collect()));
    }

    /// Law: every submitted transaction gets exactly one result, and one that was accepted has
    /// sent its final dot.
    #[test]
    fn law_every_transaction_settles_once(heard in replies(), cuts in prop::collection::vec(any::<Index>(), 0..10)) {
        let (events, sent, mut talk, submitted) = run(&cut(&heard, &cuts));
        let mut results = BTreeMap::<u64, u32>::new();
        let mut accepted = 0;
        for event in events {
            if let Event::Returned(id) = event {
                *results.entry(id.0).or_default() += 1;
            } else if let Event::TransactionDone(done) = event {
                *results.entry(done.id.0).or_default() += 1;
                prop_assert_eq!(done.recipients.len(), 2);
                accepted += usize::from(done.reply.is_some_and(|reply| reply.is_positive()));
            }
        }
        for unfinished in talk.client.connection_lost() {
            *results.entry(unfinished.id.0).or_default() += 1;
        }
        prop_assert_eq!(results, (1..=submitted).map(|id| (id, 1)).collect::<BTreeMap<_, _>>());
        let sent = String::from_utf8(sent).expect("tests write text");
        let by_dot = sent.matches("hello\r\n.\r\n").count();
        let by_chunk = sent.matches("BDAT 21 LAST\r\nSubject: x\r\n\r\nhello\r\n").count();
        prop_assert!(by_dot + by_chunk >= accepted);
    }
}
