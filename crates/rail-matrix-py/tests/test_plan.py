"""`plan()`: what it takes, what it refuses, and what a plan tells."""

import json
import unittest
from pathlib import Path
from types import MappingProxyType

from rail_matrix import Plan, RailMatrixError, plan

RIG = """
[[node]]
name = "A"
[[node]]
name = "B"
[[cable]]
name = "left"
ends = ["A:rdma_en6", "B:rdma_en7"]
[[cable]]
name = "right"
ends = ["A:rdma_en7", "B:rdma_en6"]
"""

Edge = tuple[str, str, str, str]


def iface(here: str, there: str) -> dict[str, str]:
    return {"sourceRdmaIface": here, "sinkRdmaIface": there}


CROSSED = {
    "nodes": ["A", "B"],
    "connections": {
        "A": {"B": [iface("rdma_en6", "rdma_en7"), iface("rdma_en7", "rdma_en6")]},
        "B": {"A": [iface("rdma_en6", "rdma_en7"), iface("rdma_en7", "rdma_en6")]},
    },
}
ALIGNED = [
    [[], ["rdma_en6", "rdma_en7"]],
    [["rdma_en7", "rdma_en6"], []],
]


def both_ways(*cables: Edge) -> list[Edge]:
    return [*cables, *((b, on_b, a, on_a) for a, on_a, b, on_b in cables)]


SQUARE = both_ways(
    *((a, f"{a}{b}{k}", b, f"{b}{a}{k}") for a, b in ("ab", "bd", "dc", "ca") for k in "12"),
    ("b", "bc1", "c", "cb1"),
    ("d", "da1", "a", "ad1"),
)


class Topologies(unittest.TestCase):
    def test_every_description_of_a_cabling_gives_its_matrix(self) -> None:
        edges = both_ways(("A", "rdma_en6", "B", "rdma_en7"), ("A", "rdma_en7", "B", "rdma_en6"))
        for topology in [
            RIG,
            RIG.encode(),
            CROSSED,
            MappingProxyType(CROSSED),
            {"topology": CROSSED},
            json.dumps(CROSSED),
            edges,
            tuple(edges),
        ]:
            with self.subTest(type(topology)):
                self.assertEqual(plan(topology).matrix, ALIGNED)

    def test_the_kind_can_be_named_and_must_be_right(self) -> None:
        self.assertEqual(plan(RIG, input="rig").matrix, ALIGNED)
        with self.assertRaises(RailMatrixError):
            plan(RIG, input="exo")
        with self.assertRaisesRegex(RailMatrixError, "'csv' is no kind.*rig, exo, hostfile"):
            plan(RIG, input="csv")

    def test_a_broken_document_is_told_with_the_place(self) -> None:
        broken = {"nodes": ["A", "B"], "connections": {"A": {"B": [iface("rdma_en6", 7)]}}}
        with self.assertRaisesRegex(RailMatrixError, r"connections\.A\.B\[0\].*"):
            plan(broken)
        for nonsense in ["", "{", "[[node]]\nname = 3", b"\xff\xfe", "nothing of the kind"]:
            with self.subTest(nonsense), self.assertRaises(RailMatrixError):
                plan(nonsense)

    def test_what_is_no_topology_is_a_type_error_that_says_what_is(self) -> None:
        for wrong in [3, None, [("A", "en1", "B")], [("A", "en1", "B", 2)], object()]:
            with self.subTest(wrong), self.assertRaisesRegex(TypeError, "a list of edges"):
                plan(wrong)
        with self.assertRaises(TypeError):
            plan({"nodes": {1, 2}})

    def test_an_edge_is_what_one_end_says(self) -> None:
        with self.assertRaisesRegex(RailMatrixError, "Left out: A:en1 is said to lead to B:en2"):
            plan([("A", "en1", "B", "en2")])


