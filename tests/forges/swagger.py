"""A Swagger 2.0 document as OpenAPI 3.0: what a validator of the latter needs of it."""

from typing import Any

METHODS = {"get", "put", "post", "patch", "delete"}
_KEPT = {"name", "in", "required", "schema"}


def openapi(document: dict[str, Any]) -> dict[str, Any]:
    """The same paths and schemas; what only Microsoft reads is left out."""
    shared = document.get("parameters", {})
    return _repointed(
        {
            "openapi": "3.0.0",
            "info": {"title": document["info"]["title"], "version": document["info"]["version"]},
            "paths": {path: _operations(found, shared) for path, found in document["paths"].items()},
            "components": {"schemas": document["definitions"]},
        }
    )


def _operations(found: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    return {method: _operation(one, shared) for method, one in found.items() if method in METHODS}


def _operation(found: dict[str, Any], shared: dict[str, Any]) -> dict[str, Any]:
    asked = [shared[one["$ref"].rpartition("/")[2]] if "$ref" in one else one for one in found["parameters"]]
    body = next((one for one in asked if one["in"] == "body"), None)
    return {
        "operationId": found["operationId"],
        "parameters": [_parameter(one) for one in asked if one["in"] != "body"],
        "responses": {code: _response(one) for code, one in found["responses"].items()},
        **({"requestBody": {"required": True, "content": _json(body["schema"])}} if body else {}),
    }


def _parameter(found: dict[str, Any]) -> dict[str, Any]:
    schema = {name: found[name] for name in ("type", "format", "enum", "items") if name in found}
    return {name: value for name, value in found.items() if name in _KEPT} | {"schema": schema}


def _response(found: dict[str, Any]) -> dict[str, Any]:
    schema = found.get("schema")
    if schema is not None and schema.get("type") == "array":  # Microsoft names the list; it is sent as `value`
        schema = {"type": "object", "required": ["value"], "properties": {"value": schema}}
    content = {"content": _json(schema)} if schema else {}
    return {"description": found.get("description", ""), **content}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _repointed(node: Any) -> Any:
    """References where OpenAPI has them; a wrongly written one (Microsoft's uuid in an integer) is no business here."""
    if isinstance(node, dict):
        return {
            name: value.replace("#/definitions/", "#/components/schemas/") if name == "$ref" else _repointed(value)
            for name, value in node.items()
            if not name.startswith("x-ms-")
        }
    return [_repointed(one) for one in node] if isinstance(node, list) else node
