"""A folder a group, for torchvision, keras and whatever else reads folders of images.

Every group gets its folder in every split, with or without images: these readers number
the folders that they see, so that a missing one would shift all labels after it without
a word. An empty one is a class without images to keras, and an error that says so to
torchvision, unless it is told `allow_empty=True`. timm numbers only the folders that
hold images: `class_map.txt` tells it the labels. (A bucket has no empty folders.)
Source: torchvision's datasets/folder.py; timm's reader_image_folder.py, class_map.py.
"""

from transforms import storage
from transforms.formats import Dataset, ShardPlace
from transforms.records import ImageLocation, Record, WrittenFile

CLASS_MAP = "folders/class_map.txt"
GROUP_FOLDERS = "folders/*/*"
_SPLIT_OF_FOLDER = {"val": "validation"}


def split_folder(split: str) -> str:
    """Return a split's folder; these readers say val where others say validation."""
    return f"folders/{'val' if split == 'validation' else split}"


def image_path(split: str, folder: str, file_name: str) -> str:
    """Return the file of an image, relative to the dataset's directory."""
    return f"{split_folder(split)}/{folder}/{file_name}"


def find_split(path: str) -> str | None:
    """Return the split whose images a file holds; None if it holds none."""
    top, *folders = path.split("/")
    if top != "folders" or len(folders) < 2:
        return None
    return _SPLIT_OF_FOLDER.get(folders[0], folders[0])


class ShardWriter:
    """Write the images of one shard, each to its group's folder."""

    def __init__(self, place: ShardPlace) -> None:
        self._root = place.root
        self._split = place.shard.split
        self._folders = place.folders
        self._written: list[WrittenFile] = []
        self._closed = False

    def add(self, record: Record) -> ImageLocation:
        """Write an image; return where it lies."""
        folder = self._folders[record.label]
        path = image_path(self._split, folder, record.file_name)
        self._written.append(storage.write(self._root, path, record.image))
        return ImageLocation(path, 0, len(record.image))

    def close(self) -> tuple[WrittenFile, ...]:
        """Make the folders of groups without images, and keep what was written."""
        for folder in self._folders:
            storage.make_folder(f"{self._root}/{split_folder(self._split)}/{folder}")
        self._closed = True
        return tuple(self._written)

    def discard(self) -> None:
        """Remove what was written; harmless after `close`."""
        if not self._closed:
            for file in self._written:
                storage.remove_file(f"{self._root}/{file.path}")


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Make the list of the groups' folders, a line each in the order of the labels."""
    return {CLASS_MAP: "".join(f"{x.folder}\n" for x in dataset.labels).encode()}


def loading_snippet(directory: str, split: str) -> str:
    """Return Python code that loads a batch of images."""
    return f"""\
from keras.utils import image_dataset_from_directory
images = image_dataset_from_directory(
    "{directory}/{split_folder(split)}", image_size=(224, 224))
batch, labels = next(iter(images))"""


def how_to_load(dataset: Dataset) -> str:
    """Write the card's part on this format; the split to validate on is the last."""
    train, validation = dataset.splits[0].name, dataset.splits[-1].name
    folder = f"{dataset.example_path}/{split_folder(train)}"
    return f"""\
torchvision (the folder of validation images is `folders/val`):

```python
from torchvision.datasets import ImageFolder

dataset = ImageFolder("{folder}")
```

keras (its labels are the same):

```python
import keras

dataset = keras.utils.image_dataset_from_directory("{folder}")
```

timm (without the class map, a group without images in a split shifts all labels):

```sh
python train.py --data-dir {dataset.example_path}/folders \\
  --num-classes {len(dataset.labels)} \\
  --class-map {dataset.example_path}/{CLASS_MAP} \\
  --train-split {train} --val-split {validation}
```
"""
