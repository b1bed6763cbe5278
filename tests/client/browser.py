"""Pages through Debian's Chromium with scripts off: a person signs up, writes, follows, reads; and every page is drawn
at phone and desktop width, light and dark.

`--pictures DIR` keeps the screenshots. Chromium comes from the machine, playwright-core from the lock file beside.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

from node import ROOT, Node

HERE = ROOT / "tests" / "client" / "browser"


def chromium() -> str:
    """The browser of this machine, installed if it is missing and we may."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    if os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium", "fonts-dejavu-core"],
                       check=True, stdout=subprocess.DEVNULL)
        return chromium()
    raise SystemExit("Chromium is missing (Debian: apt-get install chromium)")


def driver() -> pathlib.Path:
    """The test with its one package, in the target directory: the checkout stays as it is."""
    place = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "client-browser"
    place.mkdir(parents=True, exist_ok=True)
    for file in HERE.iterdir():
        if file.is_file():
            shutil.copy(file, place)
    if not shutil.which("npm"):
        raise SystemExit("Node.js with npm is missing (Debian: apt-get install nodejs npm)")
    subprocess.run(["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=place, check=True)
    return place / "pages.mjs"


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__)
    flags.add_argument("--pictures", type=pathlib.Path, default=None, help="where screenshots are kept")
    pictures = flags.parse_args().pictures
    browser, test = chromium(), driver()
    with tempfile.TemporaryDirectory() as folder:
        pictures = (pictures or pathlib.Path(folder) / "pictures").resolve()
        pictures.mkdir(parents=True, exist_ok=True)
        node = Node(pathlib.Path(folder) / "data")
        try:
            node.account("bob")
            app = json.loads(node.cli("app", "create", "--name", "Tusk & Co", "--json"))
            second = node.url.replace("localhost", "second.localhost").replace("127.0.0.1", "second.localhost")
            node.cli("server", "create", "second.localhost", "--public-url", second, "--registration", "open",
                     "--name", "The second house", "--description", "For people who grow vegetables, and for those who eat them.",
                     "--rule", "Be kind. Say what you mean, and mean no harm.", "--rule", "Mark what is made by a machine.")
            asked = {"url": node.url, "second": second, "pictures": str(pictures), "browser": browser, "app": app["app"]["clientId"]}
            subprocess.run(["node", str(test), json.dumps(asked)], check=True, timeout=240)
        except BaseException:
            print(open(node.log.name, errors="replace").read()[-3000:])
            raise
        finally:
            code = node.stop()
    assert code == 0, f"the stop exited with {code}"


if __name__ == "__main__":
    main()
