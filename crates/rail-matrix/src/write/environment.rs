//! The environment of each rank, as lines for `sh`.

use std::{borrow::Cow, fmt::Write as _};

use crate::{Plan, Variable};

pub fn environment(plan: &Plan, devices: &str) -> String {
    let mut text = String::new();
    for (rank, node) in plan.nodes.iter().enumerate() {
        if rank > 0 {
            text.push('\n');
        }
        // A line break in a name would end the comment.
        let name = node.name.escape_debug();
        let _ = writeln!(text, "# rank {rank}: {name}");
        let (set, unset): (Vec<_>, Vec<_>) = plan
            .environment(rank, devices)
            .into_iter()
            .partition(|variable| variable.value.is_some());
        let unset: Vec<_> = unset.iter().map(|variable| &*variable.name).collect();
        let _ = writeln!(text, "unset {}", unset.join(" "));
        for Variable { name, value } in set {
            let value = value.unwrap_or_default();
            let _ = writeln!(text, "export {name}={}", quoted(&value));
        }
        if plan.coordinator.is_none() {
            text.push_str("# MLX_JACCL_COORDINATOR: no address of rank 0 is known\n");
        }
    }
    text
}

/// Quotes text for `sh`. A NUL, which no shell can pass, is left out.
fn quoted(value: &str) -> Cow<'_, str> {
    shlex::try_quote(value).unwrap_or_else(|_| quoted(&value.replace('\0', "")).into_owned().into())
}
