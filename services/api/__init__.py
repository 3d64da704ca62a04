"""The HTTP service: one process that answers programs (OpenAI's forms) and people (the web page) from one shared base.

`app.create_app` puts it together, `state.ServiceState` is what its routes share. Importing any module here loads no model.
"""
