"""One rank of the benchmark that runs a model by mlx-lm, as it is.

`mlx_lm_rank.py --job FILE` takes a job and speaks the protocol of the crate `rail-bench`
(the types `Job` and `Event` of `bench/src/protocol.rs`): one JSON object a line on standard
output. The exit code is 0 after the event `done`, else 1. The process ends at once when its
standard input closes: the launcher is gone then, and a rank that waits for its peers would
wait without end.

What is measured is mlx-lm's own loop, `generate_step`: prefill in steps, the last token of
the prompt in a step of its own, and each token's computation begun before the one before
it is read. The model is divided in these ways:

* TP by the family's own `shard`, which mlx-lm's server uses too; for a family that has none,
  by the table `cuts.json`, which says what exo does (`auto_parallel.py`).
* PP as exo does it (`auto_parallel.py`): consecutive layers, rank 0 first; a rank's first
  layer receives, its last one sends; while a token is chosen, the last layers' outputs are
  gathered, so that every rank computes the logits. Sends of prefill follow each step.
"""

import contextlib
import hashlib
import itertools
import json
import math
import os
import struct
import sys
import threading
import time

# The launcher reads events from here. Whatever else writes to the standard output must not
# get between them.
EVENTS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def say(event, **fields):
    fields = {key: value for key, value in fields.items() if value is not None}
    EVENTS.write(json.dumps({"event": event, **fields}) + "\n")
    EVENTS.flush()


def end(status):
    """Ends the process. Nobody waits for MLX's threads, which may wait for a peer."""
    sys.stderr.flush()
    os._exit(status)


def end_with_launcher():
    def read():
        while os.read(0, 4096):
            pass
        os._exit(1)

    threading.Thread(target=read, daemon=True).start()


class Refused(Exception):
    """The rank cannot run its job; the text says why."""


# --- What is loaded -------------------------------------------------------------------


def loaded_libraries():
    """The paths of the shared libraries of this process."""
    import ctypes

    if sys.platform == "darwin":
        system = ctypes.CDLL(None)
        system._dyld_get_image_name.restype = ctypes.c_char_p
        count = system._dyld_image_count()
        names = (system._dyld_get_image_name(at) for at in range(count))
        return [name.decode() for name in names if name]
    with open("/proc/self/maps") as maps:
        fields = (line.split(maxsplit=5) for line in maps)
        return [it[5].strip() for it in fields if len(it) == 6 and it[5].startswith("/")]


def build_key():
    """The key of the build whose jaccl this process has loaded."""
    import ctypes

    found = {os.path.basename(path): path for path in loaded_libraries()}
    for name in ("libjaccl.dylib", "libmlx.dylib", "libmlx.so"):
        if name not in found:
            continue
        try:
            key = ctypes.CDLL(found[name]).rails_build_key
        except AttributeError:
            raise Refused(f"{found[name]} is no build of mlx-rails, and names no build") from None
        key.restype = ctypes.c_char_p
        return key().decode()
    raise Refused("this Python has loaded no library of MLX")


# --- Numbers from a seed --------------------------------------------------------------
#
# As in the module `seeded` of the crate `rail-bench`, number by number.

MASK = (1 << 64) - 1


def seeded(seed, name):
    state = 0xCBF29CE484222325
    for byte in struct.pack("<Q", seed) + name.encode():
        state = ((state ^ byte) * 0x100000001B3) & MASK
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & MASK
    return state ^ (state >> 31)


def prompt_of(job, vocab):
    kind, value = only(job["prompt"])
    if kind == "ids":
        return value
    if kind == "seeded":
        return [seeded(job["seed"], f"prompt.{at}") % vocab for at in range(value["tokens"])]
    raise Refused(f"{kind} is no prompt that this engine knows")


def filler_of(job, vocab):
    return [seeded(job["seed"], f"depth.{at}") % vocab for at in range(job.get("depth", 0))]


def only(value):
    """The name and the content of a variant with fields."""
    ((name, content),) = value.items()
    return name, content


