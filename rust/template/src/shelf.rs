//! Compiled templates, kept for the next message that brings the same sources.
//!
//! **Invariant.** A template found is compiled from exactly the sources asked for: hashes only find
//! the place, for nobody may be given another's template by a collision.
//! **Bound.** So many templates and octets of source; when full, all go and the ones in use come back.

use std::collections::HashMap;
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use crate::error::Error;
use crate::template::{Sources, Template};

const MOST: usize = 256;
const MOST_OCTETS: usize = 16 << 20;

/// See the module. One a thread: nothing is locked.
#[derive(Debug, Default)]
pub struct Shelf {
    templates: HashMap<u64, Arc<Template>>,
    octets: usize,
}

impl Shelf {
    /// The template of these sources.
    ///
    /// # Errors
    /// Those of [`Template::new`].
    pub fn get(&mut self, sources: Sources<'_>) -> Result<Arc<Template>, Error> {
        let parts = [sources.subject, sources.html, sources.text];
        let place = parts.iter().fold(0u64, |hash, part| {
            hash.rotate_left(21) ^ xxh3_64(part.as_bytes())
        });
        if let Some(template) = self.templates.get(&place).filter(|t| t.is_of(sources)) {
            return Ok(Arc::clone(template));
        }
        let template = Arc::new(Template::new(sources)?);
        let octets: usize = parts.iter().map(|part| part.len()).sum();
        if self.templates.len() >= MOST || self.octets + octets > MOST_OCTETS {
            self.templates.clear();
            self.octets = 0;
        }
        self.octets += octets;
        self.templates.insert(place, Arc::clone(&template));
        Ok(template)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(subject: &str) -> Sources<'_> {
        Sources {
            subject,
            ..Sources::default()
        }
    }

    #[test]
    fn the_same_sources_are_compiled_once_and_others_are_not_mixed_up() {
        let mut shelf = Shelf::default();
        let first = shelf.get(of("a{{ x }}")).unwrap();
        assert!(Arc::ptr_eq(&first, &shelf.get(of("a{{ x }}")).unwrap()));
        let text = Sources {
            text: "a{{ x }}",
            ..Sources::default()
        };
        assert!(!Arc::ptr_eq(&first, &shelf.get(text).unwrap()));
        assert!(shelf.get(of("{{")).is_err());
        for n in 0..2 * MOST {
            let subject = n.to_string();
            shelf.get(of(&subject)).unwrap();
        }
        assert!(shelf.templates.len() <= MOST);
        assert!(first.is_of(of("a{{ x }}")));
    }
}
