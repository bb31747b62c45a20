"""Objects that were read → the versions they had, so that a change is noticed."""

import threading
from collections import OrderedDict

_MAX_PINNED = 4096


class Pins:
    """The etags of the objects read last."""

    def __init__(self) -> None:
        self._tags: OrderedDict[str, str] = OrderedDict()
        self._changed: set[str] = set()
        self._lock = threading.Lock()

    def get(self, path: str) -> str | None:
        """Return an object's etag, if it is known."""
        return self._tags.get(path)

    def has_changed(self, path: str) -> bool:
        """Tell whether an object was seen with another etag before."""
        return path in self._changed

    def set(self, path: str, tag: str | None) -> None:
        """Note an object's etag; None: it is ours, and was written anew."""
        with self._lock:
            before = self._tags.pop(path, None)
            if before and tag and before != tag:
                self._changed.add(path)
            if tag:
                self._tags[path] = tag
            else:
                self._changed.discard(path)
            if len(self._tags) > _MAX_PINNED:
                self._tags.popitem(last=False)

    def clear(self) -> None:
        """Forget all."""
        with self._lock:
            self._tags.clear()
            self._changed.clear()
