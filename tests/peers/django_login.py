#!/usr/bin/env python3
"""Puts Relais in front of a web application nobody here wrote (Django's admin), unchanged, and logs in as a browser does.

Django compares the `Origin` of a form, or over TLS its `Referer`, with the `Host` it was called by, and answers 403 where they
differ: behind a proxy that sends its own `Host` nobody can log in. Three ways lead in: straight to Relais, as a task that a
client asked for, and through a proxy in front that ends TLS (its fields are sent by hand).
"""

import os
import re
import subprocess
import sys
import tempfile
from urllib.parse import urlsplit, urlencode

from peer import Relais, call, check, verdict

APPLICATION = """
import os, sys
from wsgiref.simple_server import make_server, WSGIRequestHandler
import django
from django.conf import settings

settings.configure(
    SECRET_KEY="a test has no secrets", ALLOWED_HOSTS=["localhost", "127.0.0.1", "shop.example"], ROOT_URLCONF="urls",
    SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https"), USE_TZ=True,
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "app.db"}},
    INSTALLED_APPS=["django.contrib." + app for app in ("admin", "auth", "contenttypes", "sessions", "messages")],
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware", "django.contrib.auth.middleware.AuthenticationMiddleware",
                "django.contrib.messages.middleware.MessageMiddleware"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True,
                "OPTIONS": {"context_processors": ["django.template.context_processors.request",
                                                   "django.contrib.auth.context_processors.auth",
                                                   "django.contrib.messages.context_processors.messages"]}}])
django.setup()
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
call_command("migrate", verbosity=0)
from django.contrib.auth.models import User
User.objects.create_superuser("ann", password="a long one")


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


server = make_server("127.0.0.1", 0, get_wsgi_application(), handler_class=Quiet)
print(server.server_port, flush=True)
server.serve_forever()
"""

URLS = """
from django.contrib import admin
from django.http import HttpResponse
from django.urls import path

urlpatterns = [path("admin/", admin.site.urls), path("where/", lambda request: HttpResponse(request.build_absolute_uri("/x")))]
"""


class Browser:
    """Cookies, `Host`, `Origin` and `Referer` as a browser sends them to one site."""

    def __init__(self, port, public, more=None):
        self.port, self.public, self.more, self.cookies = port, public, more or {}, {}

    def call(self, method, path, form=None, headers=None):
        fields = {"host": urlsplit(self.public).netloc, **self.more, **(headers or {})}
        if self.cookies:
            fields["cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = None
        if form is not None:
            body = urlencode(form)
            fields |= {"content-type": "application/x-www-form-urlencoded", "origin": self.public, "referer": f"{self.public}{path}"}
        status, fields, data = call(self.port, method, path, body, fields)
        if cookie := fields.get("set-cookie"):
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        return status, fields, data

    def log_in(self, headers=None):
        """The status that the form is answered with, and where it leads."""
        path = "/admin/login/?next=/admin/"
        status, _, page = self.call("GET", path)
        token = re.search(rb'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        if status != 200 or not token:
            return status, f"no form: {page[:200]}"
        form = {"csrfmiddlewaretoken": token[1].decode(), "username": "ann", "password": "a long one", "next": "/admin/"}
        status, fields, _ = self.call("POST", path, form, headers)
        if status == 202:
            link = urlsplit(fields["location"])
            status, fields, _ = self.call("GET", f"{link.path}?{link.query}", headers={"prefer": "wait=30"})
        return status, fields.get("location", "")


def ways_in(relais):
    for name in ("localhost", "127.0.0.1"):
        public = f"http://{name}:{relais}"
        browser = Browser(relais, public)
        status, location = browser.log_in()
        check(status == 302 and urlsplit(location).path == "/admin/", f"{public}: the form is taken: {status} {location}")
        _, _, where = browser.call("GET", "/where/")
        check(where == f"{public}/x".encode(), f"{public}: the links that it builds lead back: {where}")
        status, location = Browser(relais, public).log_in({"prefer": "respond-async"})
        check(status == 302 and location == f"{public}/admin/", f"{public}: as a task, too: {status} {location}")
    evil = Browser(relais, "http://evil.example", {"host": f"localhost:{relais}"})
    status, _ = evil.log_in()
    check(status == 403, f"a form of another site is still refused: {status}")
    proxy = {"x-forwarded-for": "203.0.113.7", "x-forwarded-proto": "https", "x-forwarded-host": "shop.example"}
    status, location = Browser(relais, "https://shop.example", proxy).log_in()
    check(status == 302, f"behind a proxy that ends TLS: {status} {location}")


with tempfile.TemporaryDirectory() as folder:
    for name, text in (("application.py", APPLICATION), ("urls.py", URLS)):
        with open(os.path.join(folder, name), "w") as out:
            out.write(text)
    application = subprocess.Popen([sys.executable, "application.py"], cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        upstream = f"http://127.0.0.1:{int(application.stdout.readline())}"
        # No route: everything comes by --upstream.
        with Relais(server='trusted_proxies = ["127.0.0.0/8"]', args=["--upstream", upstream]) as server:
            ways_in(server.port)
    finally:
        application.kill()
verdict()
