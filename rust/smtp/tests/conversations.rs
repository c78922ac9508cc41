//! Stories: what leaves, what is told and what is in doubt, reply by reply.

mod talk;

use postalynk_smtp::{
    CloseReason, Dsn, Event, Notify, Phase, ProtocolError, RecipientDsn, RecipientResult,
    ReplyError, Return, StartTls, SubmitError, Timeout,
};
use talk::{PIPELINING, Talk, message, rejected};

const ENVELOPE: &str = "MAIL FROM:<from@x.test>\r\nRCPT TO:<a@y.test>\r\nDATA\r\n";
const BODY: &str = "Subject: x\r\n\r\nhello\r\n.\r\n";
const GO: &str = "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n";

#[test]
fn without_pipelining_every_command_waits() {
    let mut talk = Talk::ready("250 mx.test\r\n");
    talk.submit(message(1, &["a@y.test", "b@y.test"]));
    assert_eq!(talk.sent(), "MAIL FROM:<from@x.test>\r\n");
    assert!(!talk.client.wants_transaction());
    talk.hear("250 ok\r\n");
    assert_eq!(talk.sent(), "RCPT TO:<a@y.test>\r\n");
    talk.hear("550 5.1.1 no\r\n");
    assert_eq!(talk.sent(), "RCPT TO:<b@y.test>\r\n");
    talk.hear("250 ok\r\n");
    assert_eq!(talk.sent(), "DATA\r\n");
    talk.hear("354 go\r\n");
    assert_eq!(talk.sent(), BODY);
    talk.hear("250 2.0.0 queued\r\n");
    let done = talk.done();
    assert_eq!(rejected(&done), [Some((Phase::Rcpt, 550)), None]);
    assert_eq!(
        done.reply.map(|reply| reply.text().to_owned()).as_deref(),
        Some("2.0.0 queued")
    );
    assert!(talk.client.wants_transaction());
}

#[test]
fn with_pipelining_the_envelope_is_one_write() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test"]));
    assert_eq!(talk.sent(), ENVELOPE);
    talk.hear(GO);
    assert_eq!(talk.sent(), BODY);
    talk.hear("250 ok\r\n");
    assert_eq!(rejected(&talk.done()), [None]);
}

#[test]
fn merged_content_and_next_envelope_are_one_write() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test"]));
    talk.sent();
    for next in 2..5 {
        talk.hear(GO);
        assert!(talk.client.wants_transaction());
        talk.submit(message(next, &["a@y.test"]));
        assert!(!talk.client.wants_transaction());
        assert_eq!(talk.sent(), format!("{BODY}{ENVELOPE}"));
        talk.hear("250 ok\r\n");
        assert_eq!(talk.done().id.0, next - 1);
    }
    talk.hear(GO);
    talk.client.quit();
    assert_eq!(talk.sent(), format!("{BODY}QUIT\r\n"));
    talk.hear("250 ok\r\n221 bye\r\n");
    assert_eq!(talk.done().id.0, 4);
    assert_eq!(talk.event(), Some(Event::Closed(CloseReason::Quit)));
    assert!(talk.client.connection_lost().is_empty());
}

#[test]
fn all_rejected_yet_354_gets_a_lone_dot() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test", "b@y.test"]));
    talk.sent();
    talk.hear("250 ok\r\n550 no\r\n552 full\r\n");
    let done = talk.done();
    assert_eq!(
        rejected(&done),
        [Some((Phase::Rcpt, 550)), Some((Phase::Rcpt, 552))]
    );
    let transient = |result: &RecipientResult| matches!(result, RecipientResult::Rejected(r) if r.is_transient());
    assert_eq!(
        done.recipients.iter().map(transient).collect::<Vec<_>>(),
        [false, true]
    );
    talk.hear("354 go on\r\n");
    talk.submit(message(2, &["a@y.test"]));
    assert_eq!(talk.sent(), format!(".\r\n{ENVELOPE}"));
    talk.hear("554 no recipients\r\n");
    talk.hear(GO);
    assert_eq!(talk.sent(), BODY);
}

