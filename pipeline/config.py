"""A project's settings: one strict `lorag.yaml` → frozen, typed records. Loads no model library and opens nothing.

All problems of a file are reported in one message, each with its line, its key and the allowed values. Only `lorag.assembly`
and the services know these records; everything else takes plain arguments.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from lorag.pipeline.adapters.guards import MARGINS
from lorag.pipeline.config_problems import describe_problems, require_compute
from lorag.pipeline.engine.weights import Precision
from lorag.pipeline.errors import ConfigError
from lorag.pipeline.retrieval.bm25 import LANGUAGES
from lorag.pipeline.yaml_text import read_yaml

FILE_NAME = "lorag.yaml"

DEFAULT_BASE = "smollm2-135m"
VERSION_PATTERN = r"\d{4,}-[0-9a-f]{8}"
NO_ADAPTER = "none"


def _https(url: str) -> str:
    if not url.startswith(("http://", "https://")) or "@" in url.split("://", 1)[1].split("/", 1)[0]:
        raise PydanticCustomError("url", "must begin with http:// or https:// and hold no user name or key")
    return url


def _variable(name: str) -> str:
    if not (name.isascii() and name.isidentifier()):
        raise PydanticCustomError("variable", "must be the name of an environment variable, not the key itself")
    return name


def _filled(text: str) -> str:
    if not text.strip() or len(text.splitlines()) != 1:
        raise PydanticCustomError("filled", "must be one line of text that is not blank")
    return text


OneLine = Annotated[str, AfterValidator(_filled)]
Folder = Annotated[Path, Field(strict=False)]
AdapterChoice = Annotated[
    str,
    StringConstraints(pattern=rf"^(none|production|candidate|previous|{VERSION_PATTERN})$"),
    Field(json_schema_extra={"allowed": "production, candidate, previous, none or a version such as 0003-1a2b3c4d"}),
]
"""An alias, a version id, or `none`."""
Device = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$"),
    Field(json_schema_extra={"allowed": "auto, cpu, cuda, cuda:N or mps"}),
]
CollectionName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"),
    Field(json_schema_extra={"allowed": "1 to 64 letters, digits, - and _, beginning with a letter or digit"}),
]
VariableName = Annotated[str, AfterValidator(_variable)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)


class BaseModelSettings(_Strict):
    """The language model that all generation adapters share.

    Only nf4 and int8 weights leave `compute` open; with another precision, another type than its own is an error.
    """

    model: OneLine = DEFAULT_BASE
    precision: Literal["nf4", "int8", "fp32", "bf16", "fp16"] = "nf4"
    compute: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Device = "auto"

    @model_validator(mode="after")
    def _one_type(self) -> Self:
        require_compute(Precision(self.precision), self.compute)
        return self


class ServedNames(_Strict):
    """The model names under which the server of `generation` knows the base and the adapter of each role."""

    base: OneLine = "base"
    rewriter: OneLine = "rewriter"
    synthesizer: OneLine = "synthesizer"
    judge: OneLine = "judge"


class GenerationSettings(_Strict):
    """Where generation runs. `api_key_env` names an environment variable; the key itself is never in the file."""

    engine: Literal["local", "openai"] = "local"
    base_url: Annotated[str, AfterValidator(_https)] | None = None
    api_key_env: VariableName | None = None
    models: ServedNames = ServedNames()
    timeout: Annotated[float, Field(ge=0.1, le=86_400)] = 120.0
    retries: Annotated[int, Field(ge=0, le=20)] = 3
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8

    @model_validator(mode="after")
    def _engine_and_url(self) -> Self:
        if self.engine == "openai" and self.base_url is None:
            raise PydanticCustomError("generation", "engine openai needs `base_url`, such as http://localhost:8000/v1")
        if self.engine == "local" and (self.base_url or self.api_key_env):
            raise PydanticCustomError(
                "generation", "`base_url` and `api_key_env` belong to engine openai; remove them or change `engine`"
            )
        return self


class EmbedderSettings(_Strict):
    """The text encoder of retrieval. `query_side_only` chooses the recipe of its adapter if a training names none; a published
    adapter follows its card."""

    model: OneLine = "minilm"
    query_side_only: bool = False
    batch_size: Annotated[int, Field(ge=1)] = 32
    device: Device = "auto"


class StoreSettings(_Strict):
    """Where passages are stored. `api_key_env` names an environment variable; the key itself is never in the file."""

    kind: Literal["edge", "qdrant"] = "edge"
    path: Folder = Path(".lorag/index")
    collection: CollectionName = "documents"
    url: Annotated[str, AfterValidator(_https)] | None = None
    api_key_env: VariableName | None = None
    shards: Annotated[int, Field(ge=1, le=1024)] = 1
    replicas: Annotated[int, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _kind_and_url(self) -> Self:
        if self.kind == "qdrant" and self.url is None:
            raise PydanticCustomError("store", "kind qdrant needs `url`, such as http://localhost:6333")
        if self.kind == "edge" and (self.url or self.api_key_env):
            raise PydanticCustomError("store", "`url` and `api_key_env` belong to kind qdrant; remove them or change `kind`")
        if self.kind == "edge" and (self.shards, self.replicas) != (1, 1):
            raise PydanticCustomError("store", "`shards` and `replicas` belong to kind qdrant; remove them or change `kind`")
        return self


class ChunkingSettings(_Strict):
    """Lengths of passages in characters."""

    max_chars: Annotated[int, Field(ge=100)] = 700
    min_chars: Annotated[int, Field(ge=0)] = 120

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_chars > self.max_chars:
            raise PydanticCustomError("chunking", "`min_chars` is larger than `max_chars`; lower it or raise the other")
        return self


Weight = Annotated[float, Field(ge=0, le=1000)]


def _language(name: str) -> str:
    if name not in LANGUAGES:
        raise PydanticCustomError("language", "must be one of {known}", {"known": ", ".join(LANGUAGES)})
    return name


Language = Annotated[str, AfterValidator(_language)]


class SearchWeightSettings(_Strict):
    """How much each score of a passage counts in a hybrid search; only the proportions matter, and 0 leaves one out.

    null means as it was chosen on dev questions, or else the default.
    """

    words: Weight | None = None
    vectors: Weight | None = None
    tokens: Weight | None = None
    history: Weight | None = None
    document: Annotated[float, Field(ge=0, le=1)] | None = None

    @model_validator(mode="after")
    def _finding(self) -> Self:
        if self.words == 0 and self.vectors == 0:
            raise PydanticCustomError("weights", "`words` and `vectors` are both 0, so no passage would be found; raise one")
        return self

    @property
    def are_given(self) -> bool:
        return self != SearchWeightSettings()


class RetrievalSettings(_Strict):
    """How passages are found. `rerank` is a cross-encoder's hub id or folder, `language` that of BM25's words."""

    k: Annotated[int, Field(ge=1, le=100)] = 4
    hybrid: bool = True
    language: Language = "english"
    weights: SearchWeightSettings = SearchWeightSettings()
    rerank: OneLine | None = None


class AdapterSettings(_Strict):
    """The registry's folder and which version each role uses."""

    folder: Folder = Path(".lorag/adapters")
    rewriter: AdapterChoice = "production"
    embedder: AdapterChoice = "production"
    synthesizer: AdapterChoice = "production"
    judge: AdapterChoice = "production"


