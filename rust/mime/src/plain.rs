//! Plain text from HTML, for those who read mail without it.
//!
//! **Problem.** A message of HTML alone is unreadable in some programs and suspicious to filters; yet
//! the HTML may be anything.
//! **Model.** A tokenizer (WHATWG HTML §13.2.5) gives tags and text; no tree is built, so depth costs
//! nothing. White space collapses; blocks begin a line, paragraphs and headings follow an empty one;
//! list items get `- ` or their number, links their target in parentheses, images their alternative
//! text. Style, script and head are left out.
//! **Bounds.** One pass in linear time. HTML beyond [`LIMIT`] gets no text.
//! **Laws.** `law_plain_is_total`: any HTML gives text without controls, at most four times as
//! long.
//! **Not here.** Tables as columns, styles: what is hidden by CSS is shown.

use html5gum::emitters::callback::{CallbackEmitter, CallbackEvent};
use html5gum::{Span, Tokenizer};

/// Octets of HTML beyond which no text is made: some tens of milliseconds are spent before that.
const LIMIT: usize = 2 << 20;
/// Lists within lists that are told apart.
const DEEPEST: usize = 16;
const LONGEST_TARGET: usize = 2_000;

/// The text of an HTML document; `None` where there is nothing to read, or the HTML is too large.
///
/// Lines end with LF. White space that only lays out the source is dropped.
#[must_use]
pub fn plain_text(html: &str) -> Option<String> {
    if html.len() > LIMIT {
        return None;
    }
    let mut page = Page::default();
    let mut tag = Tag::default();
    let mut emitter = CallbackEmitter::new(|event: CallbackEvent<'_>, _: Span<()>| -> Option<()> {
        match event {
            CallbackEvent::OpenStartTag { name } => tag.open(name),
            CallbackEvent::AttributeName { name } => tag.wants = wanted(name),
            CallbackEvent::AttributeValue { value } => tag.keep(value),
            CallbackEvent::CloseStartTag { .. } => page.start(&tag),
            CallbackEvent::EndTag { name } => page.end(name),
            CallbackEvent::String { value } => page.text(value),
            _ => {}
        }
        None
    });
    // Script, style and title hold text, not markup.
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(html, emitter).for_each(drop);
    page.finish()
}

#[derive(Clone, Copy, PartialEq)]
enum Attribute {
    Href,
    Alt,
}

fn wanted(name: &[u8]) -> Option<Attribute> {
    match name {
        b"href" => Some(Attribute::Href),
        b"alt" => Some(Attribute::Alt),
        _ => None,
    }
}

/// The start tag being read.
#[derive(Default)]
struct Tag {
    name: Vec<u8>,
    href: String,
    alt: String,
    wants: Option<Attribute>,
}

impl Tag {
    fn open(&mut self, name: &[u8]) {
        self.name.clear();
        self.name.extend_from_slice(name);
        self.href.clear();
        self.alt.clear();
        self.wants = None;
    }

    fn keep(&mut self, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        match self.wants.take() {
            Some(Attribute::Href) => text.trim().clone_into(&mut self.href),
            Some(Attribute::Alt) => text.trim().clone_into(&mut self.alt),
            None => {}
        }
    }
}

/// The text so far, and what is owed before the next word.
#[derive(Default)]
struct Page {
    out: String,
    /// Line ends owed: 0, 1 or 2.
    lines: usize,
    space: bool,
    /// `- ` or `3. `, before the next word.
    marker: String,
    /// One entry per open list: its next number, or none for bullets.
    lists: Vec<Option<u32>>,
    /// Lists beyond [`DEEPEST`].
    deeper: u32,
    /// The element whose inside is left out.
    skipped: Option<Skipped>,
    preformatted: u32,
    /// Target of the open link, and where its text begins.
    link: Option<(String, usize)>,
}

#[derive(Clone, Copy, PartialEq)]
enum Skipped {
    Head,
    Style,
    Script,
    Title,
    Template,
}

impl Skipped {
    fn of(name: &[u8]) -> Option<Self> {
        match name {
            b"head" => Some(Self::Head),
            b"style" => Some(Self::Style),
            b"script" => Some(Self::Script),
            b"title" => Some(Self::Title),
            b"template" => Some(Self::Template),
            _ => None,
        }
    }
}