# --- The model ------------------------------------------------------------------------


def load(job):
    """The whole model, not yet in memory, and the size of its vocabulary."""
    kind, value = only(job["model"])
    if kind == "folder":
        return load_folder(value)
    if kind == "preset":
        return make_preset(value, job["seed"])
    raise Refused(f"{kind} is no model that this engine knows")


def load_folder(folder):
    from pathlib import Path

    from mlx_lm.utils import load_model

    if not os.path.isfile(os.path.join(folder, "config.json")):
        raise Refused(f"{folder} has no config.json")
    model, config = load_model(Path(folder), lazy=True)
    vocab = config.get("vocab_size") or config.get("text_config", {}).get("vocab_size")
    if not vocab:
        raise Refused(f"{folder}/config.json does not name its vocab_size")
    return model, vocab


def make_preset(spec, seed):
    """The model that the Rust engine makes of the same spec and seed: see `weights.rs` of
    the crate `rail-rank`, which says why these weights."""
    import mlx.core as mx
    import mlx.nn as nn
    from mlx.utils import tree_flatten
    from mlx_lm.models.qwen3 import Model, ModelArgs

    model = Model(
        ModelArgs(
            model_type="qwen3",
            hidden_size=spec["hidden"],
            num_hidden_layers=spec["layers"],
            intermediate_size=spec["ffn"],
            num_attention_heads=spec["heads"],
            rms_norm_eps=spec["rms_eps"],
            vocab_size=spec["vocab"],
            num_key_value_heads=spec["kv_heads"],
            max_position_embeddings=1 << 20,
            rope_theta=spec["rope_theta"],
            head_dim=spec["head_dim"],
            tie_word_embeddings=False,
        )
    )
    dtype = {"f32": mx.float32, "bf16": mx.bfloat16, "f16": mx.float16}[spec["dtype"]]

    def draw(name, shape, deviation):
        key = mx.random.key(seeded(seed, name))
        return mx.random.normal(shape, mx.float32, 0.0, deviation, key).astype(dtype)

    def weight(path, shape):
        name = path.removesuffix(".weight")
        if len(shape) == 1:
            gain = 4.0 if name.endswith("q_norm") else 1.0
            return draw(name, shape, f32(f32(0.1) * gain)) + mx.array(gain).astype(dtype)
        even = f32(1 / f32(f32(shape[1]) ** 0.5))
        if name.endswith("embed_tokens"):
            even = 1.0
        elif name.endswith(("o_proj", "down_proj")):
            even = f32(even / f32(f32(spec["layers"]) ** 0.5))
        return draw(name, shape, even)

    shapes = tree_flatten(model.parameters())
    model.load_weights([(path, weight(path, it.shape)) for path, it in shapes])
    if quant := spec.get("quant"):
        nn.quantize(
            model,
            group_size=quant["group_size"],
            bits=quant["bits"],
            class_predicate=lambda path, it: isinstance(it, nn.Linear) and path != "lm_head",
        )
    model.eval()
    return model, spec["vocab"]


def f32(number):
    """Rounded as a 32-bit float."""
    return struct.unpack("<f", struct.pack("<f", number))[0]


# --- Tensor parallel ------------------------------------------------------------------


def shard(model, group):
    args = getattr(model, "args", None)
    if not hasattr(model, "shard"):
        shard_by_table(model, args, group)
        return
    for key in ("num_attention_heads", "num_key_value_heads"):
        check_division(args, key, group.size())
    model.shard(group)


def check_division(args, key, ranks):
    count = getattr(args, key, None)
    if count is not None and count % ranks:
        raise Refused(f"tp cannot split {key} {count} over {ranks} ranks")


