"""A page that is one file: no network, no fonts or scripts from elsewhere, the same bytes for the same content."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@dataclass(frozen=True)
class Fact:
    """A number worth seeing at once."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """One part of a page under its own heading."""

    title: str
    body: Markup

    @property
    def anchor(self) -> str:
        """What a link to the section ends in."""
        return re.sub(r"[^a-z0-9]+", "-", self.title.lower()).strip("-")


def build_page(title: str, sections: Sequence[Section], *, lead: str = "", facts: Sequence[Fact] = ()) -> str:
    """Put sections together to a self-contained HTML page.

    Args:
        title: Heading and window title.
        sections: Parts in order.
        lead: A sentence under the heading.
        facts: The few numbers shown large.
    """
    return str(
        render(
            "page.html.j2",
            title=title,
            lead=lead,
            facts=facts,
            sections=sections,
            style=Markup(_text("page.css")),
            script=Markup(_text("page.js")),
        )
    )


def render(template: str, **values: Any) -> Markup:
    """Fill a template of this package; everything that is not markup already is escaped."""
    return Markup(_environment().get_template(template).render(values))


def table(rows: Sequence[Mapping[str, Any]], *, numbers: Sequence[str] = (), caption: str = "") -> Markup:
    """A plain table; columns are the keys of the first row, those in `numbers` stand right-aligned."""
    return render("table.html.j2", rows=rows, columns=list(rows[0]) if rows else [], numbers=numbers, caption=caption)


def fold(summary: str, body: Markup) -> Markup:
    """A part that is closed until the reader opens it."""
    return Markup("<details><summary>{}</summary>{}</details>").format(summary, body)


@cache
def _environment() -> Environment:
    loader = PackageLoader("cristae.report", "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


@cache
def _text(name: str) -> str:
    return resources.files("cristae.report").joinpath("templates", name).read_text(encoding="utf-8")
