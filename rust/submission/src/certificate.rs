//! A certificate that was renewed is taken without a restart.
//!
//! **Model.** The files' times and sizes are looked at now and then; when they differ from those of
//! the certificate in use, it is read again. One that cannot be read (it may be half written) leaves
//! the old one in use and is tried again at the next look. Connections keep what they began with.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use parking_lot::RwLock;
use tokio_rustls::TlsAcceptor;

use crate::error::Error;
use crate::tls;

type Stamp = [Option<(SystemTime, u64)>; 2];

pub(crate) struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    current: RwLock<(TlsAcceptor, Stamp)>,
}

impl Certificate {
    pub(crate) fn load(chain: &Path, key: &Path) -> Result<Self, Error> {
        // Before the reading: a change in between is seen at the next look.
        let stamp = [stamp(chain), stamp(key)];
        Ok(Self {
            current: RwLock::new((tls::load(chain, key)?, stamp)),
            chain: chain.to_owned(),
            key: key.to_owned(),
        })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.current.read().0.clone()
    }

    /// Whether there was a change, and whether it was taken.
    pub(crate) fn refresh(&self) -> Option<Result<(), Error>> {
        let stamp = [stamp(&self.chain), stamp(&self.key)];
        if stamp == self.current.read().1 {
            return None;
        }
        Some(tls::load(&self.chain, &self.key).map(|acceptor| {
            *self.current.write() = (acceptor, stamp);
        }))
    }
}

fn stamp(path: &Path) -> Option<(SystemTime, u64)> {
    let found = std::fs::metadata(path).ok()?;
    Some((found.modified().ok()?, found.len()))
}