class JudgeSettings(_Strict):
    """Which checks run. `gate` refuses an answer if P(unanswerable) is at least that; null only reports."""

    answerability: bool = True
    support: bool = True
    gate: Annotated[float, Field(ge=0, le=1)] | None = None
    intents: dict[OneLine, OneLine] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.gate is not None and not self.answerability:
            raise PydanticCustomError("judge", "`gate` needs `answerability: true`")
        if len(self.intents) == 1:
            raise PydanticCustomError("judge", "`intents` needs at least two labels, or none at all")
        return self


class EvaluationSettings(_Strict):
    """What an evaluation pays for a right answer, for silence and for a wrong answer: the metric `truthfulness`."""

    right: Annotated[float, Field(ge=-1000, le=1000)] = 1.0
    silent: Annotated[float, Field(ge=-1000, le=1000)] = 0.0
    wrong: Annotated[float, Field(ge=-1000, le=1000)] = -1.0

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not self.right > self.silent > self.wrong:
            raise PydanticCustomError("evaluation", "`right` must be larger than `silent`, and `silent` larger than `wrong`")
        return self


def _margins(margins: dict[str, float]) -> dict[str, float]:
    if unknown := sorted(margins.keys() - MARGINS.keys()):
        raise PydanticCustomError(
            "guard", "{name} is no guard; guards: {known}", {"name": unknown[0], "known": ", ".join(MARGINS)}
        )
    return margins


Margin = Annotated[float, Field(ge=0, le=1e6)]


