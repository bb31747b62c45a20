"""JPEG files of kinds that Pillow cannot write, and headers of other formats."""

import base64

from tests import making

COLOUR = (200, 40, 30)  # of all pixels

# 8x8 pixels each. Written by libjpeg-turbo 3.1 (lossless) and `jpegtran -arithmetic`.
LOSSLESS = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/8MAEQgACAAIA1IRAEcRAEIRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAAH/9oA"
    "DANSAEcAQgABAACkSeOgAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAD/2Q=="
)
ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4n"
    "ICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIy"
    "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/yQARCAAIAAgDASIAAhEBAxEB/8wACgAQEAUBEBEF"
    "/9oADAMBAAIRAxEAPwD/AHU65L32qP/Z"
)
PROGRESSIVE_ARITHMETIC = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4n"
    "ICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4zNDL/2wBDAQkJCQwLDBgNDRgyIRwhMjIyMjIyMjIyMjIyMjIyMjIy"
    "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjL/ygARCAAIAAgDASIAAhEBAxEB/8wABgAQARD/2gAM"
    "AwEAAhADEAAAAf7qMBGFUP/MAAQQBf/aAAgBAQABBQLA/8wABBEF/9oACAEDAQE/AcD/zAAEEQX/2gAIAQIB"
    "AT8BwP/MAAQQBf/aAAgBAQAGPwLA/8wABBAF/9oACAEBAAE/IcD/2gAMAwEAAgADAAAAEPb/zAAEEQX/2gAI"
    "AQMBAT8QwP/MAAQRBf/aAAgBAgEBPxDA/8wABBAF/9oACAEBAAE/EMD/2Q=="
)


def change_frame(
    *, marker: int = 0xC0, bits: int = 8, height: int | None = None
) -> bytes:
    """Make a JPEG and change its start of frame."""
    data = bytearray(making.jpeg_bytes())
    start = data.index(b"\xff\xc0")
    data[start + 1], data[start + 4] = marker, bits
    if height is not None:
        data[start + 5 : start + 7] = height.to_bytes(2)
    return bytes(data)