def cuts_of(model):
    """How the table cuts a model. The module `family` of the crate `models` says what its
    words mean."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "cuts.json")) as file:
        families = json.load(file)["families"]
    for cuts in families:
        if family(model) in cuts["model_types"]:
            return cuts
    raise Refused(f"neither mlx-lm nor the table splits {family(model)} for tp; use pp")


def is_of(pattern, path):
    """Whether a path is of a pattern, in which `*` stands for a number."""
    pattern, path = pattern.split("."), path.split(".")
    pairs = list(zip(pattern, path))
    return len(pattern) == len(path) and all(a == b or a == "*" and b.isdigit() for a, b in pairs)


def shard_by_table(model, args, group):
    """Leaves this rank its share of a model that mlx-lm does not cut."""
    from mlx.nn.layers.distributed import shard_inplace

    cuts, ranks = cuts_of(model), group.size()

    def cut(path, weight):
        """The axis that is cut, and where the segments along it begin."""
        module = path.rpartition(".")[0]
        found = [it for it in cuts["modules"] if is_of(it["module"], module)]
        found += [it for it in cuts["modules"] if is_of(it["module"], path)]
        if not found:
            raise Refused(f"the table does not say how {path} is cut")
        how, is_bias = found[0]["cut"], path.endswith(".bias")
        if "of" in found[0]:
            check_division(args, found[0]["of"], ranks)
        if how == "rows":
            return weight.ndim - 1 if is_bias else max(weight.ndim - 2, 0)
        if how == "columns" and not is_bias:
            if path.endswith(".scales") and weight.shape[-1] % ranks:
                raise Refused(f"tp cannot split the groups of {module} over {ranks} ranks")
            return weight.ndim - 1
        if how == "channels":
            lengths = [math.prod(getattr(args, it) for it in one) for one in found[0]["segments"]]
            return 0, list(itertools.accumulate(lengths[:-1]))
        return None

    shard_inplace(model, cut, group=group)
    for path, module in list(model.named_modules()):
        for name in cuts["divided"]:
            owner, _, attribute = name.rpartition(".")
            if is_of(owner, path):
                if (count := getattr(module, attribute, None)) is not None:
                    setattr(module, attribute, count // ranks)
        if any(is_of(it, path) for it in cuts["sums"]):
            add_up(module, group)


def add_up(module, group):
    """Lets a module give the sum over the ranks of what each computes."""
    import mlx.core as mx

    own = type(module)

    class Summed(own):
        def __call__(self, x):
            # Added once, to the sum.
            bias = self.pop("bias", None)
            y = mx.distributed.all_sum(own.__call__(self, x), group=group)
            if bias is not None:
                self["bias"] = bias
                y = y + bias
            return y

    module.__class__ = Summed


def family(model):
    return getattr(model, "model_type", type(model).__module__)


# --- Pipeline parallel ----------------------------------------------------------------


class Pipeline:
    """What the two layers at the ends of a rank's share do."""

    def __init__(self, group):
        self.group = group
        self.rank, self.size = group.rank(), group.size()
        self.prefill = False
        self.unsent = []

    def receive(self, x):
        import mlx.core as mx

        if self.rank == 0:
            return x
        # The message is received before anything computes with it, on the stream of the
        # processor: a GPU would give up on an operation that waits long.
        mx.eval(x)
        x = mx.distributed.recv_like(x, self.rank - 1, group=self.group)
        mx.eval(x)
        return x

    def send(self, x):
        import mlx.core as mx

        mx.eval(x)
        if self.rank + 1 < self.size:
            if self.prefill:
                self.unsent.append(x)
            else:
                x = mx.distributed.send(x, self.rank + 1, group=self.group)
                mx.eval(x)
        if not self.prefill:
            rows = x.shape[0]
            x = mx.distributed.all_gather(x, group=self.group)[-rows:]
            mx.eval(x)
        return x

    def flush(self):
        """Sends what a step of prefill computed. Nothing waits for it here: the peer
        receives while this rank computes the next step."""
        import mlx.core as mx

        for x in self.unsent:
            mx.async_eval(mx.distributed.send(x, self.rank + 1, group=self.group))
        self.unsent.clear()


