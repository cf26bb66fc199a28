"""Addresses of stores as people see them."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit


def hide_password(url: str) -> str:
    """Give a store's address with `***` for each password in it, as people may see it."""
    if "://" not in url or ("@" not in url and "password" not in url):
        return url
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    netloc = f"{name}{':***' if colon else ''}{at}{host}"
    pairs = [
        (key, "***" if "password" in key else value)
        for key, value in parse_qsl(parts.query, keep_blank_values=True)
    ]
    query = urlencode(pairs, safe="/*")
    return f"{parts.scheme}://{netloc}{parts.path}{'?' if query else ''}{query}"
