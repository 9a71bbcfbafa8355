"""Who may call which route. A route that says nothing is closed to everybody.

A route is marked with :func:`allow`; :func:`enforce` runs before every route of the application and
refuses those without a mark. A test walks all routes and calls each as each role.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, Final, TypeVar

from fastapi import Depends, Request

from api.auth import Gate, Identity
from api.problems import Problem
from core.model import Text

_F = TypeVar("_F", bound=Callable[..., Any])


class Policy(StrEnum):
    """Who may."""

    PUBLIC = "public"
    """Anybody: it tells nothing of the city."""
    STAFF = "staff"
    """Whoever has logged in; on loopback without a token, everybody on this machine."""


_policies: Final[dict[Callable[..., Any], Policy]] = {}


def allow(policy: Policy) -> Callable[[_F], _F]:
    """Mark a route with who may call it."""

    def mark(endpoint: _F) -> _F:
        _policies[endpoint] = policy
        return endpoint

    return mark


def policy_of(endpoint: Callable[..., Any] | None) -> Policy | None:
    """Return who may call a route; None: nobody."""
    return _policies.get(endpoint) if endpoint else None


async def enforce(request: Request) -> None:
    """Let only those through whom the route's mark admits.

    Raises:
        Problem: 401 without a login, 403 where the route has no mark.
    """
    policy = policy_of(request.scope.get("endpoint"))
    if policy is None:
        raise Problem(403, "closed", Text("此地址未开放。", "This address is open to nobody."))
    if policy is Policy.PUBLIC:
        return
    gate: Gate = request.app.state.gate
    identity = gate.identify(request)
    if identity is None:
        raise Problem(
            401,
            "login",
            Text("请登录，或在 Authorization 头中给出令牌。",
                 "Log in, or send the token as 'Authorization: Bearer …'."),
            headers={"WWW-Authenticate": 'Bearer realm="cityhub"'},
        )  # fmt: skip
    request.state.identity = identity


def _identity(request: Request) -> Identity:
    identity: Identity = request.state.identity
    return identity


Caller = Annotated[Identity, Depends(_identity)]
"""Who is calling, for routes that only staff may call."""
