"""The server's description, made from the same table as its routes."""

from __future__ import annotations

from typing import Any

import besom
from besom.store.http.operations import Operation, operations

_ERROR = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"kind": {"type": "string"}, "message": {"type": "string"}},
            "required": ["kind", "message"],
        }
    },
    "required": ["error"],
}
_REFUSALS = {
    "400": "The body is no JSON.",
    "401": "No token, or none that is valid.",
    "403": "The token's scope is too narrow.",
    "404": "No such sweep, run or route.",
    "405": "The route has no such method.",
    "409": "Not possible in the present state.",
    "413": "The body is too large.",
    "415": "The body must be application/json.",
    "421": "The server does not answer to this Host.",
    "422": "An argument is wrong.",
    "429": "Too many requests.",
    "503": "The store cannot be used now.",
    "507": "The store's disk is full.",
}


def describe_server() -> dict[str, Any]:
    """Give the OpenAPI 3.1 description."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "besom", "version": besom.__version__, "summary": "A store of sweeps behind HTTP."},
        "security": [{"token": []}],
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Error": _ERROR},
        },
        "paths": {
            "/v1": {"get": _look("greet", "What the server is.")},
            "/v1/openapi.json": {"get": _look("describe", "This description.")},
            **{one.path: {"post": _describe(one)} for one in operations().values()},
        },
    }


def _answers(schema: dict[str, Any]) -> dict[str, Any]:
    error = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    good = {"description": "Done.", "content": {"application/json": {"schema": schema}}}
    refusals = {status: {"description": text, "content": error} for status, text in _REFUSALS.items()}
    return {"200": good, **refusals}


def _look(name: str, summary: str) -> dict[str, Any]:
    return {"operationId": name, "summary": summary, "responses": _answers({"type": "object"})}


def _describe(operation: Operation) -> dict[str, Any]:
    body = {
        "type": "object",
        "properties": {name: codec.schema for name, codec in operation.parameters.items()},
        "required": operation.required,
        "additionalProperties": False,
    }
    result = {
        "type": "object",
        "properties": {"result": operation.result.schema},
        "required": ["result"],
        "additionalProperties": False,
    }
    return {
        "operationId": operation.name,
        "summary": operation.description.partition("\n")[0],
        "description": operation.description,
        "x-besom-scope": operation.scope,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": _answers(result),
    }
