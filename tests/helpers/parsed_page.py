"""A page as its tags, in order, and its text."""

from html.parser import HTMLParser

VOID = {"meta", "img", "input", "br"}
"""Elements without an end tag."""


class Page(HTMLParser):
    """A parsed page: its tags in order, the tags that are still open, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags = list[tuple[str, dict[str, str | None]]]()
        self.open = list[str]()
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of all elements with a tag."""
        return [attributes for name, attributes in self.tags if name == tag]
