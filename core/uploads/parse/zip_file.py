"""Zips of images in a folder a class: PNG and JPEG, of one size and one mode."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from core.uploads.contents import MOST_CATEGORIES, Column, Contents, RefusedFile, quoted
from core.uploads.layout import Tensor, write_stored
from core.uploads.parse.zipped import Archive, refuse_expansion

MOST_PIXELS: Final = 2**24
MOST_IMAGE_BYTES: Final = 64 * 2**20
_MODES: Final = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}
"""Modes of pixels, and how many channels each has."""
_JUNK: Final = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
_FORMATS: Final = ("PNG", "JPEG")
_ENDINGS: Final = (".png", ".jpg", ".jpeg")


def store_images(path: Path, target: Path) -> Contents:
    """Check a zip of images and write their pixels at `target`, in the order of their names.

    Raises:
        RefusedFile: the file breaks a rule.
    """
    with closing(Archive(path)) as archive:
        return _store(archive, target)


def _store(archive: Archive, target: Path) -> Contents:
    files = sorted((f for f in archive.files if not _is_junk(f.filename)), key=lambda f: f.filename)
    if not files:
        raise RefusedFile(
            "no_rows", "The zip has no images. Put some into a folder a class, such as cats/1.png."
        )
    classes = _classes(files)
    names = tuple(sorted(set(classes)))
    if len(names) > MOST_CATEGORIES:
        raise RefusedFile(
            "too_many_categories",
            f"The zip has {len(names):,} folders of images, and there are at most"
            f" {MOST_CATEGORIES:,} classes.",
        )
    place = {name: i for i, name in enumerate(names)}
    codes = np.array([place[name] for name in classes], np.int16)
    first = _pixels(archive, files[0])
    shape = (first.shape[2], *first.shape[:2])

    refuse_expansion(archive.num_bytes, len(files) * first.size)

    def pixels() -> Iterator[NDArray[Any]]:
        for info in files:
            found = _pixels(archive, info)
            _refuse_unlike(found, first, info.filename, files[0].filename)
            yield found.transpose(2, 0, 1)

    contents = Contents(
        "images",
        len(files),
        (Column("image", "integer", shape), Column("class", "category", categories=names)),
        0,
    )
    tensors = [
        Tensor("0", np.dtype(np.uint8), (len(files), *shape), pixels),
        Tensor("1", codes.dtype, codes.shape, lambda: [codes]),
    ]
    return write_stored(target, contents, tensors)


def _is_junk(name: str) -> bool:
    """Tell whether an entry is what systems add to folders by themselves."""
    parts = name.split("/")
    return parts[0] == "__MACOSX" or parts[-1] in _JUNK


def _classes(files: list[zipfile.ZipInfo]) -> list[str]:
    """Return each image's class: the folder that it lies in; one folder around all is fine.

    Raises:
        RefusedFile: an image lies in no such folder; where a file of another ending is among them,
            it is that one that is named, since it may be what keeps a folder from being around all.
    """
    paths = [info.filename.split("/") for info in files]
    if all(len(parts) == 3 for parts in paths) and len({parts[0] for parts in paths}) == 1:
        paths = [parts[1:] for parts in paths]
    for info, parts in zip(files, paths, strict=True):
        if len(parts) != 2:
            _refuse_stray(files)
            raise RefusedFile(
                "no_classes",
                f"Entry {quoted(info.filename)} does not lie in a folder that names its class. Put"
                " every image into one, such as cats/1.png, and no folders"
                f" within{_parted(paths)}.",
                entry=info.filename,
            )
    return [parts[0] for parts in paths]


def _refuse_stray(files: list[zipfile.ZipInfo]) -> None:
    """Refuse a file that has not the ending of an image, among others that have it."""
    strays = [info.filename for info in files if not info.filename.lower().endswith(_ENDINGS)]
    if strays and len(strays) < len(files):
        raise RefusedFile(
            "not_an_image",
            f"Entry {quoted(strays[0])} is no PNG or JPEG image. Leave it out: a class is the name"
            " of the folder that its images lie in, and lists of labels are not read.",
            entry=strays[0],
        )


def _parted(paths: list[list[str]]) -> str:
    """Return what else to do where classes lie in several folders, as in train/ and test/."""
    outer = sorted({parts[0] for parts in paths})
    if any(len(parts) != 3 for parts in paths):
        return ""
    named = " and ".join(quoted(name) for name in outer[:2])
    return f"; or send the folders around the classes ({named}) as files of their own"


def _pixels(archive: Archive, info: zipfile.ZipInfo) -> NDArray[np.uint8]:
    """Return an image's pixels: height, width, channels."""
    name = info.filename
    data = archive.read(info, MOST_IMAGE_BYTES)
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise RefusedFile(
            "not_an_image",
            f"Entry {quoted(name)} is no PNG or JPEG image. Convert it, or leave it out.",
            entry=name,
        ) from None
    except Image.DecompressionBombError:  # the library's limit, which is above this one
        raise _too_large(name, "too many pixels") from None
    except (OSError, ValueError, SyntaxError) as error:
        raise _damaged(name, error) from None
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(name, f"{image.width} × {image.height} pixels")
    if image.format == "PNG" and b"IEND" not in data[-64:]:
        raise _damaged(name, "it ends too early")
    _refuse_mode(image, name)
    try:
        plain = ImageOps.exif_transpose(_plain(image))
    except (OSError, ValueError, SyntaxError, EOFError, IndexError) as error:
        raise _damaged(name, error) from None
    return np.asarray(plain, np.uint8).reshape(plain.height, plain.width, -1)


