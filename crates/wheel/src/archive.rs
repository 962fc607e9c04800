//! A wheel as it is read: a ZIP archive whose RECORD lists every file.

use std::{
    borrow::Cow,
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::{
    error::{Error, IoContext, Result},
    file_name::FileName,
    metadata,
    record::{self, Row},
};

/// A wheel on disk. Its list of files was read and is consistent; see [`Wheel::verify`] for
/// their content.
#[derive(Debug)]
pub struct Wheel {
    path: PathBuf,
    name: FileName,
    dist_info: String,
    /// By their index in the archive.
    pub(crate) names: Vec<String>,
    pub(crate) archive: ZipArchive<BufReader<File>>,
    pub(crate) record: Vec<Row>,
}

impl Wheel {
    /// Opens a wheel and reads its RECORD.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is no ZIP archive, is not named as a wheel, is named
    /// otherwise than its METADATA says, or when its RECORD does not list what it has.
    pub fn open(path: &Path) -> Result<Self> {
        let damaged = |problem: String| Error::damaged(path, problem);
        let name = FileName::of(path)?;
        let file = File::open(path).at("open", path)?;
        let archive = ZipArchive::new(BufReader::new(file))
            .map_err(|error| damaged(format!("is no wheel, or a damaged one ({error})")))?;
        let names: Vec<String> = (0..archive.len())
            .filter_map(|index| archive.name_for_index(index))
            .map(|name| name.map(Cow::into_owned))
            .collect::<Result<_, _>>()
            .map_err(|error| damaged(format!("a file has no readable name ({error})")))?;
        let dist_info = names
            .iter()
            .filter_map(|member| member.strip_suffix("/RECORD"))
            .find(|folder| folder.ends_with(".dist-info") && !folder.contains('/'))
            .ok_or_else(|| damaged("has no .dist-info/RECORD".into()))?
            .to_owned();
        let mut wheel = Wheel {
            path: path.to_owned(),
            name,
            dist_info,
            names,
            archive,
            record: Vec::new(),
        };
        wheel.record = record::parse(&wheel.read(&wheel.of_dist_info("RECORD"))?)
            .map_err(|problem| damaged(format!("its RECORD is damaged: {problem}")))?;
        wheel.check_lists()?;
        wheel.check_name()?;
        Ok(wheel)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its file's name says.
    pub fn name(&self) -> &FileName {
        &self.name
    }

    /// The SHA-256 of the file, in hex, and its size.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn sha256(path: &Path) -> Result<(String, u64)> {
        let mut file = File::open(path).at("open", path)?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut bytes = 0;
        loop {
            let read = file.read(&mut buffer).at("read", path)?;
            if read == 0 {
                return Ok((hex(&hash.finalize()), bytes));
            }
            hash.update(&buffer[..read]);
            bytes += read as u64;
        }
    }

    /// The path of a file of the `.dist-info` folder.
    pub fn of_dist_info(&self, file: &str) -> String {
        format!("{}/{file}", self.dist_info)
    }

    pub(crate) fn dist_info(&self) -> &str {
        &self.dist_info
    }

    /// The paths of all files, in the archive's order.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        let names = self.names.iter().map(String::as_str);
        names.filter(|name| !name.ends_with('/'))
    }

    /// Whether it has this file.
    pub fn has(&self, member: &str) -> bool {
        self.members().any(|it| it == member)
    }

    /// A file's content, which the archive's checksum covers.
    ///
    /// # Errors
    /// [`Error::Damaged`] when it is not there or does not unpack.
    pub fn read(&mut self, member: &str) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        let unpacked = match self.archive.by_name(member) {
            Ok(mut file) => file.read_to_end(&mut content).map_err(|e| e.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match unpacked {
            Ok(_) => Ok(content),
            Err(error) => Err(Error::damaged(&self.path, format!("{member}: {error}"))),
        }
    }

    /// A file of text.
    ///
    /// # Errors
    /// As [`Wheel::read`], and for bytes that are no text.
    pub fn read_text(&mut self, member: &str) -> Result<String> {
        let content = self.read(member)?;
        String::from_utf8(content)
            .map_err(|_| Error::damaged(&self.path, format!("{member} is no text")))
    }

    /// Holds every file against its hash in RECORD.
    ///
    /// # Errors
    /// [`Error::Damaged`] naming the first file that differs.
    pub fn verify(&mut self) -> Result<()> {
        for row in self.record.clone() {
            if row.hash.is_empty() {
                continue;
            }
            if !row.is_of(&self.read(&row.path)?) {
                let problem = format!("{} is not what RECORD says", row.path);
                return Err(Error::damaged(&self.path, problem));
            }
        }
        Ok(())
    }

    /// Every file is in RECORD, with a hash unless pip allows none, and nothing else is.
    fn check_lists(&self) -> Result<()> {
        let damaged = |problem| Err(Error::damaged(&self.path, problem));
        let own = ["RECORD", "RECORD.jws", "RECORD.p7s"].map(|it| self.of_dist_info(it));
        for member in self.members() {
            let is_own = own.iter().any(|it| it == member);
            match self.record.iter().find(|row| row.path == member) {
                None if is_own => {}
                None => return damaged(format!("{member} is not in RECORD")),
                Some(row) if row.hash.is_empty() && !is_own => {
                    return damaged(format!("{member} has no hash in RECORD"));
                }
                Some(_) => {}
            }
        }
        match self.record.iter().find(|row| !self.has(&row.path)) {
            Some(row) => damaged(format!("{} is in RECORD alone", row.path)),
            None => Ok(()),
        }
    }

    /// METADATA names what the file's name names.
    fn check_name(&mut self) -> Result<()> {
        let metadata = self.read_text(&self.of_dist_info("METADATA"))?;
        let (name, version) = (&self.name.name, self.name.version.to_string());
        let normal = |name: &str| name.to_lowercase().replace(['-', '.'], "_");
        let said = |field| metadata::field(&metadata, field).unwrap_or_default();
        if normal(said("Name")) != normal(name)
            || said("Version").parse().ok() != Some(self.name.version.clone())
        {
            let problem = format!(
                "is named as {name} {version}, but its METADATA says {} {}",
                said("Name"),
                said("Version")
            );
            return Err(Error::damaged(&self.path, problem));
        }
        Ok(())
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The SHA-256 of some bytes, in hex.
pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&Sha256::digest(content))
}
