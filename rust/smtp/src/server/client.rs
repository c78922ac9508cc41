//! What a client said of itself.

use crate::address::EhloName;

#[derive(Debug, Default)]
pub(super) struct Client {
    /// Empty: none that may stand in a header.
    pub(super) name: String,
    pub(super) is_extended: bool,
    /// Let in by its address.
    pub(super) is_trusted: bool,
}

impl Client {
    pub(super) fn name(&mut self, name: &str, is_extended: bool) {
        let is_name = EhloName::new(name).is_ok();
        self.name = if is_name {
            name.to_owned()
        } else {
            String::new()
        };
        self.is_extended = is_extended;
    }
}
