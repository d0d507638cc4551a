"""Files that are no picture for this package, recognized by their first bytes.

Each comes with a sentence that says what the file is and how to go on.
"""

from __future__ import annotations

import re

HEAD = 4096
"""Number of bytes at the start of a file that are searched."""

_RAW = "a camera raw file ({}): develop it with a raw converter and save a 16-bit TIFF"
_VIDEO = "a video ({}): extract its frames as pictures, for example with ffmpeg"
_ARCHIVE = "an archive ({}): unpack it first"
_CONVERT = "in the format {}: convert it to PNG or TIFF first"
_POSTSCRIPT = "a PostScript file, which is a program: render it to PNG first, for example with Ghostscript"
_ARRAYS = "in the format {}: save its array as .npy, uint8 or uint16"

_SIGNATURES: tuple[tuple[int, bytes | tuple[bytes, ...], str], ...] = (
    (0, (b"%!", b"\x04%!", b"\xc5\xd0\xd3\xc6"), _POSTSCRIPT),
    (0, (b"\xd7\xcd\xc6\x9a", b"\x01\0\x09\0\0\x03"), _CONVERT.format("Windows Metafile (WMF)")),
    (40, b" EMF", _CONVERT.format("Enhanced Metafile (EMF)")),
    (8, b"CR\x02", _RAW.format("Canon CR2")),
    (6, b"HEAPCCDR", _RAW.format("Canon CRW")),
    (8, b"crx ", _RAW.format("Canon CR3")),
    (0, b"FUJIFILMCCD-RAW", _RAW.format("Fujifilm RAF")),
    (0, (b"IIRO", b"IIRS", b"MMOR"), _RAW.format("Olympus ORF")),
    (0, b"IIU\0", _RAW.format("Panasonic RW2")),
    (0, b"FOVb", _RAW.format("Sigma X3F")),
    (0, b"\0MRM", _RAW.format("Minolta MRW")),
    (8, b"IIII", _RAW.format("Phase One IIQ")),
    (0, b"ARRI", _RAW.format("ARRIRAW")),
    (0, b"MM\0+", "a big-endian BigTIFF file: store it as a little-endian one, or as a TIFF below 4 GB"),
    (0, b"8BPS\0\x02", _CONVERT.format("Photoshop large document (PSB)")),
    (0, b"\xff\x0a", _CONVERT.format("JPEG XL")),
    (4, b"JXL \x0d\x0a", _CONVERT.format("JPEG XL")),
    (0, b"\xff\xd8\xff\xf7", _CONVERT.format("JPEG-LS")),
    (0, b"\xff\xd8\xff\xe8\0\x20SPIFF\0", _CONVERT.format("SPIFF, such as JPEG-LS")),
    (12, b"CgBI", _CONVERT.format("CgBI, PNG optimized for iOS")),
    (0, b"II\xbc\x01", _CONVERT.format("JPEG XR")),
    (0, b"\x97JB2", _CONVERT.format("JBIG2")),
    (0, b"BPG\xfb", _CONVERT.format("BPG")),
    (0, b"FLIF", _CONVERT.format("FLIF")),
    (0, b"\x8aMNG", _CONVERT.format("MNG")),
    (0, b"\x8bJNG", _CONVERT.format("JNG")),
    (0, b"gimp xcf", _CONVERT.format("GIMP (XCF)")),
    (0, b"AT&TFORM", _CONVERT.format("DjVu")),
    (0, b"\xabKTX", _CONVERT.format("KTX texture")),
    (0, (b"SDPX", b"XPDS"), _CONVERT.format("DPX")),
    (0, b"\x80\x2a\x5f\xd7", _CONVERT.format("Cineon")),
    (0, b"P7 332", "a thumbnail of XV: use the picture that it was made from"),
    (0, b"P7\n", "a PAM file: convert it to PNG, .ppm or .npy first"),
    (0, (b"PF\n", b"Pf\n"),
     "a PFM file with floating-point samples: scale them to uint16 and save a PNG or .npy"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR file with floating-point samples: scale them to 16 bits first"),
    (0, (b"#?RADIANCE", b"#?RGBE"),
     "a Radiance HDR file with floating-point samples: scale them to 16 bits first"),
    (2048, b"PCD_", _CONVERT.format("Photo CD")),
    (0, b"PCD_OPA", _CONVERT.format("Photo CD")),
    (128, b"DICM", _ARRAYS.format("DICOM")),
    (344, (b"n+1\0", b"ni1\0"), _ARRAYS.format("NIfTI")),
    (4, b"n+2\0", _ARRAYS.format("NIfTI")),
    (0, b"NRRD", _ARRAYS.format("NRRD")),
    (208, b"MAP ", _ARRAYS.format("MRC")),
    (0, b"ZISRAWFILE", _ARRAYS.format("CZI")),
    (0, b"\xda\xce\xbe\x0a", _ARRAYS.format("ND2")),
    (0, b"\x89HDF\r\n", _ARRAYS.format("HDF5")),
    (0, b"\x0e\x03\x13\x01", _ARRAYS.format("HDF4")),
    (0, (b"CDF\x01", b"CDF\x02"), _ARRAYS.format("NetCDF")),
    (0, b"GRIB", _ARRAYS.format("GRIB")),
    (0, b"BUFR", _ARRAYS.format("BUFR")),
    (0, b"PAR1", "a Parquet file: give the folder of the dataset to `codec dataset`"),
    (0, b"\x1a\x45\xdf\xa3", _VIDEO.format("Matroska or WebM")),
    (8, b"AVI ", _VIDEO.format("AVI")),
    (0, (b"\0\0\x01\xba", b"\0\0\x01\xb3"), _VIDEO.format("MPEG")),
    (0, b"FLV\x01", _VIDEO.format("Flash")),
    (0, b"OggS", _VIDEO.format("Ogg")),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _VIDEO.format("Windows Media")),
    (0, b"PK\x03\x04", _ARCHIVE.format("zip, .npz or an office document")),
    (0, b"\x1f\x8b\x08", _ARCHIVE.format("gzip")),
    (0, b"BZh", _ARCHIVE.format("bzip2")),
    (0, b"\xfd7zXZ\0", _ARCHIVE.format("xz")),
    (0, b"\x28\xb5\x2f\xfd", _ARCHIVE.format("zstd")),
    (0, b"7z\xbc\xaf\x27\x1c", _ARCHIVE.format("7z")),
    (0, b"Rar!", _ARCHIVE.format("RAR")),
    (257, b"ustar", _ARCHIVE.format("tar")),
    (0, b"\xd0\xcf\x11\xe0", _CONVERT.format("OLE (FlashPix, MIC or an office document)")),
    (0, b"\0\x05\x16\x07", "the metadata that macOS stores beside a picture (AppleDouble), not the picture"),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the picture: run `git lfs pull`"),
)

