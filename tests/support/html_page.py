"""An HTML page, parsed strictly enough to notice a tag that is not closed or came from a value."""

from collections import Counter
from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = {"meta", "br", "rect"}


@dataclass
class Table:
    """A table's cells, as text, and the kinds of its header cells."""

    rows: list[list[str]] = field(default_factory=list)
    scopes: Counter[str] = field(default_factory=Counter)


class Page(HTMLParser):
    """What a browser finds on a page.

    Attributes:
        tags: How many elements of each name there are.
        tables: The tables, in order.
        texts: All text of each element name, one entry an element.
        attributes: Names and values of all attributes.
    """

    def __init__(self, body: bytes) -> None:
        """Parse the page. Raises `AssertionError` where tags do not nest."""
        super().__init__(convert_charrefs=True)
        self.tags: Counter[str] = Counter()
        self.tables: list[Table] = []
        self.texts: dict[str, list[str]] = {}
        self.attributes: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(body.decode())
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.tags[tag] += 1
        self.texts.setdefault(tag, []).append("")
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "table":
            self.tables.append(Table())
        elif tag == "tr":
            self.tables[-1].rows.append([])
        elif tag in {"td", "th"}:
            self.tables[-1].rows[-1].append("")
            self.tables[-1].scopes[dict(attrs).get("scope") or tag] += 1
        if tag == "br":
            self.handle_data("\n")
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element that closes itself."""
        self.handle_starttag(tag, attrs)
        if tag not in _VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close an element, which must be the one that was opened last."""
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        """Add text to the elements around it."""
        for tag in set(self._open):
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self._open):
            self.tables[-1].rows[-1][-1] += data

    @property
    def text(self) -> str:
        """All that a reader can read."""
        return self.texts["body"][0]