def layer_class():
    """Made late, because it is derived from a class of MLX."""
    import mlx.nn as nn

    class End(nn.Module):
        """A layer at an end of a rank's share. What it does not have, the layer has."""

        def __init__(self, layer, pipeline, first, last):
            super().__init__()
            # As an item, because `Module` looks for an attribute of this name before it
            # sets one, and there is no layer to look in yet.
            self["layer"] = layer
            # No item, and so no parameter.
            object.__setattr__(self, "ends", (pipeline, first, last))

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return getattr(self["layer"], name)

        def __call__(self, x, *args, **kwargs):
            pipeline, first, last = self.ends
            if first:
                x = pipeline.receive(x)
            x = self["layer"](x, *args, **kwargs)
            return pipeline.send(x) if last else x

    return End


def pipe(model, group):
    """Leaves this rank its layers. The first ranks get one more where they do not divide."""
    inner = getattr(model, "model", None)
    layers = getattr(inner, "layers", None)
    if layers is None or model.layers is not layers:
        raise Refused(f"this engine cannot split {family(model)} for pp; use tp")
    rank, size = group.rank(), group.size()
    if len(layers) < size:
        raise Refused(f"pp needs a layer for each of {size} ranks; the model has {len(layers)}")
    each, left = divmod(len(layers), size)
    start = rank * each + min(rank, left)
    own = layers[start : start + each + (rank < left)]
    point_at_masks(model, inner, own)
    pipeline, End = Pipeline(group), layer_class()
    last = len(own) - 1
    for at in {0, last}:
        own[at] = End(own[at], pipeline, at == 0, at == last)
    inner.layers = own
    return pipeline


def point_at_masks(model, inner, layers):
    """A model whose layers differ in their attention makes a mask for each kind, from the
    cache of the first layer of it. Those numbers are of the whole model."""
    kinds = {
        ("fa_idx", "swa_idx"): lambda it: getattr(it, "use_sliding", False),
        ("fa_idx", "ssm_idx"): lambda it: getattr(it, "is_linear", False),
    }
    named = {name for name in vars(inner) | dict(inner) if name.endswith("_idx")}
    named -= {"start_idx", "end_idx"}
    if not named:
        return
    for (full, other), is_other in kinds.items():
        if not named <= {full, other}:
            continue
        others = [at for at, layer in enumerate(layers) if is_other(layer)]
        fulls = [at for at, layer in enumerate(layers) if not is_other(layer)]
        if other == "ssm_idx" and not (others and fulls):
            break
        setattr(inner, full, fulls[0] if fulls else 0)
        if other in named and getattr(inner, other, None) is not None:
            setattr(inner, other, others[0] if others else None)
        return
    raise Refused(f"this engine cannot split {family(model)} for pp over so many ranks")


# --- Where the time goes --------------------------------------------------------------
#
# As in the module `passes` of the crate `rail-rank`: a pass `without` messages, and one in
# which each message is evaluated `apart`, after its input. MLX's functions are replaced for
# the time of a pass, so that mlx-lm stays as it is. In measured runs nothing is replaced.


