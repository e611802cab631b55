"""Traps of evaluation, measured: what a figure gains by stepping into each."""
