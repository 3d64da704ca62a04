"""Everything that makes an adapter. May import `pipeline`; nothing in `pipeline` imports this."""
