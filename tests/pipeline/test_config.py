"""lorag.yaml: the template, strictness, one message for all problems, paths, and no secrets in messages."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel

from lorag.pipeline.config import TEMPLATE, Settings, load_settings, parse_settings, template
from lorag.pipeline.errors import ConfigError


def problems(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_settings(text, Path("p"))
    return str(caught.value)


def test_the_template_loads_to_the_defaults() -> None:
    assert parse_settings(TEMPLATE, Path("p")) == parse_settings("documents: documents", Path("p"))


def keys(model: type[BaseModel], indent: str = "") -> list[str]:
    found = []
    for name, field in model.model_fields.items():
        found.append(f"{indent}{name}:")
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += keys(field.annotation, indent + "  ")
    return found


def test_the_template_names_every_key_with_a_comment_above_it() -> None:
    lines = TEMPLATE.splitlines()
    named = [match.group() for line in lines if (match := re.match(r" *\w+:", line))]
    assert named == keys(Settings)
    for number, line in enumerate(lines):
        if re.match(r" *\w+: ", line):
            assert lines[number - 1].lstrip().startswith("#"), line


@pytest.mark.parametrize("folder", ["docs", "../papers", "a: b # c", 'say "hi"', "Straße", "C:\\x"])
def test_the_template_takes_any_documents_folder(folder: str) -> None:
    text = template(folder)
    assert yaml.safe_load(text)["documents"] == folder
    assert parse_settings(text, Path("p")).documents == Path("p") / folder


def test_relative_paths_count_from_the_project_folder() -> None:
    text = """
