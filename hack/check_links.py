#!/usr/bin/env python3
"""Checks that every relative link in the documentation leads to a file, and every anchor to a heading. Needs
Python alone, and no network.

    python3 hack/check_links.py
"""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"!?\[(?:[^\]\\]|\\.)*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")


def text_of(path):
    """The text without code: links in examples are not links."""
    text = re.sub(r"^(```|~~~).*?^\1", "", path.read_text(encoding="utf-8"), flags=re.S | re.M)
    return re.sub(r"<!--.*?-->", "", text, flags=re.S)


def anchors(path):
    """The anchors of the headings, as GitHub makes them."""
    found = {}
    for heading in re.findall(r"^#{1,6}\s+(.+?)\s*#*$", text_of(path), flags=re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        count = found.get(slug, 0)
        found[slug] = count + 1
        if count:
            found[f"{slug}-{count}"] = 1
    return set(found)


def fault(page, target):
    """What is wrong with a link, or nothing."""
    if re.match(r"[a-z]+:", target):
        return None
    path, _, anchor = target.partition("#")
    to = (page.parent / path).resolve() if path else page
    if not to.exists():
        return "there is no such file"
    if not to.is_relative_to(ROOT):
        return "it leads out of the repository"
    if anchor and to.suffix == ".md" and anchor not in anchors(to):
        return "there is no such heading"
    return None


def main():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
                            cwd=ROOT, check=True, capture_output=True, text=True)
    pages = [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]
    links, faults = 0, 0
    for page in pages:
        # Links of code inside backticks are not links either.
        for target in LINK.findall(re.sub(r"`[^`\n]*`", "`", text_of(page))):
            links += 1
            what = fault(page, target)
            if what:
                faults += 1
                print(f"{page.relative_to(ROOT)}: {target}: {what}")
    linked = {page for page in pages if page.is_relative_to(ROOT / "docs")}
    for page in pages:
        for target in LINK.findall(text_of(page)):
            linked.discard((page.parent / target.partition("#")[0]).resolve())
    for page in sorted(linked):
        faults += 1
        print(f"{page.relative_to(ROOT)}: no page leads here")
    print(f"links: {links} in {len(pages)} pages, {faults} faults")
    sys.exit(1 if faults or not links else 0)


if __name__ == "__main__":
    main()
