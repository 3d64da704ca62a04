"""What every room does with files of its own: write them whole or not at all, lock them, digest them, read them strictly.

atomic          files and folders written aside, synced and renamed
locks           one writer at a time, of all processes
digests         SHA-256 of texts and files
plain_files     opening files of unknown origin
strict_json     JSON ↔ frozen records

Knows no adapter, no index and no row. Reading raises `FileError`; whoever knows what the file is says what to do about it.
"""
