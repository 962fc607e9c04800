//! The options of a plan.

use std::time::Duration;

use serde::Serialize;

use crate::{Backend, Exo, Jaccl, MAX_RAILS};

/// The choices behind a [`Plan`](super::Plan).
///
/// ```
/// use rail_matrix::{Backend, Options, RankOrder};
///
/// let options = Options::default()
///     .order(RankOrder::Pinned)
///     .backend(Backend::Ring)
///     .max_rails(2);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// Whether a [`Problem`](crate::Problem) refuses the plan; otherwise the parts that
    /// it names are left out with a note.
    pub strict: bool,
    /// How nodes are assigned to ranks.
    pub order: RankOrder,
    /// The most rails a pair gets, from 1 to [`MAX_RAILS`].
    pub max_rails: usize,
    /// The backend, or `None` to choose the better one.
    pub backend: Option<Backend>,
    /// The properties of the jaccl that reads the matrix.
    pub jaccl: Jaccl,
    /// The sizes in bytes of the all-reduces that the job will issue, once each. If
    /// empty, backends are compared by their rate for large messages.
    pub messages: Vec<u64>,
    /// The fixed cost of one message. Only used to compare backends, with
    /// [`messages`](Self::messages).
    pub latency: Duration,
    /// Where rank 0 listens.
    pub coordinator_port: u16,
    /// The shape of exo's that has to carry the plan: exo decides by the matrix alone
    /// whether it asks jaccl for a ring. If it cannot carry the better plan, the next is
    /// taken, and its [`Note::Backend`](super::Note::Backend) gives the reason.
    pub carried_by: Option<Exo>,
}

impl Default for Options {
    /// Lenient, the widest ring, up to [`MAX_RAILS`] rails, the better backend of
    /// MLX 0.31.2, 20 us a message, port 32323 as `mlx.launch` has it.
    fn default() -> Self {
        Self {
            strict: false,
            order: RankOrder::Widest,
            max_rails: MAX_RAILS,
            backend: None,
            jaccl: Jaccl::default(),
            messages: Vec::new(),
            latency: Duration::from_micros(20),
            coordinator_port: 32323,
            carried_by: None,
        }
    }
}

macro_rules! setters {
    ($($field:ident: $type:ty;)*) => {
        impl Options {$(
            #[doc = concat!("Sets [`", stringify!($field), "`](Self#structfield.", stringify!($field), ").")]
            #[must_use]
            pub fn $field(self, $field: $type) -> Self {
                Self { $field, ..self }
            }
        )*}
    };
}

setters! {
    strict: bool;
    order: RankOrder;
    max_rails: usize;
    jaccl: Jaccl;
    messages: Vec<u64>;
    latency: Duration;
    coordinator_port: u16;
}

impl Options {
    /// Sets [`backend`](Self#structfield.backend).
    #[must_use]
    pub fn backend(self, backend: impl Into<Option<Backend>>) -> Self {
        let backend = backend.into();
        Self { backend, ..self }
    }

    /// Sets [`carried_by`](Self#structfield.carried_by).
    #[must_use]
    pub fn carried_by(self, exo: impl Into<Option<Exo>>) -> Self {
        let carried_by = exo.into();
        Self { carried_by, ..self }
    }
}

/// How nodes are assigned to ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum RankOrder {
    /// In the given order of the nodes.
    Pinned,
    /// In the order that makes the narrowest link of the ring as wide as possible.
    Widest,
}
