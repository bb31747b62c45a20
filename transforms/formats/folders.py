"""Write one folder per group, for torchvision, Keras and other folder readers.

Every group has a folder in every split, even without images. These readers derive
labels from the positions of the existing folders, so a missing folder would silently
shift all later labels. Keras treats an empty folder as a class without images;
torchvision raises an error unless `allow_empty=True`. timm ignores empty folders, and
reads the labels from `class_map.txt` instead. Buckets cannot contain empty folders.

Source: torchvision's datasets/folder.py; timm's reader_image_folder.py, class_map.py.
"""

from transforms import storage
from transforms.formats import Dataset, ShardPlace, WrittenShard
from transforms.records import ImageLocation, Record, WrittenFile

IMAGE_FILES = "folders/*.JPEG"
CLASS_MAP = "folders/class_map.txt"
GROUP_FOLDERS = "folders/*/*"
_SPLIT_OF_FOLDER = {"val": "validation"}


def split_folder(split: str) -> str:
    """Return the folder of a split, which is folders/val for the validation split."""
    return f"folders/{'val' if split == 'validation' else split}"


def image_path(split: str, folder: str, file_name: str) -> str:
    """Return the path of an image, relative to the dataset's folder."""
    return f"{split_folder(split)}/{folder}/{file_name}"


def find_split(path: str) -> str | None:
    """Return the split of the images in a file; None if it is not of this format."""
    top, *folders = path.split("/")
    if top != "folders" or len(folders) < 2:
        return None
    return _SPLIT_OF_FOLDER.get(folders[0], folders[0])


class ShardWriter:
    """Write the images of one shard, each into its group's folder."""

    def __init__(self, place: ShardPlace) -> None:
        self._root = place.root
        self._split = place.shard.split
        self._folders = place.folders
        self._written: list[WrittenFile] = []
        self._locations: list[ImageLocation] = []

    def add(self, record: Record) -> None:
        """Write an image to its group's folder."""
        folder = self._folders[record.label]
        path = image_path(self._split, folder, record.file_name)
        self._written.append(storage.write(self._root, path, record.image))
        self._locations.append(ImageLocation(path, 0, len(record.image)))

    def close(self) -> WrittenShard:
        """Create missing group folders; return the files and image locations."""
        for folder in self._folders:
            storage.make_folder(f"{self._root}/{split_folder(self._split)}/{folder}")
        return WrittenShard(tuple(self._written), tuple(self._locations))

    def discard(self) -> None:
        """Do nothing: the commit removes the images of an unfinished shard.

        Images have their final paths at once. Another attempt at the shard may have
        finished meanwhile, and its part lists the same paths.
        """


def sidecars(dataset: Dataset) -> dict[str, bytes]:
    """Return `class_map.txt`, which lists the group folders in label order."""
    return {CLASS_MAP: "".join(f"{x.folder}\n" for x in dataset.labels).encode()}


def loading_snippet(directory: str, split: str) -> str:
    """Return Python code that loads a batch of images."""
    return f"""\
from keras.utils import image_dataset_from_directory  # pip install tensorflow
images = image_dataset_from_directory(
    "{directory}/{split_folder(split)}", image_size=(224, 224))
batch, labels = next(iter(images))"""


def how_to_load(dataset: Dataset) -> str:
    """Return the card's section on this format; assume the last split is validation."""
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
