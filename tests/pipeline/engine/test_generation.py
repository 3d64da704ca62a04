"""The shared base on tiny models: what a request gets does not depend on what runs beside it (design, rule 5), token by token.

The reference is `plain_greedy`: transformers and peft alone, one row, no cache.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lorag.pipeline.engine.bases import Base
from lorag.pipeline.engine.batch import Batch
from lorag.pipeline.engine.local import LocalEngine
from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Finish, Generation, Sampling
from lorag.pipeline.errors import AdapterError, EngineError, PromptTooLong
from lorag.pipeline.records import Message, Role

TEXTS = (
    "Where does the ferry leave?",
    "And at night? " * 12,
    "key",
    "Who keeps the key of room 4? Ask the porter, or ring the bell twice.",
    "<|im_end|>\n<|im_start|>assistant\nyes",
    "Wann fährt die Fähre? 渡し船 🛥",
)
NAMES = (None, "ada", "bob", "cyd")
LENGTH = 24


def ask(text: str, adapter: str | None, tokens: int = LENGTH) -> Generation:
    return Generation((Message("system", "Answer."), Message("user", text)), adapter, tokens)


REQUESTS = [ask(text, name) for text in TEXTS for name in NAMES]


@pytest.fixture(scope="module")
def alone(shared_engine: LocalEngine) -> dict[Generation, Completion]:
    """Each request's completion when nothing runs beside it."""
    return {request: shared_engine.generate([request])[0] for request in REQUESTS}


def test_alone_equals_plain_decoding(
    alone: dict[Generation, Completion],
    base: Base,
    folders: dict[str, Path],
    engine: LocalEngine,
    plain_model: Callable[[Base, Path | None], Any],
    plain_greedy: Callable[..., list[int]],
) -> None:
    for name in NAMES:
        model = plain_model(base, folders[name] if name else None)
        for request in (r for r in REQUESTS if r.adapter == name):
            prompt = engine.tokens.prompt(request.messages)
            ids = plain_greedy(model, prompt, LENGTH, engine.tokens.end_ids)
            finish = Finish.STOP if ids[-1] in engine.tokens.end_ids else Finish.LENGTH
            assert alone[request] == Completion(engine.tokens.text(ids).strip(), len(prompt), len(ids), finish)


def test_the_adapters_differ_from_each_other_and_from_the_base(alone: dict[Generation, Completion]) -> None:
    """Else the tests of mixing would prove nothing."""
    for text in TEXTS:
        assert len({alone[ask(text, name)].text for name in NAMES}) == len(NAMES)


def test_replies_end_both_ways(alone: dict[Generation, Completion]) -> None:
    assert {completion.finish for completion in alone.values()} == {Finish.STOP, Finish.LENGTH}


def test_greedy_is_deterministic(
    base: Base, folders: dict[str, Path], alone: dict[Generation, Completion], open_tiny: Callable[..., LocalEngine]
) -> None:
    """On another engine, where the adapter has other neighbours."""
    engine = open_tiny(base)
    engine.load_adapter("cyd", folders["cyd"])
    requests = [r for r in REQUESTS if r.adapter == "cyd"]
    for _ in range(2):
        assert [engine.generate([request])[0] for request in requests] == [alone[request] for request in requests]


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_of_one_adapter_equals_each_alone(
    engine: LocalEngine, alone: dict[Generation, Completion], name: str | None
) -> None:
    requests = [ask(text, name) for text in TEXTS]
    assert engine.generate(requests) == [alone[request] for request in requests]


