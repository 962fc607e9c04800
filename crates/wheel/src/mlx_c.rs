//! That a libmlxc, the C interface to MLX, fits beside the libmlx of a wheel for macOS.

use std::collections::BTreeSet;

use crate::{
    check::{Check, some_of},
    codesign,
    error::Result,
    macho::Dylib,
    macos::OF_EVERY_MACOS,
};

/// The install name of the C interface.
const INSTALL_NAME: &str = "@rpath/libmlxc.dylib";
/// Libraries whose symbols are the system's.
const OF_SYSTEM: &str = "/usr/lib/";

/// Symbols of libc++ that mlx-c binds and that no library of a wheel does: it derives a
/// stream and its buffer. They are of `std::ostream` and `std::streambuf`, which libc++ has
/// had instantiated in every macOS (`_LIBCPP_EXTERN_TEMPLATE` in its `ostream` and
/// `streambuf`, in no list of `__availability`).
pub const LIBCXX_STREAMS: [&str; 15] = [
    "__ZNSt3__113basic_ostreamIcNS_11char_traitsIcEEED0Ev",
    "__ZNSt3__113basic_ostreamIcNS_11char_traitsIcEEED1Ev",
    "__ZNSt3__115basic_streambufIcNS_11char_traitsIcEEE5imbueERKNS_6localeE",
    "__ZNSt3__115basic_streambufIcNS_11char_traitsIcEEE5uflowEv",
    "__ZNSt3__115basic_streambufIcNS_11char_traitsIcEEE6setbufEPcl",
    "__ZNSt3__115basic_streambufIcNS_11char_traitsIcEEE6xsgetnEPcl",
    "__ZNSt3__115basic_streambufIcNS_11char_traitsIcEEE7seekoffExNS_8ios_base7seekdirEj",
    "__ZNSt3__115basic_streambufIcNS_11char_traitsIcEEE7seekposENS_4fposI11__mbstate_tEEj",
    "__ZNSt3__115basic_streambufIcNS_11char_traitsIcEEE9pbackfailEi",
    "__ZNSt3__115basic_streambufIcNS_11char_traitsIcEEE9showmanycEv",
    "__ZNSt3__115basic_streambufIcNS_11char_traitsIcEEE9underflowEv",
    "__ZTINSt3__113basic_ostreamIcNS_11char_traitsIcEEEE",
    "__ZTINSt3__115basic_streambufIcNS_11char_traitsIcEEEE",
    "__ZTv0_n24_NSt3__113basic_ostreamIcNS_11char_traitsIcEEED0Ev",
    "__ZTv0_n24_NSt3__113basic_ostreamIcNS_11char_traitsIcEEED1Ev",
];

/// What mlx-c binds of libSystem and no library of a wheel does: functions of ISO C.
const OF_C: [&str; 4] = ["_exit", "_fflush", "_fputc", "_vsnprintf"];

/// A libmlxc and what it is held against.
#[derive(Debug, Clone, Copy)]
pub struct MlxC<'a> {
    /// The library.
    pub ours: &'a Dylib,
    /// The MLX that it calls.
    pub libmlx: &'a Dylib,
    /// The wheel's own jaccl.
    pub libjaccl: &'a Dylib,
    /// The functions that its headers declare.
    pub functions: &'a BTreeSet<String>,
    /// Whether it was linked against Apple's SDK, which refuses what its oldest macOS lacks.
    /// If not, it may bind no more of the system than the wheel's libraries do.
    pub by_sdk: bool,
}

