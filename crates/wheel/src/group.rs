//! The order of `jaccl::Group`'s virtual functions.
//!
//! libmlx calls a group through its table of virtual functions, by position. A library
//! whose table has another order is called at the wrong function, and nothing notices
//! before a message is lost. The order changed twice: MLX 0.32.0 appended `barrier`, and
//! 0.32.1 put `sum_scatter` before `send` (`mlx/distributed/jaccl/lib/jaccl/group.h`).

use std::fmt;

use pep440_rs::Version;

use crate::{
    error::Result,
    macho::{Dylib, Slot},
};

/// The table of `jaccl::MeshGroup`, which has the order of its base class.
const TABLE: &str = "__ZTVN5jaccl9MeshGroupE";

/// Two words before the first function: the offset to the whole object and the type.
const BEFORE_FUNCTIONS: usize = 2;

/// The functions of a group in their order, the two destructors first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group(Vec<Option<String>>);

/// A group that a release of MLX has.
struct Known {
    since: &'static str,
    functions: &'static [&'static str],
}

const DESTRUCTOR: &str = "~MeshGroup";

const KNOWN: [Known; 3] = [
    Known {
        since: "0.31.2",
        functions: &[
            DESTRUCTOR,
            DESTRUCTOR,
            "rank",
            "size",
            "all_sum",
            "all_max",
            "all_min",
            "all_gather",
            "send",
            "recv",
        ],
    },
    Known {
        since: "0.32.0",
        functions: &[
            DESTRUCTOR,
            DESTRUCTOR,
            "rank",
            "size",
            "all_sum",
            "all_max",
            "all_min",
            "all_gather",
            "send",
            "recv",
            "barrier",
        ],
    },
    Known {
        since: "0.32.1",
        functions: &[
            DESTRUCTOR,
            DESTRUCTOR,
            "rank",
            "size",
            "all_sum",
            "all_max",
            "all_min",
            "all_gather",
            "sum_scatter",
            "send",
            "recv",
            "barrier",
        ],
    },
];

impl Group {
    /// Reads the table of a libjaccl; `None` when it has none.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn of(library: &Dylib) -> Result<Option<Self>> {
        let Some(table) = library.table(TABLE)? else {
            return Ok(None);
        };
        // What follows the functions in the same run of bytes points to no function.
        let functions = table
            .iter()
            .skip(BEFORE_FUNCTIONS)
            .take_while(|slot| !slot.names.is_empty())
            .map(|slot| slot.names.iter().find_map(|name| function(name)));
        Ok(Some(Group(functions.collect())))
    }

    /// The words of the table as they are in the file, from the first function on.
    ///
    /// # Errors
    /// When the library cannot be read.
    pub fn words(library: &Dylib) -> Result<Option<Vec<u64>>> {
        let words = library.table(TABLE)?;
        let of = |slots: Vec<Slot>| {
            slots
                .iter()
                .skip(BEFORE_FUNCTIONS)
                .map(|it| it.word)
                .collect()
        };
        Ok(words.map(of))
    }

    /// The first release of MLX whose group a release's is; `None` before the first one that
    /// is known.
    pub fn of_release(version: &Version) -> Option<&'static str> {
        let is_older = |known: &&Known| known.since.parse().is_ok_and(|it: Version| it <= *version);
        KNOWN.iter().rev().find(is_older).map(|known| known.since)
    }

    /// The first release of MLX that has this group, if one is known.
    pub fn since(&self) -> Option<&'static str> {
        let is_this = |known: &&Known| {
            known.functions.len() == self.0.len()
                && (known.functions.iter().zip(&self.0))
                    .all(|(known, ours)| ours.as_deref().is_none_or(|ours| ours == *known))
        };
        KNOWN.iter().find(is_this).map(|known| known.since)
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self
            .0
            .iter()
            .skip_while(|name| name.as_deref() == Some(DESTRUCTOR));
        let names: Vec<_> = names.map(|name| name.as_deref().unwrap_or("?")).collect();
        f.write_str(&names.join(", "))
    }
}

/// The name of a function of `jaccl::MeshGroup` (or of `RingGroup`, where a linker gave
/// both one address) from its symbol, by the Itanium C++ ABI's mangling.
fn function(symbol: &str) -> Option<String> {
    let rest = symbol.strip_prefix("__ZN5jaccl9")?;
    let rest = rest
        .strip_prefix("MeshGroup")
        .or_else(|| rest.strip_prefix("RingGroup"))?;
    if rest.starts_with('D') {
        return Some(DESTRUCTOR.to_owned());
    }
    let digits = rest.find(|c: char| !c.is_ascii_digit())?;
    let length: usize = rest[..digits].parse().ok()?;
    rest.get(digits..digits + length).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_named_by_their_symbols() {
        for (symbol, name) in [
            ("__ZN5jaccl9MeshGroupD0Ev", Some("~MeshGroup")),
            ("__ZN5jaccl9MeshGroup4rankEv", Some("rank")),
            ("__ZN5jaccl9RingGroup4sizeEv", Some("size")),
            (
                "__ZN5jaccl9MeshGroup11sum_scatterEPKvPvmi",
                Some("sum_scatter"),
            ),
            ("__ZN5jaccl9TCPSocket4sendEPKcPKvm", None),
            ("_memcpy", None),
        ] {
            assert_eq!(function(symbol).as_deref(), name, "{symbol}");
        }
    }

    #[test]
    fn a_group_of_another_order_is_unknown() {
        let of = |names: &[&str]| Group(names.iter().map(|it| Some((*it).to_owned())).collect());
        for known in &KNOWN {
            assert_eq!(of(known.functions).since(), Some(known.since));
            let mut swapped = known.functions.to_vec();
            let last = swapped.len() - 1;
            swapped.swap(last, last - 1);
            assert_eq!(of(&swapped).since(), None);
            assert_eq!(of(&known.functions[..last - 2]).since(), None);
        }
    }

    #[test]
    fn a_release_has_the_group_of_the_newest_change_before_it() {
        for (release, since) in [
            ("0.31.1", None),
            ("0.31.2", Some("0.31.2")),
            ("0.32.0", Some("0.32.0")),
            ("0.32.2", Some("0.32.1")),
            ("0.32.10", Some("0.32.1")),
        ] {
            assert_eq!(
                Group::of_release(&release.parse().expect("a version")),
                since
            );
        }
    }

    #[test]
    fn a_stripped_name_may_be_any() {
        let functions = KNOWN[1].functions.iter().map(|it| Some((*it).to_owned()));
        let mut group = Group(functions.collect());
        group.0[2] = None;
        assert_eq!(group.since(), Some("0.32.0"));
        assert!(group.to_string().starts_with("?, size, all_sum"));
    }
}
