//! Standard output and standard error. Everything that the program prints goes through here.

use std::io::{IsTerminal, Write};

use serde::Serialize;

use super::args::Output;

/// Where results and complaints go.
#[derive(Debug)]
pub(crate) struct Console {
    output: Output,
}

impl Console {
    /// A console that prints results in the given form.
    pub(crate) fn new(output: Output) -> Self {
        Console { output }
    }

    /// The form that was asked for.
    pub(crate) fn output(&self) -> Output {
        self.output
    }

    /// Prints a result: `text` for people, `value` for machines.
    pub(crate) fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        match self.output {
            Output::Text => self.say(&text()),
            Output::Json => self.document(value),
        }
    }

    /// Prints text for people, with one newline at its end.
    pub(crate) fn say(&self, text: &str) {
        // A closed pipe is the reader's choice, not an error of ours.
        let _ = writeln!(std::io::stdout().lock(), "{}", plain(text.trim_end_matches('\n')));
    }

    /// Prints one JSON document.
    pub(crate) fn document(&self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string_pretty(value) {
            let _ = writeln!(std::io::stdout().lock(), "{text}");
        }
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        let _ = std::io::stdout().lock().write_all(bytes);
    }

    /// Prints something that is no result: a warning, an error, a hint.
    pub(crate) fn complain(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{}", plain(text));
    }

    /// Whether a person sits at both ends, so that a question can be asked.
    pub(crate) fn interactive(&self) -> bool {
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
    }

    /// Asks a question and returns the answer without its newline; `None` at the end of input.
    pub(crate) fn ask(&self, question: &str) -> Option<String> {
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "{question} ");
        let _ = stderr.flush();
        let mut answer = String::new();
        let read = std::io::stdin().read_line(&mut answer).ok()?;
        (read > 0).then(|| answer.trim().to_owned())
    }
}

/// Text without control characters but newlines: a name in somebody's store may hold what repaints a terminal.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn nothing_that_is_printed_can_drive_the_terminal() {
        assert_eq!(plain("a\u{1b}[2Jb\nc\u{9b}d"), "a\u{fffd}[2Jb\nc\u{fffd}d");
    }
}
