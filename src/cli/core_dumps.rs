//! Core dumps: none, of a process that holds keys. Knows nothing of what it holds.

use rustix::process::{Resource, Rlimit, setrlimit};

/// Forbids that this process is ever written to a core file, and what it starts inherits that.
///
/// The limit alone does not bind a kernel that pipes cores to a program, as systemd and Ubuntu have it. So on Linux the
/// process is made undumpable too, which also keeps other processes of the same user from attaching to it and from
/// reading its memory; root still can. What it starts, plugins of age among them, is dumpable again, as the kernel has
/// it. Neither can fail for a process that only ever gives something up; if one did, there would be nothing to do about
/// it that is better than going on.
pub(super) fn never() {
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}
