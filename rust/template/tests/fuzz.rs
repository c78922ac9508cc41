//! Hostile sources and values: a template is compiled and rendered within its bounds, twice alike, or
//! it is an error. `make test` tries some thousands; `make soak` a million (`BOLERO_RANDOM_ITERATIONS`).
#![allow(clippy::unwrap_used, reason = "what cannot go on in a test fails it")]

use postalynk_template::{Error, FUEL, MAX_PART, MAX_SUBJECT, Sources, Template};

fn iterations() -> usize {
    let wanted = std::env::var("BOLERO_RANDOM_ITERATIONS").ok();
    wanted.and_then(|n| n.parse().ok()).unwrap_or(3_000)
}

/// Pieces of the language: noise alone rarely gets past the lexer.
const PIECES: [&str; 40] = [
    "{{ ",
    " }}",
    "{% ",
    " %}",
    "{#",
    "#}",
    "{{ v }}",
    "{% if v %}",
    "{% else %}",
    "{% endif %}",
    "{% for a in v %}",
    "{% for a in range(999) %}",
    "{% for k, a in o|items %}",
    "{% endfor %}",
    "{% set v = v ~ v %}",
    "{% set o = [o, o] %}",
    "{{ a }}",
    "{{ o.x }}",
    "{{ o }}",
    "v",
    "a",
    "o.x[0]",
    "|upper",
    "|safe",
    "|e",
    "|join(v)",
    "|replace('x', v)",
    "|tojson",
    "|default(v)",
    " ~ ",
    " + ",
    " * ",
    "999999999",
    "'x'",
    "(",
    ")",
    "[",
    "]",
    "loop.index",
    "\n<p title=\"",
];

/// Octets from 1 on are pieces; a 0 takes the next one as it is.
fn source(octets: &[u8]) -> String {
    let mut octets = octets.iter().copied();
    let mut source = String::new();
    while let Some(octet) = octets.next() {
        match octet {
            0 => source.push(octets.next().map_or(' ', char::from)),
            n => source.push_str(PIECES[usize::from(n) % PIECES.len()]),
        }
    }
    source
}

#[test]
fn fuzz_render() {
    bolero::check!()
        .with_iterations(iterations())
        .with_type::<(Vec<u8>, Vec<u8>, String)>()
        .for_each(|(one, two, value)| {
            let (subject, html) = (source(one), source(two));
            let sources = Sources {
                subject: &subject,
                html: &html,
                text: value,
            };
            let template = match Template::new(sources) {
                Ok(template) => template,
                Err(error) => {
                    assert!(matches!(
                        error,
                        Error::Source { .. } | Error::SourceTooLong { .. }
                    ));
                    assert!(!error.to_string().is_empty() && !error.fix().is_empty());
                    return;
                }
            };
            assert!(template.is_of(sources));
            let variables = serde_json::json!({"v": value, "o": {"x": [value, 1]}, "a": 1.5});
            let rendered = template.render(variables.to_string().as_bytes());
            assert_eq!(rendered, template.render(variables.to_string().as_bytes()));
            if let Ok(rendered) = rendered {
                let octets = |part: &Option<String>| part.as_ref().map_or(0, String::len);
                assert!(octets(&rendered.subject) <= MAX_SUBJECT);
                assert!(octets(&rendered.html) <= MAX_PART && octets(&rendered.text) <= MAX_PART);
                assert!(rendered.fuel <= 3 * FUEL);
            }
        });
}

#[test]
fn fuzz_variables() {
    bolero::check!()
        .with_iterations(iterations())
        .for_each(|octets: &[u8]| {
            let template = Template::new(Sources {
                html: "{{ v }}",
                ..Sources::default()
            })
            .unwrap();
            let near = [b"{\"v\": \"".as_slice(), octets, b"\"}"].concat();
            for variables in [octets, &near] {
                if let Ok(rendered) = template.render(variables) {
                    assert!(!rendered.html.unwrap().contains('<'));
                }
            }
        });
}
