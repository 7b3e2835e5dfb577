"""Real sizes of picture and video files. Pillow and PyAV are imported only when a file is given."""

from __future__ import annotations

import warnings
from pathlib import Path

from simulator.spec.source import SpecError
from simulator.spec.validated import shown

_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)
_CODECS = {"JPEG": "jpeg", "MPO": "jpeg", "PNG": "png", "WEBP": "webp", "BMP": "raw", "PPM": "raw"}


def picture_size(file: str) -> tuple[int, int, str]:
    """Width and height [pixel] as displayed (EXIF orientation honoured), and the codec.

    The file is also decoded once, to notice what is cut off (JPEG at one eighth of the scale, which is quick).
    Raises SpecError, one line, for what is missing, no picture, truncated or absurdly large.
    """
    path = _existing(file, "image")
    import PIL.Image
    from PIL import ImageFile, UnidentifiedImageError

    strict = ImageFile.LOAD_TRUNCATED_IMAGES
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            with PIL.Image.open(path) as picture:
                width, height = picture.size
                codec = _CODECS.get(picture.format or "", "other")
                turned = picture.getexif().get(_ORIENTATION, 1) in _TURNED
                picture.draft("L", (max(width // 8, 1), max(height // 8, 1)))
                picture.load()
    except UnidentifiedImageError:
        raise SpecError(f"image {file!r}: not a picture that Pillow can read; give WIDTHxHEIGHT instead") from None
    except PIL.Image.DecompressionBombError:
        limit = 2 * (PIL.Image.MAX_IMAGE_PIXELS or 0)
        raise SpecError(f"image {file!r}: more than {limit} pixels; give WIDTHxHEIGHT instead") from None
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, MemoryError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise SpecError(f"image {file!r}: unreadable or truncated ({reason})") from None
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = strict
    return (height, width, codec) if turned else (width, height, codec)


def video_size(file: str) -> tuple[int, int, float, float]:
    """Width, height [pixel], duration [s] and frame rate [1/s] of a video file, read by PyAV where it is installed."""
    path = _existing(file, "video")
    try:
        import av  # pyright: ignore[reportMissingImports]
        from av.error import FFmpegError  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise SpecError(
            f"video {file!r}: reading it needs PyAV (pip install av); or give FRAMESxWIDTHxHEIGHT"
        ) from None
    try:
        with av.open(str(path)) as container:
            streams = container.streams.video
            if not streams:
                raise SpecError(f"video {file!r}: holds no video stream; give FRAMESxWIDTHxHEIGHT")
            stream = streams[0]
            width, height = int(stream.codec_context.width), int(stream.codec_context.height)
            fps = float(stream.average_rate or 0.0)
            duration = _duration(stream.duration, stream.time_base, container.duration, stream.frames, fps)
    except (OSError, ValueError, FFmpegError) as error:
        if isinstance(error, SpecError):
            raise
        reason = " ".join(str(error).split())
        raise SpecError(f"video {file!r}: unreadable ({reason}); give FRAMESxWIDTHxHEIGHT instead") from None
    if width < 1 or height < 1 or fps <= 0.0 or duration <= 0.0:
        raise SpecError(f"video {file!r}: states no size, frame rate or duration; give FRAMESxWIDTHxHEIGHT instead")
    return width, height, duration, fps


def _duration(ticks: int | None, base: object, container: int | None, frames: int, fps: float) -> float:
    """Seconds, from the stream's own clock, else its frame count, else the container's microseconds."""
    if ticks and base is not None:
        return float(ticks * base)  # pyright: ignore
    if frames and fps:
        return frames / fps
    return (container or 0) / 1e6


def is_file(name: str) -> bool:
    """Whether there is a file of that name; False for what cannot be a name."""
    try:
        return Path(name).is_file()
    except (OSError, ValueError):
        return False


def _existing(file: str, what: str) -> Path:
    if not is_file(file):
        raise SpecError(f"{what} {shown(file)}: no such file")
    return Path(file)
