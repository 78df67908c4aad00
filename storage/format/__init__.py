"""Bytes and documents, pure: records, rows, operations, folds."""
