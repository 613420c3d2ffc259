"""What a look at data and recipe found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "unknown", "fine"]


@dataclass(frozen=True)
class Finding:
    """One answer to one question."""

    severity: Severity
    """`error`: training would be meaningless, or refused. `warning`: look at it. `unknown`: the data cannot tell.
    `fine`: looked at and found right."""
    what: str
    """The question in two or three words, such as 'labels mirrored'."""
    where: str
    """The volume, region or field it is about."""
    text: str
    """What was found."""
    fix: str = ""
    """A command to run, or lines to write in the recipe; empty where nothing is wrong."""

    def __str__(self) -> str:
        """What was found, and below it what mends it."""
        mend = ["  to mend it:", *(f"    {line}" for line in self.fix.splitlines())] if self.fix else []
        return "\n".join([f"{self.severity}: {self.what}: {self.text}", *mend])

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        return {
            "severity": self.severity,
            "what": self.what,
            "where": self.where,
            "text": self.text,
            "fix": self.fix,
        }
