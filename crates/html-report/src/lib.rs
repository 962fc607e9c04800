//! A report of the benchmark as one HTML file, with nothing to fetch: no script, no font,
//! no picture. The JSON that it is made of is inside.
//!
//! ```
//! # fn main() -> Result<(), html_report::Error> {
//! # let bench = include_str!("../tests/data/patched.json");
//! let page = html_report::page(&html_report::Inputs {
//!     bench,
//!     against: None,
//!     collectives: None,
//! })?;
//! assert!(page.starts_with("<!DOCTYPE html>"));
//! # Ok(())
//! # }
//! ```
//!
//! The crate reads `mlx-rails/bench/1` and `/2`, and `mlx-rails/collectives/1`, by types of
//! its own that ignore what they do not know. A figure whose data are missing is left out.
//!
//! | module | |
//! |---|---|
//! | `input` | the JSON files |
//! | `figures` | groups of cells, steps from cable to cable, changes |
//! | `svg` | a backend of plotters, whose colours are classes of the style sheet |
//! | `palette` | these colours, in light and in dark |
//! | `chart` | the charts, a module a kind |
//! | `page` | the page around them |

#![forbid(unsafe_code)]

mod chart;
mod figures;
mod input;
mod page;
mod palette;
mod svg;
mod words;

use std::fmt;

pub use input::ReadError;

use input::{Bench, Collectives};

/// The texts of the JSON files that a page is made of.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The `bench.json` that the page is about.
    pub bench: &'a str,
    /// Another `bench.json`, whose medians are shown beside.
    pub against: Option<&'a str>,
    /// A `collectives.json`.
    pub collectives: Option<&'a str>,
}

/// An input of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    /// [`Inputs::bench`].
    Bench,
    /// [`Inputs::against`].
    Against,
    /// [`Inputs::collectives`].
    Collectives,
}

impl fmt::Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bench => "the report",
            Self::Against => "the report to set it against",
            Self::Collectives => "the report of collectives",
        })
    }
}

/// Which input cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("{input} cannot be used")]
pub struct Error {
    /// The input.
    pub input: Input,
    /// The reason. It has the remedy.
    #[source]
    pub reason: ReadError,
}

/// Makes the page.
///
/// # Errors
/// When an input is not what its place wants.
pub fn page(inputs: &Inputs) -> Result<String, Error> {
    let of = |input| move |reason| Error { input, reason };
    let bench = Bench::read(inputs.bench).map_err(of(Input::Bench))?;
    let against = inputs.against.map(Bench::read).transpose();
    let against = against.map_err(of(Input::Against))?;
    let collectives = inputs.collectives.map(Collectives::read).transpose();
    let collectives = collectives.map_err(of(Input::Collectives))?;
    let page = page::Page {
        inputs,
        bench: &bench,
        against: against.as_ref(),
        collectives: collectives.as_ref(),
    };
    Ok(page.render().into_string())
}