impl MlxC<'_> {
    /// Every check of the library.
    ///
    /// # Errors
    /// When a library cannot be read.
    pub fn checks(&self) -> Result<Vec<Check>> {
        let Self { ours, libmlx, .. } = self;
        Ok(vec![
            Check::equal("install-name", &ours.install_name.as_str(), &INSTALL_NAME),
            Check::equal(
                "run-paths",
                &ours.run_paths.join(", ").as_str(),
                &"@loader_path",
            ),
            Check::equal("minimum-macos", &ours.minimum_macos, &libmlx.minimum_macos),
            self.dependencies(),
            self.exports(),
            self.bound_in_libmlx(),
            self.imports(),
            self.signature()?,
        ])
    }

    fn dependencies(&self) -> Check {
        const NAME: &str = "dependencies";
        let paths = |library: &Dylib| -> BTreeSet<String> {
            let paths = library.dependencies.iter().map(|it| it.path.clone());
            paths.collect()
        };
        let ours = paths(self.ours);
        let mut known = paths(self.libmlx);
        known.insert(self.libmlx.install_name.clone());
        let unknown: Vec<String> = ours.difference(&known).cloned().collect();
        if !unknown.is_empty() {
            let detail = format!("loads what libmlx does not: {}", some_of(&unknown));
            return Check::of(NAME, false, detail);
        }
        let loads_libmlx = ours.contains(&self.libmlx.install_name);
        let ours: Vec<String> = ours.into_iter().collect();
        Check::of(NAME, loads_libmlx, ours.join(", "))
    }

    fn exports(&self) -> Check {
        let wanted = self.functions.iter().map(String::as_str);
        let missing: Vec<String> = wanted
            .chain(["rails_build_key"])
            .filter(|it| !self.ours.exports.contains(&format!("_{it}")))
            .map(str::to_owned)
            .collect();
        let declared = self.functions.len();
        if declared == 0 {
            return Check::of("exports", false, "its headers declare no function");
        }
        let whole = format!("all {declared} functions of its headers, and the build's key");
        Check::none_missing("exports", &missing, whole)
    }

    fn bound_in_libmlx(&self) -> Check {
        let bound: Vec<&str> = self.ours.bound_in(&self.libmlx.install_name).collect();
        let missing = bound
            .iter()
            .filter(|it| !self.libmlx.exports.contains(**it));
        let missing: Vec<String> = missing.map(|it| (*it).to_owned()).collect();
        let whole = format!(
            "the {} symbols that it binds in libmlx are there",
            bound.len()
        );
        Check::none_missing("bound-in-libmlx", &missing, whole)
    }

    fn imports(&self) -> Check {
        const NAME: &str = "imports";
        let Self { ours, libmlx, .. } = self;
        let of_wheel = |symbol: &str| {
            libmlx.exports.contains(symbol)
                || libmlx.imports.contains_key(symbol)
                || self.libjaccl.imports.contains_key(symbol)
                || LIBCXX_STREAMS.contains(&symbol)
                || OF_C.contains(&symbol)
                || OF_EVERY_MACOS.contains(&symbol)
                || ours.defined.contains(symbol)
        };
        let of_sdk = |library: &str| self.by_sdk && library.starts_with(OF_SYSTEM);
        let unknown: Vec<String> = (ours.imports.iter())
            .filter(|(symbol, library)| !of_wheel(symbol) && !of_sdk(library))
            .map(|(symbol, _)| symbol.clone())
            .collect();
        if unknown.is_empty() {
            let detail = format!(
                "the {} it binds are known of that macOS",
                ours.imports.len()
            );
            return Check::of(NAME, true, detail);
        }
        let detail = format!(
            "neither bound nor exported by a library of the wheel, so macOS {} may not have \
             them: {}",
            libmlx.minimum_macos,
            some_of(&unknown)
        );
        Check::of(NAME, false, detail)
    }

    fn signature(&self) -> Result<Check> {
        let signature = codesign::signature(self.ours)?;
        let holds = signature.as_ref().is_some_and(codesign::Signature::holds);
        let detail = match signature {
            None => "is not signed".to_owned(),
            Some(it) if !it.holds() => "has other hashes than its pages".to_owned(),
            Some(it) => format!("as {:?}", it.identifier),
        };
        Ok(Check::of("signature", holds, detail))
    }
}

/// The functions of mlx-c that a header of it declares: each name that begins with `mlx_` or
/// `_mlx_` and is followed by its parameters and a semicolon, outside of comments and
/// directives. What has a body there, for C++, is no function of the library.
pub fn declared(header: &str) -> BTreeSet<String> {
    let mut text = String::new();
    let mut rest = header;
    while let Some((before, comment)) = rest.split_once("/*") {
        text.push_str(before);
        rest = comment.split_once("*/").map_or("", |(_, after)| after);
    }
    text.push_str(rest);
    let lines = text.lines().filter(|it| !it.trim_start().starts_with('#'));
    let code = lines.map(|it| it.split("//").next().unwrap_or_default());
    let code = code.collect::<Vec<_>>().join("\n");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut declared = BTreeSet::new();
    for (place, _) in code.match_indices('(') {
        let before = code[..place].trim_end();
        let start = before.rfind(|c| !is_name(c)).map_or(0, |it| it + 1);
        let name = &before[start..];
        let is_ours = name.trim_start_matches('_').starts_with("mlx_");
        if is_ours && after_parameters(&code[place..]).starts_with(';') {
            declared.insert(name.to_owned());
        }
    }
    declared
}

/// What follows on the parenthesis that closes the one that `text` begins with.
fn after_parameters(text: &str) -> &str {
    let mut open = 0;
    for (place, c) in text.char_indices() {
        match c {
            '(' => open += 1,
            ')' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return text[place + 1..].trim_start();
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_read_of_a_header() {
        let header = "/* mlx_no(1) */\n#define MLX_X mlx_none(1)\n\
                      typedef struct mlx_array_ { void* ctx; } mlx_array;\n\
                      typedef void (*mlx_handler)(const char*);\n\
                      int mlx_add(mlx_array* res, const mlx_array a); // mlx_nor(2)\n\
                      inline void mlx_body(int a) { _mlx_error(a); }\n\
                      int mlx_long_name(\n    void (*dtor)(void*),\n    const mlx_array a);\nvoid _mlx_error(const char* file);\n";
        let declared: Vec<String> = declared(header).into_iter().collect();
        assert_eq!(declared, ["_mlx_error", "mlx_add", "mlx_long_name"]);
    }
}
