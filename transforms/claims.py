"""A name in a bucket and bytes → an object that only one of several can create."""

from obstore.exceptions import GenericError

from transforms import stores

_MORE_TRIES = 3


def create(path: str, data: bytes) -> bool:
    """Put an object unless one is there; returns whether it was put.

    A conditional put whose answer is lost is not tried again by the client, which
    cannot know what has come of it. Here it is, and an object of the same bytes is then
    taken for the one that was put.
    """
    for is_again in [False, *[True] * _MORE_TRIES]:
        try:
            is_put = stores.put(path, data, only_if_absent=True)
            return is_put or (is_again and stores.read(path) == data)
        except OSError as error:
            if not isinstance(error.__cause__, GenericError):
                raise
            lost = error
    raise lost
