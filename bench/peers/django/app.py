"""djangorestframework-api-key, as `cargo xtask bench --peers` measures it: one view behind `HasAPIKey`, on SQLite in WAL, without whatever of
Django such a view does not need. Gunicorn serves `application`; `python app.py migrate` makes the tables.

DATABASE says where the database lies.
"""

import os
import secrets

import django
from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["*"],
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],
            # Kept open over requests, as Django's documentation has it for speed.
            "CONN_MAX_AGE": None,
            "OPTIONS": {"init_command": "PRAGMA journal_mode=WAL"},
        }
    },
    DEBUG=False,
    INSTALLED_APPS=["rest_framework", "rest_framework_api_key"],
    MIDDLEWARE=[],
    REST_FRAMEWORK={
        "DEFAULT_AUTHENTICATION_CLASSES": [],
        "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
        "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
        "UNAUTHENTICATED_USER": None,
    },
    ROOT_URLCONF=__name__,
    SECRET_KEY=secrets.token_hex(32),
    USE_TZ=True,
)
django.setup()

from django.core.management import execute_from_command_line  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.urls import path  # noqa: E402
from rest_framework.response import Response  # noqa: E402
from rest_framework.views import APIView  # noqa: E402
from rest_framework_api_key.models import APIKey  # noqa: E402
from rest_framework_api_key.permissions import HasAPIKey  # noqa: E402


class Verify(APIView):
    """What is measured."""

    permission_classes = [HasAPIKey]

    def get(self, request):
        return Response(status=204)


class Keys(APIView):
    """Makes a key."""

    def post(self, request):
        key, token = APIKey.objects.create_key(name=request.data["name"])
        return Response({"id": key.pk, "token": token}, status=201)


class Revoke(APIView):
    """Revokes one, as the package's admin site does."""

    def post(self, request):
        key = APIKey.objects.get(pk=request.data["id"])
        key.revoked = True
        key.save()
        return Response(status=204)


urlpatterns = [
    path("verify", Verify.as_view()),
    path("keys", Keys.as_view()),
    path("revoke", Revoke.as_view()),
]

if __name__ == "__main__":
    execute_from_command_line()
else:
    application = get_wsgi_application()
