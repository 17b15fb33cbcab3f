"""The documentation as a static site: its pages are gathered here, MkDocs builds them (mkdocs.yml)."""
