"""Describe a dataset in Croissant 1.1, a JSON-LD vocabulary for machine learning.

Every format gets file objects or a file set, and, if mlcroissant can read it, a record
set with the fields of an image. Dates are left out, because the files of a dataset do
not depend on when it was built.

Source: https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from transforms import formats
from transforms.dataset import paths
from transforms.formats import CITATION, TERMS, Dataset
from transforms.records import JSON, WrittenFile, to_json

CONFORMS_TO = "http://mlcommons.org/croissant/1.1"
_CONTEXT: Mapping[str, JSON] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    **{
        name: f"cr:{name}"
        for name in (
            "arrayShape", "citeAs", "column", "containedIn", "equivalentProperty",
            "extract", "field", "fileProperty", "fileObject", "fileSet", "format",
            "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5",
            "parentField", "path", "recordSet", "references", "regex", "repeated",
            "replace", "samplingRate", "separator", "source", "subField", "transform",
        )
    },
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
}  # fmt: skip
_PARQUET = "application/x-parquet"
_MANIFEST = "manifest"
_STEM = "^([^./]+)"  # of a file's name; it matches a key too
_SPLIT = "^(.+)-[0-9]+-of-"
_TEXT, _INTEGER = "sc:Text", "sc:Integer"
_FIELDS: Mapping[str, tuple[str, str]] = {
    "key": (_TEXT, "Name of the image without a suffix, unique."),
    "image": ("sc:ImageObject", "The image."),
    "split": (_TEXT, "Split."),
    "label": (_INTEGER, "Group, from 0."),
    "fine_label": (_INTEGER, "Class among ImageNet's 1000, or -1."),
    "wnid": (_TEXT, "WordNet id of the class."),
}


def sidecars(dataset: Dataset, manifest: WrittenFile) -> dict[str, bytes]:
    """Return the contents of croissant.json, by path.

    Args:
      dataset: metadata of the dataset.
      manifest: the manifest, which has the labels of images in other files.
    """
    return {paths.CROISSANT: to_json(_describe(dataset, manifest))}


def _describe(dataset: Dataset, manifest: WrittenFile) -> JSON:
    files = [_file_object(_MANIFEST, manifest, _PARQUET)]
    record_sets = [_describe_labels(dataset)]
    for name in dataset.formats:
        files += _list_files(name, dataset)
        record_sets += _list_record_sets(name)
    return {
        "@context": dict(_CONTEXT),
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": dataset.name,
        "description": (
            f"A subset of ImageNet in {len(dataset.labels)} groups; subset id "
            f"{dataset.subset_id}."
        ),
        "version": dataset.version,
        "license": TERMS,
        "url": TERMS,
        "citeAs": CITATION,
        "creator": {"@type": "sc:Organization", "name": "ImageNet", "url": TERMS},
        "keywords": list(formats.TAGS),
        "distribution": files,
        "recordSet": record_sets,
    }


def _file_object(name: str, file: WrittenFile, encoding_format: str) -> dict[str, JSON]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": file.path.rpartition("/")[2],
        "contentUrl": file.path,
        "contentSize": f"{file.num_bytes} B",
        "encodingFormat": encoding_format,
        "sha256": file.sha256,
    }


def _list_files(name: str, dataset: Dataset) -> Iterator[dict[str, JSON]]:
    """Yield the file objects and the file set of a format."""
    module = formats.load(name)
    encoding_format = getattr(module, "ENCODING_FORMAT", "application/octet-stream")
    files = [
        file
        for split in dataset.splits
        for file in split.files.get(name, ())
        if formats.has_shard_files(name)
    ]
    for file in files:
        yield _file_object(file.path, file, encoding_format)
    column = getattr(module, "IMAGE_COLUMN", "")
    if column:
        includes: JSON = [file.path for file in files]
    else:
        includes = getattr(module, "IMAGE_FILES", "")
    if not includes:
        return
    file_set: dict[str, JSON] = {
        "@type": "cr:FileSet",
        "@id": f"{name}_files",
        "name": f"{name}_files",
        "encodingFormat": encoding_format if column else "image/jpeg",
        "includes": includes,
    }
    if files and not column:  # the images are in the shards
        file_set["containedIn"] = [{"@id": file.path} for file in files]
    yield file_set


def _list_record_sets(name: str) -> Iterator[dict[str, JSON]]:
    """Yield the record set of a format, if its images can be read."""
    module = formats.load(name)
    column = getattr(module, "IMAGE_COLUMN", "")
    if not column and not getattr(module, "IMAGE_FILES", ""):
        return
    images = {"fileSet": {"@id": f"{name}_files"}}
    stem = {"extract": {"fileProperty": "filename"}, "transform": {"regex": _STEM}}
    table = {"fileObject": {"@id": _MANIFEST}}
    sources: dict[str, Any] = {
        field: {**table, "extract": {"column": field}} for field in _FIELDS
    }
    sources["key"] = {**images, **stem}
    sources["image"] = {**images, "extract": {"fileProperty": "content"}}
    if column:
        sources = {f: {**images, "extract": {"column": f}} for f in _FIELDS}
        sources["key"] = {
            **images,
            "extract": {"column": "file_name"},
            "transform": {"regex": _STEM},
        }
        sources["image"] = {
            **images,
            "extract": {"column": column},
            "transform": {"jsonPath": "bytes"},
        }
        sources["split"] = {
            **images,
            "extract": {"fileProperty": "filename"},
            "transform": {"regex": _SPLIT},
        }
    fields = [
        _field(f"{name}/{field}", kind, text, source=sources[field])
        for field, (kind, text) in _FIELDS.items()
    ]
    if not column:
        fields[0]["references"] = {**table, "extract": {"column": "key"}}
    yield {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "key": {"@id": f"{name}/key"},
        "field": fields,
    }


def _field(
    identifier: str, data_type: str, description: str, **more: JSON
) -> dict[str, JSON]:
    return {
        "@type": "cr:Field",
        "@id": identifier,
        "name": identifier.rpartition("/")[2],
        "description": description,
        "dataType": data_type,
        **more,
    }


def _describe_labels(dataset: Dataset) -> dict[str, JSON]:
    """Return a record set that lists the groups, with their names and classes."""
    return {
        "@type": "cr:RecordSet",
        "@id": "labels",
        "name": "labels",
        "dataType": "sc:Enumeration",
        "key": {"@id": "labels/label"},
        "field": [
            _field("labels/label", _INTEGER, "Group, from 0."),
            _field("labels/name", _TEXT, "Name of the group."),
            _field("labels/wnids", _TEXT, "Classes.", repeated=True),
        ],
        "data": [
            {
                "labels/label": label.label,
                "labels/name": label.name,
                "labels/wnids": list(label.wnids),
            }
            for label in dataset.labels
        ],
    }
