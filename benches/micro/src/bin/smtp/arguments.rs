//! `--name value` pairs.

use std::collections::HashMap;
use std::str::FromStr;

use crate::Failure;

/// See the module.
pub struct Arguments(HashMap<String, String>);

impl Arguments {
    /// The subcommand and what follows it.
    pub fn read(mut words: impl Iterator<Item = String>) -> Result<(String, Self), Failure> {
        let subcommand = words.next().ok_or("a subcommand is missing")?;
        let mut found = HashMap::new();
        while let Some(name) = words.next() {
            let name = name.strip_prefix("--").ok_or("options begin with --")?;
            let value = words.next().ok_or(format!("--{name} needs a value"))?;
            found.insert(name.to_owned(), value);
        }
        Ok((subcommand, Self(found)))
    }

    /// An option that must be given.
    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        let found = self.0.get(name).map(String::as_str);
        found.ok_or_else(|| format!("--{name} is missing").into())
    }

    /// An option with a default.
    pub fn number<T: FromStr>(&self, name: &str, default: T) -> Result<T, Failure> {
        match self.0.get(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| format!("--{name} {text} is no number").into()),
        }
    }
}