class Passes:
    def __init__(self):
        self.reset()

    def reset(self):
        self.depth = self.evaluating = self.waiting = self.message = 0
        self.since = time.perf_counter_ns()

    def lap(self):
        """What has been spent since the lap before."""
        now = time.perf_counter_ns()
        spent = {
            "ns": now - self.since,
            "evaluating_ns": self.evaluating,
            "waiting_ns": self.waiting,
            "message_ns": self.message,
        }
        self.reset()
        self.since = now
        return spent

    def timed(self, function):
        """A function in which the rank waits for MLX. One may call another."""

        def call(*args, **kwargs):
            began = time.perf_counter_ns()
            self.depth += 1
            try:
                return function(*args, **kwargs)
            finally:
                self.depth -= 1
                if self.depth == 0:
                    self.evaluating += time.perf_counter_ns() - began

        return call

    def replacements(self, kind):
        import mlx.core as mx

        timed = {
            (mx, "eval"): self.timed(mx.eval),
            (mx, "async_eval"): self.timed(mx.async_eval),
            (mx.array, "item"): self.timed(mx.array.item),
        }
        messages = self.without() if kind == "without" else self.apart()
        return timed | {(mx.distributed, name): call for name, call in messages.items()}

    def without(self):
        import mlx.core as mx

        def all_gather(x, *, group=None, **_):
            return mx.concatenate([x] * group.size())

        return {
            "all_sum": lambda x, **_: x,
            "all_gather": all_gather,
            "send": lambda x, _to, **_: x,
            "recv_like": lambda x, _source, **_: mx.zeros_like(x),
        }

    def apart(self):
        import mlx.core as mx

        original = {name: getattr(mx.distributed, name) for name in MESSAGES}
        evaluate = mx.eval

        def one():
            return mx.array([1.0])

        def took(make):
            began = time.perf_counter_ns()
            made = make()
            evaluate(made)
            return made, time.perf_counter_ns() - began

        def apart(x, exchange, message):
            evaluate(x)
            _, first = took(exchange)
            _, second = took(exchange)
            made, time_of_it = took(message)
            self.waiting += max(0, first - second)
            self.message += time_of_it
            return made

        def collective(name):
            def call(x, **given):
                return apart(
                    x,
                    lambda: original["all_sum"](one(), **given),
                    lambda: original[name](x, **given),
                )

            return call

        def between_two(name):
            def call(x, peer, **given):
                return apart(
                    x,
                    lambda: original[name](one(), peer, **given),
                    lambda: original[name](x, peer, **given),
                )

            return call

        return {
            "all_sum": collective("all_sum"),
            "all_gather": collective("all_gather"),
            "send": between_two("send"),
            "recv_like": between_two("recv_like"),
        }

    @contextlib.contextmanager
    def of(self, kind):
        replacements = self.replacements(kind)
        originals = {(of, name): getattr(of, name) for of, name in replacements}
        for (of, name), call in replacements.items():
            setattr(of, name, call)
        self.reset()
        try:
            yield self
        finally:
            for (of, name), call in originals.items():
                setattr(of, name, call)


# What the models and the pipeline of this file send.
MESSAGES = ("all_sum", "all_gather", "send", "recv_like")


def run_passes(job, model, pipeline, group, filler, prompt):
    passes = Passes()
    kinds = ["without"] if group is None else ["without", "apart"]
    for kind in kinds:
        for number in range(job.get("split", 0)):
            cache = fill(job, model, pipeline, group, filler)
            say("phase", phase="split")
            barrier(group)
            watch = Watch()
            with passes.of(kind):
                count = job["generation_tokens"]
                tokens = generate(job, model, pipeline, cache, prompt, count, watch)
                for index, _ in enumerate(tokens):
                    say("lap", **{"pass": kind}, run=number, index=index, **passes.lap())
                    # As a measured run does, for the time that it takes.
                    watch.look(index)


# --- Runs -----------------------------------------------------------------------------


class Watch:
    """Keeps the logits of each token, which mlx-lm hands to its processors, and looks at
    them when the token is known: the next token is being computed then."""

    def __init__(self):
        self.logits = []
        self.margin = float("inf")

    def __call__(self, _tokens, logits):
        import mlx.core as mx

        if logits.dtype == mx.float32:
            self.logits.append(logits)
        else:
            # Begun here: what is begun when the token is known waits for the next token.
            self.logits.append(logits.astype(mx.float32))
            mx.async_eval(self.logits[-1])
        return logits

    def take(self, index):
        """A token's logits, once."""
        import numpy as np

        logits, self.logits[index] = self.logits[index], None
        return np.array(logits).reshape(-1)

    def look(self, index):
        """The digest of a token's logits."""
        import numpy as np

        logits = self.take(index)
        content = logits.tobytes()
        # A NaN anywhere makes this one, and must not be lost among the others.
        magnitude = float(np.abs(logits).max())
        second, first = np.partition(logits, -2)[-2:].tolist() if logits.size > 1 else (0, 0)
        margin = (first - second) / magnitude if magnitude else 0.0
        if margin != margin or (self.margin == self.margin and margin < self.margin):
            self.margin = margin
        return hashlib.sha256(content).hexdigest()[:16]

    def finish(self):
        """mlx-lm has begun one token more. The messages of its computation must not get
        between those of the next run."""
        import mlx.core as mx

        mx.eval(self.logits[-1])


