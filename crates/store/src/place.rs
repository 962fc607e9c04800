//! The location of the store, with everything that differs between systems.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The environment variable that names the store's folder.
pub const STORE_ENV: &str = "MLX_RAILS_STORE";

pub(crate) fn of_user() -> Option<PathBuf> {
    place(|name| env::var_os(name), cfg!(target_os = "macos"))
}

/// The store's folder according to the variables of an environment.
fn place(variable: impl Fn(&str) -> Option<OsString>, is_macos: bool) -> Option<PathBuf> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    if let Some(root) = set(STORE_ENV) {
        // If the working directory is gone, a relative path stays as it is; the first use
        // then fails and names it.
        return Some(std::path::absolute(&root).unwrap_or_else(|_| root.into()));
    }
    let cache_of = |home: &Path| home.join(if is_macos { "Library/Caches" } else { ".cache" });
    set("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| cache_of(Path::new(&home))))
        .map(|cache| cache.join("mlx-rails"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(variables: &[(&str, &str)], is_macos: bool, expected: Option<&str>) {
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).into())
        };
        let found = place(value, is_macos);
        assert_eq!(found, expected.map(PathBuf::from), "{variables:?}");
    }

    #[test]
    fn the_store_is_where_the_environment_says() {
        let home = ("HOME", "/home/u");
        check(&[home], false, Some("/home/u/.cache/mlx-rails"));
        check(&[home], true, Some("/home/u/Library/Caches/mlx-rails"));
        let cache = ("XDG_CACHE_HOME", "/x");
        check(&[home, cache], true, Some("/x/mlx-rails"));
        check(&[home, cache, (STORE_ENV, "/s")], false, Some("/s"));
        let empty = (STORE_ENV, "");
        check(&[home, empty], false, Some("/home/u/.cache/mlx-rails"));
        check(&[("HOME", "")], false, None);
    }
}
