"""What alerts say of a value that may be on either side of nothing."""

from __future__ import annotations

from pathlib import Path

from metrics.prometheus import needs_prometheus, play

HOUR = 3600


@needs_prometheus
def test_a_certificate_ends_and_then_has_ended(tmp_path: Path) -> None:
    """At the end of the second hour."""
    said = {
        "60": "ends in 1h 0m 0s",
        "119": "ends in 1m 0s",
        "120": "has ended",
        "180": "has ended",
    }
    labels = {"severity": "warning", "instance": "i"}
    play(
        tmp_path,
        [
            {
                "interval": "1m",
                "input_series": [
                    {
                        "series": 'zart_certificate_not_after_seconds{instance="i"}',
                        "values": f"{2 * HOUR}x200",
                    }
                ],
                "alert_rule_test": [
                    {
                        "eval_time": f"{minute}m",
                        "alertname": "ZartCertificateEnds",
                        "exp_alerts": [
                            {
                                "exp_labels": labels,
                                "exp_annotations": {"summary": f"The certificate of i {how}"},
                            }
                        ],
                    }
                    for minute, how in said.items()
                ],
            }
        ],
        annotations=["summary"],
    )
