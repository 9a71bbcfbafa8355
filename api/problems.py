"""What went wrong, said to a caller: RFC 9457 problem documents with both languages.

``detail`` says what to do about it. Nothing of a caller's input is echoed, and nothing of our
insides is shown: those go to the log.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from core.errors import (
    CityhubError,
    ConflictError,
    ForbiddenError,
    NotFoundError,
    RefusedError,
    StoreRejectedError,
    StoreUnavailableError,
)
from core.model import Text

MEDIA_TYPE: Final = "application/problem+json"

_TITLES: Final[Mapping[int, Text]] = {
    400: Text("请求有误", "Bad request"),
    401: Text("请先登录", "Log in first"),
    403: Text("不允许", "Not allowed"),
    404: Text("没有找到", "Not found"),
    405: Text("此地址不支持该方法", "Method not allowed here"),
    408: Text("请求超时", "Request took too long"),
    409: Text("目前不能这样做", "Not possible as things stand"),
    413: Text("请求过大", "Request too large"),
    421: Text("主机名不被接受", "Host name not accepted"),
    422: Text("内容不合要求", "Content not acceptable"),
    429: Text("尝试过多", "Too many attempts"),
    500: Text("程序出错", "Internal error"),
    503: Text("暂时不可用", "Not available for now"),
}


_OVERTAKEN: Final = Text("已有他人先处理", "Somebody acted first")


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """A refusal with its status.

    Attributes:
        status: The HTTP status.
        code: Stable and short, such as ``"bad_cursor"``; ends the problem's ``type``.
        detail: One sentence, what is wrong and what to do.
        headers: Further response headers.
        extra: Further members of the document.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: Text,
        *,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail.en)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = dict(extra or {})

    @property
    def title(self) -> Text:
        """What kind of problem it is."""
        if self.extra.get("by"):
            return _OVERTAKEN
        return _TITLES.get(self.status, _TITLES[500 if self.status >= 500 else 400])  # noqa: PLR2004

    def document(self) -> dict[str, Any]:
        """Return the problem document."""
        return {
            "type": f"urn:cityhub:problem:{self.code}",
            "title": self.title.en,
            "title_zh": self.title.zh,
            "status": self.status,
            "detail": self.detail.en,
            "detail_zh": self.detail.zh,
            **self.extra,
        }


def as_problem(error: Exception) -> Problem:
    """Return what to tell a caller of any error."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return _http(error)
        case RefusedError():
            return Problem(422, "refused", error.text)
        case CityhubError():
            return _ours(error)
        case _:
            return Problem(
                500,
                "internal",
                Text("程序出错，已记入日志。", "The hub made a mistake; it is in the log."),
            )


def problem_response(problem: Problem) -> JSONResponse:
    """Return the response that carries a problem."""
    return JSONResponse(
        problem.document(), problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


async def answer_problem(_request: Request, error: Exception) -> JSONResponse:
    """Answer any error as a problem document."""
    return problem_response(as_problem(error))


def missing(what: Text, name: str) -> Problem:
    """Return the 404 for a thing that is not there."""
    return Problem(
        404, "not_found", Text(f"没有{what.zh} {name}。", f"There is no {what.en} {name}.")
    )


def _invalid(error: RequestValidationError) -> Problem:
    errors = error.errors()
    broken = any(item["type"] == "json_invalid" for item in errors)
    where = [
        {"where": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in errors[:20]
    ]
    first = where[0] if where else {"where": "request", "message": "not acceptable"}
    return Problem(
        400 if broken else 422,
        "not_json" if broken else "invalid",
        Text(
            f"{first['where']} 不合要求：{_in_chinese(errors[0]) if errors else '内容无法读取'}",
            f"{first['where']}: {first['message']}",
        ),
        extra={"errors": where},
    )


_INVALID_ZH: Final[Mapping[str, str]] = {
    # pydantic's error types; its own words are English
    "missing": "缺少此项",
    "extra_forbidden": "没有这一项",
    "json_invalid": "不是有效的 JSON",
    "string_too_short": "至少 {min_length} 个字符",
    "string_too_long": "最多 {max_length} 个字符",
    "string_pattern_mismatch": "格式不符",
    "string_type": "应为文字",
    "int_parsing": "应为整数",
    "int_type": "应为整数",
    "int_from_float": "应为整数",
    "float_parsing": "应为数字",
    "float_type": "应为数字",
    "bool_parsing": "应为是或否",
    "bool_type": "应为是或否",
    "greater_than": "应大于 {gt}",
    "greater_than_equal": "不得小于 {ge}",
    "less_than": "应小于 {lt}",
    "less_than_equal": "不得大于 {le}",
    "too_long": "最多 {max_length} 项",
    "too_short": "至少 {min_length} 项",
    "list_type": "应为列表",
    "dict_type": "应为对象",
    "model_attributes_type": "应为对象",
    "literal_error": "应为 {expected} 之一",
    "enum": "应为 {expected} 之一",
    "timezone_aware": "时间须带时区",
    "datetime_from_date_parsing": "应为 ISO 8601 时间",
    "datetime_parsing": "应为 ISO 8601 时间",
}


def _in_chinese(error: Mapping[str, Any]) -> str:
    """Return what is wrong with an input, of the kinds of error that our routes can give."""
    words = _INVALID_ZH.get(str(error["type"]), "内容不符合要求")
    return words.format_map({key: str(value) for key, value in error.get("ctx", {}).items()})


_HTTP: Final[Mapping[int, tuple[str, Text]]] = {
    404: (
        "no_such_address",
        Text(
            "没有这个地址；全部地址见 /api/openapi.json。",
            "There is no such address; /api/openapi.json lists them all.",
        ),
    ),
    405: ("method", Text("此地址不支持该方法。", "This address does not take that method.")),
    408: ("slow_body", Text("内容发送过慢。", "The body came too slowly.")),
    413: ("too_large", Text("请求内容超过 1 MiB。", "The body is over 1 MiB.")),
}


def _http(error: HTTPException) -> Problem:
    code, detail = _HTTP.get(
        error.status_code, ("refused", Text(str(error.detail), str(error.detail)))
    )
    return Problem(error.status_code, code, detail, headers=error.headers)


def _ours(error: CityhubError) -> Problem:
    said = Text(str(error), str(error))
    match error:
        case ConflictError():
            return _refused(error)
        case NotFoundError():
            return Problem(404, "not_found", error.text)
        case StoreUnavailableError(__cause__=psycopg.errors.QueryCanceled()):
            return Problem(
                503,
                "too_slow",
                Text("查询超过 5 秒，已停止；请缩小范围。",
                     "The query took over 5 s and was stopped; ask for less."),
            )  # fmt: skip
        case StoreUnavailableError():
            return Problem(
                503,
                "database_unavailable",
                Text("数据库暂时不可用，请稍后再试。",
                     "The database cannot be reached for now; try again."),
                headers={"Retry-After": "2"},
            )  # fmt: skip
        case StoreRejectedError():
            return Problem(
                422,
                "rejected",
                Text("数据库不接受这些内容。", "The database does not take this content."),
            )
        case _:
            return Problem(500, "internal", said)


def _refused(error: ConflictError) -> Problem:
    if isinstance(error, ForbiddenError):
        return Problem(403, "forbidden", error.text)
    first = {"by": error.by or None, "at": error.at and _utc(error.at)}
    return Problem(409, "conflict", error.text, extra=first)


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
