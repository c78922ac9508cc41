//! Messages sent ahead with BDAT (RFC 3030), and receivers that do not like it.

mod talk;

use postalynk_smtp::{CloseReason, Event, Phase, ProtocolError, Timeout, TransactionId};
use talk::{CHUNKING, Talk, message, rejected};

const WHOLE: &str = "MAIL FROM:<from@x.test>\r\nRCPT TO:<a@y.test>\r\nBDAT 21 LAST\r\n\
                     Subject: x\r\n\r\nhello\r\n";
const TAKEN: &str = "250 ok\r\n250 ok\r\n250 taken\r\n";

/// A connection whose window is 3 and that is idle.
fn warmed_up() -> Talk {
    let mut talk = Talk::ready(CHUNKING);
    for id in 1..=2 {
        talk.submit(message(id, &["a@y.test"]));
        talk.sent();
        talk.hear(TAKEN);
        assert_eq!(talk.done().id.0, id);
    }
    assert_eq!(talk.client.chunk_window(), 3);
    talk
}

fn three_ahead() -> Talk {
    let mut talk = warmed_up();
    (3..=5).for_each(|id| talk.submit(message(id, &["a@y.test"])));
    assert!(!talk.client.wants_transaction());
    talk
}

#[test]
fn the_window_grows_with_each_message_taken() {
    let mut talk = Talk::ready(CHUNKING);
    talk.submit(message(1, &["a@y.test"]));
    assert!(!talk.client.wants_transaction());
    assert_eq!(
        talk.client.sending().collect::<Vec<_>>(),
        [TransactionId(1)]
    );
    assert_eq!(talk.sent(), WHOLE);
    talk.hear("250 ok\r\n250 ok\r\n");
    assert_eq!(talk.timeout(), Some(Timeout::FinalDot));
    talk.hear("250 taken\r\n");
    assert_eq!(talk.done().id.0, 1);
    talk.submit(message(2, &["a@y.test"]));
    talk.submit(message(3, &["a@y.test"]));
    assert!(!talk.client.wants_transaction());
    assert_eq!(talk.sent(), WHOLE.repeat(2));
    talk.hear(&TAKEN.repeat(2));
    assert_eq!((talk.done().id.0, talk.done().id.0), (2, 3));
    assert_eq!(talk.client.chunk_window(), 4);
}

#[test]
fn a_refused_message_does_not_touch_those_sent_ahead() {
    let mut talk = three_ahead();
    talk.sent();
    talk.hear("250 ok\r\n250 ok\r\n554 5.7.1 spam\r\n");
    assert_eq!(rejected(&talk.done()), [Some((Phase::FinalDot, 554))]);
    talk.hear(TAKEN);
    talk.hear("250 ok\r\n550 5.1.1 no\r\n554 no recipients\r\n");
    assert_eq!(rejected(&talk.done()), [None]);
    assert_eq!(rejected(&talk.done()), [Some((Phase::Rcpt, 550))]);
    talk.submit(message(6, &["a@y.test"]));
    assert_eq!(talk.sent(), format!("RSET\r\n{WHOLE}"));
}

#[test]
fn what_a_held_envelope_blocks_comes_back() {
    let mut talk = three_ahead();
    talk.sent();
    talk.hear("250 ok\r\n550 5.1.1 no\r\n554 no recipients\r\n");
    assert_eq!(rejected(&talk.done()), [Some((Phase::Rcpt, 550))]);
    // The receiver still holds the envelope until the RSET of what is submitted now.
    talk.submit(message(6, &["a@y.test"]));
    assert_eq!(talk.sent(), format!("RSET\r\n{WHOLE}"));
    for id in [4, 5] {
        talk.hear("503 nested\r\n550 no\r\n554 no recipients\r\n");
        assert_eq!(talk.event(), Some(Event::Returned(TransactionId(id))));
    }
    talk.hear(&format!("250 reset\r\n{TAKEN}"));
    assert_eq!(talk.done().id.0, 6);
    assert_eq!(talk.event(), None);
}

#[test]
fn bdat_not_understood_closes_and_leaves_nothing_in_doubt() {
    let mut talk = Talk::ready(CHUNKING);
    talk.submit(message(1, &["a@y.test"]));
    talk.sent();
    talk.hear("250 ok\r\n250 ok\r\n502 what\r\n500 what\r\n");
    let refused = ProtocolError::ChunkingRefused { code: 502 };
    assert_eq!(
        talk.event(),
        Some(Event::Closed(CloseReason::Protocol(refused)))
    );
    assert_eq!(talk.sent(), "");
    let unfinished = talk.client.connection_lost();
    assert_eq!((unfinished.len(), unfinished[0].in_doubt), (1, false));
    assert_eq!(talk.client.chunk_window(), 0);
}

#[test]
fn a_loss_puts_in_doubt_what_had_left_and_nothing_else() {
    let mut talk = three_ahead();
    assert_eq!(talk.write(2 * WHOLE.len() - 1).len(), 2 * WHOLE.len() - 1);
    let unfinished = talk.client.connection_lost();
    let doubts: Vec<_> = unfinished.iter().map(|u| (u.id.0, u.in_doubt)).collect();
    assert_eq!(doubts, [(3, true), (4, false), (5, false)]);
    // Chunks were taken before, so one at a time will do.
    assert_eq!(talk.client.chunk_window(), 1);
}

#[test]
fn a_loss_around_the_first_chunk_ends_chunking() {
    let mut talk = Talk::ready(CHUNKING);
    talk.submit(message(1, &["a@y.test"]));
    talk.sent();
    assert!(talk.client.connection_lost()[0].in_doubt);
    assert_eq!(talk.client.chunk_window(), 0);
}

#[test]
fn what_comes_after_421_was_not_taken() {
    let mut talk = three_ahead();
    talk.sent();
    talk.hear("250 ok\r\n421 4.3.2 closing\r\n");
    assert_eq!(rejected(&talk.done()), [Some((Phase::Rcpt, 421))]);
    let unfinished = talk.client.connection_lost();
    assert!(
        unfinished
            .iter()
            .all(|u| !u.in_doubt && u.phase == Phase::Mail)
    );
    assert_eq!(unfinished.len(), 2);
}

#[test]
fn quit_waits_for_nothing_but_the_window() {
    let mut talk = warmed_up();
    talk.submit(message(3, &["a@y.test"]));
    talk.client.quit();
    assert_eq!(talk.sent(), format!("{WHOLE}QUIT\r\n"));
}
