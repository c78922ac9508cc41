//! What a record leaves to the worker that sends it: its template filled in, headers written out.
//!
//! **Why not before.** A record carries sources and variables as they were accepted, so what is sent
//! is made once and by the code that sends it, whatever became of the stored template since. Accept
//! has rendered it once, with the same crate, so that nothing is found out only here.

use postalynk_record::v1;
use postalynk_template::{Rendered, Shelf, Sources};

/// RFC 8058 §3.1.
const ONE_CLICK: &str = "List-Unsubscribe=One-Click";

/// See the module.
#[derive(Default)]
pub(crate) struct Late {
    rendered: Rendered,
    unsubscribe: String,
}

impl Late {
    /// # Errors
    /// In words: the template cannot be compiled or rendered.
    pub(crate) fn of(composed: &v1::Composed, shelf: &mut Shelf) -> Result<Self, String> {
        let rendered = match &composed.template {
            Some(template) => render(template, shelf)
                .map_err(|error| format!("template {}: {error}", template.id))?,
            None => Rendered::default(),
        };
        let unsubscribe = match composed.list_unsubscribe.as_str() {
            "" => String::new(),
            url => format!("<{url}>"),
        };
        Ok(Self {
            rendered,
            unsubscribe,
        })
    }

    pub(crate) fn subject<'a>(&'a self, composed: &'a v1::Composed) -> &'a str {
        self.rendered
            .subject
            .as_deref()
            .unwrap_or(&composed.subject)
    }

    pub(crate) fn text<'a>(&'a self, composed: &'a v1::Composed) -> &'a [u8] {
        let rendered = self.rendered.text.as_deref();
        rendered.map_or(&composed.text, str::as_bytes)
    }

    pub(crate) fn html<'a>(&'a self, composed: &'a v1::Composed) -> &'a [u8] {
        let rendered = self.rendered.html.as_deref();
        rendered.map_or(&composed.html, str::as_bytes)
    }

    /// The message's own headers: those given, in their order, then those written from fields.
    pub(crate) fn headers<'a>(&'a self, composed: &'a v1::Composed) -> Vec<(&'a str, &'a str)> {
        let given = composed.headers.iter();
        let mut headers: Vec<(&str, &str)> =
            given.map(|h| (h.name.as_str(), h.value.as_str())).collect();
        if !self.unsubscribe.is_empty() {
            headers.push(("List-Unsubscribe", &self.unsubscribe));
            headers.push(("List-Unsubscribe-Post", ONE_CLICK));
        }
        if !composed.feedback_id.is_empty() {
            headers.push(("Feedback-ID", &composed.feedback_id));
        }
        headers
    }
}

fn render(
    template: &v1::Template,
    shelf: &mut Shelf,
) -> Result<Rendered, postalynk_template::Error> {
    let sources = Sources::from_utf8(&template.subject, &template.html, &template.text)?;
    shelf.get(sources)?.render(&template.variables)
}
