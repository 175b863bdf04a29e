"""Train a Llama-2 model on a folder of text files, and write it as llama2.c's checkpoints.

    python tokenizer.py CORPUS --out FOLDER
    python train.py CORPUS --tokenizer FOLDER/tok1024.model --out FOLDER

The defaults make the model that comes with llama2_fast. Started again with the same arguments, it goes on where it was,
and ends with the same weights as if it had never been interrupted. FOLDER then holds model.v0.bin, model.v1.bin
(float32) and model.v2.bin (int8), checkpoint.pt, and the loss curve, loss.png.

Letters in shapes, as in llama2_ref: B texts in a batch, T tokens, D dim, F hidden_dim, L n_layers, H n_heads,
K n_kv_heads, E head size, V vocab_size.
"""

import argparse
import io
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import MISSING, asdict, dataclass, fields
from functools import partial
from itertools import count, islice
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated, Any, get_args, get_type_hints

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # spinning threads crawl where others use the same cores
try:
    import numpy as np
    import sentencepiece
    import torch
    import tqdm
    from matplotlib.figure import Figure
    from numpy.typing import NDArray
    from torch import Tensor, nn
    from torch.nn import functional

    import llama2_fast
except ImportError as error:
    sys.exit(f"training needs {error.name}, which is not installed: pip install 'llama2-twins[train]'")

from tokenizer import BOS, list_files, read_texts, write_whole

NOTHING = -1  # where a row of a batch is longer than its text, there is nothing to predict
POOL = 32  # batches whose texts are sorted by length together, so that a batch has little padding
LAYER = ("rms_att_weight", "wq", "wk", "wv", "wo", "rms_ffn_weight", "w1", "w2", "w3")  # in the order of their use
BETAS = (0.9, 0.95)  # AdamW's, as in Llama-2 (arXiv:2307.09288, section 2.2)


@dataclass(frozen=True)
class Settings:
    """Everything that a run depends on."""

    corpus: Annotated[
        Path, "folder of *.txt, each with texts separated by a line <|end|>; those of first*.txt come first"
    ]
    tokenizer: Annotated[Path, "the SentencePiece model that tokenizer.py has made"] = Path("tok1024.model")
    out: Annotated[Path, "folder for the results"] = Path("run")
    dim: Annotated[int, "width of the residual stream"] = 128
    hidden_dim: Annotated[int, "width inside the feed-forward network"] = 384
    n_layers: Annotated[int, "number of blocks"] = 6
    n_heads: Annotated[int, "number of query heads"] = 4
    n_kv_heads: Annotated[int, "number of key/value heads"] = 2
    seq_len: Annotated[int, "context in tokens; longer texts are cut into parts"] = 288
    steps: Annotated[int, "number of batches to learn from"] = 8000
    warmup: Annotated[int, "steps in which the learning rate grows"] = 100
    batch: Annotated[int, "texts in a batch"] = 16
    learning_rate: Annotated[float, "the highest; it falls to zero along a cosine"] = 3e-3
    weight_decay: Annotated[float, "of matrices; norm weights have none"] = 0.05
    clip: Annotated[float, "largest norm of a gradient"] = 1.0
    eval_every: Annotated[int, "steps between evaluations, each of which saves the run"] = 250
    eval_texts: Annotated[int, "held-out texts for those; the last evaluation takes all"] = 200
    seed: Annotated[int, "of the first weights and the order of the texts"] = 1
    threads: Annotated[int, "of PyTorch; the weights' last bits depend on it"] = 2


def main() -> None:
    """Read the command line and train."""
    summary, _, details = str(__doc__).partition("\n\n")
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=details, formatter_class=form)
    for each in fields(Settings):
        kind, text = get_args(get_type_hints(Settings, include_extras=True)[each.name])
        if each.default is MISSING:
            parser.add_argument(each.name, type=kind, help=text)
        else:
            flag = "--" + each.name.replace("_", "-")
            parser.add_argument(flag, type=kind, default=each.default, help=f"{text} (default %(default)s)")
    run = Run(Settings(**vars(parser.parse_args())))
    run.train()
    run.export()


