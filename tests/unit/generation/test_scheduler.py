"""Texts that are made together: each comes out as if it were alone, bit for bit, whatever comes, goes and fails."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import llama2_fast
import llama2_ref
from llama2_ref.generation.params import GenerationParams
from llama2_ref.generation.request import Request, end_of_text
from llama2_ref.generation.scheduler import Scheduler
from llama2_ref.generation.stream import TextStream
from support.models import as_views, random_fields, vocabulary
from support.scripted import Counting

CONFIG = llama2_ref.Config(dim=8, hidden_dim=8, n_layers=1, n_heads=2, n_kv_heads=1, vocab_size=300, seq_len=40)
BAD = 299  # a token that no model can read: its embedding is not a number
ENGINES = {"reference": None, "numpy": "numpy", "simd": "simd"}
TEXTS = 12  # at most, in one run of the machine


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    """The name of one of the three engines."""
    if request.param == "simd":
        pytest.importorskip("numba", reason="the simd backend needs numba (extra jit)")
    return str(request.param)


@pytest.fixture(scope="module", autouse=True)
def threads_end() -> Iterator[None]:
    """Those of transformers, before the interpreter does."""
    yield
    transformer_of.cache_clear()


@cache
def transformer_of(engine: str) -> Any:
    fields = random_fields(CONFIG, 7, "normal", shared=False)
    fields["token_embedding_table"][BAD, 3] = np.nan
    if engine == "reference":
        return llama2_ref.Transformer(CONFIG, as_views(fields))
    return llama2_fast.Transformer(CONFIG, llama2_fast.Weights(**fields), backend=engine)


def package_of(engine: str) -> ModuleType:
    return llama2_ref if engine == "reference" else llama2_fast


@cache
def tokenizer() -> Any:
    return llama2_ref.Tokenizer(*vocabulary(300))


Alone = tuple[list[int], list[Any], str, str]  # tokens, log-probabilities, text, error


def alone(engine: str, prompt: Sequence[int], params: GenerationParams, budget: int) -> Alone:
    """What becomes of a text that has a model for itself: a loop of passes, and nothing else."""
    transformer, sampler = transformer_of(engine), params.make_sampler(package_of(engine).Sampler)
    end, tokens, logprobs, error = end_of_text(params.steps, CONFIG.seq_len, len(prompt)), [*prompt], [], ""
    chunks = [tokens[i : i + budget] for i in range(0, len(tokens), budget)]
    kv_cache = transformer.new_cache()
    try:
        while len(tokens) <= end and not first_stop(tokens[len(prompt) :], params.stop)[1]:
            for chunk in chunks:
                logits = transformer.forward(chunk, kv_cache)
            token = sampler.sample(logits, tokens)
            if token in tokenizer().stop:
                break
            logprobs.append(sampler.logprob(logits, token, params.logprobs))
            tokens, chunks = [*tokens, token], [[token]]
    except llama2_ref.NumericsError as numerics:
        error = str(numerics)
    return tokens, logprobs, first_stop(tokens[len(prompt) :], params.stop)[0], error


def first_stop(tokens: Sequence[int], stops: Sequence[str]) -> tuple[str, bool]:
    """The text of an answer up to its first stop string, and whether there is one."""
    text = tokenizer().decode([1, *tokens])
    found = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return text[: min(found, default=len(text))], bool(found)


class Interrupted:
    """A transformer whose next pass can be interrupted: before it, in its midst, or behind it."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.where, self.calls = inner, "", 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def forward(self, tokens: Sequence[int], kv_cache: Any) -> Any:
        return self.forward_batch([(tokens, kv_cache)])[0]

    def forward_batch(self, batch: Sequence[tuple[Sequence[int], Any]]) -> Any:
        self.calls += 1
        where, self.where = self.where, ""
        if where == "before":
            raise KeyboardInterrupt
        if where == "in its midst":
            done = batch[: (len(batch) + 1) // 2]
            for tokens, kv_cache in done:
                some = tokens[: max(1, len(tokens) // 2)] if (tokens, kv_cache) == done[-1] else tokens
                with suppress(llama2_ref.NumericsError):  # of logits that nobody wants there
                    self.inner.forward(some, kv_cache)
            raise KeyboardInterrupt
        found = self.inner.forward_batch(batch)
        if where == "behind":
            raise KeyboardInterrupt
        return found


class Mixture(RuleBasedStateMachine):
    """Texts are added, cancelled, asked for and interrupted in any order."""

    engine = ""

    @initialize(budget=st.integers(1, 24))
    def begin(self, budget: int) -> None:
        self.transformer, self.budget = Interrupted(transformer_of(self.engine)), budget
        self.scheduler = Scheduler(self.transformer, budget)
        self.requests: list[Request] = []
        self.expected: list[Alone] = []
        self.texts: list[str] = []
        self.at_cancel: dict[int, list[int]] = {}

    @rule(
        prompt=st.lists(st.integers(3, BAD - 1), min_size=1, max_size=30),
        bad=st.sampled_from([None] * 6 + [0, -1]),
        count=st.sampled_from([1, 1, 2, 3]),
        more=st.integers(0, 10),
        temperature=st.sampled_from([0.0, 1.0, 1.0]),
        penalty=st.sampled_from([1.0, 1.3]),
        stop=st.sampled_from([(), ("a", "bc"), tuple("abcdefghij")]),
        seed=st.integers(0, 2**64 - 4),
    )
    def add(
        self, prompt: list[int], bad: int | None, count: int, more: int, temperature: float, penalty: float,
        stop: tuple[str, ...], seed: int,
    ) -> None:  # fmt: skip
        if len(self.requests) + count > TEXTS:
            return
        if bad is not None:
            prompt[bad] = BAD
        params = GenerationParams(
            len(prompt) + more, temperature, 1.0, repetition_penalty=penalty, stop=stop, logprobs=1
        )
        several = [replace(params, seed=seed + i) for i in range(count)]
        new = [request_for(self.engine, prompt, each) for each in several]
        self.scheduler.add(new)
        self.requests += new
        self.expected += [alone(self.engine, prompt, each, self.budget) for each in several]
        self.texts += [""] * count

    @rule()
    def step(self) -> None:
        self.scheduler.step()

    @rule(where=st.sampled_from(["before", "in its midst", "behind"]))
    def interrupt(self, where: str) -> None:
        """The numpy engine rounds products of matrices in its own way, when a prompt is cut at other places."""
        self.transformer.where = "before" if self.engine == "numpy" else where
        try:
            self.scheduler.step()
        except KeyboardInterrupt:
            assert not self.transformer.where
        self.transformer.where = ""

    @precondition(lambda self: self.requests)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        number = data.draw(st.integers(0, len(self.requests) - 1))
        request = self.requests[number]
        finished = request.finished
        self.scheduler.cancel(request)
        assert request.finished == finished
        if not finished:
            self.at_cancel.setdefault(number, list(request.tokens))

    @precondition(lambda self: self.requests)
    @rule(data=st.data(), pieces=st.integers(1, 4))
    def ask(self, data: st.DataObject, pieces: int) -> None:
        number = data.draw(st.integers(0, len(self.requests) - 1))
        self.read(number, pieces)

    def read(self, number: int, pieces: int) -> None:
        stream = TextStream(self.requests[number], self.scheduler)
        try:
            for _ in range(pieces):
                self.texts[number] += next(stream, "")
        except llama2_ref.NumericsError as error:
            assert str(error) == self.expected[number][3]
        except llama2_ref.PromptError as error:
            assert number in self.at_cancel
            assert "can't go on" in str(error)

    @invariant()
    def texts_are_what_they_are_alone(self) -> None:
        for number, (request, (tokens, logprobs, text, error)) in enumerate(
            zip(getattr(self, "requests", []), getattr(self, "expected", []), strict=True)
        ):
            if number in self.at_cancel:
                assert request.tokens == self.at_cancel[number]
            assert request.tokens == tokens[: len(request.tokens)]
            assert request.logprobs == logprobs[: request.generated]
            assert text.startswith(self.texts[number])
            if request.finished:
                assert request.tokens == tokens
                assert str(request.error or "") == error

    def teardown(self) -> None:
        if not hasattr(self, "requests"):
            return
        before = self.transformer.calls
        while self.scheduler.requests:
            self.scheduler.step()
            self.texts_are_what_they_are_alone()
            assert self.transformer.calls - before <= TEXTS * CONFIG.seq_len
        for number, request in enumerate(self.requests):
            assert request.finished != (number in self.at_cancel)
            if request.finished and not request.error:
                self.read(number, CONFIG.seq_len + 3)
                assert self.texts[number] == self.expected[number][2]


def request_for(engine: str, prompt: Sequence[int], params: GenerationParams) -> Request:
    end = end_of_text(params.steps, CONFIG.seq_len, len(prompt))
    sampler = params.make_sampler(package_of(engine).Sampler)
    return Request(tokenizer(), prompt, params, sampler, end, echo=False)


EXAMPLES = {"reference": 25, "numpy": 60, "simd": 60}


def test_texts_that_come_and_go_are_what_they_are_alone(engine: str) -> None:
    machine = type("Mixture", (Mixture,), {"engine": engine})
    run_state_machine_as_test(
        machine, settings=settings(max_examples=EXAMPLES[engine], stateful_step_count=25, deadline=None)
    )


PARAMS = GenerationParams(0, seed=3, topp=1.0, logprobs=0)


def scheduled(engine: str, prompts: Sequence[Sequence[int]], budget: int) -> tuple[Counting, Scheduler, list[Request]]:
    """A request for each prompt, and a scheduler that has them."""
    transformer = Counting(transformer_of(engine))
    scheduler = Scheduler(transformer, budget)
    requests = [request_for(engine, prompt, replace(PARAMS, seed=i)) for i, prompt in enumerate(prompts)]
    for request in requests:
        scheduler.add([request])
    return transformer, scheduler, requests


def test_prompts_are_read_within_the_budget(engine: str) -> None:
    """Chunks of it, the rest, and whatever fits beside that; a token for each text that is being made."""
    lengths = (21, 3, 4, 8, 2)
    prompts = [[100 + i] * length for i, length in enumerate(lengths)]
    transformer, scheduler, requests = scheduled(engine, prompts, 8)
    for _ in range(7):
        scheduler.step()
    # Step by step: prompt by prompt, in their order, as far as they fit; then texts, each a token.
    assert transformer.passes[0] == [8]
    assert transformer.passes[1] == [8]
    assert transformer.passes[2] == [5, 3]
    assert transformer.passes[3] == [1, 1, 4, 2]
    assert transformer.passes[4] == [1, 1, 1, 8, 1]
    assert transformer.passes[5:] == [[1] * 5] * 2
    assert [request.generated for request in requests] == [5, 5, 4, 3, 4]


def test_a_prompt_of_the_budget_is_read_at_once(engine: str) -> None:
    transformer, scheduler, (request,) = scheduled(engine, [[100] * 8], 8)
    scheduler.step()
    assert (transformer.passes, request.generated) == ([[8]], 1)
    transformer, scheduler, (request,) = scheduled(engine, [[100] * 9], 8)
    scheduler.step()
    assert (transformer.passes, request.generated) == ([[8]], 0)
    scheduler.step()
    assert (transformer.passes, request.generated) == ([[8], [1]], 1)


@pytest.mark.parametrize("first", [1, 3, 5, 7])
def test_a_prompt_is_cut_at_the_same_places_whatever_runs_beside_it(first: int) -> None:
    """The numpy engine rounds otherwise where a prompt is cut otherwise: its bits must not tell who was there."""
    transformer, scheduler, requests = scheduled("numpy", [[200] * first, list(range(100, 121))], 8)
    while not requests[1].generated:
        scheduler.step()
    assert [passes[-1] for passes in transformer.passes if passes[-1] > 1][-3:] == [8, 8, 5]


@pytest.mark.parametrize("budget", [0, -1])
def test_a_budget_of_nothing(budget: int) -> None:
    with pytest.raises(llama2_ref.PromptError, match="at least 1 token"):
        Scheduler(transformer_of("reference"), budget)


@pytest.mark.parametrize("place", ["prompt", "shared prompt"])
def test_an_error_belongs_to_one_text(engine: str, place: str) -> None:
    """All who share the prompt have it, and nobody else; each time that it is asked for."""
    _, scheduler, requests = scheduled(engine, [[100, 101, 102], [103] * 5], 16)
    count = 3 if place == "shared prompt" else 1
    bad = [request_for(engine, [104, 105, BAD, 106], PARAMS) for _ in range(count)]
    scheduler.add(bad)
    scheduler.step()
    assert [request.generated for request in (*requests, *bad)] == [1, 1, *[0] * count]
    for request in bad:
        stream = TextStream(request, scheduler)
        assert next(stream) == ""  # BOS
        for _ in range(2):
            with pytest.raises(llama2_ref.NumericsError, match=r"position 3: token_embedding_table\[299\]\[3\] is nan"):
                next(stream)
    for i, request in enumerate(requests):
        list(TextStream(request, scheduler))
        prompt = request.tokens[: request.prompt_length]
        tokens, logprobs, _, error = alone(engine, prompt, replace(PARAMS, seed=i), 16)
        assert (request.tokens, request.logprobs, str(request.error or "")) == (tokens, logprobs, error)


REFUSED = {  # prompt, end -> the error
    "no token": ([], 9, "there must be at least one token"),
    "an id that is none": ([100, 300], 9, "token ids must be in 0..299 (got 300)"),
    "too long a prompt": ([100] * 41, 41, "tokens must fit into the context of 40 (got 41)"),
    "too long a text": ([100] * 39, 99, "tokens must fit into the context of 40 (got 40 + 1)"),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("company", [True, False])
def test_what_the_model_refuses_ends_one_text(engine: str, what: str, company: bool) -> None:
    """Whoever makes requests should have checked that; the others must not pay for it, at every step anew."""
    prompt, end, error = REFUSED[what]
    _, scheduler, others = scheduled(engine, [[100, 101, 102]] * company, 64)
    sampler = PARAMS.make_sampler(package_of(engine).Sampler)
    bad = Request(tokenizer(), prompt, PARAMS, sampler, end, echo=False)
    scheduler.add([bad])
    while scheduler.requests:
        scheduler.step()
    assert error in str(bad.error)
    for request in others:
        tokens, logprobs, _, _ = alone(engine, [100, 101, 102], replace(PARAMS, seed=0), 64)
        assert (request.tokens, request.logprobs, request.error) == (tokens, logprobs, None)


@pytest.mark.parametrize("prompts", [[], [[100, 101], [100, 102]], [[100], [100, 100]]])
def test_requests_that_are_added_together_share_a_prompt(prompts: list[list[int]]) -> None:
    scheduler = Scheduler(transformer_of("numpy"))
    with pytest.raises(ValueError, match="of the same prompt"):
        scheduler.add([request_for("numpy", prompt, PARAMS) for prompt in prompts])
    assert not scheduler.requests


@pytest.mark.parametrize("where", ["before", "in its midst", "behind", "sampling"])
def test_an_interrupted_step_can_be_taken_again(engine: str, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C: every text goes on from where it was, with the random numbers that it would have had."""
    if engine == "numpy" and where in ("in its midst", "behind"):
        pytest.skip("where a prompt is cut, the numpy engine rounds in its own way")
    transformer = Interrupted(transformer_of(engine))
    scheduler = Scheduler(transformer, 8)
    prompts = [[100, 101, 102], [103] * 5, [104] * 11]
    requests = [request_for(engine, prompt, replace(PARAMS, seed=i)) for i, prompt in enumerate(prompts)]
    for request in requests:
        scheduler.add([request])
    sampler_class = package_of(engine).Sampler
    logprob = sampler_class.logprob

    def interrupt(*_: Any) -> Any:
        raise KeyboardInterrupt

    while scheduler.requests:
        before = [list(request.tokens) for request in requests]
        if where == "sampling":
            monkeypatch.setattr(sampler_class, "logprob", interrupt)
        else:
            transformer.where = where
        with pytest.raises(KeyboardInterrupt):
            scheduler.step()
        assert [request.tokens for request in requests] == before
        monkeypatch.setattr(sampler_class, "logprob", logprob)
        scheduler.step()
    for i, (request, prompt) in enumerate(zip(requests, prompts, strict=True)):
        tokens, logprobs, _, error = alone(engine, prompt, replace(PARAMS, seed=i), 8)
        assert (request.tokens, request.logprobs, str(request.error or "")) == (tokens, logprobs, error)


def interrupted_at(line: int, scheduler: Scheduler) -> bool:
    """Take steps, the one that comes to the n-th line of what makes texts twice; is there such a line?"""
    rest, tracer = line, sys.gettrace()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal rest
        if Path(frame.f_code.co_filename).parent.name != "generation":
            return None
        rest -= event == "line"
        if not rest:
            sys.settrace(None)
            raise KeyboardInterrupt
        return trace

    while scheduler.requests:
        sys.settrace(trace if rest else None)
        try:
            with suppress(KeyboardInterrupt):
                scheduler.step()
        finally:
            sys.settrace(tracer)
    return not rest


@pytest.mark.slow
def test_a_step_can_be_interrupted_anywhere() -> None:
    """Not only where the model runs: between a token and its text, say, when both must come once."""
    params = [replace(PARAMS, steps=2, logprobs=1, stop=stop, seed=3) for stop in ((), ("no", "b"))]

    def made(line: int) -> tuple[list[Any], bool]:
        scheduler, several = Scheduler(transformer_of("numpy")), []
        for prompt, those in ([100], params), ([101], params[:1]):
            several += [request_for("numpy", prompt, each) for each in those]
            scheduler.add(several[-len(those) :])
        met = interrupted_at(line, scheduler)
        return [(r.tokens, r.logprobs, "".join(r.pieces), r.passes, str(r.error)) for r in several], met

    expected, line, met = made(0)[0], 0, True
    while met:
        line += 1
        found, met = made(line)
        assert found == expected, line
    assert line > 100


def test_a_cache_has_one_text_at_a_time(llama2: ModuleType) -> None:
    """A session's: the text that has it no longer says so, in place of going on from what another one has read."""
    transformer = transformer_of("reference" if llama2 is llama2_ref else "numpy")
    model = llama2.Model(tokenizer(), transformer, llama2.Sampler)
    kv_cache, streams = transformer.new_cache(), []
    for prompt in ([100] * 4, [101] * 6):
        scheduler, request = Scheduler(transformer), request_for("reference", prompt, PARAMS)
        kv_cache.length = 0
        scheduler.add([request], kv_cache)
        streams.append(TextStream(request, scheduler))
        next(streams[-1]), next(streams[-1])
    next(streams[1])
    with pytest.raises(llama2.PromptError, match="can't go on"):
        next(streams[0])
    assert model.config.seq_len > len(streams[1].tokens)


@given(st.lists(st.integers(0, 2), max_size=30))
def test_closing_a_stream_leaves_the_others(order: list[int]) -> None:
    """Samples of one prompt: whichever is closed, before the prompt is read or later, the others are what they were."""
    model = llama2_fast.Model(llama2_fast.Tokenizer(*vocabulary(300)), transformer_of("numpy"), llama2_fast.Sampler)
    whole = ["".join(stream) for stream in model.samples("abc", 3, 16, seed=5)]
    streams, texts = model.samples("abc", 3, 16, seed=5), ["", "", ""]
    for i in order[:-1]:
        texts[i] += next(streams[i], "")
    closed = order[-1] if order else 0
    streams[closed].close()
    for i in {0, 1, 2} - {closed}:
        assert texts[i] + "".join(streams[i]) == whole[i]
