"""Run a model on images in a plain loop of one process; nothing of this project.

PYTHON tests/benchmarks/bare_predict.py MODEL ARCHIVE OUTPUT

Threads decode images, one per core, while the main thread runs the model on batches of
64. Preprocessing is that of MobileNet: shorter side of 256 pixels, central square of
224, values from -1 to 1. ARCHIVE is the official tar of class tars.
"""

import io
import itertools
import os
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from PIL import Image

BATCH, RESIZE_PX, CROP_PX = 64, 256, 224


def _read(archive):
    """Yield the name and the bytes of every image."""
    with tarfile.open(archive) as whole:
        for member in whole:
            with tarfile.open(fileobj=whole.extractfile(member)) as images:
                for image in images:
                    yield image.name, images.extractfile(image).read()


def _preprocess(named):
    """Decode, resize, crop; return the name and pixels, shape (224, 224, 3)."""
    name, data = named
    image = Image.open(io.BytesIO(data))
    scale = RESIZE_PX / min(image.size)
    size = tuple(round(length * scale) for length in image.size)
    image.draft("RGB", size)
    image = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    left, top = ((length - CROP_PX) // 2 for length in size)
    return name, np.asarray(image.crop((left, top, left + CROP_PX, top + CROP_PX)))


def _load(path):
    """Return a function from pixels to probabilities, both with one row per image."""
    if path.endswith(".onnx"):
        import onnxruntime

        session = onnxruntime.InferenceSession(path)
        name = session.get_inputs()[0].name
        return lambda pixels: session.run(None, {name: pixels})[0]
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras

    model = keras.models.load_model(path, compile=False)
    return model.predict_on_batch


def main(path, archive, output):
    """Write the five likeliest classes of every image and their probabilities."""
    run = _load(path)
    names, top, likeliest = [], [], []
    images = _read(archive)
    with ThreadPoolExecutor() as pool:
        waiting = []
        while True:
            # Decode the next batch while the model runs on this one.
            started = [
                pool.submit(_preprocess, image)
                for image in itertools.islice(images, BATCH)
            ]
            if waiting:
                done, pixels = zip(*(w.result() for w in waiting), strict=True)
                outputs = run(np.stack(pixels).astype(np.float32) / 127.5 - 1)
                names += done
                top.append(np.argsort(-outputs, axis=1)[:, :5])
                likeliest.append(np.take_along_axis(outputs, top[-1], axis=1))
            if not (waiting := started):
                break
    np.savez(
        output, keys=names, top=np.concatenate(top), probs=np.concatenate(likeliest)
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
