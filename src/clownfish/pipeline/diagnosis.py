"""What `clownfish doctor` has found, and how it is said."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_WIDTH = 11


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """What one examination has found."""

    name: str
    text: str
    is_ok: bool = True
    """False if something that is needed is missing or broken."""
    command: str = ""
    """What to run: needed where `is_ok` is False, for whoever wants it otherwise; "" for nothing."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """The same for programs: values that JSON can hold."""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the doctor has found; print it to read it."""

    findings: tuple[Finding, ...]

    @property
    def is_complete(self) -> bool:
        """Whether everything that is needed is there and works."""
        return all(finding.is_ok for finding in self.findings)

    @property
    def commands(self) -> tuple[str, ...]:
        """What to run before clownfish can work, each once."""
        return tuple(dict.fromkeys(item.command for item in self.findings if item.command and not item.is_ok))

    def as_json(self) -> dict[str, Any]:
        """Everything as values that JSON can hold."""
        return {
            "complete": self.is_complete,
            "commands": list(self.commands),
            "findings": [
                {
                    "name": finding.name,
                    "ok": finding.is_ok,
                    "text": finding.text,
                    "command": finding.command or None,
                    **finding.facts,
                }
                for finding in self.findings
            ],
        }

    def __str__(self) -> str:
        """Say it to a person."""
        lines, last = [], ""
        for finding in self.findings:
            heading = "" if finding.name == last else finding.name
            last = finding.name
            hint = f"; for that: {finding.command}" if finding.command and finding.is_ok else ""
            text = f"{'' if finding.is_ok else 'PROBLEM: '}{finding.text}{hint}"
            lines.append(f"{heading:<{_WIDTH}}{text}")
        if self.is_complete:
            return "\n".join([*lines, "", "Everything that is needed is there."])
        if self.commands:
            return "\n".join([*lines, "", "To mend it:", *(f"    {command}" for command in self.commands)])
        return "\n".join([*lines, "", "Mend what is marked as a problem, then run clownfish doctor again."])
