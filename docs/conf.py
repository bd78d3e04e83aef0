"""The site of docs/: `make docs` builds it into site/, and fails where a link leads nowhere."""

project = "celltrain"
author = "The celltrain authors"
extensions = ["myst_parser"]
exclude_patterns = ["_build"]
smartquotes = False  # an option is written --grow
html_theme = "furo"
html_show_copyright = False
html_title = "celltrain"
html_static_path: list[str] = []
html_theme_options = {  # one hue for links, in light and in dark
    "light_css_variables": {"color-brand-primary": "#0f766e", "color-brand-content": "#0f766e"},
    "dark_css_variables": {"color-brand-primary": "#5eead4", "color-brand-content": "#5eead4"},
}
myst_heading_anchors = 4  # so that a link may name a heading, as in plain Markdown
