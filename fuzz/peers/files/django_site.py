"""A site with django-eventstream, as small as its documentation has it: streams at /events/, and a
view that sends what it is told to. What it needs to know comes from the environment: SITE_FOLDER;
and GRIP_URL and GRIP_PREFIX, if it is behind a GRIP proxy."""

import json
import os
from pathlib import Path

import django
from django.conf import settings
from django.core.management import call_command
from django.http import HttpResponse, HttpResponseBadRequest, HttpResponseNotAllowed
from django.urls import include, path

settings.configure(
    SECRET_KEY="of a site that lives for a minute",
    ALLOWED_HOSTS=["127.0.0.1"],
    ROOT_URLCONF=__name__,
    # As its documentation has it behind a GRIP proxy, if there is one.
    MIDDLEWARE=["django_grip.GripMiddleware"] if "GRIP_URL" in os.environ else [],
    **{name: os.environ[name] for name in ("GRIP_URL", "GRIP_PREFIX") if name in os.environ},
    DATA_UPLOAD_MAX_MEMORY_SIZE=8 << 20,
    INSTALLED_APPS=["django_eventstream"],
    # As Django's documentation advises for SQLite where several threads write.
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": Path(os.environ["SITE_FOLDER"]) / "site.db",
            "OPTIONS": {
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
            },
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    EVENTSTREAM_STORAGE_CLASS="django_eventstream.storage.DjangoModelStorage",
)
django.setup()
call_command("migrate", verbosity=0)

from django.core.asgi import get_asgi_application  # noqa: E402
from django_eventstream import send_event  # noqa: E402


def publish(request):
    """Sends an event: `{"channel": …, "event": …, "text": …}`."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    try:
        asked = json.loads(request.body)
        channel, event, text = asked["channel"], asked["event"], asked["text"]
        f"{channel}{event}{text}".encode()
    except (ValueError, KeyError, TypeError, AttributeError):
        return HttpResponseBadRequest()
    send_event(channel, event, text, json_encode=False)
    return HttpResponse()


urlpatterns = [
    path("events/", include("django_eventstream.urls")),
    path("publish/", publish),
]

application = get_asgi_application()
