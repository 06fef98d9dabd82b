"""`python -m sagemaker_ssd.weights`: installs pre-trained weights for the program, and lists which are there."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sagemaker_ssd.commands import exit_code_of
from sagemaker_ssd.errors import UserError
from sagemaker_ssd.native_faults import end_at_native_faults
from sagemaker_ssd.weights.sources import SOURCES, Source, find_source

if TYPE_CHECKING:
    from sagemaker_ssd.contract.weights import StoredWeights

# The other parts are imported where they are needed: `label` runs with nothing installed, before an image is built.

_PREFIX: Final = "sagemaker_ssd.weights: "


def main() -> int:
    """Do what the command line asks for; return the exit code."""
    options = _options()
    return exit_code_of(lambda: _run(options), prefix=_PREFIX)


def _run(options: argparse.Namespace) -> int:
    if options.command == "label":
        print("; ".join(source.label for source in _wanted(options.weights)) or "none")
        return 0
    from sagemaker_ssd.gpu import use_stand_in

    # Conversions compute on processors, in the GPU image too.
    use_stand_in()
    if options.command == "fetch":
        _check_file(options.file)
        source = _named_source(options.base_network, options.source, options.file)
        _fetch(source, options.output, options.file)
    elif options.command == "ensure":
        _ensure(options.weights)
    elif options.command == "check":
        return _check(options)
    else:
        _list()
    return 0


def _named_source(base_network: str, name: str | None, file: Path | None) -> Source:
    """Return the network's source of that name, without one the source whose file is given, else the first one."""
    source = find_source(base_network, name)
    if name is None and file is not None:
        from sagemaker_ssd.weights.download import source_of

        of_file = source_of(file)
        if of_file is not None and of_file.base_network == base_network:
            return of_file
    return source


def _wanted(texts: list[str]) -> dict[Source, bool]:
    """Return the sources of NETWORK[=SOURCE] ..., and whether each is named; raises UserError.

    A network alone means its first source, and nothing more where another word names a source of it.
    """
    words = [(network, source) for network, _, source in (text.partition("=") for text in texts)]
    named = {network for network, source in words if source}
    found = ((find_source(network, source or None), bool(source)) for network, source in words)
    return {source: exact for source, exact in found if exact or source.base_network not in named}


def _installed(source: Source) -> "StoredWeights | None":
    """Return a source's installed weights; None without any, and for damaged ones, which a line on stderr names."""
    from sagemaker_ssd.contract.weights import stored_weights

    try:
        stored = stored_weights(source.base_network, source.name)
        if stored is not None:
            stored.check()
    except UserError as error:
        print(f"{_PREFIX}{error}", file=sys.stderr)
        return None
    return stored if stored is not None and stored.facts.get("checksum") == source.checksum else None


def _ensure(wanted: list[str]) -> None:
    """Install those of NETWORK[=SOURCE] that are not there or damaged; for NETWORK alone those that jobs start from.

    Of several sources of a network the first one is what jobs use from then on. NETWORK alone leaves that as it is.
    """
    from sagemaker_ssd.contract.weights import (
        DEFAULTS,
        default_sources,
        installed_sources,
        set_default_source,
        weights_folder,
    )

    defaults = default_sources()
    first: dict[str, str] = {}
    for named, exact in _wanted(wanted).items():
        network = named.base_network
        source = named if exact else _source_in_use(network)
        fetched = _installed(source) is None
        if fetched:
            _fetch(source, None, None)
        there = installed_sources(network)
        if exact:
            first.setdefault(network, source.name)
        elif fetched or len(there) > 1:
            first[network] = defaults[network] if defaults.get(network) in there else source.name
    for network, name in first.items():
        if default_sources().get(network) != name:
            try:
                set_default_source(network, name, weights_folder())
            except OSError as error:
                raise UserError(f"cannot write {weights_folder() / DEFAULTS}: {error.strerror}") from error


def _source_in_use(base_network: str) -> Source:
    """Return the source that jobs of a network start from, whole or damaged.

    Where that cannot be told, which a line on stderr says, it is the one that was the default, else one that is whole,
    else the network's first one.
    """
    from sagemaker_ssd.contract.weights import default_sources, source_to_use

    choice = {source.name: source for source in SOURCES if source.base_network == base_network}
    try:
        name = source_to_use(base_network)
    except UserError as error:
        print(f"{_PREFIX}{error}", file=sys.stderr)
        name = default_sources().get(base_network)
    if name in choice:
        return choice[name]
    return next((source for source in choice.values() if _installed(source)), find_source(base_network, None))


