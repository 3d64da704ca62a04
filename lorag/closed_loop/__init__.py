"""`lorag tune`: documents or rows → four tuned adapters, measured, and promoted or refused with the reason. Resumable."""
