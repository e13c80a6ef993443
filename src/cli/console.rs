//! Standard output and standard error. Everything that the program prints goes through here.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::args::Output;

/// Where results and complaints go.
#[derive(Debug)]
pub(crate) struct Console {
    output: Output,
    lost: AtomicBool,
}

impl Console {
    /// A console that prints results in the given form.
    pub(crate) fn new(output: Output) -> Self {
        Console { output, lost: AtomicBool::new(false) }
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
        self.write(plain(text.trim_end_matches('\n')).as_bytes(), true);
    }

    /// Prints one JSON document.
    pub(crate) fn document(&self, value: &impl Serialize) {
        if let Ok(text) = serde_json::to_string_pretty(value) {
            self.write(text.as_bytes(), true);
        }
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(&self, bytes: &[u8]) {
        self.write(bytes, false);
    }

    /// Whether a result could not be written: then whoever reads it must not take what there is for all.
    pub(crate) fn lost(&self) -> bool {
        self.lost.load(Ordering::Relaxed)
    }

    fn write(&self, bytes: &[u8], line: bool) {
        let mut stdout = std::io::stdout().lock();
        let end: &[u8] = if line { b"\n" } else { b"" };
        let written = stdout.write_all(bytes).and_then(|()| stdout.write_all(end)).and_then(|()| stdout.flush());
        // A closed pipe is the reader's choice, and no loss.
        if written.is_err_and(|error| error.kind() != ErrorKind::BrokenPipe) {
            self.lost.store(true, Ordering::Relaxed);
        }
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
