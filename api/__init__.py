"""The REST API: a Falcon (ASGI) app that acts only through the store and the desired-state repository.

``app.py`` puts it together; ``resources/`` has a class for each path; ``operation.py`` is how a responder
says what it takes and gives, from which both its checks and the OpenAPI document are made.
"""
