"""Turns errors of the hub and of the network into embconvert's errors, with hints."""

import contextlib
import errno
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from embconvert.errors import (
    EmbconvertError,
    NetworkError,
    OutputError,
    SourceError,
    UsageError,
    reason_of,
)
from embconvert.hub.environment import check_token
from embconvert.hub.http import impatient
from embconvert.models.suggestions import nearest
from embconvert.request.records import Request

if TYPE_CHECKING:
    from huggingface_hub import HfApi

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def translated_errors(request: Request) -> Iterator[None]:
    """Turns the client's errors into embconvert's; see `resolve` for these."""
    # Reading the token may renew it over the network.
    refusals = _Refusals(request, has_token=not request.offline and check_token())
    try:
        yield
    except NetworkError as error:
        message = f"{_unfetched(request.model_id)}: {error.message}"
        raise NetworkError(message, error.hint) from error
    except EmbconvertError:
        raise
    except Exception as error:
        for translate in (refusals.by_name, refusals.by_system, refusals.by_connection):
            translated = translate(error)
            if translated is not None:
                raise translated from error
        if from_library(error):
            raise NetworkError(
                f"{_unfetched(request.model_id)}: the hub's response cannot be read: "
                f"{public_line(error)}",
                "check the proxy, and that HF_ENDPOINT is the URL of a Hugging Face hub",
            ) from error
        raise


def _unfetched(model_id: str) -> str:
    # Few models of the hub have a name without an author: it may be that of a folder, mistyped.
    folder = "" if "/" in model_id else "is not a folder here, and "
    return f"{model_id} {folder}cannot be fetched"


class _Refusals:
    def __init__(self, request: Request, *, has_token: bool) -> None:
        self._request = request
        self._model_id = request.model_id
        self._has_token = has_token

    def by_name(self, error: BaseException) -> EmbconvertError | None:
        """Returns the error for a response of the hub; None for other errors."""
        from huggingface_hub import errors

        if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
            error = error.__cause__
        if isinstance(error, errors.GatedRepoError):
            refusal = self._gated()
        elif isinstance(error, errors.RepositoryNotFoundError):
            near = self._near_model()
            refusal = SourceError(
                f"there is no folder {self._model_id}, and no model of that name on the hub, or it "
                "is private",
                (f"did you mean {near}? " if near else "check the spelling; ")
                + "a private model needs HF_TOKEN with read access",
            )
        elif isinstance(error, errors.RevisionNotFoundError):
            refusal = SourceError(
                f"{self._model_id} has no revision {self._request.revision}", self._near_revision()
            )
        elif isinstance(error, errors.DisabledRepoError):
            refusal = SourceError(
                f"the hub has disabled {self._model_id}", "see its page on the hub for the reason"
            )
        elif isinstance(error, errors.HfHubHTTPError):
            refusal = self._by_status(error)
        else:
            return None
        return refusal

    def _gated(self) -> SourceError:
        hint = "accept its licence on its page on the hub, then set HF_TOKEN to your token"
        if self._has_token:
            hint = (
                "accept its licence on its page on the hub as the user of HF_TOKEN, and wait until "
                "access is granted"
            )
        return SourceError(f"{self._model_id} is gated", hint)

    def _by_status(self, error: Any) -> SourceError:
        status = error.response.status_code
        if status == 401 and self._has_token:
            return SourceError("the hub refuses HF_TOKEN", "set it to a valid token, or unset it")
        if status in (401, 403):
            how = "does not allow this token to" if self._has_token else "requires a token to"
            return SourceError(
                f"the hub {how} read {self._model_id}", "set HF_TOKEN to a token with read access"
            )
        if 400 <= status < 500:
            return SourceError(
                f"the hub refuses the request for {self._model_id}: {public_line(error)}",
                "check the spelling and HF_ENDPOINT",
            )
        return self._network_error(error)

    def by_system(self, error: BaseException) -> EmbconvertError | None:
        """Returns the error for a problem with the cache, or None."""
        if isinstance(error, OSError) and (error.filename or error.errno in _NO_ROOM):
            return OutputError(
                f"the hub cache cannot be written: {error.strerror}: "
                f"{error.filename or 'no space'}",
                "free some space, fix the permissions, or choose another --cache_dir",
            )
        return None

    def by_connection(self, error: BaseException) -> EmbconvertError | None:
        """Returns the error for a connection problem, or None."""
        from huggingface_hub.errors import HFValidationError

        # Errors of the HTTP library are not subclasses of huggingface_hub's.
        name, package = type(error).__name__, type(error).__module__.partition(".")[0]
        if name in ("UnsupportedProtocol", "InvalidURL", "LocalProtocolError"):
            return UsageError(
                "HF_ENDPOINT is not a valid URL",
                "set it to a URL such as https://huggingface.co, or unset it",
            )
        if isinstance(error, HFValidationError):
            return UsageError(f"--model_id {self._model_id} is not a hub id", public_line(error))
        if isinstance(error, OSError) or package in ("httpx2", "httpcore2"):
            return self._network_error(error)
        return None

    def _network_error(self, error: BaseException) -> NetworkError:
        what = _unfetched(self._model_id)
        if type(error).__name__ == "OfflineModeIsEnabled":
            return NetworkError(
                f"{what}: the variable HF_HUB_OFFLINE is set",
                "unset HF_HUB_OFFLINE; or, with a warm cache, use --offline",
            )
        return NetworkError(
            f"{what}: {public_line(error)}",
            "check the network and HF_ENDPOINT and try again; with a warm cache, use --offline",
        )

    def _near_model(self) -> str | None:
        """Returns a model of the same author with a similar name, or None."""
        author, _, name = self._model_id.rpartition("/")
        with _only_a_hint() as api:
            found = api.list_models(author=author or None, search=None if author else name)
            names = [model.id for _, model in zip(range(1000), found, strict=False)]
            return nearest(self._model_id, names)
        return None

    def _near_revision(self) -> str:
        names: list[str] = []
        with _only_a_hint() as api:
            refs = api.list_repo_refs(self._model_id)
            names = [ref.name for ref in (*refs.branches, *refs.tags)]
        near = nearest(str(self._request.revision), names)
        if near:
            return f"did you mean {near}?"
        shown = ", ".join(names[:10])
        return f"it has: {shown}" if names else "give a branch, a tag or a commit"


@contextlib.contextmanager
def _only_a_hint() -> "Iterator[HfApi]":
    """Suppresses errors of requests that only improve a hint."""
    import huggingface_hub

    with contextlib.suppress(Exception), impatient():
        yield huggingface_hub.HfApi()


def from_library(error: BaseException) -> bool:
    """Whether a library raised an error while reading a response."""
    packages = []
    trace = error.__traceback__
    while trace is not None:
        packages.append(str(trace.tb_frame.f_globals.get("__name__")).partition(".")[0])
        trace = trace.tb_next
    own = len(packages) - packages[::-1].index(__package__.partition(".")[0])
    return bool({"huggingface_hub", "httpx2", "httpcore2", "h11"} & {*packages[own : own + 1]})


def public_line(error: BaseException) -> str:
    """Returns the first line of an error, without secrets in URLs."""
    return re.sub(r"://[^/@\s]*@", "://", re.sub(r"\?[^\s'\"]*", "", reason_of(error)))
