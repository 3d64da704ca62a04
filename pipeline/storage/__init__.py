"""File handling for all packages: write whole or not at all, lock, digest, read strictly.

atomic          files and folders written aside, synced and renamed
locks           one writer at a time, of all processes
digests         SHA-256 of texts and files
plain_files     opening files of unknown origin
strict_json     JSON ↔ frozen records

Knows no adapter, no index and no row. Reading raises `FileError`; a caller that knows the file adds what to do.
"""
