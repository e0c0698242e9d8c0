"""Draws the sandbox's sample media: one small scene, the same at every size and frame rate.

Needs `ffmpeg` with libx264 and librsvg on the PATH (Debian: `apt-get install ffmpeg`; tried with
5.1) and some minutes: `python -m tests.sandbox.make_samples`. The same ffmpeg makes the same
bytes. The files are committed; nobody has to run this to build, test or use the package.

The scene is drawn anew for every file, not enlarged, so more pixels really show more detail and
more frames really move more smoothly: a "before and after" looks as it should. It lasts two
seconds and then starts over without a jump.
"""

import math
import subprocess
import tempfile
from pathlib import Path

SAMPLES = Path(__file__).parents[2] / "mcp_server" / "sandbox" / "samples"

SECONDS = 2
CLIPS = (  # width, height, frames per second, x264 quality (higher = smaller file)
    (640, 360, 24, 24),
    (640, 360, 30, 24),
    (640, 360, 60, 24),
    (1280, 720, 24, 26),
    (1280, 720, 30, 26),
    (1280, 720, 60, 26),
    (1920, 1080, 24, 27),
    (1920, 1080, 30, 33),
    (1920, 1080, 60, 33),
    (2560, 1440, 24, 31),
    (2560, 1440, 30, 34),
    (2560, 1440, 60, 34),
    (3840, 2160, 24, 29),
    (3840, 2160, 30, 36),
    (3840, 2160, 60, 36),
)
IMAGES = (  # file name without size, width, height, JPEG quality (higher = smaller file)
    ("image", 1280, 720, 4),
    ("image", 1920, 1080, 5),
    ("image", 2560, 1440, 6),
    ("image", 3840, 2160, 8),
    ("image", 7680, 4320, 14),
    ("thumbnail", 320, 180, 5),
)


def scene(width: int, height: int, seconds: float) -> str:
    """A windmill and a balloon after so many seconds, as an SVG of this size."""
    balloon_x = 1320 + 160 * math.cos(math.pi * seconds)
    balloon_y = 300 + 70 * math.sin(math.pi * seconds)
    turned = 45 * seconds  # degrees: the four sails look the same after each 90
    return f"""
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 1777.8 1000">
  <linearGradient id="sky" x1="0" y1="0" x2="0" y2="1">
    <stop offset="0" stop-color="#5c8ec4"/><stop offset="0.75" stop-color="#fcd6b2"/>
  </linearGradient>
  <rect width="1778" height="1000" fill="url(#sky)"/>
  <circle cx="300" cy="260" r="85" fill="#ffecbe"/>
  <path d="M0 690 Q 300 560 640 680 T 1240 670 T 1778 640 V1000 H0 Z" fill="#708c84"/>
  <g transform="translate({balloon_x:.3f} {balloon_y:.3f})">{balloon()}</g>
  <path d="M583 870 L598 400 H662 L693 870 Z" fill="#eee6da"/>
  <path d="M640 400 L662 400 L693 870 L651 870 Z" fill="#d8cbb8"/>
  <path d="M570 405 Q 625 290 682 405 Z" fill="#963e34"/>
  <rect x="612" y="520" width="26" height="42" rx="13" fill="#603e32"/>
  <rect x="612" y="640" width="26" height="42" rx="13" fill="#603e32"/>
  <path d="M0 800 Q 420 880 820 790 T 1778 840 V1000 H0 Z" fill="#3a5c4e"/>
  {fence()}
  <g transform="translate(625 385) rotate({turned + 20:.4f})">{"".join(map(sail, range(4)))}</g>
  <circle cx="625" cy="385" r="13" fill="#3c2622"/>
</svg>"""


def balloon() -> str:
    stripes = "".join(
        f'<ellipse rx="{radius}" ry="96" fill="{colour}"/>'
        for radius, colour in ((96, "#d6483e"), (72, "#f6e2c4"), (46, "#d6483e"), (18, "#f6e2c4"))
    )
    ropes = '<path d="M-52 80 L-18 132 M52 80 L18 132" stroke="#423c3e" stroke-width="3"/>'
    return f'{ropes}{stripes}<rect x="-20" y="130" width="40" height="28" rx="5" fill="#784a30"/>'


def fence() -> str:
    posts = "".join(f"M{x} 905 V955 " for x in range(20, 1778, 26))
    rails = "M0 918 H1778 M0 938 H1778"
    return f'<path d="{posts}{rails}" stroke="#cdbf9f" stroke-width="5" fill="none"/>'


def sail(quarter: int) -> str:
    """A spar and a lattice of thin bars: fine detail that a small picture cannot hold."""
    bars = "".join(f"M{x} 4 V48 " for x in range(52, 300, 12))
    rails = "M52 18 H292 M52 33 H292 M52 48 H292"
    return (
        f'<g transform="rotate({90 * quarter})" stroke="#54342c" fill="none">'
        f'<path d="M0 0 H300" stroke-width="11"/><path d="{bars}{rails}" stroke-width="3.5"/></g>'
    )


def ffmpeg(width: int, height: int, fps: int, frames: int, *output: str) -> None:
    """Draw the frames and hand them to ffmpeg."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(frames):
            drawing = scene(width, height, number / fps)
            Path(folder, f"{number:03}.svg").write_text(drawing, encoding="utf-8")
        source = ["-f", "image2", "-framerate", str(fps), "-i", f"{folder}/%03d.svg"]
        subprocess.run(["ffmpeg", "-v", "error", "-y", *source, *output], check=True)


def make_clip(width: int, height: int, fps: int, quality: int) -> Path:
    path = SAMPLES / f"clip-{width}x{height}-{fps}fps.mp4"
    picture = ["-vf", "scale=out_color_matrix=bt709:out_range=tv", "-pix_fmt", "yuv420p"]
    colours = ["-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    encoder = ["-c:v", "libx264", "-preset", "slower", "-tune", "animation", "-threads", "1"]
    quality_and_keys = ["-crf", str(quality), "-g", str(fps)]
    file = ["-movflags", "+faststart", "-bitexact", str(path)]
    ffmpeg(
        width, height, fps, fps * SECONDS, *picture, *colours, *encoder, *quality_and_keys, *file
    )
    return path


def make_image(name: str, width: int, height: int, quality: int) -> Path:
    path = SAMPLES / f"{name}-{width}x{height}.jpg"
    encoder = ["-frames:v", "1", "-pix_fmt", "yuvj420p", "-huffman", "optimal"]
    ffmpeg(width, height, 24, 1, *encoder, "-q:v", str(quality), "-bitexact", str(path))
    return path


def main() -> None:
    SAMPLES.mkdir(exist_ok=True)
    for old in SAMPLES.iterdir():
        old.unlink()
    made = [make_clip(*clip) for clip in CLIPS] + [make_image(*image) for image in IMAGES]
    for path in made:
        print(f"{path.stat().st_size:>9,} bytes  {path.name}")
    print(f"{sum(path.stat().st_size for path in made):>9,} bytes  in all")


if __name__ == "__main__":
    main()
