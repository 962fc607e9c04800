//! The environment variables that a rank must not inherit.

use std::{env, process::Command};

/// Removes the variables that would change jaccl's behaviour from the environment of a
/// rank. The launcher sets the rank's own variables on the command afterwards.
pub fn without_jaccl(command: &mut Command) {
    for (name, _) in env::vars_os() {
        if name.to_str().is_some_and(configures_jaccl) {
            command.env_remove(name);
        }
    }
}

/// Whether jaccl reads a variable of this name (`Config::from_env` in `jaccl.cpp`, and
/// MLX's own `distributed` backends). `JACCL_*` takes precedence over the `MLX_*` that a
/// launcher sets, and `MLX_JACCL_RING` selects a ring whatever its value.
pub fn configures_jaccl(name: &str) -> bool {
    name.starts_with("JACCL_")
        || name.starts_with("MLX_JACCL_")
        || ["MLX_RANK", "MLX_IBV_DEVICES", "MLX_HOSTFILE"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::configures_jaccl;

    #[test]
    fn only_what_jaccl_reads_is_kept_from_ranks() {
        for name in [
            "JACCL_RING",
            "JACCL_RANK",
            "JACCL_BIG_FRAMES",
            "MLX_JACCL_COORDINATOR",
            "MLX_RANK",
        ] {
            assert!(configures_jaccl(name), "{name}");
        }
        for name in ["PATH", "MLX_RAILS_STORE", "MLX_DISABLE_COMPILE", "HOME"] {
            assert!(!configures_jaccl(name), "{name}");
        }
    }
}