impl Page {
    fn start(&mut self, tag: &Tag) {
        let name = tag.name.as_slice();
        if self.skipped == Some(Skipped::Head) && name == b"body" {
            self.skipped = None;
        }
        if self.skipped.is_some() {
            return;
        }
        if let Some(skipped) = Skipped::of(name) {
            self.skipped = Some(skipped);
            return;
        }
        self.owe(space_around(name));
        match name {
            b"br" => self.break_line(),
            b"td" | b"th" => self.space = true,
            b"hr" => {
                self.word("---");
                self.owe(2);
            }
            b"img" => self.words(&tag.alt),
            b"pre" => self.preformatted = self.preformatted.saturating_add(1),
            b"ul" | b"ol" if self.lists.len() == DEEPEST => self.deeper += 1,
            b"ul" => self.lists.push(None),
            b"ol" => self.lists.push(Some(1)),
            b"li" => self.item(),
            b"a" => {
                self.close_link();
                if is_target(&tag.href) {
                    self.link = Some((tag.href.clone(), self.out.len()));
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, name: &[u8]) {
        if self.skipped.is_some() {
            if self.skipped == Skipped::of(name) {
                self.skipped = None;
            }
            return;
        }
        match name {
            b"a" => self.close_link(),
            b"pre" => self.preformatted = self.preformatted.saturating_sub(1),
            b"ul" | b"ol" if self.deeper > 0 => self.deeper -= 1,
            b"ul" | b"ol" => drop(self.lists.pop()),
            b"td" | b"th" => self.space = true,
            _ => {}
        }
        self.owe(space_around(name));
    }

    fn item(&mut self) {
        self.marker.clear();
        match self.lists.last_mut() {
            Some(Some(number)) => {
                self.marker = format!("{number}. ");
                *number = number.saturating_add(1);
            }
            _ => self.marker.push_str("- "),
        }
    }

    fn text(&mut self, octets: &[u8]) {
        if self.skipped.is_some() {
            return;
        }
        let text = String::from_utf8_lossy(octets);
        if self.preformatted == 0 {
            self.words(&text);
            return;
        }
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                self.break_line();
            }
            self.word(line.trim_end());
        }
    }

    /// Words with one space where there was any.
    fn words(&mut self, text: &str) {
        let is_space = |c: char| c.is_whitespace() || c.is_control();
        let mut rest = text;
        while !rest.is_empty() {
            let word = &rest[..rest.find(is_space).unwrap_or(rest.len())];
            // Invisible characters between spaces only pad a preview.
            if !word.chars().all(is_invisible) {
                self.word(word);
            }
            rest = &rest[word.len()..];
            let after = rest.trim_start_matches(is_space);
            self.space |= after.len() < rest.len();
            rest = after;
        }
    }

    fn word(&mut self, word: &str) {
        if word.is_empty() {
            return;
        }
        if self.out.is_empty() {
            self.lines = 0;
        }
        for _ in 0..std::mem::take(&mut self.lines) {
            self.out.push('\n');
        }
        let at_start = self.out.is_empty() || self.out.ends_with('\n');
        if std::mem::take(&mut self.space) && !at_start {
            self.out.push(' ');
        }
        if !self.marker.is_empty() {
            let depth = self.lists.len().saturating_sub(1);
            self.out.extend(std::iter::repeat_n("  ", depth));
            self.out.push_str(&self.marker);
            self.marker.clear();
        }
        self.out
            .extend(word.chars().filter(|c| !c.is_control() || *c == '\t'));
    }

    /// At least so many line ends before the next word.
    fn owe(&mut self, lines: usize) {
        if lines > 0 {
            self.lines = self.lines.max(lines);
            self.space = false;
        }
    }

    /// One line end more, but never two empty lines.
    fn break_line(&mut self) {
        self.lines = (self.lines + 1).min(2);
        self.space = false;
    }

    fn close_link(&mut self) {
        let Some((target, from)) = self.link.take() else {
            return;
        };
        let shown = self.out.get(from..).unwrap_or_default().trim();
        let bare = target.strip_prefix("mailto:").unwrap_or(&target);
        if shown == target || shown == bare {
            return;
        }
        let is_bare = shown.is_empty();
        self.space = true;
        let note = if is_bare {
            target
        } else {
            format!("({target})")
        };
        self.word(&note);
    }

    fn finish(mut self) -> Option<String> {
        self.close_link();
        let end = self.out.trim_end().len();
        self.out.truncate(end);
        if self.out.is_empty() {
            return None;
        }
        self.out.push('\n');
        Some(self.out)
    }
}

/// Line ends before and after an element.
fn space_around(name: &[u8]) -> usize {
    match name {
        b"p" | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"blockquote" | b"pre" | b"hr"
        | b"table" | b"ul" | b"ol" | b"dl" => 2,
        b"div" | b"tr" | b"li" | b"dt" | b"dd" | b"section" | b"article" | b"header"
        | b"footer" | b"main" | b"nav" | b"aside" | b"address" | b"center" | b"form"
        | b"fieldset" | b"figure" | b"figcaption" | b"caption" | b"body" | b"option" => 1,
        _ => 0,
    }
}

/// Whether a link leads somewhere a reader of text can go.
fn is_target(href: &str) -> bool {
    let is_known = ["https://", "http://", "mailto:", "tel:"]
        .iter()
        .any(|scheme| href.starts_with(scheme));
    is_known
        && href.len() <= LONGEST_TARGET
        && !href.chars().any(|c| c.is_whitespace() || c.is_control())
}

fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}' | '\u{34f}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_letter_reads_like_a_letter() {
        let html = "<html><head><title>No</title><style>p{}</style></head><body>\
            <div style=\"display:none\">&zwnj;&nbsp;&zwnj;&nbsp;</div>\
            <h1>Your\n  order</h1><p>Thank you, <b>Zo&euml;</b>!<br>It is on its way.</p>\
            <table><tr><td>Tea</td><td>2</td></tr><tr><td>Cup</td><td>1</td></tr></table>\
            <ul><li>one<li>two<ol><li>a</li><li>b</li></ol></ul>\
            <a href=\"https://x.example/?a=1&amp;b=2\">Track <i>it</i></a>, \
            <a href=\"mailto:a@x.example\">a@x.example</a> <a href=\"#top\">up</a>\
            <script>if (1 < 2) { alert('<p>') }</script><hr><img alt=\"The logo\"></body></html>";
        let text = "Your order\n\nThank you, Zoë!\nIt is on its way.\n\nTea 2\nCup 1\n\n\
            - one\n- two\n\n  1. a\n  2. b\n\n\
            Track it (https://x.example/?a=1&b=2), a@x.example up\n\n---\n\nThe logo\n";
        assert_eq!(plain_text(html).unwrap(), text);
    }

    #[test]
    fn lines_of_preformatted_text_stay() {
        let html = "<p>Run</p><pre>a  b\n\n  c</pre><p>now";
        assert_eq!(plain_text(html).unwrap(), "Run\n\na  b\n\n  c\n\nnow\n");
    }

    #[test]
    fn nothing_to_read_is_no_text() {
        for html in [
            "",
            " \n",
            "<p></p>",
            "<style>a",
            "<img src=x>",
            "<!-- a -->",
            "<head>a</head>",
        ] {
            assert_eq!(plain_text(html), None, "{html:?}");
        }
        assert_eq!(plain_text(&"a".repeat(LIMIT + 1)), None);
    }

    #[test]
    fn a_link_of_an_image_is_its_target() {
        let html = "<a href='https://x.example/'><img></a>";
        assert_eq!(plain_text(html).unwrap(), "https://x.example/\n");
    }

    #[test]
    fn depth_costs_nothing() {
        for open in [
            "<div>",
            "<ul><li>",
            "<table><tr><td>",
            "<b><a href='https://x.example/'>",
            "<ol>",
        ] {
            let html = open.repeat(100_000) + "x";
            assert!(
                plain_text(&html[html.len().saturating_sub(LIMIT)..])
                    .unwrap()
                    .contains('x')
            );
        }
    }

    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("<li>".to_owned()),
            Just("<ol>".to_owned()),
            Just("</ol>".to_owned()),
            Just("<a href='https://x.example'>".to_owned()),
            Just("</a>".to_owned()),
            Just("<p>".to_owned()),
            Just("<br>".to_owned()),
            Just("<hr>".to_owned()),
            Just("<pre>".to_owned()),
            Just("<style>".to_owned()),
            Just("</style>".to_owned()),
            Just("&#10;&#0;&#27;".to_owned()),
            Just("<img alt='a\u{7}b'>".to_owned()),
            any::<String>(),
        ];
        prop::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        /// Law `plain_is_total`.
        #[test]
        fn law_plain_is_total(html in pieces()) {
            if let Some(text) = plain_text(&html) {
                prop_assert!(text.len() <= 4 * html.len() + 16, "{} of {}", text.len(), html.len());
                prop_assert!(!text.chars().any(|c| c.is_control() && !"\n\t".contains(c)));
                prop_assert!(!text.contains("\n\n\n") && text.ends_with('\n') && !text.trim().is_empty());
            }
        }
    }
}
