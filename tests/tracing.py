"""Spans as the console exporter prints them, and to be within one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opentelemetry import trace

from zart.trace_context import current_ids, valid


@dataclass(frozen=True)
class Spans:
    """All that some processes have printed."""

    all: list[dict[str, Any]]

    def of(self, name: str, **attributes: object) -> list[dict[str, Any]]:
        """Return the spans of a name that have these attributes (`__` for a dot)."""
        wanted = {key.replace("__", "."): value for key, value in attributes.items()}
        return [
            span
            for span in self.all
            if span["name"] == name and wanted.items() <= span["attributes"].items()
        ]


@contextmanager
def traced(number: int) -> Iterator[tuple[str, str]]:
    """Be within a span of this number; gives its ids."""
    context = trace.SpanContext(number, number, is_remote=False, trace_flags=trace.TraceFlags(1))
    with trace.use_span(trace.NonRecordingSpan(context)):
        found = current_ids()
        assert found is not None
        yield found


def printed(*paths: Path) -> Spans:
    """Read spans; half a span at the end of a file is left out."""
    found: list[dict[str, Any]] = []
    decoder = json.JSONDecoder()
    for path in paths:
        text = path.read_text().lstrip()
        while text:
            try:
                span, end = decoder.raw_decode(text)
            except json.JSONDecodeError:
                break
            found.append(span)
            text = text[end:].lstrip()
    return Spans(found)


def ids(traceparent: str) -> tuple[str, str]:
    """Return trace and span of a traceparent as the exporter writes them."""
    assert valid(traceparent)
    _, trace_id, span_id, _ = traceparent.split("-")
    return f"0x{trace_id}", f"0x{span_id}"


def parent_of(span: dict[str, Any]) -> tuple[str, str]:
    """Return trace and parent of a span."""
    return span["context"]["trace_id"], span["parent_id"]


def context_of(span: dict[str, Any]) -> tuple[str, str]:
    """Return trace and span of a span."""
    return span["context"]["trace_id"], span["context"]["span_id"]


def links_of(span: dict[str, Any]) -> list[tuple[str, str]]:
    """Return trace and span of what a span links to."""
    return [context_of(link) for link in span["links"]]
