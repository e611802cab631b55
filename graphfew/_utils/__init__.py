"""Atomic files, seeding, attribute patching and model specs; imports only graphfew.errors."""
