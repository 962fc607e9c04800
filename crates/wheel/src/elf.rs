//! What a shared library of Linux (ELF) exports, wants and loads.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use object::{
    Endianness,
    elf::{self, FileHeader64},
    read::elf::{FileHeader, Sym as _},
};

use crate::error::{Error, Result};

/// A shared library or a Python module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedObject {
    /// The processor: `x86_64`, `aarch64`.
    pub machine: String,
    /// The name that others load it by.
    pub soname: Option<String>,
    /// The libraries that it loads.
    pub needed: Vec<String>,
    /// Where it looks for them.
    pub run_path: Option<RunPath>,
    /// The symbols that it exports.
    pub exports: BTreeSet<String>,
    /// The symbols that it wants of others, but for those that it can do without.
    pub wants: BTreeSet<String>,
    /// The versions of symbols that it wants, by the library that has them.
    pub versions: BTreeMap<String, BTreeSet<SymbolVersion>>,
}

/// Where a library looks for those that it loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunPath {
    /// The folders, `$ORIGIN` for the library's own.
    pub folders: Vec<String>,
    /// Whether `LD_LIBRARY_PATH` is looked at before them (`DT_RUNPATH`) or after them
    /// (`DT_RPATH`).
    pub yields: bool,
}

/// The version of a symbol, such as `GLIBC_2.35`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SymbolVersion {
    /// For example `GLIBC`.
    pub set: String,
    /// For example 2, 35; empty for names without numbers, as `GLIBC_PRIVATE`.
    pub number: Vec<u32>,
}

impl SymbolVersion {
    fn parse(text: &str) -> Self {
        let (set, number) = text.rsplit_once('_').unwrap_or((text, ""));
        let parts: Option<Vec<u32>> = number.split('.').map(|part| part.parse().ok()).collect();
        match parts {
            Some(number) => SymbolVersion {
                set: set.to_owned(),
                number,
            },
            None => SymbolVersion {
                set: text.to_owned(),
                number: Vec::new(),
            },
        }
    }
}

impl fmt::Display for SymbolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.set)?;
        for (at, part) in self.number.iter().enumerate() {
            write!(f, "{}{part}", if at == 0 { '_' } else { '.' })?;
        }
        Ok(())
    }
}

impl SharedObject {
    /// Reads a file of 64 bits, whose path in its wheel is `name`.
    ///
    /// # Errors
    /// [`Error::Library`] when it is none, or is damaged.
    pub fn parse(name: &str, content: &[u8]) -> Result<Self> {
        Self::read(content).map_err(|error| Error::library(name, error))
    }

    fn read(content: &[u8]) -> object::Result<Self> {
        let header = FileHeader64::<Endianness>::parse(content)?;
        let endian = header.endian()?;
        let sections = header.sections(endian, content)?;
        let mut library = SharedObject {
            machine: match header.e_machine(endian) {
                elf::EM_X86_64 => "x86_64".to_owned(),
                elf::EM_AARCH64 => "aarch64".to_owned(),
                other => format!("machine {other:?}"),
            },
            soname: None,
            needed: Vec::new(),
            run_path: None,
            exports: BTreeSet::new(),
            wants: BTreeSet::new(),
            versions: BTreeMap::new(),
        };

        let dynamic = sections.dynamic_table(endian, content)?;
        for entry in &dynamic {
            let text = || Ok::<_, object::Error>(lossy(dynamic.string(entry)?));
            match entry.tag {
                elf::DT_SONAME => library.soname = Some(text()?),
                elf::DT_NEEDED => library.needed.push(text()?),
                elf::DT_RPATH | elf::DT_RUNPATH => {
                    library.run_path = Some(RunPath {
                        folders: text()?.split(':').map(str::to_owned).collect(),
                        yields: entry.tag == elf::DT_RUNPATH,
                    });
                }
                _ => {}
            }
        }

        let symbols = sections.symbols(endian, content, elf::SHT_DYNSYM)?;
        for symbol in symbols.iter() {
            let name = lossy(symbols.symbol_name(endian, symbol)?);
            let global = symbol.st_bind() != elf::STB_LOCAL;
            if name.is_empty() || !global {
                continue;
            }
            if !symbol.is_undefined(endian) {
                library.exports.insert(name);
            } else if symbol.st_bind() != elf::STB_WEAK {
                library.wants.insert(name);
            }
        }

        if let Some((mut needs, strings)) = sections.gnu_verneed(endian, content)? {
            let strings = sections.strings(endian, content, strings)?;
            while let Some((need, mut versions)) = needs.next()? {
                let file = lossy(need.file(endian, strings)?);
                let wanted = library.versions.entry(file).or_default();
                while let Some(version) = versions.next()? {
                    let name = lossy(version.name(endian, strings)?);
                    wanted.insert(SymbolVersion::parse(&name));
                }
            }
        }
        Ok(library)
    }

    /// The newest version that it wants of a set, such as `GLIBC`.
    pub fn newest(&self, set: &str) -> Option<&SymbolVersion> {
        let all = self.versions.values().flatten();
        all.filter(|version| version.set == set)
            .max_by_key(|version| &version.number)
    }
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
