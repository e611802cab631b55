"""Atomic files, seeding, attribute patching and model specs; imports no other part of the package."""
