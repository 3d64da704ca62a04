"""One module a command. Each reads its options, calls the work and prints; none loads a model library when imported."""
