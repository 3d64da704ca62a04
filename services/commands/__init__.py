"""One module per command. Each reads its options, calls the use case and prints. None loads a model library when imported."""
