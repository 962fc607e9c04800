"""The little of exo that its function for jaccl's matrix is given."""

from collections.abc import Iterable
from dataclasses import dataclass


class NodeId(str):
    """exo's node ids are strings of a class of their own."""


@dataclass(frozen=True)
class SocketConnection:
    sink_multiaddr: str


@dataclass(frozen=True)
class RDMAConnection:
    source_rdma_iface: str
    sink_rdma_iface: str


class Topology:
    """A directed graph with several edges between two nodes."""

    def __init__(self) -> None:
        self._edges: dict[
            tuple[NodeId, NodeId], list[SocketConnection | RDMAConnection]
        ] = {}

    def get_all_connections_between(
        self, source: NodeId, sink: NodeId
    ) -> Iterable[SocketConnection | RDMAConnection]:
        return self._edges.get((source, sink), [])

    def says(self, source: str, device: str, sink: str, other: str) -> None:
        """Adds what the one node says of the cable in its device."""
        ends = (NodeId(source), NodeId(sink))
        edge = RDMAConnection(f"rdma_{device}", f"rdma_{other}")
        self._edges.setdefault(ends, []).append(edge)

    def cable(self, a: str, on_a: str, b: str, on_b: str) -> None:
        """Adds a cable that both nodes know of."""
        self.says(a, on_a, b, on_b)
        self.says(b, on_b, a, on_a)

    def socket(self, source: str, sink: str) -> None:
        """Adds an edge that is not of RDMA."""
        ends = (NodeId(source), NodeId(sink))
        edge = SocketConnection("/ip4/192.0.2.1/tcp/52415")
        self._edges.setdefault(ends, []).append(edge)


def cycle(names: str) -> list[NodeId]:
    """Nodes of one letter each."""
    return [NodeId(name) for name in names]


def joined(cables: str) -> Topology:
    """A topology of cables that are written `A6 B7`: en6 of A to en7 of B."""
    topology = Topology()
    for cable in cables.split(", "):
        (a, *on_a), (b, *on_b) = cable.split()
        topology.cable(a, "en" + "".join(on_a), b, "en" + "".join(on_b))
    return topology
