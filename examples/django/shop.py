"""A small Django site, in one file: it sends events with django-eventstream's `send_event`, and
sse-server serves the streams. Started by run.py.

SSE_URL is where sse-server is, SSE_TOKEN its publish token, and REDIS_PORT the Redis of both.
"""

import json
import os
import signal
import urllib.request
from pathlib import Path

import django
from django.conf import settings

redis = {"host": "127.0.0.1", "port": int(os.environ["REDIS_PORT"])}
settings.configure(
    ALLOWED_HOSTS=["*"],
    EVENTSTREAM_REDIS=redis,
    EVENTSTREAM_STORAGE_CLASS="django_eventstream.storage.RedisStorage",
    EVENTSTREAM_STORAGE_CONNECTION=redis,
    INSTALLED_APPS=["django_eventstream"],
    MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
    ROOT_URLCONF=__name__,
    SECRET_KEY="an example's key, of more than thirty-two bytes",
    USE_TZ=True,
)
django.setup()

import django_eventstream  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.signing import BadSignature  # noqa: E402
from django.http import HttpResponse, JsonResponse  # noqa: E402
from django.middleware.csrf import get_token  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.views.decorators.http import require_POST  # noqa: E402

SSE_URL = os.environ["SSE_URL"]
CHANNEL = "orders"
# Who may read it. A real site would ask its database.
allowed = {"alice", "bob"}


def user_of(request):
    """Who has logged in, by a signed cookie. A real site has sessions."""
    try:
        return request.get_signed_cookie("user", None)
    except BadSignature:
        return None


def page(request):
    text = (Path(__file__).parent / "page.html").read_text()
    facts = {"stream": f"{SSE_URL}/events/?channel={CHANNEL}", "user": user_of(request), "token": get_token(request)}
    return HttpResponse(text.replace("{{facts}}", json.dumps(facts).replace("<", "\\u003c")))


@require_POST
def login(request, name):
    response = HttpResponse(status=204)
    response.set_signed_cookie("user", name, httponly=True, samesite="Lax")
    return response


@require_POST
def order(request):
    django_eventstream.send_event(CHANNEL, "message", {"order": request.body.decode(), "by": user_of(request)})
    return HttpResponse(status=204)


@require_POST
def permit(request, name, may):
    """Changes who may read, and tells sse-server, which asks again about that user's streams."""
    (allowed.add if may == "yes" else allowed.discard)(name)
    change = json.dumps({"user": name, "channel": CHANNEL}).encode()
    headers = {"Authorization": "Bearer " + os.environ["SSE_TOKEN"]}
    with urllib.request.urlopen(urllib.request.Request(SSE_URL + "/permissions/changed", change, headers)) as answer:
        return HttpResponse(answer.read(), content_type="application/json")


def may_read(request):
    """What sse-server asks about each reader: their cookie is in the request, and the channels."""
    user = user_of(request)
    if user is None:
        return HttpResponse(status=401)
    may = allowed if user in allowed else ()
    return JsonResponse({"user": user, "channels": [CHANNEL] if may else []})


@require_POST
def kill(request, which):
    """`kill -9`, for this site or sse-server. run.py starts it again."""
    process = os.getpid() if which == "django" else int(Path(os.environ["SSE_PID"]).read_text())
    os.kill(process, signal.SIGKILL)
    return HttpResponse(status=204)


urlpatterns = [
    path("", page),
    path("login/<name>/", login),
    path("order/", order),
    path("permit/<name>/<may>/", permit),
    path("may-read/", may_read),
    path("kill/<which>/", kill),
    path("events/", include(django_eventstream.urls), {"channels": [CHANNEL]}),
]
application = get_asgi_application()