#[test]
fn all_rejected_and_data_refused_resets_before_the_next() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test"]));
    talk.sent();
    talk.hear("250 ok\r\n450 4.2.1 later\r\n554 no recipients\r\n");
    assert_eq!(rejected(&talk.done()), [Some((Phase::Rcpt, 450))]);
    assert_eq!(talk.sent(), "");
    talk.submit(message(2, &["a@y.test"]));
    assert_eq!(talk.sent(), format!("RSET\r\n{ENVELOPE}"));
    talk.hear("250 reset\r\n");
    talk.hear(GO);
    assert_eq!(talk.sent(), BODY);
}

#[test]
fn lockstep_resets_after_all_rejected() {
    let mut talk = Talk::ready("250 mx.test\r\n");
    talk.submit(message(1, &["a@y.test"]));
    talk.hear("250 ok\r\n550 no\r\n");
    assert_eq!(rejected(&talk.done()), [Some((Phase::Rcpt, 550))]);
    talk.sent();
    talk.submit(message(2, &["a@y.test"]));
    assert_eq!(talk.sent(), "RSET\r\n");
    talk.hear("250 ok\r\n");
    assert_eq!(talk.sent(), "MAIL FROM:<from@x.test>\r\n");
}

#[test]
fn mail_refused_settles_and_needs_no_reset() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test", "b@y.test"]));
    talk.sent();
    talk.hear("550 5.7.1 no\r\n503 what\r\n503 what\r\n503 what\r\n");
    assert_eq!(rejected(&talk.done()), [Some((Phase::Mail, 550)); 2]);
    talk.submit(message(2, &["a@y.test"]));
    assert_eq!(talk.sent(), ENVELOPE);
}

#[test]
fn data_refused_rejects_those_that_were_accepted() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test", "b@y.test"]));
    talk.sent();
    talk.hear("250 ok\r\n550 no\r\n250 ok\r\n451 4.3.0 later\r\n");
    assert_eq!(
        rejected(&talk.done()),
        [Some((Phase::Rcpt, 550)), Some((Phase::Data, 451))]
    );
    assert!(talk.client.connection_lost().is_empty());
}

#[test]
fn final_dot_refused_is_an_answer() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test"]));
    talk.sent();
    talk.hear(GO);
    talk.sent();
    talk.hear("550-5.7.1 spam\r\n550 5.7.1 really\r\n");
    assert_eq!(rejected(&talk.done()), [Some((Phase::FinalDot, 550))]);
    assert!(talk.client.connection_lost().is_empty());
}

#[test]
fn closing_mid_way_answers_one_and_leaves_the_next_untried() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test"]));
    talk.sent();
    talk.hear(GO);
    talk.submit(message(2, &["a@y.test"]));
    talk.sent();
    talk.hear("421 4.3.2 closing\r\n250 never seen\r\n");
    assert_eq!(rejected(&talk.done()), [Some((Phase::FinalDot, 421))]);
    assert!(matches!(
        talk.event(),
        Some(Event::Closed(CloseReason::ServiceClosing(_)))
    ));
    let unfinished = talk.client.connection_lost();
    assert_eq!(unfinished.len(), 1);
    assert_eq!((unfinished[0].id.0, unfinished[0].in_doubt), (2, false));
    assert!(talk.client.connection_lost().is_empty());
}

#[test]
fn closing_at_rcpt_rejects_all_of_the_transaction() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test", "b@y.test"]));
    talk.sent();
    talk.hear("250 ok\r\n250 ok\r\n421 too busy\r\n");
    assert_eq!(rejected(&talk.done()), [Some((Phase::Rcpt, 421)); 2]);
}

