//! Stored templates: sources and variables in, subject, HTML and text out.
//!
//! **Problem.** Tenants write templates and fill them with what their customers typed. Neither may
//! become markup, hang a worker or fail once the message was accepted.
//!
//! **Model.** A [`Template`] is compiled once from up to three sources (the language is Jinja's, by
//! minijinja) and rendered with a JSON object. Accept renders it and throws the result away; the
//! worker renders it again and sends that. Rendering is a pure function of sources and variables: no
//! clock, no dice, no files, maps in one order. So what succeeded once succeeds again.
//!
//! **Invariants.** HTML escapes every value that is not marked safe; subject and text escape none. An
//! undefined variable is an error. One part costs at most [`FUEL`] (instructions, and 64 octets each
//! of what is made), and is at most [`MAX_PART`] long, a subject [`MAX_SUBJECT`].
//!
//! Depth is bounded before anything is compiled (`guard`), values by what makes them: there is no
//! `namespace`, so no loop can nest one in another.
//!
//! **Laws.** `law_render_is_pure`: equal sources and variables give equal parts.
//! `law_values_stay_text`: no value opens a tag in HTML.
//!
//! **Not here.** Where templates are kept, `include` and `extends`, macros.
#![forbid(unsafe_code)]

mod error;
mod guard;
mod shelf;
mod template;

pub use error::{Error, Part};
pub use guard::{MAX_CHAIN, MAX_TAG};
pub use shelf::Shelf;
pub use template::{
    FUEL, MAX_PART, MAX_SOURCE, MAX_SUBJECT, MAX_VARIABLES, Rendered, Sources, Template,
};
