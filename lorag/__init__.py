"""LoRAG: question answering over your documents, every stage tuned with LoRA."""
