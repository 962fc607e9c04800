"""The drop-ins beside exo's own function, over the same topologies.

`exo_answers.json` has the topologies, and what exo's function answered when
`exo_answers.py` ran it. With EXO_SOURCE, the folder of exo's sources, it runs again, by
EXO_PYTHON or the Python of `uv sync` there.
"""

import json
import logging
import os
import subprocess
import unittest
from collections import Counter
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from fake_exo import Topology, cycle
from rail_matrix import (
    RailMatrixError,
    get_mlx_jaccl_devices_matrix,
    get_mlx_jaccl_devices_matrix_multi,
)

HERE = Path(__file__).parent
RECORDED = (HERE / "exo_answers.json").read_text()
CASES = json.loads(RECORDED)["cases"]

End = tuple[str, str]
Matrix = list[list[Any]]


def answer(function: Callable[..., Matrix], case: dict) -> Matrix | None:
    """What a drop-in returns, or `None` if it refuses."""
    topology = Topology()
    for source, device, sink, other in case["edges"]:
        topology.says(source, device.removeprefix("rdma_"), sink, other.removeprefix("rdma_"))
    try:
        return function(cycle(case["cycle"]), topology)
    except RailMatrixError:
        return None


def cables(case: dict) -> dict[frozenset[str], list[frozenset[End]]]:
    """The cables of each two nodes: what both ends state, of devices with one such cable."""
    edges = {tuple(edge) for edge in case["edges"]}
    agreed = {
        frozenset([(a, on_a), (b, on_b)])
        for a, on_a, b, on_b in edges
        if (b, on_b, a, on_a) in edges
    }
    uses = Counter(end for cable in agreed for end in cable)
    of_pair: dict[frozenset[str], list[frozenset[End]]] = {}
    for cable in agreed:
        if all(uses[end] == 1 for end in cable):
            of_pair.setdefault(frozenset(node for node, _ in cable), []).append(cable)
    return of_pair


def pairs(case: dict) -> list[tuple[int, int]]:
    ranks = range(len(case["cycle"]))
    return [(i, j) for j in ranks for i in range(j)]


def rail(case: dict, matrix: Matrix, i: int, j: int) -> frozenset[End]:
    """The two ends that jaccl joins for two ranks."""
    names = case["cycle"]
    return frozenset([(names[i], matrix[i][j]), (names[j], matrix[j][i])])


def is_aligned(case: dict, matrix: Matrix) -> bool:
    there = cables(case)
    return all(
        rail(case, matrix, i, j) in there.get(frozenset([case["cycle"][i], case["cycle"][j]]), [])
        for i, j in pairs(case)
    )


class ExoAnswers(unittest.TestCase):
    def setUp(self) -> None:
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)

    def test_ours_is_exo_s_where_exo_s_is_aligned_and_else_the_aligned_one(self) -> None:
        seen: Counter[tuple[str, bool]] = Counter()
        for case in CASES:
            with self.subTest(case["name"]):
                there = cables(case)
                of_pair = {
                    (i, j): there.get(frozenset([case["cycle"][i], case["cycle"][j]]), [])
                    for i, j in pairs(case)
                }
                exo, ours = case["exo"], answer(get_mlx_jaccl_devices_matrix, case)
                if not all(of_pair.values()):
                    seen["refused", exo is None] += 1
                    self.assertIsNone(ours)
                    continue
                self.assertIsNotNone(exo)
                self.assertIsNotNone(ours)
                self.assertTrue(is_aligned(case, ours), ours)
                aligned = is_aligned(case, exo)
                seen["aligned", aligned] += 1
                if not aligned:
                    self.assertNotEqual(ours, exo)
                    continue
                # Of several cables exo takes the one stated last, and the drop-in the first by name.
                for (i, j), choice in of_pair.items():
                    if len(choice) == 1:
                        self.assertEqual(rail(case, ours, i, j), rail(case, exo, i, j))
                if all(len(choice) == 1 for choice in of_pair.values()):
                    self.assertEqual(ours, exo)
        # Each of these happens: exo answers without a cable, and pairs ends of two cables.
        for kind in [("refused", True), ("refused", False), ("aligned", True), ("aligned", False)]:
            self.assertGreaterEqual(seen[kind], 2, seen)

    def test_the_shape_of_lists_has_the_same_rail_where_there_is_one(self) -> None:
        compared = 0
        for case in CASES:
            if case["exo"] is None or any(len(of) != 1 for of in cables(case).values()):
                continue
            with self.subTest(case["name"]):
                one = answer(get_mlx_jaccl_devices_matrix, case)
                several = answer(get_mlx_jaccl_devices_matrix_multi, case)
                if one is not None:
                    compared += 1
                    lists = [[[] if cell is None else [cell] for cell in row] for row in one]
                    self.assertEqual(several, lists)
        self.assertGreaterEqual(compared, 3)

    @unittest.skipUnless("EXO_SOURCE" in os.environ, "EXO_SOURCE does not name exo's sources")
    def test_exo_still_answers_what_is_recorded(self) -> None:
        source = os.environ["EXO_SOURCE"]
        python = os.environ.get("EXO_PYTHON", f"{source}/.venv/bin/python")
        packages = Path(str(resources.files("rail_matrix"))).parent
        done = subprocess.run(
            [python, HERE / "exo_answers.py", source],
            input=RECORDED,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(packages)},
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        for case, again in zip(CASES, json.loads(done.stdout)["cases"], strict=True):
            with self.subTest(case["name"]):
                self.assertEqual(again["exo"], case["exo"])
                # The drop-ins make of exo's own classes what they make of the stand-ins.
                self.assertEqual(again["main"], answer(get_mlx_jaccl_devices_matrix, case))
                self.assertEqual(again["multi"], answer(get_mlx_jaccl_devices_matrix_multi, case))


if __name__ == "__main__":
    unittest.main()
