//! Compiling and rendering.

use std::io;

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};

use crate::error::{Error, Part};
use crate::guard::refuse_depth;

/// What rendering one part may cost; one pays for an instruction or 64 octets. The dearest template
/// found takes some ten milliseconds of it.
pub const FUEL: u64 = 100_000;
/// Octets of one source.
pub const MAX_SOURCE: usize = 256 * 1024;
/// Octets of the variables, as JSON.
pub const MAX_VARIABLES: usize = 64 * 1024;
/// Octets of HTML or text that come out.
pub const MAX_PART: usize = 1 << 20;
/// Octets of a subject that comes out.
pub const MAX_SUBJECT: usize = 4_096;
const PARTS: [Part; 3] = [Part::Subject, Part::Html, Part::Text];

/// The sources of a template; empty: it has no such part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sources<'a> {
    /// Of the subject.
    pub subject: &'a str,
    /// Of the HTML.
    pub html: &'a str,
    /// Of the plain text.
    pub text: &'a str,
}

impl<'a> Sources<'a> {
    /// From octets.
    ///
    /// # Errors
    /// [`Error::NotUtf8`].
    pub fn from_utf8(subject: &'a str, html: &'a [u8], text: &'a [u8]) -> Result<Self, Error> {
        let read = |part, octets| std::str::from_utf8(octets).map_err(|_| Error::NotUtf8 { part });
        Ok(Self {
            subject,
            html: read(Part::Html, html)?,
            text: read(Part::Text, text)?,
        })
    }

    /// The source of a part.
    #[must_use]
    pub fn of(&self, part: Part) -> &'a str {
        match part {
            Part::Subject => self.subject,
            Part::Html => self.html,
            Part::Text => self.text,
        }
    }
}

/// What came out; `None` where the template has no such part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rendered {
    /// May hold line breaks and controls: a value may. Check it before it becomes a header.
    pub subject: Option<String>,
    /// HTML.
    pub html: Option<String>,
    /// Plain text.
    pub text: Option<String>,
    /// What it took, of [`FUEL`] a part.
    pub fuel: u64,
}

/// A compiled template; cheap to share, never changed.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
}

impl Template {
    /// Compiles the sources.
    ///
    /// # Errors
    /// [`Error::Source`], [`Error::SourceTooLong`]: the first part that is wrong.
    pub fn new(sources: Sources<'_>) -> Result<Self, Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        // It remembers where a value was asked for, so that an error can name it.
        environment.set_debug(true);
        environment.set_recursion_limit(100);
        environment.remove_global("namespace");
        environment.remove_global("debug");
        environment.set_auto_escape_callback(|name| {
            if name == Part::Html.name() {
                AutoEscape::Html
            } else {
                AutoEscape::None
            }
        });
        for part in PARTS {
            let source = sources.of(part);
            if source.is_empty() {
                continue;
            }
            if source.len() > MAX_SOURCE {
                let octets = source.len();
                return Err(Error::SourceTooLong { part, octets });
            }
            refuse_depth(part, source)?;
            environment
                .add_template_owned(part.name(), source.to_owned())
                .map_err(|error| Error::of_source(part, &error))?;
        }
        Ok(Self { environment })
    }

    /// Renders every part there is with the variables, a JSON object; empty: none.
    ///
    /// # Errors
    /// All but [`Error::Source`].
    pub fn render(&self, variables: &[u8]) -> Result<Rendered, Error> {
        let context = read(variables)?;
        let mut fuel = 0;
        let mut part = |part| self.part(part, &context, &mut fuel);
        let (subject, html, text) = (part(Part::Subject)?, part(Part::Html)?, part(Part::Text)?);
        Ok(Rendered {
            subject,
            html,
            text,
            fuel,
        })
    }

    fn part(&self, part: Part, context: &Value, fuel: &mut u64) -> Result<Option<String>, Error> {
        let Ok(template) = self.environment.get_template(part.name()) else {
            return Ok(None);
        };
        let limit = match part {
            Part::Subject => MAX_SUBJECT,
            Part::Html | Part::Text => MAX_PART,
        };
        let mut out = Bounded {
            octets: Vec::with_capacity(template.source().len().min(limit)),
            limit,
            is_full: false,
        };
        let result = template
            .render_captured_to(context.clone(), &mut out)
            .map(|done| *fuel += done.state().fuel_levels().map_or(0, |(used, _)| used));
        if out.is_full {
            return Err(Error::TooLong { part, limit });
        }
        result.map_err(|error| Error::of_rendering(part, template.source(), &error))?;
        // Only whole strings are written.
        let text = String::from_utf8(out.octets).map_err(|_| Error::NotUtf8 { part })?;
        Ok(Some(text))
    }