documents: docs
base: {model: ./models/tiny}
embedder: {model: ../encoder}
store: {path: /var/index}
retrieval: {rerank: ./cross}
adapters: {folder: a}
"""
    settings = parse_settings(text, Path("up/p"))
    assert settings.documents == Path("up/p/docs")
    assert settings.base.model == "up/p/models/tiny"
    assert settings.embedder.model == "up/p/../encoder"
    assert settings.store.path == Path("/var/index")
    assert settings.retrieval.rerank == "up/p/cross"
    assert settings.adapters.folder == Path("up/p/a")
    assert parse_settings("documents: d\nbase: {model: Qwen/Qwen3-0.6B}", Path("p")).base.model == "Qwen/Qwen3-0.6B"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("base: {precison: nf4}", "base.precison: unknown key; did you mean 'precision'?"),
        ("base: {colour: red}", "base.colour: unknown key; known here: model, precision, compute, device"),
        ("bass: 1", "bass: unknown key; did you mean 'base'?"),
        ("base: {precision: nf5}", "base.precision: must be one of nf4, int8, fp32, bf16, fp16"),
        ("base: {precision: bf16, compute: float16}", "base: `compute` float16 does nothing for bf16 weights, which compute in"),
        ("base: {device: gpu}", "base.device: must be auto, cpu, cuda, cuda:N or mps"),
        ("base: nf4", "base: must be a group of `key: value` lines"),
        ("generation: {engine: vllm}", "generation.engine: must be one of local, openai"),
        ("generation: {engine: openai}", "generation: engine openai needs `base_url`, such as http://localhost:8000/v1"),
        ("generation: {base_url: 'http://h:1/v1'}", "generation: `base_url` and `api_key_env` belong to engine openai; remove"),
        (
            "generation: {api_key_env: K}",
            "generation: `base_url` and `api_key_env` belong to engine openai; remove them or change",
        ),
        ("generation: {base_url: 'http://k@h/v1'}", "generation.base_url: must begin with http:// or https:// and hold no user"),
        ("generation: {api_key_env: sk-1}", "generation.api_key_env: must be the name of an environment variable, not the key"),
        ("generation: {models: {jugde: j}}", "generation.models.jugde: unknown key; did you mean 'judge'?"),
        ("generation: {models: {embedder: e}}", "generation.models.embedder: unknown key; known here: base, rewriter"),
        ("generation: {models: {judge: ''}}", "generation.models.judge: must be one line of text that is not blank"),
        ("generation: {timeout: 0}", "generation.timeout: must be at least 0.1"),
        ("generation: {retries: -1}", "generation.retries: must be at least 0"),
        ("generation: {concurrency: 0}", "generation.concurrency: must be at least 1"),
        ("embedder: {model: '  '}", "embedder.model: must be one line of text that is not blank"),
        ("embedder: {query_side_only: 'yes'}", "embedder.query_side_only: must be true or false"),
        ("embedder: {batch_size: 0}", "embedder.batch_size: must be at least 1"),
        ("store: {kind: qdrant}", "store: kind qdrant needs `url`, such as http://localhost:6333"),
        ("store: {url: 'http://h:6333'}", "store: `url` and `api_key_env` belong to kind qdrant; remove them or change `kind`"),
        ("store: {replicas: 2}", "store: `shards` and `replicas` belong to kind qdrant; remove them or change `kind`"),
        ("store: {shards: 2}", "store: `shards` and `replicas` belong to kind qdrant; remove them or change `kind`"),
        ("store: {kind: qdrant, url: 'http://h', shards: 0}", "store.shards: must be at least 1"),
        ("store: {kind: qdrant, url: 'http://h', replicas: many}", "store.replicas: must be a whole number"),
        ("store: {kind: qdrant, url: h}", "store.url: must begin with http:// or https:// and hold no user name or key"),
        ("store: {collection: a/b}", "store.collection: must be 1 to 64 letters, digits, - and _, beginning with a letter"),
        ("chunking: {min_chars: 800}", "chunking: `min_chars` is larger than `max_chars`; lower it or raise the other"),
        ("retrieval: {language: klingon}", "retrieval.language: must be one of arabic, danish, dutch, english"),
        ("chunking: {max_chars: 99}", "chunking.max_chars: must be at least 100"),
        ("retrieval: {k: '4'}", "retrieval.k: must be a whole number"),
        ("retrieval: {k: true}", "retrieval.k: must be a whole number"),
        ("retrieval: {k: 101}", "retrieval.k: must be at most 100"),
        ("retrieval: {rerank: 3}", "retrieval.rerank: must be text or null"),
        ("adapters: {judge: v3}", "adapters.judge: must be production, candidate, previous, none or a version such as"),
        ("adapters: {judge: null}", "adapters.judge: must be production, candidate, previous, none or a version such as"),
        ("adapters: {judge: ../../etc}", "adapters.judge: must be production, candidate, previous, none or a version such as"),
        ("judge: {gate: 1.5}", "judge.gate: must be at most 1"),
        ("judge: {gate: high}", "judge.gate: must be a number or null"),
        ("judge: {gate: .5, answerability: false}", "judge: `gate` needs `answerability: true`"),
        ("judge: {intents: {a: b}}", "judge: `intents` needs at least two labels, or none at all"),
        ("judge: {intents: {a: b, c: 3}}", "judge.intents.c: must be text"),
        ("judge: {intents: [a, b]}", "judge.intents: must be a group of `label: meaning` lines"),
        ("seed: -1", "seed: must be at least 0"),
    ],
)
def test_a_problem_is_one_line_with_place_and_remedy(line: str, message: str) -> None:
    told = problems(f"documents: d\n{line}")
    assert told.startswith(f"lorag.yaml:2: {message}")
    assert "\n" not in told


def test_all_problems_come_in_one_message_in_file_order() -> None:
    text = "base:\n  precison: nf4\n  device: gpu\nretrieval:\n  k: 0\n"
    assert problems(text).splitlines() == [
        "lorag.yaml: 4 problems",
        "  line 1: documents: is missing; add it",
        "  line 2: base.precison: unknown key; did you mean 'precision'?",
        "  line 3: base.device: must be auto, cpu, cuda, cuda:N or mps",
        "  line 5: retrieval.k: must be at least 1",
    ]


def test_a_key_pasted_for_its_variables_name_is_not_repeated() -> None:
    text = "documents: d\nstore: {kind: qdrant, url: 'https://me:pa55@h', api_key_env: sk-s3cret}"
    told = problems(text)
    assert "store.api_key_env: must be the name of an environment variable, not the key itself" in told
    assert "s3cret" not in told
    assert "pa55" not in told


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("documents: [", "lorag.yaml:1: broken YAML: "),
        ("documents: d\n\tbase: x", "lorag.yaml:2: broken YAML: "),
        ("documents: 'd\n", "lorag.yaml:2: broken YAML: "),
        ("documents: d\n---\nseed: 1", "lorag.yaml:2: broken YAML: expected a single document"),
        ("documents: \0", "lorag.yaml: broken YAML: "),
        ("documents: !!python/object:os.system d", "lorag.yaml:1: broken YAML: could not determine a constructor"),
        ("", "lorag.yaml: must hold `key: value` lines, found nothing"),
        ("- documents", "lorag.yaml: must hold `key: value` lines, found list"),
        ("documents: d\nseed: 1\nseed: 2", "lorag.yaml:3: seed: given twice, first on line 2; remove one"),
        ("documents: d\nbase:\n  model: a\n  model: b", "lorag.yaml:4: base.model: given twice, first on line 3"),
        ("documents: &a [*a]", "lorag.yaml:1: documents: must be a path"),
        ("documents: d\nbase: &b {model: *b}", "lorag.yaml:2: base.model: must be text"),
    ],
)
def test_text_that_is_no_settings_mapping_is_refused_with_its_line(text: str, message: str) -> None:
    told = problems(text)
    assert told.startswith(message)
    assert "\n" not in told


def test_load_reads_the_projects_file(tmp_path: Path) -> None:
    (tmp_path / "lorag.yaml").write_text(template("docs"))
    assert load_settings(tmp_path).documents == tmp_path / "docs"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "no such file; make a project with `lorag init PROJECT --docs FOLDER`", id="missing"),
        pytest.param(b"documents: \xff", "cannot be read as UTF-8 text", id="not UTF-8"),
        pytest.param(b"documents: d\nx: 1", "lorag.yaml:2: x: unknown key", id="unknown key"),
    ],
)
def test_a_file_that_does_not_load_is_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    if content is not None:
        (tmp_path / "lorag.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load_settings(tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "lorag.yaml"))
    assert message in str(caught.value)


def test_settings_cannot_be_changed() -> None:
    settings = parse_settings("documents: d", Path("p"))
    with pytest.raises(ValueError, match="frozen"):
        settings.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "module", ["lorag.pipeline.config", "lorag.assembly", "lorag.pipeline.chain", "lorag.pipeline.runnables"]
)
def test_importing_loads_no_model_library(module: str) -> None:
    code = f"import sys, {module}; print([m for m in ('torch', 'transformers', 'peft', 'qdrant_client') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
