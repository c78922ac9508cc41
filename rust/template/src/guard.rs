//! What would go too deep, refused before it is compiled.
//!
//! **Problem.** An expression such as `x[0][0]…` or a chain of `elif` becomes a tree as deep as it is
//! long, which compiler, interpreter and destructor walk by recursion: some thousands of levels end
//! the process, which no error handler can catch. Fuel does not help: nothing runs yet.
//! **Model.** The compiler's own tokenizer reads the source; a tag holds at most [`MAX_TAG`] tokens, a
//! template at most [`MAX_CHAIN`] times `elif` and `set`. A tenth of what is dangerous, ten times what
//! anybody writes.

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;

use crate::error::{Error, Part};

/// Names, numbers and signs between `{{` or `{%` and its end.
pub const MAX_TAG: usize = 200;
/// `elif` and `set` in one template.
pub const MAX_CHAIN: usize = 100;

/// # Errors
/// [`Error::Source`] at the first tag too many. What is no template passes: the compiler refuses it.
pub(crate) fn refuse_depth(part: Part, source: &str) -> Result<(), Error> {
    let (mut in_tag, mut chained) = (0, 0);
    for token in tokenize(source, false, SyntaxConfig::default()) {
        let Ok((token, span)) = token else {
            return Ok(());
        };
        let deep = |reason: String| Error::Source {
            part,
            line: span.start_line as usize,
            reason,
        };
        match token {
            Token::TemplateData(_) | Token::VariableStart | Token::BlockStart => in_tag = 0,
            Token::Ident("elif" | "set") => {
                chained += 1;
                if chained > MAX_CHAIN {
                    let reason = format!("more than {MAX_CHAIN} times elif and set");
                    return Err(deep(reason));
                }
            }
            _ => {}
        }
        in_tag += 1;
        if in_tag > MAX_TAG {
            let reason = format!("more than {MAX_TAG} names, numbers and signs in one tag");
            return Err(deep(reason));
        }
    }
    Ok(())
}
