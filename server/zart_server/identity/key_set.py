"""The public keys that JWTs are verified by: a JWKS, of a file or fetched from a URL."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from pathlib import Path
from typing import IO, Any, TypeAlias
from urllib.error import HTTPError
from urllib.parse import urlsplit

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from zart_server.domain.errors import KeysUnavailable
from zart_server.identity.grants import IdentityFileError
from zart_server.stamp import Stamp, stamp_of

_log = logging.getLogger(__name__)
# A public key verifies; a secret one (HS256) would let everybody who verifies also sign.
ALGORITHMS = frozenset({
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
})  # fmt: skip
_REFRESH_EVERY = 300.0  # seconds
_FETCH_AT_MOST_EVERY = 10.0  # also when callers bring keys nobody knows
_FETCH_FIRST_EVERY = 1.0  # until they were there once
_FETCH_TIMEOUT = 5.0  # seconds without a byte
_FETCH_WITHIN = 10.0  # seconds, all of it
_MOST_BYTES = 1024 * 1024  # of an answer
Keys: TypeAlias = "Mapping[str | None, Sequence[PyJWK]]"


class KeySet:
    """Keys by id, which several may share. ``generation`` counts the times that they changed.

    Raises IdentityFileError where the file cannot be used; a URL may answer later.
    """

    def __init__(self, source: str) -> None:
        self.generation = 0
        self._url = source if source.startswith(("https://", "http://")) else None
        self._path = Path(source)
        self._name = _name_of(source)
        self._stamp = stamp_of(self._path)
        self._failed: Stamp | None = None  # of what could not be used, to say so once
        self._keys: Keys = {}
        self.are_there = asyncio.Event()  # set once there are some, which stay
        self._is_fetch_failed = False  # the last one that has ended
        self._fetched_at = -_REFRESH_EVERY
        self._fetching: asyncio.Task[None] | None = None
        if self._url is None:
            self._keys = self._read()
            self.are_there.set()

    def is_stale(self) -> bool:
        """Return whether the file could not be used at the last look, or the URL had no answer."""
        return self._failed is not None or self._is_fetch_failed

    async def find(self, key_id: str | None) -> Sequence[PyJWK]:
        """Return the keys of this id, asking for new ones where there is none; without an id all.

        Raises KeysUnavailable until the URL was read once: until then nobody's token can be judged.
        """
        found = self._look_up(key_id)
        if not found and self._may_fetch():
            await self._fetch()
            found = self._look_up(key_id)
        if not self._keys:
            raise KeysUnavailable
        return found

    def _look_up(self, key_id: str | None) -> Sequence[PyJWK]:
        return _all(self._keys) if key_id is None else self._keys.get(key_id, ())

    async def refresh(self, *, anew: bool = False) -> None:
        """Read the file if it changed, ask the URL every five minutes; ``anew``: both now.

        The URL's answer is not waited for: files are followed meanwhile.
        """
        if self._url is not None:
            if (
                anew
                or time.monotonic() - self._fetched_at >= _REFRESH_EVERY
                or (not self._keys and self._may_fetch())
            ):
                self._begin_fetch()
            return
        stamp = stamp_of(self._path)
        if stamp == self._stamp and not anew:
            return
        try:
            self._learn(self._read())
        except IdentityFileError as error:  # tried again at the next look
            if anew or stamp != self._failed:
                _log.error("the keys stay as they were: %s", error)
            self._stamp, self._failed = (), stamp
        else:
            self._stamp, self._failed = stamp, None

    def _may_fetch(self) -> bool:
        if self._url is None:
            return False
        every = _FETCH_AT_MOST_EVERY if self._keys else _FETCH_FIRST_EVERY
        is_due = time.monotonic() - self._fetched_at >= every
        return is_due or self._fetching is not None

    async def _fetch(self) -> None:
        """Ask the URL; calls that come meanwhile wait for the same answer."""
        await asyncio.shield(self._begin_fetch())

    def _begin_fetch(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._fetched_at = time.monotonic()
            self._fetching = asyncio.create_task(self._ask(), name="jwks")
            self._fetching.add_done_callback(self._fetched)
        return self._fetching

    def _fetched(self, _: object) -> None:
        self._fetching = None

    async def _ask(self) -> None:
        try:
            async with asyncio.timeout(_FETCH_WITHIN):
                keys = _keys_of(json.loads(await _in_own_thread(_text_at, self._url or "")))
        except (HTTPException, PyJWTError, ValueError, OSError, RecursionError) as error:
            self._is_fetch_failed = True
            waits = "" if self._keys else "; health is NOT_SERVING until there are some"
            _log.warning("no keys from %s (%s)%s", self._name, type(error).__name__, waits)
        else:
            self._is_fetch_failed = False
            self._learn(keys)
            self.are_there.set()

    def _read(self) -> Keys:
        try:
            return _keys_of(json.loads(self._path.read_bytes()))
        except (OSError, ValueError) as error:
            raise IdentityFileError(
                f"{self._name} is no JWKS with public keys ({type(error).__name__})"
            ) from None

    def _learn(self, keys: Keys) -> None:
        if sorted(map(_text, _all(keys))) != sorted(map(_text, _all(self._keys))):
            self._keys = keys
            self.generation += 1
            _log.info("%d keys were read anew", len(_all(keys)))


class _PlainHttpError(HTTPError):
    """A host asked by https refers to where everybody on the way could answer."""


class _StaysWithHttps(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if req.type == "https" and not newurl.lower().startswith("https:"):
            raise _PlainHttpError(newurl, code, msg, headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _text_at(url: str) -> bytes:
    """Ask a URL. Raises OSError, HTTPException; ValueError where the answer is too large."""
    until = time.monotonic() + _FETCH_WITHIN
    found = bytearray()
    try:
        with _opened(url) as response:
            while part := response.read1(_MOST_BYTES):
                found += part
                if len(found) > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_BYTES} bytes")
                if time.monotonic() > until:
                    raise TimeoutError
    except HTTPError as error:
        error.close()  # it is the answer, too
        raise
    return bytes(found)


def _name_of(source: str) -> str:
    """Return what may be told of a file or URL: no user, password or query, which may be secret."""
    if "://" not in source:
        return source
    try:
        parts = urlsplit(source)
        _ = parts.port  # raises where what stands there may be part of a password
    except ValueError:
        return "a URL that is none"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _opened(url: str) -> Any:  # noqa: ANN401 - whatever answers
    """Ask a URL, by the proxy that the environment names; but what is here, without any."""
    is_here = _is_here(urlsplit(url).hostname or "")
    proxies = [urllib.request.ProxyHandler({})] if is_here else []
    opener = urllib.request.build_opener(_StaysWithHttps, *proxies)
    return opener.open(url, timeout=_FETCH_TIMEOUT)


def _is_here(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return False


async def _in_own_thread(work: Callable[[str], bytes], url: str) -> bytes:
    """Do work in a thread that nothing waits for, whatever becomes of it: a stop of the server."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()

    def settle(found: bytes, error: Exception | None) -> None:
        if done.done():  # nobody waits any longer
            return
        if error is None:
            done.set_result(found)
        else:
            done.set_exception(error)

    def do() -> None:
        found, error = b"", None
        try:
            found = work(url)
        except Exception as caught:  # noqa: BLE001 - raised where it is waited for
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(settle, found, error)

    threading.Thread(target=do, name="jwks", daemon=True).start()
    return await done


def _text(key: PyJWK) -> str:
    return json.dumps(key._jwk_data, sort_keys=True)  # noqa: SLF001 - it has no public name


def _all(keys: Keys) -> Sequence[PyJWK]:
    return [key for sharing in keys.values() for key in sharing]


def _keys_of(document: object) -> Keys:
    """Return the keys that verify signatures. Raises ValueError where there is none."""
    listed = document.get("keys") if isinstance(document, Mapping) else None
    found: dict[str | None, list[PyJWK]] = defaultdict(list)
    for each in listed if isinstance(listed, list) else ():
        if isinstance(each, dict) and each.get("use", "sig") == "sig":
            key = _key_of(each)
            if key is not None:
                found[key.key_id].append(key)
    if not found:
        raise ValueError("no public key to verify signatures by")
    return dict(found)


def _key_of(each: dict[str, Any]) -> PyJWK | None:
    """Return the key; None: it cannot be verified by, which keeps nobody from the others."""
    try:
        key = PyJWK(each)
    except Exception:  # noqa: BLE001 - of what is no key at all, as its "alg" a list, anything is raised
        return None
    is_named = key.key_id is None or isinstance(key.key_id, str)
    return key if is_named and key.algorithm_name in ALGORITHMS else None
