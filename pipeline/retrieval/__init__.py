"""From a folder of documents to passages that answer a question: loading, chunking, embedding, Qdrant, reranking.

Each module is its own door; importing one loads no model library and no vector engine.
"""