    /// Whether these are the sources it was compiled from.
    #[must_use]
    pub fn is_of(&self, sources: Sources<'_>) -> bool {
        PARTS.iter().all(|part| {
            let own = self.environment.get_template(part.name());
            own.as_ref().map_or("", |template| template.source()) == sources.of(*part)
        })
    }
}

fn read(variables: &[u8]) -> Result<Value, Error> {
    if variables.len() > MAX_VARIABLES {
        return Err(Error::VariablesTooLong(variables.len()));
    }
    if variables.is_empty() {
        return Ok(Value::from(Serde(serde_json::Map::new())));
    }
    let object: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(variables).map_err(|error| Error::Variables(error.to_string()))?;
    Ok(Value::from(Serde(object)))
}

/// Takes so many octets and no more.
struct Bounded {
    octets: Vec<u8>,
    limit: usize,
    is_full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        if octets.len() > self.limit - self.octets.len() {
            self.is_full = true;
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        }
        self.octets.extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn html(source: &str) -> Result<Template, Error> {
        Template::new(Sources {
            html: source,
            ..Sources::default()
        })
    }

    fn render(source: &str, variables: &str) -> Result<String, Error> {
        Ok(html(source)?.render(variables.as_bytes())?.html.unwrap())
    }

    #[test]
    fn html_escapes_and_text_does_not() {
        let sources = Sources {
            subject: "Hi {{ name }}",
            html: "<p>{{ name }} {{ name|safe }}</p>",
            text: "{{ name }}",
        };
        let template = Template::new(sources).unwrap();
        let made = template.render(br#"{"name": "<b>&"}"#).unwrap();
        assert_eq!(made.subject.unwrap(), "Hi <b>&");
        assert_eq!(made.html.unwrap(), "<p>&lt;b&gt;&amp; <b>&</p>");
        assert_eq!(made.text.unwrap(), "<b>&");
        assert!(template.is_of(sources));
        assert!(!template.is_of(Sources {
            subject: "Hi",
            ..sources
        }));
    }

    #[test]
    fn loops_conditions_and_filters_work() {
        let source = "{% for i in items %}{{ loop.index }}. {{ i.name|upper }} {{ i.price * 2 }};{% endfor %}\
            {% if vip is defined and vip %}!{% endif %}{{ note|default('-') }}";
        let variables =
            r#"{"items": [{"name": "tea", "price": 1.5}, {"name": "cup", "price": 2}]}"#;
        assert_eq!(render(source, variables).unwrap(), "1. TEA 3.0;2. CUP 4;-");
    }

    #[test]
    fn an_undefined_variable_is_named() {
        for (source, name, line) in [
            ("{{ name }}", "name", 1),
            ("a\n{{ order.total }}", "order.total", 2),
            ("{{ order.lines[0].price }}", "order.lines", 1),
            ("{% if vip %}{% endif %}", "vip", 1),
            ("{% for x in rows %}{% endfor %}", "rows", 1),
            ("{{ name|upper }}", "name", 1),
        ] {
            let error = render(source, r#"{"order": {}}"#).unwrap_err();
            let Error::Undefined {
                name: found,
                line: at,
                ..
            } = &error
            else {
                panic!("{source}: {error:?}");
            };
            assert!(found.contains(name), "{source}: {found}");
            assert_eq!(*at, line, "{source}");
        }
    }

    #[test]
    fn a_broken_source_is_refused_with_its_line() {
        for (source, line) in [
            ("{{ name", 1),
            ("\n{% if x %}", 2),
            ("{{{ NAME }}}", 1),
            ("{% include 'x' %}", 1),
            ("{{ x|nofilter }}", 1),
            ("{% macro f() %}{% endmacro %}", 1),
            ("{% endfor %}", 1),
        ] {
            match html(source) {
                Err(Error::Source { line: at, .. }) => assert_eq!(at, line, "{source}"),
                Err(other) => panic!("{source}: {other:?}"),
                // An unknown filter is found when it runs.
                Ok(template) => assert!(template.render(br#"{"x": 1}"#).is_err(), "{source}"),
            }
        }
        let long = "x".repeat(MAX_SOURCE + 1);
        assert!(matches!(html(&long), Err(Error::SourceTooLong { .. })));
    }

    #[test]
    fn work_and_output_are_bounded() {
        let double = "{% set x = x ~ x %}".repeat(60);
        let loops = "{% for a in range(99999) %}".repeat(6) + &"{% endfor %}".repeat(6);
        let bombs = [
            format!("{double}{{{{ x }}}}"),
            loops,
            "{{ 'x' * 999999999 }}".to_owned(),
            "{{ range(99999)|join(range(99999)|join(x)) }}".to_owned(),
            "{% for a in range(99999) %}{{ x }}{% endfor %}".to_owned(),
            format!("{{{{ x{} }}}}", "|urlencode".repeat(90)),
            format!("{{{{ x{} }}}}", "|tojson|tojson".repeat(40)),
            format!("{{{{ x{} }}}}", "|replace('x', x)".repeat(40)),
            "(".repeat(100_000),
            format!("{{{{ x{} }}}}", ".a".repeat(50_000)),
            format!("{{{{ x{} }}}}", "|e".repeat(50_000)),
            format!("{{{{ x{} }}}}", "+x".repeat(50_000)),
            "{% if x %}".to_owned() + &"{% elif x %}".repeat(20_000) + "{% endif %}",
            "{% set x = [x] %}".repeat(10_000) + "{{ x }}",
            "{% set n = namespace(x=x) %}{% for a in range(9999) %}{% set n.x = [n.x] %}{% endfor %}"
                .to_owned(),
            "{% for a in [[x]] recursive %}{{ loop([a]) }}{% endfor %}".to_owned(),
            format!("{{{{ {}x }}}}", "(".repeat(100_000)),
            format!("{{{{ x{} }}}}", "[0]".repeat(50_000)),
            format!("{{{{ {}x }}}}", "-".repeat(50_000)),
            format!("{{{{ {}x }}}}", "not ".repeat(50_000)),
            "{% if x %}".repeat(20_000),
        ];
        let x = format!(r#"{{"x": "{}"}}"#, "x%\\\"".repeat(200));
        for bomb in bombs {
            if let Ok(out) = render(&bomb, &x) {
                assert!(out.len() <= MAX_PART);
            }
        }
        let long = format!(r#"{{"x": "{}"}}"#, "x".repeat(MAX_VARIABLES));
        assert!(matches!(
            render("a", &long),
            Err(Error::VariablesTooLong(_))
        ));
        let wide = "{% for a in range(9999) %}0123456789012345678901234567890123456789\
            01234567890123456789012345678901234567890123456789012345678901234567890123456789{% endfor %}";
        assert!(matches!(render(wide, "{}"), Err(Error::TooLong { .. })));
    }

    #[test]
    fn variables_must_be_an_object() {
        for wrong in ["[1]", "1", "{", "null", "\"x\"", "{\"a\": NaN}"] {
            assert!(
                matches!(render("a", wrong), Err(Error::Variables(_))),
                "{wrong}"
            );
        }
        assert!(matches!(
            render("a", &"[".repeat(5_000)),
            Err(Error::Variables(_))
        ));
        assert_eq!(render("a", "").unwrap(), "a");
    }

    proptest! {
        /// Law `values_stay_text`: the tags of the result are those of the source.
        #[test]
        fn law_values_stay_text(value: String) {
            let variables = serde_json::json!({"v": value}).to_string();
            let out = render("<p title=\"{{ v }}\">{{ v }}{% for c in [v] %}{{ c ~ v }}{% endfor %}</p>", &variables).unwrap();
            prop_assert_eq!(out.matches('<').count(), 2);
            prop_assert_eq!(out.matches('"').count(), 2);
        }

        /// Law `render_is_pure`.
        #[test]
        fn law_render_is_pure(source in "[a-c{}%| ]{0,30}", keys in prop::collection::vec("[a-c]{1,2}", 0..6)) {
            let source = format!("{source}{{% for k in v %}}{{{{ k }}}}{{% endfor %}}");
            let object: serde_json::Map<_, _> = keys.into_iter().map(|k| (k, serde_json::json!([1]))).collect();
            let variables = serde_json::json!({"v": object, "a": 1}).to_string();
            prop_assert_eq!(render(&source, &variables), render(&source, &variables));
        }
    }
}