_VIDEO_BRANDS = re.compile(rb"isom|iso[2-9]|mp4[12]|avc1|qt  |M4V|M4A|3g[p2]|dash|mmp4|MSNV|XAVC|f4v|mjp2")
_HEIF_BRANDS = {
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1", b"j2ki", b"jpeg",
    b"unif",
}


def refusal(head: bytes) -> str | None:
    """Return why a file that begins with `head` is refused, or None for a possible picture."""
    if not head:
        return "the file is empty"
    for offset, signatures, text in _SIGNATURES:
        if head.startswith(signatures, offset):
            return f"the file is {text}"
    if b"%PDF-" in head[:1024]:
        return "the file is a PDF document: render its pages to PNG first, or extract its pictures"
    if re.search(rb"<svg[\s>]", head) and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "the file is a drawing in SVG: render it to PNG first"
    if re.match(rb"\s*<(!doctype )?html", head, re.IGNORECASE):
        return "the file is a web page, not a picture"
    if head[4:8] == b"ftyp" and _VIDEO_BRANDS.match(head, 8) and not is_heif(head) and not _is_avif(head):
        return f"the file is {_VIDEO.format('MP4 or QuickTime')}"
    return None


def is_heif(head: bytes) -> bool:
    """Whether a file is HEIC or HEIF. AVIF is a kind of HEIF that is read otherwise."""
    return not _is_avif(head) and bool(_brands(head) & _HEIF_BRANDS)


def _is_avif(head: bytes) -> bool:
    return bool(_brands(head) & {b"avif", b"avis"})


def _brands(head: bytes) -> set[bytes]:
    if head[4:8] != b"ftyp":
        return set()
    end = min(int.from_bytes(head[:4], "big"), 512)
    return {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
