"""A Django site in one file: django-eventstream's streams at /events/, and /send/ to publish.

Run by `uvicorn site_of_test:application`. REDIS_PORT names the Redis server; STORAGE is "redis" or "none".
"""

import json
import os

import django
from django.conf import settings

redis = {"host": "127.0.0.1", "port": int(os.environ["REDIS_PORT"])}
options = {
    "ALLOWED_HOSTS": ["*"],
    "DATABASES": {},
    "EVENTSTREAM_REDIS": redis,
    "INSTALLED_APPS": ["django_eventstream"],
    "ROOT_URLCONF": __name__,
    "SECRET_KEY": "a secret of more than thirty-two bytes",
}
if os.environ["STORAGE"] == "redis":
    options["EVENTSTREAM_STORAGE_CLASS"] = "django_eventstream.storage.RedisStorage"
    options["EVENTSTREAM_STORAGE_CONNECTION"] = redis
settings.configure(**options)
django.setup()

import django_eventstream  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402


@csrf_exempt
def send(request):
    event = json.loads(request.body)
    django_eventstream.send_event(event["channel"], event["type"], event["data"])
    return HttpResponse("sent")


urlpatterns = [path("events/", include(django_eventstream.urls)), path("send/", send)]
application = get_asgi_application()
