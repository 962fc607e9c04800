"""One rank that runs an installed MLX at its launcher's request.

It speaks the protocol of `jaccl-rank` (the types `Request` and `Report` of the crate
`jaccl`): requests arrive on standard input and reports go to standard output, one JSON
object a line. All data go through `mx.distributed`, as a user's program would send them.

The exit code is 0 after a request to leave, else 1. The process ends at once when its
standard input closes: the launcher is gone then, and a rank that waits for its peers would
wait without end.

`rank.py --probe` prints what is installed, and joins nothing.
"""

import ctypes
import faulthandler
import json
import os
import queue
import random
import signal
import struct
import sys
import threading
import time
import traceback

# The launcher asks a rank that is silent for its stack by this signal, which would end a
# process that does not expect it.
faulthandler.register(signal.SIGUSR1, all_threads=True)

# The launcher reads reports from here. Whatever else writes to the standard output must
# not get between them.
REPORTS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def report(event, **fields):
    REPORTS.write(json.dumps({"event": event, **fields}) + "\n")
    REPORTS.flush()


def end(status):
    """Ends the process. Nobody waits for MLX's threads, which may wait for a peer."""
    sys.stderr.flush()
    os._exit(status)


# --- What is loaded -------------------------------------------------------------------


def loaded_libraries():
    """The paths of the shared libraries of this process."""
    if sys.platform == "darwin":
        system = ctypes.CDLL(None)
        system._dyld_get_image_name.restype = ctypes.c_char_p
        count = system._dyld_image_count()
        names = (system._dyld_get_image_name(at) for at in range(count))
        return [name.decode() for name in names if name]
    with open("/proc/self/maps") as maps:
        fields = (line.split(maxsplit=5) for line in maps)
        return [it[5].strip() for it in fields if len(it) == 6 and it[5].startswith("/")]


def library_with_jaccl():
    """The loaded library that contains jaccl: libjaccl where there is one, else libmlx."""
    found = {os.path.basename(path): path for path in loaded_libraries()}
    for name in ("libjaccl.dylib", "libmlx.dylib", "libmlx.so"):
        if name in found:
            return found[name]
    return None


def build_key(library):
    """The key of the build that a library is from; None for a library of another origin."""
    try:
        key = ctypes.CDLL(library).rails_build_key
    except (OSError, AttributeError):
        return None
    key.restype = ctypes.c_char_p
    return key().decode()


def probe():
    import mlx.core as mx

    library = library_with_jaccl()
    report(
        "probed",
        python=sys.version.split()[0],
        mlx=mx.__version__,
        library=library,
        build=build_key(library),
        available=mx.distributed.is_available("jaccl"),
    )


# --- Data -----------------------------------------------------------------------------
#
# Every rank can compute the input of every other rank. An element is a small number, kept
# as one byte: all sums over a group are exact in every dtype, so the order of additions
# does not matter.

LARGEST = 15
# Signed elements are -8 to 7, so that a reduction that wrongly starts from zero gives a
# wrong result.
LOWEST = {"bool": 0, "u8": 0, "u16": 0, "u32": 0, "u64": 0}

FORMATS = {
    "bool": "?",
    "i8": "b",
    "i16": "h",
    "i32": "i",
    "i64": "q",
    "u8": "B",
    "u16": "H",
    "u32": "I",
    "u64": "Q",
    "f16": "e",
    "f32": "f",
    "f64": "d",
}

NAMES = {
    "bool": "bool_",
    "i8": "int8",
    "i16": "int16",
    "i32": "int32",
    "i64": "int64",
    "u8": "uint8",
    "u16": "uint16",
    "u32": "uint32",
    "u64": "uint64",
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "c64": "complex64",
}


def number(dtype, value):
    """The bytes of a small number."""
    if dtype == "bf16":
        # Its upper half is exact.
        whole = struct.pack("=f", value)
        return whole[2:] if sys.byteorder == "little" else whole[:2]
    return struct.pack("=" + FORMATS[dtype], value)


def raw(rank, salt, count, part=0):
    """`count` numbers from 0 to `LARGEST`, one a byte."""
    source = random.Random(f"{rank} {salt} {part}")
    return source.randbytes(count).translate(bytes(at & LARGEST for at in range(256)))


