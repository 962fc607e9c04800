"""One rank of the benchmark that runs a model by mlx-lm, as it is.

`mlx_lm_rank.py --job FILE` takes a job and speaks the protocol of the crate `rail-bench`
(the types `Job` and `Event` of `bench/src/protocol.rs`): one JSON object a line on standard
output. The exit code is 0 after the event `done`, else 1. The process ends at once when its
standard input closes: the launcher is gone then, and a rank that waits for its peers would
wait without end.

What is measured is mlx-lm's own loop, `generate_step`: prefill in steps, the last token of
the prompt in a step of its own, and each token's computation begun before the one before
it is read. The model is divided in these ways:

* TP by the family's own `shard`, which mlx-lm's server uses too.
* PP as exo does it (`auto_parallel.py`): consecutive layers, rank 0 first; a rank's first
  layer receives, its last one sends; while a token is chosen, the last layers' outputs are
  gathered, so that every rank computes the logits. Sends of prefill follow each step.
"""

import contextlib
import hashlib
import json
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
    if not hasattr(model, "shard"):
        raise Refused(f"mlx-lm cannot split {family(model)} for tp; use pp")
    args = getattr(model, "args", None)
    for key in ("num_attention_heads", "num_key_value_heads"):
        count = getattr(args, key, None)
        if count is not None and count % group.size():
            raise Refused(f"tp cannot split {key} {count} over {group.size()} ranks")
    model.shard(group)


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
                asked = job["generation_tokens"]
                tokens = steps(job, model, pipeline, cache, prompt, asked, [watch])
                for index, _ in enumerate(tokens):
                    say("lap", **{"pass": kind}, run=number, index=index, **passes.lap())
                    # As a measured run does, for the time that it takes.
                    watch.look(index)
                watch.finish()


# --- Runs -----------------------------------------------------------------------------


class Watch:
    """Keeps the logits of each token, which mlx-lm hands to its processors, and looks at
    them when the token is known: the next token is being computed then."""

    def __init__(self):
        self.logits = []
        self.margin = float("inf")

    def __call__(self, _tokens, logits):
        self.logits.append(logits)
        return logits

    def look(self, index):
        """The digest of a token's logits."""
        import mlx.core as mx
        import numpy as np

        logits, self.logits[index] = self.logits[index], None
        logits = np.array(logits.astype(mx.float32)).reshape(-1)
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


def steps(job, model, pipeline, cache, prompt, generated, processors=()):
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


def generate(job, model, pipeline, cache, prompt, start, run):
    """The tokens of one run, each reported when it is known."""
    watch = Watch()
    asked = job["generation_tokens"]
    tokens = steps(job, model, pipeline, cache, prompt, asked, [watch])
    for index, (token, _) in enumerate(tokens):
        ns = time.perf_counter_ns() - start
        say("token", run=run, index=index, id=int(token), ns=ns, digest=watch.look(index))
    watch.finish()
    return watch.margin


def run(job):
    import mlx.core as mx

    group = None
    if job["strategy"] != "single":
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
    filler, prompt = filler_of(job, vocab), prompt_of(job, vocab)
    if not prompt or job["generation_tokens"] < 1:
        raise Refused("a job has at least one token of prompt and one to generate")

    for number in range(job["warmup"] + job["repeat"]):
        warmup = number < job["warmup"]
        cache = fill(job, model, pipeline, group, filler)
        say("phase", phase="warmup" if warmup else "run")
        barrier(group)
        start = time.perf_counter_ns()
        margin = generate(job, model, pipeline, cache, prompt, start, number)
        margin = "NaN" if margin != margin else margin
        say("run", run=number, warmup=warmup, prompt_tokens=len(prompt), min_margin=margin)
    say("usage", load_ns=load_ns, peak_bytes=mx.get_peak_memory(), weight_bytes=weights)
    run_passes(job, model, pipeline, group, filler, prompt)
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
