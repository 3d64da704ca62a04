"""The HTTP service: one process with an OpenAI-compatible API and a web page on one shared base.

`app.create_app` builds it, and its routes share a `state.ServiceState`. Importing any module here loads no model.
"""
