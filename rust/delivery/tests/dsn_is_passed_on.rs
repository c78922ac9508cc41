//! What a submitter asked for reaches receivers that can do it.
//!
//! Runs: a sink that offers DSN, and one that does not. Holds: NOTIFY, ORCPT, RET and ENVID come as
//! they were asked for, each at its recipient; the other sink gets the mail without them.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{Worker, loopback, message, smart_host};
use postalynk_record::v1::{Dsn, Kind, Notify, Return};
use postalynk_testkit::{Sink, SinkOptions};

fn parameters(extensions: &[&str]) -> Vec<String> {
    let options = SinkOptions {
        extensions: extensions.iter().map(ToString::to_string).collect(),
        ..SinkOptions::default()
    };
    let sink = Sink::start(loopback(), options).unwrap();
    let mut worker = Worker::new(smart_host(sink.address()));
    let mut asked = message(1, &["ann@example.com", "bob@example.com"]);
    asked.dsn = Some(Dsn {
        ret: Return::Headers.into(),
        envelope_id: "QQ+2B1".into(),
    });
    asked.recipients[1].notify = Some(Notify {
        success: true,
        failure: false,
        delay: true,
    });
    asked.recipients[1].orcpt = "rfc822;b+2Bb@old.test".into();
    // Not what it should be: left out, and the mail goes all the same.
    asked.recipients[0].orcpt = "rfc822;a b\r\nRSET".into();
    worker.send(vec![asked]);
    worker.run_to_end();
    assert_eq!(worker.count(Kind::Delivered), 2);
    sink.received().remove(0).parameters
}

#[test]
fn where_it_is_offered_and_nowhere_else() {
    let with = parameters(&["DSN"]);
    assert!(with[0].ends_with(" RET=HDRS ENVID=QQ+2B1"), "{with:?}");
    assert_eq!(with[1], "");
    assert_eq!(with[2], "NOTIFY=SUCCESS,DELAY ORCPT=rfc822;b+2Bb@old.test");
    let without = parameters(&[]);
    assert!(
        without
            .iter()
            .all(|text| !text.contains("NOTIFY") && !text.contains("RET="))
    );
}
