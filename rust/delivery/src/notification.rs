//! The DSN parameters a sender asked for, as a transaction passes them on (RFC 3461, section 5.2.1).
//!
//! They leave only where the receiver offers DSN; the client sees to that. What no longer reads as
//! a parameter (an older record may hold anything) is left out: a report less, never a lost message.

use postalynk_record::v1::{self, Message};
use postalynk_smtp::{Dsn, Notify, RecipientDsn, Return, Xtext};

use crate::prepare::{Addressed, Mail};

/// What the message's sender asked for, for these of its recipients; `None`: nothing.
pub(crate) fn dsn_of(mail: &Mail) -> Option<Box<Dsn>> {
    let message = mail.recipients.first()?.job.delivery.message();
    if message.dsn.is_none() && !message.recipients.iter().any(asks) {
        return None;
    }
    let recipient = |to: &Addressed| {
        let index = to.job.delivery.recipient as usize;
        message
            .recipients
            .get(index)
            .map_or_else(RecipientDsn::default, of_recipient)
    };
    Some(Box::new(Dsn {
        recipients: mail.recipients.iter().map(recipient).collect(),
        ..of_message(message)
    }))
}

fn asks(recipient: &v1::Recipient) -> bool {
    recipient.notify.is_some() || !recipient.orcpt.is_empty()
}

fn of_message(message: &Message) -> Dsn {
    let Some(dsn) = &message.dsn else {
        return Dsn::default();
    };
    Dsn {
        ret: match dsn.ret() {
            v1::Return::Full => Some(Return::Full),
            v1::Return::Headers => Some(Return::Headers),
            v1::Return::Unspecified => None,
        },
        envelope_id: Xtext::received(&dsn.envelope_id).ok(),
        recipients: Vec::new(),
    }
}

fn of_recipient(recipient: &v1::Recipient) -> RecipientDsn {
    RecipientDsn {
        notify: recipient.notify.as_ref().map(|notify| Notify {
            success: notify.success,
            failure: notify.failure,
            delay: notify.delay,
        }),
        original: Xtext::received_original(&recipient.orcpt).ok(),
    }
}
