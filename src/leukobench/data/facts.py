"""Facts about a source, read from a YAML file beside its code: title, licence, citation, counts,
texts of findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

import yaml

from leukobench.data.check import Rule

Counts = Mapping[str, Mapping[str, int]]
"""Official counts: `what` (`sample`, `class`, `part`, `subject`...) to name to count."""


@dataclass(frozen=True)
class SourceFacts:
    """What is known of a data set without reading it.

    Attributes:
        url: Page of the data set, where it has one.
        how_to_get: How a user gets the files: registration, licence form, address.
        no_subjects: Why the source has no subject ids; None where it has them.
        counts: Of the complete official release.
        rules: Severity and text of findings on names and labels, by rule, in the order of a report.
        more: Facts that only this source has.
    """

    title: str
    licence: str
    citation: str
    url: str | None = None
    how_to_get: str = ""
    no_subjects: str | None = None
    counts: Counts = field(default_factory=dict)
    rules: Mapping[str, Rule] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)


def read_facts(package: str, name: str) -> SourceFacts:
    """Facts from `NAME.yaml` in a package, over those of the file that its key `base` names."""
    node = _node(package, name)
    known = {k: node.pop(k) for k in list(node) if k in SourceFacts.__dataclass_fields__}
    rules = known.pop("rules", {})
    return SourceFacts(
        **known,
        rules={rule: Rule(text["severity"], text["text"]) for rule, text in rules.items()},
        more=node,
    )


def _node(package: str, name: str) -> dict[str, Any]:
    text = (files(package) / f"{name}.yaml").read_text(encoding="utf-8")
    node: dict[str, Any] = yaml.safe_load(text)
    base = node.pop("base", None)
    return node if base is None else _node(package, base) | node
