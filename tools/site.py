"""What mkdocs calls while it makes the site, see `mkdocs.yml`: pages of files that lie outside of docs/.

README.md is the start page, CONTRIBUTING.md and the like are pages of their own, and each other file of the repository
that a document links to is shown as it is. Folders that are linked to get a list. Links lead where they lead in the
repository: one that leads nowhere stays as it is, and `mkdocs build --strict` fails by it.
"""

import os.path
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
MERMAID = ROOT / ".make" / "mermaid.min.js"

# Their places in the site, by their places in the repository.
PAGES = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "findings": "findings.md",
    "docs/adr": "adr/index.md",
    "docs/schemas": "schemas/index.md",
}
_SCRIPT = "javascripts/mermaid.min.js"
_LANGUAGES = {".py": "python", ".sh": "bash", ".yaml": "yaml", ".json": "json"}
_LINK = re.compile(r"(\]\(|src=\")(?!\w+:|#)([^)\s\"#]+)(#[^)\s\"]*)?")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made of files outside of docs/."""
    places: dict[str, str] = {}
    waiting = [*PAGES, *(f"docs/{file.src_uri}" for file in files.documentation_pages())]
    # What is linked to may link further.
    for one in waiting:
        for linked in _linked(one):
            if not linked.startswith("docs/") and linked not in PAGES and linked not in places:
                # mkdocs leaves out what begins with a dot.
                places[linked] = f"source/{linked.removesuffix('.md').lstrip('.')}.md"
                waiting.append(linked)
    places |= PAGES
    for repository_path, place in places.items():
        files.append(File.generated(config, place, content=_content(repository_path)))
    if MERMAID.exists():
        files.append(File.generated(config, _SCRIPT, content=MERMAID.read_bytes()))
        config.extra_javascript.append(_SCRIPT)
    config.extra["places"] = places
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001 - mkdocs gives all
    """Make a page's links those of the site."""
    places: Mapping[str, str] = config.extra["places"]
    origins = {place: path for path, place in places.items()}
    origin = origins.get(page.file.src_uri, f"docs/{page.file.src_uri}")
    return _LINK.sub(
        lambda found: found[1] + _target(origin, page.file.src_uri, found[2], places) + (found[3] or ""), markdown
    )


def _target(origin: str, place: str, target: str, places: Mapping[str, str]) -> str:
    """Return what a link of a file of the repository is on the page that is made of it."""
    path = _resolved(origin, target)
    if path is None:
        return target
    there = places.get(path, path.removeprefix("docs/"))
    return os.path.relpath(there, PurePosixPath(place).parent)


def _resolved(origin: str, target: str) -> str | None:
    """Return the path in the repository that a link leads to, or nothing where there is no such file."""
    folder = origin if (ROOT / origin).is_dir() else str(PurePosixPath(origin).parent)
    path = os.path.normpath(os.path.join(folder, target))  # noqa: PTH118 - pathlib keeps `..`
    return path if not path.startswith("..") and (ROOT / path).exists() else None


def _linked(repository_path: str) -> set[str]:
    if not repository_path.endswith(".md") or not (ROOT / repository_path).exists():
        return set()
    found = _LINK.findall((ROOT / repository_path).read_text())
    return {path for _, target, _ in found if (path := _resolved(repository_path, target)) is not None}


def _content(repository_path: str) -> str:
    """Return the Markdown of a page that shows a file or a folder of the repository."""
    file = ROOT / repository_path
    if repository_path == "docs/adr":
        titles = [f"* [{_title(one)}]({one.name})" for one in sorted(file.glob("*.md"))]
        return "\n".join(["# Decisions", "", "What was decided, and what would change our mind.", "", *titles])
    if repository_path == "docs/schemas":
        return "\n".join(
            ["# JSON schemas", "", *(f"* [{one.name}]({one.name})" for one in sorted(file.glob("*.json")))]
        )
    if repository_path == "findings":
        parts = [_finding(one) for one in sorted(file.glob("*.sh"))]
        return "\n".join(
            ["# Findings in other software", "", "A script shows each, and fails once it is no longer so.", *parts]
        )
    if file.suffix == ".md":
        return file.read_text()
    language = _LANGUAGES.get(file.suffix, "text")
    return f"# {file.name}\n\n`{repository_path}`\n\n~~~~{language}\n{file.read_text()}\n~~~~\n"


def _finding(script: Path) -> str:
    """Return a section with what a script of findings/ says at its head."""
    lines = script.read_text().splitlines()[1:]
    said = "\n".join(line.removeprefix("#").strip() for line in lines[: lines.index("set -euo pipefail")])
    said = re.sub(r"^(Expected|Seen|Versions?): +", r"\n**\1**: ", said, flags=re.MULTILINE)
    return f"\n## {script.stem.replace('_', ' ')}\n\n`findings/{script.name}`\n\n{said}\n"


def _title(document: Path) -> str:
    return document.read_text().splitlines()[0].removeprefix("# ")
