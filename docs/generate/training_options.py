"""The table of training options, from their declarations."""

from __future__ import annotations

from graphfew.runs import Option, training_options


def table() -> str:
    """All options of `graphfew train`, by group."""
    lines = []
    groups = dict.fromkeys(option.group for option in training_options().values())
    for group in groups:
        lines += ["", f"**{group}**", "", "| option | default | |", "| --- | --- | --- |"]
        for name, option in training_options().items():
            if option.group == group and name != "method":
                lines.append(f"| `{option.flag}` | {_default(option)} | {_escape(option.help)} |")
    return "\n".join(lines)


def _default(option: Option) -> str:
    """The default in words; empty for flags and for options without one."""
    if option.default_text is not None:
        return _escape(option.default_text)
    if option.default is None or option.default is False or option.default == {}:
        return ""
    return f"`{option.default}`"


def _escape(text: str) -> str:
    return text.replace("|", r"\|")
