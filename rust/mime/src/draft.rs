//! A message before it is written: checked values, borrowed from the caller.

use std::borrow::Cow;

use crate::address::{Address, Mailbox};
use crate::error::{AddressError, Error, Field, Reason};
use crate::header::Header;
use crate::media::{CalendarMethod, ContentType};
use crate::plain::plain_text;
use crate::value::{Attachment, ContentId, Date, MsgId, Text};

/// What every message has.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The author's display name; may be empty.
    pub from_name: &'a str,
    /// The author's address.
    pub from_address: &'a str,
    /// `left@right`, without angle brackets.
    pub message_id: &'a str,
    /// Seconds since the Unix epoch, for the Date header.
    pub date_s: u64,
    /// What boundaries are drawn from: equal drafts with equal seeds compose to equal octets.
    pub seed: u64,
}

/// A message in the making. Every method that takes text checks it and names the field when it is
/// refused; whatever has been accepted composes without an error.
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    pub(crate) from: Mailbox<'a>,
    pub(crate) reply_to: Vec<Mailbox<'a>>,
    pub(crate) to: Vec<Mailbox<'a>>,
    pub(crate) cc: Vec<Mailbox<'a>>,
    pub(crate) subject: Text<'a>,
    pub(crate) date: Date,
    pub(crate) message_id: MsgId<'a>,
    pub(crate) headers: Vec<Header<'a>>,
    pub(crate) text: Option<Cow<'a, str>>,
    pub(crate) html: Option<&'a str>,
    pub(crate) calendar: Option<(CalendarMethod, &'a str)>,
    pub(crate) attachments: Vec<Attachment<'a>>,
    pub(crate) seed: u64,
}

impl<'a> Draft<'a> {
    /// A message without recipients, subject or content.
    ///
    /// # Errors
    /// On `from`, `message_id` or `date`.
    pub fn new(origin: Origin<'a>) -> Result<Self, Error> {
        let from = Mailbox::new(origin.from_name, origin.from_address);
        Ok(Self {
            from: from.map_err(|e| in_address(Field::From, e))?,
            reply_to: Vec::new(),
            to: Vec::new(),
            cc: Vec::new(),
            subject: Text::new("").map_err(|e| in_field(Field::Subject, e))?,
            date: Date::from_unix_s(origin.date_s).map_err(|e| in_field(Field::Date, e))?,
            message_id: MsgId::new(origin.message_id).map_err(|e| in_field(Field::MessageId, e))?,
            headers: Vec::new(),
            text: None,
            html: None,
            calendar: None,
            attachments: Vec::new(),
            seed: origin.seed,
        })
    }

    /// Adds a primary recipient: display name (may be empty) and address.
    ///
    /// # Errors
    /// On `to[n]`.
    pub fn to(&mut self, name: &'a str, address: &'a str) -> Result<&mut Self, Error> {
        add(&mut self.to, Field::To, name, address)?;
        Ok(self)
    }

    /// Adds a copied recipient.
    ///
    /// # Errors
    /// On `cc[n]`.
    pub fn cc(&mut self, name: &'a str, address: &'a str) -> Result<&mut Self, Error> {
        add(&mut self.cc, Field::Cc, name, address)?;
        Ok(self)
    }

    /// Adds a mailbox that replies go to.
    ///
    /// # Errors
    /// On `reply_to[n]`.
    pub fn reply_to(&mut self, name: &'a str, address: &'a str) -> Result<&mut Self, Error> {
        add(&mut self.reply_to, Field::ReplyTo, name, address)?;
        Ok(self)
    }

    /// Sets the subject.
    ///
    /// # Errors
    /// On `subject`.
    pub fn subject(&mut self, subject: &'a str) -> Result<&mut Self, Error> {
        self.subject = Text::new(subject).map_err(|e| in_field(Field::Subject, e))?;
        Ok(self)
    }

    /// Sets the plain text, as UTF-8. Any of LF, CRLF and CR ends a line.
    ///
    /// # Errors
    /// On `text`, when it is not UTF-8.
    pub fn text(&mut self, text: &'a [u8]) -> Result<&mut Self, Error> {
        self.text = Some(Cow::Borrowed(utf8(text, Field::Text)?));
        Ok(self)
    }

