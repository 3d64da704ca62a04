"""Hits as langchain documents: the passage's text, with its place, score and citations in the metadata."""

from __future__ import annotations

from typing import Any

from langchain_core.documents import Document

from lorag.pipeline.records import Citation, Hit


def hit_document(hit: Hit, **more: Any) -> Document:
    """A hit as a document. Its metadata hold the passage's place and score, and `more`; `also` names the sources of passages
    with the same text, if there are any."""
    passage = hit.passage
    facts = {
        "passage_id": passage.id,
        "document_id": passage.document_id,
        "source": passage.source,
        "title": passage.title,
        "section": passage.section,
        "start": passage.start,
        "end": passage.end,
        "pages": [page.number for page in passage.pages],
        "score": hit.score,
        "metadata": dict(passage.metadata),
        **({"also": [twin.source for twin in hit.twins]} if hit.twins else {}),
        **more,
    }
    return Document(page_content=passage.text, id=passage.id, metadata=facts)


def shown_documents(hits: tuple[Hit, ...], citations: tuple[Citation, ...]) -> list[Document]:
    """The passages that an answer was written from, in prompt order.

    Metadata are those of `hit_document`, with `number` (from 1, as prompted) and `citations`: the answer's citations of this
    passage, each with `quote` at `start:end` of `source`, and its `page` if that has pages.
    """
    return [
        hit_document(hit, number=number, citations=[_shown(each) for each in citations if each.number == number])
        for number, hit in enumerate(hits, 1)
    ]


def _shown(citation: Citation) -> dict[str, Any]:
    return {"quote": citation.quote, "start": citation.start, "end": citation.end, "page": citation.page}
