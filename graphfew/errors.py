"""The exceptions that graphfew raises.

Each one is a `GraphfewError` and also a subclass of the matching built-in exception, so both
`except GraphfewError` and `except ValueError` work. All others stay as Python, torch or
scikit-learn raise them.
"""

from __future__ import annotations

__all__ = [
    "BadItemsError",
    "CheckpointError",
    "ConfigurationError",
    "ContractError",
    "DatasetError",
    "DatasetNotFoundError",
    "DownloadError",
    "GraphfewError",
    "HubError",
    "InvalidInputError",
    "InvalidTypeError",
    "MissingDependencyError",
    "MissingFileError",
    "NumericalError",
    "ProcessLostError",
    "WriteError",
]


class GraphfewError(Exception):
    """Base class of the exceptions that graphfew raises.

    Example:
        >>> from graphfew.errors import GraphfewError, InvalidInputError
        >>> try:
        ...     raise InvalidInputError("way is 0; it must be at least 1")
        ... except GraphfewError as error:
        ...     print(error)
        way is 0; it must be at least 1
    """


class InvalidInputError(GraphfewError, ValueError):
    """An argument has an invalid value, such as a negative size or a shape that does not match.

    Example:
        >>> from graphfew.errors import InvalidInputError
        >>> issubclass(InvalidInputError, ValueError)
        True
    """


class InvalidTypeError(GraphfewError, TypeError):
    """An argument has the wrong type or dtype.

    Example:
        >>> from graphfew.errors import InvalidTypeError
        >>> issubclass(InvalidTypeError, TypeError)
        True
    """


class ConfigurationError(GraphfewError, ValueError):
    """An option is unknown, missing, invalid, or contradicts another option.

    Options are those of the command line, of a training configuration, of a model spec or of a
    benchmark spec.

    Args:
        message: what came, what was needed, and what to do.
        key: the option, dotted if nested, such as `"train.steps"`; None if no single option is
            at fault.

    Attributes:
        key: the argument `key`, so that callers need not search the message for it.

    Example:
        >>> from graphfew.errors import ConfigurationError
        >>> error = ConfigurationError("steps is 0; it must be at least 1", key="train.steps")
        >>> str(error), error.key
        ('steps is 0; it must be at least 1', 'train.steps')
    """

    def __init__(self, message: str, key: str | None = None) -> None:
        super().__init__(message)
        self.key = key


class DatasetError(GraphfewError, ValueError):
    """A data file is damaged, incomplete, or not in the expected format.

    Example:
        >>> from graphfew.errors import DatasetError
        >>> issubclass(DatasetError, ValueError)
        True
    """


class CheckpointError(GraphfewError, ValueError):
    """A checkpoint is damaged, is not a checkpoint, or does not fit the model.

    Example:
        >>> from graphfew.errors import CheckpointError
        >>> issubclass(CheckpointError, ValueError)
        True
    """


class MissingFileError(GraphfewError, FileNotFoundError):
    """A file or folder that was given does not exist, such as a checkpoint or a spec.

    Example:
        >>> from graphfew.errors import MissingFileError
        >>> issubclass(MissingFileError, FileNotFoundError)
        True
    """


class BadItemsError(DatasetError):
    """Items of a file or folder are unusable, such as broken images or cells of text.

    Args:
        headline: the number of items, and what to do.
        problems: one line for each of the first problems; none if the headline names it.

    Attributes:
        headline: the argument.
        problems: the argument.

    Example:
        >>> from graphfew.errors import BadItemsError
        >>> print(BadItemsError("photos: 2 items cannot be read", ("a.png is empty", "…")))
        photos: 2 items cannot be read:
          a.png is empty
          …
    """

    def __init__(self, headline: str, problems: tuple[str, ...] = ()) -> None:
        lines = "".join(f"\n  {line}" for line in problems)
        super().__init__(f"{headline}:{lines}" if problems else headline)
        self.headline = headline
        self.problems = problems

    def __reduce__(self) -> tuple[type[BadItemsError], tuple[str, tuple[str, ...]]]:
        # By default an exception is made again from its text, which would lose the problems.
        return type(self), (self.headline, self.problems)


class DatasetNotFoundError(MissingFileError):
    """The folder of a data set, or one of its files, does not exist.

    Example:
        >>> from graphfew.errors import DatasetNotFoundError
        >>> issubclass(DatasetNotFoundError, FileNotFoundError)
        True
    """


class DownloadError(GraphfewError, OSError):
    """A file could not be downloaded.

    Example:
        >>> from graphfew.errors import DownloadError
        >>> issubclass(DownloadError, OSError)
        True
    """


class HubError(GraphfewError, OSError):
    """The Hugging Face Hub could not be reached, or refused a request.

    Example:
        >>> from graphfew.errors import HubError
        >>> issubclass(HubError, OSError)
        True
    """


class WriteError(GraphfewError, OSError):
    """A file could not be written; the message names it, and `errno` is that of the system.

    Example:
        >>> from graphfew.errors import WriteError
        >>> issubclass(WriteError, OSError)
        True
    """


class MissingDependencyError(GraphfewError, ModuleNotFoundError):
    """An optional package is not installed; the message names the extra that installs it.

    Example:
        >>> from graphfew.errors import MissingDependencyError
        >>> issubclass(MissingDependencyError, ImportError)
        True
    """


class NumericalError(GraphfewError, FloatingPointError):
    """A loss is not finite, or an iterative solver did not converge.

    Example:
        >>> from graphfew.errors import NumericalError
        >>> issubclass(NumericalError, ArithmeticError)
        True
    """


class ContractError(GraphfewError, RuntimeError):
    """A model violates the evaluation contract, so its accuracy would be meaningless.

    Example:
        >>> from graphfew.errors import ContractError
        >>> issubclass(ContractError, RuntimeError)
        True
    """


class ProcessLostError(GraphfewError, RuntimeError):
    """Another process of a distributed job has ended, so this process cannot continue.

    Example:
        >>> from graphfew.errors import ProcessLostError
        >>> issubclass(ProcessLostError, RuntimeError)
        True
    """
