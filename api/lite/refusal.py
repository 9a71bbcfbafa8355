"""What a person sees when something is refused or goes wrong: a sentence and a way on."""

from urllib.parse import quote

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from api.lite import words
from api.lite.frame import frame_of
from api.lite.markup import tag
from api.problems import as_problem

_LOGIN_FIRST = 401


def answer_lite(request: Request, error: Exception) -> Response:
    """Answer an error on ``/lite`` as a page; who is not logged in is sent to log in."""
    problem = as_problem(error)
    if problem.status == _LOGIN_FIRST:
        to = request.url.path if request.method == "GET" else "/lite"
        return RedirectResponse(f"/lite/login?to={quote(to)}", 303)
    page = frame_of(request)
    back = request.url.path.rsplit("/", 1)[0] if request.method == "POST" else "/lite"
    response = page.respond(
        page.say(problem.title),
        tag(
            "div",
            tag("h1", page.say(problem.title)),
            tag("p", page.say(problem.detail)),
            tag(
                "p",
                tag("a", page.say(words.BACK), href=back),
                " · ",
                tag("a", page.say(words.GO_ON), href="/lite"),
            ),
            class_="problem page",
            role="alert",
        ),
        status=problem.status,
    )
    for key, value in problem.headers.items():
        response.headers[key] = value
    return response