#[test]
fn closing_while_idle_is_told() {
    let mut talk = Talk::ready(PIPELINING);
    talk.hear("421 idle too long\r\n");
    assert!(matches!(
        talk.event(),
        Some(Event::Closed(CloseReason::ServiceClosing(_)))
    ));
    assert_eq!(
        talk.client.submit(message(1, &["a@y.test"])),
        Err(SubmitError::NotReady)
    );
}

#[test]
fn lost_before_the_dot_is_safe_and_keeps_rejections() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test", "b@y.test"]));
    talk.sent();
    talk.hear("250 ok\r\n550 no\r\n250 ok\r\n354 go\r\n");
    // All but the last three octets: the dot and its line break.
    talk.write(BODY.len() - 3);
    let unfinished = talk.client.connection_lost();
    assert_eq!(
        (unfinished[0].in_doubt, unfinished[0].phase),
        (false, Phase::FinalDot)
    );
    assert_eq!(
        unfinished[0].rejected[0].as_ref().map(|r| r.reply.code()),
        Some(550)
    );
    assert_eq!(unfinished[0].rejected[1], None);
}

#[test]
fn lost_after_the_dot_is_in_doubt_and_the_next_is_safe() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test"]));
    talk.sent();
    talk.hear(GO);
    talk.submit(message(2, &["a@y.test"]));
    talk.write(BODY.len() - 2);
    let unfinished = talk.client.connection_lost();
    let told: Vec<_> = unfinished.iter().map(|u| (u.id.0, u.in_doubt)).collect();
    assert_eq!(told, [(1, true), (2, false)]);
}

#[test]
fn lent_octets_count_as_sent_until_the_driver_says_better() {
    for (says_zero, in_doubt) in [(false, true), (true, false)] {
        let mut talk = Talk::ready(PIPELINING);
        talk.submit(message(1, &["a@y.test"]));
        talk.sent();
        talk.hear(GO);
        talk.lend();
        if says_zero {
            talk.client.wrote(0);
        }
        assert_eq!(talk.client.connection_lost()[0].in_doubt, in_doubt);
    }
}

#[test]
fn acceptance_before_the_dot_left_is_no_acceptance() {
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(message(1, &["a@y.test"]));
    talk.sent();
    talk.hear(GO);
    talk.write(4);
    talk.hear("250 thanks\r\n");
    assert_eq!(
        talk.event(),
        Some(Event::Closed(CloseReason::Protocol(
            ProtocolError::EarlyAcceptance
        )))
    );
    assert!(!talk.client.connection_lost()[0].in_doubt);
}

#[test]
fn starttls_greets_again_and_forgets_what_plaintext_said() {
    let mut talk = Talk::greeted(
        StartTls::Required,
        "250-mx.test\r\n250-PIPELINING\r\n250 STARTTLS\r\n",
    );
    assert_eq!(talk.sent(), "STARTTLS\r\n");
    talk.hear("220 go\r\n");
    assert_eq!(talk.event(), Some(Event::StartTls));
    assert_eq!(talk.timeout(), Some(Timeout::Handshake));
    talk.client.tls_established();
    assert_eq!(talk.sent(), "EHLO client.test\r\n");
    talk.hear("250-mx.test\r\n250 SIZE 100\r\n");
    assert!(
        matches!(talk.event(), Some(Event::Ready(found)) if !found.pipelining && found.size_limit == Some(100))
    );
}

#[test]
fn starttls_injection_never_reaches_the_encrypted_session() {
    let error = Some(Event::Closed(CloseReason::Protocol(
        ProtocolError::PlaintextAfterStartTls,
    )));
    let offers = "250-mx.test\r\n250 STARTTLS\r\n";
    for injected in ["250 mx.test\r\n", "2", "\n"] {
        let mut talk = Talk::greeted(StartTls::WhenOffered, offers);
        talk.hear(&format!("220 go\r\n{injected}"));
        assert_eq!(talk.event(), error, "in one read");
        talk.client.tls_established();
        assert!(!talk.client.has_output());

        let mut talk = Talk::greeted(StartTls::WhenOffered, offers);
        talk.hear("220 go\r\n");
        assert_eq!(talk.event(), Some(Event::StartTls));
        talk.hear(injected);
        assert_eq!(talk.event(), error, "in another read");
    }
}

