//! Buries plugin processes. age starts one for each file and never waits for it (age-core 0.12, `plugin.rs`), so that a
//! long run would leave a zombie for each object, and a container with a limit on processes would stop starting new ones.

/// Waits for plugins that this thread started and that have ended. One that is just ending is met the next time.
#[cfg(target_os = "linux")]
pub(super) fn plugins() {
    use rustix::process::{Pid, WaitOptions, waitpid};

    // Children of this thread only: others' are theirs to wait for. Where the kernel does not list them, they stay.
    let children = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    for child in children.split_ascii_whitespace() {
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        if let (true, Some(pid)) = (name.starts_with("age-plugin-"), child.parse().ok().and_then(Pid::from_raw)) {
            let _ = waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// Elsewhere they are buried when the program ends.
#[cfg(not(target_os = "linux"))]
pub(super) fn plugins() {}