def _fetch(source: Source, folder: Path | None, file: Path | None) -> None:
    from sagemaker_ssd.contract.weights import weights_folder
    from sagemaker_ssd.weights.download import check, download

    with tempfile.TemporaryDirectory(prefix="weights-") as temporary:
        if file is None:
            file, origin = download(source, Path(temporary))
        else:
            check(source, file)
            origin = f"the file {file.name}"
        # MXNet is loaded only where there is something to convert.
        from sagemaker_ssd.weights.install import install

        end_at_native_faults()
        print(install(source, folder or weights_folder(), file, origin))
    print(source.label)


def _check_file(file: Path | None) -> None:
    if file is not None and file.is_dir():
        raise UserError(f"{file}: is a folder; name the file in it")
    if file is not None and not file.is_file():
        raise UserError(f"{file}: there is no such file")


def _check(options: argparse.Namespace) -> int:
    """Compare a source's conversion with its own file; 0 where they compute the same."""
    _check_file(options.file)
    _check_file(options.picture)
    source = _named_source(options.base_network, options.source, options.file)
    if options.source is None and not source.addresses:
        source = next(other for other in SOURCES if other.base_network == source.base_network and other.addresses)
    from sagemaker_ssd.weights.check import check_conversion

    end_at_native_faults()
    return check_conversion(source, options.file, options.picture, options.python)


def _list() -> None:
    from sagemaker_ssd.contract.weights import source_to_use, weights_folder

    used = {}
    for network in dict.fromkeys(source.base_network for source in SOURCES):
        try:
            used[network] = source_to_use(network)
        except UserError as error:
            print(f"{_PREFIX}{error}", file=sys.stderr)
    rows = [("", "network", "source", "gives", "download", "licence")]
    for source in SOURCES:
        state = "" if _installed(source) is None else "installed"
        if state and used.get(source.base_network) == source.name:
            state = "used"
        size = "size unknown" if source.megabytes is None else f"{source.megabytes} MB"
        rows.append((state, source.base_network, source.name, source.gives, size, source.licence))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for row in rows:
        print("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[-1]]))
    for source in SOURCES:
        if source.silent:
            print(
                f"{source.base_network} {source.name}: its host has been reported not to answer since February 2024; "
                f"for those who have {source.file}: fetch {source.base_network} --source {source.name} --file FILE"
            )
    print(f"Folder: {weights_folder()}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m sagemaker_ssd.weights", description="Installs pre-trained weights for use_pretrained_model=1."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="download, check, convert and install one network's weights")
    fetch.add_argument("base_network", metavar="NETWORK", help="vgg-16 or resnet-50")
    names = "; ".join(f"{source.base_network}: {source.name} ({source.title})" for source in SOURCES)
    fetch.add_argument("--source", help=f"if not given that of --file, or the network's first one. {names}")
    fetch.add_argument("--file", type=Path, help="the source's file, where it is on this disk already")
    fetch.add_argument("--output", type=Path, help="folder to install to (default: the environment's own)")
    ensure = commands.add_parser("ensure", help="fetch those of NETWORK[=SOURCE] ... that are not installed")
    ensure.add_argument("weights", nargs="*", metavar="NETWORK[=SOURCE]")
    commands.add_parser("list", help="say which sources there are, what they give, and which are installed")
    check = commands.add_parser("check", help="run a source's own file beside its conversion, and compare")
    check.add_argument("base_network", metavar="NETWORK", help="vgg-16 or resnet-50")
    check.add_argument("--source", help="if not given that of --file, or the network's first one that is no package")
    check.add_argument("--file", type=Path, help="the source's file, where it is on this disk already")
    check.add_argument("--picture", type=Path, help="a photo, of which a classifier's five best classes are printed")
    check.add_argument(
        "--python", default=sys.executable, help="a Python that has torchvision, for coco-ssd (default: this one)"
    )
    label = commands.add_parser("label", help="print the sources, checksums and licences of NETWORK[=SOURCE] ...")
    label.add_argument("weights", nargs="*", metavar="NETWORK[=SOURCE]")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
