//! Compiling `allreduce_bench`, the benchmark among jaccl's own examples.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    Toolchain,
    build::Build,
    compiler::Compilers,
    error::{IoContext, Result},
};

/// Its source in a tree of MLX.
const SOURCE: &str = "mlx/distributed/jaccl/lib/examples/allreduce_bench.cpp";

impl Toolchain {
    /// Compiles MLX's own benchmark of jaccl, unmodified, against a build of jaccl and out of
    /// the tree that was built, and gives its path. What was compiled before is used again.
    ///
    /// # Errors
    /// If it does not compile, or a folder cannot be written.
    pub fn allreduce_bench(&self, build: &Build, tree: &Path) -> Result<PathBuf> {
        let folder = self.root.join("target/allreduce-bench");
        let folder = folder.join(&build.manifest.key);
        let program = folder.join("allreduce_bench");
        if program.is_file() {
            return Ok(program);
        }
        fs::create_dir_all(&folder).at("create", &folder)?;
        let scratch = tempfile::tempdir_in(&folder).at("create a folder in", &folder)?;
        let made = scratch.path().join("allreduce_bench");
        let mut command = Compilers::detect(&self.environment)?
            .cxx
            .command(&self.environment);
        command
            .args(["-std=c++20", "-O2", "-I"])
            .arg(build.prefix.join("include"))
            .arg("-o")
            .arg(&made)
            .arg(tree.join(SOURCE))
            .arg(build.prefix.join("lib/libjaccl.a"))
            .args(["-ldl", "-lpthread"]);
        self.progress.step("Compiling", "jaccl's allreduce_bench");
        launch::run(
            &self.launcher,
            "compiling allreduce_bench",
            command,
            None,
            |_| {},
        )?;
        self.progress.finish();
        fs::rename(&made, &program).at("create", &program)?;
        Ok(program)
    }
}