class Options(unittest.TestCase):
    def test_ranks_are_chosen_unless_they_are_pinned(self) -> None:
        chosen = plan(SQUARE, backend="ring")
        self.assertEqual((chosen.nodes, len(chosen.rails[0][1])), (["a", "b", "d", "c"], 2))
        pinned = plan(SQUARE, backend="ring", order="pinned", nodes=["c", "b", "a", "d"])
        self.assertEqual((pinned.nodes, len(pinned.rails[0][1])), (["c", "b", "a", "d"], 1))

    def test_some_of_the_nodes_make_a_job(self) -> None:
        self.assertEqual(plan(SQUARE, nodes=["d", "b"]).nodes, ["d", "b"])
        with self.assertRaisesRegex(RailMatrixError, "no node 'x'; there are: a, b, d, c"):
            plan(SQUARE, nodes=["a", "x"])
        with self.assertRaises(TypeError):
            plan(SQUARE, nodes="ab")

    def test_rails_are_one_to_four(self) -> None:
        self.assertEqual(plan(RIG, max_rails=1).rails[0][1], ["left"])
        for wrong in [0, 5, -1]:
            with self.subTest(wrong), self.assertRaisesRegex(RailMatrixError, str(wrong)):
                plan(RIG, max_rails=wrong)

    def test_the_backend_is_the_better_one_unless_it_is_named(self) -> None:
        self.assertEqual(plan(RIG).backend, "ring")
        self.assertEqual(plan(RIG, messages=[4096]).backend, "mesh")
        self.assertEqual(plan(RIG, mlx="0.32.4").backend, "mesh")
        self.assertEqual(plan(RIG, backend="mesh").backend, "mesh")
        with self.assertRaisesRegex(RailMatrixError, "backend is 'mesh' or 'ring'.*'star'"):
            plan(RIG, backend="star")
        with self.assertRaisesRegex(RailMatrixError, "'latest' is not a version of MLX"):
            plan(RIG, mlx="latest")
        with self.assertRaisesRegex(RailMatrixError, "messages is -1"):
            plan(RIG, messages=[4096, -1])

    def test_strictly_what_contradicts_itself_refuses_the_plan(self) -> None:
        stale = [*both_ways(("A", "en1", "B", "en2")), ("A", "en9", "B", "en2")]
        lenient = plan(stale)
        self.assertTrue(lenient.notes[0].startswith("left out: A:en9"), lenient.notes)
        with self.assertRaisesRegex(RailMatrixError, "^A:en9 is said to lead to B:en2") as refused:
            plan(stale, strict=True)
        self.assertNotIn("left out", str(refused.exception))


class Plans(unittest.TestCase):
    def test_a_plan_tells_nodes_cables_and_reasons(self) -> None:
        made = plan(RIG)
        self.assertEqual(made.nodes, ["A", "B"])
        self.assertEqual(made.rails, [[[], ["left", "right"]], [["left", "right"], []]])
        self.assertTrue(any(note.startswith("ring: ") for note in made.notes), made.notes)
        self.assertEqual(json.loads(made.jaccl_json()), ALIGNED)
        self.assertIn("ring of 2 nodes", repr(made))

    def test_the_environment_says_what_must_not_be_set(self) -> None:
        ring = plan(RIG).environment(1, Path("/run/devices.json"))
        self.assertEqual(
            {name: value for name, value in ring.items() if value is not None},
            {"MLX_RANK": "1", "MLX_IBV_DEVICES": "/run/devices.json", "MLX_JACCL_RING": "1"},
        )
        self.assertIsNone(ring["JACCL_RANK"])  # which jaccl would take before MLX_RANK
        self.assertIsNone(plan(RIG, backend="mesh").environment(0, "x")["MLX_JACCL_RING"])
        for wrong in [2, -1]:
            with self.subTest(wrong), self.assertRaisesRegex(RailMatrixError, str(wrong)):
                plan(RIG).environment(wrong, "x")

    def test_the_coordinator_is_an_address_of_rank_0(self) -> None:
        self.assertIsNone(plan(CROSSED).coordinator)
        network = {
            node: {"interfaces": [{"name": "en0", "ipAddress": ip, "interfaceType": "ethernet"}]}
            for node, ip in [("A", "192.0.2.1"), ("B", "192.0.2.2")]
        }
        made = plan({"topology": CROSSED, "nodeNetwork": network}, nodes=["B", "A"], order="pinned")
        self.assertEqual(made.coordinator, "192.0.2.2:32323")
        of_ranks = [made.environment(rank, "x")["MLX_JACCL_COORDINATOR"] for rank in (0, 1)]
        self.assertEqual(of_ranks, ["0.0.0.0:32323", "192.0.2.2:32323"])

    def test_exo_reads_the_shapes_that_can_carry_a_plan(self) -> None:
        two_rails = plan(RIG)
        self.assertEqual(two_rails.dialects, ["exo-2160", "exo-2195"])
        self.assertEqual(two_rails.dialect("exo-2160"), ALIGNED)
        self.assertEqual(two_rails.dialect("exo-2195")[0], [None, ["rdma_en6", "rdma_en7"]])
        with self.assertRaisesRegex(RailMatrixError, "exo-main holds one device a cell"):
            two_rails.dialect("exo-main")
        one_rail = plan(RIG, backend="mesh")
        self.assertEqual(one_rail.dialect("exo-main"), [[None, "rdma_en6"], ["rdma_en7", None]])
        with self.assertRaisesRegex(RailMatrixError, "exo-2160.*'exo-9'"):
            one_rail.dialect("exo-9")

    def test_a_plan_is_made_by_plan_and_not_changed(self) -> None:
        with self.assertRaises(TypeError):
            Plan()
        made = plan(RIG)
        with self.assertRaises(AttributeError):
            made.nodes = []
        made.nodes.clear()
        self.assertEqual(made.nodes, ["A", "B"])


if __name__ == "__main__":
    unittest.main()
