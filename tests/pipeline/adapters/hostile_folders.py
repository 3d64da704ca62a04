"""Adapter folders as an attacker, a broken disk or another tool might leave them: what each changes, and why it is refused.

Each case takes a good folder and spoils one thing. `word` is part of the refusal that it must meet.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import socket
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

WEIGHTS, CONFIG, CARD, CANARIES = "adapter_model.safetensors", "adapter_config.json", "card.json", "canaries.json"
LAYER = "base_model.model.model.layers.0.self_attn.q_proj"
TRAP = "/etc/passwd"
BACKTRACKING = "(a+)+$"

Change = Callable[[Path], Path | None]


@dataclass(frozen=True)
class Hostile:
    """`spoil(folder)` may give another path to be loaded instead."""

    name: str
    spoil: Change
    word: str


class Bomb:
    """Unpickled, it starts a process, which the audit hook sees."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 0",)


def beside(name: str | bytes, content: bytes = b"x") -> Change:
    def spoil(folder: Path) -> None:
        with open(os.path.join(os.fsencode(folder), os.fsencode(name)), "wb") as file:
            file.write(content)

    return spoil


def without(name: str) -> Change:
    return lambda folder: (folder / name).unlink()


def linked(name: str, to: str) -> Change:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(to)

    return spoil


def replaced(name: str, make: Callable[[Path], Any]) -> Change:
    """`name` becomes what `make` puts there: a pipe, a device, a folder."""

    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return spoil


