//! Who runs a command, for the log. Knows the environment and this system's users, and nothing of Azure's identities.

use std::path::Path;

use super::files;

/// Who is doing this, as the system tells: evidence, not authentication.
pub(crate) fn operator() -> String {
    let short = |path: &str| files::read(Path::new(path), 1 << 20).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let variable = |name: &str| std::env::var(name).ok();
    let uid = rustix::process::getuid().as_raw();
    told(&variable, uid, &short)
}

/// The user by the environment; where that does not tell, as in containers, the one of this process, and the host.
fn told(variable: &dyn Fn(&str) -> Option<String>, uid: u32, read: &dyn Fn(&str) -> Option<String>) -> String {
    let plain = |text: String| -> Option<String> {
        let plain = |c: &char| c.is_alphanumeric() || "@._-\\".contains(*c);
        let text: String = text.chars().filter(plain).take(128).collect();
        (!text.is_empty()).then_some(text)
    };
    let named = |name: &str| variable(name).and_then(plain);
    if let Some(user) = named("USER").or_else(|| named("LOGNAME")) {
        return user;
    }
    let of_uid = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    };
    let listed = read("/etc/passwd").and_then(|passwd| passwd.lines().find_map(of_uid)).and_then(plain);
    let user = listed.unwrap_or_else(|| format!("uid-{uid}"));
    // A container's user says little without the container.
    match named("HOSTNAME").or_else(|| read("/etc/hostname").and_then(plain)) {
        Some(host) => format!("{user}@{host}").chars().take(128).collect(),
        None => user,
    }
}

#[cfg(test)]
mod tests {
    use super::told;

    #[test]
    fn the_operator_is_the_user_or_else_the_user_of_the_process_and_its_host() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\njunk\nann:x:1000:1000::/home/ann:/bin/sh\n";
        let who = |environment: &[(&str, &str)], uid, files: &[(&str, &str)]| {
            let of = |table: &[(&str, &str)], name: &str| {
                table.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
            };
            told(&|name| of(environment, name), uid, &|path| of(files, path))
        };
        let files = [("/etc/passwd", passwd), ("/etc/hostname", "pod-7\n")];
        assert_eq!(who(&[("USER", "CORP\\bob"), ("LOGNAME", "x"), ("HOSTNAME", "h")], 0, &files), "CORP\\bob");
        assert_eq!(who(&[("USER", ""), ("LOGNAME", "eve\u{1b}[2J")], 0, &files), "eve2J");
        assert_eq!(who(&[], 1000, &files), "ann@pod-7");
        assert_eq!(who(&[("HOSTNAME", "job-1")], 65532, &files), "uid-65532@job-1");
        assert_eq!(who(&[], 0, &[]), "uid-0");
        let long = "h".repeat(500);
        assert_eq!(who(&[("HOSTNAME", &long)], 0, &[]).len(), 128);
    }
}