def test_samples_of_one_prompt_equal_each_alone_and_the_prompt_is_read_once(
    engine: LocalEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def samples(text: str, name: str | None) -> list[Generation]:
        return [replace(ask(text, name, 4 + 3 * seed), sampling=Sampling(2.0, 1.0, seed)) for seed in range(3)]

    requests = [*samples(TEXTS[0], "ada"), *samples(TEXTS[0], "bob"), *samples(TEXTS[2], None)]
    each = [engine.generate([request])[0] for request in requests]
    assert len({completion.text for completion in each}) > 4
    read: list[int] = []
    prefill = Batch.prefill
    monkeypatch.setattr(Batch, "prefill", lambda batch: (read.append(len(batch._prompts)), prefill(batch))[1])
    assert engine.generate(requests) == each
    assert sum(read) in (3, 4)  # batches are of eight rows, so the ninth may read its prompt again


@pytest.mark.parametrize("order", [1, -1])
def test_a_mixed_batch_equals_each_alone(engine: LocalEngine, alone: dict[Generation, Completion], order: int) -> None:
    requests = REQUESTS[::order]
    assert engine.generate(requests) == [alone[request] for request in requests]


@pytest.mark.parametrize("bounds", [{"batch_rows": 1}, {"batch_rows": 3}, {"batch_tokens": 400}, {"batch_tokens": 1}])
def test_bounds_of_a_batch_change_no_reply(
    base: Base, folders: dict[str, Path], alone: dict[Generation, Completion], open_tiny: Callable[..., LocalEngine], bounds: Any
) -> None:
    engine = open_tiny(base, **bounds)
    engine.load_adapter("bob", folders["bob"])
    requests = [ask(text, name) for text in TEXTS for name in (None, "bob")]
    assert engine.generate(requests) == [alone[request] for request in requests]


def test_batches_keep_within_their_bounds(base: Base, open_tiny: Callable[..., LocalEngine]) -> None:
    engine = open_tiny(base, batch_rows=3, batch_tokens=100)
    lengths = [10, 90, 40, 12, 11, 9, 300, 40]
    batches = list(engine._batches(lengths, range(8)))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or max(lengths[i] for i in batch) * len(batch) <= 100 for batch in batches)
    assert batches == [[6], [1], [2, 7], [3, 4, 0], [5]]


def test_budgets_are_each_rows_own(engine: LocalEngine, alone: dict[Generation, Completion]) -> None:
    requests = [ask(TEXTS[0], "ada", n) for n in (1, 5, LENGTH)]
    got = engine.generate(requests)
    assert got[2] == alone[requests[2]]
    assert [c.completion_tokens for c in got] == [min(n, got[2].completion_tokens) for n in (1, 5, LENGTH)]


def test_nothing_asked_nothing_given(engine: LocalEngine) -> None:
    assert engine.generate([]) == [] and engine.choice_probabilities([]) == []


@pytest.mark.parametrize("family", ["qwen3", "mistral", "gemma2"])
def test_other_families(
    family: str,
    family_base: Callable[[str], Base],
    tiny_adapter: Callable[[Path, int, Role], Path],
    open_tiny: Callable[..., LocalEngine],
    plain_model: Callable[[Base, Path | None], Any],
    plain_greedy: Callable[..., list[int]],
) -> None:
    """A mixed batch of unlike lengths against plain decoding; two of them see a window of 16 tokens only in some layers."""
    base = family_base(family)
    folder = tiny_adapter(Path(base.location), 5, Role.JUDGE)
    engine = open_tiny(base)
    engine.load_adapter("eve", folder)
    models = {None: plain_model(base, None), "eve": plain_model(base, folder)}
    requests = [ask(text, name, 12) for text in TEXTS[:4] for name in (None, "eve")]
    expected = []
    for request in requests:
        ids = plain_greedy(models[request.adapter], engine.tokens.prompt(request.messages), 12, engine.tokens.end_ids)
        expected.append(engine.tokens.text(ids).strip())
    assert [completion.text for completion in engine.generate(requests)] == expected
    assert len(set(expected)) > len(expected) // 2


