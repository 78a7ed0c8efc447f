"""Makes the plugin's own package importable, as the plugin itself does."""

import sys

from reconciler.settings import data_dir

sys.path.insert(0, str(data_dir("playbooks") / "plugin_utils"))
