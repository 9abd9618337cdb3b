"""Pictures: a style, live curves, a module per notebook, widgets."""
