//! Reads the stack traces that ranks write (`jaccl_shim.cpp`, `trace`).

use cpp_demangle::{DemangleOptions, Symbol};
use jaccl::{STACK_BEGINS, STACK_ENDS};

/// The number of jaccl's functions shown of a stack, from the innermost.
const NAMED: usize = 4;

/// jaccl's functions on the last stack trace, innermost first, if the trace is complete.
pub fn place(lines: &[String]) -> Option<String> {
    let end = lines.iter().rposition(|line| line == STACK_ENDS)?;
    let begin = lines[..end].iter().rposition(|line| line == STACK_BEGINS)?;
    let mut functions: Vec<String> = lines[begin + 1..end]
        .iter()
        .filter_map(|line| function(line))
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

/// The function of jaccl that a line like
/// `libjaccl_shim.so(_ZN5jaccl9RingGroup4recvEPvmi+0x52) [0x7f...]` names.
fn function(line: &str) -> Option<String> {
    let mangled = line
        .split(['(', ' ', '+'])
        .find(|word| word.starts_with("_Z"))?;
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
            place(&lines).as_deref(),
            Some("jaccl::RingGroup::recv, called by jaccl::init")
        );
        assert_eq!(without(&lines).collect::<Vec<_>>(), ["terminate called"]);
        assert_eq!(place(&lines[..5]), None, "the stack is not complete");
    }
}