class GateSettings(_Strict):
    """What a promotion may lose. `margins` are by guard, in the metric's units, in place of the usual ones."""

    margins: Annotated[dict[OneLine, Margin], AfterValidator(_margins)] = Field(default_factory=dict)


class Settings(_Strict):
    """All settings of a project. Relative paths of the file are joined to the project folder."""

    documents: Folder
    base: BaseModelSettings = BaseModelSettings()
    generation: GenerationSettings = GenerationSettings()
    embedder: EmbedderSettings = EmbedderSettings()
    store: StoreSettings = StoreSettings()
    chunking: ChunkingSettings = ChunkingSettings()
    retrieval: RetrievalSettings = RetrievalSettings()
    adapters: AdapterSettings = AdapterSettings()
    judge: JudgeSettings = JudgeSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    gate: GateSettings = GateSettings()
    _project: Path = PrivateAttr(Path())
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0

    @property
    def project(self) -> Path:
        """The project's folder; relative paths start there."""
        return self._project


def load_settings(project: Path) -> Settings:
    """Read `project/lorag.yaml`.

    Raises ConfigError if the file is missing, is not YAML, or does not fit; the message names every problem.
    """
    file = project / FILE_NAME
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(
            f"{file}: no such file; make a project with `lorag init PROJECT --docs FOLDER` or name one with --project"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read as UTF-8 text: {error}") from error
    return parse_settings(text, project, name=str(file))


def parse_settings(text: str, project: Path, *, name: str = FILE_NAME) -> Settings:
    """Settings from YAML text; relative paths start at `project`. Raises ConfigError, whose message begins with `name`."""
    parsed = read_yaml(text, name)
    try:
        settings = Settings.model_validate(parsed.value)
    except ValidationError as error:
        raise ConfigError(describe_problems(error, Settings, parsed, name)) from None
    return _from_project(settings, project)


def _from_project(settings: Settings, project: Path) -> Settings:
    """Relative folders joined to the project folder, not resolved: a citation's source reads as the user wrote it."""

    def model(name: str) -> str:
        return str(project / name) if name.startswith(("./", "../")) else name

    rerank = settings.retrieval.rerank
    placed = settings.model_copy(
        update={
            "documents": project / settings.documents.expanduser(),
            "base": settings.base.model_copy(update={"model": model(settings.base.model)}),
            "embedder": settings.embedder.model_copy(update={"model": model(settings.embedder.model)}),
            "store": settings.store.model_copy(update={"path": project / settings.store.path.expanduser()}),
            "retrieval": settings.retrieval.model_copy(update={"rerank": model(rerank) if rerank else None}),
            "adapters": settings.adapters.model_copy(update={"folder": project / settings.adapters.folder.expanduser()}),
        }
    )
    placed._project = project
    return placed


def template(documents: str, base: str = DEFAULT_BASE) -> str:
    """The commented `lorag.yaml` of a new project with its documents in `documents`. All values but `base` are the defaults."""
    text = TEMPLATE.replace("documents: documents\n", f"documents: {json.dumps(documents, ensure_ascii=False)}\n", 1)
    if base == DEFAULT_BASE:
        return text
    return text.replace(f"model: {DEFAULT_BASE}\n", f"model: {json.dumps(base, ensure_ascii=False)}\n", 1)


TEMPLATE = """\
# Settings of a LoRAG project. Relative paths count from this file's folder. An unknown key is an error.

# Folder with the documents to answer from: .txt, .md, .html, .pdf, .jsonl.
documents: documents

base:
  # Language model that all generation adapters share: smollm2-135m (offline, any CPU), a hub id such as Qwen/Qwen3-0.6B,
  # or a folder beginning with ./ ../ / or ~
  model: smollm2-135m
  # How its weights are kept: nf4 (4 bit), int8, fp32, bf16 or fp16.
  precision: nf4
  # What nf4 and int8 weights compute in: auto (what is fast here), float32, bfloat16 or float16; others have their own.
  compute: auto
  # auto, cpu, cuda, cuda:N or mps.
  device: auto

generation:
  # local: the base above, in this process. openai: a server that speaks OpenAI's API and serves base and adapters by model
  # name (vLLM with --enable-lora, or `lorag serve`); here lie only the base's tokenizer and the adapters' cards.
  engine: local
  # Address of the server, such as http://localhost:8000/v1
  base_url: null
  # Name of the environment variable that holds the server's API key (the key itself does not belong here).
  api_key_env: null
  # The server's model names. Each adapter must prove at start-up that it is the version that `adapters` names.
  models:
    # The bare base, asked by a role without an adapter.
    base: base
    # The rewriter's adapter.
    rewriter: rewriter
    # The synthesizer's adapter.
    synthesizer: synthesizer
    # The judge's adapter.
    judge: judge
  # Seconds to wait for a reply, and between two pieces of a streamed one.
  timeout: 120.0
  # Times a request is sent again after 429, 5xx or a lost connection, with growing pauses or as Retry-After says.
  retries: 3
  # Requests under way at once.
  concurrency: 8

embedder:
  # Text encoder: minilm (offline, any CPU), any sentence-transformers hub id, or a folder beginning with ./ ../ / or ~
  model: minilm
  # How `lorag train embedder` trains its adapter if no recipe is named. true: it works on questions alone and the index stays
  # as it is. false: on passages too, which gains more and needs `lorag ingest --rebuild` after each new embedder adapter.
  query_side_only: false
  # Texts embedded together.
  batch_size: 32
  # auto, cpu, cuda, cuda:N or mps.
  device: auto

store:
  # edge: Qdrant in this process, on disk. qdrant: a Qdrant server or cluster at `url`.
  kind: edge
  # Folder of the edge store.
  path: .lorag/index
  # Name of the collection; projects that share a server need different ones.
  collection: documents
  # Address of the server for kind qdrant, such as http://localhost:6333
  url: null
  # Name of the environment variable that holds the server's API key (the key itself does not belong here).
  api_key_env: null
  # Parts a new collection is cut into; in a cluster, a multiple of its nodes spreads the load.
  shards: 1
  # Copies of each part in a cluster; 2 outlive the loss of a node.
  replicas: 1

chunking:
  # Characters of a passage, at most. Changing it cuts every document anew at the next ingest.
  max_chars: 700
  # Shorter pieces are joined with their neighbours where both fit.
  min_chars: 120

retrieval:
  # Passages handed to the synthesizer.
  k: 4
  # true: vectors, BM25 words and the encoder's token vectors together. false: vectors alone.
  hybrid: true
  # Language of BM25's stemmer and stop words: english, german, french, chinese and others, or none for languages that have
  # neither. Chinese, Japanese, Korean, Thai, Lao, Khmer and Burmese are read in bigrams in any. A change needs
  # `lorag ingest --rebuild`.
  language: english
  # How much each of the three counts; only the proportions matter, and 0 leaves one out. null: as `lorag tune-search` chose it
  # on dev questions, else the default.
  weights:
    # BM25 on stemmed words of headings and text. Default 0.15.
    words: null
    # The cosine of question and passage. Default 0.15.
    vectors: null
    # Late interaction, each token of the question against the nearest token of the passage. It orders the 100 best passages
    # of the other two; the encoder reads each again at the first need, some seconds a question on a CPU. Default 1.
    tokens: null
    # Words and tokens of the conversation before, beside 1 for those of the question. Default 0.3.
    history: null
    # Share of a token's late interaction that a passage borrows from other passages of its document, 0 to 1. Default 0.2.
    document: null
  # Cross-encoder that orders the found passages anew: a hub id or folder. null: none.
  rerank: null

adapters:
  # Folder of the adapter registry.
  folder: .lorag/adapters
  # Version each role uses: production (none, as long as nothing was promoted), candidate, previous, none, or a version id
  # such as 0003-1a2b3c4d as `lorag adapters list` shows it.
  rewriter: production
  # Moves the vectors of texts; see embedder.query_side_only.
  embedder: production
  # Writes the answer.
  synthesizer: production
  # Checks questions and answers.
  judge: production

judge:
  # Before the answer: do the passages hold it?
  answerability: true
  # After the answer: do the passages support it?
  support: true
  # Refuse to answer where P(unanswerable) is at least this, 0 to 1. null: only report it.
  gate: null
  # Classes of what a user wants, judged for every question: label: meaning (at least two). {}: not judged.
  intents: {}

evaluation:
  # What an evaluation pays for an answer in `truthfulness`: right > silent > wrong. The dearer an error, the lower `wrong`.
  # A right answer.
  right: 1.0
  # A refusal.
  silent: 0.0
  # A wrong answer.
  wrong: -1.0

gate:
  # What an adapter may lose beside its leading metric and still be promoted, by guard, such as {wrong refusals: 0.2}; the
  # usual margins are in docs/explanation/gates.md.
  margins: {}

# Seed of what draws at random: training by a recipe without a seed of its own, and the items of an evaluation.
seed: 0
"""
