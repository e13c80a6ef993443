//! Progress on a terminal: bars on standard error, one for each thing that is worked on. Where standard error is no
//! terminal, no bar is drawn; a job on many things tells of each in a line.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::console::Console;
use crate::progress::Progress;

/// Bars below each other, and lines above them.
pub(crate) struct Bars<'a> {
    console: &'a Console,
    bars: MultiProgress,
}

impl<'a> Bars<'a> {
    /// No bar yet.
    pub(crate) fn new(console: &'a Console) -> Self {
        Bars { console, bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()) }
    }

    /// One more bar, labelled with what is worked on.
    pub(crate) fn bar(&self, label: impl Into<String>) -> Bar {
        Bar::among(label, Some(self.bars.clone()))
    }

    /// Prints a line that is no result, above the bars.
    pub(crate) fn tell(&self, text: &str) {
        self.bars.suspend(|| self.console.complain(text));
    }
}

/// A bar that follows a job.
pub(crate) struct Bar {
    bar: Mutex<ProgressBar>,
    label: String,
    among: Option<MultiProgress>,
}

impl Bar {
    /// A bar labelled with what is worked on, such as a vault's name.
    pub(crate) fn new(label: impl Into<String>) -> Self {
        Bar::among(label, None)
    }

    fn among(label: impl Into<String>, among: Option<MultiProgress>) -> Self {
        Bar { bar: Mutex::new(ProgressBar::hidden()), label: label.into(), among }
    }

    fn replace(&self, bar: ProgressBar) {
        let mut current = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        current.finish_and_clear();
        if let Some(bars) = &self.among {
            bars.remove(&current);
        }
        *current = bar;
    }

    fn with(&self, act: impl FnOnce(&ProgressBar)) {
        act(&self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Bar {
    fn stage(&self, what: &str, total: Option<u64>) {
        tracing::info!("{}: {what}", self.label);
        if !std::io::stderr().is_terminal() {
            return;
        }
        let template = match total {
            Some(_) => "{prefix} {msg:<18} {wide_bar} {pos}/{len} {eta}",
            None => "{prefix} {msg:<18} {spinner} {elapsed}",
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        match &self.among {
            Some(bars) => drop(bars.add(bar.clone())),
            None => bar.set_draw_target(ProgressDrawTarget::stderr()),
        }
        bar.set_style(ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_prefix(self.label.clone());
        bar.set_message(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        self.replace(bar);
    }

    fn expect(&self, more: u64) {
        self.with(|bar| bar.inc_length(more));
    }

    fn step(&self) {
        self.with(|bar| bar.inc(1));
    }

    fn note(&self, text: &str) {
        tracing::info!("{text}");
        self.with(|bar| bar.set_message(text.to_owned()));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.replace(ProgressBar::hidden());
    }
}
