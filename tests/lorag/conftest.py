"""Projects on tiny real models, as the tests of the services have them."""

from __future__ import annotations

from tests.services.conftest import apart, lorag, project, publish_embedder, publish_rewriter

__all__ = ["apart", "lorag", "project", "publish_embedder", "publish_rewriter"]
