//! Progress on a terminal: a bar on standard error. Where standard error is no terminal, nothing is drawn.

use std::io::IsTerminal;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::progress::Progress;

/// A bar that follows a job.
pub(crate) struct Bar {
    bar: Mutex<ProgressBar>,
    label: String,
}

impl Bar {
    /// A bar labelled with what is worked on, such as a vault's name.
    pub(crate) fn new(label: impl Into<String>) -> Self {
        Bar { bar: Mutex::new(ProgressBar::hidden()), label: label.into() }
    }

    fn replace(&self, bar: ProgressBar) {
        let mut current = self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        current.finish_and_clear();
        *current = bar;
    }

    fn with(&self, act: impl FnOnce(&ProgressBar)) {
        act(&self.bar.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

impl Progress for Bar {
    fn stage(&self, what: &str, total: Option<u64>) {
        if !std::io::stderr().is_terminal() {
            return;
        }
        let template = match total {
            Some(_) => "{prefix} {msg:<18} {wide_bar} {pos}/{len} {eta}",
            None => "{prefix} {msg:<18} {spinner} {elapsed}",
        };
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
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
        self.with(ProgressBar::finish_and_clear);
    }
}