def steps(job, model, pipeline, cache, prompt, generated, processors=(), sampler=None):
    """mlx-lm's own loop over a prompt after what is in the cache, and so many tokens."""
    import mlx.core as mx
    from mlx_lm.generate import generate_step

    total = len(prompt)

    def progress(done, _total):
        if pipeline is None:
            return
        pipeline.flush()
        pipeline.prefill = total - done > 1

    if pipeline is not None:
        pipeline.prefill = total > 1
    return generate_step(
        mx.array(prompt, mx.uint32),
        model,
        max_tokens=generated,
        sampler=sampler,
        logits_processors=list(processors),
        prompt_cache=cache,
        prefill_step_size=job.get("prefill_step") or 2048,
        prompt_progress_callback=progress,
    )


def fill(job, model, pipeline, group, filler):
    """A cache with these tokens in it, on every rank."""
    from mlx_lm.models.cache import make_prompt_cache

    cache = make_prompt_cache(model)
    if filler:
        say("phase", phase="fill")
        for _ in steps(job, model, pipeline, cache, filler, 0):
            pass
        barrier(group)
    return cache


def generate(job, model, pipeline, cache, prompt, count, watch, sampler=None):
    """The tokens that follow a prompt, each when it is known."""
    for token, _ in steps(job, model, pipeline, cache, prompt, count, [watch], sampler):
        yield int(token)
    watch.finish()


# --- What follows the last run, for the checks ----------------------------------------

TOP = 6


def top(logits):
    """As `top` of `protocol.rs`."""
    import numpy as np

    if not np.isfinite(logits).all():
        return []
    length = min(TOP, logits.size)
    least = np.partition(logits, -length)[-length]
    ids = np.nonzero(logits >= least)[0]
    ids = ids[np.argsort(-logits[ids], kind="stable")][:length]
    return [[int(id), float(logits[id])] for id in ids]


class Absent:
    """A group whose other ranks are absent."""

    def __init__(self, rank, size):
        self.own, self.all = rank, size

    def rank(self):
        return self.own

    def size(self):
        return self.all


class Nudge:
    """Splits the sums of `all_sum` in two at random and adds the halves again, as the Rust
    engine does: see `Nudge` of `generate.rs` of the crate `rail-rank`."""

    def __init__(self, group):
        import mlx.core as mx

        self.group, self.number, self.sums = group, 0, 0
        self.all_sum = mx.distributed.all_sum
        # The families' code looks it up here for each sum.
        mx.distributed.all_sum = self

    def begin(self, number):
        self.number, self.sums = number, 0

    def __call__(self, x, *args, **kwargs):
        import mlx.core as mx

        if self.group is not None:
            x = self.all_sum(x, *args, **kwargs)
        if self.number == 0:
            return x
        key = mx.random.key(seeded(self.number, f"sum.{self.sums}"))
        self.sums += 1
        half = x.astype(mx.float32) * 0.5
        size = mx.abs(half)
        size = size + size.mean(axis=-1, keepdims=True)
        cut = mx.random.normal(x.shape, mx.float32, key=key) * size
        return (half + cut).astype(x.dtype) + (half - cut).astype(x.dtype)


def force(asked, job, model, group, pipeline, filler, prompt, first):
    import mlx.core as mx

    tokens = asked.get("tokens") or first
    if len(tokens) != job["generation_tokens"]:
        raise Refused("the forced tokens are not as many as a run generates")
    nudged, nudge = asked.get("nudged", 0), None
    for number in range(nudged + 1):
        if number == 1:
            if job["strategy"] == "single":
                shard(model, Absent(0, 1))
            nudge = Nudge(group)
        if nudge is not None:
            nudge.begin(number)
        cache, watch = fill(job, model, pipeline, group, filler), Watch()
        # mlx-lm asks for one more than it gives.
        given = iter(tokens + tokens[-1:])
        sampler = lambda logits: mx.array([next(given)], mx.uint32)
        forced = generate(job, model, pipeline, cache, prompt, len(tokens), watch, sampler)
        for index, _ in enumerate(forced):
            say("forced", **{"pass": number}, index=index, top=top(watch.take(index)))
    if nudge is not None:
        nudge.begin(0)


