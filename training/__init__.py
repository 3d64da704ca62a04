"""Everything that makes an adapter. Imports `pipeline`, which never imports this."""
