"""Which hosts have ever answered, and what operators vouched for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from reconciler.store import schema
from reconciler.store.base import HostWord
from reconciler.store.session import Session, delete_rows, replace_rows


class Hosts(Session):
    """The part of the store that remembers hosts."""

    def seen(self) -> frozenset[str]:
        """See `Store.seen`."""
        return self._snapshot("seen", _load_seen)

    def words(self) -> Mapping[str, HostWord]:
        """See `Store.words`."""
        return self._snapshot("words", _load_words)

    def mark_seen(self, hosts: Iterable[str], now: float) -> frozenset[str]:
        """See `Store.mark_seen`."""
        answered = frozenset(hosts)
        new = answered - self.seen()
        over = answered & self.words().keys()
        if new or over:
            with self._writing() as connection:
                rows = [{"host": host, "first_seen": now} for host in sorted(new)]
                replace_rows(connection, schema.hosts_seen, rows)
                delete_rows(connection, schema.host_words, [{"host": host} for host in over])
                self._forget("seen", "words")
        return over

    def assume_empty(self, host: str, now: float) -> None:
        """See `Store.assume_empty`."""
        self._say(host, HostWord.EMPTY, now)

    def declare_dead(self, host: str, now: float) -> None:
        """See `Store.declare_dead`."""
        self._say(host, HostWord.DEAD, now)

    def withdraw(self, host: str) -> None:
        """See `Store.withdraw`."""
        with self._writing() as connection:
            delete_rows(connection, schema.host_words, [{"host": host}])
            self._forget("words")

    def _say(self, host: str, word: HostWord, now: float) -> None:
        with self._writing() as connection:
            replace_rows(connection, schema.host_words, [{"host": host, "word": word, "said": now}])
            self._forget("words")


def _load_seen(connection: Connection) -> frozenset[str]:
    return frozenset(connection.execute(select(schema.hosts_seen.c.host)).scalars())


def _load_words(connection: Connection) -> Mapping[str, HostWord]:
    return {row.host: HostWord(row.word) for row in connection.execute(select(schema.host_words))}
