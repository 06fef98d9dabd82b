"""`python -m sagemaker_ssd.weights`: installs pre-trained weights for the program, and lists which are there."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_ssd.errors import JobError, UserError
from sagemaker_ssd.weights.sources import SOURCES, Source, find_source

if TYPE_CHECKING:
    from sagemaker_ssd.contract.weights import StoredWeights

# The other parts are imported where they are needed: `label` runs with nothing installed, before an image is built.


def main() -> int:
    """Do what the command line asks for; return the exit code."""
    options = _options()
    try:
        if options.command == "label":
            print("; ".join(_wanted(text).label for text in options.weights) or "none")
        elif options.command == "fetch":
            _fetch(find_source(options.base_network, options.source), options.output, options.file)
        elif options.command == "ensure":
            for text in options.weights:
                if not _is_installed(text):
                    _fetch(_wanted(text), None, None)
        else:
            _list()
    except (ValueError, JobError) as error:
        print(f"sagemaker_ssd.weights: {error}", file=sys.stderr)
        return 1
    return 0


def _wanted(text: str) -> Source:
    base_network, _, name = text.partition("=")
    return find_source(base_network, name or None)


def _installed(base_network: str) -> "StoredWeights | None":
    """Return a network's installed weights; None without any, and for damaged ones, which a line on stderr names."""
    from sagemaker_ssd.contract.weights import stored_weights

    try:
        stored = stored_weights(base_network)
        if stored is not None:
            stored.check()
    except UserError as error:
        print(f"sagemaker_ssd.weights: {error}", file=sys.stderr)
        return None
    return stored


def _is_of(stored: "StoredWeights | None", source: Source) -> bool:
    return stored is not None and stored.facts.get("checksum") == source.checksum


def _is_installed(text: str) -> bool:
    """Say whether NETWORK=SOURCE is installed already; for NETWORK alone any source will do."""
    source = _wanted(text)
    stored = _installed(source.base_network)
    return _is_of(stored, source) if "=" in text else stored is not None


def _fetch(source: Source, folder: Path | None, file: Path | None) -> None:
    if file is not None and file.is_dir():
        raise UserError(f"{file}: is a folder; name the file in it")
    if file is not None and not file.is_file():
        raise UserError(f"{file}: there is no such file")
    from sagemaker_ssd.contract.weights import weights_folder
    from sagemaker_ssd.weights.install import install

    print(install(source, folder or weights_folder(), file))
    print(source.label)


def _list() -> None:
    from sagemaker_ssd.contract.weights import weights_folder

    found = {network: _installed(network) for network in dict.fromkeys(source.base_network for source in SOURCES)}
    for source in SOURCES:
        print(f"{'installed' if _is_of(found[source.base_network], source) else 'not installed':15}{source.label}")
    print(f"Folder: {weights_folder()}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sagemaker_ssd.weights", description="Installs ImageNet weights for use_pretrained_model=1."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="download, check, convert and install one network's weights")
    fetch.add_argument("base_network", metavar="NETWORK", help="vgg-16 or resnet-50")
    names = "; ".join(f"{source.base_network}: {source.name} ({source.title})" for source in SOURCES)
    fetch.add_argument("--source", help=f"the network's first one if not given. {names}")
    fetch.add_argument("--file", type=Path, help="the source's file, where it is on this disk already")
    fetch.add_argument("--output", type=Path, help="folder to install to (default: the environment's own)")
    ensure = commands.add_parser("ensure", help="fetch those of NETWORK[=SOURCE] ... that are not installed")
    ensure.add_argument("weights", nargs="*", metavar="NETWORK[=SOURCE]")
    commands.add_parser("list", help="say which sources there are and which are installed")
    label = commands.add_parser("label", help="print the sources, checksums and licences of NETWORK[=SOURCE] ...")
    label.add_argument("weights", nargs="*", metavar="NETWORK[=SOURCE]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
