"""For the eyes of others: pages and formats that a browser, a scraper or another library asks for, one module each.

What needs more than Twisted says so: ``pip install 'txmetrics[dashboard]'``. Nothing below knows of it.
"""

__all__: list[str] = []
