"""The PyTorch model is the reference's model, and an interrupted run ends as an uninterrupted one."""

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra train)")
pytest.importorskip("sentencepiece", reason="SentencePiece is not installed (extra train)")

import llama2_fast
import llama2_ref
import tokenizer as tokens
import train
from llama2_fast.conformance.judge import assert_close, assert_taps_within
from llama2_ref import bounded
from stories import story
from support.models import Twins, random_twins

# Groups of 1, 2 and 4 query heads; sizes that no vector length divides; head sizes 2, 4 and 6
CONFIGS = [
    llama2_ref.Config(8, 7, 2, 4, 2, 11, 9),
    llama2_ref.Config(6, 9, 2, 3, 3, 5, 9),
    llama2_ref.Config(16, 13, 1, 4, 1, 17, 9),
    llama2_ref.Config(12, 5, 3, 2, 1, 7, 9),
]


def torch_model(twins: Twins) -> train.Model:
    model = train.Model(twins.config)
    for name, weight in model.w.items():
        weight.data = torch.from_numpy(np.array(getattr(twins.fast, name)))
    return model


def token_ids(config: llama2_ref.Config) -> list[int]:
    return np.random.default_rng(0).integers(0, config.vocab_size, config.seq_len).tolist()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_logits_are_the_references(config: llama2_ref.Config, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both in float64: each may be as far from the true value as the bound says when its unit roundoff is 2^-53."""
    monkeypatch.setattr(bounded, "U", 2.0**-53)
    monkeypatch.setattr(bounded, "EXP_REL", 4 * 2.0**-53)
    twins, ids = random_twins(config, seed), token_ids(config)
    got = torch_model(twins).double()(torch.tensor([ids]))[0].detach().numpy()
    reference = llama2_ref.Transformer(config, twins.ref, bounded.BoundedKernels())
    logits = reference.forward(ids, reference.new_cache(), every=True)
    value = np.array([[x.value for x in row] for row in logits])
    error = np.array([[x.error for x in row] for row in logits])
    assert error.max() < 2.0**-10  # so that the comparison means something
    assert_close(got, value, 2 * error, "logits")


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_every_buffer_keeps_its_bound(config: llama2_ref.Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """In float32, as in training."""
    twins, ids = random_twins(config, 1), token_ids(config)
    taps = record(torch_model(twins), ids, monkeypatch)
    assert_taps_within(config, twins.ref, ids, taps)


def record(model: train.Model, ids: list[int], monkeypatch: pytest.MonkeyPatch) -> llama2_fast.Taps:
    """The buffers of a forward pass, as what its functions take and return."""
    calls: dict[str, list[tuple[Any, Any]]] = {name: [] for name in ("rmsnorm", "rope", "attention", "swiglu")}

    def watch(name: str) -> None:
        function = getattr(train, name)

        def watched(*args: Any) -> Any:
            calls[name].append((args, function(*args)))
            return calls[name][-1][1]

        monkeypatch.setattr(train, name, watched)

    for name in calls:
        watch(name)
    logits = model(torch.tensor([ids]))
    taps = llama2_fast.Taps()
    for (layer, name), value in buffers(calls, model.config.n_layers):
        taps[layer, name] = value.detach().flatten(2)[0].numpy()
    taps[model.config.n_layers, "logits"] = logits.detach()[0].numpy()
    return taps


def buffers(calls: dict[str, list[tuple[Any, Any]]], n_layers: int) -> Iterator[tuple[tuple[int, str], Any]]:
    norms = calls["rmsnorm"]
    for layer in range(n_layers):
        yield (layer, "att_norm"), norms[2 * layer][1]
        yield (layer, "q"), calls["rope"][2 * layer][1]
        yield (layer, "k"), calls["rope"][2 * layer + 1][1]
        yield (layer, "v"), calls["attention"][layer][0][2]
        yield (layer, "att"), calls["attention"][layer][1]
        yield (layer, "x1"), norms[2 * layer + 1][0][0]
        yield (layer, "ffn_norm"), norms[2 * layer + 1][1]
        yield (layer, "gate"), calls["swiglu"][layer][1]
        yield (layer, "out"), norms[2 * layer + 2][0][0]
    yield (n_layers, "final_norm"), norms[-1][1]


def test_padding_changes_nothing() -> None:
    """A text's loss is the same alone and beside a longer one, up to the order of sums."""
    torch.manual_seed(0)
    model = train.Model(CONFIGS[0]).double()
    short, long = torch.tensor([[1, 5, 6]]), torch.tensor([[1, 5, 6, 0, 0], [1, 7, 8, 9, 10]])
    assert (model(long)[0, :3] - model(short)[0]).abs().max() < 2.0**-45


# ----------------------------------------------------------------------------------------------------------------- runs


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> train.Settings:
    """A small run over a hundred stories."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "corpus.txt").write_text("".join(f"{story(i)}{tokens.SEPARATOR}" for i in range(100)))
    (folder / "first.txt").write_text("".join(f"!{i} {i}{tokens.SEPARATOR}" for i in range(20)))
    (folder / "tok400.model").write_bytes(tokens.train_tokenizer(iter(story(i) for i in range(100)), 400))
    sizes = {"dim": 16, "hidden_dim": 24, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "seq_len": 64}
    return train.Settings(
        folder, folder / "tok400.model", folder / "run", **sizes, steps=150, warmup=10, batch=4, eval_every=40,
        eval_texts=5, threads=1,
    )  # fmt: skip


@pytest.fixture(scope="module")
def whole(settings: train.Settings) -> train.Run:
    run = train.Run(settings)
    run.train()
    run.export()
    return run


class Interrupted(Exception):
    pass


def test_a_resumed_run_ends_the_same(
    settings: train.Settings, whole: train.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = replace(settings, out=tmp_path)
    interrupt_at(90, monkeypatch)
    with pytest.raises(Interrupted):
        train.Run(again).train()
    monkeypatch.undo()
    run = train.Run(again)
    assert run.step == 80
    run.train()
    assert run.losses == whole.losses
    assert run.evaluations == whole.evaluations
    for name, weight in run.model.w.items():
        assert torch.equal(weight, whole.model.w[name]), name


def interrupt_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    learn_batch = train.Run.learn_batch

    def interrupted(self: train.Run, *args: Any) -> float:
        if self.step == step:
            raise Interrupted
        return learn_batch(self, *args)

    monkeypatch.setattr(train.Run, "learn_batch", interrupted)


def test_it_learns(whole: train.Run) -> None:
    assert whole.evaluations[-1][1] < 0.85 * whole.losses[0]


def test_a_finished_run_is_only_exported_again(settings: train.Settings, whole: train.Run) -> None:
    run = train.Run(settings)
    run.train()
    assert run.losses == whole.losses


def test_another_run_is_refused(settings: train.Settings, whole: train.Run) -> None:
    with pytest.raises(SystemExit, match="another seed: remove it"):
        train.Run(replace(settings, seed=2))


def test_exports_hold_the_models_numbers(settings: train.Settings, whole: train.Run) -> None:
    for version in (0, 1):
        config, weights = llama2_fast.read_checkpoint(settings.out / f"model.v{version}.bin")
        assert config == whole.model.config
        assert weights.shared_classifier
        for name, weight in whole.model.w.items():
            assert np.array_equal(np.array(getattr(weights, name)), weight.detach().numpy()), name
    assert llama2_fast.read_checkpoint(settings.out / "model.v2.bin")[0] == whole.model.config


def test_the_curve_is_a_picture(settings: train.Settings, whole: train.Run) -> None:
    assert (settings.out / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert not list(settings.out.glob("*.part"))


# ----------------------------------------------------------------------------------------------------------------- data


def test_a_batch_is_texts_between_begin_tokens(whole: train.Run) -> None:
    rows = np.flatnonzero(whole.learn.lengths == whole.learn.lengths[0])[:3]
    inputs, targets = whole.learn.batch(rows)
    assert inputs[0, 0] == tokens.BOS
    assert torch.equal(inputs[:, 1:], targets[:, :-1])


def test_a_row_that_is_too_long_is_cut() -> None:
    parts = train.cut(np.arange(20, dtype=np.uint16), 8)
    assert [part.tolist() for part in parts] == [[*range(9)], [*range(8, 17)], [*range(16, 20)]]


@pytest.mark.parametrize("length", range(2, 30))
def test_every_token_is_predicted_once(length: int) -> None:
    parts = train.cut(np.arange(length, dtype=np.uint16), 5)
    assert [token for part in parts for token in part[1:]] == list(range(1, length))


def test_a_pass_takes_each_text_once() -> None:
    lengths = np.random.default_rng(0).integers(2, 300, 1000)
    order = train.batches(lengths, 8, seed=1, epoch=0)
    assert sorted(order.flatten()) == list(range(1000))
    assert not np.array_equal(order, train.batches(lengths, 8, seed=1, epoch=1))
    assert np.array_equal(order, train.batches(lengths, 8, seed=1, epoch=0))
    assert sum(lengths[rows].max() * 8 for rows in order) < 1.1 * lengths.sum()  # little padding


def test_held_out_texts_are_not_learned(tmp_path: Path) -> None:
    texts = [f"text {i}" for i in range(120)]
    (tmp_path / "a.txt").write_text(tokens.SEPARATOR.join(texts))
    first, others, held_out = (list(part) for part in train.read_corpus(tmp_path))
    assert (first, held_out) == ([], [texts[49], texts[99]])
    assert sorted(others + held_out) == sorted(texts)
    (tmp_path / "valid.txt").write_text("held out")
    (tmp_path / "first.txt").write_text("drill")
    first, others, held_out = (list(part) for part in train.read_corpus(tmp_path))
    assert (first, others, held_out) == (["drill"], texts, ["held out"])


def test_first_texts_come_first_and_once(whole: train.Run) -> None:
    batch = whole.settings.batch
    number, again = len(whole.first.rows) // batch, len(whole.learn.rows) // batch
    first = {tuple(row.tolist()) for row in whole.first.rows}
    for step, make in enumerate(islice(whole.batches(), number + 2 * again)):
        inputs, targets = (part.numpy() for part in make())
        rows = {(given[0], *wanted[wanted != train.NOTHING]) for given, wanted in zip(inputs, targets, strict=True)}
        assert rows <= first if step < number else not rows & first
    assert number == 5


def test_the_learning_rate_rises_and_falls(settings: train.Settings) -> None:
    rates = [train.learning_rate(step, settings) for step in range(settings.steps)]
    top = rates.index(max(rates))
    assert max(rates) == settings.learning_rate
    assert rates[: top + 1] == sorted(rates[: top + 1])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert rates[-1] < 0.01 * settings.learning_rate


# --------------------------------------------------------------------------------------------------------- command line


def test_a_folder_without_texts_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"folder with text files"):
        train.read_corpus(tmp_path)


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    with pytest.raises(SystemExit):
        train.main()
    text = capsys.readouterr().out
    for flag in ("--learning-rate", "--n-kv-heads", "--seed", "(default 128)"):
        assert flag in text


@pytest.mark.parametrize("module", ["torch", "matplotlib.figure", "tqdm", "sentencepiece"])
def test_a_missing_library_is_named_in_one_line(module: str) -> None:
    program = f"import sys; sys.modules[{module!r}] = None; import train"
    folder = Path(train.__file__).parent
    done = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 1
    assert module.split(".")[0] in done.stderr
    assert "llama2-twins[train]" in done.stderr
    assert done.stderr.count("\n") == 1
