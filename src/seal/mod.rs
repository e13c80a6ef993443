//! Sealing with age: [`Recipients`] close, [`Identities`] open, and whoever holds only the first can do only the first.
//! Knows bytes and keys, and nothing of what the bytes are or where they go.
//!
//! Calls here compute, read small files and may run `age-plugin-*` programs: from asynchronous code they belong on a
//! blocking thread. Nothing here prompts by itself; what a passphrase or a plugin asks goes to a [`Prompt`].

mod close;
mod generate;
mod open;
mod prompt;
mod reap;

pub use close::Recipients;
pub use generate::{NewIdentity, generate};
pub use open::Identities;
pub use prompt::{NoPrompt, Prompt};

/// What a plugin says, fit for one line of a terminal.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// What plugins reported, joined.
fn plugin_errors(errors: &[impl std::fmt::Display]) -> String {
    errors.iter().map(|error| one_line(&error.to_string())).collect::<Vec<_>>().join("; ")
}
