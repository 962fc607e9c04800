//! That a libjaccl fits into a wheel for macOS.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    path::Path,
};

use pep440_rs::Version;

use crate::{
    check::Check,
    codesign,
    error::{Error, Result},
    group::Group,
    macho::{Dependency, Dylib},
    verbs,
};

/// Where wheels have jaccl.
pub const LIBJACCL: &str = "mlx/lib/libjaccl.dylib";
/// Where wheels have MLX.
pub const LIBMLX: &str = "mlx/lib/libmlx.dylib";

/// Symbols that every macOS has: one that only an older or a simpler linker's output binds,
/// and POSIX functions of libSystem that are older than macOS 11, the first for Apple
/// silicon.
pub(crate) const OF_EVERY_MACOS: [&str; 12] = [
    "dyld_stub_binder",
    "_clock_gettime",
    "_fcntl",
    "_getpid",
    "_pipe",
    "_poll",
    "_pthread_create",
    "_pthread_join",
    "_pthread_sigmask",
    "_setsockopt",
    "_shutdown",
    "_strtod",
];

/// What a new libjaccl is held against.
#[derive(Debug, Clone, Copy)]
pub struct Fit<'a> {
    /// The new library.
    pub ours: &'a Dylib,
    /// The one whose place it takes.
    pub base: &'a Dylib,
    /// The MLX that will load it.
    pub libmlx: &'a Dylib,
    /// The stock source compiled in the same way as `ours`.
    pub stock: &'a Dylib,
}

/// The symbols of libc++ that the libraries of a wheel bind. The macOS that the wheel is for
/// has each of them, so a library that binds no others loads there too, whatever newer
/// headers it was compiled with.
pub fn libcxx_symbols(libraries: &[&Dylib]) -> BTreeSet<String> {
    const LIBCXX: &str = "/usr/lib/libc++.1.dylib";
    // A symbol that any library may define is looked up in all of them; libc++'s are those
    // that none of these defines.
    let is_defined = |symbol: &str| libraries.iter().any(|it| it.defined.contains(symbol));
    let of_cxx = |symbol: &&str| symbol.starts_with("__Z") && !is_defined(symbol);
    libraries
        .iter()
        .flat_map(|library| {
            let anywhere = library.bound_in("").filter(of_cxx);
            library.bound_in(LIBCXX).chain(anywhere)
        })
        .map(str::to_owned)
        .collect()
}

impl Fit<'_> {
    /// Every check of the library, each as a line of the report.
    ///
    /// # Errors
    /// When a library cannot be read.
    pub fn checks(&self) -> Result<Vec<Check>> {
        let Fit { ours, base, .. } = self;
        let install_name = Check::equal("install-name", &ours.install_name, &base.install_name);
        let run_paths = Check::equal("run-paths", &list(&ours.run_paths), &list(&base.run_paths));
        let minimum = Check::equal("minimum-macos", &ours.minimum_macos, &base.minimum_macos);
        Ok(vec![
            self.exports(),
            self.wanted_by_libmlx(),
            self.imports(),
            self.dependencies(),
            install_name,
            run_paths,
            minimum,
            self.signature()?,
            self.group()?,
            self.verbs()?,
        ])
    }

    fn exports(&self) -> Check {
        let missing = self.base.exports.difference(&self.ours.exports);
        let missing: Vec<String> = missing.cloned().collect();
        let more = self.ours.exports.len() + missing.len() - self.base.exports.len();
        let whole = format!(
            "all {} of the base's, and {more} more",
            self.base.exports.len()
        );
        Check::none_missing("exports", &missing, whole)
    }

    fn wanted_by_libmlx(&self) -> Check {
        let wanted: Vec<&str> = self.libmlx.bound_in(&self.base.install_name).collect();
        let missing = wanted.iter().filter(|it| !self.ours.exports.contains(**it));
        let missing: Vec<String> = missing.map(|it| (*it).to_owned()).collect();
        if wanted.is_empty() {
            let problem = format!("libmlx binds nothing in {}", self.base.install_name);
            return Check::of("bound-by-libmlx", false, problem);
        }
        let whole = format!("the {} symbols that libmlx binds are there", wanted.len());
        Check::none_missing("bound-by-libmlx", &missing, whole)
    }

    fn imports(&self) -> Check {
        let known = |symbol: &String| {
            self.base.imports.contains_key(symbol)
                || self.libmlx.imports.contains_key(symbol)
                // It is looked up elsewhere first, lest two libraries have one each.
                || self.ours.defined.contains(symbol)
                || OF_EVERY_MACOS.contains(&symbol.as_str())
        };
        let unknown: Vec<String> = (self.ours.imports.keys())
            .filter(|symbol| !known(symbol))
            .cloned()
            .collect();
        if unknown.is_empty() {
            let detail = format!(
                "the {} it binds are bound by the base's libraries too",
                self.ours.imports.len()
            );
            Check::of("imports", true, detail)
        } else {
            let detail = format!(
                "bound by no library of the base, so macOS {} may not have them: {}",
                self.base.minimum_macos,
                crate::check::some_of(&unknown)
            );
            Check::of("imports", false, detail)
        }
    }

    fn dependencies(&self) -> Check {
        let paths = |library: &Dylib| {
            let mut paths: Vec<_> = library
                .dependencies
                .iter()
                .map(|it| &it.path)
                .cloned()
                .collect();
            paths.sort();
            list(&paths)
        };
        let compatibility = |path: &str, among: &[Dependency]| {
            let found = among.iter().find(|it| it.path == path);
            found.map(|it| it.compatibility)
        };
        let newer =
            self.ours.dependencies.iter().find(|it| {
                compatibility(&it.path, &self.base.dependencies) < Some(it.compatibility)
            });
        match newer {
            Some(it) if paths(self.ours) == paths(self.base) => Check::of(
                "dependencies",
                false,
                format!("wants {} {} or newer", it.path, it.compatibility),
            ),
            _ => Check::equal("dependencies", &paths(self.ours), &paths(self.base)),
        }
    }

    fn signature(&self) -> Result<Check> {
        const NAME: &str = "signature";
        let base = codesign::signature(self.base)?;
        let Some(ours) = codesign::signature(self.ours)? else {
            return Ok(Check::of(NAME, false, "is not signed"));
        };
        if !ours.holds() {
            let pages = ours.wrong_pages.len();
            let detail = format!(
                "{pages} pages have another hash, and {} bytes have none",
                ours.uncovered
            );
            return Ok(Check::of(NAME, false, detail));
        }
        let kind = |ad_hoc| if ad_hoc { "ad hoc" } else { "by a certificate" };
        Ok(match base {
            // An application's build signs every library again, so that its own is no
            // longer the linker's.
            Some(base) if base.ad_hoc && !ours.ad_hoc => {
                Check::of(NAME, false, "by a certificate, where the base's is ad hoc")
            }
            _ => {
                let detail = format!("{}, as {:?}", kind(ours.ad_hoc), ours.identifier);
                Check::of(NAME, true, detail)
            }
        })
    }

    fn group(&self) -> Result<Check> {
        const NAME: &str = "group";
        let unread = || "has no table of jaccl::MeshGroup".to_owned();
        let (Some(base), Some(ours)) = (Group::of(self.base)?, Group::of(self.ours)?) else {
            return Ok(Check::of(NAME, false, unread()));
        };
        Ok(match (base.since(), ours.since()) {
            (None, _) => Check::of(NAME, false, format!("the base's is unknown: {base}")),
            (base_since, ours_since) if base_since != ours_since => {
                let detail = format!("{ours}, where the base has {base}");
                Check::of(NAME, false, detail)
            }
            (Some(since), _) => Check::of(NAME, true, format!("{ours} (since MLX {since})")),
        })
    }

    fn verbs(&self) -> Result<Check> {
        const NAME: &str = "verbs";
        let (base, stock) = (verbs::calls(self.base)?, verbs::calls(self.stock)?);
        let ours = verbs::calls(self.ours)?;
        let offsets = |calls: &BTreeMap<i32, usize>| {
            let mut text = String::new();
            for offset in calls.keys() {
                let joint = if text.is_empty() { "" } else { ", " };
                let _ = write!(text, "{joint}+{offset:#x}");
            }
            text
        };
        let same = base.keys().eq(stock.keys()) && base.keys().eq(ours.keys());
        let detail = if base.is_empty() {
            "the base calls none".to_owned()
        } else if same {
            format!("called in the context at {}", offsets(&base))
        } else {
            format!(
                "called at {} by ours, at {} by the stock source compiled in the same way, \
                 and at {} by the base",
                offsets(&ours),
                offsets(&stock),
                offsets(&base)
            )
        };
        Ok(Check::of(NAME, same && !base.is_empty(), detail))
    }
}

