"""Work on many collections at once, where one that fails must not cost the others."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

from milvus_vault.errors import VaultError


def for_each[Item](
    items: Iterable[Item],
    work: Callable[[Item], None],
    *,
    threads: int,
    on_failure: Callable[[Item, VaultError], None],
) -> None:
    """Run `work` on every item, in threads; hand each lasting failure to `on_failure`.

    A retryable error is raised instead, once all items are through: the task as a whole is then tried again
    and finds done what is done. Anything but a `VaultError` is a bug, and raised as it is.
    """

    def one(item: Item) -> VaultError | None:
        try:
            work(item)
        except VaultError as err:
            if err.retryable:
                return err
            on_failure(item, err)
        return None

    with ThreadPoolExecutor(max_workers=threads) as pool:
        passing = [err for err in pool.map(one, items) if err is not None]
    if passing:
        raise passing[0]
