#!/usr/bin/env python3
"""Puts Relais in front of a web application nobody here wrote (Django's admin), unchanged, and logs in as a browser does.

Django compares the `Origin` of a form, or over TLS its `Referer`, with the `Host` it was called by, and answers 403 where they
differ: behind a proxy that sends its own `Host` nobody can log in. Three ways lead in: straight to Relais, as a task that a
client asked for, and through a proxy in front that ends TLS (its fields are sent by hand).

    python3 -m venv venv && venv/bin/pip install 'django>=5.2,<6'
    venv/bin/python tests/peers/django_login.py --relais target/release/relais

Prints a line per check; exits 1 if one failed.
"""

import argparse
import http.client
import os
import re
import subprocess
import sys
import tempfile
from urllib.parse import urlencode, urlsplit

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
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        fields = {"Host": urlsplit(self.public).netloc, **self.more, **(headers or {})}
        if self.cookies:
            fields["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        body = None
        if form is not None:
            body = urlencode(form)
            fields |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": self.public, "Referer": f"{self.public}{path}"}
        connection.request(method, path, body, fields)
        response = connection.getresponse()
        data = response.read().decode()
        for cookie in response.headers.get_all("Set-Cookie") or []:
            name, value = cookie.split(";")[0].split("=", 1)
            self.cookies[name] = value
        connection.close()
        return response.status, response.headers, data

    def log_in(self, headers=None):
        """The status that the form is answered with, and where it leads."""
        path = "/admin/login/?next=/admin/"
        status, _, page = self.call("GET", path)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
        if status != 200 or not token:
            return status, f"no form: {page[:200]}"
        form = {"csrfmiddlewaretoken": token[1], "username": "ann", "password": "a long one", "next": "/admin/"}
        status, fields, _ = self.call("POST", path, form, headers)
        if status == 202:
            link = urlsplit(fields["Location"])
            status, fields, _ = self.call("GET", f"{link.path}?{link.query}", headers={"Prefer": "wait=30"})
        return status, fields.get("Location", "")


failed = 0


def check(holds, what):
    global failed
    failed += not holds
    print(f"{'ok    ' if holds else 'FAILED'} {what}")


def start(command, **more):
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, **more)
    line = child.stdout.readline()
    return child, line


def ways_in(relais):
    for name in ("localhost", "127.0.0.1"):
        public = f"http://{name}:{relais}"
        browser = Browser(relais, public)
        status, location = browser.log_in()
        check(status == 302 and urlsplit(location).path == "/admin/", f"{public}: the form is taken: {status} {location}")
        status, _, page = browser.call("GET", "/admin/")
        check(status == 200 and "ann" in page.lower(), f"{public}: and its session holds: {status}")
        _, _, where = browser.call("GET", "/where/")
        check(where == f"{public}/x", f"{public}: the links that it builds lead back: {where}")
        status, location = Browser(relais, public).log_in({"Prefer": "respond-async"})
        check(status == 302 and location == f"{public}/admin/", f"{public}: as a task, too: {status} {location}")
    evil = Browser(relais, "http://evil.example")
    evil.more = {"Host": f"localhost:{relais}"}
    status, _ = evil.log_in()
    check(status == 403, f"a form of another site is still refused: {status}")
    proxy = {"X-Forwarded-For": "203.0.113.7", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.example"}
    status, location = Browser(relais, "https://shop.example", proxy).log_in()
    check(status == 302, f"behind a proxy that ends TLS: {status} {location}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--relais", default="target/release/relais")
    arguments = parser.parse_args()
    relais_program = os.path.abspath(arguments.relais)
    with tempfile.TemporaryDirectory() as folder:
        for name, text in (("application.py", APPLICATION), ("urls.py", URLS)):
            with open(os.path.join(folder, name), "w") as out:
                out.write(text)
        children = []
        try:
            child, line = start([sys.executable, "application.py"], cwd=folder)
            children.append(child)
            # No route: everything comes by --upstream.
            with open(os.path.join(folder, "relais.toml"), "w") as out:
                out.write('[server]\nlisten = "127.0.0.1:0"\nadmin_listen = "127.0.0.1:0"\ntrusted_proxies = ["127.0.0.0/8"]\n'
                          '[store]\nurl = "memory:"\n')
            upstream = f"http://127.0.0.1:{int(line)}"
            child, line = start([relais_program, "serve", "--upstream", upstream], cwd=folder)
            children.append(child)
            ways_in(int(re.search(r"http://127\.0\.0\.1:(\d+)", line)[1]))
        finally:
            for child in children:
                child.terminate()
                child.wait()
    print(f"{failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
