"""A cached property that `torch.compile` can trace on every supported Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar, final, overload

T = TypeVar("T")


@final
class cached_property(Generic[T]):
    """Replace `functools.cached_property`, whose lock breaks the graph of `torch.compile`.

    Before Python 3.12 that one takes an `RLock` on first access. Dynamo cannot trace a lock, so
    that `fullgraph=True` fails and `torch.export` refuses. Drop this class with Python 3.11.
    """

    def __init__(self, method: Callable[[Any], T]) -> None:
        self.method = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> cached_property[T]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> T: ...

    def __get__(self, instance: object | None, owner: type) -> T | cached_property[T]:
        if instance is None:
            return self
        value = self.method(instance)
        # This is a non-data descriptor: from now on the instance attribute hides it. Writing to
        # __dict__ instead of setattr also works on frozen dataclasses.
        instance.__dict__[self.method.__name__] = value
        return value
