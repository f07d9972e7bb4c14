"""What something between may answer a call with: of each code, and by whichever reason."""

from __future__ import annotations

import grpc
from between import Refusal

CODES = list(grpc.StatusCode)
SILENT = [Refusal(code) for code in CODES]
LATE = [Refusal(code, late=True) for code in CODES]  # what was asked for is done
FOREIGN = [  # reasons of somebody else, by the names of ours
    Refusal(code, "proxy.example", reason)
    for code, reason in zip(
        CODES,
        ["INVALID_FIELD", "PAYLOAD_TOO_LARGE", "TOO_MANY_ITEMS", "ROLE_REQUIRED"] * len(CODES),
        strict=False,
    )
    if code is not grpc.StatusCode.OK
]
OURS = [
    Refusal(getattr(grpc.StatusCode, code), "zart", reason)
    for code, reason in {
        "UNAUTHENTICATED": "INVALID_CREDENTIALS",
        "PERMISSION_DENIED": "ROLE_REQUIRED",
        "ABORTED": "STORE_CONFLICT",
        "INTERNAL": "INTERNAL",
        "UNAVAILABLE": "STORE_UNAVAILABLE",
        "DEADLINE_EXCEEDED": "OPERATION_TIMEOUT",
        "UNIMPLEMENTED": "UNKNOWN_METHOD",
        "RESOURCE_EXHAUSTED": "PAYLOAD_TOO_LARGE",
        "INVALID_ARGUMENT": "INVALID_FIELD",
    }.items()
]
