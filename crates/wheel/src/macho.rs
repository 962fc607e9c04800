//! A Mach-O library: what it needs, what it gives, and how it is signed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use object::{
    Endianness, NameOrOrdinal, Object, ObjectSection, ObjectSymbol, SymbolSection,
    macho::{self, LC_ID_DYLIB},
    read::macho::{LoadCommandVariant, MachOFile64},
};

use crate::error::{Error, Result};

type File<'data> = MachOFile64<'data, Endianness>;

/// A library for macOS on Apple silicon.
#[derive(Debug, Clone)]
pub struct Dylib {
    /// Its path, for messages.
    pub name: String,
    /// `LC_ID_DYLIB`: the name by which others load it.
    pub install_name: String,
    /// `LC_LOAD_DYLIB`, in order.
    pub dependencies: Vec<Dependency>,
    /// `LC_RPATH`, in order.
    pub run_paths: Vec<String>,
    /// The oldest macOS that loads it.
    pub minimum_macos: Version,
    /// The SDK it was compiled with.
    pub sdk: Version,
    /// Every symbol that others can bind.
    pub exports: BTreeSet<String>,
    /// Every symbol that is bound when it is loaded, and the library it comes from; an empty
    /// one for symbols that any library may have.
    pub imports: BTreeMap<String, String>,
    /// Every symbol that it defines itself, exported or not.
    pub defined: BTreeSet<String>,
    content: Vec<u8>,
}

/// A library that another one loads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dependency {
    /// Its install name.
    pub path: String,
    /// The version it must be compatible with.
    pub compatibility: Version,
    /// The version that was linked against.
    pub current: Version,
}

/// A word of a table of functions.
pub(crate) struct Slot {
    /// As it is in the file.
    pub word: u64,
    /// The function that it points to, by all its names.
    pub names: Vec<String>,
}

/// A version as load commands pack it: 16, 8 and 8 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u32);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 16, self.0 >> 8 & 0xff)?;
        match self.0 & 0xff {
            0 => Ok(()),
            patch => write!(f, ".{patch}"),
        }
    }
}

impl Dylib {
    /// Reads a library; `name` is for messages.
    ///
    /// # Errors
    /// [`Error::Library`] when it is no dynamic library for 64-bit ARM, or a damaged one.
    pub fn parse(name: &str, content: Vec<u8>) -> Result<Self> {
        let wrong = |problem: &dyn fmt::Display| Error::library(name, problem);
        let file = File::parse(content.as_slice())
            .map_err(|e| wrong(&format!("is no Mach-O library of one architecture ({e})")))?;
        if file.architecture() != object::Architecture::Aarch64
            || file.kind() != object::ObjectKind::Dynamic
        {
            return Err(wrong(&"is no dynamic library for arm64"));
        }
        let mut read = Dylib {
            name: name.to_owned(),
            install_name: String::new(),
            dependencies: Vec::new(),
            run_paths: Vec::new(),
            minimum_macos: Version(0),
            sdk: Version(0),
            exports: BTreeSet::new(),
            imports: BTreeMap::new(),
            defined: BTreeSet::new(),
            content: Vec::new(),
        };
        read.load_commands(&file)
            .and_then(|()| read.symbols(&file))
            .map_err(|error| wrong(&format!("is damaged ({error})")))?;
        read.content = content;
        Ok(read)
    }

    /// The whole file.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// The symbols that are bound in a library by these install names.
    pub fn bound_in<'a>(&'a self, library: &'a str) -> impl Iterator<Item = &'a str> {
        let of_library = move |(_, from): &(&String, &String)| *from == library;
        let imports = self.imports.iter().filter(of_library);
        imports.map(|(symbol, _)| symbol.as_str())
    }

