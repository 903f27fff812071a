"""A clock that the test sets: libfaketime preloaded into the service, with its offset in a file that can be rewritten while
the service runs."""
import glob
import pathlib
import subprocess

from . import service


def library():
    found = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
    assert found, "libfaketime is not installed"
    return found[0]


class Clock:
    """`spec` is libfaketime's: "+0", "+3600", "@2030-01-05 23:59:30", each with an optional " x20" for speed."""

    def __init__(self, folder, spec="+0"):
        self.file = pathlib.Path(folder) / "faketime"
        self.set(spec)

    def set(self, spec):
        # libfaketime reads the file anew on every call, so it must never see half of it.
        aside = self.file.with_suffix(".new")
        aside.write_text(spec + "\n")
        aside.rename(self.file)

    def apply(self, env):
        preload = [library()]
        if service.is_sanitized():
            # The sanitizer insists on being the first library.
            name = "libtsan.so" if b"__tsan_init" in pathlib.Path(service.binary()).read_bytes() else "libasan.so"
            preload.insert(0, subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True,
                                             check=True).stdout.strip())
            # It would ask for the time inside its allocator's lock, and libfaketime allocates while it reads its file.
            for name in ("ASAN_OPTIONS", "TSAN_OPTIONS"):
                env[name] += ":allocator_release_to_os_interval_ms=-1"
        env.update(LD_PRELOAD=":".join(preload), FAKETIME_TIMESTAMP_FILE=str(self.file), FAKETIME_NO_CACHE="1")