def encode(dtype, values, lowest):
    """The bytes of an array whose elements are `values`, each with `lowest` added."""
    codes = []
    for value in range(max(values, default=0) + 1):
        codes.append(number(dtype, bool(value) if dtype == "bool" else value + lowest))
    size = len(codes[0])
    out = bytearray(size * len(values))
    for at in range(size):
        table = bytes(code[at] for code in codes).ljust(256, b"\0")
        out[at::size] = values.translate(table)
    return bytes(out)


def add(a, b):
    """Sums of bytes that stay below 256, without a loop in Python."""
    total = int.from_bytes(a, "little") + int.from_bytes(b, "little")
    return total.to_bytes(len(a), "little")


def reduce_parts(reduction, dtype, parts):
    """The element-wise combination of the ranks' inputs."""
    if dtype == "bool":
        parts = [bytes(at & 1 for at in part) for part in parts]
        reduction = {"sum": "max"}.get(reduction, reduction)
    whole = parts[0]
    for part in parts[1:]:
        if reduction == "sum":
            whole = add(whole, part)
        else:
            whole = bytes(map({"max": max, "min": min}[reduction], whole, part))
    return whole


class Data:
    """The inputs of one step and what must come of them."""

    def __init__(self, step, ranks):
        self.dtype, self.salt, self.ranks = step["dtype"], step["salt"], ranks
        self.complex = self.dtype == "c64"
        self.size = SIZES[self.dtype]
        if step["bytes"] % self.size:
            raise ValueError(f"{step['bytes']} bytes are no whole number of {self.dtype}")
        self.count = step["bytes"] // self.size
        self.lowest = LOWEST.get(self.dtype, -(LARGEST + 1) // 2)

    def own(self, rank, count=None):
        """The bytes of a rank's input."""
        count = self.count if count is None else count
        values = raw(rank, self.salt, count)
        if self.dtype == "bool":
            values = bytes(at & 1 for at in values)
        if not self.complex:
            return encode(self.dtype, values, self.lowest)
        return self.join(values, raw(rank, self.salt, count, 1), self.lowest)

    def reduced(self, reduction):
        """The bytes of the combination of all ranks' inputs."""
        every = range(self.ranks)
        parts = [raw(rank, self.salt, self.count) for rank in every]
        lowest = self.lowest * (self.ranks if reduction == "sum" else 1)
        if not self.complex:
            return encode(self.dtype, reduce_parts(reduction, self.dtype, parts), lowest)
        others = [raw(rank, self.salt, self.count, 1) for rank in every]
        if reduction == "sum":
            real = reduce_parts(reduction, "f32", parts)
            return self.join(real, reduce_parts(reduction, "f32", others), lowest)
        # Complex numbers are ordered by their real part first.
        pick = {"max": max, "min": min}[reduction]
        pairs = [pick(at) for at in zip(*(zip(*both) for both in zip(parts, others)))]
        real, imaginary = (bytes(part) for part in (zip(*pairs) if pairs else ((), ())))
        return self.join(real, imaginary, lowest)

    def join(self, real, imaginary, lowest):
        out = bytearray(8 * len(real))
        halves = [encode("f32", part, lowest) for part in (real, imaginary)]
        for at in range(4):
            out[at::8] = halves[0][at::4]
            out[4 + at :: 8] = halves[1][at::4]
        return bytes(out)


SIZES = {dtype: len(number(dtype, 0)) for dtype in [*FORMATS, "bf16"]} | {"c64": 8}


# --- Steps ----------------------------------------------------------------------------


class Wrong(Exception):
    """A byte is not what it must be."""


def check(what, found, expected):
    if found == expected:
        return
    if len(found) != len(expected):
        raise Wrong(f"the {what} has {len(found)} bytes in place of {len(expected)}")
    pairs = zip(found, expected)
    at = next(at for at, (a, b) in enumerate(pairs) if a != b)
    wrong = sum(a != b for a, b in zip(found, expected))
    raise Wrong(
        f"byte {at} of the {what} is {found[at]:#04x} in place of {expected[at]:#04x}; "
        f"{wrong} of {len(expected)} bytes are wrong"
    )


class Rank:
    """This process in its group."""

    def __init__(self, job):
        import mlx.core as mx

        self.mx = mx
        self.group = None
        # Collectives run on the processor, and so does all else that a rank does.
        mx.set_default_device(mx.cpu)
        os.environ["MLX_RANK"] = str(job["rank"])
        os.environ["MLX_JACCL_COORDINATOR"] = job["coordinator"]
        os.environ["MLX_IBV_DEVICES"] = job["devices"]
        if job["prefer_ring"]:
            os.environ["MLX_JACCL_RING"] = "1"
        report(
            "loaded",
            build=build_key(library_with_jaccl()) or "",
            available=mx.distributed.is_available("jaccl"),
            features={"barrier": False, "sum_scatter": False},
        )
        self.group = mx.distributed.init(strict=True, backend="jaccl")
        self.rank, self.ranks = self.group.rank(), self.group.size()

    def array(self, dtype, content):
        if not content:
            return self.mx.zeros((0,), self.dtype(dtype))
        plain = self.mx.array(memoryview(content))
        return plain.view(self.dtype(dtype))

    def dtype(self, name):
        return getattr(self.mx, NAMES[name])

    def content(self, array):
        if array.size == 0:
            return b""
        plain = array.view(self.mx.uint8)
        self.mx.eval(plain)
        return bytes(memoryview(plain))

    def timed(self, operation):
        """The result of an operation that was evaluated, and its time in nanoseconds."""
        started = time.perf_counter_ns()
        result = operation()
        self.mx.eval(result)
        return result, time.perf_counter_ns() - started

    def run(self, steps):
        nanos = []
        for index, step in enumerate(steps):
            try:
                nanos.append(self.perform(step))
            except Wrong as wrong:
                report("wrong", step=index, detail=str(wrong))
                return
            except (RuntimeError, ValueError) as error:
                report("error", step=index, message=str(error))
                end(1)
        report("passed", nanos=nanos)

    def perform(self, step):
        operation, over = step["operation"], self.mx.distributed
        # An operation without parameters is its name.
        if isinstance(operation, str):
            operation = {operation: None}
        ((kind, value),) = operation.items()
        data = Data(step, self.ranks)
        if kind == "send":
            if self.rank == value["to"]:
                shape, dtype = (data.count,), self.dtype(data.dtype)
                result, nanos = self.timed(
                    lambda: over.recv(shape, dtype, value["from"], group=self.group)
                )
                check("output", self.content(result), data.own(value["from"]))
                return nanos
            if self.rank != value["from"]:
                return 0
            call = lambda it: over.send(it, value["to"], group=self.group)
            expected = data.own(self.rank)
        elif kind == "all_gather":
            call = lambda it: over.all_gather(it, group=self.group)
            expected = b"".join(data.own(rank) for rank in range(self.ranks))
        elif kind == "all_reduce":
            by_name = {"sum": over.all_sum, "max": over.all_max, "min": over.all_min}
            call = lambda it: by_name[value](it, group=self.group)
            expected = data.reduced(value)
        else:
            raise ValueError(f"Python cannot reach {kind}")
        before = data.own(self.rank)
        given = self.array(data.dtype, before)
        self.mx.eval(given)
        result, nanos = self.timed(lambda: call(given))
        check("output", self.content(result), expected)
        check("input", self.content(given), before)
        return nanos


def requests():
    """The launcher's requests. Read in a thread of its own, because the end of the input
    must be noticed even while a rank waits for its peers."""
    lines = queue.SimpleQueue()

    def read():
        for line in sys.stdin:
            lines.put(json.loads(line))
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()
    while True:
        yield lines.get()


def serve():
    rank = None
    for request in requests():
        if request == "leave":
            report("left")
            return
        if "join" in request:
            try:
                rank = Rank(request["join"])
            except (ImportError, RuntimeError, ValueError) as error:
                report("error", step=None, message=str(error))
                end(1)
            report("joined")
        else:
            rank.run(request["run"])


if __name__ == "__main__":
    try:
        probe() if sys.argv[1:] == ["--probe"] else serve()
    except BaseException:
        traceback.print_exc()
        end(1)
    end(0)
