"""Read a report as a browser would."""

import base64
import gzip
import html.parser
import json


class Page(html.parser.HTMLParser):
    """Read a page as a browser would: its elements, and its data blocks."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.blocks, self.code, self._id = [], {}, [], None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._id = (tag, dict(attrs).get("id")) if tag == "script" else None

    def handle_data(self, data):
        if self._id and self._id[1]:
            self.blocks[self._id[1].removeprefix("data-")] = json.loads(data)
        elif self._id:
            self.code.append(data)

    def handle_endtag(self, tag):
        self._id = None

    def cards(self):
        found, texts = {}, {}
        for name, block in self.blocks.items():
            if name.startswith("cards-"):
                part = json.loads(gzip.decompress(base64.b64decode(block)))
                found |= {card["feature"]: card for card in part["cards"]}
                texts |= part["texts"]
        return found, texts
