"""The OpenAPI 3.1 document, made from what every responder declares, and the page that people read."""
