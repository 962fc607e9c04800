//! How the model of a node differs. Weights never travel: they are compared by a sample,
//! which the shell of each node takes, as for `rig doctor`.

use std::fmt;

use nodes::ModelFile;

/// How a file of a model differs between two folders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// It is missing.
    Missing(String),
    /// It is there and should not be.
    Extra(String),
    /// It has another size.
    Size(String, u64, u64),
    /// It has the same size and other bytes.
    Bytes(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "has no {name}"),
            Self::Extra(name) => write!(f, "has {name} in addition"),
            Self::Size(name, ours, theirs) => {
                write!(f, "has {theirs} bytes in {name}, not {ours}")
            }
            Self::Bytes(name) => write!(f, "has other bytes in {name}"),
        }
    }
}

/// The first way in which the files of a folder differ from ours.
pub(crate) fn difference(ours: &[ModelFile], theirs: &[ModelFile]) -> Option<Difference> {
    let find = |files: &[ModelFile], name: &str| files.iter().find(|it| it.name == name).cloned();
    for our in ours {
        let name = || our.name.clone();
        match find(theirs, &our.name) {
            None => return Some(Difference::Missing(name())),
            Some(their) if their.bytes != our.bytes => {
                return Some(Difference::Size(name(), our.bytes, their.bytes));
            }
            Some(their) if their != *our => return Some(Difference::Bytes(name())),
            Some(_) => {}
        }
    }
    let extra = theirs.iter().find(|it| find(ours, &it.name).is_none())?;
    Some(Difference::Extra(extra.name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: u64, sha256: &str) -> ModelFile {
        let [name, sha256] = [name, sha256].map(str::to_owned);
        ModelFile {
            name,
            bytes,
            sha256,
        }
    }

    #[test]
    fn the_first_file_that_differs_is_named() {
        let ours = [file("config.json", 2, "c"), file("x.safetensors", 9, "w")];
        let [config, weights] = ["config.json", "x.safetensors"].map(str::to_owned);
        assert_eq!(difference(&ours, &ours), None);
        let size = Difference::Size(config.clone(), 2, 3);
        let theirs = [file("config.json", 3, "d"), ours[1].clone()];
        assert_eq!(difference(&ours, &theirs), Some(size));
        let theirs = [ours[0].clone(), file("x.safetensors", 9, "v")];
        assert_eq!(
            difference(&ours, &theirs),
            Some(Difference::Bytes(weights.clone()))
        );
        let missing = Difference::Missing(weights.clone());
        assert_eq!(difference(&ours, &ours[..1]), Some(missing));
        assert_eq!(
            difference(&ours[..1], &ours),
            Some(Difference::Extra(weights))
        );
    }
}