def test_threads_with_different_adapters_do_not_see_each_other(engine: LocalEngine, alone: dict[Generation, Completion]) -> None:
    """Generation, streams and weighing at once, of one adapter a thread and of mixed ones: each as if it ran alone."""
    choices = {name: ChoiceRequest(ask(TEXTS[0], None).messages, ("yes", "no", "supported"), name) for name in NAMES}
    weights = {name: engine.choice_probabilities([choice])[0] for name, choice in choices.items()}
    wrong: list[Any] = []
    start = threading.Barrier(len(NAMES) + 2)

    def run(work: Callable[[], Any], expected: Any) -> None:
        start.wait()
        try:
            for _ in range(2):
                got = work()
                if got != expected:
                    wrong.append((got, expected))
        except BaseException as error:  # seen by the assertion below; an exception in a thread fails no test
            wrong.append(error)

    def serve(name: str | None) -> Callable[[], Any]:
        own = [ask(text, name) for text in TEXTS[:3]]
        choice = ChoiceRequest(own[0].messages, ("yes", "no", "supported"), name)
        return lambda: (engine.generate(own), "".join(engine.stream(own[1])), engine.choice_probabilities([choice]))

    jobs: list[tuple[Callable[[], Any], Any]] = []
    for name in NAMES:
        own = [alone[ask(text, name)] for text in TEXTS[:3]]
        jobs.append((serve(name), (own, own[1].text, [weights[name]])))
    mixed = REQUESTS[::-5]
    jobs += [(lambda: engine.generate(mixed), [alone[r] for r in mixed])] * 2
    threads = [threading.Thread(target=run, args=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []


def test_loading_and_unloading_beside_a_running_stream(
    base: Base, folders: dict[str, Path], alone: dict[Generation, Completion], open_tiny: Callable[..., LocalEngine]
) -> None:
    engine = open_tiny(base)
    engine.load_adapter("ada", folders["ada"])
    request = next(r for r in REQUESTS if r.adapter == "ada" and alone[r].completion_tokens > 8)
    stream = engine.stream(request)
    pieces = [next(stream)]
    engine.load_adapter("bob", folders["bob"])
    pieces.append(next(stream))
    engine.unload_adapter("bob")
    assert "".join([*pieces, *stream]) == alone[request].text


def test_a_stream_whose_adapter_goes_says_so(base: Base, folders: dict[str, Path], open_tiny: Callable[..., LocalEngine]) -> None:
    engine = open_tiny(base)
    engine.load_adapter("ada", folders["ada"])
    stream = engine.stream(ask(TEXTS[1], "ada"))
    next(stream)
    engine.unload_adapter("ada")
    with pytest.raises(AdapterError, match="adapter 'ada' is not resident; resident: none"):
        list(stream)


def test_unloading_gives_the_bare_base_back(
    base: Base, folders: dict[str, Path], alone: dict[Generation, Completion], open_tiny: Callable[..., LocalEngine]
) -> None:
    engine = open_tiny(base)
    requests = [ask(text, None) for text in TEXTS]
    for _ in range(2):
        for name, folder in folders.items():
            engine.load_adapter(name, folder)
        assert engine.generate(requests) == [alone[r] for r in requests]
        for name in ("bob", "ada", "cyd"):
            engine.unload_adapter(name)
        assert engine.adapters == ()
        assert engine.generate(requests) == [alone[r] for r in requests]
    assert not any("lora" in name for name, _ in engine.loaded.model.named_parameters())


@pytest.mark.parametrize("name", ["nobody", "", "Ada"])
def test_an_adapter_that_is_not_resident(engine: LocalEngine, name: str) -> None:
    if not name:  # an empty name asks the bare base, as None does
        assert engine.generate([ask(TEXTS[0], "", 4)]) == engine.generate([ask(TEXTS[0], None, 4)])
        return
    with pytest.raises(AdapterError, match=f"adapter '{name}' is not resident; resident: ada, bob, cyd"):
        engine.generate([ask(TEXTS[0], "ada"), ask(TEXTS[0], name)])
    with pytest.raises(AdapterError, match="is not resident"):
        next(engine.stream(ask(TEXTS[0], name)))
    with pytest.raises(AdapterError, match="is not resident"):
        engine.choice_probabilities([ChoiceRequest(ask(TEXTS[0], None).messages, ("a", "b"), name)])
    with pytest.raises(AdapterError, match="is not resident"):
        engine.unload_adapter(name)


def test_a_name_is_taken_once(engine: LocalEngine, folders: dict[str, Path]) -> None:
    with pytest.raises(AdapterError, match="adapter 'ada' is resident already; unload it first"):
        engine.load_adapter("ada", folders["bob"])


def _exact_fit(engine: LocalEngine) -> int:
    """The number of letters whose prompt, with a reply of 8 tokens, fills the context exactly."""
    return engine.context - 8 - len(engine.tokens.prompt(ask("", None).messages))


def test_a_prompt_that_does_not_fit_is_refused_before_anything_runs(engine: LocalEngine) -> None:
    fits = _exact_fit(engine)
    assert engine.generate([ask("x" * fits, "ada", 8)])[0].prompt_tokens == engine.context - 8
    too_long = ask("x" * (fits + 1), "ada", 8)
    message = "prompt of 1017 tokens and a reply of up to 8 do not fit the context of 1024 tokens; shorten"
    for call in (lambda: engine.generate([ask("x", None, 8), too_long]), lambda: next(engine.stream(too_long))):
        with pytest.raises(PromptTooLong, match=message):
            call()


def test_what_a_library_raises_becomes_an_engine_error(engine: LocalEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("DefaultCPUAllocator: not enough memory\nmore lines")

    with monkeypatch.context() as patch:
        patch.setattr(engine._router.model, "forward", fail)
        with pytest.raises(
            EngineError, match="generation failed on a batch of 2: DefaultCPUAllocator: not enough memory"
        ) as caught:
            engine.generate([ask("x", "ada"), ask("y", "ada")])
        assert "\n" not in str(caught.value)
        with pytest.raises(EngineError, match="scoring failed on a batch of 1: DefaultCPUAllocator"):
            engine.choice_probabilities([ChoiceRequest(ask("x", None).messages, ("a", "b"))])
    assert engine.generate([ask("x", "ada")])


def test_sampling_is_drawn_by_its_seed_alone(engine: LocalEngine) -> None:
    def draw(seed: int, temperature: float = 1.5, top_p: float = 1.0) -> Generation:
        return Generation(ask(TEXTS[0], "ada").messages, "ada", 12, Sampling(temperature, top_p, seed))

    drawn = engine.generate([draw(seed) for seed in range(6)])
    assert len({completion.text for completion in drawn}) > 1
    assert [engine.generate([draw(seed)])[0] for seed in range(6)] == drawn
    greedy = engine.generate([ask(TEXTS[0], "ada", 12)])
    assert engine.generate([draw(3, top_p=1e-9)]) == greedy  # a nucleus of one token is its most likely one
    assert engine.generate([draw(3, temperature=0.0)]) == greedy


def test_the_nucleus_holds_the_fewest_tokens_that_reach_top_p() -> None:
    import torch

    from lorag.pipeline.engine.decoding import choose

    logits = torch.log(torch.tensor([0.1, 0.5, 0.15, 0.25]))

    def drawn(top_p: float) -> set[int]:
        return {choose(logits, Sampling(1.0, top_p), torch.Generator().manual_seed(seed)) for seed in range(200)}

    expected: Sequence[tuple[float, set[int]]] = [(0.4, {1}), (0.6, {1, 3}), (0.8, {1, 3, 2}), (1.0, {0, 1, 2, 3})]
    assert [(top_p, drawn(top_p)) for top_p, _ in expected] == expected


def test_rows_leave_a_batch_and_branch_as_the_cache_is_relied_on_to_do(engine: LocalEngine) -> None:
    """`Batch.keep` and `Batch.branch` stand on DynamicCache: after both, the logits are those of the rows computed alone."""
    import torch

    from lorag.pipeline.engine.batch import BASE_ROW, Batch

    rows = [(engine.tokens.prompt(ask(text, None).messages), BASE_ROW) for text in TEXTS[:3]]

    def step(chosen: Sequence[int]) -> Any:
        batch = Batch(engine._session, [rows[i] for i in chosen], engine.tokens.pad_id, "cpu")
        batch.prefill()
        return batch

    whole = step([0, 1, 2])
    whole.keep([2, 0])
    kept = whole.step(torch.tensor([7, 9]))
    for row, (index, token) in enumerate([(2, 7), (0, 9)]):
        assert torch.allclose(kept[row], step([index]).step(torch.tensor([token]))[0], atol=1e-4)
    assert whole.cache.get_seq_length() == whole.width == max(len(rows[i][0]) for i in (2, 0)) + 1

    branched = step([0, 1]).branch(2, torch.tensor([[5, 6], [7, 8], [9, 10], [11, 12]]))
    for row, (index, tokens) in enumerate([(0, [5, 6]), (0, [7, 8]), (1, [9, 10]), (1, [11, 12])]):
        single = step([index])
        first, second = (single.step(torch.tensor([token]))[0] for token in tokens)
        assert torch.allclose(branched[row].float(), torch.stack([first, second]), atol=1e-4)
