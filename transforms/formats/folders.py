"""A folder a group, for torchvision, keras and whatever else reads folders of images.

Every group gets its folder in every split, with or without images: these readers number
the folders that they see, so that a missing one would shift all labels after it without
a word. An empty one is a class without images to keras, and an error that says so to
torchvision, unless it is told `allow_empty=True`. timm numbers only the folders that
hold images: `class_map.txt` tells it the labels. (A bucket has no empty folders.)
Source: torchvision's datasets/folder.py; timm's reader_image_folder.py, class_map.py.
"""

from transforms import storage
from transforms.formats import Dataset, ShardPlace, WrittenShard
from transforms.records import ImageLocation, Record, WrittenFile

CLASS_MAP = "folders/class_map.txt"


def split_folder(split: str) -> str:
    """Return a split's folder; these readers say val where others say validation."""
    return f"folders/{'val' if split == 'validation' else split}"


class ShardWriter:
    """Write the images of one shard, each to its group's folder."""

    def __init__(self, place: ShardPlace) -> None:
        self._root = place.root
        self._split_folder = split_folder(place.shard.split)
        self._folders = place.folders
        self._written: list[WrittenFile] = []
        self._locations: list[ImageLocation] = []
        self._closed = False

    def add(self, record: Record) -> None:
        """Write an image."""
        path = f"{self._split_folder}/{self._folders[record.label]}/{record.file_name}"
        self._written.append(storage.write(self._root, path, record.image))
        self._locations.append(ImageLocation(path, 0, len(record.image)))

    def close(self) -> WrittenShard:
        """Create the folders of groups without images, and keep what was written."""
        for folder in self._folders:
            storage.make_folder(f"{self._root}/{self._split_folder}/{folder}")
        self._closed = True
        return WrittenShard(tuple(self._written), tuple(self._locations))

    def discard(self) -> None:
        """Remove what was written; does nothing after `close`."""
        if not self._closed:
            for file in self._written:
                storage.remove_file(f"{self._root}/{file.path}")


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Make the list of the groups' folders, a line each in the order of the labels."""
    return {CLASS_MAP: "".join(f"{x.folder}\n" for x in dataset.labels).encode()}


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
