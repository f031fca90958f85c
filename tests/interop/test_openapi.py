"""The OpenAPI document, read by somebody else's validator."""

import json
import subprocess

from openapi_spec_validator import OpenAPIV31SpecValidator


def test_the_document_is_openapi_3_1(callingedge):
    printed = subprocess.run([callingedge, "openapi"], check=True, capture_output=True, text=True)

    document = json.loads(printed.stdout)
    errors = [f"{list(error.absolute_path)}: {error.message}" for error in OpenAPIV31SpecValidator(document).iter_errors()]

    assert document["openapi"].startswith("3.1.")
    assert errors == []