    fn load_commands(&mut self, file: &File<'_>) -> object::Result<()> {
        let endian = file.endian();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut commands = file.macho_load_commands()?;
        while let Some(command) = commands.next()? {
            match command.variant()? {
                LoadCommandVariant::IdDylib(it) => {
                    debug_assert_eq!(command.cmd(), LC_ID_DYLIB);
                    self.install_name = text(command.string(endian, it.dylib.name)?);
                }
                LoadCommandVariant::Dylib(it) => self.dependencies.push(Dependency {
                    path: text(command.string(endian, it.dylib.name)?),
                    compatibility: Version(it.dylib.compatibility_version.get(endian).0),
                    current: Version(it.dylib.current_version.get(endian).0),
                }),
                LoadCommandVariant::Rpath(it) => {
                    self.run_paths.push(text(command.string(endian, it.path)?));
                }
                LoadCommandVariant::BuildVersion(it, _) => {
                    self.minimum_macos = Version(it.minos.get(endian).0);
                    self.sdk = Version(it.sdk.get(endian).0);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn symbols(&mut self, file: &File<'_>) -> object::Result<()> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        for export in file.exports()? {
            if let NameOrOrdinal::Name(name) = export?.name() {
                self.exports.insert(text(name));
            }
        }
        for symbol in file.symbols().filter(|symbol| symbol.is_definition()) {
            self.defined.insert(symbol.name()?.to_owned());
        }
        for import in file.imports()? {
            let import = import?;
            if let NameOrOrdinal::Name(name) = import.name() {
                let library = self.imports.entry(text(name)).or_default();
                if library.is_empty() {
                    *library = text(import.library());
                }
            }
        }
        Ok(())
    }

    pub(crate) fn file(&self) -> Result<File<'_>> {
        File::parse(self.content.as_slice()).map_err(|error| Error::library(&self.name, error))
    }

    /// The instructions: their address and bytes.
    pub(crate) fn text(&self) -> Result<Vec<u8>> {
        let file = self.file()?;
        let section = file.section_by_name_bytes(b"__text");
        let data = section.and_then(|section| section.data().ok());
        data.map(<[u8]>::to_vec)
            .ok_or_else(|| Error::library(&self.name, "has no instructions"))
    }

    /// The words of a table of functions, each with the names of the function it points
    /// to, up to the next symbol's address. Linkers may give functions of equal
    /// instructions one address, hence several names; a function without a name is an
    /// empty list.
    pub(crate) fn table(&self, symbol: &str) -> Result<Option<Vec<Slot>>> {
        let file = self.file()?;
        let defined: Vec<_> = file.symbols().filter(|it| it.is_definition()).collect();
        let Some(table) = defined.iter().find(|it| it.name() == Ok(symbol)) else {
            return Ok(None);
        };
        let SymbolSection::Section(index) = table.section() else {
            return Ok(None);
        };
        let damaged = |error| Error::library(&self.name, error);
        let section = file.section_by_index(index).map_err(damaged)?;
        let end = defined
            .iter()
            .map(|it| it.address())
            .filter(|address| *address > table.address())
            .chain([section.address() + section.size()])
            .min()
            .unwrap_or_default();
        let bytes = section
            .data_range(table.address(), end - table.address())
            .map_err(damaged)?
            .unwrap_or_default();
        let names = |address: u64| {
            let here = defined.iter().filter(|it| it.address() == address);
            let names = here.filter_map(|it| it.name().ok());
            names.map(str::to_owned).collect()
        };
        Ok(Some(
            bytes
                .chunks_exact(8)
                .map(|word| {
                    let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
                    // The low 36 bits of a pointer that is not bound elsewhere are its
                    // target, with chained fixups (`dyld_chained_ptr_64_rebase`) as
                    // without; the highest bit tells those that are.
                    match word >> 63 {
                        0 => Slot {
                            word,
                            names: names(word & ((1 << 36) - 1)),
                        },
                        _ => Slot {
                            word,
                            names: Vec::new(),
                        },
                    }
                })
                .collect(),
        ))
    }

    /// The whole file's `LC_CODE_SIGNATURE`.
    pub(crate) fn signature_command(
        &self,
    ) -> Result<Option<&macho::LinkeditDataCommand<Endianness>>> {
        let file = self.file()?;
        let damaged = |error| Error::library(&self.name, error);
        let mut commands = file.macho_load_commands().map_err(damaged)?;
        while let Some(command) = commands.next().map_err(damaged)? {
            let variant = command.variant().map_err(damaged)?;
            if let LoadCommandVariant::LinkeditData(it) = variant
                && command.cmd() == macho::LC_CODE_SIGNATURE
            {
                return Ok(Some(it));
            }
        }
        Ok(None)
    }
}
