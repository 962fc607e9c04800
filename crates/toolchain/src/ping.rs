//! Compiling `rails-ping`, our program over the crate `ibverbs`.
//!
//! The crate's build script would have CMake compile all of rdma-core and use nothing of
//! it but the headers, which the toolchain has; so it gets a CMake that does nothing. The
//! linker wants some libibverbs: the emulated one, whose name and symbol versions are
//! those of the real one, which the program runs with as well.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use xshell::cmd;

use crate::{
    Toolchain, build_script,
    error::{Error, IoContext, Result},
    process::{cargo, shell_in},
};

impl Toolchain {
    /// Compiles `rails-ping`, linked to `provider`, and gives its path. It has a target
    /// folder of its own: the variables that its build takes would have cargo compile
    /// bindgen anew for every other program.
    ///
    /// # Errors
    /// When the header or libclang cannot be fetched, or it does not compile.
    pub fn rails_ping(&self, provider: &Path) -> Result<PathBuf> {
        let target = self.root.join("target/rails-ping");
        let library = target.join("lib/libibverbs.so");
        link(provider, &library)?;
        let verbs = self.verbs()?;
        let clang = build_script::clang(self)?;
        let include = format!("-I'{}' ", verbs.display());
        self.progress.step("Compiling", "rails-ping");
        let (shell, cargo) = (shell_in(&self.root)?, cargo());
        let build = cmd!(
            shell,
            "{cargo} build --release --locked --package rails-ping --features verbs
             --target-dir {target}"
        )
        .env("CMAKE", "true")
        .env("LIBCLANG_PATH", &clang.libclang)
        .env("BINDGEN_EXTRA_CLANG_ARGS", include + &clang.args.join(" "))
        .env("LIBRARY_PATH", library.with_file_name(""));
        launch::run(&self.launcher, "compiling rails-ping", build, None, |_| {})?;
        self.progress.finish();
        let program = target.join("release/rails-ping");
        match program.is_file() {
            true => Ok(program),
            false => Err(Error::Command {
                what: "compiling rails-ping".into(),
                status: "success".into(),
                tail: format!("it is not at {}", program.display()),
                log: None,
            }),
        }
    }
}

/// Makes a link, or lets it be where it is right already: another process may be linking.
fn link(to: &Path, link: &Path) -> Result<()> {
    let to = fs::canonicalize(to).at("find", to)?;
    if fs::read_link(link).is_ok_and(|is| is == to) {
        return Ok(());
    }
    let folder = link.with_file_name("");
    fs::create_dir_all(&folder).at("create", &folder)?;
    let scratch = tempfile::tempdir_in(&folder).at("create a folder in", &folder)?;
    let made = scratch.path().join("link");
    symlink(&to, &made).at("create", &made)?;
    fs::rename(&made, link).at("create", link)
}