    /// Sets the HTML, as UTF-8. Any of LF, CRLF and CR ends a line.
    ///
    /// # Errors
    /// On `html`, when it is not UTF-8.
    pub fn html(&mut self, html: &'a [u8]) -> Result<&mut Self, Error> {
        self.html = Some(utf8(html, Field::Html)?);
        Ok(self)
    }

    /// Makes the plain text from the HTML where there is only that; see [`plain_text`].
    pub fn auto_text(&mut self) -> &mut Self {
        if self.text.is_none() {
            self.text = self.html.and_then(plain_text).map(Cow::Owned);
        }
        self
    }

    /// Sets a calendar object (RFC 5545, as UTF-8), a third way to read the message beside text and
    /// HTML: mail programs that know it show an invitation. The method is one of RFC 5546.
    ///
    /// # Errors
    /// On `calendar`: an unknown method, or what is not UTF-8.
    pub fn calendar(&mut self, method: &str, object: &'a [u8]) -> Result<&mut Self, Error> {
        let method = CalendarMethod::new(method).map_err(|e| in_field(Field::Calendar, e))?;
        self.calendar = Some((method, utf8(object, Field::Calendar)?));
        Ok(self)
    }

    /// Adds a custom header after those given before.
    ///
    /// # Errors
    /// On `headers["name"]`: those of [`Header::new`], and [`Reason::Repeated`].
    pub fn header(&mut self, name: &'a str, value: &'a str) -> Result<&mut Self, Error> {
        let header = Header::new(name, value)?;
        let same = |h: &Header| h.name.as_str().eq_ignore_ascii_case(name);
        if header.name.is_single() && self.headers.iter().any(same) {
            return Err(in_field(Field::Header(name.to_owned()), Reason::Repeated));
        }
        self.headers.push(header);
        Ok(self)
    }

    /// Adds an attachment, or with a content id that is not empty an inline part of the HTML.
    /// An empty content type means `application/octet-stream`; an empty file name, none.
    ///
    /// # Errors
    /// On `attachments[n]` and the part of it that is wrong.
    pub fn attach(
        &mut self,
        filename: &'a str,
        content_type: &'a str,
        content_id: &'a str,
        content: &'a [u8],
    ) -> Result<&mut Self, Error> {
        let n = self.attachments.len();
        let wrong = |part: &'static str| move |e| in_field(Field::Attachment(n, part), e);
        if filename.len() > 255 {
            let reason = Reason::TooLong {
                octets: filename.len(),
                limit: 255,
            };
            return Err(wrong("filename")(reason));
        }
        let content_id = match content_id {
            "" => None,
            id => Some(ContentId::new(id).map_err(wrong("content_id"))?),
        };
        self.attachments.push(Attachment {
            filename: Text::new(filename).map_err(wrong("filename"))?,
            content_type: ContentType::new(content_type).map_err(wrong("content_type"))?,
            content_id,
            content,
        });
        Ok(self)
    }

    /// Every address a header will show.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = &Address<'a>> {
        let lists = self.reply_to.iter().chain(&self.to).chain(&self.cc);
        std::iter::once(&self.from)
            .chain(lists)
            .map(Mailbox::address)
    }
}

fn add<'a>(
    list: &mut Vec<Mailbox<'a>>,
    field: fn(usize) -> Field,
    name: &'a str,
    address: &'a str,
) -> Result<(), Error> {
    let mailbox = Mailbox::new(name, address).map_err(|e| in_address(field(list.len()), e))?;
    list.push(mailbox);
    Ok(())
}

fn utf8(octets: &[u8], field: Field) -> Result<&str, Error> {
    std::str::from_utf8(octets).map_err(|e| {
        in_field(
            field,
            Reason::NotUtf8 {
                at: e.valid_up_to(),
            },
        )
    })
}

fn in_field(field: Field, reason: Reason) -> Error {
    Error { field, reason }
}

fn in_address(field: Field, error: AddressError) -> Error {
    in_field(field, Reason::Address(error))
}
