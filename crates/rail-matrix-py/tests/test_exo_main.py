"""The drop-in in the shape of exo's main branch: a device a cell."""

import unittest

from fake_exo import Topology, cycle, joined
from rail_matrix import RailMatrixError, get_mlx_jaccl_devices_matrix


class ExoMain(unittest.TestCase):
    def test_two_nodes_have_the_two_ends_of_their_cable(self) -> None:
        matrix = get_mlx_jaccl_devices_matrix(cycle("AB"), joined("A6 B7"))
        self.assertEqual(matrix, [[None, "rdma_en6"], ["rdma_en7", None]])

    def test_crossed_cables_give_the_two_ends_of_one_of_them(self) -> None:
        """exo takes the first edge of each direction: here they are different cables."""
        topology = Topology()
        topology.says("A", "en6", "B", "en7")
        topology.says("A", "en7", "B", "en6")
        topology.says("B", "en6", "A", "en7")
        topology.says("B", "en7", "A", "en6")
        matrix = get_mlx_jaccl_devices_matrix(cycle("AB"), topology)
        self.assertEqual(matrix, [[None, "rdma_en6"], ["rdma_en7", None]])

    def test_a_triangle_is_all_to_all(self) -> None:
        topology = joined("A3 B3, B4 C4, C5 A5")
        topology.socket("A", "B")
        matrix = get_mlx_jaccl_devices_matrix(cycle("ABC"), topology)
        self.assertEqual(
            matrix,
            [
                [None, "rdma_en3", "rdma_en5"],
                ["rdma_en3", None, "rdma_en4"],
                ["rdma_en5", "rdma_en4", None],
            ],
        )

    def test_ranks_are_in_the_order_of_the_cycle(self) -> None:
        matrix = get_mlx_jaccl_devices_matrix(cycle("BCA"), joined("A1 B2, B3 C4, C5 A6"))
        self.assertEqual(
            matrix,
            [
                [None, "rdma_en3", "rdma_en2"],
                ["rdma_en4", None, "rdma_en5"],
                ["rdma_en1", "rdma_en6", None],
            ],
        )

    def test_any_iterable_is_a_cycle_and_other_nodes_do_not_matter(self) -> None:
        topology = joined("A1 B1, B2 C2")
        matrix = get_mlx_jaccl_devices_matrix(iter(cycle("BC")), topology)
        self.assertEqual(matrix, [[None, "rdma_en2"], ["rdma_en2", None]])

    def test_one_rail_whatever_the_number_of_cables(self) -> None:
        topology = joined("A5 B5, A6 B6, A4 B4")
        matrix = get_mlx_jaccl_devices_matrix(cycle("AB"), topology)
        self.assertEqual(matrix, [[None, "rdma_en4"], ["rdma_en4", None]])

    def test_a_pair_without_a_cable_is_refused_by_name(self) -> None:
        topology = joined("A1 B1, B2 C2")
        topology.socket("A", "C")
        topology.socket("C", "A")
        with self.assertRaisesRegex(ValueError, "'A' and 'C' have no usable cable"):
            get_mlx_jaccl_devices_matrix(cycle("ABC"), topology)

    def test_a_ring_of_four_is_not_all_to_all(self) -> None:
        topology = joined("A1 B1, B2 C2, C3 D3, D4 A4")
        with self.assertRaisesRegex(RailMatrixError, "'A' and 'C'"):
            get_mlx_jaccl_devices_matrix(cycle("ABCD"), topology)

    def test_a_cable_that_one_end_knows_is_none_and_the_refusal_says_so(self) -> None:
        topology = Topology()
        topology.says("A", "en1", "B", "en2")
        with self.assertRaisesRegex(
            RailMatrixError, "Left out: A:rdma_en1 is said to lead to B:rdma_en2, and"
        ):
            get_mlx_jaccl_devices_matrix(cycle("AB"), topology)

    def test_a_stale_edge_is_left_out_with_a_warning(self) -> None:
        topology = Topology()
        topology.says("A", "en9", "B", "en2")
        topology.cable("A", "en1", "B", "en2")
        with self.assertLogs("rail_matrix", "WARNING") as logged:
            matrix = get_mlx_jaccl_devices_matrix(cycle("AB"), topology)
        self.assertEqual(matrix, [[None, "rdma_en1"], ["rdma_en2", None]])
        [record] = logged.records
        self.assertIn("A:rdma_en9", record.getMessage())

    def test_a_sound_topology_logs_nothing(self) -> None:
        with self.assertNoLogs("rail_matrix"):
            get_mlx_jaccl_devices_matrix(cycle("AB"), joined("A1 B2"))

    def test_fewer_than_two_nodes_need_no_cable(self) -> None:
        self.assertEqual(get_mlx_jaccl_devices_matrix(cycle("A"), Topology()), [[None]])
        self.assertEqual(get_mlx_jaccl_devices_matrix([], Topology()), [])

    def test_a_node_is_one_rank(self) -> None:
        with self.assertRaisesRegex(RailMatrixError, "'A' is in the cycle twice"):
            get_mlx_jaccl_devices_matrix(cycle("ABA"), joined("A1 B1"))

    def test_what_the_digraph_raises_comes_through(self) -> None:
        class Broken(Topology):
            def get_all_connections_between(self, source: str, sink: str) -> list[object]:
                raise LookupError(source)

        with self.assertRaises(LookupError):
            get_mlx_jaccl_devices_matrix(cycle("AB"), Broken())

    def test_an_interface_that_is_no_name_is_a_type_error(self) -> None:
        topology = joined("A1 B1")
        for edge in topology.get_all_connections_between(*cycle("AB")):
            object.__setattr__(edge, "source_rdma_iface", 7)
        with self.assertRaises(TypeError):
            get_mlx_jaccl_devices_matrix(cycle("AB"), topology)


if __name__ == "__main__":
    unittest.main()