def _plain(image: Image.Image) -> Image.Image:
    """Return the image in one of `_MODES`: colours for a palette, 0 and 255 for single bits."""
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode == "1":
        return image.convert("L")
    image.load()
    return image


def _refuse_mode(image: Image.Image, name: str) -> None:
    ways = {
        "CMYK": "Convert it to RGB",
        "I;16": "Save it with 8 bits a channel",
        "I;16B": "Save it with 8 bits a channel",
        "I": "Save it with 8 bits a channel",
        "F": "Save it with 8 bits a channel",
    }
    animated = getattr(image, "n_frames", 1) > 1 and image.format == "PNG"
    if animated or image.mode not in {*_MODES, "P", "1"}:
        what = "animated" if animated else f"of the mode {image.mode}"
        way = "Save one frame" if animated else ways.get(image.mode, "Convert it to RGB")
        raise RefusedFile(
            "unsupported_mode",
            f"Entry {quoted(name)} is {what}; images are grey or RGB with 8 bits, with or without"
            f" transparency. {way}.",
            entry=name,
        )


def _refuse_unlike(
    found: NDArray[np.uint8], first: NDArray[np.uint8], name: str, first_name: str
) -> None:
    if found.shape == first.shape:
        return
    modes = {channels: mode for mode, channels in _MODES.items()}
    raise RefusedFile(
        "unlike_images",
        f"Entry {quoted(name)} has {_size(found)} pixels in {modes[found.shape[2]]}, and"
        f" {quoted(first_name)} has {_size(first)} in {modes[first.shape[2]]}. Bring all images to"
        " one size and one mode.",
        entry=name,
    )


def _size(pixels: NDArray[np.uint8]) -> str:
    return f"{pixels.shape[1]} × {pixels.shape[0]}"


def _too_large(name: str, size: str) -> RefusedFile:
    return RefusedFile(
        "image_too_large",
        f"Entry {quoted(name)} has {size}, and at most {MOST_PIXELS:,} are read. Make the image"
        " smaller.",
        entry=name,
    )


def _damaged(name: str, error: object) -> RefusedFile:
    return RefusedFile(
        "cannot_be_read",
        f"Entry {quoted(name)} cannot be decoded: {error}. It may be cut; save it again.",
        entry=name,
    )
