# SPDX-License-Identifier: GPL-3.0-or-later
"""The contents and the needs of a tarball of the collection, as a CycloneDX 1.6 document (https://cyclonedx.org/docs/1.6/json/). Pure."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

LICENSE = [{"license": {"id": "GPL-3.0-or-later"}}]


def document(
    manifest: Mapping[str, Any], files: Mapping[str, Any], digest: str, python: Sequence[str]
) -> dict[str, Any]:
    """The list of parts.

    ``manifest`` and ``files`` are MANIFEST.json and FILES.json of the tarball, ``digest`` is the SHA-256 of the tarball itself, and
    ``python`` are requirements such as ``boto3>=1.26``. The same tarball gives the same document.
    """
    info = manifest["collection_info"]
    name, version = f"{info['namespace']}.{info['name']}", info["version"]
    own = f"pkg:generic/{name}@{version}"
    needed = [
        *(_needed(f"pkg:generic/{each}", each, wanted) for each, wanted in sorted(info["dependencies"].items())),
        *(_needed(f"pkg:pypi/{each}", each, wanted) for each, wanted in map(_requirement, sorted(python))),
    ]
    parts = [_file(each) for each in sorted(files["files"], key=lambda each: each["name"]) if each["ftype"] == "file"]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, own + '#' + digest)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": own,
                "name": name,
                "version": version,
                "purl": own,
                "licenses": LICENSE,
                "hashes": [_sha256(digest)],
                "externalReferences": [{"type": "vcs", "url": info["repository"]}],
            }
        },
        "components": [*needed, *parts],
        "dependencies": [{"ref": own, "dependsOn": [each["bom-ref"] for each in needed]}],
    }


def _requirement(line: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)(.*)", line.strip())
    if match is None:
        raise ValueError(f"{line!r} is no requirement of a Python package")
    return match[1].lower(), match[2]


def _needed(purl: str, name: str, wanted: str) -> dict[str, Any]:
    """Something that is not in the tarball: which version is used is the user's."""
    properties = [{"name": "aws_ha:required", "value": wanted or "*"}]
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "purl": purl,
        "scope": "required",
        "properties": properties,
    }


def _file(entry: Mapping[str, Any]) -> dict[str, Any]:
    ref = "file:" + entry["name"]
    return {"type": "file", "bom-ref": ref, "name": entry["name"], "hashes": [_sha256(entry["chksum_sha256"])]}


def _sha256(digest: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest}
