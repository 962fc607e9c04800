//! What `ssh` says.

/// What to do about what `ssh` said of a host that it does not log in to.
pub fn ssh_remedy(host: &str, said: &str) -> String {
    let is = |part: &str| said.contains(part);
    if is("resolve") || is("not known") {
        format!(
            "write a name or an address of the machine, or put `Host {host}` into ~/.ssh/config"
        )
    } else if is("Permission denied") || is("authentication") {
        format!(
            "`ssh-copy-id {host}` brings your key there; a key with a passphrase needs ssh-agent"
        )
    } else if is("Host key") || is("HOST IDENTIFICATION") {
        format!(
            "`ssh {host}` once shows the machine's key and asks; a key that has changed is removed \
             by `ssh-keygen -R {host}`"
        )
    } else if is("refused") {
        "on a Mac: System Settings, General, Sharing, Remote Login; elsewhere start sshd".to_owned()
    } else if ["timed out", "No route", "unreachable"].into_iter().any(is) {
        format!("wake the machine and look at its network: `ssh {host} true` must end within 10 s")
    } else {
        format!("`ssh {host} true` must end without a question")
    }
}