#[test]
fn tls_that_is_not_to_be_had() {
    let mut talk = Talk::greeted(StartTls::Required, "250 mx.test\r\n");
    assert_eq!(
        talk.event(),
        Some(Event::Closed(CloseReason::TlsUnavailable(None)))
    );
    let mut talk = Talk::greeted(StartTls::Required, "250-mx.test\r\n250 STARTTLS\r\n");
    talk.hear("454 4.7.0 not now\r\n");
    assert!(matches!(
        talk.event(),
        Some(Event::Closed(CloseReason::TlsUnavailable(Some(_))))
    ));
    let mut talk = Talk::greeted(StartTls::WhenOffered, "250-mx.test\r\n250 STARTTLS\r\n");
    talk.hear("454 4.7.0 not now\r\n");
    assert!(matches!(talk.event(), Some(Event::StartTlsRefused(reply)) if reply.code() == 454));
    assert!(matches!(talk.event(), Some(Event::Ready(_))));
}

#[test]
fn helo_when_ehlo_is_not_understood() {
    let mut talk = Talk::greeted(StartTls::WhenOffered, "502 what\r\n");
    assert_eq!(talk.sent(), "HELO client.test\r\n");
    talk.hear("250 hello\r\n");
    assert!(matches!(talk.event(), Some(Event::Ready(found)) if !found.extended));
}

#[test]
fn refusals_before_mail_are_told() {
    let mut talk = Talk::new(StartTls::Never);
    talk.hear("554 5.7.1 go away\r\n");
    assert!(
        matches!(talk.event(), Some(Event::Closed(CloseReason::Refused(reply))) if reply.code() == 554)
    );
    let mut talk = Talk::greeted(StartTls::Never, "450 later\r\n");
    assert!(
        matches!(talk.event(), Some(Event::Closed(CloseReason::Refused(reply))) if reply.code() == 450)
    );
}

#[test]
fn declarations_are_made_only_where_offered_and_needed() {
    let all =
        "250-mx.test\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 SMTPUTF8 junk\r\n";
    let mut talk = Talk::ready(all);
    talk.submit(talk::with_content(1, &["a@y.test"], "Subject: x\r\n\r\nü"));
    assert!(
        talk.sent()
            .starts_with("MAIL FROM:<from@x.test> SIZE=18 BODY=8BITMIME\r\n")
    );
    let mut talk = Talk::ready(all);
    talk.submit(talk::with_content(1, &["ü@y.test"], "Subject: x\r\n\r\nx"));
    assert!(
        talk.sent()
            .starts_with("MAIL FROM:<from@x.test> SIZE=17 SMTPUTF8\r\nRCPT TO:<ü@y.test>\r\n")
    );
    let mut talk = Talk::ready(all);
    talk.submit(talk::with_content(1, &["a@y.test"], "Subject: ü\r\n\r\nx"));
    assert!(
        talk.sent()
            .starts_with("MAIL FROM:<from@x.test> SIZE=18 BODY=8BITMIME SMTPUTF8\r\n")
    );
}

#[test]
fn what_the_receiver_cannot_take_is_not_sent() {
    let mut talk = Talk::ready("250-mx.test\r\n250 SIZE 10\r\n");
    let mut refuse = |message| talk.client.submit(message);
    let long = talk::with_content(1, &["a@y.test"], "12345678901");
    assert_eq!(
        refuse(long),
        Err(SubmitError::TooLarge {
            size: 13,
            limit: 10
        })
    );
    let eight_bit = talk::with_content(1, &["a@y.test"], "\r\nü");
    assert_eq!(refuse(eight_bit), Err(SubmitError::EightBitUnsupported));
    assert_eq!(
        refuse(talk::with_content(1, &["ü@y.test"], "x")),
        Err(SubmitError::Utf8Unsupported)
    );
    assert_eq!(
        refuse(talk::with_content(1, &[], "x")),
        Err(SubmitError::NoRecipients)
    );
    assert!(talk.client.wants_transaction() && !talk.client.has_output());
}

