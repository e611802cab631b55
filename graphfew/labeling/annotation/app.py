"""The web application of an annotation: its routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any

from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route

from graphfew.errors import DatasetError, GraphfewError, InvalidInputError, WriteError
from graphfew.labeling.annotation.access import Access, AccessMiddleware
from graphfew.labeling.annotation.export import FORMATS, export_labels
from graphfew.labeling.annotation.forms import field, parse_index, read_form
from graphfew.labeling.annotation.image_rendering import LARGE, SMALL, ItemImages, media_type
from graphfew.labeling.annotation.pages import AnnotationPages, is_tab, new_tab
from graphfew.labeling.annotation.service import AnnotationService
from graphfew.labeling.annotation.submissions import (
    Form,
    submit_class,
    submit_grid,
    submit_label,
)

STATIC_TYPES = {
    "annotate.css": "text/css",
    "annotate.js": "text/javascript",
    "map.js": "text/javascript",
}
# Numbers of classes have no other bound.
MAX_CLASS = 10**9
Endpoint = Callable[[Request], Awaitable[Response]]
Submit = Callable[[AnnotationService, str, Form], None]


def create_app(
    service: AnnotationService, access: Access, title: str, positions: Callable[[], NDArray[Any]]
) -> Starlette:
    """Build the application.

    Args:
        service: the annotation.
        access: who may use it.
        title: name of the source.
        positions: returns the positions of all items on the map, `[n, 2]` in `[0, 1]`.

    Returns:
        An ASGI application.
    """
    pages = AnnotationPages(service, title, access.base, positions)
    images = ItemImages(service.items)

    def render_label(tab: str, request: Request, error: str = "") -> str:
        text = request.query_params.get("item")
        index = None if text is None else parse_index(text, "item", len(service.items))
        return pages.label(tab, index, error)

    def render_confirm(tab: str, request: Request, error: str = "") -> str:
        text = request.query_params.get("class", "")
        return pages.confirm(tab, parse_index(text, "class", MAX_CLASS) if text else None, error)

    def render_classes(tab: str, request: Request, error: str = "") -> str:
        del request
        return pages.classes(tab, error)

    def image(request: Request) -> Response:
        index = parse_index(request.path_params["index"], "item", len(service.items))
        if service.items.kind != "image":
            raise InvalidInputError("the items are no images; open the page of the item")
        side = SMALL if "small" in request.query_params else LARGE
        content = images.render(index, side)
        # The address has the secret path, so that a private cache cannot mix up two sources.
        headers = {"Cache-Control": "private, max-age=3600"}
        return Response(content, media_type=media_type(content), headers=headers)

    def export(request: Request) -> Response:
        name = request.path_params["format"]
        if name not in FORMATS:
            raise InvalidInputError(f"the format is {name[:20]!r}; choose one on the page Export")
        only_labeled = "labeled" in request.query_params
        content = export_labels(service.snapshot(), name, only_labeled=only_labeled)
        headers = {"Content-Disposition": f'attachment; filename="labels.{name}"'}
        return Response(content, media_type=FORMATS[name], headers=headers)

    routes = [
        Route("/", _redirect(access.base)),
        _page("label", access.base, render_label, submit_label, service),
        _page("confirm", access.base, render_confirm, submit_grid, service),
        _page("classes", access.base, render_classes, submit_class, service),
        _page("map", access.base, lambda tab, request: pages.map(tab)),
        _page("review", access.base, lambda tab, request: pages.review(tab)),
        _page("export", access.base, lambda tab, request: pages.export(tab)),
        Route("/map.json", _in_thread(lambda request: JSONResponse(pages.map_data()))),
        Route("/image/{index}", _in_thread(image)),
        Route("/export/labels.{format}", _in_thread(export)),
        Route("/static/{name}", _in_thread(_static)),
    ]
    return Starlette(
        routes=[Mount(access.base, routes=routes)],
        middleware=[Middleware(AccessMiddleware, access=access)],
    )


def _page(
    name: str,
    base: str,
    render: Callable[..., str],
    submit: Submit | None = None,
    service: AnnotationService | None = None,
) -> Route:
    """A page that is shown on GET; on POST its form is carried out and the page shown again."""

    def show(request: Request) -> Response:
        tab = request.query_params.get("tab", "")
        if not is_tab(tab):
            return _see_other(base, name, new_tab(), request)
        return HTMLResponse(render(tab, request))

    def carry_out(request: Request, form: Form) -> Response:
        assert submit is not None
        assert service is not None
        tab = field(form, "tab")
        if not is_tab(tab):
            raise InvalidInputError("the form has no tab; reload the page")
        try:
            submit(service, tab, form)
        except WriteError as error:
            message = f"Not saved: {error}"
            return HTMLResponse(render(tab, request, message), status_code=500)
        except InvalidInputError as error:
            return HTMLResponse(render(tab, request, str(error)), status_code=400)
        return _see_other(base, field(form, "then") or name, tab, request)

    async def endpoint(request: Request) -> Response:
        try:
            if request.method != "POST":
                return await run_in_threadpool(show, request)
            return await run_in_threadpool(carry_out, request, await read_form(request))
        except GraphfewError as error:
            return _plain_error(error)

    methods = ["GET"] if submit is None else ["GET", "POST"]
    return Route(f"/{name}", endpoint, methods=methods)


def _see_other(base: str, name: str, tab: str, request: Request) -> Response:
    """Redirect to a page with the tab's id in the address, so that a reload keeps it."""
    target = name if name in ("label", "confirm", "map", "classes", "review", "export") else "label"
    address = f"{base}/{target}?tab={tab}"
    if target == "confirm" and request.query_params.get("class", "").isdecimal():
        address += f"&class={request.query_params['class']}"
    return RedirectResponse(address, status_code=303)


def _in_thread(handle: Callable[[Request], Response]) -> Endpoint:
    """An endpoint that runs a function in a thread, and shows expected errors as text."""

    async def endpoint(request: Request) -> Response:
        try:
            return await run_in_threadpool(handle, request)
        except GraphfewError as error:
            return _plain_error(error)

    return endpoint


def _redirect(base: str) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        del request
        return RedirectResponse(f"{base}/label", status_code=303)

    return endpoint


def _plain_error(error: GraphfewError) -> Response:
    status = 403 if isinstance(error, DatasetError) else 400
    return Response(str(error), status, media_type="text/plain")


def _static(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in STATIC_TYPES:
        return Response("not found", 404, media_type="text/plain")
    content = files("graphfew.labeling.annotation").joinpath("static").joinpath(name).read_bytes()
    return Response(content, media_type=STATIC_TYPES[name])
