"""What the desk does to cases beside handling: reports of people, filing, merging, lateness."""

import csv
import io
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import ConfigDict, Field, ValidationError

from api.policy import Policy, allow
from api.problems import Problem
from api.routers.cases import CaseNo
from api.routers.doing import Acted, By, Doing, Filed, MaybeBy, Name, Reasoned, Sentence
from api.shapes import Moment, Shape
from core.errors import ConflictError
from core.model import Text

router = APIRouter(prefix="/api/v1/cases", tags=["cases"])

_MOST_ROWS: Final = 5000
_MOST_BYTES: Final = 4 << 20
_CSV: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "text/csv": {
                "schema": {"type": "string"},
                "example": "source,category,class_code,description,lon,lat,report_no\n"
                "hotline,component,0102,井盖缺失,111.79,37.26,12345-001\n",
            }
        },
    }
}


class Reporting(By):
    """What people report."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "source": "hotline",
                    "category": "component",
                    "class_code": "0102",
                    "description": "东大街井盖缺失",
                    "lon": 111.79,
                    "lat": 37.26,
                    "report_no": "12345-20261121-0001",
                }
            ]
        },
    )

    source: Literal["hotline", "inspector", "public", "video"] = Field(
        description="`hotline` 12345, `inspector` 监督员, `public` 公众, `video` 视频."
    )
    category: Literal["component", "event"]
    class_code: Annotated[str, Field(pattern=r"^[0-9]{4}$", description="Class and sub-class.")]
    description: Sentence
    lon: Annotated[float, Field(ge=-180, le=180)] | None = Field(default=None)
    lat: Annotated[float, Field(ge=-90, le=90)] | None = Field(default=None)
    address: Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")] = ""
    grid_code: Annotated[str, Field(pattern=r"^[0-9]{14,15}$")] | None = Field(default=None)
    component_code: Annotated[str, Field(pattern=r"^[0-9]{16}$")] | None = Field(default=None)
    severity: Annotated[int, Field(ge=1, le=4, description="1 blue … 4 red.")] = 2
    reporter: Annotated[str, Field(max_length=64, pattern=r"^[^\x00]*$")] = ""
    report_no: Name | None = Field(
        default=None, description="The source's own number: what comes twice is one case."
    )


class Merging(By):
    """What a case is merged into."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"into": "FY-20261121-000001"}]}
    )

    into: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class Joining(By):
    """Which incident a case takes in."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"incident_id": 3}]})

    incident_id: Annotated[int, Field(ge=1, lt=1 << 63)]


class Supervising(Reasoned):
    """How closely a case is watched."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"level": 1, "reason": "超期未处置"}]}
    )

    level: Annotated[int, Field(ge=1, le=3)]


class Extending(Reasoned):
    """How much more time is asked for."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"hours": 24, "reason": "等待配件"}]}
    )

    hours: Annotated[float, Field(gt=0, le=2160)]


class Suspending(Reasoned):
    """Until when a case is put aside."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"review_at": "2027-03-15T01:00:00Z", "reason": "冬季停工"}]
        },
    )

    review_at: Moment


class Deciding(By):
    """What is decided about a request."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"type": "extension", "approved": True}]}
    )

    type: Literal["extension", "suspension"]
    approved: bool


class Line(Shape):
    """What became of a line of a file."""

    line: int
    case_no: str | None = None
    reason: str | None = None
    """Why it made no case."""


class Imported(Shape):
    """What became of a file."""

    made: list[Line]
    refused: list[Line]
    """A number that is known already is refused as well, and names its case."""


@router.post("", summary="Report a case 上报", response_model=Filed)
@allow(Policy.STAFF)
async def report(doing: Doing, body: Reporting) -> JSONResponse:
    """Take in what people report; what sensors saw near by is proposed for merging."""
    wanted = body.model_dump(exclude={"actor"})
    return await doing.answer(lambda: doing.actions.report(actor=doing.actor(body), **wanted))


@router.post(
    "/import", summary="Import reports from CSV", response_model=Imported, openapi_extra=_CSV
)
@allow(Policy.STAFF)
async def import_reports(doing: Doing, request: Request) -> JSONResponse:
    """Take in a file, UTF-8 or GB 18030, line by line; its columns are a report's fields."""
    body = await request.body()
    if len(body) > _MOST_BYTES:
        raise Problem(413, "too_long", Text("文件过大", "the file is too large"))
    rows = list(csv.DictReader(io.StringIO(_decode(body))))
    if len(rows) > _MOST_ROWS:
        raise Problem(
            413, "too_long", Text(f"最多{_MOST_ROWS}行", f"at most {_MOST_ROWS} lines at once")
        )
    told: dict[str, list[dict[str, Any]]] = {"made": [], "refused": []}
    for line, row in enumerate(rows, 2):
        try:
            given = {name: value for name, value in row.items() if value}
            one = Reporting.model_validate(given)
            wanted = one.model_dump(exclude={"actor"})
            made = await doing.actions.report(actor=doing.actor(one), **wanted)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(map(str, first["loc"]))
            told["refused"].append({"line": line, "reason": f"{where}: {first['msg']}"})
        except ConflictError as error:
            told["refused"].append({"line": line, "reason": error.text.zh})
        else:
            told["made"].append({"line": line, "case_no": made.case_no})
    return JSONResponse(told)


