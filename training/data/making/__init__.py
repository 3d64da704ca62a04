"""Makes training rows of all roles from documents alone.

Documents are grouped and split (`grouping`), spans are chosen (`spans`), questions are written to them (`writing`) and filtered
(`filters`, `round_trip`, `agreement`, `selection`); what is left becomes rows. Engine, search and encoder are arguments.
"""
