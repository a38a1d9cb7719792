# SPDX-License-Identifier: GPL-3.0-or-later
"""The list of parts of a release (tools/devtool/sbom.py)."""

from __future__ import annotations

import copy

import pytest

from devtool import console, dist, sbom

MANIFEST = {
    "collection_info": {
        "namespace": "aws_ha",
        "name": "egress",
        "version": "1.2.0",
        "repository": "https://github.com/aws-ha/egress",
        "dependencies": {"amazon.aws": ">=9.0.0", "ansible.posix": "*"},
    }
}
FILES = {
    "files": [
        {"name": ".", "ftype": "dir", "chksum_sha256": None},
        {"name": "README.md", "ftype": "file", "chksum_sha256": "bb"},
        {"name": "LICENSE", "ftype": "file", "chksum_sha256": "aa"},
    ]
}


def made(manifest=None, files=None, digest="ff", python=("boto3>=1.26", "botocore")):
    return sbom.document(manifest or MANIFEST, files or FILES, digest, list(python))


def test_each_file_is_listed_with_its_checksum():
    files = [each for each in made()["components"] if each["type"] == "file"]
    assert [(each["name"], each["hashes"][0]["content"]) for each in files] == [("LICENSE", "aa"), ("README.md", "bb")]


def test_what_it_needs_is_listed_with_the_versions_that_it_takes():
    needed = {
        each["purl"]: each["properties"][0]["value"] for each in made()["components"] if each["type"] == "library"
    }
    assert needed == {
        "pkg:generic/amazon.aws": ">=9.0.0",
        "pkg:generic/ansible.posix": "*",
        "pkg:pypi/boto3": ">=1.26",
        "pkg:pypi/botocore": "*",
    }
    [own] = made()["dependencies"]
    assert own == {"ref": "pkg:generic/aws_ha.egress@1.2.0", "dependsOn": list(needed)}


def test_references_are_unique_and_lead_somewhere():
    document = made()
    refs = [each["bom-ref"] for each in document["components"]]
    assert len(refs) == len(set(refs))
    assert set(document["dependencies"][0]["dependsOn"]) <= set(refs)


def test_the_same_tarball_has_the_same_list_and_another_one_another():
    assert made() == made(copy.deepcopy(MANIFEST), copy.deepcopy(FILES))
    assert made()["serialNumber"] != made(digest="fe")["serialNumber"]
    assert made()["metadata"]["component"]["hashes"] == [{"alg": "SHA-256", "content": "ff"}]


def test_a_requirement_that_is_none_is_named():
    with pytest.raises(ValueError, match="'>=1' is no requirement"):
        made(python=[">=1"])


@pytest.mark.parametrize("words", [[], ["1.0.0", "1.0.1"], ["0.0.0"]])
def test_a_release_of_another_version_is_not_made(words):
    with pytest.raises(console.Refusal, match="takes the version|galaxy.yml says"):
        dist.make(words)
    assert not dist.FOLDER.exists()
