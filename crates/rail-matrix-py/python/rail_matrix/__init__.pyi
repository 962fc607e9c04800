"""From any description of the cabling to a device matrix that jaccl cannot hang on.

The command `rail-matrix` does the same in a shell, and also queries nodes.

jaccl pairs the k-th device of `matrix[i][j]` with the k-th of `matrix[j][i]`. Here these
two are always the two ends of one cable.
"""

from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, TypeVar, final, overload

__all__ = [
    "Finding",
    "Plan",
    "RailMatrixError",
    "Verdict",
    "check",
    "get_mlx_jaccl_devices_matrix",
    "get_mlx_jaccl_devices_matrix_multi",
    "main",
    "plan",
]

_Node = TypeVar("_Node", bound=str)
_Node_contra = TypeVar("_Node_contra", bound=str, contravariant=True)

class _Digraph(Protocol[_Node_contra]):
    """What is asked of exo's `Topology`.

    Of the connections, those count that have both `source_rdma_iface` and
    `sink_rdma_iface`.
    """

    def get_all_connections_between(
        self, source: _Node_contra, sink: _Node_contra, /
    ) -> Iterable[object]: ...

class RailMatrixError(ValueError):
    """There is no such plan or verdict. The message says why, and what to do about it."""

@final
class Plan:
    """What a job of jaccl's needs to be told. It cannot be changed."""

    @property
    def nodes(self) -> list[str]:
        """The nodes, by rank."""
    @property
    def matrix(self) -> list[list[list[str]]]:
        """`matrix[i][j]`: the devices on rank i towards rank j, by rail."""
    @property
    def rails(self) -> list[list[list[str]]]:
        """`rails[i][j]`: the cables between the two ranks, by name, by rail."""
    @property
    def backend(self) -> Literal["mesh", "ring"]:
        """How the ranks are joined."""
    @property
    def coordinator(self) -> str | None:
        """Where rank 0 listens, as `address:port`, where an address of it is known."""
    @property
    def notes(self) -> list[str]:
        """What was left out, and why the plan is as it is: a sentence each."""
    @property
    def dialects(self) -> list[Literal["exo-main", "exo-2160", "exo-2195"]]:
        """The shapes of exo's that can carry the plan."""
    def jaccl_json(self) -> str:
        """What the file named by `MLX_IBV_DEVICES` holds."""
    def environment(
        self, rank: int, devices: str | PathLike[str]
    ) -> dict[str, str | None]:
        """The environment of a rank, the matrix being in the file `devices`.

        `None` stands for a variable that must not be set: any value of
        `MLX_JACCL_RING`, even 0, asks jaccl for a ring.
        """
    @overload
    def dialect(self, name: Literal["exo-main"]) -> list[list[str | None]]: ...
    @overload
    def dialect(self, name: Literal["exo-2160"]) -> list[list[list[str]]]: ...
    @overload
    def dialect(self, name: Literal["exo-2195"]) -> list[list[list[str] | None]]: ...

def plan(
    topology: str | bytes | Mapping[str, Any] | Sequence[tuple[str, str, str, str]],
    *,
    input: Literal["auto", "rig", "exo", "hostfile"] = "auto",
    order: Literal["widest", "pinned"] = "widest",
    strict: bool = False,
    max_rails: int = 4,
    backend: Literal["mesh", "ring"] | None = None,
    mlx: str = "exo",
    messages: Sequence[int] = (),
    nodes: Sequence[str] | None = None,
    accept_one_sided: bool = False,
) -> Plan:
    """Lays out a job over a topology.

    topology: a document (a rig, exo's `/state` or `/state/topology`, a hostfile of MLX),
        exo's JSON as a mapping, or edges `(from_node, from_device, to_node, to_device)`. An
        edge is what one end of a cable says; a cable has two, one from each end.
    input: what kind of document it is.
    order: whether ranks are so that the ring's narrowest link is wide, or as given.
    strict: whether what contradicts itself refuses the plan, or is left out with a note.
    max_rails: the most rails a pair of nodes gets, 1 to 4.
    backend: the backend; the better one when there is none.
    mlx: the version of MLX whose jaccl will read the matrix. `exo` is the build
        that exo pins, from before 0.32.0.
    messages: sizes in bytes of the all-reduces that the job issues, to compare backends by.
    nodes: the nodes that take part, by name or label. With `order="pinned"` their order is
        the ranks'.
    accept_one_sided: whether a cable that one of its ends alone states is taken for plugged
        in.
    """

