//! A rank's share of each tensor, by the table of the family.

use std::{fs::File, ops::Range, os::unix::fs::FileExt};

use crate::{
    Dtype, Folder, Tensor,
    config::Config,
    error::{Error, IoContext, Result},
    family::{Cut, Module},
};

/// A rank's share of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    /// The tensor's name.
    pub name: String,
    /// Type of its elements.
    pub dtype: Dtype,
    /// Lengths of the share's axes.
    pub shape: Vec<usize>,
    /// Bytes of the share.
    pub bytes: usize,
    /// Which part of the tensor it is.
    pub part: Part,
}

/// A part of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// Slices along one axis, put together in this order.
    Slices {
        /// The axis.
        axis: usize,
        /// The indices along it.
        ranges: Vec<Range<usize>>,
    },
}

impl Share {
    /// The share's bytes out of the tensor's.
    ///
    /// # Panics
    /// `content` is not the content of the tensor of which this is a share, or a slice
    /// does not begin at a byte.
    pub fn copy(&self, tensor: &Tensor, content: &[u8]) -> Vec<u8> {
        assert_eq!(content.len(), tensor.bytes, "the content of {}", self.name);
        let mut share = Vec::with_capacity(self.bytes);
        for range in self.runs(tensor) {
            share.extend_from_slice(&content[range]);
        }
        share
    }

    /// Reads the share's bytes, and none of the other ranks'.
    ///
    /// # Errors
    /// [`Error::Io`].
    ///
    /// # Panics
    /// As [`Share::copy`].
    pub fn read(&self, tensor: &Tensor) -> Result<Vec<u8>> {
        let file = File::open(&tensor.file).at("open", &tensor.file)?;
        let mut share = vec![0; self.bytes];
        let mut rest = share.as_mut_slice();
        for range in self.runs(tensor) {
            let (run, others) = rest.split_at_mut(range.len());
            file.read_exact_at(run, tensor.offset + range.start as u64)
                .at("read", &tensor.file)?;
            rest = others;
        }
        Ok(share)
    }

    /// Where the share's bytes lie in the tensor's, in order.
    fn runs(&self, tensor: &Tensor) -> Vec<Range<usize>> {
        let Part::Slices { axis, ranges } = &self.part else {
            let whole = 0..tensor.bytes;
            return vec![whole];
        };
        let outer: usize = tensor.shape[..*axis].iter().product();
        let inner: usize = tensor.shape[axis + 1..].iter().product();
        let bits = inner * tensor.dtype.bitsize();
        assert!(bits.is_multiple_of(8), "{} is cut between bytes", self.name);
        let (one, along) = (bits / 8, tensor.shape[*axis] * bits / 8);
        let starts = (0..outer).map(|outer| outer * along);
        let runs = starts.flat_map(|start| {
            let within =
                move |range: &Range<usize>| start + range.start * one..start + range.end * one;
            ranges.iter().map(within)
        });
        runs.collect()
    }
}

impl Folder {
    /// Checks that tensor parallelism over `ranks` gives each rank whole heads, whole groups
    /// of quantised columns and as much of everything.
    ///
    /// # Errors
    /// [`Error::UnknownFamily`]; [`Error::Split`] with the first that does not divide, and
    /// the counts of ranks that would do; [`Error::Tensor`] for one that the table does not
    /// know.
    pub fn check_split(&self, ranks: usize) -> Result<()> {
        let needs = self.divided()?;
        match needs.iter().find(|(_, it)| !it.is_multiple_of(ranks)) {
            None => Ok(()),
            Some((what, count)) => Err(Error::Split {
                what: what.clone(),
                count: *count,
                ranks,
                fit: self.splits()?,
            }),
        }
    }

    /// The numbers of ranks above one over which [`Folder::check_split`] succeeds.
    ///
    /// # Errors
    /// [`Error::UnknownFamily`]; [`Error::Tensor`] for one that the table does not know.
    pub fn splits(&self) -> Result<Vec<usize>> {
        let needs = self.divided()?;
        let common = needs.iter().fold(0, |all, (_, count)| gcd(all, *count));
        Ok((2..=common)
            .filter(|it| common.is_multiple_of(*it))
            .collect())
    }

