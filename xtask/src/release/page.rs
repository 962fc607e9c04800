//! The page of a release: what it is, what was run, what was not.

use std::{fmt::Write, path::Path};

/// What is said of a release.
pub struct Page {
    mlx: String,
    series: String,
    revision: u32,
    wheels: Vec<(String, bool)>,
    /// The commands that were run, with paths as they are in the folder.
    pub commands: Vec<String>,
}

impl Page {
    pub fn of(mlx: &str, series: &str, revision: u32) -> Self {
        Page {
            mlx: mlx.to_owned(),
            series: series.to_owned(),
            revision,
            wheels: Vec::new(),
            commands: Vec::new(),
        }
    }

    /// Notes a command that ended well.
    pub fn ran(&mut self, words: &[&str]) {
        self.commands
            .push(format!("cargo xtask {}", words.join(" ")));
    }

    /// Notes a wheel, and whether this machine has run it.
    pub fn wheel(&mut self, path: &Path, was_run: bool) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        self.wheels.push((name.into_owned(), was_run));
    }

    pub fn markdown(&self) -> String {
        let Page {
            mlx,
            series,
            revision,
            ..
        } = self;
        let mut text = format!(
            "# MLX {mlx}, {series}, revision {revision}\n\n\
             MLX {mlx} with the jaccl of mlx-rails: the official wheels with one library \
             replaced. The `.json` beside each wheel is its manifest: its base, what was \
             replaced, the patches, and every check of the library.\n\n\
             | | |\n|---|---|\n\
             | `wheels/` | the wheels and their manifests |\n\
             | `snippets/` | what to paste, for uv, pip and Nix |\n\
             | `patches/` | the patches that were applied, in the order of `series` |\n\
             | `verify/verify.html` | every verdict on this jaccl |\n"
        );
        if self.wheels.iter().any(|(_, was_run)| *was_run) {
            text +=
                "| `verify-wheel/verify.html` | the verdicts on the wheel itself, installed |\n";
        }
        text += "| `bench/report.html` | what each emulated cable brings, with charts |\n\
                 | `bench/bench.md` | tokens/s and time to first token over emulated cables |\n\
                 | `SHA256SUMS` | every file; `sha256sum -c SHA256SUMS` checks them |\n\n\
                 ## What was run\n\n\
                 These commands, in a checkout of mlx-rails; each ended with exit code 0:\n\n```sh\n";
        for command in &self.commands {
            let _ = writeln!(text, "{command}");
        }
        text += "```\n\n## What was not run\n\n";
        for (name, was_run) in &self.wheels {
            if !was_run {
                let _ = writeln!(
                    text,
                    "- `{name}` on a Mac: its structure was checked on another system, and no \
                     Mac has loaded its library."
                );
            }
        }
        text += "- Anything over a real cable: all cables were emulated.\n";
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_was_run_and_what_was_not() {
        let mut page = Page::of("0.32.0", "patched", 2);
        page.wheel(Path::new("/x/wheels/mlx_metal-1.whl"), false);
        page.wheel(Path::new("/x/wheels/mlx_cpu-1.whl"), true);
        page.ran(&["verify", "--out-dir", "verify"]);
        let text = page.markdown();
        assert!(
            text.contains("cargo xtask verify --out-dir verify\n"),
            "{text}"
        );
        assert!(text.contains("`mlx_metal-1.whl` on a Mac"), "{text}");
        assert!(!text.contains("`mlx_cpu-1.whl` on a Mac"), "{text}");
        assert!(text.contains("verify-wheel/"), "{text}");
        assert!(!text.contains("/x/"), "{text}");
    }
}