# ---------------------------------------------------------------------------------------------------------------- model


class Model(nn.Module):
    """Llama-2 (Touvron et al., arXiv:2302.13971 and arXiv:2307.09288) with tied embeddings, as llama2_ref.Transformer.

    `w` holds the fields of llama2_ref.Weights under their names; those of all layers are one tensor, (L, ...).
    """

    def __init__(self, config: llama2_fast.Config) -> None:
        """Random weights, from torch's generator."""
        super().__init__()
        self.config = config
        self.w = nn.ParameterDict({name: torch.empty(shape) for name, shape in shapes(config).items()})
        for name, weight in self.w.items():
            if name.startswith("rms"):
                nn.init.ones_(weight)
            else:  # what is added to the residual stream 2L times is smaller, so that the sum is not (GPT-2)
                times = 2 * config.n_layers if name in ("wo", "w2") else 1
                nn.init.normal_(weight, std=(weight.shape[-1] * times) ** -0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of every position: (B, T) -> (B, T, V)."""
        w, c = self.w, self.config
        turns = rope_table(tokens.shape[1], c.head_size, c.rope_theta).to(w["wq"].dtype.to_complex())
        x = functional.embedding(tokens, w["token_embedding_table"])
        for rms_att, wq, wk, wv, wo, rms_ffn, w1, w2, w3 in zip(*(w[name].unbind() for name in LAYER), strict=True):
            h = rmsnorm(x, rms_att, c.norm_eps)
            x = x + attention(h @ wq.T, h @ wk.T, h @ wv.T, turns) @ wo.T
            h = rmsnorm(x, rms_ffn, c.norm_eps)
            x = x + swiglu(h @ w1.T, h @ w3.T) @ w2.T
        logits: Tensor = rmsnorm(x, w["rms_final_weight"], c.norm_eps) @ w["token_embedding_table"].T
        return logits


def shapes(config: llama2_fast.Config) -> dict[str, tuple[int, ...]]:
    """Field of Weights -> its shape, in the order in which the forward pass takes those of a layer."""
    c = config
    return {
        "token_embedding_table": (c.vocab_size, c.dim),
        "rms_att_weight": (c.n_layers, c.dim),
        "wq": (c.n_layers, c.dim, c.dim),
        "wk": (c.n_layers, c.kv_dim, c.dim),
        "wv": (c.n_layers, c.kv_dim, c.dim),
        "wo": (c.n_layers, c.dim, c.dim),
        "rms_ffn_weight": (c.n_layers, c.dim),
        "w1": (c.n_layers, c.hidden_dim, c.dim),
        "w2": (c.n_layers, c.dim, c.hidden_dim),
        "w3": (c.n_layers, c.hidden_dim, c.dim),
        "rms_final_weight": (c.dim,),
    }


def rmsnorm(x: Tensor, w: Tensor, eps: float) -> Tensor:
    """w x / sqrt(mean(x^2) + eps): (..., D) -> (..., D) (Zhang and Sennrich, arXiv:1910.07467, equation 4)."""
    return functional.rms_norm(x, w.shape, w, eps)


def rope_table(length: int, head_size: int, theta: float) -> Tensor:
    """exp(i pos theta^(-2j/E)) in float64: (T, E/2) (Su et al., arXiv:2104.09864, section 3.2.2)."""
    frequency = theta ** (-torch.arange(0, head_size, 2, dtype=torch.float64) / head_size)
    angle = torch.outer(torch.arange(length, dtype=torch.float64), frequency)
    return torch.polar(torch.ones_like(angle), angle)


def rope(x: Tensor, turns: Tensor) -> Tensor:
    """Turn each pair (2j, 2j+1), read as a complex number: (B, T, H, E) -> (B, T, H, E) (the same, equation 34)."""
    pairs = torch.view_as_complex(x.reshape(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turns[:, None]).flatten(-2)


def attention(q: Tensor, k: Tensor, v: Tensor, turns: Tensor) -> Tensor:
    """Causal softmax(q k^T / sqrt(E)) v for groups of query heads: (B, T, H*E), (B, T, K*E) twice -> (B, T, H*E).

    Vaswani et al., arXiv:1706.03762, equation 1; Ainslie et al., arXiv:2305.13245: query head h reads head h // (H/K).
    """
    q, k, v = (x.reshape(*x.shape[:2], -1, 2 * turns.shape[1]) for x in (q, k, v))
    q, k, v = (x.transpose(1, 2) for x in (rope(q, turns), rope(k, turns), v))
    out = functional.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return out.transpose(1, 2).flatten(-2)


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) up: (..., F) -> (..., F) (Shazeer, arXiv:2002.05202, equation 6)."""
    return functional.silu(gate) * up


# ----------------------------------------------------------------------------------------------------------------- data


class Texts:
    """Texts as rows of tokens, BOS + text + BOS: as in llama2.c, where the next BOS is what ends a text."""

    def __init__(self, texts: Iterator[str], tokenizer: Any, seq_len: int) -> None:
        """`tokenizer` is a SentencePieceProcessor."""
        self.rows: list[NDArray[np.uint16]] = []
        self.bytes = 0  # of the texts in UTF-8
        while part := list(islice(texts, 1000)):
            self.bytes += sum(len(text.encode()) for text in part)
            for tokens in tokenizer.encode(part, add_bos=True):
                self.rows += cut(np.array([*tokens, BOS], np.uint16), seq_len)
        self.lengths = np.array([len(row) for row in self.rows])

    @property
    def tokens(self) -> int:
        """How many tokens there are to predict."""
        return int(sum(self.lengths - 1))

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Inputs and targets: (B) -> (B, T) twice, T the longest of the rows."""
        tokens = np.full((len(rows), self.lengths[rows].max()), NOTHING)
        for i, row in enumerate(rows):
            tokens[i, : self.lengths[row]] = self.rows[row]
        inputs, targets = torch.from_numpy(tokens[:, :-1]), torch.from_numpy(tokens[:, 1:])
        return inputs.clamp(min=0), targets


def cut(tokens: NDArray[np.uint16], seq_len: int) -> list[NDArray[np.uint16]]:
    """A text in parts that fit into the context, each beginning with the last token of the one before."""
    return [tokens[start : start + seq_len + 1] for start in range(0, len(tokens) - 1, seq_len)]


def read_corpus(folder: Path) -> tuple[Iterator[str], Iterator[str], Iterator[str]]:
    """Texts to learn from first, others, and held-out ones: of valid*.txt, or every 50th where there is none."""
    files = list_files(folder)
    first = read_texts(files.first)
    if files.valid:
        return first, read_texts(files.others), read_texts(files.valid)
    others = (text for i, text in enumerate(read_texts(files.others)) if i % 50 < 49)
    return first, others, islice(read_texts(files.others), 49, None, 50)


def batches(lengths: NDArray[np.int64], batch: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The rows of each batch of one pass over the texts, in random order, of similar length: (batches, B)."""
    rng = np.random.default_rng([seed, epoch])
    if len(lengths) < batch:
        return np.empty((0, batch), np.int64)
    order = rng.permutation(len(lengths))
    pools = [order[i : i + POOL * batch] for i in range(0, len(order), POOL * batch)]
    order = np.concatenate([pool[np.argsort(lengths[pool], kind="stable")] for pool in pools])
    whole = len(order) // batch
    return rng.permutation(order[: whole * batch].reshape(whole, batch))


# ------------------------------------------------------------------------------------------------------------- training


class Run:
    """One training run: the model, its optimizer, and how far they are."""

    def __init__(self, settings: Settings) -> None:
        """Read the texts, and the checkpoint if there is one."""
        s = self.settings = settings
        torch.set_num_threads(s.threads)
        torch.manual_seed(s.seed)
        tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(s.tokenizer))
        texts = (Texts(part, tokenizer, s.seq_len) for part in read_corpus(s.corpus))
        self.first, self.learn, self.held_out = texts
        if len(self.learn.rows) < s.batch or not self.held_out.rows:
            sys.exit(f"{s.corpus}: must hold at least {s.batch} texts to learn from and a held-out one")
        sizes = s.dim, s.hidden_dim, s.n_layers, s.n_heads, s.n_kv_heads
        self.model = Model(llama2_fast.Config(*sizes, tokenizer.vocab_size(), s.seq_len))
        self.optimizer = make_optimizer(self.model, s)
        self.step = 0
        self.seconds = self.cpu_seconds = 0.0  # of learning and evaluation
        self.losses: list[float] = []  # of each step
        self.evaluations: list[tuple[int, float]] = []  # step, held-out loss
        self.resume()

    def train(self) -> None:
        """Learn until the last step, and save the run after each evaluation."""
        s = self.settings
        steps = islice(self.batches(), self.step, s.steps)
        for batch in tqdm.tqdm(steps, total=s.steps, initial=self.step, unit="step", smoothing=0.05):
            start, cpu_start = perf_counter(), process_time()
            self.losses.append(self.learn_batch(*batch()))
            self.step += 1
            evaluating = self.step % s.eval_every == 0 or self.step == s.steps
            if evaluating:
                self.evaluations.append((self.step, self.evaluate(None if self.step == s.steps else s.eval_texts)))
            self.seconds += perf_counter() - start
            self.cpu_seconds += process_time() - cpu_start
            if evaluating:
                self.save()
                tqdm.tqdm.write(self.report())

    def batches(self) -> Iterator[Callable[[], tuple[Tensor, Tensor]]]:
        """Functions that make the batches: of the first texts, once; then of the others, again and again."""
        s = self.settings
        yield from (partial(self.first.batch, rows) for rows in batches(self.first.lengths, s.batch, s.seed, 0))
        for epoch in count():
            yield from (partial(self.learn.batch, rows) for rows in batches(self.learn.lengths, s.batch, s.seed, epoch))

    def learn_batch(self, inputs: Tensor, targets: Tensor) -> float:
        """One step of AdamW (Loshchilov and Hutter, arXiv:1711.05101, algorithm 2); returns the batch's loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.settings)
        loss = self.loss(inputs, targets)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
        self.optimizer.step()
        return loss.item()

    def loss(self, inputs: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        """Cross-entropy in nats per token: (B, T) twice -> ()."""
        logits = self.model(inputs).flatten(0, 1)
        return functional.cross_entropy(logits, targets.flatten(), ignore_index=NOTHING, reduction=reduction)

    @torch.no_grad()
    def evaluate(self, texts: int | None = None) -> float:
        """Mean loss of each token in the first so many held-out texts, or in all of them."""
        rows = np.arange(len(self.held_out.rows))[:texts]
        rows = rows[np.argsort(self.held_out.lengths[rows], kind="stable")]
        parts = [rows[i : i + self.settings.batch] for i in range(0, len(rows), self.settings.batch)]
        total = sum(self.loss(*self.held_out.batch(part), reduction="sum").item() for part in parts)
        return float(total / (self.held_out.lengths[rows] - 1).sum())

    def report(self) -> str:
        """One line on how far the run is."""
        step, loss = self.evaluations[-1]
        recent = float(np.mean(self.losses[-self.settings.eval_every :]))
        time = f"{self.seconds / 60:.1f} minutes ({self.cpu_seconds / 60:.1f} of processor time)"
        return f"step {step}: loss {recent:.4f}, held out {loss:.4f}, after {time}"

    # ----------------------------------------------------------------------------------------------------------- files

    def save(self) -> None:
        """Everything that `resume` needs, and the loss curve."""
        self.settings.out.mkdir(parents=True, exist_ok=True)
        state = {name: getattr(self, name) for name in STATE} | {"settings": self.identity()}
        state |= {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        data = io.BytesIO()
        torch.save(state, data)
        write_whole(self.settings.out / "checkpoint.pt", data.getvalue())
        write_whole(self.settings.out / "loss.png", loss_curve(self.losses, self.evaluations))

    def resume(self) -> None:
        """Go on where checkpoint.pt is, if there is one. Ends the program if that is of another run."""
        path = self.settings.out / "checkpoint.pt"
        if not path.exists():
            return
        state = torch.load(path, weights_only=True)
        other = [name for name, value in self.identity().items() if state["settings"].get(name) != value]
        if other:
            sys.exit(f"{path}: is of a run with another {', '.join(other)}: remove it, or choose another --out")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name in STATE:
            setattr(self, name, state[name])

    def identity(self) -> dict[str, Any]:
        """What must be the same for a run to go on: all settings but where files are, and the texts' sizes."""
        settings = {name: value for name, value in asdict(self.settings).items() if not isinstance(value, Path)}
        return settings | {"corpus": [part.tokens for part in (self.first, self.learn, self.held_out)]}

    def export(self) -> None:
        """Write the model as llama2.c's checkpoints, and say how good it is."""
        config, weights = self.model.config, to_weights(self.model)
        for version in (0, 1, 2):
            llama2_fast.write_checkpoint(self.settings.out / f"model.v{version}.bin", config, weights, version)
        loss = self.evaluations[-1][1]
        numbers = sum(weight.numel() for weight in self.model.parameters())
        per_byte = loss * self.held_out.tokens / self.held_out.bytes
        print(f"{numbers:,} parameters; held-out loss {loss:.4f} nats per token, {per_byte:.4f} per byte")