def sparse(name: str, size: int) -> Change:
    def spoil(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.truncate(size)

    return spoil


def raw(name: str, content: bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content) and None


def edited(name: str, change: Callable[[Any], Any]) -> Change:
    """The JSON file with `change` made to it; what `change` returns, where it does, takes its place."""

    def spoil(folder: Path) -> None:
        data = json.loads((folder / name).read_text())
        made = change(data)
        (folder / name).write_text(json.dumps(data if made is None else made))

    return spoil


def settings(**changes: Any) -> Change:
    return edited(CONFIG, lambda data: data.update(changes))


def in_text(name: str, old: str, new: str | bytes) -> Change:
    def spoil(folder: Path) -> None:
        data = (folder / name).read_bytes()
        assert data.count(old.encode()) >= 1
        (folder / name).write_bytes(data.replace(old.encode(), new if isinstance(new, bytes) else new.encode(), 1))

    return spoil


def recoded(name: str, encoding: str) -> Change:
    return lambda folder: (folder / name).write_bytes((folder / name).read_text().encode(encoding)) and None


def weights(change: Callable[[dict[str, Any]], Any]) -> Change:
    """The weight file written anew; the card is left as it is, since checks of the weights come first."""

    def spoil(folder: Path) -> None:
        tensors = load_file(folder / WEIGHTS)
        change(tensors)
        save_file(tensors, folder / WEIGHTS)

    return spoil


def header(change: Callable[[dict[str, Any]], Any]) -> Change:
    """The header of the weight file with `change` made to it; the data stay. Bytes that `change` returns take its place."""

    def spoil(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        length = int.from_bytes(data[:8], "little")
        parsed = json.loads(data[8 : 8 + length])
        made = change(parsed)
        text = made if isinstance(made, bytes) else json.dumps(parsed).encode()
        (folder / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return spoil


def tensor(change: Callable[[dict[str, Any]], Any]) -> Change:
    """`change` made to one tensor's entry in the header."""
    return header(lambda parsed: change(parsed[f"{LAYER}.lora_A.weight"]) and None)


def first(shape: tuple[int, ...], half: str = "A", fill: float = 1.0) -> Callable[[dict[str, Any]], Any]:
    return lambda tensors: tensors.update({f"{LAYER}.lora_{half}.weight": np.full(shape, fill, np.float32)})


def zipped() -> bytes:
    """As torch.save writes: a zip with a pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Bomb()))
    return buffer.getvalue()


def appended(content: bytes) -> Change:
    def spoil(folder: Path) -> None:
        with (folder / WEIGHTS).open("ab") as file:
            file.write(content)

    return spoil


def behind_a_link(folder: Path) -> Path:
    link = folder.with_name(folder.name + "-link")
    link.symlink_to(folder)
    return link


def crowded(folder: Path) -> None:
    for number in range(3000):
        (folder / f"note-{number}.txt").touch()


def emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def many_twins(parsed: dict[str, Any]) -> bytes:
    """A key given twice, behind so many others that a search of all pairs takes hours."""
    return b"{" + b",".join(b'"%d":0' % n for n in range(200_000)) + b',"199999":1}'


def listening(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # the name of a socket may have 107 bytes
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


NO_ROOM = "does not belong"
ZEROS = os.makedev(1, 5)
FILES = [
    Hostile("code beside", beside("modeling_evil.py", b"import os"), NO_ROOM),
    Hostile("code in a subfolder", lambda folder: (folder / "custom").mkdir(), NO_ROOM),
    Hostile("shared object beside", beside("kernel.so", b"\x7fELF"), NO_ROOM),
    Hostile("pickle beside", beside("adapter_model.bin", pickle.dumps(Bomb())), NO_ROOM),
    Hostile("torch file beside", beside("pytorch_model.bin", zipped()), NO_ROOM),
    Hostile("pickled training arguments", beside("training_args.bin", pickle.dumps(Bomb())), NO_ROOM),
    Hostile("hidden file", beside(".hidden"), NO_ROOM),
    Hostile("name of dots", beside("..."), NO_ROOM),
    Hostile("name that climbs", beside("..\\..\\etc\\passwd"), NO_ROOM),
    Hostile("name in look-alike letters", beside("аdapter_config.json"), NO_ROOM),
    Hostile("name in capitals", beside("Adapter_Config.json"), NO_ROOM),
    Hostile("name with an invisible letter", beside("card.json\u200b"), NO_ROOM),
    Hostile("name with a line break and a terminal code", beside("a\n\x1b[2Jb"), NO_ROOM),
    Hostile("name that is no text", beside(b"\xff\xfe"), NO_ROOM),
    Hostile("thousands of files", crowded, NO_ROOM),
    Hostile("subfolder under an allowed name", replaced("recipe.yaml", Path.mkdir), "plain files only"),
    Hostile("link to a system file", linked(WEIGHTS, TRAP), "plain files only"),
    Hostile("linked settings", linked(CONFIG, TRAP), "plain files only"),
    Hostile("dangling link", linked(CARD, "/nowhere/at/all"), "plain files only"),
    Hostile("link to itself", linked("README.md", "README.md"), "plain files only"),
    Hostile("link out of the folder", linked("loss.jsonl", "../../../secret"), "plain files only"),
    Hostile("folder behind a link", behind_a_link, "no adapter folder"),
    Hostile("folder that is a file", lambda folder: folder / CARD, "no adapter folder"),
    Hostile("folder that is not there", lambda folder: folder / "..." / "x", "no adapter folder"),
    Hostile("pipe for the weights", replaced(WEIGHTS, os.mkfifo), "plain files only"),
    Hostile("pipe for the canaries", replaced(CANARIES, os.mkfifo), "plain files only"),
    Hostile("socket", replaced("loss.jsonl", listening), "plain files only"),
    Hostile("empty folder", emptied, "is missing"),
    Hostile("no settings", without(CONFIG), "is missing"),
    Hostile("no weights", without(WEIGHTS), "is missing"),
    Hostile("no card", without(CARD), "cannot be read"),
    Hostile("no canaries", without(CANARIES), "is missing"),
    Hostile("card of two megabytes", sparse(CARD, 2 << 20), "more than the"),
    Hostile("settings of two gigabytes", sparse(CONFIG, 2 << 30), "more than the"),
    Hostile("weights of a terabyte", sparse(WEIGHTS, 1 << 40), "more than the"),
]
if os.getuid() == 0:  # others may not make one
    FILES += [Hostile("device", replaced("loss.jsonl", lambda path: os.mknod(path, 0o20600, ZEROS)), "plain files only")]

WEIGHT_FILES = [
    Hostile("pickle for weights", raw(WEIGHTS, pickle.dumps(Bomb())), "header is"),
    Hostile("torch file for weights", raw(WEIGHTS, zipped()), "header is"),
    Hostile("pickle after the weights", appended(pickle.dumps(Bomb())), "belong to no tensor"),
    Hostile("zip after the weights", appended(zipped()), "belong to no tensor"),
    Hostile("weights with a gigabyte of zeros after them", sparse(WEIGHTS, 1 << 30), "belong to no tensor"),
    Hostile("no bytes", raw(WEIGHTS, b""), "bytes long"),
    Hostile("four bytes", raw(WEIGHTS, b"\0\0\0\0"), "bytes long"),
    Hostile("header of a gigabyte", raw(WEIGHTS, struct.pack("<Q", 1 << 30) + b"{}"), "more than allowed"),
    Hostile("header of 2^63 bytes", raw(WEIGHTS, struct.pack("<Q", 1 << 63) + b"{}"), "more than allowed"),
    Hostile("truncated header", raw(WEIGHTS, struct.pack("<Q", 5000) + b'{"a"'), "is truncated"),
    Hostile("header that is no JSON", header(lambda _: b"{'a': 1}"), "is not JSON"),
    Hostile("header that is a list", header(lambda _: b"[1, 2]"), "no object"),
    Hostile("header after a blank", header(lambda parsed: b" " + json.dumps(parsed).encode()), "no object"),
    Hostile("header in UTF-16", header(lambda parsed: json.dumps(parsed).encode("utf-16")), "is not JSON"),
    Hostile("header after a byte-order mark", header(lambda parsed: json.dumps(parsed).encode("utf-8-sig")), "is not JSON"),
    Hostile("header nested deep", header(lambda _: b'{"a":' + b"[" * 200_000), "is not JSON"),
    Hostile("header with a key twice", header(lambda parsed: b'{"a": 1, "a": 2}'), "stands there twice"),
    Hostile("header with a key twice among many", header(many_twins), "stands there twice"),
    Hostile("header with NaN", header(lambda _: b'{"a": NaN}'), "is not JSON"),
    Hostile("no tensors", header(lambda parsed: parsed.clear()), "holds no tensors"),
    Hostile("metadata that are objects", header(lambda parsed: parsed.update(__metadata__={"a": {"b": 1}})), "not texts"),
    Hostile("overlapping tensors", tensor(lambda entry: entry.update(data_offsets=[4, 52])), "over another tensor"),
    Hostile(
        "tensor beyond the end", tensor(lambda entry: entry.update(shape=[2, 600], data_offsets=[160, 4960])), "gap before it"
    ),
    Hostile("negative offsets", tensor(lambda entry: entry.update(data_offsets=[-48, 0])), "data offsets"),
    Hostile("offsets of a thousand digits", tensor(lambda entry: entry.update(data_offsets=[0, 10**1000])), "its shape needs"),
    Hostile("a million sides", tensor(lambda entry: entry.update(shape=[1 << 24] * 1_000_000)), "the shape"),
    Hostile("sides whose product is astronomic", tensor(lambda entry: entry.update(shape=[1 << 24] * 8)), "its shape needs"),
    Hostile("unknown dtype", tensor(lambda entry: entry.update(dtype="F8_E4M3")), "F8_E4M3"),
    Hostile("dtype that is an object", tensor(lambda entry: entry.update(dtype={"a": 1})), "only F32"),
    Hostile("whole numbers", tensor(lambda entry: entry.update(dtype="I32")), "only F32"),
    Hostile("a key too many", tensor(lambda entry: entry.update(loader="evil")), "other keys"),
    Hostile("long name of line breaks", header(lambda parsed: parsed.update({"\n" * 16384: parsed.popitem()[1]})), "no LoRA"),
    Hostile("not a number", weights(first((2, 6), fill=float("nan"))), "not finite"),
    Hostile("infinite", weights(first((4, 2), "B", float("-inf"))), "not finite"),
    Hostile("zero delta", weights(lambda tensors: [value.fill(0) for name, value in tensors.items() if "_B" in name]), "zero"),
    Hostile("rank other than the settings'", weights(lambda t: (first((3, 6))(t), first((4, 3), "B")(t))), "has rank 3"),
    Hostile("halves of two ranks", weights(first((3, 6))), "has rank 3 in A and 2 in B"),
    Hostile("three sides", weights(first((2, 6, 1))), "no LoRA matrix"),
    Hostile("no columns", weights(first((2, 0))), "no LoRA matrix"),
    Hostile("missing half", weights(lambda tensors: tensors.pop(f"{LAYER}.lora_B.weight")), "without its other half"),
    Hostile("missing module", weights(lambda t: [t.pop(n) for n in list(t) if "layers.0" in n]), "its card says"),
    Hostile("a full weight beside", weights(lambda t: t.update({"lm_head.weight": np.ones((2, 2))})), "only F32"),
    Hostile("an embedding beside", weights(lambda t: t.update({f"{LAYER}.lora_embedding_A": np.ones((2, 2), "f4")})), "no LoRA"),
    Hostile(
        "a magnitude beside", weights(lambda t: t.update({f"{LAYER}.lora_magnitude_vector": np.ones(4, "f4")})), "row lengths"
    ),
    Hostile(
        "one module under two names",
        weights(lambda t: t.update({n.removeprefix("base_model.model."): t[n] * np.nan for n in list(t)})),
        "under two names",
    ),
    Hostile("module that climbs", weights(lambda t: t.update({f"{LAYER}/../x.lora_A.weight": np.ones((2, 6), "f4")})), "no LoRA"),
    Hostile(
        "module that is no target",
        weights(lambda t: [t.update({n.replace("q_proj", "v_proj"): t.pop(n)}) for n in list(t)]),
        "which is no target",
    ),
    Hostile("other weights than the card's", weights(first((2, 6), fill=0.5)), "its card says"),
]

SETTINGS = [
    Hostile("auto_map", settings(auto_map={"AutoModel": "evil.Model"}), "auto_map"),
    Hostile("auto_mapping", settings(auto_mapping={"parent_library": "os", "base_model_class": "system"}), "auto_mapping"),
    Hostile("trust_remote_code", settings(trust_remote_code=True), "trust_remote_code"),
    Hostile("another kind of adapter", settings(peft_type="PROMPT_TUNING"), "peft_type"),
    Hostile("module to import", settings(megatron_core="os.path"), "megatron_core"),
    Hostile("megatron settings", settings(megatron_config={"a": 1}), "megatron_config"),
    Hostile("modules to save", settings(modules_to_save=["lm_head"]), "modules_to_save"),
    Hostile("layers to copy", settings(layer_replication=[[0, 200]]), "layer_replication"),
    Hostile("base changed by pissa", settings(init_lora_weights="pissa_niter_9999"), "init_lora_weights"),
    Hostile("base changed by loftq", settings(init_lora_weights="loftq", loftq_config={"loftq_bits": 4}), "init_lora_weights"),
    Hostile("dora", settings(use_dora=True), "use_dora"),
    Hostile("qalora", settings(use_qalora=True), "use_qalora"),
    Hostile("biases", settings(bias="all"), "bias"),
    Hostile("lora biases", settings(lora_bias=True), "lora_bias"),
    Hostile("trained tokens", settings(trainable_token_indices=[1, 2]), "trainable_token_indices"),
    Hostile("target parameters", settings(target_parameters=["experts.w"]), "target_parameters"),
    Hostile("run-time settings", settings(runtime_config={"ephemeral_gpu_offload": True}), "runtime_config"),
    Hostile("eva", settings(eva_config={"rho": 2.0}), "eva_config"),
    Hostile("backtracking target", settings(target_modules=BACKTRACKING), "target_modules"),
    Hostile("backtracking target in a list", settings(target_modules=["q_proj", BACKTRACKING]), "target_modules"),
    Hostile("backtracking rank pattern", settings(rank_pattern={BACKTRACKING: 2}), "rank_pattern"),
    Hostile("backtracking alpha pattern", settings(alpha_pattern={BACKTRACKING: 2}), "alpha_pattern"),
    Hostile("backtracking exclusion", settings(exclude_modules=r"(.*)*\.x"), "exclude_modules"),
    Hostile("backtracking layers", settings(layers_pattern=[BACKTRACKING]), "layers_pattern"),
    Hostile("all-linear", settings(target_modules="all-linear"), "target_modules"),
    Hostile("a hundred thousand targets", settings(target_modules=[f"m{n}" for n in range(100_000)]), "target_modules"),
    Hostile("a hundred thousand layers", settings(layers_to_transform=list(range(100_000))), "layers_to_transform"),
    Hostile("target without weights", settings(target_modules=["q_proj", "k_proj"]), "has no weights"),
    Hostile("rank 0", settings(r=0), "r is 0"),
    Hostile("negative rank", settings(r=-2), "r is -2"),
    Hostile("rank of a million", settings(r=1 << 20), "r is 1048576"),
    Hostile("rank that is a text", settings(r="2"), "r is '2'"),
    Hostile("rank that is true", settings(r=True), "r is True"),
    Hostile("rank of a thousand digits", settings(r=10**1000), "r is 1000"),
    Hostile("alpha of a thousand digits", settings(lora_alpha=10**1000), "lora_alpha"),
    Hostile("number of ten thousand digits", in_text(CONFIG, '"r": 2', '"r": ' + "2" * 10_000), "is not JSON"),
    Hostile("alpha beyond a float", in_text(CONFIG, '"lora_alpha": 4', '"lora_alpha": 1e999'), "lora_alpha is inf"),
    Hostile("alpha that overflows the delta", settings(lora_alpha=1e300), "lora_alpha"),
    Hostile("alpha NaN", settings(lora_alpha=float("nan")), "is not JSON"),
    Hostile("alpha zero", settings(lora_alpha=0), "alpha is 0"),
    Hostile("alpha other than the card's", settings(lora_alpha=400), "settings were changed"),
    Hostile("invocation out of the vocabulary", settings(alora_invocation_tokens=[5, 999]), "invocation token 999"),
    Hostile("invocation of 2^40", settings(alora_invocation_tokens=[1 << 40]), "alora_invocation_tokens"),
    Hostile("invocation of nothing", settings(alora_invocation_tokens=[]), "alora_invocation_tokens"),
    Hostile("invocation as a text", settings(alora_invocation_tokens="<|start|>"), "alora_invocation_tokens"),
    Hostile("base that is an object", settings(base_model_name_or_path={"a": 1}), "base_model_name_or_path"),
    Hostile("settings with a key twice", in_text(CONFIG, '"r": 2', '"r": 2, "r": 4'), "stands there twice"),
    Hostile("settings nested deep", raw(CONFIG, b'{"a":' + b"[" * 400_000), "is not JSON"),
    Hostile("settings after a byte-order mark", recoded(CONFIG, "utf-8-sig"), "is not JSON"),
    Hostile("settings in UTF-16", recoded(CONFIG, "utf-16"), "is not JSON"),
    Hostile("settings in UTF-32", recoded(CONFIG, "utf-32"), "is not JSON"),
    Hostile("settings that are no UTF-8", in_text(CONFIG, "q_proj", b"q\xff"), "is not JSON"),
    Hostile("half a surrogate pair", in_text(CONFIG, "q_proj", r"q\ud800"), "is not JSON"),
    Hostile("settings that are a list", raw(CONFIG, b"[]"), "must be an object"),
    Hostile("empty settings", raw(CONFIG, b""), "is not JSON"),
    Hostile("settings that are a pickle", raw(CONFIG, pickle.dumps(Bomb())), "is not JSON"),
    Hostile("settings that are YAML", raw(CONFIG, b"!!python/object/apply:os.system ['true']"), "is not JSON"),
]

CARDS = [
    Hostile("card of another role", edited(CARD, lambda card: card.update(role="judge")), "is a judge adapter"),
    Hostile("card of an embedder", edited(CARD, lambda card: card.update(role="embedder")), "is a embedder adapter"),
    Hostile("card of an unknown role", edited(CARD, lambda card: card.update(role="root")), "role is 'root'"),
    Hostile("another base", edited(CARD, lambda card: card["identity"].update(base_digest="f" * 16)), "was trained on base"),
    Hostile("other prompts", edited(CARD, lambda card: card["identity"].update(contract_hash="0" * 16)), "of contract"),
    Hostile("card of other weights", edited(CARD, lambda card: card["identity"].update(weights_digest="0")), "its card says"),
    Hostile(
        "base name that writes on the terminal",
        edited(CARD, lambda card: card["identity"].update(base="\x1b[31m\n\rok" * 9000, base_digest="x")),
        "was trained on base",
    ),
    Hostile("card with a key too many", edited(CARD, lambda card: card.update(loader="evil")), "unknown key 'loader'"),
    Hostile("card without a key", edited(CARD, lambda card: card.pop("evidence") and None), "key 'evidence' is missing"),
    Hostile("card with a key twice", in_text(CARD, '"format": 2', '"format": 2, "format": 2'), "stands there twice"),
    Hostile("card of another format", edited(CARD, lambda card: card.update(format=99)), "format is 99"),
    Hostile("card with infinity", in_text(CARD, '"alpha": 4.0', '"alpha": Infinity'), "is not JSON"),
    Hostile("card with a number of a thousand digits", edited(CARD, lambda card: card["lora"].update(alpha=10**1000)), "finite"),
    Hostile("card with a list for a text", edited(CARD, lambda card: card.update(licence=["mit"])), "licence"),
    Hostile("card nested deep", raw(CARD, b"[" * 400_000), "is not JSON"),
    Hostile("card that is null", raw(CARD, b"null"), "format is None"),
    Hostile("no canary", edited(CANARIES, lambda data: data.update(replies=[])), "holds no canary"),
    Hostile("a thousand canaries", edited(CANARIES, lambda data: data.update(replies=data["replies"] * 1000)), "1000 canaries"),
    Hostile("canary of an unknown speaker", in_text(CANARIES, '"user"', '"tool"'), "role 'tool'"),
    Hostile("canary of half a surrogate pair", in_text(CANARIES, "Who?", r"Who\udfff"), "is not JSON"),
    Hostile("canary without a number", in_text(CANARIES, "-3.0", '"-3"'), "base_logprob"),
    Hostile("canaries of an embedder", raw(CANARIES, b'{"vectors": []}'), "key 'replies' is missing"),
    Hostile("canaries nested deep", raw(CANARIES, b'{"replies":' + b"[" * 400_000), "is not JSON"),
]

CASES = {case.name: case for case in [*FILES, *WEIGHT_FILES, *SETTINGS, *CARDS]}
assert len(CASES) == len(FILES) + len(WEIGHT_FILES) + len(SETTINGS) + len(CARDS)
