//! What a client said of itself and of a message beside the addresses.

use std::net::IpAddr;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) peer_ip: Option<IpAddr>,
    pub(super) ehlo: String,
    /// Of the command being answered.
    now: String,
    /// Of MAIL and of each RCPT taken, in order.
    taken: Vec<String>,
}

impl Said {
    pub(super) fn by(peer_ip: IpAddr) -> Self {
        Self {
            peer_ip: Some(peer_ip),
            ..Self::default()
        }
    }

    /// A command came; its parameters are what follows the path.
    pub(super) fn command(&mut self, text: &str) {
        let rest = text.split_once('>').map_or("", |(_, rest)| rest);
        self.now.clear();
        self.now.push_str(rest.trim());
    }

    /// MAIL was taken: what came before is forgotten.
    pub(super) fn mail_taken(&mut self) {
        self.taken.clear();
        self.taken.push(std::mem::take(&mut self.now));
    }

    pub(super) fn rcpt_taken(&mut self) {
        self.taken.push(std::mem::take(&mut self.now));
    }

    pub(super) fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.taken)
    }
}