#[test]
fn broken_receivers_are_left() {
    let garbage = ProtocolError::Reply(ReplyError::Garbage);
    for (heard, error) in [
        ("hello\r\n", garbage),
        ("250 a\r250 b\r\n", ProtocolError::Reply(ReplyError::BareCr)),
        ("250 unasked\r\n", ProtocolError::Unsolicited),
    ] {
        let mut talk = Talk::ready(PIPELINING);
        talk.hear(heard);
        assert_eq!(
            talk.event(),
            Some(Event::Closed(CloseReason::Protocol(error)))
        );
    }
    for heard in [
        "354 what\r\n",
        "250 ok\r\n354 what\r\n",
        "250 ok\r\n250 ok\r\n250 what\r\n",
    ] {
        let mut talk = Talk::ready(PIPELINING);
        talk.submit(message(1, &["a@y.test"]));
        talk.sent();
        talk.hear(heard);
        assert!(matches!(
            talk.event(),
            Some(Event::Closed(CloseReason::Protocol(
                ProtocolError::Unexpected { .. }
            )))
        ));
        assert!(!talk.client.connection_lost()[0].in_doubt);
    }
}

#[test]
fn timeouts_follow_the_step_and_restart_with_progress() {
    let mut talk = Talk::new(StartTls::Never);
    assert_eq!(talk.timeout(), Some(Timeout::Banner));
    talk.hear("220 mx\r\n");
    assert_eq!(talk.timeout(), Some(Timeout::Command));
    talk.hear(PIPELINING);
    assert_eq!(talk.timeout(), None);
    talk.submit(message(1, &["a@y.test"]));
    talk.sent();
    assert_eq!(talk.timeout(), Some(Timeout::Mail));
    talk.hear("250 ok\r\n");
    assert_eq!(talk.timeout(), Some(Timeout::Rcpt));
    let before = talk.client.deadline();
    talk.hear("250 drip");
    assert_eq!(
        talk.client.deadline(),
        before,
        "part of a reply is no progress"
    );
    talk.hear("\r\n");
    assert_eq!(talk.timeout(), Some(Timeout::Data));
    talk.hear("354 go\r\n");
    assert_eq!(talk.timeout(), Some(Timeout::Block));
    let before = talk.client.deadline();
    talk.write(3);
    assert_ne!(talk.client.deadline(), before, "a write is progress");
    talk.sent();
    assert_eq!(talk.timeout(), Some(Timeout::FinalDot));
    assert_eq!(Timeout::FinalDot.duration().as_secs(), 600);
}

#[test]
fn dsn_parameters_leave_only_where_offered() {
    let mut transaction = message(1, &["a@y.test", "b@y.test"]);
    transaction.dsn = Some(Box::new(Dsn {
        ret: Some(Return::Full),
        recipients: vec![RecipientDsn {
            notify: Some(Notify::default()),
            original: None,
        }],
        ..Dsn::default()
    }));
    let mut talk = Talk::ready("250-mx.test\r\n250-DSN\r\n250 PIPELINING\r\n");
    talk.submit(transaction.clone());
    assert_eq!(
        talk.sent(),
        "MAIL FROM:<from@x.test> RET=FULL\r\nRCPT TO:<a@y.test> NOTIFY=NEVER\r\n\
         RCPT TO:<b@y.test>\r\nDATA\r\n"
    );
    let mut talk = Talk::ready(PIPELINING);
    talk.submit(transaction);
    assert!(!talk.sent().contains("RET="));
}
