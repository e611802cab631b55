"""Only the browser that opened the printed address can read or write."""

import dataclasses
import io
import os

import numpy as np
import pytest

pytest.importorskip("starlette", reason="the extra annotate is not installed")
pytest.importorskip("httpx", reason="the test client of starlette needs httpx")

from PIL import Image
from starlette.testclient import TestClient

from graphfew.errors import DatasetError
from graphfew.labeling.annotation.access import COOKIE, Access, new_access
from graphfew.labeling.annotation.app import create_app
from graphfew.labeling.annotation.event_log import EventLog, describe_items
from graphfew.labeling.annotation.image_rendering import ItemImages, media_type
from graphfew.labeling.annotation.items import AnnotationItems
from graphfew.labeling.annotation.service import AnnotationService

ACCESS = Access("secret-token", 8421)
BASE = ACCESS.base
HOST = "http://127.0.0.1:8421"
FORM = {"tab": "0123abcd", "item": "0", "seen": "0", "label": "cat"}


def client_of(service, *, with_cookie=True, origin=HOST):
    app = create_app(service, ACCESS, "items", lambda: np.zeros((len(service.items), 2)))
    client = TestClient(app, base_url=HOST, follow_redirects=False)
    if with_cookie:
        client.cookies.set(COOKIE, ACCESS.token, path=BASE)
    if origin:
        client.headers["Origin"] = origin
    return client


@pytest.fixture
def service(make_service):
    return make_service()


def assert_nothing_written(service):
    assert service.snapshot().state.last_number == 0


def test_own_page_is_accepted(service):
    response = client_of(service).post(f"{BASE}/label", data=FORM)
    assert response.status_code == 303
    assert service.snapshot().state.labels == {"item 0": "cat"}


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:9999",
        "https://127.0.0.1:8421",
        "",
        None,
        "http://localhost:8421",
    ],
)
def test_forged_request_of_another_page_is_refused(service, origin):
    client = client_of(service, origin=None)
    headers = {} if origin is None else {"Origin": origin}
    for page in ("label", "confirm", "classes"):
        response = client.post(f"{BASE}/{page}", data=FORM, headers=headers)
        assert response.status_code == 403
    assert_nothing_written(service)


@pytest.mark.parametrize("token", [None, "", "secret-tokem", "secret-token-", "é"])
def test_missing_or_wrong_token_is_refused(service, token):
    client = client_of(service, with_cookie=False)
    headers = {} if token is None else {"Cookie": f"{COOKIE}={token}".encode()}
    assert client.post(f"{BASE}/label", data=FORM, headers=headers).status_code == 403
    for page in ("label", "map.json", "image/0", "export/labels.csv", "static/annotate.css", ""):
        response = client.get(f"{BASE}/{page}", headers=headers)
        assert response.status_code == 403
        assert "text 0" not in response.text
    assert_nothing_written(service)


@pytest.mark.parametrize(
    "cookies",
    [
        "{0}; flag",
        "flag; {0}",
        'a={{"b": 1}}; {0}',
        "{0}; version",
        "a b=c;{0}",
        "{0}; {1}",
        "{1}; {0}",
    ],
)
def test_cookies_of_other_servers_change_nothing(service, cookies):
    client = client_of(service, with_cookie=False)
    header = cookies.format(f"{COOKIE}={ACCESS.token}", f"{COOKIE}=other")
    assert client.get(f"{BASE}/map.json", headers={"Cookie": header}).status_code == 200
    header = header.replace(ACCESS.token, "wrong")
    assert client.get(f"{BASE}/map.json", headers={"Cookie": header}).status_code == 403


def test_port_of_http_is_omitted_by_browsers():
    assert Access("secret", 80).hosts == ("127.0.0.1", "localhost")


def test_token_in_the_address_of_a_form_is_not_enough(service):
    client = client_of(service, with_cookie=False)
    path = f"{BASE}/label?token={ACCESS.token}"
    assert client.post(path, data=FORM).status_code == 403
    assert client.get(path).status_code == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8421", "127.0.0.1", "127.0.0.1:1", ""]
)
def test_rebound_host_is_refused_even_with_the_token(service, host):
    client = client_of(service)
    headers = {"Host": host, "Origin": f"http://{host}"}
    assert client.post(f"{BASE}/label", data=FORM, headers=headers).status_code == 403
    assert client.get(f"{BASE}/label", headers=headers).status_code == 403
    assert_nothing_written(service)


