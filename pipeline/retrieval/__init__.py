"""From a folder of documents to passages that answer a question: loading, chunking, embedding, Qdrant, reranking.

Import from the modules; importing one loads no model library and no vector engine.
"""