@router.post("/{case_no}/accept", summary="Accept 受理", response_model=Acted)
@allow(Policy.STAFF)
async def accept(doing: Doing, case_no: CaseNo, body: MaybeBy = None) -> JSONResponse:
    """Accept a reported case."""
    return await doing.do(doing.actions.accept, case_no, body)


@router.post("/{case_no}/check", summary="Ask for a check 核实", response_model=Acted)
@allow(Policy.STAFF)
async def check(doing: Doing, case_no: CaseNo, body: Reasoned) -> JSONResponse:
    """Have somebody look before it is filed; its clock stands still."""
    return await doing.do(doing.actions.request_check, case_no, body)


@router.post("/{case_no}/confirm", summary="Confirm what was reported", response_model=Acted)
@allow(Policy.STAFF)
async def confirm(doing: Doing, case_no: CaseNo, body: MaybeBy = None) -> JSONResponse:
    """Say that it is as reported: the case returns to where it came from."""
    return await doing.do(doing.actions.confirm, case_no, body)


@router.post("/{case_no}/file", summary="File 立案", response_model=Acted)
@allow(Policy.STAFF)
async def file(doing: Doing, case_no: CaseNo, body: MaybeBy = None) -> JSONResponse:
    """File an accepted case: from here only verification closes it."""
    return await doing.do(doing.actions.file_case, case_no, body)


@router.post("/{case_no}/reject", summary="Refuse to file 不予立案", response_model=Acted)
@allow(Policy.STAFF)
async def reject(doing: Doing, case_no: CaseNo, body: Reasoned) -> JSONResponse:
    """Refuse to file a case; needs a reason."""
    return await doing.do(doing.actions.reject, case_no, body)


@router.post("/{case_no}/void", summary="Declare void 作废", response_model=Acted)
@allow(Policy.STAFF)
async def void(doing: Doing, case_no: CaseNo, body: Reasoned) -> JSONResponse:
    """Declare a case void; only before it is filed."""
    return await doing.do(doing.actions.void, case_no, body)


@router.post("/{case_no}/merge", summary="Merge into another 并案", response_model=Acted)
@allow(Policy.STAFF)
async def merge(doing: Doing, case_no: CaseNo, body: Merging) -> JSONResponse:
    """Merge a case into another open one, whose clocks stand."""
    return await doing.do(doing.actions.merge, case_no, body)


@router.post("/{case_no}/join", summary="Take in an incident", response_model=Acted)
@allow(Policy.STAFF)
async def join(doing: Doing, case_no: CaseNo, body: Joining) -> JSONResponse:
    """Let a reported case take in what sensors saw, so that they verify it."""
    return await doing.do(doing.actions.join, case_no, body)


@router.post("/{case_no}/urge", summary="Urge 催办", response_model=Acted)
@allow(Policy.STAFF)
async def urge(doing: Doing, case_no: CaseNo, body: Reasoned) -> JSONResponse:
    """Urge whoever has it; at most once in half an hour by the same person."""
    return await doing.do(doing.actions.urge, case_no, body)


@router.post("/{case_no}/supervise", summary="Supervise 督办", response_model=Acted)
@allow(Policy.STAFF)
async def supervise(doing: Doing, case_no: CaseNo, body: Supervising) -> JSONResponse:
    """Supervise it: a shift leader to level 2, the duty director to 3."""
    return await doing.do(doing.actions.supervise, case_no, body)


@router.post("/{case_no}/extend", summary="Ask for more time 延期", response_model=Acted)
@allow(Policy.STAFF)
async def extend(doing: Doing, case_no: CaseNo, body: Extending) -> JSONResponse:
    """Ask for more time; somebody else decides."""
    return await doing.do(doing.actions.extend, case_no, body)


@router.post("/{case_no}/suspend", summary="Ask to put it aside 挂账", response_model=Acted)
@allow(Policy.STAFF)
async def suspend(doing: Doing, case_no: CaseNo, body: Suspending) -> JSONResponse:
    """Ask to put it aside until a day of review; somebody else decides."""
    return await doing.do(doing.actions.suspend, case_no, body)


@router.post("/{case_no}/decide", summary="Approve or refuse 审批", response_model=Acted)
@allow(Policy.STAFF)
async def decide(doing: Doing, case_no: CaseNo, body: Deciding) -> JSONResponse:
    """Decide about an extension or a suspension that was asked for."""
    return await doing.do(doing.actions.decide, case_no, body)


@router.post("/{case_no}/resume", summary="Take up again 恢复", response_model=Acted)
@allow(Policy.STAFF)
async def resume(doing: Doing, case_no: CaseNo, body: Reasoned) -> JSONResponse:
    """Take a suspended case up again; what was left of its limit runs on."""
    return await doing.do(doing.actions.resume, case_no, body)


def _decode(body: bytes) -> str:
    """Return a file's text: UTF-8, or what Chinese spreadsheets write."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return body.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise Problem(
        400,
        "bad_encoding",
        Text("文件编码须为UTF-8或GB18030", "the file must be UTF-8 or GB 18030"),
    )
