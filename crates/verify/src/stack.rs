//! Reads the stack traces that ranks write (`jaccl_shim.cpp`, `trace`).

use std::{collections::BTreeMap, fs, path::Path};

use cpp_demangle::{DemangleOptions, Symbol};
use jaccl::{STACK_BEGINS, STACK_ENDS};
use object::{File, Object, ObjectSymbol, SymbolKind};

/// The number of jaccl's functions shown of a stack, from the innermost.
const NAMED: usize = 4;

/// jaccl's functions on the last stack trace, innermost first, if the trace is complete.
/// `library` is a copy of the one with jaccl that the process has loaded.
pub fn place(lines: &[String], library: &Path) -> Option<String> {
    let end = lines.iter().rposition(|line| line == STACK_ENDS)?;
    let begin = lines[..end].iter().rposition(|line| line == STACK_BEGINS)?;
    let library = Library::read(library);
    let mut functions: Vec<String> = lines[begin + 1..end]
        .iter()
        .filter_map(|line| function(line, &library))
        .collect();
    functions.dedup();
    functions.truncate(NAMED);
    Some(match functions.as_slice() {
        [] => "code outside of jaccl".to_owned(),
        functions => functions.join(", called by "),
    })
}

/// The lines outside stack traces.
pub fn without(lines: &[String]) -> impl Iterator<Item = &str> {
    let mut inside = false;
    lines.iter().map(String::as_str).filter(move |line| {
        match *line {
            STACK_BEGINS => inside = true,
            STACK_ENDS => {
                inside = false;
                return false;
            }
            _ => {}
        }
        !inside && !line.is_empty()
    })
}

/// The functions of a library, by the offsets at which they begin.
#[derive(Default)]
struct Library {
    name: String,
    functions: BTreeMap<u64, String>,
}

impl Library {
    /// Those of a file, as far as it says. The system names in a stack trace only what a
    /// library exports, and an optimised jaccl hardly exports anything.
    fn read(path: &Path) -> Self {
        let Some(name) = path.file_name() else {
            return Self::default();
        };
        let content = fs::read(path).unwrap_or_default();
        let functions = File::parse(&*content).map(|file| {
            let functions = file.symbols().filter(|it| it.kind() == SymbolKind::Text);
            let named = functions.filter_map(|it| Some((it.address(), it.name().ok()?.to_owned())));
            named.collect()
        });
        Self {
            name: name.to_string_lossy().into_owned(),
            functions: functions.unwrap_or_default(),
        }
    }

    /// The function in a line like `/store/libjaccl_shim.so(+0x92364) [0x7f...]`.
    fn function(&self, line: &str) -> Option<&str> {
        let (path, rest) = line.split_once("(+0x")?;
        let (offset, _) = rest.split_once(')')?;
        let is_it = Path::new(path).file_name()? == &*self.name;
        let offset = u64::from_str_radix(offset, 16).ok().filter(|_| is_it)?;
        let (_, name) = self.functions.range(..=offset).next_back()?;
        Some(name)
    }
}

/// The function of jaccl that a line like
/// `libjaccl_shim.so(_ZN5jaccl9RingGroup4recvEPvmi+0x52) [0x7f...]` names, or that the library
/// has at the offset of the line.
fn function(line: &str, library: &Library) -> Option<String> {
    let mut words = line.split(['(', ' ', '+']);
    let mangled = words
        .find(|word| word.starts_with("_Z"))
        .or_else(|| library.function(line))?;
    // What the compiler made of a part of a function has a suffix.
    let mangled = mangled.split('.').next().unwrap_or(mangled);
    let options = DemangleOptions::new().no_params().no_return_type();
    let name = Symbol::new(mangled).ok()?.demangle(&options).ok()?;
    // A template's arguments are long and add little.
    let name = name.split('<').next().unwrap_or(&name);
    name.starts_with("jaccl::").then(|| name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &[&str]) -> Vec<String> {
        text.iter().map(|line| (*line).to_owned()).collect()
    }

    #[test]
    fn the_functions_of_jaccl_are_the_place() {
        let lines = lines(&[
            "terminate called",
            STACK_BEGINS,
            "/lib/libc.so.6(+0x3c050) [0x7f]",
            "/store/libjaccl_shim.so(_ZN5jaccl9RingGroup4recvEPvmi+0x52) [0x7f]",
            "/store/libjaccl_shim.so(_ZN5jaccl4initEb+0x52) [0x7f]",
            STACK_ENDS,
        ]);
        assert_eq!(
            place(&lines, Path::new("/none")).as_deref(),
            Some("jaccl::RingGroup::recv, called by jaccl::init")
        );
        assert_eq!(without(&lines).collect::<Vec<_>>(), ["terminate called"]);
        assert_eq!(
            place(&lines[..5], Path::new("/none")),
            None,
            "the stack is not complete"
        );
    }

    #[test]
    fn what_a_library_does_not_export_has_its_name_too() {
        let poll = "_ZN5jaccl4pollESt4spanINS_10ConnectionEEi.isra.0";
        let library = Library {
            name: "libjaccl_shim.so".to_owned(),
            functions: [(0x100, "_init".to_owned()), (0x920b0, poll.to_owned())].into(),
        };
        let named = |line| function(line, &library);
        let line = "/stage/lib/libjaccl_shim.so(+0x92364) [0x7f]";
        assert_eq!(named(line).as_deref(), Some("jaccl::poll"));
        assert_eq!(named("/stage/lib/libjaccl_shim.so(+0x10) [0x7f]"), None);
        assert_eq!(named("/lib/libc.so.6(+0x92364) [0x7f]"), None);
    }
}