STATE = ("step", "seconds", "cpu_seconds", "losses", "evaluations")  # fields of Run that a checkpoint holds as they are


def make_optimizer(model: Model, settings: Settings) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only: a norm weight near 0 would silence what it scales."""
    norms = [weight for name, weight in model.w.items() if name.startswith("rms")]
    matrices = [weight for name, weight in model.w.items() if not name.startswith("rms")]
    groups = [{"params": matrices, "weight_decay": settings.weight_decay}, {"params": norms, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=BETAS, fused=True)


def learning_rate(step: int, settings: Settings) -> float:
    """Up in a straight line, then down along a cosine to zero (Loshchilov and Hutter, arXiv:1608.03983, equation 5)."""
    s = settings
    if step < s.warmup:
        return s.learning_rate * (step + 1) / s.warmup
    return s.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - s.warmup) / max(1, s.steps - s.warmup)))


def to_weights(model: Model) -> llama2_fast.Weights:
    """The model's numbers, as llama2_fast takes them."""
    found = {name: weight.detach().numpy() for name, weight in model.w.items()}
    return llama2_fast.Weights(**found, wcls=found["token_embedding_table"])


def loss_curve(losses: list[float], evaluations: list[tuple[int, float]]) -> bytes:
    """A picture (PNG) of the losses, those of the batches smoothed over 20 steps."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    means = [float(np.mean(losses[i : i + 20])) for i in range(0, len(losses), 20)]
    axes.plot([20 * i + 10 for i in range(len(means))], means, color="tab:blue", linewidth=1, label="batches")
    axes.plot(*zip(*evaluations, strict=True), color="tab:orange", marker=".", label="held-out texts")
    axes.set(xlabel="step", ylabel="loss (nats per token)", yscale="log")
    axes.grid(alpha=0.3)
    axes.legend()
    data = io.BytesIO()
    figure.savefig(data, dpi=120)
    return data.getvalue()


if __name__ == "__main__":
    main()
