"""`check()`: what it takes, what it refuses, and what a verdict states."""

import json
import unittest
from types import MappingProxyType

import rail_matrix
from rail_matrix import Finding, RailMatrixError, Verdict, plan


def check(*given: object, **options: object) -> Verdict:
    """A verdict for a patched MLX, whose jaccl adds no findings of its own."""
    return rail_matrix.check(*given, **{"series": "patched", **options})


def iface(here: str, there: str) -> dict[str, str]:
    return {"sourceRdmaIface": here, "sinkRdmaIface": there}


# Two cables that cross: each joins en6 of one node to en7 of the other.
CABLES = [iface("rdma_en6", "rdma_en7"), iface("rdma_en7", "rdma_en6")]
TOPOLOGY = {"nodes": ["A", "B"], "connections": {"A": {"B": CABLES}, "B": {"A": CABLES}}}
SOUND = [[[], ["rdma_en6", "rdma_en7"]], [["rdma_en7", "rdma_en6"], []]]
CROSSED = [[[], ["rdma_en6", "rdma_en7"]], [["rdma_en6", "rdma_en7"], []]]


def instance(devices: object, nodes: tuple[str, str] = ("A", "B")) -> dict[str, object]:
    """An instance of exo's, whose ranks are these nodes."""
    assignments = {
        "nodeToRunner": {node: f"r{rank}" for rank, node in enumerate(nodes)},
        "runnerToShard": {
            f"r{rank}": {"TensorShardMetadata": {"deviceRank": rank}} for rank in (0, 1)
        },
    }
    return {
        "MlxJacclInstance": {
            "instanceId": "i1",
            "jacclDevices": devices,
            "shardAssignments": assignments,
        }
    }


def hung(verdict: Verdict) -> list[tuple[int, int, int | None] | None]:
    """The cells that hang."""
    return [finding.cell for finding in verdict.findings if finding.outcome == "hangs"]


class Findings(unittest.TestCase):
    def test_a_finding_has_a_kind_and_its_fields(self) -> None:
        crossed = check(CROSSED, TOPOLOGY).findings[0]
        self.assertEqual((crossed.kind, crossed.rule), ("crossed", "one-cable"))
        ends = [(end["node"], end["device"]) for end in crossed.details["ends"]]
        self.assertEqual(ends, [("A", "rdma_en6"), ("B", "rdma_en6")])
        self.assertNotIn("kind", crossed.details)

    def test_stock_jaccl_has_defects_that_patched_has_not(self) -> None:
        stock = rail_matrix.check(SOUND, TOPOLOGY, mlx="0.31.2")
        self.assertEqual(stock.findings[0].outcome, "hangs")
        self.assertEqual(stock.findings[0].details["danger"]["patch"], "ring-recv-prefill")
        for series in ("patched", "tuned"):
            self.assertTrue(check(SOUND, TOPOLOGY, mlx="0.31.2", series=series), series)
        self.assertFalse(rail_matrix.check(SOUND, TOPOLOGY), "exo's build is from before the mend")
        self.assertTrue(rail_matrix.check(SOUND, TOPOLOGY, mlx="0.32.0"))
        with self.assertRaisesRegex(RailMatrixError, "series is 'stock' or 'patched' or 'tuned'"):
            check(SOUND, TOPOLOGY, series="upstream")

    def test_a_cable_that_one_end_states_can_be_accepted(self) -> None:
        edges = [("A", "en1", "B", "en2")]
        with self.assertRaisesRegex(RailMatrixError, "accept-one-sided"):
            plan(edges)
        self.assertEqual(plan(edges, accept_one_sided=True).rails[0][1], ["A:en1 = B:en2"])
        matrix = [[None, "en1"], ["en2", None]]
        kinds = [f.kind for f in check(matrix, edges, nodes=["A", "B"]).findings]
        self.assertIn("one-sided", kinds)
        sure = check(matrix, edges, nodes=["A", "B"], accept_one_sided=True)
        self.assertNotIn("one-sided", [f.kind for f in sure.findings])