def run(job):
    import mlx.core as mx

    group = None
    if job.get("alone"):
        group = Absent(job["rank"], job["ranks"])
        for name, call in Passes().without().items():
            setattr(mx.distributed, name, call)
    elif job["strategy"] != "single":
        say("phase", phase="init")
        group = mx.distributed.init(strict=True, backend="jaccl")
        here, asked = (group.rank(), group.size()), (job["rank"], job["ranks"])
        if here != asked:
            raise Refused(
                f"the job is for rank {asked[0]} of {asked[1]}, but jaccl's environment makes "
                f"this rank {here[0]} of {here[1]}"
            )

    say("phase", phase="load")
    import mlx_lm.utils

    began = time.perf_counter_ns()
    model, vocab = load(job)
    pipeline = None
    if job["strategy"] == "tp":
        shard(model, group)
    elif job["strategy"] == "pp":
        pipeline = pipe(model, group)
    mx.eval(model.parameters())
    load_ns = time.perf_counter_ns() - began
    weights = weight_bytes(model)
    filler, prompt, first = filler_of(job, vocab), prompt_of(job, vocab), []
    if not prompt or job["generation_tokens"] < 1:
        raise Refused("a job has at least one token of prompt and one to generate")

    for number in range(job["warmup"] + job["repeat"]):
        warmup = number < job["warmup"]
        cache = fill(job, model, pipeline, group, filler)
        say("phase", phase="warmup" if warmup else "run")
        barrier(group)
        start = time.perf_counter_ns()
        watch, count = Watch(), job["generation_tokens"]
        tokens = generate(job, model, pipeline, cache, prompt, count, watch)
        for index, token in enumerate(tokens):
            ns = time.perf_counter_ns() - start
            say("token", run=number, index=index, id=token, ns=ns, digest=watch.look(index))
            if number == 0:
                first.append(token)
        margin = "NaN" if watch.margin != watch.margin else watch.margin
        say("run", run=number, warmup=warmup, prompt_tokens=len(prompt), min_margin=margin)
    say("usage", load_ns=load_ns, peak_bytes=mx.get_peak_memory(), weight_bytes=weights)
    run_passes(job, model, pipeline, group, filler, prompt)
    after = job.get("after", {})
    if after:
        say("phase", phase="check")
    for index, needle in enumerate(after.get("needles", [])):
        asked, count = needle["prompt"], needle["generation_tokens"]
        cache = fill(job, model, pipeline, group, [])
        tokens = generate(job, model, pipeline, cache, asked, count, Watch())
        say("needle", index=index, ids=list(tokens))
    # The last, because it may change the model.
    if asked := after.get("forced"):
        force(asked, job, model, group, pipeline, filler, prompt, first)
    say("done")


def barrier(group):
    import mlx.core as mx

    if group is not None:
        mx.eval(mx.distributed.all_sum(mx.array(1.0), group=group))


def weight_bytes(model):
    from mlx.utils import tree_flatten

    return sum(it.nbytes for _, it in tree_flatten(model.parameters()))


def main():
    if len(sys.argv) != 3 or sys.argv[1] != "--job":
        print("usage: mlx_lm_rank.py --job FILE", file=sys.stderr)
        end(2)
    end_with_launcher()
    try:
        import mlx.core

        say("loaded", build=build_key())
        with open(sys.argv[2]) as file:
            job = json.load(file)
        run(job)
    except Exception as error:
        import traceback

        traceback.print_exc()
        say("error", message=str(error) or type(error).__name__)
        end(1)
    end(0)


if __name__ == "__main__":
    main()
