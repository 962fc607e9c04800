"""The command `rail-matrix` as the wheel installs it."""

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
import unittest
from collections.abc import Callable
from pathlib import Path

COMMAND = Path(sysconfig.get_path("scripts")) / "rail-matrix"

# A generous limit: on an idle machine every wait ends at once.
PATIENCE = 120

ENDS = ("rdma_en6", "rdma_en7")
STATE = {
    "topology": {
        "nodes": ["A", "B"],
        "connections": {
            "A": {"B": [{"sourceRdmaIface": ENDS[0], "sinkRdmaIface": ENDS[1]}]},
            "B": {"A": [{"sourceRdmaIface": ENDS[1], "sinkRdmaIface": ENDS[0]}]},
        },
    }
}
SOUND = [[None, ENDS[0]], [ENDS[1], None]]
CROSSED = [[None, ENDS[0]], [ENDS[0], None]]


class Command(unittest.TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        for name, value in [("state", STATE), ("sound", SOUND), ("crossed", CROSSED)]:
            (self.folder / f"{name}.json").write_text(json.dumps(value))

    def enterContext(self, context):  # unittest has it from Python 3.11 on
        entered = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return entered

    def run_with(
        self, *arguments: str | bytes, stdin: str = "", command: tuple = (COMMAND,)
    ) -> tuple[int, str, str]:
        done = subprocess.run(
            [*command, *arguments],
            input=stdin.encode(),
            capture_output=True,
            cwd=self.folder,
            timeout=PATIENCE,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def test_the_help_names_the_command_and_every_step(self) -> None:
        code, help, complaint = self.run_with("--help")
        self.assertEqual((code, complaint), (0, ""))
        for part in ["Usage: rail-matrix", "plan", "check", "discover", "Exit codes: 0 done"]:
            self.assertIn(part, help)
        code, help, _ = self.run_with("check", "--help")
        self.assertEqual(code, 0)
        self.assertIn("rail-matrix check -", " ".join(help.split()))
        self.assertIn("[default: exo]", help)

    def test_a_plan_is_the_document_alone(self) -> None:
        code, document, notes = self.run_with(
            "plan", "--from", "state.json", "--format", "exo-main"
        )
        self.assertEqual((code, json.loads(document)), (0, SOUND), notes)
        code, document, _ = self.run_with(
            "plan", "--from", "-", "--format", "exo-main", stdin=json.dumps(STATE)
        )
        self.assertEqual((code, json.loads(document)), (0, SOUND))

    def test_a_check_ends_with_its_verdict(self) -> None:
        over = ["--from", "state.json", "--format", "json"]
        for matrix, code in [("sound.json", 0), ("crossed.json", 1)]:
            ended, document, complaint = self.run_with("check", matrix, *over)
            report = json.loads(document)
            self.assertEqual((ended, complaint, report["safe"]), (code, "", code == 0))

    def test_bad_flags_and_input_end_with_2_and_one_line(self) -> None:
        for arguments, expected in [
            (["check", "nowhere.json"], "error: cannot read nowhere.json: "),
            (["plan", "--from", "sound.json"], "error: sound.json: "),
            (["plan", "--mlx", "newest"], "error: invalid value 'newest'"),
            (["check", b"\xff.json"], "error: cannot read \N{REPLACEMENT CHARACTER}.json: "),
            (["plane"], "error: unrecognized subcommand 'plane'"),
        ]:
            with self.subTest(arguments):
                code, document, complaint = self.run_with(*arguments)
                self.assertEqual((code, document), (2, ""))
                self.assertTrue(complaint.startswith(expected), complaint)

    def test_it_is_also_a_module_that_runs(self) -> None:
        module = (sys.executable, "-I", "-m", "rail_matrix")
        said = self.run_with("check", "sound.json", command=module)
        self.assertEqual(said, self.run_with("check", "sound.json"))
        self.assertEqual(self.run_with("check", "nowhere.json", command=module)[0], 2)

    def test_ctrl_c_ends_it_while_it_waits_for_its_stdin(self) -> None:
        with self.started("check", "-") as child:
            # More than a pipe holds, so the command has begun to read.
            assert child.stdin is not None and child.stderr is not None
            child.stdin.write(b" " * (1 << 20))
            child.stdin.flush()
            child.send_signal(signal.SIGINT)
            self.assertEqual(child.wait(PATIENCE), 130)
            self.assertEqual(child.stderr.read(), b"error: interrupted\n")

    def test_ctrl_c_ends_the_nodes_that_are_asked_too(self) -> None:
        asked = self.folder / "asked"
        ssh = self.folder / "bin" / "ssh"
        ssh.parent.mkdir()
        ssh.write_text(
            f"#!/bin/sh\nsleep 1000 &\necho $$ $! >'{asked}.new'\nmv '{asked}.new' '{asked}'\nwait\n"
        )
        ssh.chmod(0o755)
        with self.started("discover", "mini", path=ssh.parent) as child:
            self.eventually("ssh runs", asked.exists)
            pids = [int(pid) for pid in asked.read_text().split()]
            self.assertEqual(len(pids), 2)
            child.send_signal(signal.SIGINT)
            self.assertEqual(child.wait(PATIENCE), 130)
            for pid in pids:
                self.eventually(f"{pid} ends", lambda: not runs(pid))

    def started(self, *arguments: str, path: Path | None = None) -> subprocess.Popen:
        first = [str(path)] if path else []
        paths = os.pathsep.join([*first, os.environ["PATH"]])
        child = subprocess.Popen(
            [COMMAND, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
            env={**os.environ, "PATH": paths},
        )
        self.addCleanup(child.kill)
        return child

    def eventually(self, what: str, holds: Callable[[], bool]) -> None:
        until = time.monotonic() + PATIENCE
        while not holds():
            self.assertLess(time.monotonic(), until, what)
            time.sleep(0.01)


def runs(pid: int) -> bool:
    """Whether a process runs. A process that is dead and not yet reaped does not."""
    told = subprocess.run(["ps", "-o", "state=", "-p", str(pid)], capture_output=True)
    return told.stdout.decode().strip()[:1] not in ("", "Z")


if __name__ == "__main__":
    unittest.main()
