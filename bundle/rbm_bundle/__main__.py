"""`rbm-models`: look after a model repository; needs neither torch nor a running service."""

import argparse
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from rbm_bundle.bundle import read_bundle, read_manifest
from rbm_bundle.comparison import notes_on, twin_note
from rbm_bundle.errors import BundleError
from rbm_bundle.repository import ModelRepository, ShadowSpec
from rbm_bundle.version import package_version

DEFAULT_SHARE = 0.05


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it did what was asked, 1 with the reason when not."""
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (BundleError, OSError) as error:
        print(f"rbm-models: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="rbm-models", description="Look after a model repository.")
    parser.add_argument(
        "--models-dir",
        type=Path,
        default=Path(os.environ.get("RBM_MODELS_DIR") or "models"),
        help="default: RBM_MODELS_DIR, which the service reads too, or models",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {package_version()}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", help="models, versions, and which one is promoted")
    listing.set_defaults(command=_list)

    verify = commands.add_parser("verify", help="check every byte of a bundle folder or of NAME [VERSION]")
    verify.add_argument("target", help="a bundle folder, or the name of a published model")
    verify.add_argument("version", type=int, nargs="?", help="default: every version of the model")
    verify.set_defaults(command=_verify)

    publish = commands.add_parser("publish", help="copy a bundle into the repository as the next version")
    publish.add_argument("bundle", type=Path)
    publish.add_argument("--name", help="default: the name in the manifest")
    publish.add_argument("--promote", action="store_true", help="serve it from now on")
    publish.set_defaults(command=_publish)

    promote = commands.add_parser("promote", help="make a version the one that is served")
    promote.add_argument("name")
    promote.add_argument("version", type=int)
    promote.set_defaults(command=_promote)

    rollback = commands.add_parser("rollback", help="promote the next lower version")
    rollback.add_argument("name")
    rollback.set_defaults(command=_rollback)

    shadow = commands.add_parser("shadow", help="let a version answer some requests beside the promoted one")
    shadow.add_argument("name")
    chosen = shadow.add_mutually_exclusive_group(required=True)
    chosen.add_argument("version", type=int, nargs="?")
    chosen.add_argument("--off", action="store_true", help="let none answer beside it")
    shadow.add_argument("--share", type=float, default=DEFAULT_SHARE, help="of the requests; default: 0.05")
    shadow.set_defaults(command=_shadow)
    return parser


def _list(options: argparse.Namespace) -> None:
    repository = ModelRepository(options.models_dir)
    names = repository.names()
    if not names:
        print(f"no models in {options.models_dir}")
    for name in names:
        marks: dict[int, str] = {}
        try:
            if (shadow := repository.shadow(name)) is not None:
                marks[shadow.version] = f"shadow {shadow.share}"
            if (current := repository.current(name)) is not None:
                marks[current] = "current"
        except BundleError as error:
            print(f"{name:24} {error}")
        for version in repository.versions(name):
            print(f"{name:24} {version:>5}  {marks.get(version, '')}".rstrip())


def _verify(options: argparse.Namespace) -> None:
    repository = ModelRepository(options.models_dir)
    versions = [options.version] if options.version is not None else repository.versions(options.target)
    folders = [repository.path_of(options.target, version) for version in versions] or [Path(options.target)]
    for folder in folders:
        bundle = read_bundle(folder)
        bundle.golden()
        bundle.golden_records()
        num_files = len(bundle.manifest.files) + 1
        print(f"{folder}: good, {num_files} files, bundle {bundle.manifest.bundle_id[:12]}")


def _publish(options: argparse.Namespace) -> None:
    repository = ModelRepository(options.models_dir)
    name = options.name or read_manifest(options.bundle).name
    version = repository.publish(options.bundle, name)
    print(f"published {name} version {version}")
    _print_notes([*_twin_notes(repository, name, version), *_notes(repository, name, version)])
    if options.promote:
        repository.promote(name, version)
        print(f"promoted {name} version {version}")


def _promote(options: argparse.Namespace) -> None:
    repository = ModelRepository(options.models_dir)
    notes = _notes(repository, options.name, options.version)
    repository.promote(options.name, options.version)
    print(f"promoted {options.name} version {options.version}")
    _print_notes(notes)


def _rollback(options: argparse.Namespace) -> None:
    repository = ModelRepository(options.models_dir)
    notes = _notes(repository, options.name, repository.version_below(options.name))
    version = repository.rollback(options.name)
    print(f"rolled {options.name} back to version {version}")
    _print_notes(notes)


def _notes(repository: ModelRepository, name: str, version: int) -> list[str]:
    """What differs from the promoted version, or why that cannot be said, a line each."""
    try:
        current = repository.current(name)
        if current is None or current == version:
            return []
        manifest, former = (read_manifest(repository.path_of(name, each)) for each in (version, current))
    except BundleError as error:
        return [f"not compared with the promoted version: {error}"]
    return notes_on(manifest, former, current)


def _twin_notes(repository: ModelRepository, name: str, version: int) -> list[str]:
    """Whether a version is another one once more, the newest of them; one that cannot be read is none."""
    bundle_id = read_manifest(repository.path_of(name, version)).bundle_id
    for other in reversed(repository.versions(name)):
        with suppress(BundleError):
            if other != version and read_manifest(repository.path_of(name, other)).bundle_id == bundle_id:
                return [twin_note(other)]
    return []


def _print_notes(notes: Iterable[str]) -> None:
    for note in dict.fromkeys(notes):
        print(f"  {note}")


def _shadow(options: argparse.Namespace) -> None:
    repository = ModelRepository(options.models_dir)
    if options.off:
        repository.clear_shadow(options.name)
        print(f"{options.name} has no shadow")
        return
    repository.set_shadow(options.name, ShadowSpec(options.version, options.share))
    print(f"version {options.version} of {options.name} answers {options.share:.2%} of the requests as well")


if __name__ == "__main__":
    raise SystemExit(main())
