"""A Django site in one file: django-eventstream's streams at /events/, /send/ and /burst/ to publish.

Run by `daphne site_of_test:application`. STORAGE is "none", "redis" or "model"; REDIS_PORT names the Redis server,
and DATABASE the database of the model: a port of PostgreSQL with the name of a database, or the path of a SQLite file, with
`?wal` for a write-ahead log.
"""

import faulthandler
import json
import os
import signal
import threading
import time

import django
from django.conf import settings

# Says where each thread is, when a test finds that one does not get on.
faulthandler.register(signal.SIGUSR1, all_threads=True)

storage = os.environ["STORAGE"]
options = {
    "ALLOWED_HOSTS": ["*"],
    "DATABASES": {},
    "LOGGING": {"version": 1, "disable_existing_loggers": False, "loggers": {"django.request": {"level": "ERROR"}}},
    "INSTALLED_APPS": ["django_eventstream"],
    "ROOT_URLCONF": __name__,
    "SECRET_KEY": "a secret of more than thirty-two bytes",
    "USE_TZ": True,
}
if os.environ.get("REDIS_PORT"):
    redis = {"host": "127.0.0.1", "port": int(os.environ["REDIS_PORT"])}
    options["EVENTSTREAM_REDIS"] = redis
if storage == "redis":
    options["EVENTSTREAM_STORAGE_CLASS"] = "django_eventstream.storage.RedisStorage"
    options["EVENTSTREAM_STORAGE_CONNECTION"] = redis
elif storage == "model":
    options["EVENTSTREAM_STORAGE_CLASS"] = "django_eventstream.storage.DjangoModelStorage"
    database = os.environ["DATABASE"]
    if database.startswith("/"):
        # As Django's documentation advises for SQLite with several writers.
        more = {"timeout": 30, "transaction_mode": "IMMEDIATE"}
        database, _, journal = database.partition("?")
        if journal:
            more["init_command"] = "PRAGMA journal_mode=%s; PRAGMA synchronous=NORMAL" % journal
        default = {"ENGINE": "django.db.backends.sqlite3", "NAME": database, "OPTIONS": more}
    else:
        port, name = database.split("/")
        default = {"ENGINE": "django.db.backends.postgresql", "NAME": name, "USER": "postgres"}
        default |= {"HOST": "127.0.0.1", "PORT": port}
    options["DATABASES"] = {"default": default}
settings.configure(**options)
django.setup()

import django_eventstream  # noqa: E402
from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connections, transaction  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import include, path  # noqa: E402
from django.views.decorators.csrf import csrf_exempt  # noqa: E402

if storage == "model":
    call_command("migrate", verbosity=0)


@csrf_exempt
def send(request):
    event = json.loads(request.body)
    django_eventstream.send_event(event["channel"], event["type"], event["data"])
    return HttpResponse("sent")


@csrf_exempt
def burst(request):
    """Threads that send at full speed, each in its own order; each event in a transaction that goes on for a while
    after it, if it is to be so."""
    order = json.loads(request.body)
    failures = []

    def work(number):
        try:
            for count in range(order["count"]):
                data = "%s-%d-%d" % (order["mark"], number, count)
                if order["in_transaction"]:
                    with transaction.atomic():
                        django_eventstream.send_event(order["channel"], "message", data)
                        time.sleep(0.002 * (number + 1))
                else:
                    django_eventstream.send_event(order["channel"], "message", data)
        except Exception as error:
            failures.append(repr(error))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(order["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return HttpResponse("; ".join(failures), status=500 if failures else 200)


@csrf_exempt
def publish(request):
    """As this project's servers publish: an array of events, together or not at all, and their ids, once they are
    committed. While something that it needs is down, the status is 503."""
    events = json.loads(request.body)
    ids = [None] * len(events)
    try:
        with transaction.atomic():
            # In one order of channels for all, so that nobody waits for each other.
            for index, event in sorted(enumerate(events), key=lambda it: it[1]["channel"]):
                django_eventstream.send_event(event["channel"], "message", event["data"])
                # Nobody else takes one before the commit.
                ids[index] = {"id": django_eventstream.get_current_event_id([event["channel"]])}
    except Exception as error:
        refused = HttpResponse(repr(error), status=503)
        refused._has_been_logged = True  # Tests take things away, and expect it.
        return refused
    return HttpResponse(json.dumps(ids))


urlpatterns = [
    path("events/", include(django_eventstream.urls)),
    path("send/", send),
    path("burst/", burst),
    path("publish/", publish),
]
application = get_asgi_application()
