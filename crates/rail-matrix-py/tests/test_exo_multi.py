"""The drop-in in the shape of exo's pull request 2160: a list of devices a cell."""

import logging
import random
import unittest
from itertools import combinations

from fake_exo import Topology, cycle, joined
from rail_matrix import RailMatrixError, get_mlx_jaccl_devices_matrix_multi

Matrix = list[list[list[str]]]


def counts(matrix: Matrix) -> list[list[int]]:
    return [[len(cell) for cell in row] for row in matrix]


def group(matrix: Matrix) -> str | None:
    """What exo and jaccl make of a matrix, if anything.

    exo sets MLX_JACCL_RING when a cell has more than one device. jaccl then makes a ring
    where it is valid, else a mesh where that is, else a ring; a ring of more than four
    devices throws.
    """
    n, has = len(matrix), counts(matrix)
    wanted = any(count > 1 for row in has for count in row)
    beside = {has[i][(i + step) % n] for i in range(n) for step in (1, n - 1)}
    ring = len(beside) == 1 and 1 <= min(beside) <= 4
    mesh = all((has[i][j] == 0) == (i == j) for i in range(n) for j in range(n))
    if wanted and ring:
        return "ring"
    if mesh:
        return "mesh"
    return "ring" if ring else None


class ExoMulti(unittest.TestCase):
    def test_crossed_cables_are_aligned_in_whatever_order_they_come(self) -> None:
        cables = [("en6", "en7"), ("en7", "en6")]
        for one_way, other_way in [(1, 1), (1, -1), (-1, 1), (-1, -1)]:
            topology = Topology()
            for on_a, on_b in cables[::one_way]:
                topology.says("A", on_a, "B", on_b)
            for on_a, on_b in cables[::other_way]:
                topology.says("B", on_b, "A", on_a)
            matrix = get_mlx_jaccl_devices_matrix_multi(cycle("AB"), topology)
            self.assertEqual(
                matrix,
                [
                    [[], ["rdma_en6", "rdma_en7"]],
                    [["rdma_en7", "rdma_en6"], []],
                ],
            )

    def test_every_cable_of_a_pair_is_a_rail(self) -> None:
        topology = joined("A10 B2, A9 B3, A5 B1")
        matrix = get_mlx_jaccl_devices_matrix_multi(cycle("AB"), topology)
        self.assertEqual(matrix[0][1], ["rdma_en5", "rdma_en9", "rdma_en10"])
        self.assertEqual(matrix[1][0], ["rdma_en1", "rdma_en3", "rdma_en2"])

    def test_one_cable_a_pair_is_a_list_of_one(self) -> None:
        matrix = get_mlx_jaccl_devices_matrix_multi(cycle("AB"), joined("A1 B2"))
        self.assertEqual(matrix, [[[], ["rdma_en1"]], [["rdma_en2"], []]])

    def test_counts_are_equal_along_the_ring(self) -> None:
        three_two_two = "A1 B1, A2 B2, A3 B3, B4 C1, B5 C2, C3 A4, C4 A5"
        matrix = get_mlx_jaccl_devices_matrix_multi(cycle("ABC"), joined(three_two_two))
        self.assertEqual(counts(matrix), [[0, 2, 2], [2, 0, 2], [2, 2, 0]])
        three_two_one = "A1 B1, A2 B2, A3 B3, B4 C1, B5 C2, C3 A4"
        matrix = get_mlx_jaccl_devices_matrix_multi(cycle("ABC"), joined(three_two_one))
        self.assertEqual(counts(matrix), [[0, 1, 1], [1, 0, 1], [1, 1, 0]])
        self.assertEqual(group(matrix), "mesh")

    def test_a_pair_gets_no_more_than_jaccl_opens(self) -> None:
        topology = joined("A1 B1, A2 B2, A3 B3, A4 B4, A5 B5")
        matrix = get_mlx_jaccl_devices_matrix_multi(cycle("AB"), topology)
        self.assertEqual(counts(matrix), [[0, 4], [4, 0]])

    def test_a_stale_edge_makes_no_rail(self) -> None:
        """exo's union of both directions would put B's en2 into two rails."""
        topology = joined("A1 B2, A3 B4")
        topology.says("A", "en9", "B", "en2")
        with self.assertLogs("rail_matrix", "WARNING"):
            matrix = get_mlx_jaccl_devices_matrix_multi(cycle("AB"), topology)
        self.assertEqual(matrix[0][1], ["rdma_en1", "rdma_en3"])
        self.assertEqual(matrix[1][0], ["rdma_en2", "rdma_en4"])

    def test_a_ring_of_two_rails_needs_no_cable_across(self) -> None:
        ring = "A1 B1, A2 B2, B3 C3, B4 C4, C1 D1, C2 D2, D3 A3, D4 A4"
        matrix = get_mlx_jaccl_devices_matrix_multi(cycle("ABCD"), joined(ring))
        self.assertEqual(
            counts(matrix), [[0, 2, 0, 2], [2, 0, 2, 0], [0, 2, 0, 2], [2, 0, 2, 0]]
        )

    def test_one_narrow_link_makes_it_a_mesh(self) -> None:
        pairs = [f"{a}{b} {b}{a}" for a, b in combinations("ABCD", 2)]
        spare = [f"{a}{b}2 {b}{a}2" for a, b in ("AB", "BC", "CD")]
        matrix = get_mlx_jaccl_devices_matrix_multi(
            cycle("ABCD"), joined(", ".join(pairs + spare))
        )
        self.assertEqual(group(matrix), "mesh")
        self.assertEqual({count for row in counts(matrix) for count in row}, {0, 1})

    def test_nodes_in_a_line_are_refused(self) -> None:
        with self.assertRaisesRegex(RailMatrixError, "'A' and 'C'"):
            get_mlx_jaccl_devices_matrix_multi(cycle("ABC"), joined("A1 B1, B2 C2"))

    def test_a_device_on_two_cables_is_neither(self) -> None:
        topology = joined("A1 B1, A1 B2, A3 B3")
        with self.assertLogs("rail_matrix", "WARNING") as logged:
            matrix = get_mlx_jaccl_devices_matrix_multi(cycle("AB"), topology)
        self.assertEqual(matrix, [[[], ["rdma_en3"]], [["rdma_en3"], []]])
        self.assertIn("a device carries one cable", logged.output[0])

    def test_fewer_than_two_nodes_need_no_cable(self) -> None:
        self.assertEqual(
            get_mlx_jaccl_devices_matrix_multi(cycle("A"), Topology()), [[[]]]
        )

    def test_whatever_comes_out_is_what_was_meant(self) -> None:
        """Over random cablings with stale edges, told in any order."""
        logging.disable()
        self.addCleanup(logging.disable, logging.NOTSET)
        made = 0
        for seed in range(300):
            rng = random.Random(seed)
            names = "ABCDE"[: rng.randint(2, 5)]
            cables, sayings = random_cabling(rng, names)
            answers = []
            for _ in range(2):
                rng.shuffle(sayings)
                topology = Topology()
                for saying in sayings:
                    topology.says(*saying)
                answers.append(answer(names, topology))
            self.assertEqual(answers[0], answers[1], f"seed {seed}")
            if answers[0] is not None:
                made += 1
                self.sound(names, answers[0], cables)
        self.assertGreater(made, 100)

    def sound(self, names: str, matrix: Matrix, cables: set[frozenset[str]]) -> None:
        several = any(count > 1 for row in counts(matrix) for count in row)
        self.assertIn(group(matrix), ["ring"] if several else ["ring", "mesh"])
        used: list[str] = []
        for (i, a), (j, b) in combinations(enumerate(names), 2):
            here = [f"{a}:{device}" for device in matrix[i][j]]
            there = [f"{b}:{device}" for device in matrix[j][i]]
            for ends in zip(here, there, strict=True):
                self.assertIn(frozenset(ends), cables)
            used += here + there
        self.assertEqual(len(used), len(set(used)), "a device is in two cells")


Saying = tuple[str, str, str, str]


def random_cabling(
    rng: random.Random, names: str
) -> tuple[set[frozenset[str]], list[Saying]]:
    """Cables on devices of their own, what both ends say of them, and what nobody confirms."""
    cables, sayings = set(), []
    devices = {name: list(range(30)) for name in names}
    for name in names:
        rng.shuffle(devices[name])
    for a, b in combinations(names, 2):
        for _ in range(rng.choice([0, 1, 2, 2, 3, 5])):
            on_a, on_b = f"en{devices[a].pop()}", f"en{devices[b].pop()}"
            cables.add(frozenset([f"{a}:rdma_{on_a}", f"{b}:rdma_{on_b}"]))
            sayings += [(a, on_a, b, on_b), (b, on_b, a, on_a)]
            if rng.random() < 0.2:
                sayings.append((a, f"en{devices[a].pop()}", b, on_b))
    return cables, sayings


def answer(names: str, topology: Topology) -> Matrix | None:
    try:
        return get_mlx_jaccl_devices_matrix_multi(cycle(names), topology)
    except RailMatrixError:
        return None


if __name__ == "__main__":
    unittest.main()