def test_address_stores_a_strict_cookie_of_the_secret_path(service):
    client = client_of(service, with_cookie=False)
    response = client.get(f"{BASE}/?token={ACCESS.token}")
    cookie = response.headers["set-cookie"].lower()
    assert response.status_code == 200
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert f"path={BASE}" in cookie
    assert ACCESS.token not in response.text
    assert client.get(f"{BASE}/label").status_code == 303
    wrong = client_of(service, with_cookie=False).get(f"{BASE}/?token=wrong")
    assert wrong.status_code == 403
    assert "set-cookie" not in wrong.headers


def test_each_server_has_its_own_secret():
    first, second = new_access(8421), new_access(8421)
    assert first.token != second.token
    assert first.base != second.base
    assert first.token not in first.base


def test_pages_allow_no_foreign_content(service):
    headers = client_of(service).get(f"{BASE}/label?tab=0123abcd").headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "access-control-allow-origin" not in headers
    assert headers["cache-control"] == "no-store"
    assert client_of(service, with_cookie=False).get("/").headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "name", ["../app.py", "..%2fapp.py", "%2e%2e/app.py", "app.py", "/etc/passwd"]
)
def test_static_files_are_a_fixed_list(service, name):
    response = client_of(service).get(f"{BASE}/static/{name}")
    assert response.status_code in (403, 404)
    assert "create_app" not in response.text


@pytest.mark.parametrize("index", ["60", "-1", "1e3", "a", "0x1", "²", "9" * 30])
def test_item_outside_the_source_is_refused(service, index):
    client = client_of(service)
    assert client.get(f"{BASE}/image/{index}").status_code in (400, 403, 404)
    assert client.get(f"{BASE}/label?tab=0123abcd&item={index}").status_code == 400
    response = client.post(f"{BASE}/label", data={**FORM, "item": index})
    assert response.status_code == 400
    assert_nothing_written(service)


@pytest.fixture
def photos(tmp_path):
    """Four images: in the source, next to it, behind a link out of it, and a text file."""
    inside, outside = tmp_path / "photos", tmp_path / "private.png"
    inside.mkdir()
    Image.fromarray(np.full((300, 400, 3), 90, np.uint8)).save(inside / "a.png")
    Image.fromarray(np.full((8, 8), 90, np.uint8)).save(outside)
    os.symlink(outside, inside / "link.png")
    (inside / "text.png").write_text("no image")
    paths = (
        inside / "a.png",
        inside / ".." / "private.png",
        inside / "link.png",
        inside / "text.png",
    )
    names = tuple(path.name for path in paths)
    features = np.eye(4, dtype=np.float32)
    return AnnotationItems("image", names, paths, features, (None,) * 4, root=inside)


def test_path_outside_the_source_is_refused(photos, tmp_path):
    with EventLog(tmp_path / "log", describe_items("photos", photos.names)) as log:
        client = client_of(AnnotationService(photos, log))
        assert client.get(f"{BASE}/image/0").headers["content-type"] == "image/jpeg"
        for index in (1, 2):
            response = client.get(f"{BASE}/image/{index}")
            assert response.status_code == 403
            assert "outside the source" in response.text
        assert client.get(f"{BASE}/image/3").status_code == 403


def test_images_without_a_root_are_refused(photos):
    images = ItemImages(dataclasses.replace(photos, root=None))
    with pytest.raises(DatasetError, match="outside the source"):
        images.render(0, 100)


@pytest.mark.parametrize("shape", [(8, 8), (8, 8, 3), (8, 8, 1)])
def test_small_arrays_are_shown_enlarged(shape):
    pixels = np.zeros((2, *shape), np.uint8)
    items = AnnotationItems("image", ("a", "b"), pixels, np.eye(2), (None, None))
    content = ItemImages(items).render(0, 1024)
    assert media_type(content) == "image/png"
    assert Image.open(io.BytesIO(content)).size == (224, 224)


def test_long_form_is_refused(service):
    response = client_of(service).post(f"{BASE}/label", data={**FORM, "label": "x" * 300_000})
    assert response.status_code == 400
    response = client_of(service).post(f"{BASE}/label", content=b"tab=%ff&" + b"a=1&" * 900)
    assert response.status_code == 400
    assert_nothing_written(service)


def test_texts_and_class_names_are_escaped(service):
    client = client_of(service)
    client.post(f"{BASE}/label", data={**FORM, "label": "<script>alert(1)</script>"})
    for page in ("label", "confirm", "map", "classes", "review", "export"):
        text = client.get(f"{BASE}/{page}?tab=0123abcd").text
        assert "<script>alert" not in text
        assert "<b>cluster" not in text