class Matrices(unittest.TestCase):
    def test_every_form_of_a_matrix_is_judged(self) -> None:
        for matrix in [
            SOUND,
            tuple(map(tuple, SOUND)),
            json.dumps(SOUND),
            json.dumps(SOUND).encode(),
            instance(SOUND),
            MappingProxyType(instance(SOUND)),
            {"instances": {"i1": instance(SOUND)}},
            json.dumps(instance(SOUND)["MlxJacclInstance"]),
        ]:
            with self.subTest(type(matrix)):
                verdict = check(matrix, TOPOLOGY)
                self.assertTrue(verdict.safe, verdict.findings)
                self.assertEqual((verdict.backend, verdict.ring_variable), ("ring", True))

    def test_every_description_of_the_cabling_serves(self) -> None:
        edges = [
            (here, edge["sourceRdmaIface"], there, edge["sinkRdmaIface"])
            for here, there in ("AB", "BA")
            for edge in CABLES
        ]
        for state in [TOPOLOGY, {"topology": TOPOLOGY}, json.dumps(TOPOLOGY), edges]:
            with self.subTest(type(state)):
                self.assertEqual(hung(check(CROSSED, state)), [(0, 1, 0), (0, 1, 1)])
        self.assertFalse(check(CROSSED, json.dumps(TOPOLOGY), input="exo").safe)
        with self.assertRaisesRegex(RailMatrixError, "'csv' is no kind"):
            check(CROSSED, json.dumps(TOPOLOGY), input="csv")

    def test_a_state_of_exo_s_brings_its_own_cabling(self) -> None:
        state = {"topology": TOPOLOGY, "instances": {"i1": instance(CROSSED)}}
        self.assertEqual(hung(check(state)), [(0, 1, 0), (0, 1, 1)])
        # What is known better is passed by itself.
        aligned = [(a, d, b, d) for a, b in ("AB", "BA") for d in ("rdma_en6", "rdma_en7")]
        self.assertTrue(check(state, aligned).safe)

    def test_one_verdict_is_about_one_matrix(self) -> None:
        both = {"instances": {"i1": instance(SOUND), "i2": instance(CROSSED)}}
        with self.assertRaisesRegex(RailMatrixError, "2 matrices.*one instance alone, of i1, i2"):
            check(both, TOPOLOGY)
        self.assertTrue(check(both["instances"]["i1"], TOPOLOGY).safe)

    def test_without_a_cabling_a_finding_states_what_is_not_known(self) -> None:
        verdict = check(CROSSED)
        self.assertTrue(verdict.safe)
        notes = [f.sentence for f in verdict.findings if f.outcome == "note"]
        self.assertTrue(any("without a topology" in note for note in notes), notes)

    def test_what_is_no_matrix_is_refused(self) -> None:
        for wrong in [3, None, {1, 2}, object()]:
            with self.subTest(wrong), self.assertRaisesRegex(TypeError, "a list of rows"):
                check(wrong)
        with self.assertRaises(TypeError):
            check([[None, {1}]])
        for nonsense in ["", "{", b"\xff", "{}", [[None, 7]], [3]]:
            with self.subTest(nonsense), self.assertRaises(RailMatrixError):
                check(nonsense)
        with self.assertRaisesRegex(RailMatrixError, "2 rows, and there are 3 nodes"):
            check(SOUND, [("A", "x", "B", "y"), ("B", "y", "C", "z")])

    def test_what_plan_makes_is_safe(self) -> None:
        for mlx in ["0.31.2", "0.32.0", "0.32.4"]:
            made = plan(TOPOLOGY, mlx=mlx)
            verdict = check(
                made.matrix,
                TOPOLOGY,
                nodes=made.nodes,
                backend=made.backend,
                mlx=mlx,
            )
            self.assertEqual((bool(verdict), verdict.findings), (True, []))


class Options(unittest.TestCase):
    def test_nodes_name_the_rows(self) -> None:
        triangle = [(a, f"to_{b}", b, f"to_{a}") for a in "ABC" for b in "ABC" if a != b]
        rows = [[None, "to_A"], ["to_C", None]]
        self.assertTrue(check(rows, triangle, nodes=["C", "A"]).safe)
        self.assertFalse(check(rows, triangle, nodes=["A", "B"]).safe)
        with self.assertRaisesRegex(RailMatrixError, "no node 'x'"):
            check(rows, triangle, nodes=["A", "x"])
        with self.assertRaises(TypeError):
            check(rows, triangle, nodes="CA")

    def test_the_backend_that_is_wanted_decides_what_is_judged(self) -> None:
        self.assertEqual(check(SOUND, TOPOLOGY, backend="mesh").backend, "mesh")
        uneven = [[[], ["a", "b"]], [["a"], []]]
        self.assertEqual(
            [f.outcome for f in check(uneven, backend="ring").findings][0], "falls-back"
        )
        with self.assertRaisesRegex(RailMatrixError, "backend is 'mesh' or 'ring'.*'star'"):
            check(SOUND, backend="star")

    def test_the_mlx_is_exo_s_unless_it_is_named(self) -> None:
        """From 0.32.4 a mesh opens the second device of a cell."""

        def rules(**mlx: str) -> list[str]:
            findings = check(SOUND, TOPOLOGY, backend="mesh", **mlx).findings
            return [finding.rule for finding in findings]

        self.assertEqual(rules(), rules(mlx="exo"))
        self.assertNotEqual(rules(), rules(mlx="0.32.4"))
        with self.assertRaisesRegex(RailMatrixError, "'latest' is not a version of MLX"):
            check(SOUND, mlx="latest")


class Verdicts(unittest.TestCase):
    def test_a_finding_has_its_outcome_rule_cell_and_sentence(self) -> None:
        finding = check(CROSSED, TOPOLOGY).findings[0]
        self.assertEqual(
            (finding.outcome, finding.rule, finding.cell), ("hangs", "one-cable", (0, 1, 0))
        )
        self.assertIn("crossed: A:rdma_en6 is paired with B:rdma_en6", finding.sentence)
        self.assertTrue(repr(finding).startswith("<rail_matrix.Finding: hangs (0, 1)[0]: crossed"))

    def test_a_verdict_is_true_if_a_job_runs(self) -> None:
        self.assertTrue(check(SOUND, TOPOLOGY))
        self.assertFalse(check(CROSSED, TOPOLOGY))
        in_a_line = [[None, "x", None], ["x", None, "y"], [None, "y", None]]
        refused = check(in_a_line)
        self.assertEqual((refused.backend, bool(refused)), (None, False))
        self.assertRegex(repr(check(CROSSED, TOPOLOGY)), "Verdict: not safe, ring, [0-9]+ finding")

    def test_verdicts_are_made_by_check_and_not_changed(self) -> None:
        for made in (Verdict, Finding):
            with self.assertRaises(TypeError):
                made()
        verdict = check(CROSSED, TOPOLOGY)
        with self.assertRaises(AttributeError):
            verdict.safe = True
        with self.assertRaises(AttributeError):
            verdict.findings[0].outcome = "note"


if __name__ == "__main__":
    unittest.main()
