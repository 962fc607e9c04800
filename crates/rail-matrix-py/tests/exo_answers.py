"""Prints what exo's own function answers, and what the drop-ins make of exo's own classes.

    python exo_answers.py EXO_SOURCE < exo_answers.json

The Python needs what exo needs (pydantic, rustworkx, anyio, loguru and others; exo itself
need not be installed), and `rail_matrix` for the drop-ins' answers. The output has the form
of `exo_answers.json`, so this also records it anew, for another exo.
"""

import importlib
import json
import os
import sys
import types
from collections.abc import Callable
from pathlib import Path


def make_importable(source: Path) -> None:
    """Makes exo importable without installing it.

    Its `__init__` asks for the metadata of an installed exo, and its constants for the
    dashboard as npm builds it.
    """
    os.environ.setdefault("EXO_RESOURCES_DIR", str(source / "resources"))
    os.environ.setdefault("EXO_DASHBOARD_DIR", str(source / "dashboard"))
    package = types.ModuleType("exo")
    package.__path__ = [str(source / "src" / "exo")]
    sys.modules["exo"] = package


def answer(function: Callable[..., object], cycle: object, topology: object) -> object:
    """What a function returns, or null if it refuses."""
    try:
        return function(cycle, topology)
    except ValueError:
        return None


def main() -> None:
    make_importable(Path(sys.argv[1]).absolute())
    placement = importlib.import_module("exo.master.placement_utils")
    common = importlib.import_module("exo.shared.types.common")
    edges = importlib.import_module("exo.shared.types.topology")
    exo = importlib.import_module("exo.shared.topology")
    try:
        ours = importlib.import_module("rail_matrix")
    except ModuleNotFoundError:
        ours = None

    recorded = json.load(sys.stdin)
    for case in recorded["cases"]:
        topology = exo.Topology()
        cycle = [common.NodeId(name) for name in case["cycle"]]
        for node in cycle:
            topology.add_node(node)
        for source, device, sink, other in case["edges"]:
            edge = edges.RDMAConnection(source_rdma_iface=device, sink_rdma_iface=other)
            ends = {"source": common.NodeId(source), "sink": common.NodeId(sink)}
            topology.add_connection(edges.Connection(**ends, edge=edge))
        case["exo"] = answer(placement.get_mlx_jaccl_devices_matrix, cycle, topology)
        if ours is not None:
            main_shape = ours.get_mlx_jaccl_devices_matrix
            several = ours.get_mlx_jaccl_devices_matrix_multi
            case["main"] = answer(main_shape, cycle, topology)
            case["multi"] = answer(several, cycle, topology)
    # A line a case.
    lines = ",\n".join(json.dumps(case) for case in recorded.pop("cases"))
    head = json.dumps(recorded)[:-1]
    print(f'{head}, "cases": [\n{lines}\n]}}')


if __name__ == "__main__":
    main()