    /// The share of `rank` of `ranks` of every tensor that is loaded, in the order of their
    /// names.
    ///
    /// # Errors
    /// As [`Folder::check_split`].
    ///
    /// # Panics
    /// There is no such rank.
    pub fn shares(&self, rank: usize, ranks: usize) -> Result<Vec<Share>> {
        assert!(rank < ranks, "rank {rank} of {ranks}");
        self.check_split(ranks)?;
        let config = self.config()?;
        let mut shares = Vec::new();
        for (name, tensor) in self.tensors() {
            let module = self.module(config, name)?;
            let slices = slices(config, module, name, tensor, rank, ranks)?;
            let Some(part) = slices else { continue };
            let shape = match &part {
                Part::Whole => tensor.shape.clone(),
                Part::Slices { axis, ranges } => {
                    let mut shape = tensor.shape.clone();
                    shape[*axis] = ranges.iter().map(ExactSizeIterator::len).sum();
                    shape
                }
            };
            let elements: usize = shape.iter().product();
            shares.push(Share {
                name: name.clone(),
                dtype: tensor.dtype,
                bytes: elements * tensor.dtype.bitsize() / 8,
                shape,
                part,
            });
        }
        Ok(shares)
    }

    /// Everything that must divide by the ranks: its name in words, and its number.
    fn divided(&self) -> Result<Vec<(String, usize)>> {
        let config = self.config()?;
        let mut needs: Vec<(String, usize)> = Vec::new();
        for name in self.modules() {
            let module = self.module(config, name)?;
            let Some(of) = module.of else { continue };
            if let Some(count) = config.count(of) {
                needs.push((of.words().to_owned(), count));
            }
            let (Cut::Columns, Some(quantised)) = (module.cut, self.quantised(name)) else {
                continue;
            };
            let scales = &self.tensors()[&format!("{name}.scales")];
            if let Some(&groups) = scales.shape.last() {
                let what = format!("groups of {} columns of {name}", quantised.group_size);
                needs.push((what, groups));
            }
        }
        Ok(needs)
    }

    /// What the table says of a module or tensor.
    fn module(&self, config: &Config, name: &str) -> Result<&'static Module> {
        let found = config.family.cuts().find(name);
        found.ok_or_else(|| Error::Tensor {
            name: name.to_owned(),
            problem: format!("models of the type {} have none", self.model_type()),
        })
    }
}

/// The part of a tensor that a rank has; `None` if nobody loads it.
fn slices(
    config: &Config,
    module: &Module,
    name: &str,
    tensor: &Tensor,
    rank: usize,
    ranks: usize,
) -> Result<Option<Part>> {
    let is_bias = name.ends_with(".bias");
    let axes = tensor.shape.len();
    let axis = match module.cut {
        Cut::Unused => return Ok(None),
        // The output head is the matrix of the embeddings.
        Cut::Whole if module.module == "lm_head" && config.tied => return Ok(None),
        Cut::Whole => return Ok(Some(Part::Whole)),
        Cut::Columns if is_bias => return Ok(Some(Part::Whole)),
        Cut::Rows if is_bias => axes.saturating_sub(1),
        Cut::Rows => axes.saturating_sub(2),
        Cut::Columns => axes.saturating_sub(1),
        Cut::Channels => 0,
    };
    let wrong = |problem: String| Error::Tensor {
        name: name.to_owned(),
        problem,
    };
    let shape = &tensor.shape;
    let Some(&length) = shape.get(axis) else {
        return Err(wrong("it has no axis that could be cut".into()));
    };
    let segments = match &module.segments[..] {
        [] => vec![length],
        segments => segments
            .iter()
            .map(|counts| counts.iter().map(|it| config.count(*it)).product())
            .collect::<Option<Vec<usize>>>()
            .unwrap_or_default(),
    };
    if segments.iter().sum::<usize>() != length {
        let problem = format!("its shape {shape:?} is not the one of the config, {segments:?}");
        return Err(wrong(problem));
    }
    let mut ranges = Vec::new();
    let mut start = 0;
    for segment in segments {
        if !segment.is_multiple_of(ranks) {
            let problem = format!("its shape {shape:?} does not divide over {ranks} ranks");
            return Err(wrong(problem));
        }
        let each = segment / ranks;
        ranges.push(start + rank * each..start + (rank + 1) * each);
        start += segment;
    }
    Ok(Some(Part::Slices { axis, ranges }))
}

fn gcd(a: usize, b: usize) -> usize {
    match b {
        0 => a,
        b => gcd(b, a % b),
    }
}