@final
class Finding:
    """A problem of a matrix, or something that could not be checked."""

    @property
    def outcome(self) -> Literal["hangs", "fails", "corrupts", "falls-back", "wasted", "note"]:
        """What comes of it. A job runs in spite of the last two."""
    @property
    def rule(self) -> str:
        """The rule that is broken, as in the JSON of `rail-matrix check`."""
    @property
    def cell(self) -> tuple[int, int, int | None] | None:
        """Where: the rank of the devices, the rank that they lead to, and the rail.

        The rail is `None` for a finding about the whole cell. There is no cell for a
        finding about the whole matrix.
        """
    @property
    def kind(self) -> str:
        """What is wrong, as in the JSON of `rail-matrix check`, such as `crossed`."""
    @property
    def details(self) -> dict[str, Any]:
        """The fields of the kind: the devices concerned, where a cable leads, and so on."""
    @property
    def sentence(self) -> str:
        """The problem, its cause, and when it occurs."""

@final
class Verdict:
    """What jaccl makes of a matrix. It is true if a job with the matrix runs.

    So `if check(matrix, state):` guards the start of a job.
    """

    @property
    def safe(self) -> bool:
        """Whether a job runs, with the backend that is wanted. It may waste cables."""
    @property
    def backend(self) -> Literal["mesh", "ring"] | None:
        """What jaccl makes of the matrix, or `None` if it makes no group."""
    @property
    def ring_variable(self) -> bool:
        """Whether the matrix was judged with `MLX_JACCL_RING` set."""
    @property
    def findings(self) -> list[Finding]:
        """The worst first, then by cell."""
    def __bool__(self) -> bool: ...

def check(
    matrix: str | bytes | Mapping[str, Any] | Sequence[Sequence[object]],
    state: str
    | bytes
    | Mapping[str, Any]
    | Sequence[tuple[str, str, str, str]]
    | None = None,
    *,
    nodes: Sequence[str] | None = None,
    backend: Literal["mesh", "ring"] | None = None,
    mlx: str = "exo",
    series: Literal["stock", "patched", "tuned"] = "stock",
    accept_one_sided: bool = False,
    input: Literal["auto", "rig", "exo", "hostfile"] = "auto",
) -> Verdict:
    """Checks a matrix of another program: what hangs, fails, corrupts, falls back or is wasted.

    matrix: a document (a device file of jaccl, a hostfile of MLX, exo's `/state` or one
        instance of it), exo's JSON as a mapping, or rows of cells, each of which is `None`,
        a device, or a list of devices. Of several instances give one alone.
    state: the cabling as it is, as `plan` takes it. Without one the cabling of the matrix's
        own document serves. If that has none either, a finding states what could not be
        checked.
    nodes: the node of each row, by name or label. Without it the document of the matrix
        says, else the rows are the nodes of the cabling in their order.
    backend: ring: `MLX_JACCL_RING` is set; mesh: it is not. Without it as the document's
        reader does, else set if a cell has several devices.
    mlx: the version of MLX whose jaccl reads the matrix. `exo` is the build that
        exo pins, from before 0.32.0.
    series: which patches of mlx-rails that MLX has. Of stock the findings include what its
        jaccl does wrong on this matrix.
    accept_one_sided: whether a cable that one of its ends alone states is taken for plugged
        in.
    input: what kind of document the state is.
    """

def get_mlx_jaccl_devices_matrix(
    selected_cycle: Iterable[_Node], cycle_digraph: _Digraph[_Node]
) -> list[list[str | None]]:
    """exo's function, in the shape of its main branch: a mesh of one rail.

    Ranks are in the order of the cycle. `matrix[i][j]` and `matrix[j][i]` are the two ends
    of one cable. Raises when two nodes have no cable that both of them know, and for more
    than eight nodes, which jaccl's mesh does not join. What had to be left out is logged as
    a warning of the logger `rail_matrix`. Cables to nodes outside of the cycle are not
    asked for, so a device that one of them claims too is not noticed.
    """

def get_mlx_jaccl_devices_matrix_multi(
    selected_cycle: Iterable[_Node], cycle_digraph: _Digraph[_Node]
) -> list[list[list[str]]]:
    """exo's function, in the shape of its pull request 2160: a list of devices a cell.

    exo asks jaccl for a ring when a cell has several devices. So this is a ring with the
    same number of rails, two to four, on every link; or, where no such ring can be closed
    in the order of the cycle, one rail a pair. Raises when neither can be, and logs as
    `get_mlx_jaccl_devices_matrix` does.
    """

def main() -> int:
    """The command `rail-matrix`, with the arguments of `sys.argv`. Returns the exit code.

    It takes over the signals of the process, so a process calls it once.
    """