/// What shows of a wheel without its base: that libmlx finds what it binds, by name and by
/// position, in a libjaccl that macOS loads.
///
/// # Errors
/// When a library cannot be read.
pub fn structure(libjaccl: &Dylib, libmlx: &Dylib) -> Result<Vec<Check>> {
    let fit = Fit {
        ours: libjaccl,
        base: libjaccl,
        libmlx,
        stock: libjaccl,
    };
    Ok(vec![fit.wanted_by_libmlx(), fit.signature()?, fit.group()?])
}

/// That a library is one that ours can take the place of.
///
/// # Errors
/// [`Error::Unfit`] with what was seen when libmlx does not load a libjaccl, or when the
/// order of its group's functions is not that of `mlx`, the release that ours is of.
pub fn admit(file: &Path, libjaccl: &Dylib, libmlx: &Dylib, mlx: &Version) -> Result<()> {
    let unfit = |problem: String, remedy: &str| Error::Unfit {
        file: file.to_owned(),
        problem,
        remedy: remedy.to_owned(),
    };
    let loads = |it: &Dependency| it.path == libjaccl.install_name;
    if !libmlx.dependencies.iter().any(loads) {
        return Err(unfit(
            "its libmlx loads no libjaccl, so that one put there would not be used".into(),
            "take the wheel for macOS 26.0 (macosx_26_0_arm64); those for 14.0 and 15.0 have \
             no jaccl",
        ));
    }
    let group = Group::of(libjaccl)?.ok_or_else(|| {
        unfit(
            "its libjaccl has no table of jaccl::MeshGroup, so the order of the functions \
             that libmlx calls is not known"
                .into(),
            "take a wheel whose libraries still have their symbols",
        )
    })?;
    let Some(since) = group.since() else {
        let problem = format!(
            "the functions of its jaccl::Group are in an order that no known MLX has: {group}"
        );
        return Err(unfit(
            problem,
            "pin the MLX that it was built from (`cargo xtask pin add`), and add the order to \
             crates/wheel/src/group.rs",
        ));
    };
    if Group::of_release(mlx) != Some(since) {
        let problem = format!(
            "the functions of its jaccl::Group are those of MLX {since} ({group}), which are \
             not those of MLX {mlx}"
        );
        return Err(unfit(
            problem,
            &format!("pass --mlx {since}, or a later pin that `cargo xtask doctor` lists"),
        ));
    }
    Ok(())
}

fn list(items: &[String]) -> String {
    match items {
        [] => "none".to_owned(),
        items => items.join(", "),
    }
}
