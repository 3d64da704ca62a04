"""The engine: (adapter, prompt) requests in, completions out, on one shared base."""

from lorag.pipeline.engine.protocol import ChoiceRequest, Completion, Engine, Finish, Generation, Sampling

__all__ = ["ChoiceRequest", "Completion", "Engine", "Finish", "Generation", "Sampling"]
